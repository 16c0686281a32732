"""Jacobian covariance: how differently a network treats different images (Mellor et al., first version of 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class JacobCov(Proxy):
    """-sum over i of ln(v_i + k) + 1 / (v_i + k), where v are the eigenvalues of the correlations between the images'
    gradients: of the sum of all logits of the batch, by each image. -n is the best, where gradients are uncorrelated.

    Source: Mellor et al., "Neural architecture search without training", arXiv 2006.04647, version 1; zero-cost-nas's
    `jacob_cov`, NASLib's `jacov`.

    Batch: 32 images. Init: the network's own. Batch norm: statistics of the batch, so that an image's gradient feels
    the others too. Dead edges add nothing. Deviations: eigenvalues of a symmetric matrix in float64.

    Args:
        k: Keeps away from eigenvalues of 0.
    """

    saw = BY_AUTHORS
    data = "images"
    k: float = 1e-5

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        import torch

        network.network.train()
        images.requires_grad_(True)
        (jacobian,) = network.gradients(network(images).sum(), [images])
        values = torch.linalg.eigvalsh(torch.corrcoef(jacobian.flatten(1).double().cpu())) + self.k
        return -float((values.log() + 1 / values).sum())
