"""SNAS: stochastic neural architecture search (Xie, Zheng, Liu and Lin, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.methods.darts import most_probable
from senas_bench.networks.mixture import Mixture
from senas_bench.tasks.method import CELLS, LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task
from senas_bench.training.samplers import Path, Sampler

if TYPE_CHECKING:
    import torch

    from senas_bench.training.bilevel import Alphas


@dataclass(frozen=True)
class Snas(Method):
    """Weights and logits learn from the same loss on the same batch, through a soft sample of the operators.

    On every edge runs a mixture of all operators, drawn anew for every step from the concrete distribution: the softmax
    of the logits and Gumbel noise over a temperature that falls. All training images train both [code]. The loss of the
    logits also has a resource term, see `resource_loss`.

    The pick is as DARTS's. In the DARTS space that keeps two edges of each node, as the spaces of the other systems and
    of the paper's tables do; SNAS keeps each edge whose most probable operator is not `none` [paper, code]. Drop path,
    which the code has in the search, is left out.

    Args:
        recipe: Recipe of the preset, for the weights; it trains the sum of the stages without a break.
        temperature, temperature_end: In the first and in the last epoch, linear between them [code].
        resource: Weight of the resource term [code: the default of its option; the commands of its README have .0015].
        arch_lr, arch_betas, arch_weight_decay: Of the logits' Adam, at a constant rate.

    Raises:
        ValueError: A temperature that is not positive.
    """

    spaces = CELLS
    trains_on = LEARNED
    recipe: str = "snas"
    temperature: float = 1.0
    temperature_end: float = 0.03
    resource: float = 1e-2
    arch_lr: float = 3e-4
    arch_betas: tuple[float, float] = (0.5, 0.999)
    arch_weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        if min(self.temperature, self.temperature_end) <= 0:
            raise ValueError(f"temperatures must be above 0, not {self.temperature} and {self.temperature_end}")

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.bilevel import Alphas

        if task.work.processes.world > 1:
            raise ValueError("SNAS learns its logits beside the weights in one process; start without torchrun")
        settings = {"lr": self.arch_lr, "betas": self.arch_betas, "weight_decay": self.arch_weight_decay}
        alphas = Alphas(task.space, None, task.generator("alphas"), **settings, device=task.work.device)
        paths = ConcretePaths(alphas, self.temperature, self.temperature_end, task.problem.cost.per_edge, self.resource)
        trained = task.train(
            task.build(task.space),
            task.space,
            paths,
            phase="train",
            epochs=sum(task.recipe.stage_epochs),
            keep_snapshots=False,
        )
        return most_probable(task, trained, alphas)


class ConcretePaths(Sampler):
    """Soft samples of all operators, by which the logits learn from the steps of the weights.

    Args:
        alphas: Logits; their optimizer steps after each step of the weights.
        start, end: Temperatures.
        costs: `(edges, operators, 2)` multiply-adds and parameters, such as `CostTable.per_edge`.
        resource: Weight of `resource_loss`.
    """

    def __init__(self, alphas: Alphas, start: float, end: float, costs: np.ndarray, resource: float) -> None:
        self.alphas = alphas
        self.start, self.end = start, end
        self.costs, self.resource = costs, resource
        self.temperature = start
        self._drawn: tuple[torch.Tensor, torch.Tensor] | None = None

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Set the temperature of an epoch."""
        self.temperature = self.start + (self.end - self.start) * epoch / max(1, epochs - 1)

    def soft(self, rng: np.random.Generator) -> torch.Tensor:
        """`(edges, operators)` a draw of the concrete distribution, with the gradient of the logits."""
        import torch

        logits = self.alphas.log_probabilities()
        noise = torch.from_numpy(rng.gumbel(size=tuple(logits.shape))).to(logits)
        return torch.softmax((logits + noise) / self.temperature, dim=1)

    def __call__(self, rng: np.random.Generator) -> list[Path]:
        """The path of a step. Its weights take up the gradient of the loss, for `after_step`."""
        soft = self.soft(rng)
        weights = soft.detach().requires_grad_()
        self._drawn = soft, weights
        return [Mixture(weights, self.alphas.runs)]

    def after_step(self, paths: Sequence[Path], losses: Sequence[float]) -> None:
        """A step of the logits, down the gradient that the loss left in the weights of the path and the resource
        term's."""
        import torch

        assert self._drawn is not None
        soft, weights = self._drawn
        of_loss = torch.zeros_like(weights) if weights.grad is None else weights.grad
        (gradient,) = torch.autograd.grad(soft, [self.alphas.logits], of_loss)
        if self.resource:
            term = self.resource * resource_loss(self.alphas.probabilities(), self.costs)
            gradient = gradient + torch.autograd.grad(term, [self.alphas.logits])[0]
        self.alphas.apply(gradient)
        self._drawn = None

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.alphas.tensors()

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.alphas.load(tensors)


def resource_loss(probabilities: torch.Tensor, costs: np.ndarray) -> torch.Tensor:
    """Sum over edges of the logarithms of the operators' expected multiply-adds and parameters, the mean of both.

    The paper's costs are sums over edges, so the expectation is exact: the probabilities times the costs. The code
    takes the sample in place of the probabilities, and a third cost, of memory accesses, which we do not count. The
    logarithm by edge, which makes the term independent of the size of the network, is the code's; a cost below 1 counts
    as 1.

    Args:
        probabilities: `(edges, operators)`.
        costs: `(edges, operators, 2)`, of all cells that have the edge.
    """
    import torch

    table = torch.from_numpy(np.array(costs)).to(probabilities)
    return (probabilities[..., None] * table).sum(1).clamp_min(1.0).log().mean(1).sum()
