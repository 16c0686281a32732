"""SWAP: how many ReLUs a batch of images tells apart (Peng et al., ICLR 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Swap(Proxy):
    """The number of different patterns, over the images, of whether a ReLU's input is positive.

    Source: Peng et al., "SWAP-NAS: sample-wise activation patterns for ultra-fast NAS", ICLR 2024, without its
    regularisation by size.

    Batch: 16 images. Init: normal, deviation 1, as the code has it. Batch norm: statistics of the batch. Dead edges are
    left out: they add one pattern at most. Deviations: the whole network, where the code has one cell on the channels
    of the images, without a stem; one draw of the weights, where it averages over 32 (`TrainingFree.draws`). ReLU6 is
    on above 0. There are 2^16 patterns of 16 images: wide and deep networks come near, and differ little at the top.
    """

    saw = BY_AUTHORS
    data = "images"
    batch = 16

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        import torch

        from senas_bench.proxies.init import normal
        from senas_bench.proxies.modes import Rectified

        normal(network, generator)
        network.network.train()
        with torch.no_grad(), Rectified() as seen:
            network(images)
            on = torch.cat([(output > 0).flatten(1) for output, _ in seen.outputs()], 1)
        return float(len(torch.unique(_packed(on), dim=0)))


def _packed(on: torch.Tensor) -> torch.Tensor:
    """`(neurons, words)` int64 of `(images, neurons)` bool: 32 images to a word, so that rows are compared at once."""
    import torch

    words = []
    for part in on.split(32):
        places = 2 ** torch.arange(len(part), device=on.device)
        words.append((part * places.unsqueeze(1)).sum(0))
    return torch.stack(words, 1)
