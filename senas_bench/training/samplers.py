"""Which paths a training step runs: `(rng) -> paths`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from senas_bench.spaces import Arch, SearchSpace

Path = Arch | tuple[Arch, ...]
"""One arch for all cells, or one per cell."""


@dataclass(frozen=True)
class UniformPath:
    """One path per step, uniform over the space (SPOS, Guo et al. 2020).

    Args:
        space: Where to draw from.
        cells: 0 ties all cells to one arch; otherwise the number of cells, each with its own draw.
    """

    space: SearchSpace
    cells: int = 0

    def __call__(self, rng: np.random.Generator) -> list[Path]:
        if not self.cells:
            return [self.space.sample(rng)]
        return [tuple(self.space.sample(rng) for _ in range(self.cells))]
