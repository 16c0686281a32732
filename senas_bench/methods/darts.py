"""DARTS: differentiable architecture search (Liu, Simonyan and Yang, ICLR 2019), first and second order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.spaces import SPACES, Arch, SearchSpace
from senas_bench.tasks.method import CELLS, LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable, Trained
from senas_bench.tasks.task import Task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.training.bilevel import Alphas, Batch

SHIFT = 0.01
"""Length of the step in the weights over which a Hessian is differenced (epsilon of Eq. 8 times the vector)."""


@dataclass(frozen=True)
class Darts(Method):
    """Weights and the logits of the operators learn in turn, each on its own half of the training images; with the
    official split the logits have the validation images.

    A step of the logits comes before each of the weights, as in DARTS's own code and in AutoDL-Projects's of the second
    order; its code of the first order steps the weights before [code].

    On every edge runs the softmax mixture of all operators. The pick is the most probable arch. In NAS-Bench-201 `none`
    is among the operators [code: AutoDL-Projects]. In the DARTS space each node takes the two edges whose best
    operators are the most probable, `none` left out, and normal and reduction cells have logits of their own [paper,
    code]. Under a limit it is the most probable arch within it, where the paper knows no limit and fits the width of
    the network.

    Args:
        recipe: Recipe of the preset, for the weights; it trains the sum of the stages without a break.
        second_order: Follow the logits' gradient through one step of the weights (DARTS-V2), or take the
            weights as they are (DARTS-V1).
        arch_lr, arch_betas, arch_weight_decay: Of the logits' Adam, at a constant rate.
    """

    spaces = CELLS
    bilevel = True
    trains_on = LEARNED
    recipe: str = "darts"
    second_order: bool = False
    arch_lr: float = 3e-4
    arch_betas: tuple[float, float] = (0.5, 0.999)
    arch_weight_decay: float = 1e-3

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.bilevel import LearningAlphas, first_order

        alphas, first = task.alphas(
            task.space, "alphas", lr=self.arch_lr, betas=self.arch_betas, weight_decay=self.arch_weight_decay
        )
        trained = task.train(
            task.build(task.space),
            task.space,
            alphas.mixture,
            phase="train",
            epochs=sum(task.recipe.stage_epochs),
            architecture=LearningAlphas(alphas, second_order if self.second_order else first_order),
            loader=first,
            keep_snapshots=False,
        )
        return most_probable(task, trained, alphas)


def second_order(
    alphas: Alphas,
    network: nn.Module,
    train: Batch,
    valid: Batch,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, int]:
    """The `Gradient` of DARTS-V2: `unrolled_gradient`, by four passes of the mixture, three of them over `train`.

    It is float32 even where the recipe has bfloat16, in whose rounding the difference that is taken would drown.
    """
    path = alphas.relaxed()
    alphas.ran(path, 3 * len(train[1]) + len(valid[1]))
    return unrolled_gradient(alphas, network, train, valid, optimizer), 4 * path.passes


def unrolled_gradient(
    alphas: Alphas, network: nn.Module, train: Batch, valid: Batch, optimizer: torch.optim.Optimizer
) -> torch.Tensor:
    """`(edges, operators)` gradient in the logits of the loss on `valid` after one step of the weights on `train`.

    Eq. 7, by the finite difference of Eq. 8 at its end. The step is momentum and weight decay at the present
    rate; Nesterov's look-ahead and the clipping, which the optimizer's own step has, are left out
    [code: DARTS, AutoDL-Projects]. The weights are as before when it returns; batch norm's running statistics
    have seen the four passes.
    """
    import torch

    (group,) = optimizer.param_groups
    weights, rate = group["params"], group["lr"]
    kept = [weight.detach().clone() for weight in weights]
    gradients = _gradients(alphas, network, train, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            momentum = optimizer.state.get(weight, {}).get("momentum_buffer")
            if momentum is not None:
                gradient = gradient + group["momentum"] * momentum
            weight.sub_(rate * (gradient + group["weight_decay"] * weight))
    direct, *vector = _gradients(alphas, network, valid, [alphas.logits, *weights])
    # Not undone by adding back, which would round.
    _place(weights, kept)
    return direct - rate * _mixed_derivative(alphas, network, train, weights, vector)


def _mixed_derivative(
    alphas: Alphas, network: nn.Module, train: Batch, weights: list[nn.Parameter], vector: list[torch.Tensor]
) -> torch.Tensor:
    """`(edges, operators)`: the loss on `train` differentiated once in the logits and once along `vector` in the
    weights, by a central difference (Eq. 8). The weights are as before when it returns."""
    import torch

    from senas_bench.training.bilevel import spared

    kept = [weight.detach().clone() for weight in weights]
    length = torch.stack([part.norm() for part in vector]).norm()
    epsilon = SHIFT / length.clamp_min(1e-12)
    ends = []
    for sign in (1, -1):
        _place(weights, [value + sign * epsilon * part for value, part in zip(kept, vector, strict=True)])
        with spared(network):
            ends += _gradients(alphas, network, train, [alphas.logits])
    _place(weights, kept)
    return (ends[0] - ends[1]) / (2 * epsilon)


def _gradients(
    alphas: Alphas, network: nn.Module, batch: Batch, inputs: list[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Of the cross-entropy of the mixture on `batch`; nobody's `grad` is touched."""
    import torch

    x, y = batch
    loss = torch.nn.functional.cross_entropy(network(x, alphas.relaxed()), y)
    return torch.autograd.grad(loss, inputs, materialize_grads=True)


def _place(weights: list[nn.Parameter], values: list[torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)


def most_probable(task: Task, trained: Trained, alphas: Alphas) -> MethodOutput:
    """The arch that the logits choose, within the task's limit if it has one, and the report archs ranked by the same
    sums of scores, see `Alphas.choice_scores` and `spaces.best.best_arch`.

    The last line of history holds the probabilities, by edge and operator, and the arch chosen without any limit.
    """
    from senas_bench.spaces.best import best_arch

    epoch = len(trained.training.history)
    pick = best_arch(task.space, alphas.choice_scores(), task.problem.limit)
    table = ScoreTable(task.report.archs, alphas.arch_scores(task.report.archs), task.report.set, stage=1, epoch=epoch)
    history = [{"stage": 1, **line} for line in trained.training.history]
    free = best_arch(task.space, alphas.choice_scores())
    history.append({"stage": 1, "epoch": epoch, **learned(task.space, alphas, free)})
    return MethodOutput(pick, (table,), tuple(history))


def learned(space: SearchSpace, alphas: Alphas, free: Arch) -> dict[str, Any]:
    """For the history: the weights of operators, by edge, and the arch that they choose without any limit."""
    rows = zip(space.edges, space.candidates, alphas.probabilities().tolist(), strict=True)
    probabilities = {edge: {space.operators[op]: round(row[op], 6) for op in alive} for edge, alive, row in rows}
    return {"probabilities": probabilities, "chosen": SPACES[space.name].to_str(free)}
