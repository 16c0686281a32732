"""The MobileNet-like space: inverted bottlenecks of different kernel and expansion, layer by layer (paper Table 2).

Source: Cai, Zhu and Han, "ProxylessNAS", ICLR 2019; the blocks are those of MobileNetV2 (Sandler et al., CVPR 2018).
The three operators with group size 2 are what we take SE-NAS-D to add: the paper does not name them (METHOD section 6).
"""

from senas_bench.spaces.mobilenet.cost import block_cost, mobilenet_cost
from senas_bench.spaces.mobilenet.reference import KNOWN_NETWORKS, KnownNetwork
from senas_bench.spaces.mobilenet.skeleton import FIRST, TABLE2, Block, Layer, MobileSkeleton, small_image
from senas_bench.spaces.mobilenet.space import (
    BLOCKS,
    IDENTITY,
    MOBILENET,
    MOBILENET_G2,
    OPERATORS,
    arch_from_str,
    arch_to_str,
    mobilenet_space,
)

__all__ = [
    "BLOCKS",
    "FIRST",
    "IDENTITY",
    "KNOWN_NETWORKS",
    "MOBILENET",
    "MOBILENET_G2",
    "OPERATORS",
    "TABLE2",
    "Block",
    "KnownNetwork",
    "Layer",
    "MobileSkeleton",
    "arch_from_str",
    "arch_to_str",
    "block_cost",
    "mobilenet_cost",
    "mobilenet_space",
    "small_image",
]
