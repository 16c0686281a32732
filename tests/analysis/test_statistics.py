import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import bootstrap_interval, mean_tau_interval, over_seeds, sign_flip, tau_interval


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
        monkeypatch.setattr("analysis.statistics.JACKKNIFE_GROUPS", groups)
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


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_tau_interval_covers(method):
    rng, rho, hits = np.random.default_rng(11), 0.6, 0
    tau = 2 / math.pi * math.asin(rho)
    for _ in range(50):
        x, noise = rng.standard_normal((2, 30))
        low, high = tau_interval(x, rho * x + math.sqrt(1 - rho**2) * noise, rng, n_resamples=100, method=method)
        hits += low <= tau <= high
    assert 40 <= hits <= 50


@pytest.mark.parametrize(
    ("options", "message"),
    [({"method": "bcd"}, "percentile, bca"), ({"n_resamples": 0}, ">= 1"), ({"level": 1.0}, "inside")],
)
def test_bad_bootstrap_options(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(lambda index: 0.0, 20, np.random.default_rng(0), **options)


def test_over_seeds_is_the_t_interval():
    values = np.random.default_rng(0).random(10)
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    summary = over_seeds(values)
    assert summary.interval == pytest.approx((reference.low, reference.high))
    assert (summary.n, summary.mean, summary.std) == (
        10,
        pytest.approx(values.mean()),
        pytest.approx(values.std(ddof=1)),
    )


def test_few_seeds():
    assert over_seeds([3.0]).std is None
    assert over_seeds([3.0]).interval is None
    assert over_seeds([1.0, 2.0]).std == pytest.approx(0.5**0.5)
    assert over_seeds([1.0, 2.0]).interval is None
    assert over_seeds([1.0, 2.0, 3.0]).interval is not None


def test_sign_flip_counts_all_patterns():
    rng = np.random.default_rng(8)
    for n in range(1, 9):
        for values in (rng.standard_normal(n), rng.integers(-2, 3, n) / 10):
            sums = [
                abs(sum(s * v for s, v in zip(signs, values, strict=True)))
                for signs in itertools.product((1, -1), repeat=n)
            ]
            expected = np.mean([total >= abs(sum(values)) - 1e-12 for total in sums])
            result = sign_flip(values)
            assert result.p == pytest.approx(expected)
            assert result.exact
            assert result.difference == pytest.approx(values.mean())


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (8, 0.0078125), (10, 0.001953125)])
def test_smallest_attainable_p(n, smallest):
    result = sign_flip(np.arange(1.0, n + 1))
    assert result.p == result.smallest_p == smallest


def test_sign_flip_samples_above_fifteen_pairs():
    values = np.random.default_rng(9).standard_normal(16) + 0.4
    sampled = sign_flip(values, np.random.default_rng(0))
    reference = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert not sampled.exact
    assert sampled.p == pytest.approx(reference, abs=0.015)
    assert sampled.smallest_p == 1e-4
    assert sign_flip(values[:15]).exact
    with pytest.raises(ValueError, match="give rng"):
        sign_flip(values)


@pytest.mark.parametrize("function", [over_seeds, sign_flip])
@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0]]])
def test_bad_values(function, values):
    with pytest.raises(ValueError, match="at least one number without NaN"):
        function(values)


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
