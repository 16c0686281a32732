"""AZ-NAS: four views of a network, of which three are here (Lee and Ham, CVPR 2024).

Source: Lee and Ham, "AZ-NAS: assembling zero-cost proxies for network architecture search", CVPR 2024, and its code for
NAS-Bench-201. It adds up the logarithms of the ranks of the three and of the FLOPs: `az-nas` of `ESTIMATORS`.

All: batch of 64 images of noise; weights normal of variance 2 / inputs; batch norm by the statistics of the batch; the
blocks are the stem, cells and reductions in NAS-Bench-201 and DARTS, and in a MobileNet-like network the layers that
are no identity, where AZ-NAS's code for such networks looks behind the ReLUs inside of them. Dead edges add nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


class _OfBlocks(Proxy):
    data = "noise"
    batch = 64
    needs_features = True


class _OfEntropies(_OfBlocks):
    """Two proxies that read the entropies of the blocks, see `entropies`."""

    family = "az-entropies"

    def numbers(
        self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        found = entropies(network, images, generator)
        return sum(found), min(after - before for before, after in itertools.pairwise(found))

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        return self.numbers(network, images, labels, generator)[self.place]


@dataclass(frozen=True)
class Expressivity(_OfEntropies):
    """The sum over blocks of the entropy, in nats, of the shares that the principal components of a block's output have
    in its variance: over channels, each pixel of each image being a sample. Deviations: variances that rounding makes
    negative are 0, where the code gives such a network -inf.
    """

    saw = BY_AUTHORS


@dataclass(frozen=True)
class Progressivity(_OfEntropies):
    """The least growth of that entropy from one block to the next. Deviations: as `Expressivity`."""

    place = 1


@dataclass(frozen=True)
class Trainability(_OfBlocks):
    """The mean over blocks of 2 - s - 1 / s, where s is the largest singular value of what a block does to gradients:
    signs drawn at random come back to its output, and s is that of their correlation, over pixels and images, with what
    leaves its input. 0 is the best, where gradients keep their size; -inf where a block hands on what it reads, as in
    the code. Where a block halves the sides, the pixels of its input that make one of the output count as channels.
    Deviations: none on NAS-Bench-201.
    """

    saw = BY_AUTHORS

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        pairs = list(itertools.pairwise(_blocks(network, images, generator)))
        found = [_trainability(network, *pair, generator, first=pair is pairs[0]) for pair in pairs]
        return sum(found) / len(found)


def entropies(network: Alone, images: torch.Tensor, generator: torch.Generator) -> list[float]:
    """Of each block the entropy of the spectrum of its output, see `Expressivity`."""
    import torch

    with torch.no_grad():
        return [_entropy(block) for block in _blocks(network, images, generator)]


def _blocks(network: Alone, images: torch.Tensor, generator: torch.Generator) -> Sequence[torch.Tensor]:
    from senas_bench.proxies.init import kaiming_normal

    kaiming_normal(network, generator)
    network.network.train()
    return network.features(images)[:-1]


def _samples(x: torch.Tensor) -> torch.Tensor:
    """`(B * H * W, C)` of `(B, C, H, W)`."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _entropy(block: torch.Tensor) -> float:
    import torch

    samples = _samples(block)
    samples = samples - samples.mean(0)
    values = torch.linalg.eigvalsh(samples.T @ samples / len(samples)).clamp(min=0)
    shares = values / values.sum()
    return -float((shares * (shares + 1e-8).log()).sum())


def _trainability(
    network: Alone, before: torch.Tensor, after: torch.Tensor, generator: torch.Generator, first: bool
) -> float:
    """Of one block; the ways back over all blocks are one over the network, which is counted with the first."""
    import torch

    signs = torch.randint(2, after.shape, generator=generator).to(after) * 2 - 1
    (back,) = network.gradients(after, [before], signs, keep=True, counted=first)
    if back.shape == signs.shape and torch.equal(back, signs):
        return -math.inf
    if back.shape[2] != signs.shape[2]:
        back = torch.nn.functional.pixel_unshuffle(back, back.shape[2] // signs.shape[2])
    left, right = _samples(back), _samples(signs)
    largest = float(torch.linalg.matrix_norm(left.T @ right / len(right), 2))
    return 2 - largest - 1 / (largest + 1e-6)
