"""Networks trained from scratch, one by one: the reference of the SE-NAS paper's Table 1 and Fig. 1."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from senas_bench.tasks.method import NB201_ONLY, WITHIN, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task

SAMPLE_SEED = 30
"""Of the fixed sample of archs: every run trains the same ones."""


@dataclass(frozen=True)
class StandAlone(Method):
    """Train archs without weight sharing, by the loop that trains supernets, and score each on validation images.

    A network has affine batch norm everywhere, as the benchmark's, and is scored with its running statistics: each has
    but one path.

    Args:
        recipe: Recipe of the preset; every arch trains the sum of its stages.
        archs: How many, drawn once and for all among those that the preset ranks.
    """

    ranks = False
    only_ranked = True
    spaces = NB201_ONLY
    trains_on = WITHIN
    recipe: str = "stand-alone"
    archs: int = 30

    def __call__(self, task: Task) -> MethodOutput:
        archs, epochs = stand_alone_archs(task.report.archs, self.archs), sum(task.recipe.stage_epochs)
        task = replace(task, evaluation=replace(task.evaluation, bn_mode="running"))
        scores = []
        history = []
        for index, row in enumerate(archs):
            arch = tuple(row.tolist())
            space = task.space.only(arch)
            trained = task.train(
                task.build(space, affine=True),
                space,
                lambda rng, arch=arch: [arch],
                phase=f"arch-{index}",
                epochs=epochs,
                keep_snapshots=False,
            )
            scores += task.estimate(trained, row[None], "weight-average", "score", purpose="search").tolist()
            history.append({"stage": 1, "arch": index, **trained.training.history[-1]})
        table = ScoreTable(archs, np.array(scores), "candidates", stage=1, epoch=epochs)
        return MethodOutput(tuple(archs[int(np.argmax(scores))].tolist()), (table,), tuple(history))


def stand_alone_archs(among: np.ndarray, count: int) -> np.ndarray:
    """`(count, edges)`, or all of fewer: the same draw from the same archs `(n, edges)`."""
    chosen = np.random.default_rng(SAMPLE_SEED).permutation(len(among))[:count]
    return among[np.sort(chosen)]
