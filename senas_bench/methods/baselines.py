"""Rankings that no training made: random, and the size of the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from senas_bench.tasks.method import NB201_ONLY, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task


@dataclass(frozen=True)
class RandomSearch(Method):
    """Score every arch by a uniform random number and take the best: a uniform random pick."""

    trains = False
    only_ranked = True
    recipe: str = "reference"

    def __call__(self, task: Task) -> MethodOutput:
        return _from_scores(task, task.rng("random").random(len(task.report.archs)))


@dataclass(frozen=True)
class LargestCost(Method):
    """Score an arch by its cost: the larger, the better.

    Args:
        cost: `params` or `flops_m`. On NB201 both give the same ranking.
    """

    trains = False
    only_ranked = True
    knows_size = True  # pyright: ignore[reportAssignmentType] -- a constant here, where others compute it
    spaces = NB201_ONLY
    cost: str
    recipe: str = "reference"

    def __call__(self, task: Task) -> MethodOutput:
        return _from_scores(task, task.problem.cost(task.report.archs)[self.cost])


def _from_scores(task: Task, scores: np.ndarray) -> MethodOutput:
    archs = task.report.archs
    pick = tuple(archs[int(np.argmax(scores))].tolist())
    return MethodOutput(pick, (ScoreTable(archs, scores, task.report.set, stage=1, epoch=0),))
