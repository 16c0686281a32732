"""Figs. 7 and 8 drawn, from their tables alone: tau over epochs, and at its end over seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.analysis.output.figures import TAU, bars, boxes, grid, panel_width
from senas_bench.analysis.output.formats import Table, span, words
from senas_bench.analysis.style import shown_as, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SETS = {"full": "whole space", "sample": "sample", "current": "archs alive", "same": "the same archs"}
"""What a figure calls the sets of archs, in the order of the rows."""
NAME_SIZE, HEIGHT = 6.5, 2.2
"""Of the letters of a name, in points; of a panel of Fig. 7, in inches."""
VIEWS = {"archs alive": ("current", "same"), "whole space": ("sample", "full")}
_STYLES = {
    "current": {"linestyle": "-"},
    "same": {"linestyle": "--"},
    "sample": {"linestyle": "-"},
    "full": {"linestyle": "none", "markerfacecolor": "white", "markersize": 5},
}


def draw_fig7(table: Table) -> Figure:
    """Above, the archs alive, and the baseline on them; below, the fixed sample and all archs; a column per truth.

    Lines are means over seeds, bands and bars ± one standard deviation inside what tau can be, dotted lines shrinks,
    numbers the archs of a point. Each line is named where it ends. What has but one epoch is drawn side by side around
    it. A view that no run has is left out.
    """
    rows, shrinks = [row for row in table.meta["rows"] if row["n"]], table.meta["shrinks"]
    columns = list(dict.fromkeys(row["column"] for row in table.meta["rows"]))
    views = {name: sets for name, sets in VIEWS.items() if any(row["set"] in sets for row in rows)} or VIEWS
    end = max([1, *shrinks, *(row["epoch"] for row in table.meta["rows"])])
    width = panel_width(len(columns)) + (0.3 if len(columns) > 1 else 0.0)  # for the names at its right
    figure, axes = grid(len(views), len(columns), width=width, height=HEIGHT)
    places = [(view, column) for view in views for column in columns]
    for ax, (view, column) in zip(axes, places, strict=True):
        shown = [row for row in rows if row["column"] == column and row["set"] in views[view]]
        for epoch in shrinks:
            ax.axvline(epoch, color="#999999", linestyle=":", linewidth=0.8)
        kinds = list(dict.fromkeys((row["method"], row["set"]) for row in shown))
        lines = [[row for row in shown if (row["method"], row["set"]) == kind] for kind in kinds]
        for number, line in enumerate(lines):
            _line(ax, line, aside=(number - (len(kinds) - 1) / 2) * 0.015 * end)
        _write_sizes(ax, shown, shrinks)
        ax.set(title=f"{words(column)}, {view}", ylim=_limits(shown), xlim=(0, 1.05 * end))
        _name_lines(ax, lines, HEIGHT)
        ax.locator_params("x", integer=True)
        ax.set_xlabel("epoch" if view == list(views)[-1] else "")
        ax.set_ylabel("Kendall's tau" if column == columns[0] else "")
    if rows:
        letters = int(17 * width * len(columns))
        figure.supxlabel(textwrap.fill(_caption(rows), letters), fontsize=6.5)
    return figure


def _line(ax: Axes, rows: list[dict[str, Any]], aside: float) -> None:
    """Mean and band of one method on one set over epochs; of one epoch a bar, that far from it."""
    method = rows[0]["method"]
    epochs, means = np.array([row["epoch"] for row in rows], float), np.array([row["tau_mean"] for row in rows])
    down, up = bars(means, [row["tau_std"] or 0.0 for row in rows], TAU)
    look = {"color": style(method).colour, "marker": style(method).marker, **_STYLES[rows[0]["set"]]}
    if len(rows) == 1:
        ax.errorbar(epochs + aside, means, yerr=[down, up], elinewidth=0.8, capsize=1.5, **look)
    else:
        ax.fill_between(epochs, means - down, means + up, color=style(method).colour, alpha=0.12, linewidth=0)
        ax.plot(epochs, means, **look)


def _name_lines(ax: Axes, lines: list[list[dict[str, Any]]], inches: float) -> None:
    """The names of the lines right of the panel, at the height where each ends, or as near as they do not meet."""
    ends = []
    for line in lines:
        first, last = line[0], line[-1]
        if first["set"] == "full" and len(lines) > 1:  # the hollow point at the end of a line that has its name
            continue
        ends.append((last["tau_mean"], shown_as(first["method"]), style(first["method"]).colour))
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


def _caption(rows: list[dict[str, Any]]) -> str:
    """Seeds, and what kinds of line mean."""
    sets = {row["set"] for row in rows}
    said = [f"n = {span([row['n'] for row in rows])} seeds"]
    said += ["dashed: the baseline on these archs"] if "same" in sets else []
    said += ["hollow: all archs, at the end"] if "full" in sets else []
    return "; ".join(said)


def _write_sizes(ax: Axes, rows: list[dict[str, Any]], shrinks: list[int]) -> None:
    """The numbers of archs behind the points, at the top: once for stages in a row that have the same."""
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
        ax.text((start + end) / 2, 0.99, sizes, transform=ax.get_xaxis_transform(), **_SIZE_TEXT)


_SIZE_TEXT = {"ha": "center", "va": "top", "fontsize": 6.5, "color": "#666666"}
_SIZE_TEXT |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}  # over the line of a shrink


def _limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    means = np.array([row["tau_mean"] for row in rows])
    down, up = bars(means, [row["tau_std"] or 0.0 for row in rows], TAU)
    low, high = min([*(means - down), 0.0]), max([*(means + up), 0.1])
    room = 0.05 * (high - low)
    return low - room, high + 3 * room


def draw_fig8(table: Table) -> Figure:
    """One panel per truth column: a box and the seeds themselves for each method and set."""
    rows = table.meta["rows"]
    columns = list(dict.fromkeys(row["column"] for row in rows))
    kinds = list(dict.fromkeys((row["method"], row["set"]) for row in rows))
    figure, axes = grid(1, len(columns), width=panel_width(len(columns)), height=0.8 + 0.34 * len(kinds))
    for index, (ax, column) in enumerate(zip(axes, columns, strict=True)):
        by_kind = {(row["method"], row["set"]): row for row in rows if row["column"] == column}
        ax.axvline(0, color="#999999", linewidth=0.8)
        for place, kind in enumerate(kinds):
            _box(ax, place, by_kind[kind])
        labels = [_kind_label(by_kind[kind]) for kind in kinds] if index == 0 else [""] * len(kinds)
        ax.set_yticks(range(len(kinds)), labels)
        ax.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="Kendall's tau", ylabel="")
        ax.locator_params("x", nbins=6)
        ax.set_title(words(column))
    return figure


def _box(ax: Axes, place: int, row: Mapping[str, Any]) -> None:
    """Quartiles, range and the seeds."""
    taus = [run["tau"] for run in row["per_seed"] if run["tau"] is not None]
    boxes(ax, [place] * len(taus), taus, style(row["method"]).colour, orient="h", size=3.6, linewidth=2.0)


def _kind_label(row: Mapping[str, Any]) -> str:
    size = span([row["archs_min"], row["archs_max"]])
    return f"{shown_as(row['method'])}, {SETS[row['set']]}\n{size} archs, n = {row['n']}"
