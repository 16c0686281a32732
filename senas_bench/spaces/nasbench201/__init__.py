"""NAS-Bench-201: cells of four nodes and five operators (Dong and Yang, ICLR 2020)."""

from senas_bench.spaces.nasbench201.cost import KERNEL_AREA, SKELETONS, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.functions import lexicographic_codes, prune, prune_arch, shared_function, unique_str
from senas_bench.spaces.nasbench201.space import CONV1, CONV3, EDGES, INTO, NB201, NODES, NONE, OPERATORS, POOL, SKIP
from senas_bench.spaces.nasbench201.strings import arch_from_str, arch_to_index, arch_to_str, official_archs

__all__ = [
    "CONV1",
    "CONV3",
    "EDGES",
    "INTO",
    "KERNEL_AREA",
    "NB201",
    "NODES",
    "NONE",
    "OPERATORS",
    "POOL",
    "SKELETONS",
    "SKIP",
    "Skeleton",
    "arch_from_str",
    "arch_to_index",
    "arch_to_str",
    "lexicographic_codes",
    "nasbench201_cost",
    "official_archs",
    "prune",
    "prune_arch",
    "shared_function",
    "unique_str",
]
