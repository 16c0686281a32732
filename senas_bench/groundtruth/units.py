"""Whether numbers are accuracies in percent. Fractions and error rates look like a table too, and turn it around.

What is known of NAS-Bench-201 tells them apart: no accuracy of a data set lies within 0 to 1 but chance; an arch
without a path from input to output computes a constant, so its accuracy is chance; and archs that are good on one
data set are good on the others, after 12 epochs as after 200.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from senas_bench.spaces.nasbench201 import EDGES, NONE, OPERATORS, SKIP, arch_to_str, prune

CHANCE = {"cifar10": 10.0, "cifar10-valid": 10.0, "cifar100": 1.0, "imagenet16-120": 100 / 120}
"""Accuracy of a constant, percent."""
OPPOSITE = -3.0
"""Standard deviations of a rank correlation by chance, below which two orders are opposite. Of the official columns
against the embedded table, no random subset of 5 to 200 archs, best 10 to 1,000 or worst 20 to 500 is below -2.0;
error rates of 20 random archs are at -2 to -4, of 200 at -8 to -14."""
SAMPLING = 1.0
"""Percent points by which an accuracy may lie below chance: several standard deviations on 10,000 images."""
SHOWS_AN_ORDER = 11
"""Archs below which not even the exact opposite is below `OPPOSITE`."""
_ADVICE = "accuracies are percent, 0 to 100: multiply fractions by 100, and give 100 - error for an error rate"


@functools.cache
def disconnected() -> frozenset[str]:
    """The 341 arch strings without a path from input to output."""
    patterns = np.array(list(itertools.product((NONE, SKIP), repeat=len(EDGES))), np.int8)
    lost = patterns[(prune(patterns) == NONE).all(axis=1)]
    some = tuple(choice for choice in range(len(OPERATORS)) if choice != NONE)
    archs = (itertools.product(*(some if on != NONE else (NONE,) for on in pattern)) for pattern in lost.tolist())
    return frozenset(map(arch_to_str, itertools.chain.from_iterable(archs)))


def compute_constants(arch_strs: Sequence[str]) -> np.ndarray:
    """`(n,)` whether each arch is `disconnected`."""
    lost = disconnected()
    return np.array([text in lost for text in arch_strs], bool)


def why_not_percent(dataset: str, values: np.ndarray, constant: np.ndarray) -> str | None:
    """Why these cannot be accuracies in percent, with what to do, or None.

    Args:
        dataset: A key of `CHANCE`.
        values: `(n,)`, 0 to 100; NaN where not measured.
        constant: `(n,)` whether the arch computes a constant.
    """
    chance = CHANCE[dataset]
    highest = np.fmax.reduce(values)
    if highest <= 1 and (abs(values - chance) > 0.05 * chance).any():
        return f"no value is above 1, the highest is {highest:.4g}, as of fractions; {_ADVICE}"
    if highest < chance - SAMPLING:
        return f"the highest value is {highest:.4g}, below chance ({chance:.3g}), as of error rates; {_ADVICE}"
    at = values[constant]
    at = at[~np.isnan(at)]
    if at.size and (abs(at - (100 - chance)) < SAMPLING / 2).all():
        archs = f"{at.size} archs that compute a constant have {at[0]:.4g} where chance is {chance:.3g}"
        return f"{archs}, as of error rates; {_ADVICE}"
    return None


def why_opposite(values: np.ndarray, known: np.ndarray) -> str | None:
    """Why values cannot be accuracies, since they order archs against what is known of them, or None.

    Args:
        values: `(n,)`; NaN where not measured.
        known: `(n,)` accuracies of the same archs on any data set.
    """
    both = ~np.isnan(values) & ~np.isnan(known)
    correlation = _rank_correlation(values[both], known[both])
    if correlation * np.sqrt(max(both.sum() - 1, 0)) >= OPPOSITE:
        return None
    return (
        f"{both.sum()} archs are in the opposite order of what is known of them (rank correlation {correlation:.2f}), "
        f"as of error rates; {_ADVICE}"
    )


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's, ties in any order; 0 where it is undefined."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    first, second = (np.argsort(np.argsort(side, kind="stable")) for side in (x, y))
    return float(np.corrcoef(first, second)[0, 1])
