"""The SE-NAS criterion: selection importance over selection confidence (Eqs. 5-7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.ranking import estimator_of
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.shrinking.criterion import CriterionOutput
from senas_bench.shrinking.si import SelectionImportance, selection_importance

if TYPE_CHECKING:
    from senas_bench.tasks.outputs import Trained
    from senas_bench.tasks.task import Task

WITHIN_EDGE = "within-edge"
NORMALIZERS = ("mean", "minmax", WITHIN_EDGE)
"""Readings of Eq. 7: two of its "mean normalization" as the paper prints it, and ours."""


def selection_confidence(importance: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """Eq. 6: SC(o), the variance of SI over the candidates of o's edge (population variance)."""
    by_edge: dict[int, list[float]] = {}
    for (edge, _), value in importance.items():
        by_edge.setdefault(edge, []).append(value)
    # equal values have variance 0; in floats their mean may differ from them by an ulp
    variance = {edge: float(np.var(values)) if np.ptp(values) else 0.0 for edge, values in by_edge.items()}
    return {pair: variance[pair[0]] for pair in importance}


def normalize(values: np.ndarray, normalizer: str) -> np.ndarray:
    """Eq. 7's "mean normalization", which the paper does not define.

    `mean` is x / mean(x), which keeps signs and the quotient's meaning; `minmax` is
    (x - mean(x)) / (max(x) - min(x)), the textbook's, under which the quotient changes sign.

    Raises:
        ValueError: It is neither. `within-edge` is no function of one vector: see `operator_scores`.
    """
    if normalizer == "mean":
        return values / values.mean()
    if normalizer == "minmax":
        spread = values.max() - values.min()
        return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
    raise ValueError(f"unknown normalizer {normalizer!r}; one of: mean, minmax")


def check_normalizer(normalizer: str) -> None:
    """Raise ValueError where it is none of `NORMALIZERS`."""
    if normalizer not in NORMALIZERS:
        raise ValueError(f"unknown normalizer {normalizer!r}; one of: {', '.join(NORMALIZERS)}")


def operator_scores(
    importance: Mapping[tuple[int, int], float], normalizer: str = "mean"
) -> dict[tuple[int, int], float]:
    """Eq. 7: S(o) = normalize(SI(o)) / normalize(SC(o)).

    With `within-edge`, ours: S(o) = (SI(o) - mean of SI over the candidates of o's edge) / sqrt(SC(o)), how many
    standard deviations an operator lies above its edge. So SC takes the scale of an edge away and decides no more.

    Edges with one candidate take no part in the means; their operator cannot be dropped and scores
    +inf, as does every operator of an edge whose candidates do not differ (SC = 0). An operator whose SI is -inf,
    because no arch within the limit contains it, has that score and takes no part either.

    Raises:
        ValueError: Unknown normalizer.
    """
    check_normalizer(normalizer)
    impossible = {pair: value for pair, value in importance.items() if value == -np.inf}
    if impossible:
        rest = {pair: value for pair, value in importance.items() if pair not in impossible}
        return {pair: impossible.get(pair, 0.0) for pair in importance} | operator_scores(rest, normalizer)
    confidence = selection_confidence(importance)
    edges = [edge for edge, _ in importance]
    contested = [pair for pair in importance if edges.count(pair[0]) > 1]
    scores = dict.fromkeys(importance, float("inf"))
    if not contested or not any(confidence[pair] for pair in contested):
        return scores
    if normalizer == WITHIN_EDGE:
        own = {edge: [importance[pair] for pair in contested if pair[0] == edge] for edge in set(edges)}
        above = {pair: importance[pair] - float(np.mean(own[pair[0]])) for pair in contested if confidence[pair] > 0}
        return scores | {pair: value / float(np.sqrt(confidence[pair])) for pair, value in above.items()}
    si = normalize(np.array([importance[pair] for pair in contested]), normalizer)
    sc = normalize(np.array([confidence[pair] for pair in contested]), normalizer)
    for pair, numerator, denominator in zip(contested, si, sc, strict=True):
        if confidence[pair] > 0 and denominator != 0:
            scores[pair] = float(numerator / denominator)
    return scores


def percentiles(performance: np.ndarray) -> np.ndarray:
    """`(n,)` share of the archs that are no better, ties at their mean, 0 to 1; -inf stays."""
    from scipy.stats import rankdata

    return np.where(performance > -np.inf, rankdata(performance) / len(performance), -np.inf)


@dataclass(frozen=True)
class SeNasCriterion:
    """Score operators by Eq. 7.

    SC spreads over decades while SI varies by percents, so the order is mostly that of SC: whole edges go first, though
    not with `within-edge`. The history of a run holds S, SI and SC of every operator: scores, importance, confidence.

    Args:
        estimator, per_operator: As in `SelectionImportance`. The quotient needs positive values: log-likelihoods enter
            as likelihoods, exp(P), and estimates of which `x / mean` would get a mean that is not positive, as of some
            proxies, as percentiles among the archs of the sample.
        normalizer: One of `NORMALIZERS`.

    Raises:
        ValueError: Unknown normalizer.
    """

    estimator: EstimatorName = "weight-average"
    per_operator: int = 100
    normalizer: str = "mean"

    def __post_init__(self) -> None:
        check_normalizer(self.normalizer)

    def __call__(self, trained: Trained, task: Task) -> CriterionOutput:
        rows, performance = SelectionImportance(self.estimator, self.per_operator).estimate(trained, task)
        importance = selection_importance(rows, performance)
        if estimator_of(self.estimator).nats:
            importance = {
                pair: value if value == -np.inf else float(np.exp(value)) for pair, value in importance.items()
            }
        elif self.normalizer == "mean" and any(-np.inf < value <= 0 for value in importance.values()):
            importance = selection_importance(rows, percentiles(performance))
        possible = {pair: value for pair, value in importance.items() if value > -np.inf}
        parts = {"importance": importance, "confidence": selection_confidence(possible)}
        return CriterionOutput(operator_scores(importance, self.normalizer), parts)
