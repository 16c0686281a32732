"""The ladder drawn from its table alone: tau, and the regret of the pick, against cost."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from senas_bench.analysis.output.figures import PERCENT, TAU, bars
from senas_bench.analysis.output.formats import Table, words
from senas_bench.analysis.output.labels import Label, write_names
from senas_bench.analysis.style import Style, ink, shown_as, style
from senas_bench.plotting import COLUMN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 2 * COLUMN, 6.4
"""Inches of the figure: 900 pixels wide its letters are as large as a page's."""
PANELS = {"tau": (0.09, 0.56, 0.895, 0.42), "regret": (0.09, 0.105, 0.895, 0.41)}
"""Of each measure its panel: left, bottom, width, height as shares of the figure."""
LABEL, SMALL = 6.3, 5.4
"""Size of the letters beside points, in points; of those beside methods without a colour of their own."""
GREY, DARK = "#8a8a8a", "#444444"
PREDICTOR = re.compile(r"(.*), (\d+) x (\d+) epochs")
POSSIBLE = {"tau": TAU, "regret": PERCENT}
REGRETS = (0, 0.1, 0.3, 1, 3, 10, 30, 100)


@dataclass(frozen=True)
class Point:
    """A mark of a panel, and what is written beside it.

    Args:
        x, y: Of the data.
        low, high: Ends of its bar, in the unit of y.
        hollow: It is a reference.
        label: Empty for none.
        aside: It has no colour of its own: a small mark without a bar, named where there is room.
    """

    x: float
    y: float
    low: float
    high: float
    colour: str
    marker: str
    hollow: bool
    label: str
    aside: bool = False


def draw_ladder(table: Table) -> Figure:
    """Two panels over a logarithmic axis of cost; what costs nothing stands at its left end. Bars are one standard
    deviation over seeds, inside what can be; hollow marks and thin lines are trainings looked up in the benchmark.
    Methods without a colour of their own are small and grey, and named where there is room. Of the predictors the trees
    alone are drawn, with proxies where there are any; the table has all."""
    from matplotlib.figure import Figure

    rows = table.meta["rows"]
    figure = Figure(figsize=(WIDTH, HEIGHT))
    costs = [row["multiply_adds_mean"] for row in rows if row["multiply_adds_mean"]]
    low, high = (math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))) if costs else (9, 10)
    free = 10.0 ** (low - 1.0)
    for key, place in PANELS.items():
        ax = figure.add_axes(place)
        ax.set_xscale("log")
        ax.set_xlim(10.0 ** (low - 1.3), 10.0 ** (high + 0.15))
        shown = [row for row in rows if row[f"{key}_mean"] is not None and row["multiply_adds_mean"] is not None]
        _limits(ax, key, shown)
        points = [*_methods(shown, key, free), *_references(ax, shown, key)]
        _mark(ax, points)
        write_names(ax, [_label(point) for point in points])
        _axis(ax, low, high, free)
        truth = words(table.meta["column"])
        ax.set_ylabel({"tau": f"Kendall's tau with {truth}", "regret": "regret of the pick, points (0 is best)"}[key])
    figure.axes[0].set_xticklabels([])
    figure.axes[-1].set_xlabel("multiply-adds of the search")
    figure.text(0.5, 0.004, textwrap.fill(_caption(rows), 150), ha="center", va="bottom", fontsize=LABEL)
    return figure


