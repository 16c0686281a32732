"""Which paths a training step runs: `(rng) -> paths`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np

from senas_bench.spaces import Arch, SearchSpace

if TYPE_CHECKING:
    import torch

Path = Union[Arch, tuple[Arch, ...], "torch.Tensor"]
"""One arch for all cells, one per cell, or operator weights `(edges, operators)` for all cells."""


def path_evaluations(path: Path) -> int:
    """What a pass over `path` counts as: 1, or for operator weights the most that are not 0 on one edge.

    A mixture of all five operators costs what their five paths cost together, `none` among them in both.
    """
    return 1 if isinstance(path, tuple) else int((path.detach() != 0).sum(1).max())


@dataclass(frozen=True)
class UniformPath:
    """One path per step, uniform over the space (SPOS, Guo et al. 2020).

    Args:
        space: Where to draw from; also a sampler within a limit, which has the same `sample`.
        cells: 0 ties all cells to one arch; otherwise the number of cells, each with its own draw.
    """

    space: SearchSpace
    cells: int = 0

    def __call__(self, rng: np.random.Generator) -> list[Path]:
        if not self.cells:
            return [self.space.sample(rng)]
        return [tuple(self.space.sample(rng) for _ in range(self.cells))]
