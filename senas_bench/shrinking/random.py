"""The random criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.shrinking.criterion import CriterionOutput

if TYPE_CHECKING:
    from senas_bench.tasks.outputs import Trained
    from senas_bench.tasks.task import Task


@dataclass(frozen=True)
class RandomScores:
    """Score operators by uniform random numbers."""

    def __call__(self, trained: Trained, task: Task) -> CriterionOutput:
        rng = task.rng(f"{trained.phase}-criterion")
        return CriterionOutput({pair: float(rng.random()) for pair in trained.space.droppable()})
