"""PC-DARTS: partial channels (Xu, Xie, Dai, Zhang, Chen, Qi, Xiong and Tian, ICLR 2020 and TPAMI 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from senas_bench.methods.darts import most_probable
from senas_bench.tasks.method import CELLS, LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task


@dataclass(frozen=True)
class PcDarts(Method):
    """As DARTS of first order, but operators see one of four channels, and edges into a node share a weight.

    The channels that operators do not see pass by, and all are shuffled behind each edge: `networks.partial.pass_by`.
    What an edge gives is multiplied by the edge's share among those into its node, see
    `training.relaxations.NormalizedEdges`. The weights alone learn in the first epochs. Work is counted with operators
    of the width that they have, so a step costs much less than one of DARTS.

    The pick is as DARTS's, by the products of both weights [code]. In NAS-Bench-201, which keeps one operator on each
    edge, the shares of edges have no say in it.

    Args:
        recipe: Recipe of the preset, for the weights; it trains the sum of the stages without a break.
        partial: Operators see one of so many channels; the narrowest nodes must have a multiple of it.
        warm_up: Share of the epochs in which the weights alone learn: 15 of 50 [code].
        arch_lr, arch_betas, arch_weight_decay: Of the Adam of both kinds of logits, at a constant rate.
    """

    spaces = CELLS
    bilevel = True
    trains_on = LEARNED
    recipe: str = "pc-darts"
    partial: int = 4
    warm_up: float = 0.3
    arch_lr: float = 6e-4
    arch_betas: tuple[float, float] = (0.5, 0.999)
    arch_weight_decay: float = 1e-3

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.bilevel import LearningAlphas
        from senas_bench.training.relaxations import NormalizedEdges

        task = task.on(replace(task.problem.skeleton, partial=self.partial))
        alphas, first = task.alphas(
            task.space,
            "alphas",
            lr=self.arch_lr,
            betas=self.arch_betas,
            weight_decay=self.arch_weight_decay,
            kind=NormalizedEdges,
        )
        epochs = sum(task.recipe.stage_epochs)
        trained = task.train(
            task.build(task.space),
            task.space,
            alphas.mixture,
            phase="train",
            epochs=epochs,
            architecture=LearningAlphas(alphas, warm_up=self.warm_up if epochs > 1 else 0.0),
            loader=first,
            keep_snapshots=False,
        )
        return most_probable(task, trained, alphas)
