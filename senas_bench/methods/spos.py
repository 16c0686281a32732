"""SPOS: single-path one-shot with uniform sampling (Guo et al., ECCV 2020)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from senas_bench.methods.finalists import Finalists
from senas_bench.ranking import needs_snapshots
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.searching.evolution import Evolution
from senas_bench.tasks.method import Method, fact
from senas_bench.tasks.outputs import MethodOutput, ScoreTable, rows_of
from senas_bench.tasks.report import Watch
from senas_bench.tasks.task import Task

SEARCHES = ("rank", "evolution")


@dataclass(frozen=True)
class Spos(Method):
    """Train one supernet over the whole space, then search it with inherited weights.

    Args:
        recipe: Recipe of the preset; it trains the sum of the stages without a break.
        estimator: Of an arch's performance.
        search: `rank` scores the archs that the preset's rankings cover and takes the best;
            `evolution` searches the whole space, as the SPOS paper does, and ranks only for the report.
        evolution: Its parameters.
        trained: Off leaves the supernet at its random weights: the same code with 0 steps.
        finalists: The second step of `rank`, which decides the pick; None takes the best of the ranking.
        spaces, watched: Facts, see `Method`.
    """

    recipe: str = "reference"
    estimator: EstimatorName = "weight-average"
    search: str = "rank"
    evolution: Evolution = field(default_factory=Evolution)
    trained: bool = True
    finalists: Finalists | None = field(default=None, metadata={"added": True})
    spaces: tuple[str, ...] | None = fact(None)
    watched: bool = fact(False)

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ValueError(f"unknown search {self.search!r}; one of: {', '.join(SEARCHES)}")

    @property
    def trains(self) -> bool:
        return self.trained

    @property
    def only_ranked(self) -> bool:
        return self.search == "rank"

    def __call__(self, task: Task) -> MethodOutput:
        epochs = sum(task.recipe.stage_epochs) if self.trained else 0
        network = task.build(task.space)
        curve = task.report.curve if self.trained else None
        points = curve.epochs(task.recipe.stage_epochs) if curve else []
        trained = task.train(
            network,
            task.space,
            task.uniform_paths(task.space, network),
            phase="train",
            epochs=epochs,
            keep_snapshots=needs_snapshots(self.estimator),
            watch=Watch(points, curve.archs, self.estimator) if curve else None,
        )
        archs = task.report.archs
        purpose = "search" if self.search == "rank" else "report"
        scores = task.estimate(trained, archs, self.estimator, "ranking", purpose=purpose, alike=True)
        pick = tuple(archs[int(np.argmax(scores))].tolist())
        tables = [ScoreTable(archs, scores, task.report.set, stage=1, epoch=epochs)]
        if self.search == "evolution":
            pick, seen_on_the_way = task.evolve(trained, self.evolution, self.estimator, 1, epochs)
            tables.append(seen_on_the_way)
        elif self.finalists:
            pick, chosen = self.finalists(task, tables[0])
            tables.append(chosen)
        if curve:
            seen = {point: trained.training.observed[point].scores for point in points}
            seen[epochs] = scores[rows_of(curve.archs, archs)]
            tables += [ScoreTable(curve.archs, values, "curve", stage=1, epoch=epoch) for epoch, values in seen.items()]
        history = tuple({"stage": 1, **line} for line in trained.training.history)
        return MethodOutput(pick, tuple(tables), history)
