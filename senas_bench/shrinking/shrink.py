"""Dropping the operators with the lowest scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from senas_bench.spaces import SearchSpace

OperatorScores = Mapping[tuple[int, int], float]
"""(edge, operator) -> score; the lowest are dropped first."""


def shrink(space: SearchSpace, scores: OperatorScores, k: int, max_per_edge: int | None = None) -> SearchSpace:
    """Drop the `k` operators with the lowest scores, in one global ascending order.

    An operator that is the last of its edge is skipped; ties break by (edge, operator).

    Args:
        scores: A score for every alive operator.
        k: Operators to drop; fewer go when every edge is down to one.
        max_per_edge: Most operators that one call may take from an edge (1 in the paper's DARTS runs).

    Raises:
        ValueError: An alive operator has no score, a score is NaN, or `k` is negative.
    """
    if k < 0:
        raise ValueError(f"cannot drop {k} operators; k must be at least 0")
    missing = [pair for pair in space.alive() if pair not in scores or scores[pair] != scores[pair]]
    if missing:
        raise ValueError(f"no score for operators (edge, op): {missing}")
    taken: Counter[int] = Counter()
    for edge, op in sorted(space.alive(), key=lambda pair: (scores[pair], pair)):
        if taken.total() == k:
            break
        if len(space.candidates[edge]) > 1 and (max_per_edge is None or taken[edge] < max_per_edge):
            space = space.without(edge, op)
            taken[edge] += 1
    return space


def shrink_per_edge(space: SearchSpace, scores: OperatorScores, per_edge: int = 1) -> SearchSpace:
    """Drop the `per_edge` lowest operators of every edge, so that strict fairness stays possible.

    Raises:
        ValueError: Edges have unequal counts, or too few operators are left.
    """
    counts = {len(alive) for alive in space.candidates}
    if len(counts) > 1:
        raise ValueError(f"edges have {sorted(counts)} candidates; equal counts are needed to drop {per_edge} per edge")
    if counts.pop() <= per_edge:
        raise ValueError(f"cannot drop {per_edge} per edge: each must keep one operator")
    return shrink(space, scores, per_edge * len(space.edges), max_per_edge=per_edge)
