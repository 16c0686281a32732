import math

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from senas_bench.analysis.metrics.bootstrap import bootstrap_interval, mean_tau_interval, tau_interval


@pytest.mark.parametrize(("ours", "scipys"), [("percentile", "percentile"), ("bca", "BCa")])
def test_bootstrap_agrees_with_scipy(ours, scipys):
    data = np.random.default_rng(1).exponential(size=60)
    draws = {"n_resamples": 20000, "method": ours}
    low, high = bootstrap_interval(lambda index: data[index].mean(), 60, np.random.default_rng(2), **draws)
    reference = stats.bootstrap((data,), np.mean, n_resamples=20000, method=scipys, random_state=3).confidence_interval
    # a 2.5% quantile of 20,000 draws has a standard error of about .004 here, the difference of two .006
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.03)


def test_bca_formula():
    """Efron and Tibshirani 1993, eqs. 14.9 to 14.15, on the same resamples and a leave-one-out jackknife."""
    data = np.random.default_rng(4).exponential(size=25) ** 2
    interval = bootstrap_interval(lambda i: data[i].mean(), 25, np.random.default_rng(5), n_resamples=500, method="bca")
    rng = np.random.default_rng(5)
    draws = np.array([data[rng.integers(25, size=25)].mean() for _ in range(500)])
    left_out = np.array([np.delete(data, i).mean() for i in range(25)])
    bias = stats.norm.ppf((draws < data.mean()).mean())
    d = left_out.mean() - left_out
    acceleration = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    for bound, z in zip(interval, (-1.959964, 1.959964), strict=True):
        shifted = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        assert bound == pytest.approx(np.quantile(draws, shifted), rel=1e-6)


def test_grouped_jackknife_keeps_the_acceleration(monkeypatch):
    data = np.random.default_rng(6).exponential(size=600) ** 2
    bounds = []
    for groups in (600, 100):
        monkeypatch.setattr("senas_bench.analysis.metrics.bootstrap.JACKKNIFE_GROUPS", groups)
        rng = np.random.default_rng(0)
        bounds.append(bootstrap_interval(lambda i: data[i].mean(), 600, rng, n_resamples=400, method="bca"))
    assert bounds[0] == pytest.approx(bounds[1], abs=0.1 * float(np.diff(bounds[0])[0]))


def test_several_statistics_share_resamples():
    data = np.random.default_rng(3).random(30)
    together = bootstrap_interval(
        lambda i: [data[i].mean(), data[i].max()], 30, np.random.default_rng(0), n_resamples=50
    )
    alone = bootstrap_interval(lambda i: data[i].max(), 30, np.random.default_rng(0), n_resamples=50)
    assert together.shape == (2, 2)
    assert together[:, 1].tolist() == alone.tolist()


def test_no_interval_below_ten_archs():
    x = np.arange(9.0)
    assert tau_interval(x, x, np.random.default_rng(0)) is None
    assert tau_interval(np.arange(10.0), np.arange(10.0), np.random.default_rng(0), n_resamples=20) == pytest.approx(
        (1, 1)
    )
    assert tau_interval(np.ones(20), np.arange(20), np.random.default_rng(0)) is None


def test_nan_resamples_are_left_out():
    scores = np.array([1.0] + [0] * 11)  # about a third of the resamples are constant
    low, high = tau_interval(scores, np.arange(12.0), np.random.default_rng(0), n_resamples=100)
    assert -1 <= low <= high < 0


def test_bca_of_a_perfect_ranking_and_of_an_undefined_jackknife():
    scores, rng = np.arange(12.0), np.random.default_rng(0)
    assert tau_interval(scores, scores, rng, n_resamples=50, method="bca") == pytest.approx((1, 1))
    # without the one arch that differs, all scores are equal
    assert tau_interval(scores == 3, scores, rng, n_resamples=50, method="bca") is None


DATA_SETS, BATCH, ARCHS = 1000, 50, 100


