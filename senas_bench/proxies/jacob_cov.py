"""Jacobian covariance: how differently a network treats different images (Mellor et al., first version of 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone

NOTHING = 1e-2
"""Gradients so small beside logits over images are rounding: about 1e-4 there, and 100 where there is a gradient."""


@dataclass(frozen=True)
class JacobCov(Proxy):
    """-sum over i of ln(v_i + k) + 1 / (v_i + k), where v are the eigenvalues of the correlations between the images'
    gradients: of the sum of all logits of the batch, by each image. -n is the best, where gradients are uncorrelated.

    Source: Mellor et al., "Neural architecture search without training", arXiv 2006.04647, version 1; zero-cost-nas's
    `jacob_cov`, NASLib's `jacov`.

    Batch: 32 images. Init: the network's own. Batch norm: statistics of the batch, so that an image's gradient feels
    the others too. Dead edges add nothing. Deviations: eigenvalues of a symmetric matrix in float64; nan where nothing
    but rounding is left of the gradients. That is so where batch norms without a ReLU behind them are all that feeds a
    mean over pixels, whose sum over the batch they fix: DARTS cells without a pool at the end. The codes score it.

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
        logits = network(images)
        (jacobian,) = network.gradients(logits.sum(), [images])
        if jacobian.norm() * images.detach().norm() < NOTHING * logits.detach().norm():
            return float("nan")
        values = torch.linalg.eigvalsh(torch.corrcoef(jacobian.flatten(1).double().cpu())) + self.k
        return -float((values.log() + 1 / values).sum())
