"""ZiCo: large and steady gradients (Li et al., ICLR 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy
from senas_bench.proxies.zero_cost import loss_of

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Zico(Proxy):
    """The sum over layers of ln of the sum over weights of mean |g| / deviation of g, over batches of images.

    Source: Li et al., "ZiCo: zero-shot NAS via inverse coefficient of variation on gradients", ICLR 2023, and its code:
    the deviation divides by the number of batches; weights whose gradient does not vary are left out, and layers
    without any other.

    Batch: 64 labelled images in two batches; the code has two of 128. Init: the network's own, torch's for its layers.
    Batch norm: statistics of the batch. Dead edges add nothing. Deviations: in MobileNet-like
    networks the code's search leaves the shortcuts out.

    Args:
        batches: Into which the images are cut.
    """

    saw = BY_AUTHORS
    batch = 64
    batches: int = 2

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        import torch

        parts = zip(images.chunk(self.batches), labels.chunk(self.batches), strict=True)
        gradients = [network.gradients(loss_of(network, x, y), network.weights) for x, y in parts]
        total = 0.0
        for layer in map(torch.stack, zip(*gradients, strict=True)):
            deviation, size = layer.std(0, correction=0), layer.abs().mean(0)
            varying = deviation > 0
            ratio = float((size[varying] / deviation[varying]).double().sum())
            total += math.log(ratio) if ratio > 0 else 0.0
        return total
