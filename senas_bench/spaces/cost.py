"""FLOPs and parameters of stand-alone networks in closed form.

FLOPs are multiply-adds of convolutions and the linear layer (its bias counted), as NAS-Bench-201 and
most of the field print them. Parameters include affine batch norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .nasbench201 import CONV1, CONV3, NB201

KERNEL_AREA = {CONV1: 1, CONV3: 9}


@dataclass(frozen=True)
class Skeleton:
    """What surrounds the cells of NAS-Bench-201.

    Args:
        resolution: Height and width of an image in pixels.
        num_classes, in_channels: Of the data.
        channels, cells: Width of the first stage; cells per stage.
    """

    resolution: int
    num_classes: int
    in_channels: int = 3
    channels: int = 16
    cells: int = 5


SKELETONS = {
    "cifar10": Skeleton(32, 10),
    "cifar100": Skeleton(32, 100),
    "imagenet16-120": Skeleton(16, 120),
}
"""The benchmark's own networks, by dataset."""


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


def nasbench201_cost(skeleton: Skeleton) -> CostTable:
    """Cost table of the NAS-Bench-201 network (docs/method.md 5)."""
    area = skeleton.resolution**2
    width = skeleton.channels
    stem = 9 * skeleton.in_channels * width
    base = np.array([stem * area, stem + 2 * width], np.int64)
    per_operator = np.zeros((len(NB201.operators), 2), np.int64)
    for stage in range(3):
        if stage:
            side = -(-int(area**0.5) // 2)
            area = side * side
            weights = (9 * width + 9 * 2 * width + width) * 2 * width  # two 3x3 and the 1x1 shortcut
            width *= 2
            base += np.array([weights * area, weights + 2 * 2 * width])
        for op, kernel_area in KERNEL_AREA.items():
            weights = kernel_area * width * width
            per_operator[op] += skeleton.cells * np.array([weights * area, weights + 2 * width])
    head = width * skeleton.num_classes + skeleton.num_classes
    base += np.array([head, 2 * width + head])
    return CostTable(base, np.broadcast_to(per_operator, (len(NB201.edges), *per_operator.shape)))
