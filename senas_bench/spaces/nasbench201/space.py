"""NAS-Bench-201: its operators, edges and the whole space.

Source: Dong and Yang, "NAS-Bench-201", ICLR 2020.
"""

from __future__ import annotations

from senas_bench.spaces.space import SearchSpace

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source node, target node) of each edge, in the order of the arch string."""
NODES = 4
INTO = tuple(tuple((e, source) for e, (source, target) in enumerate(EDGES) if target == node) for node in range(NODES))
"""Per node its incoming edges and their sources."""

NB201 = SearchSpace(
    name="nasbench201",
    operators=OPERATORS,
    edges=tuple(f"{source}->{target}" for source, target in EDGES),
    candidates=(tuple(range(5)),) * 6,
)
