"""Estimators of P(a), the performance of an arch in a trained supernet (Eq. 4 and its alternatives).

An estimator is a strategy like any other: a frozen dataclass of its parameters, called with what was trained. Methods
and criteria name one of `ranking.ESTIMATORS`, or hold one of their own; a name stays that name in a spec, and a
strategy is there with its fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.ranking.estimator import Cost, Estimator, Weights, Work
from senas_bench.ranking.snapshots import NOBODY, Watcher, score_states

if TYPE_CHECKING:
    from senas_bench.ranking.score_archs import Evaluation


@dataclass(frozen=True)
class WeightAverage(Estimator):
    """Accuracy in percent with the average of the snapshots (Eq. 4, the paper's)."""

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        states = [trained.snapshots.mean]
        return score_states(trained.network, states, archs, evaluation, loglik=False, watcher=watcher, cost=cost)


@dataclass(frozen=True)
class SnapshotAccuracy(Estimator):
    """Mean accuracy over the snapshots, percent."""

    needs_snapshots = True

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        states = _states(trained)
        return score_states(trained.network, states, archs, evaluation, loglik=False, watcher=watcher, cost=cost)


@dataclass(frozen=True)
class SnapshotLoglik(Estimator):
    """Mean log-likelihood of the label over the snapshots, nats."""

    needs_snapshots = True
    nats = True

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        states = _states(trained)
        return score_states(trained.network, states, archs, evaluation, loglik=True, watcher=watcher, cost=cost)


@dataclass(frozen=True)
class SnapshotLoglikSize(Estimator):
    """`SnapshotLoglik` plus a log-prior that prefers large archs, which a supernet of few epochs underrates. Ours.

    Args:
        nats_per_log: Added per unit of ln(parameters); what supports the default: `results/README.md`.
    """

    nats_per_log: float = 0.2
    needs_snapshots = True
    nats = True
    knows_size = True

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        scores, work = SnapshotLoglik()(trained, archs, evaluation, cost, watcher)
        return scores + self.nats_per_log * np.log(cost(archs)["params"]), work


def _states(trained: Weights) -> Sequence[Mapping[str, Any]]:
    if not trained.snapshots.states:
        raise ValueError("the estimator needs the snapshots themselves; train with keep_snapshots=True")
    return trained.snapshots.states
