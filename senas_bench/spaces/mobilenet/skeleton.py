"""What surrounds the choices of a MobileNet-like network, and what its blocks are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple


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
