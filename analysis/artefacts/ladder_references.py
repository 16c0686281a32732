"""Points of reference for the ladder, from a benchmark's trainings alone: what training archs outright buys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.analysis.artefacts.ladder_costs import archs_of, trainings_cost
from senas_bench.analysis.join import EPOCHS, unmeasured
from senas_bench.groundtruth import Query
from senas_bench.spaces.nasbench201 import NB201, SKELETONS, nasbench201_cost

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth

TRAINED = (25, 100, 400)
"""Archs that a predictor learns from."""
DRAWS = 3
"""Of these archs, which stand for seeds."""
SHORT = 12


@dataclass(frozen=True)
class Reference:
    """A ranking of some archs that was bought in a benchmark.

    Args:
        name: Of its row.
        seed: Of the training, or of the draw of archs.
        archs: Arch strings that it ranks.
        scores: `(archs,)`, higher is better.
        multiply_adds: Of the trainings.
    """

    name: str
    seed: int
    archs: Sequence[str]
    scores: np.ndarray
    multiply_adds: int


def references(
    truth: GroundTruth, dataset: str, archs: Sequence[str], proxies: Mapping[str, np.ndarray]
) -> list[Reference]:
    """All that the truth allows: every arch trained for 12 epochs, every arch trained for 200 with another seed, and
    predictors of validation accuracy from few trainings.

    Args:
        dataset: Of the truth that others are judged by.
        archs: Arch strings that are ranked.
        proxies: By method, `(archs,)` scores of untrained networks, which predictors may use too where they are of all
            archs of the truth.
    """
    found = [*_short(truth, dataset, archs), *_other_seeds(truth, dataset, archs)]
    for epochs in (SHORT, EPOCHS):
        found += _predictions(truth, Query(dataset, "val", epochs, "mean"), archs, proxies)
    return found


def _short(truth: GroundTruth, dataset: str, archs: Sequence[str]) -> Iterator[Reference]:
    query = Query(dataset, "val", SHORT, "mean")
    if query in truth.queries() and not unmeasured(truth, query, archs):
        scores = np.asarray(truth.accuracy(query, list(archs)))
        yield Reference("12 epochs each", 0, archs, scores, trainings_cost(archs, query.model, SHORT))


def _other_seeds(truth: GroundTruth, dataset: str, archs: Sequence[str]) -> Iterator[Reference]:
    """One ranking for each training seed that has all these archs, so that their mean is of one set."""
    for query in truth.queries():
        if query.dataset != dataset or query.epochs != EPOCHS or query.seeds == "mean" or query.split == "test":
            continue
        if not unmeasured(truth, query, archs):
            scores = np.asarray(truth.accuracy(query, list(archs)))
            yield Reference("200 epochs each", query.seeds, archs, scores, trainings_cost(archs, query.model, EPOCHS))


def _predictions(
    truth: GroundTruth, query: Query, archs: Sequence[str], proxies: Mapping[str, np.ndarray]
) -> Iterator[Reference]:
    """Predictors of what `query` asks, from each number of trainings and draw.

    They learn the percentiles of the archs trained: a few archs at chance would outweigh all else in the accuracies.
    These are drawn from the whole truth; with proxies from the archs that have their scores, if that is all of it.
    """
    every = list(truth.arch_strs)
    if query not in truth.queries() or unmeasured(truth, query, every):
        return
    accuracy, row = np.asarray(truth.accuracy(query)), {arch: index for index, arch in enumerate(every)}
    asked = [row[arch] for arch in archs]
    kinds = {"": features(every)}
    if proxies and len(archs) == len(every):
        scored = np.empty((len(every), len(proxies)))
        scored[asked] = np.column_stack([_percentiles(scores) for scores in proxies.values()])
        kinds[" + proxies"] = np.column_stack([kinds[""], scored])
    for (label, table), (name, make), n in (
        (kind, model, n) for kind in kinds.items() for model in PREDICTORS.items() for n in TRAINED if n < len(every)
    ):
        for draw in range(DRAWS):
            chosen = np.random.default_rng([draw, n]).choice(len(every), n, replace=False)
            model = make().fit(table[chosen], _percentiles(accuracy[chosen]))
            bought = trainings_cost([every[i] for i in chosen.tolist()], query.model, query.epochs)
            title = f"{name}{label}, {n} x {query.epochs} epochs"
            yield Reference(title, draw, archs, np.asarray(model.predict(table[asked])), bought)


def features(archs: Sequence[str]) -> np.ndarray:
    """`(archs, 32)`: which operator is on which edge, FLOPs in millions and the logarithm of the parameters, both
    standardised over the space."""
    rows, every = archs_of(archs), NB201.archs()
    one_hot = (rows[:, :, None] == np.arange(len(NB201.operators))).reshape(len(rows), -1)
    cost = nasbench201_cost(SKELETONS["cifar10"])
    columns = []
    for name, scale in (("flops_m", np.asarray), ("params", np.log)):
        whole = scale(cost(every)[name])
        columns.append((scale(cost(rows)[name]) - whole.mean()) / whole.std())
    return np.column_stack([one_hot.astype(float), *columns])


def _percentiles(scores: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(scores) / len(scores)


def _ridge() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=1.0)


def _trees() -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=100, max_depth=3, learning_rate=0.1, random_state=0)


PREDICTORS: dict[str, Callable[[], Any]] = {"ridge": _ridge, "trees": _trees}
"""Linear regression with an L2 penalty of 1, and 100 boosted trees of depth 3: scikit-learn's defaults, not tuned."""
