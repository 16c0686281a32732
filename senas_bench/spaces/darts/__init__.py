"""The DARTS space: cells of four nodes, each the sum of two inputs (paper Fig. 4).

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

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
from senas_bench.spaces.darts.genotype import genotype_from_str
from senas_bench.spaces.darts.rule import TwoInputs, into_nodes
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
from senas_bench.spaces.darts.studies import STUDIES
from senas_bench.spaces.space import Arch, ImageShape, NetworkSizes, SearchSpace, Space
from senas_bench.spaces.texts import is_genotype

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn


def _from_str(text: str, shared_cell: bool) -> Arch:
    arch = arch_from_genotype(genotype_from_str(text)) if is_genotype(text) else arch_from_str(text)
    if len(arch) == (len(EDGES) if shared_cell else 2 * len(EDGES)):
        return arch
    if not shared_cell:
        return arch * 2
    if arch[: len(EDGES)] == arch[len(EDGES) :]:
        return arch[: len(EDGES)]
    raise ValueError("two different cells are no arch of space darts, which has one; use darts-separate")


def _skeleton(images: ImageShape, sizes: NetworkSizes) -> DartsSkeleton:
    """Images as large as ImageNet's get the stack in which found cells are trained on it, whatever the sizes."""
    if images.resolution >= SKELETONS["imagenet"].resolution:
        return replace(SKELETONS["imagenet"], **images._asdict())
    return DartsSkeleton(**images._asdict(), channels=sizes.channels, layers=3 * sizes.cells + 2)


def _network(space: SearchSpace, skeleton: DartsSkeleton, affine: bool, auxiliary: bool = False) -> nn.Module:
    from senas_bench.spaces.darts.network import DartsNetwork

    return DartsNetwork(space, skeleton, affine, auxiliary=auxiliary)


def _draw(archs: Sequence[tuple[str, Arch]]) -> Figure:
    from senas_bench.spaces.cells import draw_all_cells
    from senas_bench.spaces.darts.drawing import panels_of

    return draw_all_cells(panels_of, archs)


SHARED_SPACE = Space(
    whole=DARTS,
    to_str=arch_to_str,
    from_str=partial(_from_str, shared_cell=True),
    cost=darts_cost,
    skeletons=SKELETONS,
    skeleton=_skeleton,
    network=_network,
    draw=_draw,
    reference=SKELETONS["imagenet"],
    studies=STUDIES,
    cells=(into_nodes(1),),
)
SEPARATE_SPACE = replace(
    SHARED_SPACE,
    whole=DARTS_SEPARATE,
    from_str=partial(_from_str, shared_cell=False),
    cost=partial(darts_cost, shared_cell=False),
    cells=(into_nodes(2)[: len(NODES)], into_nodes(2)[len(NODES) :]),
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
    "SEPARATE_SPACE",
    "SHARED_SPACE",
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
