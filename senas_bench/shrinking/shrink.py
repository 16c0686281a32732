"""Dropping the operators with the lowest scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from senas_bench.shrinking.criterion import CriterionOutput, OperatorScores
from senas_bench.spaces import SearchSpace


def shrink(
    space: SearchSpace,
    scores: OperatorScores,
    k: int,
    max_per_edge: int | None = None,
    edges: Collection[int] | None = None,
    keep: Callable[[SearchSpace], bool] = lambda space: True,
) -> SearchSpace:
    """Drop the `k` operators with the lowest scores, in one global ascending order.

    An operator that is the last of its edge is skipped; ties break by (edge, operator).

    Args:
        scores: A score for every operator that may be dropped: all alive, but for `none` in DARTS.
        k: Operators to drop; fewer go when every edge is down to one.
        max_per_edge: Most operators that one call may take from an edge (1 in the paper's DARTS runs).
        edges: The only ones that may lose operators; None means all.
        keep: Whether a space will do; an operator without which it would not is skipped, such as the last with which
            a limit can be met. So fewer than `k` may go.

    Raises:
        ValueError: An alive operator has no score, a score is NaN, or `k` is negative.
    """
    if k < 0:
        raise ValueError(f"cannot drop {k} operators; k must be at least 0")
    free = space.droppable()
    missing = [pair for pair in free if pair not in scores or scores[pair] != scores[pair]]
    if missing:
        raise ValueError(f"no score for operators (edge, op): {missing}")
    taken: Counter[int] = Counter()
    left = Counter(edge for edge, _ in free)
    for edge, op in sorted(free, key=lambda pair: (scores[pair], pair)):
        if taken.total() == k:
            break
        if (edges is not None and edge not in edges) or taken[edge] == max_per_edge or left[edge] - taken[edge] == 1:
            continue
        smaller = space.without(edge, op)
        if keep(smaller):
            space = smaller
            taken[edge] += 1
    return space


def shrink_per_edge(
    space: SearchSpace,
    scores: OperatorScores,
    per_edge: int = 1,
    keep: Callable[[SearchSpace], bool] = lambda space: True,
) -> SearchSpace:
    """Drop the `per_edge` lowest operators of every edge, so that strict fairness stays possible.

    Args:
        keep: As in `shrink`: in place of an operator that is skipped the next of its edge goes. Where an edge has none
            that may go, the space stays as it is, for counts must stay equal.

    Raises:
        ValueError: Edges have unequal counts, or too few operators are left.
    """
    counts = {len(alive) for alive in space.candidates}
    if len(counts) > 1:
        raise ValueError(f"edges have {sorted(counts)} candidates; equal counts are needed to drop {per_edge} per edge")
    if counts.pop() <= per_edge:
        raise ValueError(f"cannot drop {per_edge} per edge: each must keep one operator")
    shrunk = shrink(space, scores, per_edge * len(space.edges), max_per_edge=per_edge, keep=keep)
    return shrunk if len({len(alive) for alive in shrunk.candidates}) == 1 else space


def shrink_edge_by_edge(
    space: SearchSpace,
    score: Callable[[SearchSpace, int], CriterionOutput],
    k: int,
    keep: Callable[[SearchSpace], bool] = lambda space: True,
) -> tuple[SearchSpace, CriterionOutput]:
    """Drop `k` operators edge by edge, shallow to deep, scored anew at each on what is left by then.

    As in PCNAS (Li et al., "Improving one-shot NAS by suppressing the posterior fading", CVPR 2020), whose partial
    models grow layer by layer. PCNAS keeps a pool of the best partial models; docs/method.md 2.1 takes its order and
    leaves the pool out.

    Args:
        score: `(space, edge)` to scores of all operators alive; called once for each edge that loses any.
        k: Spread over the edges by `even_drops`.
        keep: As in `shrink`: in place of an operator that is skipped the next of its edge goes, or none.

    Returns:
        The space, and the scores that decided: those of each edge at its turn, none for an edge that lost nothing.
    """
    scores: dict[tuple[int, int], float] = {}
    parts: dict[str, dict[tuple[int, int], float]] = {}
    for edge, drop in enumerate(even_drops(space, k)):
        if not drop:
            continue
        output = score(space, edge)
        here = [(edge, op) for op in space.candidates[edge]]
        space = shrink(space, output.scores, drop, edges=(edge,), keep=keep)
        scores.update({pair: output.scores[pair] for pair in here})
        for name, values in output.parts.items():
            parts.setdefault(name, {}).update({pair: values[pair] for pair in here})
    return space, CriterionOutput(scores, parts)


def even_drops(space: SearchSpace, k: int) -> list[int]:
    """Per edge how many operators leave, `k` in all, as evenly as possible and shallow edges first.

    10 on 6 edges of 5 are 2, 2, 2, 2, 1, 1. Each edge keeps one operator, so fewer go when every edge is down to it.
    """
    drops = [0] * len(space.edges)
    for _ in range(k):
        free = [edge for edge, alive in enumerate(space.candidates) if drops[edge] < len(alive) - 1]
        if free:
            drops[min(free, key=drops.__getitem__)] += 1
    return drops
