"""NASWOT: how differently images switch the ReLUs of a network (Mellor et al., ICML 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Naswot(Proxy):
    """ln det K, where K_ij is the number of ReLUs' inputs that are positive for both of images i and j, or for neither.

    Source: Mellor et al., "Neural architecture search without training", ICML 2021; NASLib's `nwot`. A ReLU counts for
    each convolution that reads it, as in the networks of these, where each convolution has a ReLU of its own.

    Batch: 32 images, as NASLib; the authors' script has 128. Init: the network's own, torch's for its layers. Batch
    norm: statistics of the batch. Dead edges, which read zeros, count as ReLUs that are off for all images; without
    them it is `naswot-live`. Deviations: in float64. ReLU6 is on above 0.

    Args:
        dead: Whether dead edges count; otherwise it is a score of the function.
    """

    saw = BY_AUTHORS
    data = "images"
    dead: bool = True

    @property
    def of(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] -- as the field says
        return "string" if self.dead else "function"

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        import torch

        from senas_bench.proxies.modes import Rectified

        network.network.train()
        with torch.no_grad(), Rectified() as seen:
            network(images)
            kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)
            for output, times in seen.outputs():
                on = (output > 0).flatten(1).float()
                off = 1 - on
                kernel += times * (on @ on.T + off @ off.T)
        sign, value = torch.linalg.slogdet(kernel)
        return float(value) if sign > 0 else -math.inf
