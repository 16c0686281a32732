"""FBNet: differentiable search with a cost-aware loss (Wu et al., CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.methods.expected_cost import ExpectedCost, most_probable_of_region
from senas_bench.networks.mixture import Mixture
from senas_bench.tasks.method import LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task
from senas_bench.training.samplers import Path

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.training.bilevel import Alphas, Batch

LAYERED = ("nasbench201", "mobilenet", "mobilenet-g2")
"""Spaces in which every choice of operators is an arch."""


@dataclass(frozen=True)
class FbNet(Method):
    """Learn weights and logits on soft samples of all operators, under a loss that knows what they cost.

    Weights and logits learn in turn on mixtures whose weights are soft samples, a fresh one for each step; the loss
    of the logits is the cross-entropy times `alpha * log(cost) ** beta` (Eq. 2), where the cost of a mixture is the
    weighted sum of a look-up table (Eq. 5).

    All operators of a layer run in each step, so the memory is that of a mixture: as many operators as a layer has.

    The cost is the one that the task limits, by its table; without a limit multiply-adds. It is in microseconds or in
    thousands of multiply-adds. The paper has no target: it tunes alpha and beta. Here the pick is the most probable
    arch within the limit; the paper draws archs from the distribution and trains them. Weights go down the
    cross-entropy alone: the factor of the cost changes nothing but the length of their steps. They train by the recipe
    of the space, on one half of the images, and a step of the logits on the other half comes before each of theirs; the
    paper gives them 80% of the images, and the logits 20% at the end of each epoch.

    Args:
        recipe: Recipe of the preset, for the weights; it trains the sum of the stages without a break.
        tau_max, tau_min: Temperature at the start and the end. The paper multiplies 5 by exp(-0.045) in each of its 90
            epochs; we keep the exponential between both ends, whatever the number of epochs.
        tau_by_step: Lower the temperature after each step of the weights and not after each epoch, which a training of
            a few epochs would spend at the start of the schedule.
        rest: Share of the epochs in which the weights learn alone, rounded down to whole ones: 10 of 90.
        alpha, beta: Of the loss.
        arch_lr, arch_betas, arch_weight_decay: Of the logits' Adam, at a constant rate.

    Raises:
        ValueError: A temperature that is not above 0.
    """

    spaces = LAYERED
    bilevel = True
    trains_on = LEARNED
    recipe: str = "fbnet"
    tau_max: float = 5.0
    tau_min: float = 0.0871
    rest: float = 1 / 9
    alpha: float = 0.2
    beta: float = 0.6
    arch_lr: float = 0.01
    arch_betas: tuple[float, float] = (0.9, 0.999)
    arch_weight_decay: float = 5e-4
    tau_by_step: bool = field(default=False, metadata={"added": True})

    def __post_init__(self) -> None:
        if min(self.tau_max, self.tau_min) <= 0:
            raise ValueError(f"temperatures must be above 0, not {self.tau_max} and {self.tau_min}")

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.resting import RestingAlphas, rest_of

        alphas, first = task.alphas(
            task.space, "alphas", lr=self.arch_lr, betas=self.arch_betas, weight_decay=self.arch_weight_decay
        )
        epochs = sum(task.recipe.stage_epochs)
        soft = SoftSamples(self, alphas, ExpectedCost.of(task), epochs * len(first) if self.tau_by_step else 0)
        trained = task.train(
            task.build(task.space),
            task.space,
            soft.sample,
            phase="train",
            epochs=epochs,
            architecture=RestingAlphas(alphas, soft.gradient, soft.begin_epoch, rest=rest_of(self.rest, epochs)),
            loader=first,
            keep_snapshots=False,
        )
        return most_probable_of_region(task, trained, alphas)


class SoftSamples:
    """Mixtures drawn by the Gumbel-softmax of the logits (Eq. 8), and the gradient of the cost-aware loss.

    Args:
        settings: The method.
        alphas: The logits.
        cost: Of a mixture.
        steps: Of the weights in the training, where each lowers the temperature; 0 where epochs do.
    """

    def __init__(self, settings: FbNet, alphas: Alphas, cost: ExpectedCost, steps: int = 0) -> None:
        self.settings, self.alphas, self.cost = settings, alphas, cost
        self.steps, self.share = steps, 0.0
        self.tau = settings.tau_max

    def begin_epoch(self, share: float) -> None:
        """Lower the temperature; `share` of the training is done."""
        self.share = share
        self.tau = self.settings.tau_max * (self.settings.tau_min / self.settings.tau_max) ** share

    def draw(self, rng: np.random.Generator) -> Mixture:
        """All alive operators, with positive weights that add up to 1 on each edge and have the gradient of the
        logits."""
        import torch

        logits = self.alphas.log_probabilities()
        noise = torch.from_numpy(rng.gumbel(size=tuple(logits.shape))).to(logits)
        return Mixture(torch.softmax((logits + noise) / self.tau, dim=1), self.alphas.runs)

    def sample(self, rng: np.random.Generator) -> list[Path]:
        """The path sampler of a step of the weights: `draw`, without gradients."""
        drawn = self.draw(rng)
        if self.steps:
            self.begin_epoch(self.share + 1 / self.steps)
        return [Mixture(drawn.weights.detach(), drawn.runs)]

    def gradient(
        self,
        alphas: Alphas,
        network: nn.Module,
        train: Batch,
        valid: Batch,
        optimizer: torch.optim.Optimizer,
        rng: np.random.Generator,
    ) -> tuple[torch.Tensor, int]:
        """The `Gradient` of the loss on the logits' own images, with a mixture of their own."""
        import torch

        from senas_bench.training.bilevel import spared

        path, (x, y) = self.draw(rng), valid
        with spared(network):
            entropy = torch.nn.functional.cross_entropy(network(x, path), y)
        loss = entropy * self.factor(path.weights)
        (gradient,) = torch.autograd.grad(loss, [alphas.logits], materialize_grads=True)
        alphas.ran(path, len(y))
        return gradient, path.passes

    def factor(self, weights: torch.Tensor) -> torch.Tensor:
        """What multiplies the cross-entropy of a mixture: a scalar, with the gradient of its `(edges, operators)`
        weights."""
        return self.settings.alpha * self.cost(weights).log() ** self.settings.beta
