"""Zen-score: how much a network with random weights spreads neighbouring images (Lin et al., ICCV 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Zen(Proxy):
    """ln of the mean over images of |f(x) - f(x + alpha e)|, summed over channels and pixels, plus the sum over batch
    norms of ln sqrt(mean over channels of the variance): what normalising has taken away. f is what the head averages.

    Source: Lin et al., "Zen-NAS: a zero-shot NAS for high-performance deep image recognition", ICCV 2021.

    Batch: 32 images of noise x, and as many of noise e. Init: normal, deviation 1. Batch norm: statistics of the batch.
    Dead edges are left out: the variance of what they give is 0. Deviations: variances are those of x, as in the paper;
    its code reads running statistics, a tenth of which each of its two passes makes up. Its scripts have 64 images, and
    score MobileNet-like networks without their shortcuts.

    Args:
        alpha: Size of the step.
    """

    data = "noise"
    needs_features = True
    alpha: float = 1e-2

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        import torch

        from senas_bench.proxies.init import normal

        normal(network, generator)
        network.network.train()
        step = torch.randn(images.shape, generator=generator).to(images)
        for norm in network.norms:
            norm.momentum = 1.0
        with torch.no_grad():
            first = network.features(images)[-1]
            scale = sum(math.log(float(norm.running_var.mean())) / 2 for norm in network.norms)  # type: ignore[union-attr]
            second = network.features(images + self.alpha * step)[-1]
        spread = float((first - second).abs().flatten(1).sum(1).mean())
        return math.log(spread) + scale if spread > 0 else -math.inf
