"""Fisher: what the loss would feel of each channel's absence (Theis et al., 2018; Turner et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import Proxy
from senas_bench.proxies.zero_cost import loss_of

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Fisher(Proxy):
    """The sum over channels c of layers of m_c / 2 times the mean over images of (sum over pixels of a_c dL/da_c)^2,
    where a is what the layer gives, before its batch norm, and m_c the number of weights that make the channel.

    Source: Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018; Turner et al.,
    "BlockSwap", ICLR 2020; as a score of archs Abdelfattah et al., ICLR 2021. That m_c counts is how zero-cost-nas and
    NASLib add up: they give each weight the value of its channel.

    Batch: 32 labelled images; the loss is their mean. Init: the network's own. Batch norm: statistics of the batch.
    Dead edges add nothing. Deviations: none.
    """

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        with network.listening() as heard:
            loss = loss_of(network, images, labels)
        gradients = network.gradients(loss, [output for _, _, output in heard])
        total = 0.0
        for (layer, _, output), gradient in zip(heard, gradients, strict=True):
            felt = (output.detach() * gradient).flatten(2).sum(2) if output.dim() > 2 else output.detach() * gradient
            total += float(felt.square().mean(0).sum()) / 2 * layer.weight[0].numel()
        return total
