"""What a long scoring has done so far, kept now and then: one that is cut goes on from there, to the bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SAVE_SECONDS = 20.0
"""A scoring is kept when it has gone on for this long, and each time that it has again."""


def identity_of(states: Sequence[Mapping[str, torch.Tensor]], archs: np.ndarray, words: str) -> np.ndarray:
    """`(32,)` bytes that two scorings share only if they score the same archs with the same weights.

    Args:
        states: Weights, as `Module.state_dict` gives them.
        words: All else that tells them apart.
    """
    from senas_bench.training.checkpoint import digest

    tensors = {f"{k}.{name}": value for k, state in enumerate(states) for name, value in state.items()}
    text = f"{words} {archs.shape} {archs.dtype} {archs.tobytes().hex()}"
    return np.frombuffer(bytes.fromhex(digest(tensors, text)), np.uint8).copy()


@dataclass
class Partial:
    """A file for the parts of one scoring. What another scoring left there is not taken up.

    Args:
        path: The file. Whoever scores may replace it by the result.
        writes: Whether this process keeps anything; all may go on from what is there.
        clock: Seconds.
    """

    path: Path
    writes: bool = True
    clock: Callable[[], float] = time.monotonic
    _identity: Callable[[], np.ndarray] = field(default=lambda: np.zeros(0, np.uint8), init=False)
    _before: float = field(default=0.0, init=False)
    _began: float = field(default=0.0, init=False)
    _saved: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._began = self._saved = self.clock()

    def part(self, k: int) -> Path:
        """A file of its own for part `k` of the scoring."""
        return self.path.with_name(f"{self.path.stem}-part-{k}{self.path.suffix}")

    def spent(self, seconds: float) -> None:
        """Count what an earlier try spent on a part that is done."""
        self._before += seconds

    def begin(self, identity: Callable[[], np.ndarray]) -> dict[str, np.ndarray]:
        """What an earlier try kept; nothing where there is none.

        Args:
            identity: Makes that of the scoring; only asked where something is, or is to be, kept: it reads all weights.
        """
        from senas_bench.training.checkpoint import read_arrays

        self._began = self._saved = self.clock()
        made: list[np.ndarray] = []
        self._identity = lambda: (made or made.append(identity()) or made)[0]
        kept = read_arrays(self.path) or {}
        if "identity" not in kept or not np.array_equal(kept["identity"], self._identity()):
            return {}
        self._before = float(kept["seconds"])
        return kept

    def seconds(self) -> float:
        """Spent on the scoring so far, in all tries that left something."""
        return self._before + self.clock() - self._began

    def keep(self, arrays: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Keep `arrays()`, if it is time.

        Raises:
            OSError: The disk is full or the folder unwritable.
        """
        if not self.writes or self.clock() - self._saved < SAVE_SECONDS:
            return
        from senas_bench.training.checkpoint import write_arrays

        about = {"identity": self._identity(), "seconds": np.array(self.seconds())}
        write_arrays(self.path, {**arrays(), **about})
        self._saved = self.clock()
