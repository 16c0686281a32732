"""Estimators of P(a), the performance of an arch: what each is stands on its page."""

from __future__ import annotations

from typing import Any

from senas_bench.names import lookup
from senas_bench.proxies import PROXIES
from senas_bench.ranking.aggregate import Aggregate, Size
from senas_bench.ranking.estimator import Estimator, EstimatorName
from senas_bench.ranking.estimators import SnapshotAccuracy, SnapshotLoglik, SnapshotLoglikSize, WeightAverage
from senas_bench.ranking.training_free import TrainingFree
from senas_bench.strategies import no_instance, uncalled

FOUR_PROXIES = ("swap", "synflow-bn", "az-progressivity", "jacob-cov")
"""The four of our proxies that together ranked one half of the functions of NAS-Bench-201 best (docs/method.md 2.4)."""
ESTIMATORS: dict[str, Estimator] = {
    "weight-average": WeightAverage(),
    "snapshot-accuracy": SnapshotAccuracy(),
    "snapshot-loglik": SnapshotLoglik(),
    "snapshot-loglik-size": SnapshotLoglikSize(),
    "params": Size("params"),
    "flops": Size("flops_m"),
    # of untrained networks, one by one
    **{name: TrainingFree(name) for name in PROXIES},
    "synflow-bn-full": TrainingFree("synflow-bn", size="full"),
    "az-nas": Aggregate(("az-expressivity", "az-progressivity", "az-trainability", "flops")),
    "te-nas": Aggregate(("ntk", "linear-regions"), rule="rank"),
    "four-proxies": Aggregate(FOUR_PROXIES),
}

SHIPPED = dict(ESTIMATORS)
"""As the package ships them, whatever is added or replaced."""


def estimator_of(estimator: EstimatorName) -> Estimator:
    """The strategy that a method or criterion names.

    Raises:
        ValueError: Unknown name, or no estimator.
    """
    if isinstance(estimator, str):
        estimator = lookup("estimator", estimator, ESTIMATORS)
    check_estimator(estimator)
    return estimator


def check_estimator(estimator: Any) -> None:
    """Raise ValueError, in a sentence, where a strategy cannot be an estimator."""
    if isinstance(estimator, Estimator):
        arguments = ("trained", "archs", "evaluation", "cost", "watcher")
        why = no_instance(estimator) or uncalled(estimator, arguments, "(scores, work)", Estimator)
    elif isinstance(estimator, type):
        why = no_instance(estimator)
    else:
        why = "write a frozen dataclass that inherits ranking.estimator.Estimator, and name an instance of it"
    if why:
        raise ValueError(f"{estimator!r:.80} is no estimator: {why}")


def needs_snapshots(estimator: EstimatorName) -> bool:
    """Whether it, or one that it asks, reads the single snapshots."""
    strategy = estimator_of(estimator)
    return strategy.needs_snapshots or any(map(needs_snapshots, strategy.compared))


def reads_supernet(estimator: EstimatorName) -> bool:
    """Whether it, or one that it asks, reads the weights of a supernet."""
    strategy = estimator_of(estimator)
    return any(map(reads_supernet, strategy.compared)) if strategy.compared else strategy.needs_supernet


def knows_size(estimator: EstimatorName) -> bool:
    """Whether its scores, or those of one that it asks, contain the size of an arch."""
    strategy = estimator_of(estimator)
    return strategy.knows_size or any(map(knows_size, strategy.compared))


def saw(estimator: EstimatorName) -> list[str]:
    """Whose truths were in view when it, or one that it asks, was chosen."""
    strategy = estimator_of(estimator)
    return sorted({strategy.saw, *(words for part in strategy.compared for words in saw(part))} - {""})
