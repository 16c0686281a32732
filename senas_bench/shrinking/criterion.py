"""What a criterion is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from senas_bench.tasks.outputs import Trained
    from senas_bench.tasks.task import Task

OperatorScores = Mapping[tuple[int, int], float]
"""(edge, operator) -> score; the lowest are dropped first."""


def is_operator(key: object) -> bool:
    """Whether a key of `OperatorScores` is a pair of whole numbers."""
    return isinstance(key, tuple) and len(key) == 2 and all(isinstance(part, Integral) for part in key)


@dataclass(frozen=True)
class CriterionOutput:
    """The scores of all alive operators, and what they were made of.

    Args:
        scores: Finite, or +inf for an operator that there is no reason to drop.
        parts: Named quantities behind the scores, also per operator, for the history of a run.

    Raises:
        ValueError: A key is no `(edge, operator)`.
    """

    scores: OperatorScores
    parts: Mapping[str, OperatorScores] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in {"scores": self.scores, **self.parts}.items():
            wrong = next((key for key in values if not is_operator(key)), None)
            if wrong is not None:
                raise ValueError(
                    f"a criterion gives {name} by (edge, operator), a pair of numbers, not by {wrong!r:.60}"
                )


def scored_by(criterion: Criterion, trained: Trained, task: Task) -> CriterionOutput:
    """What a criterion gives.

    Raises:
        ValueError: It is no `CriterionOutput`.
    """
    output = criterion(trained, task)
    if not isinstance(output, CriterionOutput):
        raise ValueError(
            f"criterion {type(criterion).__name__} gives a {type(output).__name__}; give a CriterionOutput(scores), "
            "a score for each (edge, operator)"
        )
    return output


class Criterion(Protocol):
    """Scores operators: a frozen dataclass of its parameters. It leaves the trained network as it is. It is checked by
    `tasks.method.check_criterion` with the method that holds it. One that trains says so: `trains = True`.

    Two calls in a run differ in `trained.phase`, which names their random numbers and kept results. One that
    estimates the performance of archs names the estimator in a field `estimator`, so that the snapshots it
    needs are kept.
    """

    def __call__(self, trained: Trained, task: Task) -> CriterionOutput: ...
