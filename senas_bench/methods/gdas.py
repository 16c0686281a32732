"""GDAS: differentiable architecture search on sampled paths (Dong and Yang, CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.methods.darts import most_probable
from senas_bench.networks.mixture import Mixture
from senas_bench.tasks.method import CELLS, LEARNED, Method, fact
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task
from senas_bench.training.samplers import Path

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.training.bilevel import Alphas, Batch

GRADIENTS = ("paper", "code")


@dataclass(frozen=True)
class Gdas(Method):
    """As DARTS of first order, but one operator runs on each edge: a fresh sample for every step.

    Args:
        recipe: Recipe of the preset, for the weights; it trains the sum of the stages without a break.
        tau_max, tau_min: Temperature at the start and at the end of the training, linear in the epochs
            between them. [code: AutoDL-Projects] is at `tau_min` in the last epoch, we are an epoch's share
            above it.
        arch_lr, arch_betas, arch_weight_decay: Of the logits' Adam, at a constant rate.
        gradient: Of a sample: `paper`, its formula, which table 3 shows; or `code`, with a term that the released code
            adds, see `GumbelPaths`; the network of NAS-Bench-201 alone knows that term.
        spaces: A fact, see `Method`.

    In the DARTS space normal and reduction cells both learn, where the paper also has a reduction cell made by hand;
    the pick is as DARTS's. Each step of the logits comes before one of the weights; [code: AutoDL-Projects] steps the
    weights first.

    Raises:
        ValueError: Unknown gradient.
    """

    bilevel = True
    trains_on = LEARNED
    recipe: str = "gdas"
    tau_max: float = 10.0
    tau_min: float = 0.1
    arch_lr: float = 3e-4
    arch_betas: tuple[float, float] = (0.5, 0.999)
    arch_weight_decay: float = 1e-3
    gradient: str = field(default="paper", metadata={"added": True})
    spaces: tuple[str, ...] | None = fact(CELLS)

    def __post_init__(self) -> None:
        if self.gradient not in GRADIENTS:
            raise ValueError(f"unknown gradient {self.gradient!r}; one of: {', '.join(GRADIENTS)}")

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.bilevel import LearningAlphas

        alphas, first = task.alphas(
            task.space, "alphas", lr=self.arch_lr, betas=self.arch_betas, weight_decay=self.arch_weight_decay
        )
        paths = GumbelPaths(alphas, self.tau_max, self.tau_min, idle=self.gradient == "code")
        trained = task.train(
            task.build(task.space),
            task.space,
            paths.sample,
            phase="train",
            epochs=sum(task.recipe.stage_epochs),
            architecture=LearningAlphas(alphas, paths.gradient, paths.begin_epoch),
            loader=first,
            keep_snapshots=False,
        )
        return most_probable(task, trained, alphas)


class GumbelPaths:
    """Paths drawn from the softmax of the logits, by the Gumbel-max trick.

    On an edge the sampled operator's weight is the only one that gets a gradient (section 3.2 of the paper), and
    through the softmax it moves all logits of that edge. The released code adds the other operators' weights, each
    zero, to the output [code: AutoDL-Projects, `forward_gdas`]; this gives them a gradient that depends on no operator,
    and is followed only with `idle`.
    """

    def __init__(self, alphas: Alphas, tau_max: float, tau_min: float, idle: bool = False) -> None:
        self.alphas = alphas
        self.idle = idle
        self.tau_max, self.tau_min = tau_max, tau_min
        self.tau = tau_max

    def draw(self, rng: np.random.Generator) -> torch.Tensor:
        """`(edges, operators)` weights: one-hot, exactly, with the gradient of the soft sample at temperature `tau`."""
        import torch

        logits = self.alphas.log_probabilities()
        noise = torch.from_numpy(rng.gumbel(size=tuple(logits.shape))).to(logits)
        soft = torch.softmax((logits + noise) / self.tau, dim=1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
        # The difference is exactly 0: it brings the gradient and leaves the value.
        return hard + (soft - soft.detach())

    def sample(self, rng: np.random.Generator) -> list[Path]:
        """The path of a step of the weights: a sampled arch, so that dead edges are left alone as everywhere."""
        return [tuple(self.draw(rng).argmax(1).tolist())]

    def begin_epoch(self, share: float) -> None:
        """Lower the temperature; `share` of the epochs are done."""
        self.tau = self.tau_max + (self.tau_min - self.tau_max) * share

    def gradient(
        self,
        alphas: Alphas,
        network: nn.Module,
        train: Batch,
        valid: Batch,
        optimizer: torch.optim.Optimizer,
        rng: np.random.Generator,
    ) -> tuple[torch.Tensor, int]:
        """The `Gradient` of a step of the logits, on a path of their own."""
        from senas_bench.training.bilevel import gradient_through

        mixing: Any = network
        mixing.idle_weights = self.idle
        try:
            return gradient_through(Mixture.of(self.draw(rng)), alphas, network, valid)
        finally:
            mixing.idle_weights = False
