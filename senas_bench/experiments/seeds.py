"""Which seeds are asked for."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable
from typing import Any

from senas_bench.experiments.spec import SEEDS

MAX_SEEDS = 10_000


def seeds_of(seeds: int | str | Iterable[int]) -> list[int]:
    """Seeds, each once; text as `parse_seeds` reads it. Whole numbers of numpy are as good as Python's.

    Raises:
        ValueError: None, more than `MAX_SEEDS`, or what is no whole number below 2**64.

    >>> seeds_of(range(3)), seeds_of(7), seeds_of("0-1,5")
    ([0, 1, 2], [7], [0, 1, 5])
    """
    if isinstance(seeds, str):
        return parse_seeds(seeds)
    several: Any = seeds if whole(seeds) is None and isinstance(seeds, Iterable) else [seeds]
    numbers = list(dict.fromkeys(map(_seed, itertools.islice(several, MAX_SEEDS + 1))))
    if len(numbers) > MAX_SEEDS:
        raise ValueError(f"more than {MAX_SEEDS} seeds; give fewer")
    if not numbers:
        raise ValueError("no seeds; give at least one, such as range(3)")
    return numbers


def _seed(value: Any) -> int:
    seed = whole(value)
    if seed is None or not 0 <= seed < SEEDS:
        raise ValueError(f"seed {value!r:.60} must be a whole number, at least 0 and below 2**64")
    return seed


def whole(value: Any) -> int | None:
    """A whole number as Python's, whoever made it; None for anything else, a truth value too.

    >>> whole(3), whole(3.0), whole(True)
    (3, None, None)
    """
    if type(value).__name__ in ("bool", "bool_"):  # of Python and of numpy
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def parse_seeds(text: str) -> list[int]:
    """Seeds from `0-9`, `3` or `0,2,5-7`.

    Raises:
        ValueError: Anything else, a range of more than `MAX_SEEDS`, or a seed that torch cannot take.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = _SEEDS.fullmatch(part.strip())
        first, last = (int(match["first"]), int(match["last"] or match["first"])) if match else (1, 0)
        if last < first:
            raise ValueError(f"bad seeds {text!r:.60}; write 0-9, 3 or 0,2,5-7; each below 2**64")
        if last - first >= MAX_SEEDS:
            raise ValueError(f"bad seeds {text!r:.60}: more than {MAX_SEEDS:,} at once")
        if last >= SEEDS:
            raise ValueError(f"bad seeds {text!r:.60}: a seed must be below 2**64")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


_SEEDS = re.compile(r"(?P<first>\d{1,30})(-(?P<last>\d{1,30}))?")
