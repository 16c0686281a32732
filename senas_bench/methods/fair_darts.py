"""Fair DARTS: operators do not compete (Chu, Zhou, Zhang and Li, ECCV 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from senas_bench.methods.darts import most_probable
from senas_bench.spaces import SearchSpace
from senas_bench.tasks.method import CELLS, LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FairDarts(Method):
    """As DARTS of first order, but each operator has a sigmoid of its own for a weight, and a loss drives these to 0
    and 1.

    `none` is no operator: where all others of an edge are off, it is `none` [paper, code]. So the pick has `none` where
    NAS-Bench-201 allows it and the strongest sigmoid of an edge is below 1/2. In the DARTS space each node takes the
    two edges whose strongest sigmoids are the largest. The paper takes at most two operators of a node that are above
    .85, perhaps both of one edge or fewer than two; archs of this space have exactly two inputs, from two nodes.

    The loss of the sigmoids acts on the logits alone; the code adds it to the loss of the weights too, where it has no
    gradient.

    Args:
        recipe: Recipe of the preset, for the weights; it trains the sum of the stages without a break.
        zero_one: Weight of the loss that drives sigmoids to 0 and 1.
        arch_lr, arch_betas, arch_weight_decay: Of the logits' Adam, at a constant rate [code].
    """

    spaces = CELLS
    bilevel = True
    trains_on = LEARNED
    recipe: str = "fair-darts"
    zero_one: float = 10.0
    arch_lr: float = 3e-3
    arch_betas: tuple[float, float] = (0.9, 0.999)
    arch_weight_decay: float = 1e-3

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.bilevel import LearningAlphas
        from senas_bench.training.relaxations import Switches

        space = without_none(task.space)
        alphas, first = task.alphas(
            space,
            "alphas",
            lr=self.arch_lr,
            betas=self.arch_betas,
            weight_decay=self.arch_weight_decay,
            kind=Switches,
        )
        trained = task.train(
            task.build(space),
            space,
            alphas.mixture,
            phase="train",
            epochs=sum(task.recipe.stage_epochs),
            architecture=LearningAlphas(alphas, self.gradient),
            loader=first,
            keep_snapshots=False,
        )
        return most_probable(task, trained, alphas)

    def gradient(self, alphas: Any, *where: Any) -> tuple[torch.Tensor, int]:
        """The `Gradient` of first-order DARTS, and that of the loss of the sigmoids."""
        import torch

        from senas_bench.training.bilevel import first_order

        of_loss, passes = first_order(alphas, *where)
        (of_switches,) = torch.autograd.grad(self.zero_one * alphas.zero_one_loss(), [alphas.logits])
        return of_loss + of_switches, passes


def without_none(space: SearchSpace) -> SearchSpace:
    """The space whose edges cannot be `none`, for a relaxation: in the DARTS space none of its choices is an arch."""
    none = space.operators.index("none")
    for edge, alive in enumerate(space.candidates):
        if none in alive:
            space = space.without(edge, none)
    return space
