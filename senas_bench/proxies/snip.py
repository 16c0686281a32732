"""SNIP: what the loss would feel of each weight's absence (Lee et al., ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import Proxy
from senas_bench.proxies.zero_cost import loss_of

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Snip(Proxy):
    """The sum of |w dL/dw| over all weights of convolutions and the linear layer.

    Source: Lee, Ajanthan and Torr, "SNIP: single-shot network pruning based on connection sensitivity", ICLR 2019; as a
    score of archs Abdelfattah et al., ICLR 2021, and NASLib, whose derivative by a mask of ones is w dL/dw.

    Batch: 32 labelled images. Init: the network's own, torch's for its layers. Batch norm: statistics of the batch.
    Dead edges add nothing. Deviations: none.
    """

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        weights = network.weights
        gradients = network.gradients(loss_of(network, images, labels), weights)
        parts = zip(weights, gradients, strict=True)
        return sum(float((weight.detach() * gradient).abs().sum()) for weight, gradient in parts)
