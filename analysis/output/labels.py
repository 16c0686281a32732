"""Names beside the marks of a crowded panel: each where least lies under it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARK, BAR, LINE = 3.0, 1.2, 0.8
"""Half of the width, in points, of what a name keeps off: a mark, its bar, a line."""
NEAR = 13.0
"""Points from a mark to its name from where on a line leads there."""
FREE = 12.0
"""The cost, as `_Page.cost` has it, up to which an optional name is written."""
Place = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""


@dataclass(frozen=True)
class Label:
    """What is written beside a mark.

    Args:
        text: Empty for a mark without a name.
        x, y: Of the mark, in the data's units.
        colour: Of the letters.
        letters: Their size in points.
        bar: Ends of its bar, in the unit of y; None for none.
        optional: Left out where there is no room near its mark.
    """

    text: str
    x: float
    y: float
    colour: str
    letters: float
    bar: tuple[float, float] | None = None
    optional: bool = False


def write_names(ax: Axes, labels: Sequence[Label]) -> None:
    """Write names beside their marks, near before far, so that they cover as little as can be of marks, bars, lines and
    each other, and stand nearer to their own mark than to another; a thin line leads to a far one.

    The panel must have its final place and limits, and its lines.
    """
    at = _in_points(ax)
    box, unit = ax.get_window_extent(), 72 / ax.figure.dpi
    page = _Page(box.width * unit, box.height * unit)
    for label in labels:
        x, y = at((label.x, label.y))
        page.marks.append((x, y))
        page.take([(x - MARK, y - MARK, x + MARK, y + MARK)])
        if label.bar is not None:
            low, high = (at((label.x, end))[1] for end in label.bar)
            page.take([(x - BAR, low, x + BAR, high)])
    for line in _lines(ax):
        for one, other in itertools.pairwise(line):
            page.take(_along(one, other))
    named = [label for label in labels if label.text]
    for label in sorted(named, key=lambda label: (label.optional, -at((label.x, label.y))[1])):
        size = 0.56 * label.letters * len(label.text), 1.15 * label.letters
        spots = [_Spot(at((label.x, label.y)), offset, size) for offset in _offsets()]
        best = min((spot for spot in spots if not (label.optional and spot.far)), key=page.cost)
        if label.optional and page.cost(best) > FREE:
            continue
        page.take([best.box, *best.line])
        _write(ax, label, best)


def _write(ax: Axes, label: Label, spot: _Spot) -> None:
    dx = spot.offset[0]
    line = {"arrowstyle": "-", "linewidth": 0.4, "color": label.colour, "shrinkA": 0, "shrinkB": 2}
    ax.annotate(
        label.text, (label.x, label.y), xytext=spot.offset, textcoords="offset points", fontsize=label.letters,
        ha="left" if dx > 0 else "right" if dx < 0 else "center", va="center", color=label.colour, zorder=5,
        arrowprops=line if spot.far else None,
    )  # fmt: skip


def _in_points(ax: Axes) -> Callable[[Place], Place]:
    """From data to points from the lower left corner of the panel."""
    box, unit = ax.get_window_extent(), 72 / ax.figure.dpi

    def at(place: Place) -> Place:
        across, up = ax.transData.transform(place)
        return (across - box.x0) * unit, (up - box.y0) * unit

    return at


def _lines(ax: Axes) -> list[list[Place]]:
    """The lines of a panel in points; of what is only marks none."""
    box, unit = ax.get_window_extent(), 72 / ax.figure.dpi
    found = []
    for line in ax.lines:
        if str(line.get_linestyle()).lower() != "none":
            pixels: Any = line.get_transform().transform(line.get_xydata())
            found.append([((x - box.x0) * unit, (y - box.y0) * unit) for x, y in pixels])
    return found


@dataclass(frozen=True)
class _Spot:
    """Where a name may stand.

    Args:
        mark: What it belongs to, in points.
        offset: From there to its near end.
        size: Width and height.
    """

    mark: Place
    offset: Place
    size: Place

    @property
    def end(self) -> Place:
        """The end of the name that is near its mark."""
        return self.mark[0] + self.offset[0], self.mark[1] + self.offset[1]

    @property
    def box(self) -> Box:
        (x, y), (width, height), dx = self.end, self.size, self.offset[0]
        left = x - (width if dx < 0 else 0.0 if dx > 0 else width / 2)
        return left, y - height / 2, left + width, y + height / 2

    @property
    def far(self) -> bool:
        return math.hypot(*self.offset) > NEAR

    @property
    def line(self) -> list[Box]:
        """Small boxes along the line that leads to a far one, but for its beginning at the mark."""
        return _along(self.mark, self.end, start=MARK + 1.0) if self.far else []


@dataclass
class _Page:
    """Where something is already, in points from the lower left corner of a panel of that size."""

    width: float
    height: float
    taken: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    marks: list[Place] = field(default_factory=list)

    def take(self, boxes: Sequence[Box]) -> None:
        """Something is there now."""
        self.taken = np.concatenate([self.taken, np.reshape(boxes, (-1, 4))])

    def cost(self, spot: _Spot) -> float:
        """What lies under a name and the line that leads to it and how far it is out of the panel, in square points;
        then how far it is from its mark. One that is nearer to another mark is read as that one's."""
        left, bottom, right, top = spot.box
        out = max(0.0, -left) + max(0.0, right - self.width) + max(0.0, -bottom) + max(0.0, top - self.height)
        under = _overlap(np.array([spot.box, *spot.line]), self.taken)
        own = math.hypot(*spot.offset)
        near = min((math.dist(spot.end, mark) for mark in self.marks if mark != spot.mark), default=math.inf)
        return 50.0 * out + under + 0.35 * own + 2.0 * max(0.0, own - near)


def _along(one: Place, other: Place, start: float = 0.0, step: float = 3.0) -> list[Box]:
    """Small boxes from one point to another."""
    length = math.dist(one, other)
    shares = [at / length for at in np.arange(start, length, step)]
    centres = [tuple(a + (b - a) * share for a, b in zip(one, other, strict=True)) for share in shares]
    return [(x - LINE, y - LINE, x + LINE, y + LINE) for x, y in centres]


def _overlap(boxes: np.ndarray, others: np.ndarray) -> float:
    """The area that each of some boxes `(n, 4)` shares with each of others `(m, 4)`, in all."""
    ends = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    return float(ends.clip(0).prod(-1).sum())


def _offsets() -> list[Place]:
    """Where a name may stand: from its mark to its near end, level or above and below, ever farther."""
    aside, above = (5.0, 10.0, 18.0, 28.0, 40.0), (0.0, 5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0)
    found = [
        (side * dx, sign * dy) for dx, dy in itertools.product(aside, above) for side in (1, -1) for sign in (1, -1)
    ]
    return found + [(0.0, sign * dy) for dy in above[2:] for sign in (1, -1)]
