"""The networks of the paper's Tables 4 and 5: what it prints of them, and what those whose arch is public really cost.

Published numbers are copied from the paper (`paper.SOURCE`); none of them was measured here. The FLOPs and parameters
beside them are ours, in closed form, for ImageNet at 224x224, counted as in `spaces.mobilenet` and `spaces.darts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from senas_bench.spaces import darts
from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.mobilenet import KNOWN_NETWORKS, mobilenet_cost
from senas_bench.spaces.space import Arch

Value = float | tuple[float, float] | None
"""A number, its mean and standard deviation, or none where the paper prints a dash."""

TABLE4 = (
    ("MobileNetV2-1.0×", "manual", None, 300, None, 72.0, None),
    ("FBNet-A", "gradient", "MobileNet", 249, 4.9, 73.0, 9),
    ("SE-NAS-A", "gradient", "MobileNet", (250, 1), (4.7, 0.1), (73.30, 0.07), 7),
    ("ProxylessNAS-R", "gradient", "MobileNet", 320, 3.8, 74.6, 15),
    ("FairNAS", "EA", "MobileNet", 321, 4.4, 74.7, 12),
    ("SE-NAS-B", "gradient", "MobileNet", (321, 1), (3.9, 0.2), (74.86, 0.10), 7),
    ("Random", None, "MobileNet", (472, 6), (5.2, 0.9), (72.77, 1.09), None),
    ("SPOS", "EA", "MobileNet", 466, 7.1, 74.8, 12),
    ("ProxylessNAS", "gradient", "MobileNet", 465, 7.1, 75.1, 15),
    ("SE-NAS-C", "gradient", "MobileNet", (470, 2), (6.0, 0.5), (76.01, 0.13), 7),
    ("ShuffleNetV2-2.0×", "manual", None, 591, None, 74.9, None),
    ("NASNet-A", "RL", "NASNet", 564, 5.3, 74.0, 1800),
    ("PCNAS", "gradient", "MobileNet", 595, 5.1, 76.1, None),
    ("DARTS", "gradient", "DARTS", 595, 4.9, 73.1, 4),
    ("GDAS", "gradient", "DARTS", 581, 5.3, 74.0, 0.2),
    ("SNAS", "gradient", "DARTS", 522, 4.3, 72.7, 1.5),
    ("SE-NAS-D", "gradient", "MobileNet", (592, 2), (5.4, 0.2), (76.75, 0.09), 7),
    ("SE-NAS-E", "gradient", "DARTS", (597, 3), (5.2, 0.4), (74.72, 0.15), 8),
)
"""Name, search method as printed, space, FLOPs and parameters in millions, top-1 accuracy on ImageNet in percent,
GPU-days."""

TABLE5 = (
    ("ProxylessNAS-R", "gradient", 17, 3.8, 74.6, 15),
    ("SPOS", "EA", 17, 4.1, 74.8, 12),
    ("SE-NAS-F", "gradient", (16, 1), (3.9, 0.3), (74.79, 0.08), 7),
    ("SPOS", "EA", 22, 7.1, 75.3, 12),
    ("ProxylessNAS", "gradient", 22, 7.1, 75.1, 15),
    ("SE-NAS-G", "gradient", (23, 0), (6.3, 0.2), (75.87, 0.10), 7),
)
"""Name, search method, latency on the paper's GPU in milliseconds, then as in `TABLE4`; MobileNet-like all of them."""

GDAS_V1 = darts.arch_from_str(
    "|skip_connect~0|skip_connect~1|+|skip_connect~0|sep_conv_5x5~2|+"
    "|skip_connect~0|sep_conv_3x3~3|+|sep_conv_3x3~3|sep_conv_5x5~4|/"
    "|sep_conv_5x5~0|sep_conv_3x3~1|+|sep_conv_5x5~1|sep_conv_5x5~2|+"
    "|sep_conv_3x3~1|dil_conv_5x5~2|+|sep_conv_5x5~0|sep_conv_5x5~1|"
)
"""The cells of Dong and Yang, "Searching for a robust neural architecture in four GPU hours", CVPR 2019 [code]."""


class Cost(NamedTuple):
    """What a network costs by our count.

    Args:
        flops_m: Multiply-adds of convolutions and the classifier, in millions.
        params: Affine batch norm and the classifier's bias included.
    """

    flops_m: float
    params: int


def mobilenet_network(name: str) -> Cost:
    """A network of `spaces.mobilenet.KNOWN_NETWORKS`."""
    known = KNOWN_NETWORKS[name]
    return _cost(mobilenet_cost(known.skeleton), known.arch)


def darts_network(arch: Arch, channels: int) -> Cost:
    """The ImageNet network of 14 layers from a normal and a reduction cell: an arch of 28 edges."""
    skeleton = replace(darts.SKELETONS["imagenet"], channels=channels)
    return _cost(darts.darts_cost(skeleton, shared_cell=False), arch)


def _cost(table: CostTable, arch: Arch) -> Cost:
    cost = table(np.array([arch]))
    return Cost(float(cost["flops_m"][0]), int(cost["params"][0]))


