"""Uncertainty over seeds: intervals, tests and effect sizes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

MIN_SEEDS = 3
"""No t-interval, effect size or test of spread over fewer seeds."""
MIN_PAIRS = 8
"""No verdict on fewer seeds: 5 cannot reach p < .05 (their smallest p is .0625)."""
EXACT_PAIRS = 15
EXACT_SPLITS = 20_000


@dataclass(frozen=True)
class SeedSummary:
    """Mean over seeds.

    Args:
        n: Number of seeds.
        mean: Their mean.
        std: Standard deviation with ddof = 1; None for one seed.
        interval: t-interval of the mean; None below 3 seeds, and where all seeds agree, which does not make it certain.
    """

    n: int
    mean: float
    std: float | None
    interval: tuple[float, float] | None


def over_seeds(values: ArrayLike, level: float = 0.95) -> SeedSummary:
    """Summarise one value per seed, `(n,)`.

    Raises:
        ValueError: No values, or NaN among them.
    """
    x = finite(values)
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return SeedSummary(1, mean, None, None)
    std = float(x.std(ddof=1))
    half = float(scipy.stats.t.ppf((1 + level) / 2, n - 1)) * std / n**0.5
    enough = n >= MIN_SEEDS and np.ptp(x) > 1e-9 * np.abs(x).max()  # values that agree may differ by rounding
    return SeedSummary(n, mean, std, (mean - half, mean + half) if enough else None)


@dataclass(frozen=True)
class SignFlip:
    """Result of a paired, two-sided sign-flip test.

    Args:
        n: Number of pairs.
        difference: Mean difference, in the unit of the values.
        p: Two-sided p-value.
        smallest_p: The smallest p that n pairs can reach.
        exact: All sign patterns were counted, not sampled.
    """

    n: int
    difference: float
    p: float
    smallest_p: float
    exact: bool


def sign_flip(differences: ArrayLike, rng: np.random.Generator | None = None, n_resamples: int = 9999) -> SignFlip:
    """Test whether paired differences `(n,)` are symmetric around 0, by the absolute value of their sum.

    Up to 15 pairs, all 2^n sign patterns are counted. Above, `n_resamples` are drawn and the observed one is counted
    in: p = (1 + hits) / (1 + n_resamples).

    Raises:
        ValueError: No differences, NaN among them, or more than 15 without `rng`.
    """
    x = finite(differences)
    n, exact = len(x), len(x) <= EXACT_PAIRS
    if exact:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    elif rng is None:
        raise ValueError(f"{n} pairs are more than {EXACT_PAIRS}, where the test samples sign patterns; give rng")
    else:
        signs = rng.choice([-1.0, 1.0], size=(n_resamples, n))
    slack = 1e-9 * np.abs(x).sum()  # equal sums may differ by rounding
    p = _p_value(np.abs(signs @ x), abs(x.sum()) - slack, exact)
    return SignFlip(n, float(x.mean()), p, 2.0 ** (1 - n) if exact else 1 / (1 + n_resamples), exact)


@dataclass(frozen=True)
class Permutation:
    """Result of a two-sided permutation test of two unpaired samples.

    Args:
        n: Sizes of the samples.
        difference: Mean of the first minus mean of the second, in the unit of the values.
        p: Two-sided p-value.
        smallest_p: The smallest p that samples of these sizes can reach.
        exact: All splits were counted, not sampled.
    """

    n: tuple[int, int]
    difference: float
    p: float
    smallest_p: float
    exact: bool


def permutation_test(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator | None = None, n_resamples: int = 9999
) -> Permutation:
    """Test whether unpaired samples, `(n,)` and `(m,)`, come from one distribution, by the difference of their means.

    Up to 20,000 splits of the pooled values into n and m, all are counted. Above, `n_resamples` are drawn and the
    observed one is counted in: p = (1 + hits) / (1 + n_resamples). Two-sided by the absolute difference: 3 and 3 seeds
    have 20 splits in mirrored pairs and cannot reach p < .1.

    Raises:
        ValueError: An empty sample, NaN or an infinity in one, or more than 20,000 splits without `rng`.
    """
    x, y = _samples(a, b)
    pooled = np.concatenate([x, y])
    pooled -= pooled.mean()
    sums, exact = _split_sums(pooled, len(x), rng, n_resamples)
    gaps = np.abs(sums / len(x) - (pooled.sum() - sums) / len(y))
    observed = abs(pooled[: len(x)].mean() - pooled[len(x) :].mean())
    p = _p_value(gaps, observed - 1e-9 * np.abs(pooled).max(), exact)  # equal gaps may differ by rounding
    difference = float(x.mean() - y.mean())
    return Permutation((len(x), len(y)), difference, p, _smallest_p(len(x), len(y), exact, n_resamples), exact)


@dataclass(frozen=True)
class SpreadTest:
    """Result of a two-sided test of two spreads over seeds.

    Args:
        n: Sizes of the samples.
        spreads: Mean absolute deviation from the median of each, without the 0 of an odd sample, in the unit of the
            values.
        log_ratio: Natural logarithm of the first spread over the second; None where one of them is 0.
        p: Two-sided p-value.
        smallest_p: The smallest p that samples of these sizes can reach.
        exact: All splits, or swaps, were counted, not sampled.
    """

    n: tuple[int, int]
    spreads: tuple[float, float]
    log_ratio: float | None
    p: float
    smallest_p: float
    exact: bool


def spread_test(
    a: ArrayLike,
    b: ArrayLike,
    rng: np.random.Generator | None = None,
    *,
    paired: bool = False,
    n_resamples: int = 9999,
) -> SpreadTest | None:
    """Test whether two methods, `(n,)` and `(m,)`, spread alike over seeds, by the log ratio of their spreads.

    The values are the absolute deviations from the own median (Brown and Forsythe, JASA 1974), compared by
    permutation. With an odd number of seeds one deviation is 0 by construction and is left out (Hines and Hines,
    Biometrics 2000); with it the unpaired test hardly ever rejects on 5 seeds. Unpaired, the deviations are split anew
    as in `permutation_test`. Paired, the two deviations of a seed are swapped: `sign_flip` of their differences, which
    is the same test, because the log ratio grows with the difference of two sums whose total is fixed.

    The p-value is approximate, since the medians are estimated. In simulations of equal spreads over 5 to 10 seeds,
    p <= .05 came up in 3% to 5% of normal and in 4% to 8% of exponential samples, paired or not (never in 5 pairs,
    whose smallest p is .0625); over 4 unpaired seeds, in 7% and 14%.

    Args:
        a: `(n,)` one value per seed.
        b: `(m,)` likewise; with `paired`, m = n and the seeds are in the same order.
        rng: Draws the splits or swaps where they are too many to count.
        paired: Whether values at one position share a seed.
        n_resamples: Number of draws.

    Returns:
        The test; None when a sample has fewer than 3 values.

    Raises:
        ValueError: An empty sample, NaN or an infinity in one, pairs of unequal length, or too many splits without
            `rng`.
    """
    x, y = _samples(a, b)
    n = (len(x), len(y))
    if paired and n[0] != n[1]:
        raise ValueError(f"pairs need one length; got {n[0]} and {n[1]} values")
    if min(n) < MIN_SEEDS:
        return None
    x, y = (np.abs(side - np.median(side)) for side in (x, y))
    first, second = (float(side.sum()) / (len(side) - len(side) % 2) for side in (x, y))
    spreads = (first, second)
    log_ratio = math.log(first / second) if min(spreads) > 0 else None
    if paired:
        flip = sign_flip(x - y, rng, n_resamples)
        return SpreadTest(n, spreads, log_ratio, flip.p, flip.smallest_p, flip.exact)
    x, y = (np.sort(side)[len(side) % 2 :] for side in (x, y))
    pooled = np.concatenate([x, y])
    sums, exact = _split_sums(pooled, len(x), rng, n_resamples)
    gaps = _log_ratios(np.append(sums, x.sum()), pooled.sum(), len(x), len(y))
    p = _p_value(gaps[:-1], gaps[-1] - 1e-9, exact)  # equal gaps may differ by rounding
    return SpreadTest(n, spreads, log_ratio, p, _smallest_p(len(x), len(y), exact, n_resamples), exact)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down adjustment of `(m,)` p-values of one family (Holm, Scand. J. Statist. 1979).

    Returns:
        `(m,)` adjusted p-values in the order given, at most 1: rejecting those <= alpha keeps the probability of any
        false rejection at alpha, whatever their dependence.

    Raises:
        ValueError: No p-values, NaN, or one outside 0..1.
    """
    p = finite(p_values)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"p-values must be in 0..1; got {p.min()} to {p.max()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]))
    return adjusted


