"""FairNAS: a supernet trained with strict fairness (Chu et al., ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from senas_bench.ranking import needs_snapshots
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.tasks.method import NB201_ONLY, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task
from senas_bench.training.fair import FairPaths


@dataclass(frozen=True)
class FairNas(Method):
    """Train all operators of all edges once per step, then rank with inherited weights and take the best.

    It ranks what `Spos(search="rank")` ranks, so that the two differ in how the weights are trained and in
    nothing else; the paper searches with NSGA-II under costs. A step runs one path per candidate of an edge on the
    same batch: as many images and steps as SPOS at five times the path evaluations on NB201.

    Args:
        recipe: Recipe of the preset; it trains the sum of the stages without a break.
        estimator: Of an arch's performance.
    """

    only_ranked = True
    spaces = NB201_ONLY
    recipe: str = "reference"
    estimator: EstimatorName = "weight-average"

    def __call__(self, task: Task) -> MethodOutput:
        epochs = sum(task.recipe.stage_epochs)
        network = task.build(task.space)
        trained = task.train(
            network,
            task.space,
            FairPaths(task.space, task.cells(network)),
            phase="train",
            epochs=epochs,
            keep_snapshots=needs_snapshots(self.estimator),
        )
        archs = task.report.archs
        scores = task.estimate(trained, archs, self.estimator, "ranking", purpose="search")
        pick = tuple(archs[int(np.argmax(scores))].tolist())
        table = ScoreTable(archs, scores, task.report.set, stage=1, epoch=epochs)
        history = tuple({"stage": 1, **line} for line in trained.training.history)
        return MethodOutput(pick, (table,), history)
