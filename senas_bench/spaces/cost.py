"""What an arch costs: a sum over its edges. No torch here.

FLOPs are multiply-adds of convolutions and the linear layer (its bias counted), as NAS-Bench-201 and
most of the field print them. Parameters include affine batch norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CostTable:
    """Cost of any arch as a sum: `base + sum over edges of per_edge[edge, operator]`.

    Args:
        base: `(2,)` FLOPs and parameters of everything but the cells.
        per_edge: `(edges, operators, 2)`.
    """

    base: np.ndarray
    per_edge: np.ndarray

    def __call__(self, archs: np.ndarray) -> dict[str, np.ndarray]:
        """`(n, edges)` archs to `(n,)` float64 `flops_m` (millions) and `(n,)` int64 `params`."""
        total = self.base + self.per_edge[np.arange(archs.shape[1]), archs].sum(axis=1)
        return {"flops_m": total[:, 0] / 1e6, "params": total[:, 1]}

    def mixtures(self, running: np.ndarray) -> np.ndarray:
        """`(n,)` int64 multiply-adds of a pass of one image through mixtures: of everything but the cells once, and of
        each operator that runs.

        Args:
            running: `(n, edges, operators)` bool; columns of the table behind these operators are not read.
        """
        each = self.per_edge[:, : running.shape[-1], 0]
        return (self.base[0] + (running * each).sum(axis=(1, 2))).astype(np.int64)


def multiply_adds(cost: Callable[[np.ndarray], Mapping[str, np.ndarray]], archs: np.ndarray) -> np.ndarray:
    """`(n,)` int64 multiply-adds of a pass of one image through archs `(n, edges)`: their `flops_m`, exactly."""
    return np.rint(cost(archs)["flops_m"] * 1e6).astype(np.int64)