def shufflenet_v2(widths: Sequence[int], repeats: Sequence[int] = (4, 8, 4), num_classes: int = 1000) -> Cost:
    """ShuffleNetV2 for images of 224x224 (Ma et al., ECCV 2018).

    Stem 3x3 and max-pooling, of stride 2 both; stages whose first unit has stride 2 and two branches of half the width,
    and whose other units change one half of the channels; a 1x1 convolution, mean over pixels, and a classifier.

    Args:
        widths: Channels of the stem, of each stage, and of the last convolution.
        repeats: Units of each stage.
    """
    stem, *stages, last = widths
    side, c_in = 56, stem
    convolutions = [(27 * stem, stem, 112)]  # weights, output channels, height and width of the output
    for width, units in zip(stages, repeats, strict=True):
        half, halved = width // 2, side // 2
        convolutions += [(9 * c_in, c_in, halved), (c_in * half, half, halved)]
        convolutions += [(c_in * half, half, side), (9 * half, half, halved), (half * half, half, halved)]
        convolutions += [(half * half, half, halved), (9 * half, half, halved), (half * half, half, halved)] * (
            units - 1
        )
        side, c_in = halved, width
    convolutions.append((c_in * last, last, side))
    head = last * num_classes
    return Cost(
        flops_m=(sum(weights * pixels**2 for weights, _, pixels in convolutions) + head) / 1e6,
        params=sum(weights + 2 * width for weights, width, _ in convolutions) + head + num_classes,
    )


NETWORKS: Mapping[str, tuple[str, Callable[[], Cost]]] = {
    "MobileNetV2-1.0×": ("", partial(mobilenet_network, "mobilenetv2-1.0")),
    "ProxylessNAS-R": ("Proxyless-mobile", partial(mobilenet_network, "proxyless-mobile")),
    "ProxylessNAS": ("Proxyless-GPU", partial(mobilenet_network, "proxyless-gpu")),
    "ShuffleNetV2-2.0×": ("", partial(shufflenet_v2, (24, 244, 488, 976, 2048))),
    "DARTS": (
        "DARTS_V2, 48 channels, 14 layers",
        partial(darts_network, darts.arch_from_genotype(darts.GENOTYPES["DARTS_V2"]), 48),
    ),
    "GDAS": ("GDAS_V1, 50 channels, 14 layers", partial(darts_network, GDAS_V1, 50)),
}
"""By the paper's name: which public network we take it for, where the name leaves that open, and its cost."""

NOTES = (
    "Published FLOPs, parameters and accuracy are the paper's; flops_m and params_m are counted here, in closed form, "
    "where the arch is public.",
    "For ProxylessNAS-R the paper prints 3.8M parameters; the network of its FLOPs and accuracy, Proxyless-mobile, has "
    "4.08M.",
    "DARTS: the paper does not say which cells it means. Those of second order, at the usual 48 channels and 14 "
    "layers, have fewer FLOPs and parameters than it prints.",
    "GDAS: its public cells have the printed FLOPs and parameters at 50 channels and 14 layers.",
    "ShuffleNetV2-2.0×: the printed 591M are those of its authors; convolutions and classifier alone make 583M.",
)
"""What a reader needs to judge the rows."""


def table4() -> list[dict[str, Any]]:
    """The paper's Table 4, in its order, with our count beside.

    Returns:
        Per network `name`, `search`, `space`; `published_flops_m`, `published_params_m` (millions), `published_top1`
        (percent), each with its `..._std`; `published_gpu_days`; and ours: `network`, what we take the name for,
        `flops_m` and `params_m`. None where the paper prints no number, or where we know no arch.
    """
    return [
        {
            "name": name,
            "search": search,
            "space": space,
            **_published("flops_m", flops),
            **_published("params_m", params),
            **_published("top1", top1),
            "published_gpu_days": days,
            **_counted(name),
        }
        for name, search, space, flops, params, top1, days in TABLE4
    ]


def table5() -> list[dict[str, Any]]:
    """The paper's Table 5; as `table4`, with `published_latency_ms` and its `..._std` in place of published FLOPs.

    A latency is the paper's, on its own GPU; it says nothing of another device.
    """
    return [
        {
            "name": name,
            "search": search,
            **_published("latency_ms", latency),
            **_published("params_m", params),
            **_published("top1", top1),
            "published_gpu_days": days,
            **_counted(name),
        }
        for name, search, latency, params, top1, days in TABLE5
    ]


def _published(key: str, value: Value) -> dict[str, float | None]:
    mean, std = value if isinstance(value, tuple) else (value, None)
    return {f"published_{key}": mean, f"published_{key}_std": std}


def _counted(name: str) -> dict[str, Any]:
    if name not in NETWORKS:
        return {"network": None, "flops_m": None, "params_m": None}
    known, count = NETWORKS[name]
    cost = count()
    return {"network": known or name, "flops_m": cost.flops_m, "params_m": cost.params / 1e6}
