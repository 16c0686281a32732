"""The simplest of "Zero-cost proxies for lightweight NAS" (Abdelfattah et al., ICLR 2021): sums over weights and
gradients of one batch. Formulas are those of zero-cost-nas, its code, and of NASLib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


def loss_of(network: Alone, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of a batch, with batch norm by the statistics of the batch."""
    from torch import nn

    network.network.train()
    return nn.functional.cross_entropy(network(images), labels)


@dataclass(frozen=True)
class GradNorm(Proxy):
    """The sum over layers of the Euclidean norm of the gradient of the loss by the layer's weight.

    Batch: 32 labelled images. Init: the network's own. Batch norm: statistics of the batch. Dead edges add nothing.
    Deviations: none. Not the norm of all gradients together, which ZenNAS's code calls by the same name.
    """

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        gradients = network.gradients(loss_of(network, images, labels), network.weights)
        return sum(float(gradient.norm()) for gradient in gradients)


@dataclass(frozen=True)
class Plain(Proxy):
    """The sum of w dL/dw over all weights of layers, signs and all.

    Batch: 32 labelled images. Init: the network's own. Batch norm: statistics of the batch, which makes the sum over a
    layer in front of it 0 but for rounding and eps. Dead edges add nothing. Deviations: none.
    """

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        weights = network.weights
        gradients = network.gradients(loss_of(network, images, labels), weights)
        return sum(
            float((weight.detach() * gradient).sum()) for weight, gradient in zip(weights, gradients, strict=True)
        )


@dataclass(frozen=True)
class L2Norm(Proxy):
    """The sum over layers of the Euclidean norm of the layer's weight: with torch's init about sqrt(outputs / 3) for
    each layer, so that it counts convolutions.

    Batch: none, and no pass. Init: the network's own. Batch norm: plays no part. Dead edges count, for their weights
    are there. Deviations: none.
    """

    data = "nothing"
    batch = 1
    of = "string"

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        return sum(float(weight.detach().norm()) for weight in network.weights)
