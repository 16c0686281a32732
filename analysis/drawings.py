"""Pictures of archs: networks as rows of blocks, as the paper's Figs. 9 and 10, and cells as graphs, as its 11 and 12.

Everything is placed in inches on one axes that fills the figure, so no label moves and what is apart stays apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from senas_bench.names import lookup
from senas_bench.spaces import darts, nasbench201
from senas_bench.spaces.archfile import NamedArch
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
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.space import Arch

from .figures import COLUMN, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, PALE = "#222222", "#8a8a8a", "#c9c9c9"
MARGIN = 0.06
"""Inches left free around everything."""


def draw(space: str, archs: Sequence[NamedArch]) -> Figure:
    """One figure of archs of one space; those of a MobileNet-like space over the paper's Table 2.

    Args:
        space: A key of `DRAWERS`.
        archs: At least one, all of that space.

    Raises:
        ValueError: Unknown space, an arch of another, or none.
    """
    drawer = lookup("space", space, DRAWERS)
    others = sorted({named.space for named in archs} - {space})
    if others or not archs:
        raise ValueError(f"no archs of {space} to draw{'; these are of ' + ', '.join(others) if others else ''}")
    several = len(archs) > 1
    return drawer([(named.label or (f"arch {n}" if several else ""), named.arch) for n, named in enumerate(archs, 1)])


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
        figure, axis = _canvas(COLUMN, height)
        for n, ((label, arch, skeleton), (bars, spans)) in enumerate(zip(networks, rows, strict=True)):
            top = height - MARGIN - n * (row_height + BETWEEN)
            _draw_title(axis, MARGIN, top, _cut(label, 28))
            axis.text(COLUMN - MARGIN, top - 0.03, _cost(arch, skeleton), va="top", ha="right", fontsize=5.6)
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
        axis.text((left + right) / 2, foot - 0.025, str(span.channels), ha="center", va="top", fontsize=4.8)


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
    points = 4.8
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
    hatch = {"hatch": "//////", "edgecolor": KERNELS[block.kernel], "linewidth": 0.5} if light else {"linewidth": 0}
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


SHORT = {
    "max_pool_3x3": "max 3×3",
    "avg_pool_3x3": "avg 3×3",
    "skip_connect": "skip",
    "sep_conv_3x3": "sep 3×3",
    "sep_conv_5x5": "sep 5×5",
    "dil_conv_3x3": "dil 3×3",
    "dil_conv_5x5": "dil 5×5",
    "nor_conv_1x1": "conv 1×1",
    "nor_conv_3x3": "conv 3×3",
}
"""What labels say. `none` has none: it is not drawn."""
FAMILIES = {
    "max": ("#e69f00", "#fdf1d9"),
    "avg": ("#e69f00", "#fdf1d9"),
    "skip": ("#7f7f7f", "#f0f0f0"),
    "sep": ("#0072b2", "#dcecf7"),
    "dil": ("#009e73", "#dbf3ec"),
    "nor": ("#0072b2", "#dcecf7"),
}
"""Line and fill by what an operator's name begins with; the label says it too."""
ROW, LANE, TITLE = 0.17, 0.09, 0.24
"""Inches of one input of a node, between the lanes of two nodes, and of a panel's title."""


class Sizes(NamedTuple):
    """Of a cell's parts, in inches; of letters, in points.

    Args:
        label, port: Width and height of an operator's label, and of the box of the cell's input or output.
        link: From a label to its node.
        radius: Of a node.
        font: Of labels; names are a point larger.
    """

    label: tuple[float, float]
    port: tuple[float, float]
    link: float
    radius: float
    font: float


ROOMY = Sizes((0.41, 0.13), (0.27, 0.17), 0.1, 0.085, 5.6)
TIGHT = Sizes((0.35, 0.12), (0.25, 0.16), 0.065, 0.07, 5.0)
"""For cells with a path of four nodes, the longest possible."""


