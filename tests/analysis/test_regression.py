"""Metrics of rankings recorded from real runs, computed twice and pinned: see tests/data/recorded/README.md."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom

from senas_bench.analysis.metrics.correlation import (
    best_and_worst_rank_at_k,
    best_rank_at_k,
    kendall_tau,
    precision_at_k,
    regret,
    spearman,
    weighted_tau,
)

RECORDED = Path(__file__).parents[1] / "data" / "recorded"

PINNED = {
    "spos+-cifar10": {
        "tau_b": 0.548072301721,
        "spearman": 0.757161422197,
        "weighted_tau": 0.533927345226,
        "regret": 1.275,
        "precision@10": 0.0,
        "best@10": 26.0,
        "worst@10": 126.0,
        "precision@30": 0.233333333333,
        "best@30": 3.0,
        "worst@30": 126.0,
    },
    "se-nas-cifar10": {
        "tau_b": 0.361360883137,
        "spearman": 0.547132917891,
        "weighted_tau": 0.291862548537,
        "regret": 2.883333333333,
        "precision@10": 0.0,
        "best@10": 40.0,
        "worst@10": 214.0,
        "precision@30": 0.0,
        "best@30": 36.428571428571,
        "worst@30": 214.0,
    },
    "params-cifar10": {
        "tau_b": 0.614770563614,
        "spearman": 0.787869833878,
        "weighted_tau": 0.793651302592,
        "regret": 0.812222222222,
        "precision@10": 0.525,
        "best@10": 1.25,
        "worst@10": 26.0,
        "precision@30": 0.535897435897,
        "best@30": 1.0,
        "worst@30": 125.0,
    },
    "se-nas+-digits": {
        "tau_b": 0.135835268241,
        "spearman": 0.202687668932,
        "weighted_tau": 0.097601529147,
        "regret": 0.791666666667,
        "precision@10": 0.0,
        "best@10": 26.0,
        "worst@10": 233.0,
        "precision@30": 0.033333333333,
        "best@30": 26.0,
        "worst@30": 273.0,
    },
}
"""Accuracies in percent, ranks among the 300 archs of a file."""

TIES = {
    "spos+-cifar10": (241, 283, (9, 1), (29, 2)),
    "se-nas-cifar10": (83, 285, (8, 3), (25, 7)),
    "params-cifar10": (19, 285, (7, 4), (22, 13)),
    "se-nas+-digits": (252, 288, (9, 1), (29, 1)),
}
"""Distinct scores; distinct accuracies; archs above and at the edge of the top 10, and of the top 30."""


@pytest.fixture(params=PINNED)
def recorded(request) -> tuple[str, np.ndarray, np.ndarray]:
    """Name of a file, `(300,)` scores and `(300,)` accuracies in percent."""
    return request.param, *read(request.param)


def read(name: str) -> tuple[np.ndarray, np.ndarray]:
    with (RECORDED / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["arch_str"] for row in rows}) == len(rows) == 300
    return np.array([float(row["score"]) for row in rows]), np.array([float(row["accuracy"]) for row in rows])


def measured(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    result = {
        "tau_b": kendall_tau(scores, truth),
        "spearman": spearman(scores, truth),
        "weighted_tau": weighted_tau(scores, truth),
        "regret": regret(scores, truth),
    }
    for k in (10, 30):
        (best, best_fraction), (worst, worst_fraction) = best_and_worst_rank_at_k(scores, truth, k)
        assert best_rank_at_k(scores, truth, k) == (best, best_fraction)
        assert (best_fraction, worst_fraction) == (best / 300, worst / 300)
        result |= {f"precision@{k}": precision_at_k(scores, truth, k), f"best@{k}": best, f"worst@{k}": worst}
    return result


def brute_force(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The same numbers from signs of all pairs, counted ranks and the hypergeometric distribution."""
    ranks = [(side[:, None] > side).sum(axis=1) + (side[:, None] == side).sum(axis=1) / 2 for side in (scores, truth)]
    result = {
        "tau_b": agreement(scores, truth, np.ones((300, 300))),
        "spearman": np.corrcoef(*ranks)[0, 1],
        "weighted_tau": (
            agreement(scores, truth, hyperbolic(scores, truth)) + agreement(scores, truth, hyperbolic(truth, scores))
        )
        / 2,
        "regret": max(truth) - np.mean([a for s, a in zip(scores, truth, strict=True) if s == max(scores)]),
    }
    for k in (10, 30):
        result |= dict(zip((f"precision@{k}", f"best@{k}", f"worst@{k}"), top(scores, truth, k), strict=True))
    return result


def agreement(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    a, b = (np.sign(side[:, None] - side) for side in (x, y))
    return (weights * a * b).sum() / np.sqrt((weights * a * a).sum() * (weights * b * b).sum())


def hyperbolic(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Weights of pairs by rank in the first vector, where ties go by the second."""
    order = np.lexsort((second, first))[::-1]
    weight = np.empty(len(order))
    weight[order] = 1 / np.arange(1, len(order) + 1)
    return weight[:, None] + weight


def top(scores: np.ndarray, truth: np.ndarray, k: int) -> tuple[float, float, float]:
    """Precision, best and worst true rank; a draw of tied archs holds a hypergeometric number of ranks up to r."""
    rank = 1 + (truth > truth[:, None]).sum(axis=1)
    edge = np.sort(scores)[-k]
    sure, tied = rank[scores > edge], rank[scores == edge]
    places, r = k - len(sure), np.arange(300)
    upto = (tied[:, None] <= r).sum(axis=0)
    best = ((sure[:, None] > r).all(axis=0) * hypergeom.pmf(0, len(tied), upto, places)).sum()
    worst = (1 - (sure[:, None] <= r).all(axis=0) * hypergeom.pmf(places, len(tied), upto, places)).sum()
    return ((sure <= k).sum() + (tied <= k).mean() * places) / k, best, worst


def test_metrics_are_what_they_were(recorded):
    name, scores, truth = recorded
    assert measured(scores, truth) == pytest.approx(PINNED[name], rel=0, abs=1e-9)


def test_metrics_are_what_brute_force_gives(recorded):
    _, scores, truth = recorded
    assert measured(scores, truth) == pytest.approx(brute_force(scores, truth), rel=0, abs=1e-9)


def test_order_of_archs_does_not_count(recorded):
    name, scores, truth = recorded
    order = np.random.default_rng(0).permutation(300)
    assert measured(scores[order], truth[order]) == pytest.approx(PINNED[name], rel=0, abs=1e-9)


def test_recorded_rankings_hold_ties(recorded):
    """So that the numbers above depend on how ties count."""
    name, scores, truth = recorded
    edges = [np.sort(scores)[-k] for k in (10, 30)]
    at_edge = [(int((scores > edge).sum()), int((scores == edge).sum())) for edge in edges]
    assert (len(set(scores)), len(set(truth)), *at_edge) == TIES[name]
