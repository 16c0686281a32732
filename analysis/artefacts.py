"""What `reproduce` can make: for each artefact, the runs it needs, and the functions that render and draw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import convergence, stability
from .figures import house_style
from .formats import Table
from .survival import FIG6_METHODS, draw_fig6, render_fig6
from .tables import TABLE3_METHODS, render_table3

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Artefact:
    """A table or figure of the paper.

    Args:
        name: Key in `ARTEFACTS` and file stem.
        title: One line for people.
        methods: Methods run by default, in row order.
        render: `(records, scores, truth, *, no_timing, methods) -> Table`; see `tables.render_table3`.
        draw: Makes the figure of a rendered table; None for a table that has none.
    """

    name: str
    title: str
    methods: tuple[str, ...]
    render: Callable[..., Table]
    draw: Callable[[Table], Figure] | None = None

    def figure(self, table: Table) -> Figure | None:
        """The figure of a rendered table, in the style of this project."""
        with house_style():
            return self.draw(table) if self.draw else None


ARTEFACTS = {
    "table1": Artefact(
        "table1", "Table 1: shared weights against stand-alone training", stability.METHODS, stability.render_table1
    ),
    "fig1": Artefact(
        "fig1",
        "Figure 1: ranks of single archs over repeats",
        ("stand-alone", "spos"),
        stability.render_fig1,
        stability.draw_fig1,
    ),
    "fig7": Artefact(
        "fig7",
        "Figure 7: ranking correlation over epochs",
        convergence.METHODS,
        convergence.render_fig7,
        convergence.draw_fig7,
    ),
    "fig8": Artefact(
        "fig8",
        "Figure 8: ranking correlation at the end, over seeds",
        convergence.METHODS,
        convergence.render_fig8,
        convergence.draw_fig8,
    ),
    "table3": Artefact("table3", "Table 3: searching on NAS-Bench-201", TABLE3_METHODS, render_table3),
    "fig6": Artefact("fig6", "Figure 6: which operators survive", FIG6_METHODS, render_fig6, draw_fig6),
}
