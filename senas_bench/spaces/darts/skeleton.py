"""What surrounds the cells of a DARTS network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from senas_bench.spaces.partial import check_partial

STEMS = ("cifar", "imagenet")


class CellShape(NamedTuple):
    """One cell of the stack.

    Args:
        c_before, c_last: Channels of the outputs of the cell before the last, and of the last: nodes 0 and 1.
        channels: Of its own nodes; its output has four times as many.
        reduction: Whether its edges from nodes 0 and 1 have stride 2.
        halve_before: Whether node 0 is twice as high and wide as node 1 and has to be halved first.
        side: Height and width of node 1 in pixels.
    """

    c_before: int
    c_last: int
    channels: int
    reduction: bool
    halve_before: bool
    side: int

    @property
    def out_side(self) -> int:
        """Height and width of the output in pixels."""
        return -(-self.side // 2) if self.reduction else self.side


@dataclass(frozen=True)
class DartsSkeleton:
    """What surrounds the choices; by default the paper's stack for CIFAR, at the width of DARTS's search [code].

    Args:
        resolution: Height and width of an image in pixels.
        num_classes, in_channels: Of the data.
        channels: Width of the first normal cell's nodes; doubled by each reduction cell.
        layers: Cells in all.
        reductions: Positions of the reduction cells. None puts them at `layers // 3` and `2 * layers // 3` [code],
            which with `3 n + 2` layers leaves three stages of n normal cells: 4-R-4-R-4 of 14, 6-R-6-R-6 of 20.
        stem: `cifar`, one convolution at full resolution; or `imagenet`, three of stride 2.
        partial: Operators see one of so many channels of a node, the others pass by (PC-DARTS); 1 for all of them.

    Raises:
        ValueError: Unknown stem, a number that is too small, reductions that are not ascending positions, or channels
            that `partial` does not divide.
    """

    resolution: int = 32
    num_classes: int = 10
    in_channels: int = 3
    channels: int = 16
    layers: int = 14
    reductions: tuple[int, ...] | None = None
    stem: str = "cifar"
    partial: int = 1

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise ValueError(f"unknown stem {self.stem!r}; one of: {', '.join(STEMS)}")
        if min(self.resolution, self.num_classes, self.in_channels, self.channels - 1, self.layers) < 1:
            raise ValueError(f"every number of a skeleton must be at least 1, and channels 2: {self}")
        check_partial(self.partial, self.channels)
        if self.reductions is None:
            object.__setattr__(self, "reductions", (self.layers // 3, 2 * self.layers // 3))
        assert self.reductions is not None
        if list(self.reductions) != sorted(set(self.reductions) & set(range(self.layers))):
            raise ValueError(f"reductions {self.reductions} must be ascending positions below {self.layers}")

    @property
    def cells_per_stage(self) -> int:
        """Normal cells before, between and behind the two reductions, where all are as many."""
        return (self.layers - 2) // 3

    def with_cells(self, cells: int) -> DartsSkeleton:
        """With so many normal cells before, between and behind the two reductions."""
        return replace(self, layers=3 * cells + 2, reductions=None)

    @property
    def cells(self) -> tuple[CellShape, ...]:
        """All cells, shallow to deep."""
        assert self.reductions is not None  # since __post_init__
        imagenet = self.stem == "imagenet"
        before = last = self.channels if imagenet else 3 * self.channels
        side = -(-self.resolution // 8) if imagenet else self.resolution
        channels, halve, cells = self.channels, imagenet, []
        for layer in range(self.layers):
            reduction = layer in self.reductions
            channels *= 2 if reduction else 1
            cells.append(CellShape(before, last, channels, reduction, halve, side))
            before, last, halve, side = last, 4 * channels, reduction, cells[-1].out_side
        return tuple(cells)


SUPERNET = DartsSkeleton()
SKELETONS = {
    "cifar10": DartsSkeleton(32, 10, channels=36, layers=20),
    "cifar100": DartsSkeleton(32, 100, channels=36, layers=20),
    "imagenet": DartsSkeleton(224, 1000, channels=48, layers=14, stem="imagenet"),
}
"""The networks in which found cells are trained from scratch [code], by dataset."""
