"""Rankings by proxies of untrained networks, see `proxies`: no weights are trained, and none are shared."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from senas_bench.methods.spos import SEARCHES
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.searching.evolution import Evolution
from senas_bench.tasks.method import Method, fact
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task


@dataclass(frozen=True)
class ByProxy(Method):
    """Score archs by their untrained networks, and take the best: 0 images trained.

    Source and deviations of each proxy stand in its page of `senas_bench/proxies`. An estimator that reads a supernet
    is given one of random weights.

    Args:
        estimator: Of an arch's performance, `ranking.training_free.TrainingFree` by its name or with its fields.
        search: `rank` scores the archs that the preset's rankings cover and takes the best; `evolution` searches the
            whole space, and ranks only for the report.
        evolution: Its parameters.
        spaces: Fact, see `Method`.
    """

    trains = False
    estimator: EstimatorName
    search: str = "rank"
    evolution: Evolution = field(default_factory=Evolution)
    spaces: tuple[str, ...] | None = fact(None)

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ValueError(f"unknown search {self.search!r}; one of: {', '.join(SEARCHES)}")

    @property
    def only_ranked(self) -> bool:
        return self.search == "rank"

    def __call__(self, task: Task) -> MethodOutput:
        network = task.build(task.space)
        trained = task.train(network, task.space, task.uniform_paths(task.space, network), phase="untrained", epochs=0)
        archs, purpose = task.report.archs, "search" if self.search == "rank" else "report"
        scores = task.estimate(trained, archs, self.estimator, "ranking", purpose=purpose)
        tables = [ScoreTable(archs, scores, task.report.set, stage=1, epoch=0)]
        pick = tuple(archs[int(np.argmax(scores))].tolist())
        if self.search == "evolution":
            pick, seen = task.evolve(trained, self.evolution, self.estimator, 1, 0)
            tables.append(seen)
        return MethodOutput(pick, tuple(tables))
