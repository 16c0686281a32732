"""The DARTS space: cells of four nodes, each the sum of two inputs (paper Fig. 4).

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
"""

from senas_bench.spaces.darts.cell import (
    AVG_POOL,
    CELLS,
    DIL3,
    DIL5,
    DILATED,
    EDGES,
    MAX_POOL,
    NODES,
    NONE,
    OPERATORS,
    SEP3,
    SEP5,
    SEPARABLE,
    SKIP,
)
from senas_bench.spaces.darts.cost import darts_cost, operator_cost
from senas_bench.spaces.darts.rule import TwoInputs
from senas_bench.spaces.darts.skeleton import SKELETONS, STEMS, SUPERNET, CellShape, DartsSkeleton
from senas_bench.spaces.darts.space import DARTS, DARTS_SEPARATE, darts_space
from senas_bench.spaces.darts.strings import (
    GENOTYPES,
    Genotype,
    arch_from_genotype,
    arch_from_str,
    arch_to_genotype,
    arch_to_str,
)

__all__ = [
    "AVG_POOL",
    "CELLS",
    "DARTS",
    "DARTS_SEPARATE",
    "DIL3",
    "DIL5",
    "DILATED",
    "EDGES",
    "GENOTYPES",
    "MAX_POOL",
    "NODES",
    "NONE",
    "OPERATORS",
    "SEP3",
    "SEP5",
    "SEPARABLE",
    "SKELETONS",
    "SKIP",
    "STEMS",
    "SUPERNET",
    "CellShape",
    "DartsSkeleton",
    "Genotype",
    "TwoInputs",
    "arch_from_genotype",
    "arch_from_str",
    "arch_to_genotype",
    "arch_to_str",
    "darts_cost",
    "darts_space",
    "operator_cost",
]
