"""Selection importance (Eq. 5), alone the accuracy-based criterion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.ranking.estimator import EstimatorName
from senas_bench.shrinking.criterion import CriterionOutput
from senas_bench.spaces.regions import operator_sample

if TYPE_CHECKING:
    from senas_bench.tasks.outputs import Trained
    from senas_bench.tasks.task import Task


def selection_importance(
    rows: Mapping[tuple[int, int], np.ndarray], performance: np.ndarray
) -> dict[tuple[int, int], float]:
    """Eq. 5: SI(o), the mean estimated performance of archs that contain operator o.

    Args:
        rows: By operator, the archs that count for it, as `operator_sample` gives them.
        performance: `(n,)` P(a). Archs of -inf, whose input does not reach their output, count as the worst other.

    Returns:
        -inf for an operator without archs: none within the limit was found that contains it, and it is the first to go.
    """
    finite = performance[np.isfinite(performance)]
    performance = np.maximum(performance, finite.min()) if len(finite) else performance
    return {pair: float(performance[own].mean()) if len(own) else -np.inf for pair, own in rows.items()}


@dataclass(frozen=True)
class SelectionImportance:
    """Score operators by SI.

    Args:
        estimator: Of P(a), a key of `ranking.ESTIMATORS`, or a strategy.
        per_operator: Archs that contain each operator (100 on NB201); see `operator_sample`.
    """

    estimator: EstimatorName = "weight-average"
    per_operator: int = 100

    def __call__(self, trained: Trained, task: Task) -> CriterionOutput:
        return CriterionOutput(selection_importance(*self.estimate(trained, task)))

    def estimate(self, trained: Trained, task: Task) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray]:
        """What `selection_importance` takes: rows by operator, and P(a)."""
        archs, rows = operator_sample(
            task.within(trained.space), self.per_operator, task.rng(f"{trained.phase}-criterion")
        )
        return rows, task.estimate(trained, archs, self.estimator, "criterion", purpose="search", alike=True)
