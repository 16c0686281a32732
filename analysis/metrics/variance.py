"""Analysis of variance: what groups of values differ by, beside what values of one group do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from senas_bench.analysis.metrics.statistics import finite


@dataclass(frozen=True)
class OneWay:
    """Analysis of variance with one factor, its groups a random sample of those there are.

    Args:
        groups: How many.
        values: In all of them.
        between: Standard deviation of the groups' true means, in the unit of the values: what the means vary by beyond
            what values within a group explain; 0 where that is nothing.
        within: Standard deviation of values of one group.
        f, p: F statistic, and its p-value under equal means.
        ratio_interval: 90% interval of `between / within`, exact for normal values in groups of one size (Searle,
            Casella and McCulloch, section 3.5), with the mean size where they differ. Its lower end is above 0
            where p < .05.
    """

    groups: int
    values: int
    between: float
    within: float
    f: float
    p: float
    ratio_interval: tuple[float, float]


def one_way(groups: Sequence[ArrayLike]) -> OneWay | None:
    """What groups of values differ by, and what values of one group do; groups may differ in size.

    Source: the method of moments for a model with random effects (Searle, Casella and McCulloch, Variance Components,
    1992, chapter 3).

    Returns:
        None where all values of each group are equal: there is no spread to compare with.

    Raises:
        ValueError: Fewer than two groups, no group of two values, or NaN among them.
    """
    values = [finite(group) for group in groups]
    sizes = np.array([len(group) for group in values])
    count, total = len(values), int(sizes.sum())
    if count < 2 or total == count:
        raise ValueError(f"{count} groups of {total} values; give at least two groups, and one of two values")
    inside = sum(float(((group - group.mean()) ** 2).sum()) for group in values) / (total - count)
    middle = np.concatenate(values).mean()
    across = float(sum(len(group) * (group.mean() - middle) ** 2 for group in values)) / (count - 1)
    if not inside:
        return None
    size = (total - float((sizes**2).sum()) / total) / (count - 1)  # the mean one, where they differ
    between, ratio = max(0.0, (across - inside) / size) ** 0.5, across / inside
    null = scipy.stats.f(count - 1, total - count)
    low, high = (max(0.0, (ratio / float(null.ppf(level)) - 1) / size) ** 0.5 for level in (0.95, 0.05))
    return OneWay(count, total, between, inside**0.5, ratio, float(null.sf(ratio)), (low, high))
