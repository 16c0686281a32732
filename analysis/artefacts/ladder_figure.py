"""The ladder drawn from its table alone: tau, and the regret of the pick, against cost."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from senas_bench.analysis.output.figures import PERCENT, TAU, bars
from senas_bench.analysis.output.formats import Table, words
from senas_bench.analysis.style import shown_as, style
from senas_bench.plotting import COLUMN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 2 * COLUMN, 6.4
"""Inches of the figure: 900 pixels wide its letters are as large as a page's."""
PANELS = {"tau": (0.09, 0.545, 0.895, 0.425), "regret": (0.09, 0.075, 0.895, 0.41)}
"""Of each measure its panel: left, bottom, width, height as shares of the figure."""
LABEL = 6.3
"""Size of the letters beside points, in points."""
GREY, DARK = "#8a8a8a", "#444444"
PREDICTOR = re.compile(r"(.*), (\d+) x (\d+) epochs")
POSSIBLE = {"tau": TAU, "regret": PERCENT}
REGRETS = (0, 0.1, 0.3, 1, 3, 10, 30)


@dataclass(frozen=True)
class Point:
    """A mark of a panel, and what is written beside it.

    Args:
        x, y: Of the data.
        low, high: Ends of its bar, in the unit of y.
        hollow: It is a reference.
        label: Empty for none.
    """

    x: float
    y: float
    low: float
    high: float
    colour: str
    marker: str
    hollow: bool
    label: str


def draw_ladder(table: Table) -> Figure:
    """Two panels over a logarithmic axis of cost; what costs nothing stands at its left end. Bars are one standard
    deviation over seeds, inside what can be; hollow marks and thin lines are trainings looked up in the benchmark. Of
    the predictors the trees alone are drawn, with proxies where there are any; the table has all."""
    from matplotlib.figure import Figure

    rows = table.meta["rows"]
    figure = Figure(figsize=(WIDTH, HEIGHT))
    costs = [row["multiply_adds_mean"] for row in rows if row["multiply_adds_mean"]]
    low, high = (math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))) if costs else (9, 10)
    free = 10.0 ** (low - 0.7)
    for key, place in PANELS.items():
        ax = figure.add_axes(place)
        ax.set_xscale("log")
        ax.set_xlim(10.0 ** (low - 1.0), 10.0 ** (high + 0.15))
        shown = [row for row in rows if row[f"{key}_mean"] is not None and row["multiply_adds_mean"] is not None]
        _limits(ax, key, shown)
        points = [*_methods(shown, key, free), *_references(ax, shown, key)]
        _mark(ax, points)
        _write(ax, points)
        _axis(ax, low, high, free, last=key == "regret")
        truth = words(table.meta["column"])
        ax.set_ylabel({"tau": f"Kendall's tau with {truth}", "regret": "regret of the pick, points (0 is best)"}[key])
    return figure


def _methods(rows: Sequence[Mapping[str, Any]], key: str, free: float) -> list[Point]:
    found = []
    for row in (row for row in rows if row["kind"] == "method"):
        look, dagger = style(row["method"]), " †" if row["tuned"] else ""
        x = row["multiply_adds_mean"] or free
        hollow = row["cost"] == "looked up"
        label = f"{shown_as(row['method'])}{dagger}"
        found.append(Point(x, *_bar(row, key), look.colour, look.marker, hollow, label))
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


def _mark(ax: Axes, points: Sequence[Point]) -> None:
    for point in points:
        face = "white" if point.hollow and point.marker != "." else point.colour
        ax.errorbar(
            point.x, point.y, yerr=[[point.y - point.low], [point.high - point.y]], color=point.colour,
            marker=point.marker, markerfacecolor=face, capsize=1.5, elinewidth=0.7, linestyle="none",
            zorder=3 if not point.hollow else 2, clip_on=True,
        )  # fmt: skip


def _axis(ax: Axes, low: int, high: int, free: float, last: bool) -> None:
    """Ticks at powers of ten, and one for what costs nothing, which a dotted line sets apart."""
    ticks = [free, *(10.0**power for power in range(low, high + 1))]
    names = ["0", *(f"$10^{{{power}}}$" for power in range(low, high + 1))]
    ax.set_xticks(ticks, names if last else [""] * len(ticks))
    ax.set_xticks([], minor=True)
    ax.axvline(10.0 ** (low - 0.35), color="#999999", linestyle=":", linewidth=0.8)
    if last:
        ax.set_xlabel("multiply-adds of the search; hollow: trainings looked up in the benchmark; bars: std over seeds")


Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""


@dataclass
class _Page:
    """Where something is already, in points from the lower left corner of a panel of that size."""

    width: float
    height: float
    taken: list[Box] = field(default_factory=list)

    def cost(self, box: Box) -> float:
        """What lies under a box, and how far it is out of the panel, in square points."""
        left, bottom, right, top = box
        out = max(0.0, -left) + max(0.0, right - self.width) + max(0.0, -bottom) + max(0.0, top - self.height)
        return 50.0 * out + sum(_overlap(box, other) for other in self.taken)


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _write(ax: Axes, points: Sequence[Point]) -> None:
    """Names beside the points: each where least lies under it, near before far; a thin line leads to a far one."""
    box = ax.get_window_extent()
    unit = 72 / ax.figure.dpi
    page = _Page(box.width * unit, box.height * unit)
    places = [((ax.transData.transform((p.x, p.y)) - (box.x0, box.y0)) * unit).tolist() for p in points]
    for point, (x, y) in zip(points, places, strict=True):
        up, down = ((ax.transData.transform((point.x, end))[1] - box.y0) * unit for end in (point.high, point.low))
        page.taken += [(x - 3, y - 3, x + 3, y + 3), (x - 1.2, down, x + 1.2, up)]
    labelled = [pair for pair in zip(points, places, strict=True) if pair[0].label]
    for point, (x, y) in sorted(labelled, key=lambda pair: -pair[1][0]):
        size = 0.56 * LABEL * len(point.label), 1.15 * LABEL
        dx, dy = min(_offsets(*size), key=lambda at: page.cost(_box(x, y, at, size)) + 0.35 * math.hypot(*at))
        page.taken.append(_box(x, y, (dx, dy), size))
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": point.colour, "shrinkA": 0, "shrinkB": 2}
        ax.annotate(
            point.label, (point.x, point.y), xytext=(dx, dy), textcoords="offset points", fontsize=LABEL,
            ha="left" if dx > 0 else "right" if dx < 0 else "center", va="center", color=point.colour, zorder=4,
            arrowprops=line if math.hypot(dx, dy) > 13 else None,
        )  # fmt: skip


def _offsets(width: float, height: float) -> list[tuple[float, float]]:
    """Where a name may stand: from its point to its near end, level or above and below, ever farther."""
    aside, above = (5.0, 10.0, 18.0, 28.0, 40.0), (0.0, 5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0)
    found = [
        (side * dx, sign * dy) for dx, dy in itertools.product(aside, above) for side in (1, -1) for sign in (1, -1)
    ]
    return found + [(0.0, sign * dy) for dy in above[2:] for sign in (1, -1)]


def _box(x: float, y: float, at: tuple[float, float], size: tuple[float, float]) -> Box:
    dx, dy = at
    left = x + dx - (size[0] if dx < 0 else 0.0 if dx > 0 else size[0] / 2)
    bottom = y + dy - size[1] / 2
    return left, bottom, left + size[0], bottom + size[1]
