"""Figures of tables, as a notebook shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from senas_bench.analysis.output.formats import Table


def figure(table: Table) -> Figure:
    """Draw the figure of a table that `reproduce` or `make` returned, under whatever name; nothing is written.

    Raises:
        ValueError: It is no artefact's, or that has no figure.
    """
    from senas_bench.analysis.artefacts import ARTEFACTS
    from senas_bench.names import lookup

    drawn = lookup("artefact", table.artefact, ARTEFACTS).figure(table)
    if drawn is None:
        raise ValueError(f"{table.name} has no figure, it is a table alone")
    return drawn
