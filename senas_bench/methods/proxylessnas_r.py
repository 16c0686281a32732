"""ProxylessNAS-R: the logits of ProxylessNAS learned by REINFORCE (Cai, Zhu and Han, ICLR 2019, section 3.3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.methods.expected_cost import most_probable_of_region
from senas_bench.methods.fbnet import LAYERED
from senas_bench.methods.proxylessnas import sample_arch
from senas_bench.spaces.cost import multiply_adds
from senas_bench.tasks.method import LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.spaces.cost import CostTable
    from senas_bench.spaces.limits import Limit
    from senas_bench.training.bilevel import Alphas, Batch, Counts


@dataclass(frozen=True)
class ProxylessNasR(Method):
    """As `ProxylessNas`, with logits that learn by REINFORCE.

    No gradient passes through the network in a step of the logits: a few archs are drawn by
    their probability, each is rewarded by its accuracy on one batch, and the logits go up the mean of reward minus
    baseline times the gradient of the log-probability (Eq. 7).

    The reward is `accuracy * (target / cost) ** trade_off`; without a limit the accuracy [code: ProxylessNAS]. All
    archs of a step are rewarded on the same batch, with its statistics in batch norm, and the baseline moves before it
    is used [code]. The released code rewards on 1,000 images and takes 300 steps of the logits in an epoch of ImageNet,
    one for about 16 of the weights; here a batch is one of the weights'. The rest is as in `ProxylessNas`.

    Args:
        recipe, rest, arch_lr, arch_betas, arch_weight_decay: As in `ProxylessNas`.
        every: Steps of the weights for each of the logits; no more than an epoch has.
        samples: Archs in each of these [code].
        decay: How far the baseline moves to the mean reward of a step [code].
        trade_off: Of accuracy and cost [code].
    """

    spaces = LAYERED
    bilevel = True
    trains_on = LEARNED
    recipe: str = "proxylessnas"
    rest: float = 0.25
    every: int = 16
    samples: int = 10
    decay: float = 0.99
    trade_off: float = 0.1
    arch_lr: float = 1e-3
    arch_betas: tuple[float, float] = (0.0, 0.999)
    arch_weight_decay: float = 0.0

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.resting import rest_of

        alphas, first = task.alphas(
            task.space, "alphas", lr=self.arch_lr, betas=self.arch_betas, weight_decay=self.arch_weight_decay
        )
        epochs = sum(task.recipe.stage_epochs)
        learning = Rewarded(
            self,
            alphas,
            task.problem.limit,
            rest=rest_of(self.rest, epochs),
            every=min(self.every, len(first)),
            half=task.recipe.half(task.work.device.type),
            cost=task.problem.cost,
        )
        trained = task.train(
            task.build(task.space),
            task.space,
            lambda rng: [sample_arch(alphas, rng)],
            phase="train",
            epochs=epochs,
            architecture=learning,
            loader=first,
            keep_snapshots=False,
        )
        return most_probable_of_region(task, trained, alphas)


class Rewarded:
    """The `Architecture` of logits that learn by REINFORCE.

    Args:
        settings: The method.
        alphas: The logits.
        limit: On what archs cost; None rewards accuracy alone.
        rest: Share of the epochs without a step of the logits.
        every: Steps of the weights for one of the logits, which comes before the last of them. An epoch counts anew.
        half: bfloat16 autocast.
        cost: Of archs at this size, for the multiply-adds of the rewards.
    """

    def __init__(
        self,
        settings: ProxylessNasR,
        alphas: Alphas,
        limit: Limit | None,
        *,
        rest: float = 0.0,
        every: int = 1,
        half: bool = False,
        cost: CostTable | None = None,
    ) -> None:
        self.settings, self.alphas, self.limit = settings, alphas, limit
        self.half, self.cost = half, cost
        self.baseline = float("nan")
        self._rest, self._every = rest, every
        self._resting, self._turn = False, 0

    def begin_epoch(self, share: float, generator: torch.Generator) -> None:
        """See `Architecture`."""
        self.alphas.begin_epoch(generator)
        self._resting = share < self._rest - 1e-9
        self._turn = 0

    def step(
        self, network: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, rng: np.random.Generator
    ) -> Counts:
        """One step of the logits where it is their turn."""
        self._turn += 1
        if self._resting or self._turn % self._every:
            return {}
        x, y = self.alphas.next_batch()
        archs = np.array([sample_arch(self.alphas, rng) for _ in range(self.settings.samples)])
        rewards = self.rewards(archs, self._accuracies(network, archs, x, y))
        self.alphas.apply(self.gradient(archs, rewards))
        price = {} if self.cost is None else {"multiply_adds": int(multiply_adds(self.cost, archs).sum()) * len(y)}
        return {
            "forward_paths": len(archs),
            "archs_scored": len(archs),
            "images_scored": len(archs) * len(y),
            **price,
        }

    def end_epoch(self, network: nn.Module, rng: np.random.Generator, generator: torch.Generator) -> Counts:
        """See `Architecture`."""
        return {}

    def rewards(self, archs: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
        """`(n,)` from accuracies between 0 and 1 of `(n, edges)` archs."""
        if self.limit is None:
            return accuracies
        return accuracies * (self.limit.high / self.limit.cost(archs)) ** self.settings.trade_off

    def gradient(self, archs: np.ndarray, rewards: np.ndarray) -> torch.Tensor:
        """`(edges, operators)` of what is minimised; moves the baseline first.

        The log-probability of an arch has the derivative `[taken] - probability` in a logit.
        """
        import torch

        mean = float(rewards.mean())
        move = self.settings.decay * (mean - self.baseline)
        self.baseline = mean if np.isnan(self.baseline) else self.baseline + move
        probabilities = self.alphas.probabilities().detach()
        total = torch.zeros_like(probabilities)
        for arch, reward in zip(archs.tolist(), rewards.tolist(), strict=True):
            taken = torch.zeros_like(total)
            taken[range(len(arch)), arch] = 1
            total += (reward - self.baseline) * (taken - probabilities)
        return -total / len(archs)

    def _accuracies(self, network: nn.Module, archs: np.ndarray, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        """`(n,)` fractions, with the statistics of the batch in batch norm."""
        import torch

        from senas_bench.ranking.batchnorm import evaluation_mode

        correct = []
        with torch.no_grad(), evaluation_mode(network, "batch"):
            for row in archs.tolist():
                with torch.autocast(x.device.type, torch.bfloat16, enabled=self.half):
                    correct.append((network(x, tuple(row)).argmax(1) == y).float().mean())
        return torch.stack(correct).cpu().numpy().astype(float)

    def tensors(self) -> dict[str, torch.Tensor]:
        """See `Architecture`."""
        import torch

        return {**self.alphas.tensors(), "baseline": torch.tensor(self.baseline, dtype=torch.float64)}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """See `Architecture`."""
        self.baseline = float(tensors["baseline"])
        self.alphas.load({name: value for name, value in tensors.items() if name != "baseline"})
