"""NAS-Bench-201: cells of four nodes and five operators (Dong and Yang, ICLR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from senas_bench.spaces.nasbench201.cost import KERNEL_AREA, SKELETONS, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.functions import (
    function_arch,
    lexicographic_codes,
    prune,
    prune_arch,
    pruned_or_none,
    shared_function,
    unique_str,
)
from senas_bench.spaces.nasbench201.space import CONV1, CONV3, EDGES, INTO, NB201, NODES, NONE, OPERATORS, POOL, SKIP
from senas_bench.spaces.nasbench201.strings import arch_from_str, arch_to_index, arch_to_str, official_archs
from senas_bench.spaces.space import Arch, ImageShape, NetworkSizes, SearchSpace, Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn


def _skeleton(images: ImageShape, sizes: NetworkSizes) -> Skeleton:
    return Skeleton(**images._asdict(), channels=sizes.channels, cells=sizes.cells)


def _network(space: SearchSpace, skeleton: Skeleton, affine: bool) -> nn.Module:
    from senas_bench.spaces.nasbench201.network import NB201Network

    sizes = (skeleton.channels, skeleton.cells, skeleton.in_channels, skeleton.num_classes)
    return NB201Network(space, *sizes, affine, skeleton.partial)


def _draw(archs: Sequence[tuple[str, Arch]]) -> Figure:
    from senas_bench.spaces.cells import draw_all_cells
    from senas_bench.spaces.nasbench201.drawing import panels_of

    return draw_all_cells(panels_of, archs)


NB201_SPACE = Space(
    whole=NB201,
    to_str=arch_to_str,
    from_str=arch_from_str,
    cost=nasbench201_cost,
    skeletons=SKELETONS,
    skeleton=_skeleton,
    network=_network,
    draw=_draw,
    pruned=pruned_or_none,
    function=function_arch,
    cells=(tuple(tuple(edge for edge, _ in into) for into in INTO[1:]),),
)

__all__ = [
    "CONV1",
    "CONV3",
    "EDGES",
    "INTO",
    "KERNEL_AREA",
    "NB201",
    "NB201_SPACE",
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
    "function_arch",
    "lexicographic_codes",
    "nasbench201_cost",
    "official_archs",
    "prune",
    "prune_arch",
    "pruned_or_none",
    "shared_function",
    "unique_str",
]