def covered(statistic, truth: float, method: str) -> float:
    """Fraction of data sets whose interval holds the truth.

    Args:
        statistic: Takes a generator, returns a statistic of `(m,)` indices: `(50,)` values, one per data set it drew.
        truth: What it estimates.
        method: Of the bootstrap.

    The 50 data sets of a batch share their resamples, so that numpy computes all of them at once.
    """
    rng, hits = np.random.default_rng(12), 0
    with threadpool_limits(1):  # many small products: threads would only wait for each other
        for _ in range(DATA_SETS // BATCH):
            low, high = bootstrap_interval(statistic(rng), ARCHS, rng, n_resamples=400, method=method)
            hits += int(((low <= truth) & (truth <= high)).sum())
    return hits / DATA_SETS


def normal_pairs(rng: np.random.Generator, rho: float) -> tuple[np.ndarray, np.ndarray]:
    x, noise = rng.standard_normal((2, BATCH, ARCHS))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def taus(x: np.ndarray, y: np.ndarray):
    """tau-b of the drawn archs, `(50,)`: concordant less discordant pairs over pairs of different archs."""
    signs = [np.sign(side[:, :, None] - side[:, None, :]) for side in (x, y)]
    agreement = (signs[0] * signs[1]).astype(np.float32).reshape(-1, ARCHS)

    def tau(index: np.ndarray) -> np.ndarray:
        drawn = np.bincount(index, minlength=ARCHS).astype(np.float32)  # sums of at most 10,000: exact
        pairs = (agreement @ drawn).reshape(BATCH, ARCHS) @ drawn
        return pairs.astype(np.float64) / float(ARCHS**2 - drawn @ drawn)

    return tau


def test_taus_are_what_tau_interval_resamples():
    x, y = normal_pairs(np.random.default_rng(1), 0.6)
    together = bootstrap_interval(taus(x, y), ARCHS, np.random.default_rng(2), n_resamples=100)
    for i in range(3):
        alone = tau_interval(x[i], y[i], np.random.default_rng(2), n_resamples=100)
        assert together[:, i] == pytest.approx(alone, rel=0, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_of_tau_cover(method):
    """Kendall's tau of a bivariate normal is 2 / pi arcsin(rho)."""
    rate = covered(lambda rng: taus(*normal_pairs(rng, 0.6)), 2 / math.pi * math.asin(0.6), method)
    assert 0.92 <= rate <= 0.98


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_of_a_mean_cover(method):
    def mean(rng):
        data = rng.exponential(size=(BATCH, ARCHS))
        return lambda index: data[:, index].mean(axis=1)

    assert 0.92 <= covered(mean, 1.0, method) <= 0.98


@pytest.mark.parametrize(
    ("options", "message"),
    [({"method": "bcd"}, "percentile, bca"), ({"n_resamples": 0}, ">= 1"), ({"level": 1.0}, "inside")],
)
def test_bad_bootstrap_options(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(lambda index: 0.0, 20, np.random.default_rng(0), **options)


@pytest.mark.parametrize("ties", [2, 1000])
def test_mean_tau_interval_is_the_generic_bootstrap(ties):
    rng = np.random.default_rng(7)
    truth = rng.integers(ties, size=80).astype(float)
    columns = [truth + rng.normal(scale=ties, size=80).round() for _ in range(3)]

    def mean_tau(index):
        return np.mean([stats.kendalltau(column[index], truth[index]).statistic for column in columns])

    expected = bootstrap_interval(mean_tau, 80, np.random.default_rng(3), n_resamples=200)
    got = mean_tau_interval(columns, truth, np.random.default_rng(3), n_resamples=200)
    assert got == pytest.approx(expected, abs=1e-12)


def test_mean_tau_interval_where_there_is_none():
    rng = np.random.default_rng(0)
    assert mean_tau_interval([np.arange(9)], np.arange(9), rng) is None
    assert mean_tau_interval([np.zeros(20)], np.arange(20), rng, n_resamples=50) is None


def test_mean_tau_interval_of_one_column_over_the_fewest_archs_is_tau_interval():
    scores = np.random.default_rng(0).random(10)
    truth = scores + np.random.default_rng(1).random(10)
    expected = tau_interval(scores, truth, np.random.default_rng(0), n_resamples=50)
    assert mean_tau_interval([scores], truth, np.random.default_rng(0), n_resamples=50) == pytest.approx(expected)


def test_a_statistic_that_is_nan_on_the_archs_has_nan_bounds():
    """It is nan on what repeats no arch, so on the archs themselves and on no resample of 20."""

    def statistic(index):
        repeats = len(set(index.tolist())) < len(index)
        return [1.0 if repeats else np.nan, 2.0]

    low, high = bootstrap_interval(statistic, 20, np.random.default_rng(0), n_resamples=20)
    assert np.isnan([low[0], high[0]]).all()
    assert (low[1], high[1]) == (2, 2)
