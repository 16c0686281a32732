"""Scores that are kept in a file: a resumed run need not make them again, nor start anew in the middle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from senas_bench.ranking.partial import Partial
from senas_bench.ranking.snapshots import Watcher

Scoring = Callable[[Watcher], tuple[np.ndarray, Mapping[str, int]]]
"""Makes the scores and says what work that was."""


@dataclass(frozen=True)
class Kept:
    """What a scoring found.

    Args:
        scores: `(n,)` float64.
        seconds: Spent on it, in all tries.
        work: Counts, as an estimator gives them.
        found: It was there already.
    """

    scores: np.ndarray
    seconds: float
    work: dict[str, int]
    found: bool


def kept_scores(path: Path, make: Scoring, watcher: Watcher, writes: bool = True) -> Kept:
    """The scores in a file, or those that are made now and kept there.

    Args:
        path: The file; while the scores are made it may hold a part of them.
        make: Called with `watcher` and a place for what is done so far.
        writes: Whether this process writes the file.

    Raises:
        OSError: The disk is full or the folder unwritable.
    """
    from senas_bench.training.checkpoint import read_arrays, write_arrays

    kept = read_arrays(path)
    found = kept is not None and "scores" in kept
    if kept is None or not found:
        partial = Partial(path, writes)
        scores, work = make(replace(watcher, partial=partial))
        kept = {"scores": scores, "seconds": np.array(partial.seconds())}
        kept |= {name: np.array(count) for name, count in work.items()}
        if writes:
            write_arrays(path, kept)
    work = {name: int(count) for name, count in kept.items() if name not in ("scores", "seconds")}
    return Kept(kept["scores"], float(kept["seconds"]), work, found)
