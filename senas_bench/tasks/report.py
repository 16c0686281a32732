"""What a run ranks for tables and figures, beside what its pick needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.ranking.estimator import EstimatorName

if TYPE_CHECKING:
    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.spaces import SearchSpace
    from senas_bench.spaces.regions import Region

FEWEST_REFERENCES = 100
"""Archs of the report that must be alive to serve as the sample that others are compared with."""
MOST_OWN_REFERENCES = 200
"""Archs of that sample where it is not of the report's, and so is scored for this alone."""


@dataclass(frozen=True)
class Curve:
    """Rankings of a supernet while it trains, for plots of tau over epochs. They are report, no part of a search.

    Args:
        archs: `(n, edges)` of the whole space, the same in every run, and among the archs that the report ranks.
        points: Per stage, evenly spaced; its end is one.
        evaluation: Images that score a point.
    """

    archs: np.ndarray
    points: int
    evaluation: Evaluation

    def epochs(self, stage_epochs: Sequence[int]) -> list[int]:
        """Epochs since the start after which to look. The last of all is not one: the final ranking has it."""
        ends = np.cumsum([0, *stage_epochs])
        looked = {
            int(start) - (-length * point // self.points)
            for start, length in zip(ends, stage_epochs, strict=False)
            for point in range(1, self.points + 1)
        }
        return sorted(looked - {0, int(ends[-1])})


@dataclass(frozen=True)
class Report:
    """Rankings that the report asks for.

    Args:
        archs: `(n, edges)` that the final ranking covers.
        set: Their name in a `ScoreTable`: `full` or `sample`.
        curve: Rankings to make while a supernet trains; None for none.
    """

    archs: np.ndarray
    set: str
    curve: Curve | None = None


@dataclass(frozen=True)
class Watch:
    """What to score while a phase trains, with the weights as they are then.

    Args:
        epochs: Of the phase, after which to score.
        archs: `(n, edges)`.
        estimator: Scores them.
    """

    epochs: Collection[int]
    archs: np.ndarray
    estimator: EstimatorName


def reference_archs(
    report: Report, space: SearchSpace, within: Region, many: int, rng: np.random.Generator
) -> np.ndarray:
    """`(n, edges)` archs of a space that others are compared with: of those that the report ranks, which are then
    scored but once, or a smaller sample of its own where too few of them are alive.

    Args:
        within: The space, or its archs within a limit.
        many: At most.
    """
    ranked = report.archs[space.contains_rows(report.archs)]
    if len(ranked) < FEWEST_REFERENCES:
        return within.sample_distinct(rng, min(many, MOST_OWN_REFERENCES))
    return ranked[np.sort(rng.permutation(len(ranked))[:many])]
