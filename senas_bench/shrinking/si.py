"""Selection importance (Eq. 5), alone the accuracy-based criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.spaces import SearchSpace, balanced_sample

from .criterion import CriterionOutput

if TYPE_CHECKING:
    from senas_bench.methods.task import Task, Trained


def selection_importance(
    space: SearchSpace, archs: np.ndarray, performance: np.ndarray
) -> dict[tuple[int, int], float]:
    """Eq. 5: SI(o), the mean estimated performance of the archs that contain operator o.

    Args:
        archs: `(n, edges)`, in which every alive operator occurs.
        performance: `(n,)` P(a).
    """
    return {(edge, op): float(performance[archs[:, edge] == op].mean()) for edge, op in space.alive()}


@dataclass(frozen=True)
class SelectionImportance:
    """Score operators by SI.

    Args:
        estimator: Of P(a), one of `ranking.accuracy.ESTIMATORS`.
        per_operator: Archs that contain each operator (100 on NB201); see `balanced_sample`.
    """

    estimator: str = "weight-average"
    per_operator: int = 100

    def __call__(self, trained: Trained, task: Task) -> CriterionOutput:
        archs = balanced_sample(trained.space, self.per_operator, task.rng(f"{trained.phase}-criterion"))
        performance = task.estimate(trained, archs, self.estimator, "criterion", purpose="search")
        return CriterionOutput(selection_importance(trained.space, archs, performance))
