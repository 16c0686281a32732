"""Figs. 7 and 8 drawn, from their tables alone: tau over epochs, and at its end over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from senas_bench.analysis.output.figures import TAU, bars, boxes, grid, panel_width, say_below
from senas_bench.analysis.output.formats import Table, span, words
from senas_bench.analysis.style import ink, shown_as, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SETS = {"full": "whole space", "sample": "sample", "current": "archs alive", "same": "the same archs"}
"""What a figure calls the sets of archs, in the order of the rows."""
NAME_SIZE, HEIGHT = 6.5, 2.2
"""Of the letters of a name, in points; of a panel of Fig. 7, in inches."""
VIEWS = {"archs alive": ("current", "same"), "whole space": ("sample", "full")}
_DASHES = {"current": "-", "same": "--", "sample": "-", "full": "-"}


def draw_fig7(table: Table) -> Figure:
    """Above, the archs alive, and the baseline on them; below, the fixed sample and all archs; a column per truth.

    Lines are means over seeds, bands and bars ± one standard deviation inside what tau can be, dotted lines shrinks,
    numbers at the top the archs of a point. A hollow point is a method's own final ranking, which scores in another
    way than the points before it: no line leads there. Each line is named where it ends, with its seeds there if these
    are fewer. What has but one epoch is drawn side by side around it. A view that no run has is left out.
    """
    rows, shrinks = [row for row in table.meta["rows"] if row["n"]], table.meta["shrinks"]
    columns = list(dict.fromkeys(row["column"] for row in table.meta["rows"]))
    views = {name: sets for name, sets in VIEWS.items() if any(row["set"] in sets for row in rows)} or VIEWS
    end = max([1, *shrinks, *(row["epoch"] for row in table.meta["rows"])])
    width = panel_width(len(columns)) + (0.3 if len(columns) > 1 else 0.0)  # for the names at its right
    figure, axes = grid(len(views), len(columns), width=width, height=HEIGHT)
    places = [(view, column) for view in views for column in columns]
    lines = _lines(rows)
    several = len({row["epoch"] for row in rows}) > 1
    for ax, (view, column) in zip(axes, places, strict=True):
        shown = [line for line in lines if line.column == column and line.set in views[view]]
        for epoch in shrinks if several else ():
            ax.axvline(epoch, color="#999999", linestyle=":", linewidth=0.8)
        for number, line in enumerate(shown):
            _draw_line(ax, line, aside=(number - (len(shown) - 1) / 2) * (0.015 if several else 0.004) * end)
        _write_sizes(ax, [row for line in shown for row in line.rows], shrinks if several else [])
        ax.set(title=f"{words(column)}, {view}", ylim=_limits(rows))
        ax.set_xlim(*(0, 1.05 * end) if several else (0.97 * end, 1.03 * end))
        _name_lines(ax, shown, HEIGHT)
        ax.locator_params("x", integer=True, nbins=8 if several else 3)
        ax.set_xlabel("epoch" if view == list(views)[-1] else "")
        ax.set_ylabel("Kendall's tau" if column == columns[0] else "")
    if rows:
        say_below(figure, _caption(lines, several and bool(shrinks)))
    return figure


class _Line(NamedTuple):
    """One method on one set of archs and one truth.

    Args:
        curve: Rows while it trains, by epoch.
        final: The row of its own final ranking, or none.
        named: Whether it is named: not the final ranking of all archs of a method that has a line on a sample.
    """

    method: str
    set: str
    column: str
    curve: list[dict[str, Any]]
    final: list[dict[str, Any]]
    named: bool

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.curve + self.final

    @property
    def loses_seeds(self) -> bool:
        """Whether it ends with fewer than it had."""
        return self.rows[-1]["n"] < max(row["n"] for row in self.rows)


def _lines(rows: list[dict[str, Any]]) -> list[_Line]:
    """Rows by what draws them, in their order."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["set"], row["column"]), []).append(row)
    last = {method: max(row["epoch"] for row in rows if row["method"] == method) for method, _, _ in groups}
    found = []
    for (method, name, column), group in groups.items():
        final = [row for row in group if row["epoch"] == last[method]]
        named = name != "full" or (method, "sample", column) not in groups
        found.append(_Line(method, name, column, [row for row in group if row not in final], final, named))
    return found


