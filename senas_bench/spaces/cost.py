"""What an arch costs: a sum over its edges. No torch here.

FLOPs are multiply-adds of convolutions and the linear layer (its bias counted), as NAS-Bench-201 and
most of the field print them. Parameters include affine batch norm.
"""

from __future__ import annotations

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
