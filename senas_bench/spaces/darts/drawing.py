"""Cells of DARTS archs as graphs, as the paper's Figs. 11 and 12."""

from __future__ import annotations

from typing import TYPE_CHECKING

from senas_bench.names import lookup
from senas_bench.spaces import darts
from senas_bench.spaces.space import Arch

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from senas_bench.spaces.cells import Cell, draw_cells
from senas_bench.spaces.drawing import shorten


def draw_darts(arch: Arch, title: str = "", cell: str | None = None) -> Figure:
    """The cell of a DARTS arch, or its normal and its reduction cell, as the paper's Figs. 11 and 12.

    A label on each line says the operator; the output joins all four nodes.

    Args:
        arch: 14 edges, or 28.
        title: Stands before the name of the cell.
        cell: `normal` or `reduce`, to draw that one alone.

    Raises:
        ValueError: These are not 14 or 28 edges, a node has not exactly two inputs, or the cell is unknown.
    """
    return draw_cells(panels_of(arch, title, cell), columns=1)


def panels_of(arch: Arch, title: str, cell: str | None = None) -> list[tuple[str, Cell]]:
    genotype = darts.arch_to_genotype(arch)
    cells = {"normal": ("normal cell", genotype.normal), "reduce": ("reduction cell", genotype.reduce)}
    found = list(cells.values())
    if cell is not None:
        found = [lookup("cell", cell, cells)]
    elif len(arch) == len(darts.EDGES):
        found = [("normal and reduction cell", genotype.normal)]
    return [
        (
            f"{shorten(title, 30)}: {kind}" if title else kind.capitalize(),
            Cell(
                inputs=("$c_{k-2}$", "$c_{k-1}$"),
                nodes=("0", "1", "2", "3"),
                edges=tuple((name, source, 2 + n // 2) for n, (name, source) in enumerate(inputs)),
                output="$c_k$",
            ),
        )
        for kind, inputs in found
    ]