def _caption(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the marks mean, of those that are there."""
    ran = [row for row in rows if row["kind"] == "method"]
    said = ["bars: std over seeds, cut at what is possible"]
    said += ["hollow: trainings looked up in the benchmark"] if any(r["cost"] == "looked up" for r in rows) else []
    said += ["small and grey: other methods, all in the table"] if any(_plain(r["method"]) for r in ran) else []
    said += ["†: chosen with CIFAR-10 truth in view"] if any(row["tuned"] for row in ran) else []
    return "; ".join([*said, "regret on an asinh scale"])


def _plain(method: str) -> bool:
    """Whether it has no colour of its own."""
    return style(method).colour == Style().colour


def _methods(rows: Sequence[Mapping[str, Any]], key: str, free: float) -> list[Point]:
    found = []
    for row in (row for row in rows if row["kind"] == "method"):
        look, dagger = style(row["method"]), " †" if row["tuned"] else ""
        x = row["multiply_adds_mean"] or free
        hollow = row["cost"] == "looked up"
        label = f"{shown_as(row['method'])}{dagger}"
        plain = _plain(row["method"]) and not hollow
        colour = GREY if plain else look.colour
        found.append(Point(x, *_bar(row, key), colour, look.marker, hollow, label, plain))
    return found


def _references(ax: Axes, rows: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    """Predictors as lines over the number of trainings, which their ends name; the others as points."""
    lines: dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]] = {}
    found, matches = [], {row["method"]: PREDICTOR.fullmatch(row["method"]) for row in rows}
    drawn = max((match[1] for match in matches.values() if match and match[1].startswith("trees")), default="")
    for row in (row for row in rows if row["kind"] == "reference"):
        if match := matches[row["method"]]:
            if match[1] == drawn:
                lines.setdefault((match[1], match[3]), []).append((int(match[2]), row))
            continue
        found.append(Point(row["multiply_adds_mean"], *_bar(row, key), DARK, "s", True, row["method"]))
    for (name, epochs), steps in lines.items():
        steps = sorted(steps, key=lambda step: step[0])
        ax.plot(
            [row["multiply_adds_mean"] for _, row in steps], [row[f"{key}_mean"] for _, row in steps],
            color=GREY, linewidth=0.8, zorder=1,
        )  # fmt: skip
        for n, row in steps:
            last = n == steps[-1][0]
            label = f"{name}, {'/'.join(str(m) for m, _ in steps)} x {epochs} epochs" if last else ""
            found.append(Point(row["multiply_adds_mean"], *_bar(row, key), GREY, ".", True, label))
    return found


def _bar(row: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    """The mean, and the ends of a bar of one standard deviation."""
    mean = row[f"{key}_mean"]
    ((down,), (up,)) = bars(mean, row[f"{key}_std"] or 0.0, POSSIBLE[key])
    return mean, mean - down, mean + up


def _limits(ax: Axes, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Of the means and most of their bars: a bar that is far out is cut."""
    values = [row[f"{key}_mean"] for row in rows] or [0.0]
    if key == "tau":
        ax.set_ylim(min(-0.05, min(values) - 0.08), max(values) + 0.12)
        ax.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
        return
    ax.set_yscale("asinh", linear_width=0.3)
    ax.set_ylim(-0.06, max(1.0, *values) * 1.6)
    ax.set_yticks([tick for tick in REGRETS if tick <= max(1.0, *values) * 1.6])
    ax.set_yticks([], minor=True)
    ax.yaxis.set_major_formatter("{x:g}")


def _label(point: Point) -> Label:
    letters = SMALL if point.aside else LABEL
    bar = None if point.aside else (point.low, point.high)
    return Label(point.label, point.x, point.y, ink(point.colour), letters, bar=bar, optional=point.aside)


def _mark(ax: Axes, points: Sequence[Point]) -> None:
    for point in points:
        look: dict[str, Any] = {"color": point.colour, "marker": point.marker, "linestyle": "none", "clip_on": True}
        if point.aside:
            ax.plot(point.x, point.y, markersize=2.4, zorder=2, **look)
            continue
        face = "white" if point.hollow and point.marker != "." else point.colour
        ax.errorbar(
            point.x, point.y, yerr=[[point.y - point.low], [point.high - point.y]], markerfacecolor=face, capsize=1.5,
            elinewidth=0.7, zorder=4 if not point.hollow else 3, **look,
        )  # fmt: skip


def _axis(ax: Axes, low: int, high: int, free: float) -> None:
    """Ticks at powers of ten, and one for what costs nothing, which a dotted line sets apart."""
    ticks = [free, *(10.0**power for power in range(low, high + 1))]
    ax.set_xticks(ticks, ["0", *(f"$10^{{{power}}}$" for power in range(low, high + 1))])
    ax.set_xticks([], minor=True)
    ax.axvline(10.0 ** (low - 0.3), color="#999999", linestyle=":", linewidth=0.8)
