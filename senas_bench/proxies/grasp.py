"""GraSP: how the removal of each weight changes the flow of gradients (Wang et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import Proxy
from senas_bench.proxies.zero_cost import loss_of

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Grasp(Proxy):
    """The sum of -w (H g) over all weights of layers: g the gradient of the loss, H its Hessian.

    Source: Wang, Zhang and Grosse, "Picking winning tickets before training by preserving gradient flow", ICLR 2020;
    as a score of archs Abdelfattah et al., ICLR 2021, and NASLib, at temperature 1.

    Batch: 32 labelled images. Init: the network's own. Batch norm: statistics of the batch, through which second
    derivatives go too. Dead edges add nothing. Deviations: g and H g come from one pass over the batch, where the codes
    make a second one over the same images.
    """

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        weights = network.weights
        gradients = network.gradients(loss_of(network, images, labels), weights, graph=True)
        along = sum((gradient.detach() * gradient).sum() for gradient in gradients)
        assert not isinstance(along, int)
        products = network.gradients(along, weights, second=True)
        return -sum(float((weight.detach() * product).sum()) for weight, product in zip(weights, products, strict=True))
