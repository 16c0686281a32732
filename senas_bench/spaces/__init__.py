"""Search spaces. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from senas_bench.spaces import darts, mobilenet, nasbench201
from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.darts import DARTS, DARTS_SEPARATE
from senas_bench.spaces.mobilenet import MOBILENET, MOBILENET_G2
from senas_bench.spaces.nasbench201 import NB201, SKELETONS, nasbench201_cost
from senas_bench.spaces.space import Arch, SearchSpace, balanced_sample

SPACES = {space.name: space for space in (NB201, MOBILENET, MOBILENET_G2, DARTS, DARTS_SEPARATE)}


@dataclass(frozen=True)
class Kind:
    """What belongs to a space, whole or shrunk.

    Args:
        to_str, from_str: An arch as text and back; `from_str` raises ValueError with a message that helps.
        cost: Skeleton to the `CostTable` of stand-alone networks over it.
        skeletons: The networks of the literature, by dataset.
    """

    to_str: Callable[[Arch], str]
    from_str: Callable[[str], Arch]
    cost: Callable[[Any], CostTable]
    skeletons: dict[str, Any]


def _darts_from_str(shared_cell: bool, text: str) -> Arch:
    arch = darts.arch_from_str(text)
    edges = len(darts.EDGES)
    if len(arch) == (edges if shared_cell else 2 * edges):
        return arch
    if shared_cell:
        if arch[:edges] == arch[edges:]:
            return arch[:edges]
        raise ValueError("two different cells are no arch of space darts, which has one; use darts-separate")
    return arch * 2


_MOBILE_SKELETONS = {"imagenet": mobilenet.TABLE2}
KINDS = {
    "nasbench201": Kind(nasbench201.arch_to_str, nasbench201.arch_from_str, nasbench201_cost, SKELETONS),
    "mobilenet": Kind(mobilenet.arch_to_str, mobilenet.arch_from_str, mobilenet.mobilenet_cost, _MOBILE_SKELETONS),
    "mobilenet-g2": Kind(
        mobilenet.arch_to_str,
        partial(mobilenet.arch_from_str, space=MOBILENET_G2),
        mobilenet.mobilenet_cost,
        _MOBILE_SKELETONS,
    ),
    "darts": Kind(darts.arch_to_str, partial(_darts_from_str, True), darts.darts_cost, darts.SKELETONS),
    "darts-separate": Kind(
        darts.arch_to_str,
        partial(_darts_from_str, False),
        partial(darts.darts_cost, shared_cell=False),
        darts.SKELETONS,
    ),
}
"""By name of the space."""

__all__ = ["KINDS", "SPACES", "Arch", "Kind", "SearchSpace", "balanced_sample"]
