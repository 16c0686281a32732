"""Scores that no supernet decides: made once in a run, whichever of its phases asks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from senas_bench.ranking.partial import Partial
from senas_bench.spaces import Arch


@dataclass(frozen=True)
class Entry:
    """A score, the work that it took, `(counts,)` int64, and which scoring made it."""

    score: float
    counts: np.ndarray
    owner: str


@dataclass
class Memo:
    """What the scorings of a run have found of archs, in a file beside those that keep the scorings themselves.

    A scoring that is made again, because it was cut before it was kept, finds what it made itself and counts it once
    more: so a resumed run counts as one that was not cut. What another made is read and not counted. Search and report
    have a memory each, so that the search counts all that its pick needed.

    Args:
        partial: Where the scoring that asks keeps what it has done; None for no memory.
        words: All that decides the scores beside the archs.
    """

    partial: Partial | None
    words: str
    entries: dict[Arch, Entry] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.partial is None:
            return
        from senas_bench.training.checkpoint import read_arrays

        name = hashlib.sha256(self.words.encode()).hexdigest()[:16]
        self.path = self.partial.path.with_name(f"untrained-{name}.arrays")
        self.entries = dict(_entries(read_arrays(self.path) or {}))

    def missing(self, archs: Sequence[Arch]) -> list[Arch]:
        """Those of which nothing is known."""
        return [arch for arch in archs if arch not in self.entries]

    def add(self, archs: Sequence[Arch], scores: Sequence[float], counts: np.ndarray) -> None:
        """Remember scores that were just made.

        Args:
            counts: `(n, counts)`, of each arch.

        Raises:
            OSError: The disk is full or the folder unwritable.
        """
        for arch, score, count in zip(archs, scores, counts, strict=True):
            self.entries[arch] = Entry(score, count, self._owner)
        if self.partial is None or not self.partial.writes or not len(archs):
            return
        from senas_bench.training.checkpoint import write_arrays

        found = self.entries.values()
        owners = sorted({entry.owner for entry in found})
        write_arrays(
            self.path,
            {
                "archs": np.array(list(self.entries), np.int8),
                "values": np.array([entry.score for entry in found]),
                "counts": np.array([entry.counts for entry in found]),
                "owner": np.array([owners.index(entry.owner) for entry in found]),
                "owners": np.frombuffer("\n".join(owners).encode(), np.uint8).copy(),
            },
        )

    def scores(self, archs: Iterable[Arch]) -> np.ndarray:
        """`(n,)`."""
        return np.array([self.entries[arch].score for arch in archs], float)

    def own_counts(self, archs: Iterable[Arch]) -> list[np.ndarray]:
        """Of those that this scoring made."""
        found = [self.entries[arch] for arch in archs]
        return [entry.counts for entry in found if entry.owner == self._owner]

    @property
    def _owner(self) -> str:
        return "" if self.partial is None else self.partial.path.name


def _entries(arrays: Mapping[str, np.ndarray]) -> Iterable[tuple[Arch, Entry]]:
    if not arrays:
        return
    owners = arrays["owners"].tobytes().decode().split("\n")
    for arch, value, counts, owner in zip(
        arrays["archs"], arrays["values"], arrays["counts"], arrays["owner"], strict=True
    ):
        yield tuple(arch.tolist()), Entry(float(value), counts, owners[int(owner)])
