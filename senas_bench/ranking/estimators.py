"""Estimators of P(a), the performance of an arch in a trained supernet (Eq. 4 and its alternatives).

An estimator is a strategy like any other: a frozen dataclass of its parameters, called with what was trained. Methods
and criteria name one of `ranking.ESTIMATORS`, or hold one of their own; a name stays that name in a spec, and a
strategy is there with its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from senas_bench.ranking.snapshots import NOBODY, Watcher, score_states

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.spaces import SearchSpace
    from senas_bench.training.snapshots import Snapshots

Cost = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""`(n, edges)` archs to `(n,)` named costs of each trained alone at this width and depth: `flops_m`, `params`."""
Work = dict[str, int]
"""What was done: `archs_scored`, `forward_paths`, `images_scored`, and whatever else an estimator counts."""


@dataclass(frozen=True)
class Reference:
    """A sample that other archs are compared with.

    Args:
        estimator: Whose scores they are.
        archs: `(m, edges)`.
        scores: `(m,)`.
    """

    estimator: Estimator
    archs: np.ndarray
    scores: np.ndarray


class Weights(Protocol):
    """What an estimator may use of a supernet; `tasks.Trained` is one."""

    @property
    def network(self) -> nn.Module:
        """In its final state. An estimator leaves it as it is."""
        ...

    @property
    def snapshots(self) -> Snapshots:
        """Their mean, and themselves where the estimator says that it needs them."""
        ...

    @property
    def references(self) -> Mapping[str, Reference]:
        """By `str` of each of `Estimator.compared`; what they score in turn is compared with their own."""
        ...

    def untrained(self, space: SearchSpace) -> nn.Module:
        """A network over `space` with fresh weights, the same at each call, such as the stand-alone one of
        `SearchSpace.only(arch)`."""
        ...


class Estimator:
    """Base of all estimators, with what they declare.

    A subclass is a frozen dataclass with

        def __call__(self, trained, archs, evaluation, cost, watcher=NOBODY) -> (scores, work)

    where `trained` is a `Weights`, `archs` `(n, edges)`, `evaluation` an `Evaluation`, `cost` a `Cost`, and `watcher`
    is told of the progress; `scores` are `(n,)` float64, higher is better, and depend on each arch alone.
    """

    needs_snapshots = False
    """It reads the single snapshots; otherwise training keeps but their mean."""
    nats = False
    """Its scores are logarithms, as likelihoods: Eq. 7, whose quotient needs positive values, takes exponentials."""
    knows_size = False
    """Its scores contain the size of an arch, so they are to be compared with a ranking by parameters alone."""
    compared: tuple[EstimatorName, ...] = ()
    """Estimators that it asks, and whose scores of a fixed sample of the space it needs: `Weights.references`."""
    reference = 0
    """Archs in that sample."""

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        raise NotImplementedError


@dataclass(frozen=True)
class WeightAverage(Estimator):
    """Accuracy in percent with the average of the snapshots (Eq. 4, the paper's)."""

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        states = [trained.snapshots.mean]
        return score_states(trained.network, states, archs, evaluation, loglik=False, watcher=watcher)


@dataclass(frozen=True)
class SnapshotAccuracy(Estimator):
    """Mean accuracy over the snapshots, percent."""

    needs_snapshots = True

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        states = _states(trained)
        return score_states(trained.network, states, archs, evaluation, loglik=False, watcher=watcher)


@dataclass(frozen=True)
class SnapshotLoglik(Estimator):
    """Mean log-likelihood of the label over the snapshots, nats."""

    needs_snapshots = True
    nats = True

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        return score_states(trained.network, _states(trained), archs, evaluation, loglik=True, watcher=watcher)


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


EstimatorName = str | Estimator
"""How methods and criteria say which: a key of `ranking.ESTIMATORS`, or a strategy."""


def _states(trained: Weights) -> Sequence[Mapping[str, Any]]:
    if not trained.snapshots.states:
        raise ValueError("the estimator needs the snapshots themselves; train with keep_snapshots=True")
    return trained.snapshots.states
