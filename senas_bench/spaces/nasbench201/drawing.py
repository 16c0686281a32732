"""Cells of NAS-Bench-201 archs as graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from senas_bench.spaces import nasbench201
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.space import Arch

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from senas_bench.spaces.cells import Cell, draw_cells
from senas_bench.spaces.drawing import shorten


def draw_nasbench201(arch: Arch, title: str = "") -> Figure:
    """The cell of a NAS-Bench-201 arch; edges that are `none` are left out.

    Raises:
        ValueError: This is no arch of the space.
    """
    return draw_cells(panels_of(arch, title), columns=1)


def panels_of(arch: Arch, title: str) -> list[tuple[str, Cell]]:
    if arch not in NB201:
        raise ValueError(f"{arch} is no arch of {NB201.name}: give one operator, 0 to 4, for each of its 6 edges")
    edges = [(NB201.operators[op], *ends) for op, ends in zip(arch, nasbench201.EDGES, strict=True)]
    cell = Cell(("0",), ("1", "2", "3"), tuple(edge for edge in edges if edge[0] != "none"))
    return [(shorten(title, 48) or "Cell", cell)]
