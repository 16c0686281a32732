"""Intervals over archs: bootstrap, and how they are written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from senas_bench.analysis.metrics.correlation import kendall_tau

MIN_ARCHS = 10
"""No interval over fewer archs."""
JACKKNIFE_GROUPS = 500


def bootstrap_interval(
    statistic: Callable[[np.ndarray], ArrayLike],
    n: int,
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    method: str = "percentile",
) -> np.ndarray | None:
    """Bootstrap interval of a statistic, or several computed on the same resamples, over n archs.

    Args:
        statistic: Takes `(m,)` arch indices in 0..n-1 with repeats, returns a float or `(s,)` floats.
        n: Number of archs.
        rng: Draws the resamples.
        n_resamples: Number of resamples.
        level: Coverage.
        method: `percentile`, or `bca` (Efron, JASA 1987: corrects bias and skewness). The acceleration of BCa comes
            from a jackknife over min(n, 500) random groups of archs, so that it costs no more than the resamples.

    Returns:
        `(2,)` or `(2, s)` low and high bound, or None when n < 10. Resamples whose statistic is nan are left out; a
        statistic that is nan on the archs themselves has nan bounds. So has, with `bca`, one that is nan without some
        group of archs, or whose draws all lie on one side of its value.

    Raises:
        ValueError: Unknown method, no resamples, or a level outside (0, 1).
    """
    if method not in ("percentile", "bca"):
        raise ValueError(f"unknown bootstrap method {method!r}; one of: percentile, bca")
    if n_resamples < 1 or not 0 < level < 1:
        raise ValueError(f"n_resamples {n_resamples} must be >= 1 and level {level} inside (0, 1)")
    if n < MIN_ARCHS:
        return None
    observed = np.asarray(statistic(np.arange(n)), np.float64)
    resampled = np.stack([np.asarray(statistic(rng.integers(n, size=n)), np.float64) for _ in range(n_resamples)])
    probabilities = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "percentile":
        bounds = [_quantiles(column, probabilities) for column in resampled.reshape(n_resamples, -1).T]
    else:
        groups = np.array_split(rng.permutation(n), min(n, JACKKNIFE_GROUPS))
        left_out = np.stack([np.asarray(statistic(np.setdiff1d(np.arange(n), group)), np.float64) for group in groups])
        columns = zip(
            observed.reshape(-1), resampled.reshape(n_resamples, -1).T, left_out.reshape(len(groups), -1).T, strict=True
        )
        bounds = [_quantiles(draws, _bca(value, draws, jack, probabilities)) for value, draws, jack in columns]
    interval = np.stack(bounds, axis=1).reshape(2, *observed.shape)
    return np.where(np.isnan(observed), np.nan, interval)


def mean_tau_interval(
    columns: Sequence[ArrayLike], truth: ArrayLike, rng: np.random.Generator, *, n_resamples: int = 1000
) -> tuple[float, float] | None:
    """95% percentile bootstrap interval over archs of the mean tau-b of several rankings of the same archs.

    What `bootstrap_interval` gives for that statistic on the same `rng`, by matrix products over all pairs of archs in
    place of one tau per resample: for samples of some thousand archs, whose pairs fit in memory.

    Args:
        columns: `(n,)` scores each, one per seed.
        truth: `(n,)` accuracy.

    Returns:
        Low and high bound; None below 10 archs or when a tau is undefined in every resample.
    """
    truth = np.asarray(truth, np.float64)
    n = len(truth)
    if n < MIN_ARCHS:
        return None
    drawn = rng.integers(n, size=(n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    drawn = np.bincount(drawn.ravel(), minlength=n_resamples * n).reshape(n_resamples, n)  # how often each arch
    unequal = n * n - (drawn**2).sum(axis=1, dtype=np.float64)  # pairs of archs that are not the same
    # at most n * n = 1.6e7 is summed at n = 4,000: exact in float32
    drawn = drawn.astype(np.float32 if n <= 4000 else np.float64)

    def pairs(signs: np.ndarray) -> np.ndarray:
        return ((drawn @ signs.astype(drawn.dtype)) * drawn).sum(axis=1, dtype=np.float64)

    def untied(signs: np.ndarray) -> np.ndarray:
        return unequal if np.count_nonzero(signs) == n * (n - 1) else pairs(signs**2)

    truth_signs = np.sign(truth[:, None] - truth)
    truth_pairs = untied(truth_signs)
    taus = []
    for column in columns:
        signs = np.sign(np.subtract.outer(np.asarray(column, np.float64), np.asarray(column, np.float64)))
        with np.errstate(invalid="ignore"):  # 0 / 0: all drawn archs are tied
            taus.append(pairs(signs * truth_signs) / np.sqrt(untied(signs) * truth_pairs))
    return bounds(_quantiles(np.mean(taus, axis=0), np.array([0.025, 0.975])))


def tau_interval(
    scores: ArrayLike,
    truth: ArrayLike,
    rng: np.random.Generator,
    *,
    n_resamples: int = 1000,
    method: str = "percentile",
) -> tuple[float, float] | None:
    """95% bootstrap interval over archs of Kendall's tau-b; None below 10 archs or when tau or a bound is undefined.

    An arch drawn twice is tied with itself on both sides, and tau-b leaves such pairs out, so resampling does not
    bias it. 1,000 resamples of 15,625 archs take about 5 s on one core.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    if np.isnan(kendall_tau(scores, truth)):
        return None
    interval = bootstrap_interval(
        lambda index: kendall_tau(scores[index], truth[index]), len(scores), rng, n_resamples=n_resamples, method=method
    )
    return bounds(interval)


def _quantiles(draws: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    draws = draws[~np.isnan(draws)]
    return np.quantile(draws, probabilities) if len(draws) and not np.isnan(probabilities).any() else np.full(2, np.nan)


def _bca(observed: float, draws: np.ndarray, left_out: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """`(2,)` probabilities shifted for bias and skewness; nan when every draw lies on one side."""
    draws = draws[~np.isnan(draws)]
    slack = 1e-12 * abs(observed)  # equal values may differ by rounding
    below = ((draws < observed - slack).sum() + (draws <= observed + slack).sum()) / (2 * max(len(draws), 1))
    if not 0 < below < 1:
        return np.full(2, np.nan)
    bias = scipy.stats.norm.ppf(below)
    deviations = left_out.mean() - left_out
    spread = (deviations**2).sum() ** 1.5
    acceleration = (deviations**3).sum() / (6 * spread) if spread else 0.0
    shifted = bias + scipy.stats.norm.ppf(probabilities)
    return scipy.stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))


def defined(value: Any) -> Any:
    """The value, or None where it is NaN: JSON has no NaN."""
    return None if isinstance(value, float) and np.isnan(value) else value


def bounds(interval: np.ndarray | None) -> tuple[float, float] | None:
    """An interval as JSON values; None where there is none or it is undefined."""
    return None if interval is None or np.isnan(interval).any() else (float(interval[0]), float(interval[1]))
