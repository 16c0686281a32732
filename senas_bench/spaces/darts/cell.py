"""The cell of the DARTS space: four nodes, each the sum of two inputs (paper Fig. 4)."""

from __future__ import annotations

OPERATORS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
NONE, MAX_POOL, AVG_POOL, SKIP, SEP3, SEP5, DIL3, DIL5 = range(8)
SEPARABLE = {SEP3: 3, SEP5: 5}
DILATED = {DIL3: 3, DIL5: 5}
"""Kernel sizes."""
NODES = (2, 3, 4, 5)
"""Nodes that sum their inputs; nodes 0 and 1 are the outputs of the two cells before."""
EDGES = tuple((source, target) for target in NODES for source in range(target))
"""(source node, target node) of each edge of a cell: 0->2, 1->2, 0->3, 1->3, 2->3, ..., 4->5."""
CELLS = ("normal", "reduce")
