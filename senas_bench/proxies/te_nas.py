"""TE-NAS: how well a network can be trained and how finely it cuts its input (Chen et al., ICLR 2021).

Source: Chen, Gong and Wang, "Neural architecture search on ImageNet in four GPU hours: a theoretically inspired
perspective", ICLR 2021, and its code, which adds up the ranks of what the removal of an operator from a supernet does
to both. Here, as in AZ-NAS's comparison, the two score archs, and their ranks are added up: `te-nas` of `ESTIMATORS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.proxies.proxy import BY_AUTHORS, Proxy

if TYPE_CHECKING:
    import torch

    from senas_bench.proxies.alone import Alone


@dataclass(frozen=True)
class Ntk(Proxy):
    """Minus the condition number of the neural tangent kernel: K_ij is the product of the gradients, by the weights of
    layers and norms, of the summed logits of images i and j.

    Batch: 8 images. Init: the network's own, torch's for its layers. Batch norm: statistics of the batch, so that a
    logit feels the other images. Dead edges add nothing. Deviations: TE-NAS has 72 images on NAS-Bench-201, weights
    normal by the outputs of a layer, three channels, and three draws (`TrainingFree.draws`); AZ-NAS's comparison 64
    images, torch's weights and one draw. K in float64. It is a noisy score: two of these ways agree to a tau of .5. Of
    DARTS cells without a pool at the end it is rounding, about -1e13: batch norms fix the sum of their logits over the
    batch, see `JacobCov`, and K has no inverse.
    """

    saw = BY_AUTHORS
    data = "images"
    batch = 8

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        import torch

        network.network.train()
        logits = network(images).sum(1)
        weights = network.weights + [norm.weight for norm in network.norms if norm.weight is not None]
        jacobian = torch.cat([rows.flatten(1) for rows in network.jacobians(logits, weights)], 1).double()
        values = torch.linalg.eigvalsh(jacobian @ jacobian.T)
        return -float(values[-1] / values[0]) if values[0] > 0 else -math.inf


@dataclass(frozen=True)
class LinearRegions(Proxy):
    """How many linear regions straight ways between two images lead through, on average: one more than the ReLUs that
    switch on the way.

    Batch: 32 images of noise, eight on each of four straight ways. Init: the network's own. Batch norm: statistics of
    these. Dead edges add nothing. Deviations: TE-NAS counts different patterns of all ReLUs among 3,000 real images cut
    to 1x3x3 pixels, in networks one channel wide and one cell deep, without a stem, weights normal by the inputs of a
    layer. In networks as wide as ours each image has a pattern of its own, however coarse the network is. What switches
    twice between two of the eight is missed.

    Args:
        points: On each way.
    """

    saw = BY_AUTHORS
    data = "noise"
    points: int = 8

    def __call__(self, network: Alone, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> float:
        import torch

        from senas_bench.proxies.modes import Rectified

        ways = len(images) // self.points
        start, end = images[:ways].unsqueeze(1), images[ways : 2 * ways].unsqueeze(1)
        share = torch.linspace(0, 1, self.points, device=images.device).reshape(-1, 1, 1, 1)
        points = (start + share * (end - start)).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        network.network.train()
        switched = 0
        with torch.no_grad(), Rectified() as seen:
            network(points)
            for output, _ in seen.outputs():
                on = (output > 0).unflatten(0, (ways, self.points))
                switched += int((on[:, 1:] != on[:, :-1]).sum())
        return 1 + switched / ways
