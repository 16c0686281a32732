"""The random criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from senas_bench.methods.task import Task, Trained


@dataclass(frozen=True)
class RandomScores:
    """Score operators by uniform random numbers."""

    def __call__(self, trained: Trained, task: Task) -> dict[tuple[int, int], float]:
        rng = task.rng(f"{trained.phase}-criterion")
        return {pair: float(rng.random()) for pair in trained.space.alive()}
