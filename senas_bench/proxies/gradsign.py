"""GradSign: whether images pull each weight in the same direction (Zhang and Jia, ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class GradSign(Proxy):
    """The sum over weights of layers of |sum over images of the sign of the gradient of the image's own loss|.

    Source: Zhang and Jia, "GradSign: model performance inference with theoretical insights", ICLR 2022, and the scripts
    for NAS-Bench-201 that its code names; another script there takes the mean, which ranks small networks first.

    Batch: 32 labelled images. Init: the network's own. Batch norm: each image's own statistics, for the code runs them
    one by one. Dead edges count 0. Deviations: all images go through at once, each normalised by itself, and a layer's
    gradients by the images are taken apart: the same numbers to rounding.
    """

    saw = BY_AUTHORS

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        from torch import nn

        from senas_bench.proxies.modes import Replaced, with_own_statistics

        network.network.train()
        with Replaced(with_own_statistics()), network.listening() as heard:
            loss = nn.functional.cross_entropy(network(images), labels, reduction="sum")
        backs = network.gradients(loss, [output for _, _, output in heard])
        agreed = 0.0
        for (layer, read, _), back in zip(heard, backs, strict=True):
            agreed += float(image_gradients(layer, read.detach(), back).sign().sum(0).abs().sum())
        return agreed


def image_gradients(layer: nn.Conv2d | nn.Linear, read: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """`(images, weights)` gradients of a layer's weight, image by image.

    Args:
        read: What the layer read, `(B, C, H, W)` or `(B, C)`.
        back: What came back to its output.
    """
    from torch import nn

    if isinstance(layer, nn.Linear):
        return (back.unsqueeze(2) * read.unsqueeze(1)).flatten(1)
    images, groups = len(read), layer.groups
    patches = nn.functional.unfold(read, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
    patches = patches.reshape(images, groups, -1, patches.shape[2])
    back = back.reshape(images, groups, layer.out_channels // groups, -1)
    return (back @ patches.transpose(2, 3)).flatten(1)
