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
        return flow(network, images, norms=False)


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
        calibrate(network, images)
        network.network.eval()
        return flow(network, images, norms=True)


def calibrate(network: Alone, images: torch.Tensor) -> None:
    """Set the running statistics of all batch norms to those of one pass over images `(B, C, H, W)`."""
    for norm in network.norms:
        norm.momentum = 1.0
    network.network.train()
    network.look(images)


def flow(network: Alone, images: torch.Tensor, norms: bool) -> float:
    """ln of the sum of |w dR/dw|, see `Synflow`, in one pass forward: with all weights absolute it is the derivative of
    R along the weights themselves, see `modes.along_weights`.

    Args:
        network: In evaluation mode.
        images: `(B, C, H, W)`; only their shape is read.
        norms: Whether batch norms divide by their running deviation; else they are left out.
    """
    import torch

    from senas_bench.proxies.modes import Replaced, along_weights, with_deviations, without_caps, without_norms

    both = torch.zeros((2, *images.shape[1:]), dtype=torch.float64, device=images.device)
    both[0] = 1
    with (
        torch.no_grad(),
        Replaced({**along_weights(), **without_caps(), **(with_deviations() if norms else without_norms())}),
    ):
        _, total = network(both.contiguous(memory_format=torch.channels_last)).sum(1).tolist()
    return math.log(total) if total > 0 else -math.inf
