"""SETN: one-shot search with a self-evaluated template network (Dong and Yang, ICCV 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.spaces.regions import Region
from senas_bench.tasks.method import NB201_ONLY, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task

if TYPE_CHECKING:
    from senas_bench.training.bilevel import Alphas


@dataclass(frozen=True)
class Setn(Method):
    """Learn weights on uniformly drawn archs and alphas on the softmax mixture, as first-order DARTS learns them; then
    take the best of the most probable archs.

    Each half of the training images has its learner. The reference steps the weights before the alphas, this loop
    after them: the same alternation, shifted by half a step. Its weight step draws uniformly and not from the alphas,
    one arch for all cells [code: AutoDL-Projects], so the alphas decide only which archs are scored. With the official
    split the alphas have the validation images.

    Args:
        recipe: Recipe of the preset.
        candidates: Archs to choose from where the task does not say.
        arch_lr, arch_betas, arch_weight_decay: Of the Adam of the alphas.
    """

    spaces = NB201_ONLY
    bilevel = True
    recipe: str = "setn"
    candidates: int = 100
    arch_lr: float = 3e-4
    arch_betas: tuple[float, float] = (0.5, 0.999)
    arch_weight_decay: float = 1e-3

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.bilevel import LearningAlphas

        network = task.build(task.space)
        alphas, first = task.alphas(
            task.space, "alphas", lr=self.arch_lr, betas=self.arch_betas, weight_decay=self.arch_weight_decay
        )
        trained = task.train(
            network,
            task.space,
            task.uniform_paths(task.space, network),
            phase="train",
            epochs=sum(task.recipe.stage_epochs),
            architecture=LearningAlphas(alphas),
            loader=first,
            keep_snapshots=False,
        )
        region = task.within(task.space)
        pick, chosen = task.pick(trained, top_archs(alphas, region, task.candidates or self.candidates))
        scores = alphas.arch_scores(task.report.archs)
        ranking = ScoreTable(task.report.archs, scores, task.report.set, chosen.stage, chosen.epoch)
        history = tuple({"stage": 1, **line} for line in trained.training.history)
        return MethodOutput(pick, (chosen, ranking), history)


def top_archs(alphas: Alphas, region: Region, n: int) -> np.ndarray:
    """`(min(n, size), edges)` int8: the archs of highest probability, the first one first.

    Exact, by enumeration. Equal ones keep their lexicographic order.
    """
    archs = region.archs()
    return archs[np.argsort(-alphas.arch_scores(archs), kind="stable")[:n]]
