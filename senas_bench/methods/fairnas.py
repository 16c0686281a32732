"""FairNAS: a supernet trained with strict fairness (Chu et al., ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from senas_bench.methods.spos import SEARCHES
from senas_bench.ranking import needs_snapshots
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.searching.evolution import Evolution
from senas_bench.tasks.method import FAIR, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task
from senas_bench.training.fair import FairPaths


@dataclass(frozen=True)
class FairNas(Method):
    """Train all operators of all edges once per step, then rank with inherited weights and take the best.

    It searches as `Spos` does, so that the two differ in how the weights are trained and in nothing else; the paper
    searches with NSGA-II under costs. A step runs one path per candidate of an edge on the same batch: as many images
    and steps as SPOS at five times the path evaluations on NB201, and at six times in the MobileNet-like space.

    That space is one of its own, `mobilenet-fair`: all six blocks on every layer and no identity, over the widths of
    Proxyless-mobile, in which the paper's networks lie too.

    Args:
        recipe: Recipe of the preset; it trains the sum of the stages without a break.
        estimator: Of an arch's performance.
        search, evolution: As in `Spos`.
        even: Divide the epochs by the paths of a step, so that about as many paths are trained as by SPOS. It is on in
            searches under a limit, where all rows of a table have the same work.

    Raises:
        ValueError: Unknown search.
    """

    spaces = ("nasbench201", "mobilenet-fair")
    trains_on = FAIR
    recipe: str = "reference"
    estimator: EstimatorName = "weight-average"
    search: str = field(default="rank", metadata={"added": True})
    evolution: Evolution = field(default=Evolution(), metadata={"added": True})
    even: bool = field(default=False, metadata={"added": True})

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ValueError(f"unknown search {self.search!r}; one of: {', '.join(SEARCHES)}")

    @property
    def only_ranked(self) -> bool:
        return self.search == "rank"

    def __call__(self, task: Task) -> MethodOutput:
        epochs = sum(task.recipe.stage_epochs)
        if self.even:
            epochs = max(1, round(epochs / len(task.space.candidates[0])))
            task = replace(task, recipe=replace(task.recipe, stage_epochs=(epochs,)))
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
        purpose = "search" if self.only_ranked else "report"
        scores = task.estimate(trained, archs, self.estimator, "ranking", purpose=purpose)
        pick = tuple(archs[int(np.argmax(scores))].tolist())
        tables = [ScoreTable(archs, scores, task.report.set, stage=1, epoch=epochs)]
        if self.search == "evolution":
            pick, seen = task.evolve(trained, self.evolution, self.estimator, 1, epochs)
            tables.append(seen)
        history = tuple({"stage": 1, **line} for line in trained.training.history)
        return MethodOutput(pick, tuple(tables), history)
