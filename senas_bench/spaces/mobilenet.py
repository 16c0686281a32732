"""The MobileNet-like space: inverted bottlenecks of different kernel and expansion, layer by layer (paper Table 2).

Source: Cai, Zhu and Han, "ProxylessNAS", ICLR 2019; the blocks are those of MobileNetV2 (Sandler et al., CVPR 2018).
The three operators with group size 2 are what we take SE-NAS-D to add: the paper does not name them (docs/method.md 6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .cost import CostTable
from .space import Arch, SearchSpace


class Block(NamedTuple):
    """What tells one inverted bottleneck from another.

    Args:
        kernel: Of the depthwise convolution.
        expansion: Hidden channels per input channel; 1 has no expanding convolution.
        groups: Of the two 1x1 convolutions, expanding and projecting.
    """

    kernel: int
    expansion: int
    groups: int = 1


FIRST = Block(3, 1)
"""The fixed block behind the stem."""

OPERATORS = ("k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6", "identity", "k3e6g2", "k5e6g2", "k7e6g2")
IDENTITY = OPERATORS.index("identity")
BLOCKS = {
    **dict(enumerate(Block(kernel, expansion) for kernel in (3, 5, 7) for expansion in (3, 6))),
    **{IDENTITY + i: Block(kernel, 6, groups=2) for i, kernel in enumerate((3, 5, 7), start=1)},
}
"""The block of each operator; identity has none. Operators behind identity are in the group-2 space only."""


class Layer(NamedTuple):
    """One decision position.

    Args:
        name: `stage.block`, both from 1, such as `2.1`.
        c_in, c_out, stride: Of whatever block is chosen.
        side: Height and width of its input in pixels.
        skippable: Whether identity is a candidate: anywhere but in a stage's first block.
    """

    name: str
    c_in: int
    c_out: int
    stride: int
    side: int
    skippable: bool


@dataclass(frozen=True)
class MobileSkeleton:
    """What surrounds the choices; the defaults are the paper's Table 2, which is Proxyless-GPU's.

    Stem 3x3, a fixed block of expansion 1 and stride 1, stages of layers, a 1x1 convolution, mean over pixels, and a
    classifier.

    Args:
        resolution: Height and width of an image in pixels.
        num_classes, in_channels: Of the data.
        stem, stem_stride: Channels and stride of the stem.
        first: Channels of the fixed block.
        widths, repeats, strides: Per stage its channels, its layers, and the stride of its first layer.
        last: Channels of the last convolution.

    Raises:
        ValueError: The stages' fields differ in length, or a number is below 1.
    """

    resolution: int = 224
    num_classes: int = 1000
    in_channels: int = 3
    stem: int = 40
    first: int = 24
    widths: tuple[int, ...] = (32, 56, 112, 128, 256, 432)
    repeats: tuple[int, ...] = (4, 4, 4, 4, 4, 1)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1)
    last: int = 1728
    stem_stride: int = 2

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.repeats) == len(self.strides):
            raise ValueError(
                f"{len(self.widths)} widths, {len(self.repeats)} repeats and {len(self.strides)} strides; "
                "give one of each per stage"
            )
        sizes = (self.resolution, self.num_classes, self.in_channels, self.stem, self.first, self.last)
        if min(*sizes, self.stem_stride, *self.widths, *self.repeats, *self.strides) < 1:
            raise ValueError(f"every number of a skeleton must be at least 1: {self}")

    @property
    def side(self) -> int:
        """Height and width behind the stem, in pixels."""
        return -(-self.resolution // self.stem_stride)

    @property
    def last_side(self) -> int:
        """Height and width of the last feature map, in pixels."""
        return -(-self.side // math.prod(self.strides))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The decision positions, shallow to deep.

        None of their numbers depends on a choice: identity is allowed only where it keeps width and resolution.
        """
        layers = []
        c_in, side = self.first, self.side
        for stage, (width, repeats, stride) in enumerate(zip(self.widths, self.repeats, self.strides, strict=True), 1):
            layers.append(Layer(f"{stage}.1", c_in, width, stride, side, skippable=False))
            c_in, side = width, -(-side // stride)
            layers += [Layer(f"{stage}.{block}", width, width, 1, side, True) for block in range(2, repeats + 1)]
        return tuple(layers)


TABLE2 = MobileSkeleton()


def small_image(
    resolution: int,
    num_classes: int,
    in_channels: int = 3,
    factor: float = 1.0,
    skeleton: MobileSkeleton = TABLE2,
    smallest: int = 4,
) -> MobileSkeleton:
    """A skeleton for images much smaller than 224x224: the same layers, hence the same space, with fewer strides.

    The shallowest strides become 1, the stem's first, until the last feature map is `smallest` pixels wide or more:
    32x32 images keep three strides of five (stages 2, 3 and 5), 8x8 images that of stage 5.

    Args:
        factor: All widths are multiplied by it and rounded to even numbers, at least 2, so that group size 2 fits.
        smallest: In pixels.
    """

    def scaled(width: int) -> int:
        return max(2, 2 * round(width * factor / 2))

    strides = [skeleton.stem_stride, *skeleton.strides]
    for position in range(len(strides)):
        if -(-resolution // math.prod(strides)) < smallest:
            strides[position] = 1
    return replace(
        skeleton,
        resolution=resolution,
        num_classes=num_classes,
        in_channels=in_channels,
        stem=scaled(skeleton.stem),
        first=scaled(skeleton.first),
        widths=tuple(map(scaled, skeleton.widths)),
        last=scaled(skeleton.last),
        stem_stride=strides[0],
        strides=tuple(strides[1:]),
    )


def mobilenet_space(skeleton: MobileSkeleton = TABLE2, group2: bool = False) -> SearchSpace:
    """The space over a skeleton's layers; with its default 21 layers and 6^6 x 7^15 archs (the paper writes 7^21).

    Args:
        group2: Adds the three operators of SE-NAS-D. The space is then named `mobilenet-g2`; an arch of the smaller
            space is the same arch in it.
    """
    blocks = tuple(op for op in BLOCKS if group2 or op < IDENTITY)
    return SearchSpace(
        name="mobilenet-g2" if group2 else "mobilenet",
        operators=OPERATORS if group2 else OPERATORS[: IDENTITY + 1],
        edges=tuple(layer.name for layer in skeleton.layers),
        candidates=tuple(
            tuple(sorted((*blocks, IDENTITY))) if layer.skippable else blocks for layer in skeleton.layers
        ),
    )


MOBILENET = mobilenet_space()
MOBILENET_G2 = mobilenet_space(group2=True)


def _code(op: int) -> str:
    return "-1" if op == IDENTITY else str(op)


def arch_to_str(arch: Arch) -> str:
    """One code per layer, shallow to deep, separated by spaces, such as `2 -1 -1 -1 4 -1 ...`.

    A code is the operator's index: k3e3, k3e6, k5e3, k5e6, k7e3, k7e6 are 0 to 5, the group-2 variants k3e6g2, k5e6g2,
    k7e6g2 are 7 to 9. Identity is -1, though 6 in the tuple.
    """
    return " ".join(map(_code, arch))


def arch_from_str(text: str, space: SearchSpace = MOBILENET) -> Arch:
    """Read the codes of an arch; see `arch_to_str`.

    Args:
        space: Where the arch must lie.

    Raises:
        ValueError: The text does not describe an arch of the space; the message says what is wrong and allowed.
    """
    codes = text.split()
    if len(codes) != len(space.edges):
        raise ValueError(
            f"bad arch string {text!r}: {len(codes)} codes for {len(space.edges)} layers; "
            "write one code per layer, separated by spaces, -1 for identity"
        )
    arch = []
    for layer, code, alive in zip(space.edges, codes, space.candidates, strict=True):
        allowed = {_code(op): op for op in alive}
        if code not in allowed:
            names = ", ".join(f"{known} {space.operators[op]}" for known, op in allowed.items())
            raise ValueError(f"bad arch string {text!r}: {code!r} on layer {layer}; one of: {names}")
        arch.append(allowed[code])
    return tuple(arch)


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


class KnownNetwork(NamedTuple):
    """A published network: the arch over its own skeleton."""

    skeleton: MobileSkeleton
    arch: Arch


def _known(codes: str, **sizes: int | tuple[int, ...]) -> KnownNetwork:
    skeleton = MobileSkeleton(**sizes)
    return KnownNetwork(skeleton, arch_from_str(codes, mobilenet_space(skeleton)))


KNOWN_NETWORKS = {
    "mobilenetv2-1.0": _known(
        "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        stem=32,
        first=16,
        widths=(24, 32, 64, 96, 160, 320),
        repeats=(2, 3, 4, 3, 3, 1),
        last=1280,
    ),
    "proxyless-gpu": _known("2 -1 -1 -1 4 -1 -1 0 5 -1 -1 2 3 -1 0 2 5 5 5 3 5"),
    "proxyless-mobile": _known(
        "2 0 -1 -1 4 0 2 2 5 2 2 2 3 2 2 2 5 5 4 4 5",
        stem=32,
        first=16,
        widths=(32, 40, 80, 96, 192, 320),
        last=1280,
    ),
    "proxyless-cpu": _known(
        "1 0 0 0 1 0 0 2 1 0 -1 -1 3 0 0 0 3 2 2 0 3",
        widths=(32, 48, 88, 104, 216, 360),
        last=1432,
    ),
}
"""MobileNetV2-1.0 (Sandler et al., CVPR 2018) and the networks found by ProxylessNAS, for ImageNet."""
