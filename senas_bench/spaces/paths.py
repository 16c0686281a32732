"""Which single paths a training step runs: `(rng) -> paths`. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from senas_bench.spaces.limited import LimitedSampler
    from senas_bench.spaces.regions import Region
    from senas_bench.spaces.space import Arch


@dataclass(frozen=True)
class UniformPath:
    """One path per step, uniform over the space (SPOS, Guo et al. 2020).

    Args:
        space: Where to draw from, whole or within a limit.
        cells: 0 ties all cells to one arch; otherwise the number of cells, each with its own draw.
    """

    space: Region
    cells: int = 0

    def __call__(self, rng: np.random.Generator) -> list[Arch | tuple[Arch, ...]]:
        if not self.cells:
            return [self.space.sample(rng)]
        return [tuple(self.space.sample(rng) for _ in range(self.cells))]

    def identity(self) -> list[object]:
        """JSON values that two samplers share only if they draw the same."""
        return ["uniform", self.space.identity(), self.cells]


@dataclass(frozen=True)
class CoveringPath:
    """One path per step within a limit, in which no feasible operator is rare: see `LimitedSampler.covering`.

    `UniformPath(sampler)` is the sampler without that care.

    Args:
        sampler: Where to draw from.
        share: Of steps whose path contains an operator drawn beforehand.
        cells: 0 ties all cells to one arch; otherwise the number of cells, each with its own draw, which meets the
            limit as if all cells were like it.
    """

    sampler: LimitedSampler
    share: float = 0.5
    cells: int = 0

    def __call__(self, rng: np.random.Generator) -> list[Arch | tuple[Arch, ...]]:
        archs = [tuple(row) for row in self.sampler.covering(rng, self.cells or 1, self.share).tolist()]
        return [tuple(archs)] if self.cells else archs

    def identity(self) -> list[object]:
        """JSON values that two samplers share only if they draw the same."""
        return ["covering", self.sampler.identity(), self.share, self.cells]
