"""Pictures of archs: networks as rows of blocks, as the paper's Figs. 9 and 10, and cells as graphs, as its 11 and 12.

Everything is placed in inches on one axes that fills the figure, so no label moves and what is apart stays apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from senas_bench.spaces import space_named
from senas_bench.spaces.archfile import NamedArch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, GREY, PALE = "#222222", "#8a8a8a", "#c9c9c9"
MARGIN = 0.06
"""Inches left free around everything."""


def draw(space: str, archs: Sequence[NamedArch], skeleton: Any = None) -> Figure:
    """One figure of archs of one space; those of a MobileNet-like space over the paper's Table 2 unless told otherwise.

    Args:
        space: A key of `SPACES`.
        archs: At least one, all of that space.
        skeleton: What surrounds the choices, where a picture shows it.

    Raises:
        ValueError: Unknown space, an arch of another, or none.
    """
    kind = space_named(space)
    others = sorted({named.space for named in archs} - {space})
    if not archs:
        raise ValueError(f"no archs of {space} to draw")
    if others:
        raise ValueError(f"cannot draw archs of {' and '.join(others)} among those of {space}; give those of one space")
    several = len(archs) > 1
    rows = [(named.label or (f"arch {n}" if several else ""), named.arch) for n, named in enumerate(archs, 1)]
    return kind.draw(rows) if skeleton is None or kind.draw_over is None else kind.draw_over(rows, skeleton)


def shorten(words: str, longest: int) -> str:
    """The user's own words in one line."""
    words = " ".join(words.split())
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def draw_title(axis: Axes, left: float, top: float, words: str) -> None:
    axis.text(left, top - 0.03, words, va="top", fontsize=6.8, color=INK, parse_math=False)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one axes in inches over all of it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set(xlim=(0, width), ylim=(0, height))
    return figure, axis
