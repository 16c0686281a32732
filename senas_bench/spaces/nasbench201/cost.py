"""FLOPs and parameters of stand-alone NAS-Bench-201 networks in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.nasbench201.space import CONV1, CONV3, NB201
from senas_bench.spaces.partial import check_partial

KERNEL_AREA = {CONV1: 1, CONV3: 9}


@dataclass(frozen=True)
class Skeleton:
    """What surrounds the cells of NAS-Bench-201.

    Args:
        resolution: Height and width of an image in pixels.
        num_classes, in_channels: Of the data.
        channels, cells: Width of the first stage; cells per stage.
        partial: Operators see one of so many channels of a node, the others pass by (PC-DARTS); 1 for all of them.

    Raises:
        ValueError: `partial` does not divide the channels.
    """

    resolution: int
    num_classes: int
    in_channels: int = 3
    channels: int = 16
    cells: int = 5
    partial: int = 1

    def __post_init__(self) -> None:
        check_partial(self.partial, self.channels)

    @property
    def cells_per_stage(self) -> int:
        return self.cells

    def with_cells(self, cells: int) -> Skeleton:
        """With so many cells per stage."""
        return replace(self, cells=cells)


SKELETONS = {
    "cifar10": Skeleton(32, 10),
    "cifar100": Skeleton(32, 100),
    "imagenet16-120": Skeleton(16, 120),
}
"""The benchmark's own networks, by dataset."""


def nasbench201_cost(skeleton: Skeleton) -> CostTable:
    """Cost table of the NAS-Bench-201 network (docs/method.md 5); where operators see a part of the channels, of the
    supernet whose mixtures do."""
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
            seen = width // skeleton.partial
            weights = kernel_area * seen * seen
            per_operator[op] += skeleton.cells * np.array([weights * area, weights + 2 * seen])
    head = width * skeleton.num_classes + skeleton.num_classes
    base += np.array([head, 2 * width + head])
    return CostTable(base, np.broadcast_to(per_operator, (len(NB201.edges), *per_operator.shape)))
