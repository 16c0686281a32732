"""How well scores rank archs: correlations, top-k measures and the regret of the pick.

Every function takes `scores` `(n,)` in any unit, higher is better, and `truth` `(n,)` true accuracy, usually
percent, of the same archs in the same order. All raise ValueError on NaN, on lengths that differ and on n < 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

MIN_TOP = 10
"""No tau among fewer archs of the top."""


def kendall_tau(scores: ArrayLike, truth: ArrayLike) -> float:
    """Kendall's tau-b, which corrects for ties; nan when either side is constant."""
    x, y = _pair(scores, truth)
    found: Any = scipy.stats.kendalltau(x, y, variant="b")
    return float(found.statistic)


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's rho, Pearson's correlation of average ranks; nan when either side is constant."""
    x, y = (scipy.stats.rankdata(side) for side in _pair(scores, truth))
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale else float("nan")


def top(truth: ArrayLike, share: float = 0.1) -> np.ndarray:
    """`(n,)` bool: the truly best archs, `share` of them rounded down; with all that tie with the last of these.

    Raises:
        ValueError: The share holds no arch.
    """
    y = np.asarray(truth, np.float64)
    k = int(share * len(y) + 1e-9)
    _check_k(k, len(y))
    return y >= _kth_largest(y, k)


def top_tau(scores: ArrayLike, truth: ArrayLike, share: float = 0.1) -> float:
    """`kendall_tau` among the archs of `top` alone: how well scores order what a search picks from.

    nan when either side is constant there, or that share is fewer than `MIN_TOP` archs.
    """
    x, y = _pair(scores, truth)
    if int(share * len(y) + 1e-9) < MIN_TOP:
        return float("nan")
    best = top(y, share)
    return kendall_tau(x[best], y[best])


def weighted_tau(scores: ArrayLike, truth: ArrayLike) -> float:
    """Weighted tau with additive hyperbolic weights: an exchange near the top counts most.

    The mean over weighting by rank in the scores and by rank in the truth (Vigna, "A weighted correlation index
    for rankings with ties", WWW 2015; `scipy.stats.weightedtau`). nan when either side is constant.
    """
    x, y = (scipy.stats.rankdata(side, "dense") for side in _pair(scores, truth))
    found: Any = scipy.stats.weightedtau(x, y)
    return float(found.statistic)


def precision_at_k(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """Expected fraction, 0 to 1, of the k top-scored archs that are among the k truly best.

    Scores tied at the edge of the top k are drawn from uniformly, and the expectation over the draw is returned. An
    arch is among the k truly best when fewer than k archs are strictly better, so ties in truth never cost.

    Raises:
        ValueError: k is not in 1..n.
    """
    x, y = _pair(scores, truth)
    _check_k(k, len(x))
    above, tied = _top(x, k)
    membership = above + tied * (k - above.sum()) / tied.sum()
    return float(membership[y >= _kth_largest(y, k)].sum() / k)


def best_rank_at_k(scores: ArrayLike, truth: ArrayLike, k: int) -> tuple[float, float]:
    """The best true rank among the k top-scored archs, 1 = best, and that rank divided by n.

    True ranks are 1 + the number of strictly better archs. Scores tied at the edge of the top k are drawn from
    uniformly without replacement, and the expectation over the draw is returned.

    Raises:
        ValueError: k is not in 1..n.
    """
    return best_and_worst_rank_at_k(scores, truth, k)[0]


def best_at_k(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """The best truth among the k top-scored archs, in its unit: what a second look at so many archs could find.

    Ties at the edge of the top k as in `best_rank_at_k`.

    Raises:
        ValueError: k is not in 1..n.
    """
    x, y = _pair(scores, truth)
    _check_k(k, len(x))
    return -_expected_min(-y, *_top(x, k), k)


def best_and_worst_rank_at_k(
    scores: ArrayLike, truth: ArrayLike, k: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """BWR@k: the best and the worst true rank among the k top-scored archs, each also divided by n.

    BR@k and WR@k of Ning et al., "Evaluating efficient performance estimators of neural architectures" (NeurIPS 2021),
    whose code breaks ties by position. Here ranks and ties are those of `best_rank_at_k`: archs of equal truth share
    the best of their ranks, and each rank is the expectation over a uniform draw from the scores tied at the edge.

    Returns:
        `(best, best / n), (worst, worst / n)`; rank 1 is the truly best arch.

    Raises:
        ValueError: k is not in 1..n.
    """
    x, y = _pair(scores, truth)
    _check_k(k, len(x))
    rank = scipy.stats.rankdata(-y, "min")
    above, tied = _top(x, k)
    best, worst = _expected_min(rank, above, tied, k), -_expected_min(-rank, above, tied, k)
    return (best, best / len(x)), (worst, worst / len(x))


def regret(scores: ArrayLike, truth: ArrayLike) -> float:
    """The best truth minus the truth of the top-scored arch, in the unit of `truth` (percent points).

    Archs tied at the top score count with their mean truth: the expectation of a uniform pick.
    """
    x, y = _pair(scores, truth)
    return float(y.max() - y[x == x.max()].mean())


def tiered(tiers: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """One ranking score from hierarchical (tier, score): every arch of tier 0 above every arch of tier 1, and so on.

    Args:
        tiers: `(n,)` integers >= 0; 0 = alive at the end, 1 = dropped in the last shrink, ...
        scores: `(n,)` scores, comparable within a tier only.

    Returns:
        `(n,)` float64 dense ranks, 0 for the worst, higher is better; equal (tier, score) share a rank.

    Raises:
        ValueError: A tier is negative or not an integer, NaN, lengths that differ, n < 2.
    """
    tier, score = _pair(tiers, scores, names=("tiers", "scores"))
    if (tier < 0).any() or (tier % 1 != 0).any():
        raise ValueError("tiers must be integers >= 0, 0 for the archs alive at the end")
    order = np.lexsort((score, -tier))
    tier, score = tier[order], score[order]
    ranks = np.empty(len(order))
    ranks[order] = np.cumsum(np.concatenate(([False], (tier[1:] != tier[:-1]) | (score[1:] != score[:-1]))))
    return ranks


def _pair(first: ArrayLike, second: ArrayLike, names: tuple[str, str] = ("scores", "truth")) -> list[np.ndarray]:
    arrays = [np.asarray(side, np.float64) for side in (first, second)]
    if arrays[0].ndim != 1 or arrays[0].shape != arrays[1].shape:
        shapes = f"{arrays[0].shape} and {arrays[1].shape}"
        raise ValueError(f"{names[0]} and {names[1]} have shapes {shapes}; give two vectors of one length")
    if len(arrays[0]) < 2:
        raise ValueError(f"a ranking needs at least 2 archs; got {len(arrays[0])}")
    for name, array in zip(names, arrays, strict=True):
        if np.isnan(array).any():
            raise ValueError(f"{name} holds NaN, first at position {np.isnan(array).argmax()}; drop those archs first")
    return arrays


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; with {n} archs it must be in 1..{n}")


def _kth_largest(values: np.ndarray, k: int) -> float:
    return np.partition(values, len(values) - k)[len(values) - k]


def _top(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """`(n,)` masks: archs surely in the top k, and archs tied for its last places (never empty)."""
    edge = _kth_largest(scores, k)
    return scores > edge, scores == edge


def _expected_min(values: np.ndarray, above: np.ndarray, tied: np.ndarray, k: int) -> float:
    """Expected minimum of `values` `(n,)` over the archs above the edge and a uniform draw of tied ones, k in all."""
    sure = values[above].min() if above.any() else np.inf
    candidates = np.sort(values[tied])
    n, draws = len(candidates), k - int(above.sum())
    # P(the smallest of `draws` out of n is the j-th) = C(n-1-j, draws-1) / C(n, draws), j = 0, 1, ..., as a product.
    j = np.arange(1, n - draws + 1)
    probability = draws / n * np.cumprod(np.concatenate(([1.0], (n - j - draws + 1) / (n - j))))
    return float(probability @ np.minimum(candidates[: len(probability)], sure))
