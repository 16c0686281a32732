"""Figs. 7 and 8 drawn, from their tables alone: tau over epochs, and at its end over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.analysis.output.figures import grid, panel_width
from senas_bench.analysis.output.formats import Table, span, words
from senas_bench.analysis.style import shown_as, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SETS = {"full": "whole space", "sample": "sample", "current": "archs alive", "same": "the same archs"}
"""What a figure calls the sets of archs, in the order of the rows."""
VIEWS = {"archs alive": ("current", "same"), "whole space": ("sample", "full")}
_STYLES = {
    "current": {"linestyle": "-"},
    "same": {"linestyle": "--"},
    "sample": {"linestyle": "-"},
    "full": {"linestyle": "none", "markerfacecolor": "white", "markersize": 5},
}


def draw_fig7(table: Table) -> Figure:
    """Above, the archs alive, and the baseline on them; below, the fixed sample and all archs; a column per truth.

    Lines are means over seeds, bands and bars ± one standard deviation, dotted lines shrinks, numbers the archs of a
    point. What has but one epoch is drawn side by side around it. A view that no run has is left out.
    """
    rows, shrinks = [row for row in table.meta["rows"] if row["n"]], table.meta["shrinks"]
    columns = list(dict.fromkeys(row["column"] for row in table.meta["rows"]))
    views = {name: sets for name, sets in VIEWS.items() if any(row["set"] in sets for row in rows)} or VIEWS
    end = max([1, *shrinks, *(row["epoch"] for row in table.meta["rows"])])
    figure, axes = grid(len(views), len(columns), width=panel_width(len(columns)), height=2.2)
    places = [(view, column) for view in views for column in columns]
    for ax, (view, column) in zip(axes, places, strict=True):
        shown = [row for row in rows if row["column"] == column and row["set"] in views[view]]
        for epoch in shrinks:
            ax.axvline(epoch, color="#999999", linestyle=":", linewidth=0.8)
        kinds = list(dict.fromkeys((row["method"], row["set"]) for row in shown))
        for number, kind in enumerate(kinds):
            line = [row for row in shown if (row["method"], row["set"]) == kind]
            _line(ax, line, aside=(number - (len(kinds) - 1) / 2) * 0.015 * end)
        _write_sizes(ax, shown, shrinks)
        ax.set(title=f"{words(column)}, {view}", ylim=_limits(shown), xlim=(0, 1.05 * end))
        ax.locator_params("x", integer=True)
        ax.set_xlabel("epoch" if view == list(views)[-1] else "")
        ax.set_ylabel("Kendall's tau" if column == columns[0] else "")
    handles = _legend(rows)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2 * len(columns), handlelength=2.4)
    return figure


def _line(ax: Axes, rows: list[dict[str, Any]], aside: float) -> None:
    """Mean and band of one method on one set over epochs; of one epoch a bar, that far from it."""
    method = rows[0]["method"]
    epochs, means = np.array([row["epoch"] for row in rows], float), np.array([row["tau_mean"] for row in rows])
    stds = np.array([row["tau_std"] or 0.0 for row in rows])
    look = {"color": style(method).colour, "marker": style(method).marker, **_STYLES[rows[0]["set"]]}
    if len(rows) == 1:
        ax.errorbar(epochs + aside, means, yerr=stds, elinewidth=0.8, capsize=1.5, **look)
    else:
        ax.fill_between(epochs, means - stds, means + stds, color=style(method).colour, alpha=0.12, linewidth=0)
        ax.plot(epochs, means, **look)


def _legend(rows: list[dict[str, Any]]) -> list[Any]:
    """A colour per method, and what the kinds of line say."""
    from matplotlib.lines import Line2D

    sets = {row["set"] for row in rows}
    handles = []
    for method in dict.fromkeys(row["method"] for row in rows):
        seeds = span([row["n"] for row in rows if row["method"] == method])
        look: dict[str, Any] = {"color": style(method).colour, "marker": style(method).marker}
        handles.append(Line2D([], [], **look, label=f"{shown_as(method)} (n = {seeds})"))
    for name, marker, text in (("same", None, "baseline on archs alive"), ("full", "o", "all archs, at the end")):
        if name in sets:
            handles.append(Line2D([], [], color="#666666", marker=marker, label=text, **_STYLES[name]))
    return handles


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
    lows = [row["tau_mean"] - (row["tau_std"] or 0.0) for row in rows]
    highs = [row["tau_mean"] + (row["tau_std"] or 0.0) for row in rows]
    low, high = min([*lows, 0.0]), max([*highs, 0.1])
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
        ax.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="Kendall's tau")
        ax.set_title(words(column))
    return figure


def _box(ax: Axes, place: int, row: Mapping[str, Any]) -> None:
    """Quartiles, range and the seeds."""
    taus = [run["tau"] for run in row["per_seed"] if run["tau"] is not None]
    line = {"color": style(row["method"]).colour, "linewidth": 1.0}
    if len(taus) > 1:
        ax.boxplot(
            taus, positions=[place], widths=0.6, orientation="horizontal", whis=(0, 100), manage_ticks=False,
            boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 2.0},
        )  # fmt: skip
    ax.scatter(taus, [place] * len(taus), s=10, color=line["color"], alpha=0.7, linewidth=0, zorder=3)


def _kind_label(row: Mapping[str, Any]) -> str:
    size = span([row["archs_min"], row["archs_max"]])
    return f"{shown_as(row['method'])}, {SETS[row['set']]}\n{size} archs, n = {row['n']}"