@dataclass(frozen=True)
class Cell:
    """A cell as a graph.

    Args:
        inputs, nodes: Their names; an edge counts the inputs first.
        edges: `(operator, source, target)`, none of them `none`; every source comes before its target.
        output: Name of the concatenation of all nodes; None where the last node is the output.
    """

    inputs: tuple[str, ...]
    nodes: tuple[str, ...]
    edges: tuple[tuple[str, int, int], ...]
    output: str | None = None


class Layout(NamedTuple):
    """Where a cell's parts go: columns from left to right, and rows, which are inches from the top.

    Each node has a lane of its own, as high as it has inputs. Left of a node its lane holds nothing but these inputs,
    each in a row, and right of it nothing but its way to the output; lines change rows only between columns. So no line
    ever meets the label of another.

    Args:
        columns: Of inputs and nodes: the length of the longest path to each.
        heights: Of inputs and nodes.
        rows: Of the edges.
        height: Of the whole.
    """

    columns: tuple[int, ...]
    heights: tuple[float, ...]
    rows: tuple[float, ...]
    height: float


def draw_darts(arch: Arch, title: str = "", cell: str | None = None) -> Figure:
    """The cell of a DARTS arch, or its normal and its reduction cell, as the paper's Figs. 11 and 12.

    A label on each line says the operator; the output joins all four nodes.

    Args:
        arch: 14 edges, or 28.
        title: Stands before the name of the cell.
        cell: `normal` or `reduce`, to draw that one alone.

    Raises:
        ValueError: These are not 14 or 28 edges, a node has not exactly two inputs, or the cell is unknown.
    """
    return _draw_cells(_darts_panels(arch, title, cell), columns=1)


def draw_nasbench201(arch: Arch, title: str = "") -> Figure:
    """The cell of a NAS-Bench-201 arch; edges that are `none` are left out.

    Raises:
        ValueError: This is no arch of the space.
    """
    return _draw_cells(_nasbench201_panels(arch, title), columns=1)


