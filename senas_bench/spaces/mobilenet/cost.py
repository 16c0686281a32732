"""FLOPs and parameters of MobileNet-like networks in closed form."""

from __future__ import annotations

import numpy as np

from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.mobilenet.skeleton import FIRST, TABLE2, Block, MobileSkeleton
from senas_bench.spaces.mobilenet.space import BLOCKS, OPERATORS


def block_cost(block: Block, c_in: int, c_out: int, stride: int, side: int) -> tuple[int, int]:
    """Multiply-adds and parameters, affine batch norm included, of one inverted bottleneck.

    Args:
        side: Height and width of its input in pixels. The expanding convolution runs there, the projection behind the
            stride.
    """
    hidden = block.expansion * c_in
    expands = block.expansion > 1
    expand = c_in * hidden // block.groups if expands else 0
    rest = block.kernel**2 * hidden + hidden * c_out // block.groups
    norms = 2 * (hidden * (2 if expands else 1) + c_out)
    return expand * side**2 + rest * (-(-side // stride)) ** 2, expand + rest + norms


def mobilenet_cost(skeleton: MobileSkeleton = TABLE2) -> CostTable:
    """Exact cost table of the stand-alone network over a skeleton, for both spaces (docs/method.md 6).

    Multiply-adds are those of convolutions and the classifier without its bias: so counted, MobileNetV2-1.0 has the
    300.774M that are commonly printed. `per_edge` is `(layers, 10, 2)`; identity costs nothing.
    """
    stem = 9 * skeleton.in_channels * skeleton.stem
    last = skeleton.layers[-1].c_out * skeleton.last
    head = skeleton.last * skeleton.num_classes
    base = np.array(
        [
            stem * skeleton.side**2 + last * skeleton.last_side**2 + head,
            stem + 2 * skeleton.stem + last + 2 * skeleton.last + head + skeleton.num_classes,
        ],
        np.int64,
    )
    base += block_cost(FIRST, skeleton.stem, skeleton.first, 1, skeleton.side)
    per_edge = np.zeros((len(skeleton.layers), len(OPERATORS), 2), np.int64)
    for edge, layer in enumerate(skeleton.layers):
        for op, block in BLOCKS.items():
            per_edge[edge, op] = block_cost(block, layer.c_in, layer.c_out, layer.stride, layer.side)
    return CostTable(base, per_edge)
