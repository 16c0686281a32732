"""Which seeds are asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from senas_bench.experiments.spec import SEEDS

MAX_SEEDS = 10_000


def seeds_of(seeds: int | str | Sequence[int]) -> list[int]:
    """Seeds, each once; text as `parse_seeds` reads it.

    Raises:
        ValueError: None, or what is no whole number below 2**64.

    >>> seeds_of(range(3)), seeds_of(7), seeds_of("0-1,5")
    ([0, 1, 2], [7], [0, 1, 5])
    """
    if isinstance(seeds, str):
        return parse_seeds(seeds)
    numbers = [seeds] if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    for seed in numbers:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
            raise ValueError(f"seed {seed!r:.60} must be a whole number, at least 0 and below 2**64")
    if not numbers:
        raise ValueError("no seeds; give at least one, such as range(3)")
    return numbers


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
