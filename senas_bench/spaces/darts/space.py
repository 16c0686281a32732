"""The DARTS space.

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
"""

from __future__ import annotations

from senas_bench.spaces.darts.cell import CELLS, EDGES, OPERATORS
from senas_bench.spaces.darts.rule import TwoInputs, into_nodes
from senas_bench.spaces.space import SearchSpace


def darts_space(shared_cell: bool = True) -> SearchSpace:
    """The space of one cell, 8^14 choices, or of a normal and a reduction cell, 8^28; `TwoInputs` says which are archs.

    Args:
        shared_cell: Normal and reduction cells have the same arch, which has 14 edges. Otherwise an arch has 28: those
            of the normal cell come first. The spaces are named `darts` and `darts-separate`.
    """
    prefixes = ("",) if shared_cell else tuple(f"{cell} " for cell in CELLS)
    edges = tuple(f"{prefix}{source}->{target}" for prefix in prefixes for source, target in EDGES)
    name = "darts" if shared_cell else "darts-separate"
    rule = TwoInputs(into_nodes(len(prefixes)))
    return SearchSpace(name, OPERATORS, edges, (tuple(range(len(OPERATORS))),) * len(edges), rule=rule)


DARTS = darts_space()
DARTS_SEPARATE = darts_space(shared_cell=False)