def iqm(values: ArrayLike) -> float:
    """Interquartile mean of `(n,)` values: the mean of the middle half, in the unit of the values.

    The exact definition, in which n / 4 values are cut from each end and a value that is cut in part counts in part:
    of 3 values the outer two weigh 1/4 each. `scipy.stats.trim_mean(values, 0.25)`, which Agarwal et al. (NeurIPS 2021)
    use, cuts whole values only, n / 4 rounded down, and so cuts none of 3; both agree where 4 divides n.

    Raises:
        ValueError: No values, or NaN among them.
    """
    return float(scipy.stats.trim_mean(np.repeat(finite(values), 4), 0.25))


def paired_effect(differences: ArrayLike) -> float | None:
    """Standardised mean of paired differences `(n,)`, without a unit: how far apart two methods are, next to the seeds.

    Cohen's d_z, the mean over the standard deviation (ddof = 1) of the differences, times Hedges' exact factor
    gamma(f / 2) / (sqrt(f / 2) gamma((f - 1) / 2)), f = n - 1, which removes its bias under normality (Hedges, J. Educ.
    Stat. 1981).

    Returns:
        The effect; None below 3 pairs, where the factor is 0 or undefined, and when all differences are equal.

    Raises:
        ValueError: No differences, or NaN among them.
    """
    x = finite(differences)
    freedom = len(x) - 1
    if len(x) < MIN_SEEDS or np.ptp(x) <= 1e-9 * np.abs(x).max():  # equal differences may differ by rounding
        return None
    factor = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return factor * float(x.mean() / x.std(ddof=1))


