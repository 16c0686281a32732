"""SynFlow: how much flows through a network of absolute weights (Tanaka et al., NeurIPS 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Synflow(Proxy):
    """ln of the sum of |w dR/dw| over all weights of convolutions and the linear layer, where R is the sum of the
    logits of one image of ones, and all weights are absolute.

    Source: Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow", NeurIPS
    2020; as a score of archs Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021. Formula and
    logarithm are those of NASLib's `synflow`.

    Batch: none. Init: the network's own, torch's for its layers. Batch norm: left out, as in zero-cost-nas and NASLib.
    Dead edges add nothing. In float64, for the sum may exceed float32. Deviations: where a network has ReLU6, its cap
    is left out, for it would cut off all that flows.
    """

    data = "nothing"
    batch = 1

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        from senas_bench.proxies.modes import Replaced, without_caps, without_norms

        with Replaced({**without_caps(), **without_norms()}):
            return flow(network, images)


@dataclass(frozen=True)
class SynflowBn(Proxy):
    """`Synflow` with batch norms that divide by the deviations which they saw on a batch of images, before the weights
    were made absolute. Ours.

    An operator then counts by how much larger the flow of absolute weights is than what the network really has there,
    rather than by its fan-in. Seen first with all truths of NAS-Bench-201 in view (docs/proxies.md).

    Batch: 32 images, one pass. Init: the network's own. Batch norm: divides by sqrt(variance + eps), the variance of
    the batch (unbiased); means are left out, for they hardly matter and would let the flow be negative. Dead edges
    add nothing. Not to be taken for `synflow_bn` of zero-cost-nas, whose batch norms see nothing but the image of ones.
    """

    saw = "all truths of NAS-Bench-201, by us"
    data = "images"

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        from senas_bench.proxies.modes import Replaced, without_caps

        calibrate(network, images)
        for norm in network.norms:
            if norm.running_mean is not None:
                norm.running_mean.zero_()
        network.network.eval()
        with Replaced(without_caps()):
            return flow(network, images)


def calibrate(network: Alone, images: torch.Tensor) -> None:
    """Set the running statistics of all batch norms to those of one pass over images `(B, C, H, W)`."""
    import torch

    for norm in network.norms:
        norm.momentum = 1.0
    network.network.train()
    with torch.no_grad():
        network(images)


def flow(network: Alone, images: torch.Tensor) -> float:
    """ln of the sum of `flows`."""
    total = sum(flows(network, images))
    return math.log(total) if total > 0 else -math.inf


def flows(network: Alone, images: torch.Tensor) -> list[float]:
    """Of each layer the sum of |w dR/dw|, see `Synflow`; the network is left absolute and in float64.

    Args:
        images: `(B, C, H, W)`; only their shape is read.
    """
    import torch

    network.network.double()
    with torch.no_grad():
        for parameter in network.network.parameters():
            parameter.abs_()
    weights = network.weights
    ones = torch.ones((1, *images.shape[1:]), dtype=torch.float64, device=images.device)
    ones = ones.contiguous(memory_format=torch.channels_last)
    gradients = network.gradients(network(ones).sum(), weights)
    found = [(weight.detach() * gradient).abs().sum() for weight, gradient in zip(weights, gradients, strict=True)]
    return torch.stack(found).tolist()
