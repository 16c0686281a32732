"""The MobileNet-like space: inverted bottlenecks of different kernel and expansion, layer by layer (paper Table 2).

Source: Cai, Zhu and Han, "ProxylessNAS", ICLR 2019; the blocks are those of MobileNetV2 (Sandler et al., CVPR 2018).
The three operators with group size 2 are what we take SE-NAS-D to add: the paper does not name them (docs/method.md 6).
FairNAS has a variant of its own, without identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from senas_bench.spaces.mobilenet.cost import block_cost, mobilenet_cost
from senas_bench.spaces.mobilenet.reference import FAIR, KNOWN_NETWORKS, KnownNetwork
from senas_bench.spaces.mobilenet.skeleton import FIRST, TABLE2, Block, Layer, MobileSkeleton, small_image
from senas_bench.spaces.mobilenet.space import (
    BLOCKS,
    IDENTITY,
    MOBILENET,
    MOBILENET_FAIR,
    MOBILENET_G2,
    OPERATORS,
    arch_from_str,
    arch_to_str,
    mobilenet_space,
)
from senas_bench.spaces.mobilenet.studies import FAIR_STUDIES, STUDIES
from senas_bench.spaces.space import Arch, ImageShape, NetworkSizes, SearchSpace, Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn


def _skeleton(images: ImageShape, sizes: NetworkSizes, like: MobileSkeleton = TABLE2) -> MobileSkeleton:
    """A large network keeps the paper's strides; small images take fewer, see `small_image`."""
    if images.resolution >= like.resolution:
        return replace(like, **images._asdict())
    return small_image(**images._asdict(), factor=sizes.width, skeleton=like)


def _network(space: SearchSpace, skeleton: MobileSkeleton, affine: bool) -> nn.Module:
    from senas_bench.spaces.mobilenet.network import MobileNetwork

    return MobileNetwork(space, skeleton, affine)


def _draw(archs: Sequence[tuple[str, Arch]], skeleton: MobileSkeleton = TABLE2) -> Figure:
    from senas_bench.spaces.mobilenet.drawing import draw_over

    return draw_over(archs, skeleton)


MOBILENET_SPACE = Space(
    whole=MOBILENET,
    to_str=arch_to_str,
    from_str=arch_from_str,
    cost=mobilenet_cost,
    skeletons={"imagenet": TABLE2},
    skeleton=_skeleton,
    network=_network,
    draw=_draw,
    draw_over=_draw,
    over=mobilenet_space,
    reference=TABLE2,
    studies=STUDIES,
)
GROUP2_SPACE = replace(
    MOBILENET_SPACE,
    whole=MOBILENET_G2,
    from_str=partial(arch_from_str, space=MOBILENET_G2),
    over=partial(mobilenet_space, group2=True),
)
FAIR_SPACE = replace(
    MOBILENET_SPACE,
    whole=MOBILENET_FAIR,
    from_str=partial(arch_from_str, space=MOBILENET_FAIR),
    skeletons={"imagenet": FAIR},
    skeleton=partial(_skeleton, like=FAIR),
    draw=partial(_draw, skeleton=FAIR),
    over=partial(mobilenet_space, identity=False),
    reference=FAIR,
    studies=FAIR_STUDIES,
)

__all__ = [
    "BLOCKS",
    "FAIR",
    "FAIR_SPACE",
    "FIRST",
    "GROUP2_SPACE",
    "IDENTITY",
    "KNOWN_NETWORKS",
    "MOBILENET",
    "MOBILENET_FAIR",
    "MOBILENET_G2",
    "MOBILENET_SPACE",
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
