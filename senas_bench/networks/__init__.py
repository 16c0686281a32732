"""What an arch computes. One network class per family of spaces."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from senas_bench.spaces import SearchSpace
from senas_bench.spaces.darts.network import DartsNetwork
from senas_bench.spaces.mobilenet.network import MobileNetwork
from senas_bench.spaces.nasbench201 import Skeleton
from senas_bench.spaces.nasbench201.network import NB201Network


def _nasbench201(space: SearchSpace, skeleton: Skeleton, affine: bool) -> NB201Network:
    return NB201Network(space, skeleton.channels, skeleton.cells, skeleton.in_channels, skeleton.num_classes, affine)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "nasbench201": _nasbench201,
    "mobilenet": MobileNetwork,
    "mobilenet-g2": MobileNetwork,
    "darts": DartsNetwork,
    "darts-separate": DartsNetwork,
}
"""By name of the space: `(space, skeleton, affine) -> network`, where affine is for batch norm inside the choices.
Those of DARTS take `auxiliary` too, for an auxiliary head."""
