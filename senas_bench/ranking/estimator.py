"""What an estimator is: a strategy that scores archs, what it declares and what it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from senas_bench.ranking.snapshots import NOBODY, Watcher

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.ranking.fresh import Fresh
    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.spaces import SearchSpace
    from senas_bench.training.snapshots import Snapshots

Cost = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""`(n, edges)` archs to `(n,)` named costs of each trained alone at this width and depth: `flops_m`, `params`."""
Work = dict[str, int]
"""What was done: `archs_scored`, `forward_paths`, `images_scored`, `multiply_adds` (docs/method.md 3.1; without it the
cost of a run is not known) and `nominal_multiply_adds` where that differs, and whatever else an estimator counts."""


def together(works: Iterable[Mapping[str, int]]) -> Work:
    """What several estimators did. Its price is known if each of those that ran a network told its own."""
    total, priced = Counter[str](), True
    for work in works:
        price = work.get("multiply_adds")
        priced &= price is not None or not work.get("forward_paths")
        total.update({"multiply_adds": 0, "nominal_multiply_adds": price or 0, **work})
    return {name: count for name, count in total.items() if priced or not name.endswith("multiply_adds")}


@dataclass(frozen=True)
class Reference:
    """A sample that other archs are compared with.

    Args:
        estimator: Whose scores they are.
        archs: `(m, edges)`.
        scores: `(m,)`.
        others: Scores of other archs that are known already, by the bytes of their rows.
        references: What the estimator compares with in turn, as `Weights.references`.
    """

    estimator: Estimator
    archs: np.ndarray
    scores: np.ndarray
    others: Mapping[bytes, float] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)


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

    def fresh(self, size: str) -> Fresh:
        """Stand-alone networks with fresh weights, of one of `fresh.SIZES`."""
        ...


class Estimator:
    """Base of all estimators, with what they declare.

    A subclass is a frozen dataclass with

        def __call__(self, trained, archs, evaluation, cost, watcher=NOBODY) -> (scores, work)

    where `trained` is a `Weights`, `archs` `(n, edges)`, `evaluation` an `Evaluation`, `cost` a `Cost`, and `watcher`
    is told of the progress; `scores` are `(n,)` float64, higher is better, and depend on each arch alone.
    """

    needs_supernet = True
    """It reads the weights of a supernet."""
    needs_snapshots = False
    """It reads the single snapshots; otherwise training keeps but their mean."""
    nats = False
    """Its scores are logarithms, as likelihoods: Eq. 7, whose quotient needs positive values, takes exponentials."""
    knows_size = False
    """Its scores contain the size of an arch, so they are to be compared with a ranking by parameters alone."""
    saw = ""
    """Whose truth was in view when it was chosen, in words; empty where none is known."""
    compared: tuple[EstimatorName, ...] = ()
    """Estimators that it asks, and whose scores of a fixed sample of the space it needs: `Weights.references`."""
    reference = 0
    """Archs in that sample."""

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        raise NotImplementedError


EstimatorName = str | Estimator
"""How methods and criteria say which: a key of `ranking.ESTIMATORS`, or a strategy."""