def _draw_line(ax: Axes, line: _Line, aside: float) -> None:
    """Mean and band over epochs, and the final ranking beside them; of one epoch a bar, that far from it."""
    look: dict[str, Any] = {"color": style(line.method).colour, "marker": style(line.method).marker}
    epochs, means, down, up = _numbers(line.curve)
    if len(line.curve) > 1:
        ax.fill_between(epochs, means - down, means + up, color=look["color"], alpha=0.12, linewidth=0)
        ax.plot(epochs, means, linestyle=_DASHES[line.set], **look)
    hollow = {"markerfacecolor": "white", "markersize": 5}
    lone = [(line.final, look | hollow)] + ([(line.curve, look)] if len(line.curve) == 1 else [])
    for rows, how in lone:
        epochs, means, down, up = _numbers(rows)
        x = epochs + (aside if len(line.rows) == 1 else 0.0)
        ax.errorbar(x, means, yerr=[down, up], elinewidth=0.8, capsize=1.5, linestyle="none", **how)


def _numbers(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs, means, and how far a standard deviation reaches down and up; nan for the reach of a lone seed."""
    epochs, means, stds = (
        np.array([row[key] for row in rows], float) for key in ("epoch", "tau_mean", "tau_std")
    )  # None gives nan
    return epochs, means, *bars(means, stds, TAU)


def _name_lines(ax: Axes, lines: list[_Line], inches: float) -> None:
    """The names of the lines right of the panel, at the height where each ends, or as near as they do not meet; with
    how many seeds it ends, where it began with more."""
    ends = []
    for line in (line for line in lines if line.named):
        fewer = f" ({line.rows[-1]['n']})" if line.loses_seeds else ""
        ends.append((line.rows[-1]["tau_mean"], shown_as(line.method) + fewer, ink(style(line.method).colour)))
    ends.sort(key=lambda end: end[0])
    low, high = ax.get_ylim()
    step = NAME_SIZE * 1.25 / 72 / (0.67 * inches) * (high - low)  # the panel has two thirds of its place
    for (_, name, colour), height in zip(ends, _apart([end[0] for end in ends], step), strict=True):
        ax.annotate(
            name, (1.02, height), xycoords=("axes fraction", "data"), fontsize=NAME_SIZE, color=colour, va="center",
            annotation_clip=False,
        )  # fmt: skip


def _apart(heights: list[float], step: float) -> list[float]:
    """Heights in rising order, moved so that each is `step` above the one before; groups that meet stay centred."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _room(*groups[-2:]) < step:
            last = groups.pop()
            groups[-1] += last
    return [_middle(group) + (i - (len(group) - 1) / 2) * step for group in groups for i in range(len(group))]


def _room(below: list[float], above: list[float]) -> float:
    """Between the middles of two groups, for each height of their mean number."""
    return (_middle(above) - _middle(below)) / ((len(below) + len(above)) / 2)


def _middle(heights: list[float]) -> float:
    return sum(heights) / len(heights)


def _caption(lines: list[_Line], shrinks: bool) -> str:
    """Seeds, and what kinds of line mean; `shrinks`: whether they are drawn."""
    rows = [row for line in lines for row in line.rows]
    said = [f"n = {span([row['n'] for row in rows])} seeds; bands and bars: ± std over seeds"]
    said += ["beside a name: its seeds at the end"] if any(line.loses_seeds for line in lines) else []
    said += ["dotted: shrinks"] if shrinks else []
    same = [row for row in rows if row["set"] == "same"]
    if same:
        part = [size for row in same for size in _part(row, rows)]
        of = f"those of the archs alive that it scored ({span(part)})" if part else "the archs alive"
        dashed = len({row["epoch"] for row in same}) > 1
        said += [f"dashed: the baseline on {of}" if dashed else f"above, the baseline on {of} too"]
    return "; ".join([*said, "hollow: a method's own final ranking"])


def _part(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[int]:
    """How many archs a baseline is compared on, where they are fewer than the archs alive."""
    alive = [
        other for other in rows
        if other["set"] == "current" and style(other["method"]).against == row["method"]
        and (other["column"], other["epoch"]) == (row["column"], row["epoch"])
    ]  # fmt: skip
    sizes = [row["archs_min"], row["archs_max"]]
    return sizes if any([other["archs_min"], other["archs_max"]] != sizes for other in alive) else []


def _write_sizes(ax: Axes, rows: list[dict[str, Any]], shrinks: list[int]) -> None:
    """The numbers of archs behind the points, at the top: once for stages in a row that have the same."""
    several = len({row["epoch"] for row in rows}) > 1
    rows = [row for row in rows if row["set"] != "same"]
    if {row["set"] for row in rows} > {"full"}:
        rows = [row for row in rows if row["set"] != "full"]  # a point at the end, which the legend explains
    last = max((row["epoch"] for row in rows), default=0)
    written: list[tuple[str, float, float]] = []
    for start, end in zip([0, *shrinks], [*shrinks, max([last, *shrinks])], strict=True):
        stage = [row for row in rows if start < row["epoch"] <= end]
        if stage:
            sizes = span([min(row["archs_min"] for row in stage), max(row["archs_max"] for row in stage)])
            sizes = f"{sizes} archs{', a sample' if stage[0]['set'] == 'sample' else ''}"
            if written and written[-1][0] == sizes:
                start = written.pop()[1]
            written.append((sizes, start, end))
    for sizes, start, end in written:
        at = {"transform": ax.get_xaxis_transform()}
        ax.text((start + end) / 2 if several else last, 0.99, sizes, **at, **_SIZE_TEXT)


_SIZE_TEXT = {"ha": "center", "va": "top", "fontsize": 6.5, "color": "#666666"}
_SIZE_TEXT |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}  # over the line of a shrink


def _limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Of all panels alike."""
    _, means, down, up = _numbers(rows)
    low, high = np.nanmin([*means, *(means - down), 0.0]), np.nanmax([*means, *(means + up), 0.1])
    room = 0.05 * (high - low)
    return low - room, high + 3 * room


def draw_fig8(table: Table) -> Figure:
    """One panel per truth column: a box and the seeds themselves for each method and set."""
    rows = table.meta["rows"]
    columns = list(dict.fromkeys(row["column"] for row in rows))
    kinds = list(dict.fromkeys((row["method"], row["set"]) for row in rows))
    figure, axes = grid(1, len(columns), width=panel_width(len(columns)), height=0.8 + 0.34 * len(kinds), sharex=True)
    for index, (ax, column) in enumerate(zip(axes, columns, strict=True)):
        by_kind = {(row["method"], row["set"]): row for row in rows if row["column"] == column}
        ax.axvline(0, color="#999999", linewidth=0.8)
        for place, kind in enumerate(kinds):
            _box(ax, place, by_kind[kind])
        labels = [_kind_label(by_kind[kind]) for kind in kinds] if index == 0 else [""] * len(kinds)
        ax.set_yticks(range(len(kinds)), labels)
        ax.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="Kendall's tau", ylabel="")
        ax.locator_params("x", nbins=5)
        ax.set_title(words(column))
    return figure


def _box(ax: Axes, place: int, row: Mapping[str, Any]) -> None:
    """Quartiles, range and the seeds."""
    taus = [run["tau"] for run in row["per_seed"] if run["tau"] is not None]
    boxes(ax, [place] * len(taus), taus, style(row["method"]).colour, orient="h", size=3.6, linewidth=2.0)


def _kind_label(row: Mapping[str, Any]) -> str:
    size = span([row["archs_min"], row["archs_max"]])
    return f"{shown_as(row['method'])}, {SETS[row['set']]}\n{size} archs, n = {row['n']}"
