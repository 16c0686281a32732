"""Cells as graphs, for the spaces that are made of cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from senas_bench.plotting import COLUMN, house_style
from senas_bench.spaces.space import Arch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from senas_bench.spaces.drawing import INK, MARGIN, PALE, canvas, draw_title

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
                lines[gap].append((found.heights[node], found.heights[node]))
    crossings = sum((a[0] - b[0]) * (a[1] - b[1]) < -1e-9 for gap in lines for a, b in itertools.combinations(gap, 2))
    return crossings, round(sum(abs(start - end) for gap in lines for start, end in gap), 6)


def draw_cells(panels: Sequence[tuple[str, Cell]], columns: int) -> Figure:
    """Panels row by row, each as wide as a column of a paper."""
    layouts = [layout(cell) for _, cell in panels]
    sizes = TIGHT if max(max(found.columns) for found in layouts) > 3 else ROOMY
    rows = [layouts[n : n + columns] for n in range(0, len(layouts), columns)]
    depths = [TITLE + max(found.height for found in row) + 2 * MARGIN for row in rows]
    with house_style():
        figure, axis = canvas(COLUMN * columns, sum(depths))
        for n, ((title, cell), found) in enumerate(zip(panels, layouts, strict=True)):
            left, top = COLUMN * (n % columns) + MARGIN, sum(depths[n // columns :]) - MARGIN
            draw_title(axis, left, top, title)
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


def draw_all_cells(panels: Callable[[Arch, str], list[tuple[str, Cell]]], archs: Sequence[tuple[str, Arch]]) -> Figure:
    """Cells of several archs, two side by side."""
    return draw_cells([panel for label, arch in archs for panel in panels(arch, label)], min(2, len(archs)))
