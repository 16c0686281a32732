"""What `reproduce` can make: for each artefact, the runs it needs, and the functions that render and draw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .figures import house_style
from .formats import Table
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
    "table3": Artefact("table3", "Table 3: searching on NAS-Bench-201", TABLE3_METHODS, render_table3),
}
