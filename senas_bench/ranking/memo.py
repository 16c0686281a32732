"""Scores that no supernet decides: made once in a run, whichever of its phases asks, and once for several runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from senas_bench.ranking.partial import Partial
from senas_bench.spaces import Arch


@dataclass(frozen=True)
class Scored:
    """The scores of an arch by a proxy and its family, the work that they took, `(counts,)` int64, and for how long,
    seconds."""

    scores: tuple[float, ...]
    counts: np.ndarray
    seconds: float


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
    entries: dict[Arch, Scored] = field(init=False, default_factory=dict)
    owners: dict[Arch, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.partial is None:
            return
        from senas_bench.training.checkpoint import read_arrays

        name = hashlib.sha256(self.words.encode()).hexdigest()[:16]
        self.path = self.partial.path.with_name(f"untrained-{name}.arrays")
        arrays = read_arrays(self.path)
        if arrays:
            owners = arrays["owners"].tobytes().decode().split("\n")
            self.entries = from_arrays(arrays)
            self.owners = {arch: owners[int(k)] for arch, k in zip(self.entries, arrays["owner"], strict=True)}

    def missing(self, archs: Sequence[Arch]) -> list[Arch]:
        """Those of which nothing is known."""
        return [arch for arch in archs if arch not in self.entries]

    def add(self, found: Mapping[Arch, Scored]) -> None:
        """Remember what the scoring that asks has found.

        Raises:
            OSError: The disk is full or the folder unwritable.
        """
        self.entries.update(found)
        self.owners.update(dict.fromkeys(found, self._owner))
        if self.partial is None or not self.partial.writes or not found:
            return
        from senas_bench.training.checkpoint import write_arrays

        owners = sorted(set(self.owners.values()))
        write_arrays(
            self.path,
            {
                **to_arrays(self.entries),
                "owner": np.array([owners.index(self.owners[arch]) for arch in self.entries]),
                "owners": np.frombuffer("\n".join(owners).encode(), np.uint8).copy(),
            },
        )

    def scores(self, archs: Iterable[Arch], place: int) -> np.ndarray:
        """`(n,)`, of one of the family."""
        return np.array([self.entries[arch].scores[place] for arch in archs], float)

    def own_counts(self, archs: Iterable[Arch]) -> list[np.ndarray]:
        """Of those that this scoring made."""
        return [self.entries[arch].counts for arch in archs if self.owners[arch] == self._owner]

    @property
    def _owner(self) -> str:
        return "" if self.partial is None else self.partial.path.name


@dataclass(frozen=True)
class Shelf:
    """Where runs of a results folder leave such scores for each other. Each counts in full what it takes from there.

    Args:
        path: The file; None for no shelf.
    """

    path: Path | None

    def move(self, archs: Sequence[Arch], memo: Memo, partial: Partial | None) -> list[Arch]:
        """Put what is known of archs into the memory of a run, as if its scoring had found it just now; the others."""
        known = self._read()
        found = {arch: known[arch] for arch in archs if arch in known}
        memo.add(found)
        if partial is not None:
            partial.spent(sum(each.seconds for each in found.values()))
        return [arch for arch in archs if arch not in found]

    def put(self, found: Mapping[Arch, Scored]) -> None:
        """Leave what a run has found, beside what others have left meanwhile.

        Raises:
            OSError: The disk is full or the folder unwritable.
        """
        if self.path is None or not found:
            return
        from senas_bench.training.checkpoint import write_arrays

        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(self.path, to_arrays({**self._read(), **found}))

    def _read(self) -> dict[Arch, Scored]:
        if self.path is None:
            return {}
        from senas_bench.training.checkpoint import read_arrays

        arrays = read_arrays(self.path)
        return from_arrays(arrays) if arrays else {}


def to_arrays(found: Mapping[Arch, Scored]) -> dict[str, np.ndarray]:
    """For a file."""
    return {
        "archs": np.array(list(found), np.int8),
        "values": np.array([each.scores for each in found.values()], float),
        "counts": np.array([each.counts for each in found.values()]),
        "took": np.array([each.seconds for each in found.values()]),
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[Arch, Scored]:
    """Back again."""
    columns = (arrays[name] for name in ("archs", "values", "counts", "took"))
    return {
        tuple(arch.tolist()): Scored(tuple(values.tolist()), counts, float(took))
        for arch, values, counts, took in zip(*columns, strict=True)
    }