def probability_of_improvement(a: ArrayLike, b: ArrayLike) -> float:
    """Probability, 0 to 1, that a random value of `a` `(n,)` exceeds one of `b` `(m,)`; a tie counts half.

    The Mann-Whitney U of `a` over n m (Agarwal et al., "Deep reinforcement learning at the edge of the statistical
    precipice", NeurIPS 2021, for one task). 1/2 means neither is better; it does not say by how much.

    Raises:
        ValueError: An empty sample, or NaN in one.
    """
    x, y = finite(a)[:, None], finite(b)
    return float((x > y).mean() + (x == y).mean() / 2)


def _samples(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = finite(a), finite(b)
    if np.isinf(x).any() or np.isinf(y).any():
        raise ValueError("a sample holds an infinity; its mean and spread are undefined")
    return x, y


@dataclass(frozen=True)
class MovementTest:
    """Result of a two-sided test of how far values move from one repeat to the next.

    Args:
        n: Repeats of each side.
        moves: Mean absolute difference between two repeats of each, in the unit of the values.
        p: Two-sided p-value.
        smallest_p: The smallest p that as many repeats can reach.
        exact: All splits were counted, not sampled.
    """

    n: tuple[int, int]
    moves: tuple[float, float]
    p: float
    smallest_p: float
    exact: bool


def movement(values: ArrayLike) -> np.ndarray:
    """`(items,)` how far each item moves between two repeats: the mean absolute difference over all pairs of the
    `(repeats, items)` values. On average it is the same for any number of repeats, which an interquartile range is not.

    Raises:
        ValueError: Fewer than two repeats, or a value that is not finite.
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"need a (repeats, items) array of finite numbers, two repeats at least; got {x.shape}")
    first, second = zip(*itertools.combinations(range(len(x)), 2), strict=True)
    return np.abs(x[list(first)] - x[list(second)]).mean(axis=0)


def movement_test(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator | None = None, n_resamples: int = 9999
) -> MovementTest:
    """Test whether items move alike between repeats of two sides, `(n, items)` and `(m, items)`.

    Whole repeats are split anew between the sides, as `permutation_test` splits values: what all items of a repeat
    share stays together. The statistic is the difference of the means of `movement`. Sides that differ in where their
    items are, not in how far they move, make it cautious.

    Raises:
        ValueError: As `movement`, sides of unlike items, or more than 20,000 splits without `rng`.
    """
    moves = (float(movement(a).mean()), float(movement(b).mean()))
    pooled = np.concatenate([np.asarray(a, np.float64), np.asarray(b, np.float64)])
    n, m = len(np.asarray(a)), len(np.asarray(b))
    apart = np.abs(pooled[:, None] - pooled).mean(axis=2)
    chosen, exact = _choices(n + m, n, rng, n_resamples)
    inside = np.zeros((len(chosen), n + m))
    np.put_along_axis(inside, chosen, 1.0, axis=1)
    if chosen.shape[1] != n:
        inside = 1 - inside
    first, second = (((side @ apart) * side).sum(axis=1) for side in (inside, 1 - inside))
    gaps = np.abs(first / (n * (n - 1)) - second / (m * (m - 1)))
    p = _p_value(gaps, abs(moves[0] - moves[1]) - 1e-9 * apart.max(), exact)  # equal gaps may differ by rounding
    return MovementTest((n, m), moves, p, _smallest_p(n, m, exact, n_resamples), exact)


def _split_sums(
    values: np.ndarray, size: int, rng: np.random.Generator | None, n_resamples: int
) -> tuple[np.ndarray, bool]:
    """Sums of `size` of the values, one per way to choose them, or per random choice; and whether it is every way."""
    chosen, exact = _choices(len(values), size, rng, n_resamples)
    sums = values[chosen].sum(axis=1)
    return sums if chosen.shape[1] == size else values.sum() - sums, exact


def _choices(n: int, size: int, rng: np.random.Generator | None, n_resamples: int) -> tuple[np.ndarray, bool]:
    """`(choices, k)` indices, one row per way to choose `size` of n, or per random choice; and whether it is every way.
    Where that is less, k is n - size and the indices are those left over."""
    less = min(size, n - size)
    splits = math.comb(n, less)
    if splits <= EXACT_SPLITS:
        return np.array(list(itertools.combinations(range(n), less))), True
    if rng is None:
        raise ValueError(f"{splits} splits are more than {EXACT_SPLITS}, where the test samples splits; give rng")
    return rng.permuted(np.tile(np.arange(n), (n_resamples, 1)), axis=1)[:, :less], False


def _log_ratios(sums: np.ndarray, total: float, n: int, m: int) -> np.ndarray:
    """Absolute log ratio of the mean of n deviations, whose sum is given, to that of the other m; 0 when all are 0."""
    sides = np.stack([sums / n, (total - sums) / m])
    sides[sides <= 1e-12 * total] = 0  # what is left of a sum of zeros after rounding
    with np.errstate(divide="ignore"):
        return np.abs(np.log(sides[0]) - np.log(sides[1])) if total else np.zeros(sums.shape)


def _p_value(statistics: np.ndarray, observed: float, exact: bool) -> float:
    hits = int((statistics >= observed).sum())
    return hits / len(statistics) if exact else (1 + hits) / (1 + len(statistics))


def _smallest_p(n: int, m: int, exact: bool, n_resamples: int) -> float:
    """Of a two-sided test over splits; with n = m the mirrored split has the same statistic."""
    return (1 + (n == m)) / math.comb(n + m, n) if exact else 1 / (1 + n_resamples)


def finite(values: ArrayLike) -> np.ndarray:
    """`(n,)` float64 of at least one number.

    Raises:
        ValueError: Another shape, no values, or NaN among them.
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x) or np.isnan(x).any():
        raise ValueError(f"need a vector of at least one number without NaN; got shape {x.shape}: {x!r}")
    return x
