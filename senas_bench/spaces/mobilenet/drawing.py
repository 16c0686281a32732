"""MobileNet-like networks as rows of blocks, as the paper's Figs. 9 and 10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from senas_bench.plotting import COLUMN, house_style
from senas_bench.spaces.mobilenet import (
    BLOCKS,
    FIRST,
    OPERATORS,
    TABLE2,
    Block,
    MobileSkeleton,
    mobilenet_cost,
    mobilenet_space,
)
from senas_bench.spaces.space import Arch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from senas_bench.spaces.drawing import GREY, MARGIN, canvas, draw_title, shorten

KERNELS = {3: "#009e73", 5: "#e69f00", 7: "#0072b2"}
"""Green, orange and blue as in the paper, in Okabe and Ito's tones."""
TINTS = {3: "#b3e2d5", 5: "#f7e1b3", 7: "#b3d5e8"}
"""Of blocks whose 1x1 convolutions have two groups."""
FIXED = "#dddddd"
TALLEST = max(block.expansion for block in BLOCKS.values())
RISE = 0.075
"""Inches of height per unit of expansion."""
PITCH = 0.16
"""Inches from one block to the next, at most."""
GAP = 0.6
"""Free space between stages, as a share of the pitch."""
HEAD, FOOT, BETWEEN = 0.17, 0.2, 0.08
"""Inches of a row's title, of its channel numbers, and between rows."""


class _Bar(NamedTuple):
    """A block of a row.

    Args:
        place: Of its centre, in pitches from the left.
        block: None for what is no inverted bottleneck: identity, or what stands around the choices.
        dotted: Whether it has a stride.
        words: What a fixed block says.
        fixed: Whether it is none of the choices.
    """

    place: float
    block: Block | None
    dotted: bool
    words: str = ""
    fixed: bool = False


class _Span(NamedTuple):
    """A stage of a row: centres of its first and last block, in pitches, and its channels."""

    first: float
    last: float
    channels: int


def draw_mobilenet(arch: Arch, skeleton: MobileSkeleton = TABLE2, title: str = "") -> Figure:
    """A MobileNet-like network as a row of blocks; see `draw_mobilenets`."""
    return draw_mobilenets({title: (arch, skeleton)})


def draw_mobilenets(networks: Mapping[str, tuple[Arch, MobileSkeleton]]) -> Figure:
    """MobileNet-like networks, one row of blocks each, in the manner of the paper's Figs. 9 and 10.

    Colour tells the kernel, height the expansion, a light hatched block two groups, a dotted outline a stride, an open
    circle identity. Grey blocks are fixed. Numbers below are channels, and a row's title says what the network costs.

    Args:
        networks: Arch and skeleton by label.

    Raises:
        ValueError: No network, or an arch does not lie in the space of its skeleton.
    """
    return _draw_rows([(label, *network) for label, network in networks.items()])


def _draw_rows(networks: Sequence[tuple[str, Arch, MobileSkeleton]]) -> Figure:
    if not networks:
        raise ValueError("no networks to draw; give at least one")
    rows = [_row(arch, skeleton) for _, arch, skeleton in networks]
    longest = max(bars[-1].place for bars, _ in rows) + 1
    pitch = min(PITCH, (COLUMN - 2 * MARGIN) / longest)
    row_height = HEAD + TALLEST * RISE + FOOT
    keys = 0.38
    height = 2 * MARGIN + len(rows) * (row_height + BETWEEN) + keys
    with house_style():
        figure, axis = canvas(COLUMN, height)
        for n, ((label, arch, skeleton), (bars, spans)) in enumerate(zip(networks, rows, strict=True)):
            top = height - MARGIN - n * (row_height + BETWEEN)
            draw_title(axis, MARGIN, top, shorten(label, 28))
            axis.text(COLUMN - MARGIN, top - 0.03, _cost(arch, skeleton), va="top", ha="right", fontsize=6)
            middle = top - HEAD - TALLEST * RISE / 2
            _draw_row(axis, bars, spans, pitch, middle)
            _draw_upright(axis, MARGIN + 0.4 * pitch, middle, f"{skeleton.resolution} px")
        blocks = [bar.block for bars, _ in rows for bar in bars if bar.block]
        _draw_keys(axis, keys, grouped=any(block.groups > 1 for block in blocks))
    return figure


def _row(arch: Arch, skeleton: MobileSkeleton) -> tuple[list[_Bar], list[_Span]]:
    """What to draw from left to right; a stage, the stem and the head begin after a gap."""
    space = mobilenet_space(skeleton, group2=True)
    if arch not in space:
        raise ValueError(
            f"{arch} is no arch of this skeleton: give one operator for each of its {len(space.edges)} layers, "
            f"identity nowhere in a stage's first block; operators: {', '.join(OPERATORS)}"
        )
    stem = _Bar(1 + GAP, None, skeleton.stem_stride > 1, "conv 3×3", fixed=True)
    bars = [stem, _Bar(stem.place + 1 + GAP, FIRST, False, fixed=True)]
    widths = (skeleton.stem, skeleton.first)
    spans = [_Span(bar.place, bar.place, channels) for bar, channels in zip(bars, widths, strict=True)]
    for op, layer in zip(arch, skeleton.layers, strict=True):
        place = bars[-1].place + 1 + (0 if layer.skippable else GAP)
        if not layer.skippable:
            spans.append(_Span(place, place, layer.c_out))
        bars.append(_Bar(place, BLOCKS.get(op), layer.stride > 1))
        spans[-1] = spans[-1]._replace(last=place)
    last = bars[-1].place + 1 + GAP
    bars += [_Bar(last, None, False, "conv 1×1", True), _Bar(last + 1, None, False, f"FC {skeleton.num_classes}", True)]
    return bars, [*spans, _Span(last, last, skeleton.last)]


