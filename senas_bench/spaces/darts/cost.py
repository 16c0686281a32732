"""FLOPs and parameters of DARTS networks in closed form."""

from __future__ import annotations

import itertools

import numpy as np

from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.darts.cell import DILATED, EDGES, OPERATORS, SEPARABLE, SKIP
from senas_bench.spaces.darts.skeleton import CellShape, DartsSkeleton


def operator_cost(op: int, shape: CellShape, source: int) -> tuple[int, int]:
    """Multiply-adds and parameters, affine batch norm included, of an operator on an edge from node `source`."""
    width, halved = shape.channels, shape.reduction and source < 2
    depthwise = SEPARABLE | DILATED
    if op in depthwise:
        weights = depthwise[op] ** 2 * width + width**2
        times = 2 if op in SEPARABLE else 1
        return times * weights * shape.out_side**2, times * (weights + 2 * width)
    if op == SKIP and halved:
        return width**2 * shape.out_side**2, width**2 + 2 * width
    return 0, 0


def darts_cost(skeleton: DartsSkeleton, shared_cell: bool = True) -> CostTable:
    """Exact cost table of the stand-alone network over a skeleton, its auxiliary head left out (docs/method.md 7);
    where operators see a part of the channels, of the supernet whose mixtures do.

    Multiply-adds are those of convolutions and the classifier without its bias; parameters include affine batch norm
    and that bias. An edge that is `none` is absent, so a cost is a sum over edges for any choices, archs or not.

    Args:
        shared_cell: `per_edge` is `(14, 8, 2)`, or `(28, 8, 2)` for separate cells.
    """
    width, cells = skeleton.channels, skeleton.cells
    base = np.zeros(2, np.int64)

    def add(weights: int, side: int, other: int) -> None:
        base[:] += weights * side**2, weights + other

    if skeleton.stem == "cifar":
        add(9 * skeleton.in_channels * 3 * width, skeleton.resolution, 2 * 3 * width)
    else:
        widths = (skeleton.in_channels, width // 2, width, width)
        for (c_in, c_out), stride in zip(itertools.pairwise(widths), (2, 4, 8), strict=True):
            add(9 * c_in * c_out, -(-skeleton.resolution // stride), 2 * c_out)
    per_edge = np.zeros((len(EDGES) * (1 if shared_cell else 2), len(OPERATORS), 2), np.int64)
    for shape in cells:
        add((shape.c_before + shape.c_last) * shape.channels, shape.side, 4 * shape.channels)
        first = len(EDGES) if shape.reduction and not shared_cell else 0
        seen = shape._replace(channels=shape.channels // skeleton.partial)
        for edge, (source, _) in enumerate(EDGES):
            for op in range(len(OPERATORS)):
                per_edge[first + edge, op] += operator_cost(op, seen, source)
    add(4 * cells[-1].channels * skeleton.num_classes, 1, skeleton.num_classes)
    return CostTable(base, per_edge)
