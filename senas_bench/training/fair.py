"""Strict fairness: every operator of every edge is trained equally often (FairNAS)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from senas_bench.spaces import SearchSpace
from senas_bench.training.samplers import Path


@dataclass(frozen=True)
class FairPaths:
    """As many paths per step as an edge has candidates; together they use each of them exactly once
    (Chu et al., ICCV 2021, Algorithm 1).

    The permutations are drawn afresh at each step; a known public code base forgets to clear those of the
    first, and trains the same few archs for ever.

    Args:
        space: Where to draw from; every edge must have the same number of candidates.
        cells: 0 ties all cells to one arch; otherwise the number of cells, each with its own permutations.

    Raises:
        ValueError: The edges have different numbers of candidates.
    """

    space: SearchSpace
    cells: int = 0

    def __post_init__(self) -> None:
        counts = [len(alive) for alive in self.space.candidates]
        if len(set(counts)) > 1:
            raise ValueError(
                f"strict fairness needs as many candidates on every edge, got {counts}; drop as many operators "
                "from every edge, or train with uniform paths"
            )

    def __call__(self, rng: np.random.Generator) -> list[Path]:
        if not self.cells:
            return self._archs(rng)
        return list(zip(*[self._archs(rng) for _ in range(self.cells)], strict=True))

    def _archs(self, rng: np.random.Generator) -> list[Path]:
        """One permutation of the candidates per edge, read across the edges."""
        permuted = rng.permuted(np.array(self.space.candidates), axis=1)
        return list(zip(*permuted.tolist(), strict=True))