def _cost(arch: Arch, skeleton: MobileSkeleton) -> str:
    cost = mobilenet_cost(skeleton)(np.array([arch]))
    kept = sum(op in BLOCKS for op in arch)
    return f"{cost['flops_m'][0]:.1f}M FLOPs, {cost['params'][0] / 1e6:.2f}M params, {kept} layers"


def _draw_row(axis: Axes, bars: Sequence[_Bar], spans: Sequence[_Span], pitch: float, middle: float) -> None:
    ends = [MARGIN + bars[end].place * pitch for end in (0, -1)]
    axis.plot(ends, [middle] * 2, color=GREY, linewidth=0.7, zorder=1)
    for bar in bars:
        _draw_bar(axis, MARGIN + bar.place * pitch, middle, bar, 0.78 * pitch)
    foot = middle - TALLEST * RISE / 2 - 0.045
    for span in spans:
        left, right = (MARGIN + place * pitch for place in (span.first - 0.39, span.last + 0.39))
        axis.plot([left, right], [foot] * 2, color=GREY, linewidth=0.6, solid_capstyle="butt")
        axis.text((left + right) / 2, foot - 0.025, str(span.channels), ha="center", va="top", fontsize=5.4)


def _draw_bar(axis: Axes, x: float, middle: float, bar: _Bar, width: float) -> None:
    if bar.block is None and not bar.fixed:
        axis.plot(x, middle, "o", markersize=2.6, color="white", markeredgecolor=GREY, markeredgewidth=0.7, zorder=2)
        return
    height = RISE * (bar.block.expansion if bar.block else TALLEST)
    _draw_block(axis, x, middle, width, height, None if bar.fixed else bar.block, bar.dotted)
    if bar.words:
        _draw_upright(axis, x, middle, bar.words)


def _draw_upright(axis: Axes, x: float, middle: float, words: str) -> None:
    """Words from bottom to top."""
    points = 5.4
    baseline = x + 0.36 * points / 72  # half the height of a capital to the right
    style = {"rotation": 90, "rotation_mode": "anchor", "ha": "center", "va": "baseline"}
    axis.text(baseline, middle, words, fontsize=points, zorder=4, **style)


def _draw_block(
    axis: Axes, x: float, middle: float, width: float, height: float, block: Block | None, dotted: bool
) -> None:
    """One rectangle; without a block it is grey: fixed."""
    from matplotlib.patches import Rectangle

    corner = (x - width / 2, middle - height / 2)
    light = block is not None and block.groups > 1
    fill = FIXED if block is None else (TINTS if light else KERNELS)[block.kernel]
    hatch: dict[str, Any] = {"linewidth": 0}
    if block is not None and light:
        hatch = {"hatch": "//////", "edgecolor": KERNELS[block.kernel], "linewidth": 0.5}
    axis.add_patch(Rectangle(corner, width, height, facecolor=fill, zorder=2, **hatch))
    if dotted:
        outline = {"linestyle": (0, (1, 1)), "linewidth": 1.1, "edgecolor": "black"}
        axis.add_patch(Rectangle(corner, width, height, facecolor="none", zorder=3, **outline))


def _draw_keys(axis: Axes, height: float, grouped: bool) -> None:
    """The legend, in two lines of four: each key is drawn as in a row."""
    wide, tall, columns = 0.1, 0.15, (0, 0.72, 1.44, 2.3)
    keys = [(f"kernel {kernel}", [(Block(kernel, TALLEST), False, tall)]) for kernel in KERNELS]
    keys.append(("expansion 3, 6", [(Block(7, 3), False, tall / 2), (Block(7, 6), False, tall)]))
    keys += [("fixed", [(None, False, tall)]), ("identity", []), ("stride 2", [(Block(7, 6), True, tall)])]
    keys += [("2 groups", [(Block(7, 6, groups=2), False, tall)])] if grouped else []
    for n, (words, samples) in enumerate(keys):
        x = MARGIN + columns[n % 4] + wide / 2
        middle = MARGIN + height * (0.75 if n < 4 else 0.22)
        for block, dotted, high in samples:
            _draw_block(axis, x, middle, wide, high, block, dotted)
            x += wide + 0.03
        if not samples:
            axis.plot([x - wide / 2, x + wide / 2], [middle] * 2, color=GREY, linewidth=0.7, zorder=1)
            _draw_bar(axis, x, middle, _Bar(0, None, False), wide)
            x += wide + 0.03
        axis.text(x - 0.02, middle, words, va="center_baseline", fontsize=6)


def draw_over(archs: Sequence[tuple[str, Arch]], skeleton: MobileSkeleton = TABLE2) -> Figure:
    """Labelled archs over one skeleton."""
    return _draw_rows([(label, arch, skeleton) for label, arch in archs])