def _darts_panels(arch: Arch, title: str, cell: str | None = None) -> list[tuple[str, Cell]]:
    genotype = darts.arch_to_genotype(arch)
    cells = {"normal": ("normal cell", genotype.normal), "reduce": ("reduction cell", genotype.reduce)}
    found = list(cells.values())
    if cell is not None:
        found = [lookup("cell", cell, cells)]
    elif len(arch) == len(darts.EDGES):
        found = [("normal and reduction cell", genotype.normal)]
    return [
        (
            f"{_cut(title, 30)}: {kind}" if title else kind.capitalize(),
            Cell(
                inputs=("$c_{k-2}$", "$c_{k-1}$"),
                nodes=("0", "1", "2", "3"),
                edges=tuple((name, source, 2 + n // 2) for n, (name, source) in enumerate(inputs)),
                output="$c_k$",
            ),
        )
        for kind, inputs in found
    ]


def _nasbench201_panels(arch: Arch, title: str) -> list[tuple[str, Cell]]:
    if arch not in NB201:
        raise ValueError(f"{arch} is no arch of {NB201.name}: give one operator, 0 to 4, for each of its 6 edges")
    edges = [(NB201.operators[op], *ends) for op, ends in zip(arch, nasbench201.EDGES, strict=True)]
    cell = Cell(("0",), ("1", "2", "3"), tuple(edge for edge in edges if edge[0] != "none"))
    return [(_cut(title, 48) or "Cell", cell)]


def layout(cell: Cell) -> Layout:
    """Place a cell: of all orders of its lanes, the one with the fewest crossings, and of these the shortest lines."""
    columns = [0] * len(cell.inputs) + [1] * len(cell.nodes)
    for _, source, target in sorted(cell.edges, key=lambda edge: edge[2]):
        columns[target] = max(columns[target], columns[source] + 1)
    orders = itertools.permutations(range(len(cell.inputs), len(columns)))
    return min((_place(cell, tuple(columns), order) for order in orders), key=lambda found: _untidiness(cell, found))


def _place(cell: Cell, columns: tuple[int, ...], lanes: Sequence[int]) -> Layout:
    """The layout with the nodes' lanes in a given order, top to bottom."""
    tops, top = {}, 0.0
    count = {node: max(1, sum(target == node for *_, target in cell.edges)) for node in lanes}
    for node in lanes:
        tops[node], top = top, top + count[node] * ROW + LANE
    height = top - LANE
    heights = [height * (2 * n + 1) / (2 * len(cell.inputs)) for n in range(len(cell.inputs))]
    heights += [tops[node] + count[node] * ROW / 2 for node in sorted(lanes)]
    rows = [0.0] * len(cell.edges)
    for node in lanes:
        into = [n for n, (*_, target) in enumerate(cell.edges) if target == node]
        for nth, edge in enumerate(sorted(into, key=lambda n: heights[cell.edges[n][1]])):
            rows[edge] = tops[node] + (nth + 0.5) * ROW
    return Layout(columns, tuple(heights), tuple(rows), height)


def _untidiness(cell: Cell, found: Layout) -> tuple[int, float]:
    """How many pairs of lines cross, and how far lines go up and down in all, in inches."""
    last = max(found.columns)
    lines: list[list[tuple[float, float]]] = [[] for _ in range(last + 1)]  # per gap between columns, from and to
    for row, (_, source, target) in zip(found.rows, cell.edges, strict=True):
        first = found.columns[source]
        lines[first].append((found.heights[source], row))
        for gap in range(first + 1, found.columns[target]):
            lines[gap].append((row, row))
    if cell.output:
        for node in range(len(cell.inputs), len(found.columns)):
            for gap in range(found.columns[node], last):
                lines[gap].append((found.heights[node],) * 2)
    crossings = sum((a[0] - b[0]) * (a[1] - b[1]) < -1e-9 for gap in lines for a, b in itertools.combinations(gap, 2))
    return crossings, round(sum(abs(start - end) for gap in lines for start, end in gap), 6)


def _draw_cells(panels: Sequence[tuple[str, Cell]], columns: int) -> Figure:
    """Panels row by row, each as wide as a column of a paper."""
    layouts = [layout(cell) for _, cell in panels]
    sizes = TIGHT if max(max(found.columns) for found in layouts) > 3 else ROOMY
    rows = [layouts[n : n + columns] for n in range(0, len(layouts), columns)]
    depths = [TITLE + max(found.height for found in row) + 2 * MARGIN for row in rows]
    with house_style():
        figure, axis = _canvas(COLUMN * columns, sum(depths))
        for n, ((title, cell), found) in enumerate(zip(panels, layouts, strict=True)):
            left, top = COLUMN * (n % columns) + MARGIN, sum(depths[n // columns :]) - MARGIN
            _draw_title(axis, left, top, title)
            _draw_cell(axis, cell, found, sizes, left, top - TITLE)
    return figure


def _draw_cell(axis: Axes, cell: Cell, found: Layout, sizes: Sizes, left: float, top: float) -> None:
    """One cell, its upper left corner given."""
    last, right = max(found.columns), left + COLUMN - 2 * MARGIN
    step = sizes.label[0] + sizes.link + 2 * sizes.radius
    ports = 2 if cell.output else 1
    gap = (right - left - ports * sizes.port[0] - last * step) / (last + ports - 1)
    leave = [left + sizes.port[0] + column * (gap + step) for column in range(last + 1)]
    places = [(leave[column], top - height) for column, height in zip(found.columns, found.heights, strict=True)]
    for (name, source, target), row in zip(cell.edges, found.rows, strict=True):
        line, fill = FAMILIES[name.split("_")[0]]
        arrow = places[target][0] - 2 * sizes.radius
        label = arrow - sizes.link - sizes.label[0]
        _draw_line(axis, [places[source], (places[source][0] + gap, top - row), (label, top - row)], line)
        _draw_arrow(axis, (arrow - sizes.link, top - row), (arrow, places[target][1]), line)
        _draw_box(axis, (label, top - row), sizes.label, SHORT[name], line, fill, sizes.font)
    for name, place in zip(cell.inputs, places, strict=False):
        _draw_box(axis, (left, place[1]), sizes.port, name, INK, "white", sizes.font + 1)
    for node, name in enumerate(cell.nodes, start=len(cell.inputs)):
        fed = any(target == node for *_, target in cell.edges)
        _draw_node(axis, (places[node][0] - sizes.radius, places[node][1]), sizes, name, fed)
    if cell.output:
        end = (right - sizes.port[0], top - found.height / 2)
        for place in places[len(cell.inputs) :]:
            _draw_line(axis, [place, (leave[last], place[1]), end], PALE, bend=1)
        _draw_box(axis, end, sizes.port, cell.output, INK, "white", sizes.font + 1)


def _draw_line(axis: Axes, points: Sequence[tuple[float, float]], colour: str, bend: int = 0) -> None:
    """A line through three points, straight but for its part from point `bend` to the next, which is an S."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    start, end = points[bend], points[bend + 1]
    middle = (start[0] + end[0]) / 2
    curve = [(middle, start[1]), (middle, end[1]), end]
    places = [*points[: bend + 1], *curve, *points[bend + 2 :]]
    codes = [Path.LINETO] * len(places)
    codes[0], codes[bend + 1 : bend + 4] = Path.MOVETO, [Path.CURVE4] * 3
    style = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.0, "capstyle": "butt"}
    axis.add_patch(PathPatch(Path(places, codes), zorder=0.9 if colour == PALE else 1, **style))


def _draw_arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    from matplotlib.patches import FancyArrowPatch

    style = {"arrowstyle": "-|>", "mutation_scale": 4.5, "shrinkA": 0, "shrinkB": 0, "linewidth": 0.9, "zorder": 2}
    axis.add_patch(FancyArrowPatch(start, end, color=colour, **style))


def _draw_box(
    axis: Axes, left: tuple[float, float], size: tuple[float, float], words: str, line: str, fill: str, font: float
) -> None:
    """A box with words, the middle of its left side given."""
    from matplotlib.patches import FancyBboxPatch

    x, middle = left
    shape = {"boxstyle": "round,pad=0,rounding_size=0.03", "edgecolor": line, "facecolor": fill, "linewidth": 0.8}
    axis.add_patch(FancyBboxPatch((x, middle - size[1] / 2), *size, zorder=3, **shape))
    place = {"ha": "center", "va": "center_baseline", "zorder": 4}
    axis.text(x + size[0] / 2, middle, words, fontsize=font, color=INK, **place)


def _draw_node(axis: Axes, place: tuple[float, float], sizes: Sizes, name: str, fed: bool) -> None:
    """A node; dashed where nothing flows into it."""
    from matplotlib.patches import Circle

    style = {"edgecolor": INK, "facecolor": "white", "linewidth": 0.8, "linestyle": "-" if fed else (0, (2, 2))}
    axis.add_patch(Circle(place, sizes.radius, zorder=3, **style))
    axis.text(*place, name, ha="center", va="center_baseline", fontsize=sizes.font + 1, zorder=4)


def _cut(words: str, longest: int) -> str:
    """The user's own words in one line."""
    words = " ".join(words.split())
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def _draw_title(axis: Axes, left: float, top: float, words: str) -> None:
    axis.text(left, top - 0.03, words, va="top", fontsize=6.8, color=INK, parse_math=False)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one axes in inches over all of it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set(xlim=(0, width), ylim=(0, height))
    return figure, axis


def _draw_all_cells(panels: Callable[[Arch, str], list[tuple[str, Cell]]], archs: Sequence[tuple[str, Arch]]) -> Figure:
    """Cells of several archs, two side by side."""
    return _draw_cells([panel for label, arch in archs for panel in panels(arch, label)], min(2, len(archs)))


def _draw_over_table2(archs: Sequence[tuple[str, Arch]]) -> Figure:
    return _draw_rows([(label, arch, TABLE2) for label, arch in archs])


DRAWERS: Mapping[str, Callable[[Sequence[tuple[str, Arch]]], Figure]] = {
    "nasbench201": partial(_draw_all_cells, _nasbench201_panels),
    "mobilenet": _draw_over_table2,
    "mobilenet-g2": _draw_over_table2,
    "darts": partial(_draw_all_cells, _darts_panels),
    "darts-separate": partial(_draw_all_cells, _darts_panels),
}
"""By space: what draws its (label, arch) pairs."""
