"""Networks of the literature whose archs are public."""

from __future__ import annotations

from typing import Any, NamedTuple

from senas_bench.spaces.mobilenet.skeleton import MobileSkeleton
from senas_bench.spaces.mobilenet.space import arch_from_str, mobilenet_space
from senas_bench.spaces.space import Arch


class KnownNetwork(NamedTuple):
    """A published network: the arch over its own skeleton."""

    skeleton: MobileSkeleton
    arch: Arch


def _known(codes: str, **sizes: Any) -> KnownNetwork:
    skeleton = MobileSkeleton(**sizes)
    return KnownNetwork(skeleton, arch_from_str(codes, mobilenet_space(skeleton)))


KNOWN_NETWORKS = {
    "mobilenetv2-1.0": _known(
        "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        stem=32,
        first=16,
        widths=(24, 32, 64, 96, 160, 320),
        repeats=(2, 3, 4, 3, 3, 1),
        last=1280,
    ),
    "proxyless-gpu": _known("2 -1 -1 -1 4 -1 -1 0 5 -1 -1 2 3 -1 0 2 5 5 5 3 5"),
    "proxyless-mobile": _known(
        "2 0 -1 -1 4 0 2 2 5 2 2 2 3 2 2 2 5 5 4 4 5",
        stem=32,
        first=16,
        widths=(32, 40, 80, 96, 192, 320),
        last=1280,
    ),
    "proxyless-cpu": _known(
        "1 0 0 0 1 0 0 2 1 0 -1 -1 3 0 0 0 3 2 2 0 3",
        widths=(32, 48, 88, 104, 216, 360),
        last=1432,
    ),
}
"""MobileNetV2-1.0 (Sandler et al., CVPR 2018) and the networks found by ProxylessNAS, for ImageNet."""
FAIR = KNOWN_NETWORKS["proxyless-mobile"].skeleton
"""What surrounds the choices of FairNAS: the widths of Proxyless-mobile. Over those of Table 2 the cheapest network of
six blocks a layer has 461M multiply-adds, more than the 321M that FairNAS is quoted with."""
