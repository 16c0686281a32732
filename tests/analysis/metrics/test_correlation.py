import itertools
import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from senas_bench.analysis.metrics.correlation import (
    best_and_worst_rank_at_k,
    best_at_k,
    best_rank_at_k,
    kendall_tau,
    precision_at_k,
    regret,
    spearman,
    tiered,
    top,
    top_tau,
    weighted_tau,
)


def vectors(count: int = 1000, high: int = 30):
    """`count` random pairs with ties on both sides, n from 2 to `high`; then a tenth as many without."""
    rng = np.random.default_rng(7)
    for number in range(count + count // 10):
        n = int(rng.integers(2, high + 1))
        if number < count:
            # at most n - 1 values for n archs: at least one tie
            yield tuple(rng.integers(rng.integers(1, n), size=n) / 7 for _ in range(2))
        else:
            yield rng.random(n), rng.random(n)


def sign(value: float) -> int:
    return int(value > 0) - int(value < 0)


def weighted_agreement(x, y, weight) -> float:
    """sum w s_x s_y / sqrt(sum w s_x^2 sum w s_y^2) over pairs; tau-b when the weight is 1."""
    xy = xx = yy = 0.0
    for i, j in itertools.combinations(range(len(x)), 2):
        a, b, w = sign(x[i] - x[j]), sign(y[i] - y[j]), weight(i, j)
        xy, xx, yy = xy + w * a * b, xx + w * a * a, yy + w * b * b
    return xy / math.sqrt(xx * yy) if xx and yy else math.nan


def hyperbolic(first, second):
    order = sorted(range(len(first)), key=lambda i: (first[i], second[i]), reverse=True)
    rank = {arch: position for position, arch in enumerate(order)}
    return lambda i, j: 1 / (rank[i] + 1) + 1 / (rank[j] + 1)


def average_ranks(x) -> list[float]:
    return [sum(v < u for v in x) + (sum(v == u for v in x) + 1) / 2 for u in x]


def pearson(x, y) -> float:
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    xy = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    xx, yy = math.fsum((a - mean_x) ** 2 for a in x), math.fsum((b - mean_y) ** 2 for b in y)
    return xy / math.sqrt(xx * yy) if xx and yy else math.nan


def possible_tops(scores, k):
    """Every top k, one per way of breaking the ties at its edge."""
    edge = sorted(scores, reverse=True)[k - 1]
    sure = [i for i, s in enumerate(scores) if s > edge]
    tied = [i for i, s in enumerate(scores) if s == edge]
    return [sure + list(rest) for rest in itertools.combinations(tied, k - len(sure))]


def true_rank(truth, i) -> int:
    return 1 + sum(other > truth[i] for other in truth)


def expected_top(scores, truth, k) -> tuple[float, float, float]:
    """P@k, best and worst rank at k in exact arithmetic, for ties too many to list their draws.

    E[best] is the sum over r >= 0 of P(no arch of rank <= r is drawn), and E[worst] likewise of P(not all are <= r).
    """
    edge = sorted(scores, reverse=True)[k - 1]
    ranks = [true_rank(truth, i) for i in range(len(truth))]
    sure = [r for r, s in zip(ranks, scores, strict=True) if s > edge]
    tied = [r for r, s in zip(ranks, scores, strict=True) if s == edge]
    draws = k - len(sure)

    def all_from(pool: int) -> Fraction:
        return Fraction(math.comb(pool, draws), math.comb(len(tied), draws))

    hits = sum(r <= k for r in sure) + Fraction(draws, len(tied)) * sum(r <= k for r in tied)
    best = sum(all_from(sum(t > r for t in tied)) for r in range(len(ranks)) if all(s > r for s in sure))
    worst = sum(1 - all(s <= r for s in sure) * all_from(sum(t <= r for t in tied)) for r in range(len(ranks)))
    return float(hits / k), float(best), float(worst)


def assert_top(x, y, k, expected):
    precision, best, worst = expected
    assert precision_at_k(x, y, k) == pytest.approx(precision, rel=0, abs=1e-12)
    assert best_rank_at_k(x, y, k) == pytest.approx((best, best / len(x)), rel=0, abs=1e-12)
    assert best_and_worst_rank_at_k(x, y, k)[0] == best_rank_at_k(x, y, k)
    assert best_and_worst_rank_at_k(x, y, k)[1] == pytest.approx((worst, worst / len(x)), rel=0, abs=1e-12)


@pytest.mark.slow
def test_tau_is_tau_b():
    for x, y in vectors():
        assert kendall_tau(x, y) == pytest.approx(
            weighted_agreement(x, y, lambda i, j: 1), rel=0, abs=1e-12, nan_ok=True
        )


@pytest.mark.slow
def test_weighted_tau_is_the_mean_over_both_rankings():
    for x, y in vectors():
        both = weighted_agreement(x, y, hyperbolic(x, y)), weighted_agreement(x, y, hyperbolic(y, x))
        assert weighted_tau(x, y) == pytest.approx(sum(both) / 2, rel=0, abs=1e-12, nan_ok=True)


def test_tau_of_the_top_tenth_is_tau_among_the_archs_that_are_truly_best():
    """100 archs of rising truth: the scores reverse the ten best and order the others rightly."""
    truth, scores = np.arange(100.0), np.arange(100.0)
    scores[90:] = scores[90:][::-1]
    assert top_tau(scores, truth) == pytest.approx(-1) and kendall_tau(scores, truth) == pytest.approx(1 - 90 / 4950)
    shuffled = np.random.default_rng(0).permutation(100)
    assert top_tau(scores[shuffled], truth[shuffled]) == pytest.approx(-1)
    for x, y in vectors(20):
        x, y = np.tile(x, 100)[:230], np.tile(y, 101)[1:231]
        best = [i for i, value in enumerate(y) if value >= sorted(y, reverse=True)[22]]  # ties with the 23rd too
        assert top(y).nonzero()[0].tolist() == best
        assert top_tau(x, y) == pytest.approx(kendall_tau(x[best], y[best]), nan_ok=True)
    assert math.isnan(top_tau(scores[:99], truth[:99])) and not math.isnan(top_tau(scores[:99], truth[:99], 0.2))
    with pytest.raises(ValueError, match="k is 0; with 5 archs"):
        top(truth[:5])


def test_a_share_that_floats_put_just_below_a_number_is_that_number():
    """0.29 * 100 is 28.999999999999996."""
    assert top(np.arange(100.0), 0.29).nonzero()[0].tolist() == list(range(71, 100))


def test_the_best_of_the_top_is_the_expectation_over_tie_breaks():
    """Truth 5 to 1, scores 2 1 1 1 0. Of the top 2 the first is sure: 5. Without it, one of 4, 3, 2."""
    assert best_at_k([2, 1, 1, 1, 0], [5, 4, 3, 2, 1], 2) == 5
    assert best_at_k([0, 1, 1, 1, 2], [5, 4, 3, 2, 1], 2) == pytest.approx((4 + 3 + 2) / 3)
    assert best_at_k([0, 1, 1, 1, 2], [5, 4, 3, 2, 1], 3) == pytest.approx((4 + 4 + 3) / 3)
    with pytest.raises(ValueError, match="k is 6"):
        best_at_k([0, 1, 1, 1, 2], [5, 4, 3, 2, 1], 6)


def test_spearman_is_pearson_of_average_ranks():
    for x, y in vectors():
        expected = pearson(average_ranks(x), average_ranks(y))
        assert spearman(x, y) == pytest.approx(expected, rel=0, abs=1e-12, nan_ok=True)


@pytest.mark.slow
def test_top_k_measures_are_expectations_over_tie_breaks():
    for x, y in vectors(200, high=11):
        ranks = [true_rank(y, i) for i in range(len(y))]
        for k in range(1, len(x) + 1):
            tops = [[ranks[i] for i in top] for top in possible_tops(x, k)]
            hits = np.mean([sum(rank <= k for rank in top) for top in tops])
            expected = hits / k, np.mean([min(top) for top in tops]), np.mean([max(top) for top in tops])
            assert expected_top(x, y, k) == pytest.approx(expected, rel=0, abs=1e-12)
            assert_top(x, y, k, expected)


@pytest.mark.slow
def test_top_k_measures_on_many_ties():
    rng = np.random.default_rng(1)
    for x, y in vectors():
        for k in {1, int(rng.integers(1, len(x) + 1))}:
            assert_top(x, y, k, expected_top(x.tolist(), y.tolist(), k))


def test_regret_is_the_mean_over_the_tied_top():
    for x, y in vectors():
        top = [b for a, b in zip(x, y, strict=True) if a == max(x)]
        assert regret(x, y) == pytest.approx(max(y) - math.fsum(top) / len(top), rel=0, abs=1e-12)


def test_a_perfect_ranking_is_perfect_even_with_ties():
    truth = np.array([3.0, 3, 3, 1, 1, 0])
    assert precision_at_k(truth, truth, 1) == precision_at_k(truth, truth, 4) == 1
    assert best_rank_at_k(truth, truth, 2) == (1, 1 / 6)
    assert best_and_worst_rank_at_k(truth, truth, 4) == ((1, 1 / 6), (4, 4 / 6))
    assert regret(truth, truth) == 0
    assert kendall_tau(truth, truth) == pytest.approx(1)


def test_tiered_orders_like_pairs():
    rng = np.random.default_rng(3)
    for _ in range(1000):
        n = int(rng.integers(2, 31))
        tiers, scores = rng.integers(0, 3, n).astype(np.int8), rng.integers(0, 4, n).astype(np.float32)
        keys = [(-int(t), float(s)) for t, s in zip(tiers, scores, strict=True)]
        assert tiered(tiers, scores).tolist() == [sorted(set(keys)).index(key) for key in keys]


def test_tiered_puts_tier_0_on_top_whatever_the_scores():
    assert tiered([0, 1, 2, 0], [0.1, 9, 99, 0.2]).tolist() == [2, 1, 0, 3]


def test_infinite_scores_are_ranked():
    scores, truth = [-np.inf, 1, np.inf, -np.inf], [1, 2, 3, 0]
    assert kendall_tau(scores, truth) == pytest.approx(5 / math.sqrt(5 * 6))
    assert weighted_tau(scores, truth) > 0.9
    assert tiered([0, 0, 0, 0], scores).tolist() == [0, 1, 2, 0]
    assert best_rank_at_k(scores, truth, 1) == (1, 0.25)


@pytest.mark.parametrize("measure", [kendall_tau, spearman, weighted_tau])
def test_constant_scores_have_no_correlation(measure):
    assert math.isnan(measure([1, 1, 1], [1, 2, 3]))
    assert math.isnan(measure([1, 2, 3], [1, 1, 1]))


PAIRED = [kendall_tau, spearman, weighted_tau, regret, lambda x, y: precision_at_k(x, y, 1)]
PAIRED += [lambda x, y: best_rank_at_k(x, y, 1), lambda x, y: best_and_worst_rank_at_k(x, y, 1)]
PAIRED += [lambda x, y: tiered(y, x)]


@pytest.mark.parametrize("measure", PAIRED)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0, math.nan], [1, 2], "NaN"),
        ([1.0, 2], [1, 2, 3], "one length"),
        ([[1.0, 2]], [[1, 2]], "two vectors"),
        ([1.0], [1], "at least 2"),
        ([], [], "at least 2"),
    ],
)
def test_bad_vectors(measure, x, y, message):
    with pytest.raises(ValueError, match=message):
        measure(x, y)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_bad_k(k):
    for measure in (precision_at_k, best_rank_at_k, best_and_worst_rank_at_k):
        with pytest.raises(ValueError, match=r"1\.\.3"):
            measure([1, 2, 3], [1, 2, 3], k)


@pytest.mark.parametrize("tiers", [[0, -1], [0, 0.5]])
def test_bad_tiers(tiers):
    with pytest.raises(ValueError, match="tiers must be integers"):
        tiered(tiers, [1, 2])


def test_params_rank_nasbench201(shared):
    table = pd.read_parquet(shared / "nb201" / "nb201_accuracies.parquet")
    assert kendall_tau(table["cifar10_params"], table["cifar10_test_acc_200ep"]) == pytest.approx(0.5778, abs=5e-5)
    assert kendall_tau(table["cifar10_flops_m"], table["cifar10_test_acc_200ep"]) == pytest.approx(0.5778, abs=5e-5)
