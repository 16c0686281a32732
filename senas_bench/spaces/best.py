"""The arch whose choices have the highest sum of scores, within a limit or without. No torch here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from senas_bench.spaces.limits import Limit
from senas_bench.spaces.space import Arch, Part, SearchSpace

MOST = 4_000_000
"""Sums looked at in one step; where there are more, costs are told apart no finer than that allows."""


def best_arch(space: SearchSpace, scores: np.ndarray, limit: Limit | None = None) -> Arch:
    """The arch of a space with the highest sum of `scores[edge, operator]`; of equal ones the first.

    In the DARTS space, with 0 for `none` and log-probabilities for all else, that is how DARTS derives a cell: each
    node takes the two edges whose best operators are the most probable. Without a limit each part of the space is on
    its own. Within one the parts are joined one after the other, and of equal costs only the best sum goes on, which is
    exact as long as there are few costs: so with multiply-adds of the DARTS spaces. Otherwise nearly equal costs count
    as equal. Costs that are no whole numbers, such as latencies, round to another sum in another order: the window is
    searched with a margin for that, and of what is found the best that `Limit.holds` is taken.

    Args:
        scores: `(edges, operators)`, higher is better; -inf for what must not be chosen.

    Raises:
        ValueError: No arch may be chosen, or none of them was found within the limit.
    """
    parts = space.parts()
    if limit is None:
        arch = _arch(parts, [int(np.argmax(_sums(part, scores))) for part in parts])
    else:
        found = (_arch(parts, chosen) for chosen in _within(parts, scores, limit))
        best = next((arch for arch in found if limit.holds(np.array([arch]))[0]), None)
        if best is None:
            raise ValueError(f"no arch was found within the {limit.name} limit {limit.span(limit.low, limit.high)}")
        arch = best
    if not np.isfinite(sum(scores[edge, operator] for edge, operator in enumerate(arch))):
        raise ValueError(f"every arch of {space.name} has an operator that must not be chosen")
    return arch


def _arch(parts: list[Part], chosen: list[int]) -> Arch:
    """The arch in which each part takes the way that is chosen."""
    operators: dict[int, int] = {}
    for (edges, ways), way in zip(parts, chosen, strict=True):
        operators |= zip(edges, ways[way].tolist(), strict=True)
    return tuple(operators[edge] for edge in range(len(operators)))


def _sums(part: Part, table: np.ndarray) -> np.ndarray:
    """`(ways,)` sums of a table over the edges of a part."""
    edges, ways = part
    return table[np.array(edges), ways].sum(axis=1)


def _within(parts: list[Part], scores: np.ndarray, limit: Limit) -> Iterator[list[int]]:
    """The ways that the parts take in archs within a limit, but for the rounding of sums; the best first."""
    options = [_distinct(_sums(part, limit.per_edge), _sums(part, scores)) for part in parts]
    least = [*itertools.accumulate((cost.min(initial=np.inf) for cost, *_ in options[::-1]), initial=0.0)][::-1]
    most = [*itertools.accumulate((cost.max(initial=-np.inf) for cost, *_ in options[::-1]), initial=0.0)][::-1]
    margin = _margin(limit)
    costs, totals, steps = np.array([float(limit.base)]), np.zeros(1), []
    for (cost, score, way), below, above in zip(options, least[1:], most[1:], strict=True):
        cell = max(MOST // max(len(cost), 1), 1)
        joined = (costs[:, None] + cost).ravel()
        rows = np.flatnonzero((joined + below <= limit.high + margin) & (joined + above >= limit.low - margin))
        sums = (totals[:, None] + score).ravel()
        costs, totals, kept = _distinct(joined[rows], sums[rows], cell)
        came, took = np.divmod(rows[kept], max(len(cost), 1))
        steps.append((came, way[took]))
    for place in np.argsort(-totals, kind="stable").tolist():
        chosen = []
        for came, took in reversed(steps):
            chosen.append(int(took[place]))
            place = int(came[place])
        yield chosen[::-1]


def _margin(limit: Limit) -> float:
    """What two sums of an arch's costs may differ by: each of their additions rounds by half a unit in the last place
    of the largest sum."""
    sizes = np.abs(np.where(np.isfinite(limit.per_edge), limit.per_edge, 0.0)).max(axis=1)
    return len(sizes) * float(np.spacing(abs(limit.base) + sizes.sum()))


def _distinct(costs: np.ndarray, scores: np.ndarray, most: int = MOST) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cost the best score that is finite, and where it stands; costs nearer than a `most`-th of their range
    count as one where there are more than `most`."""
    places = np.flatnonzero(np.isfinite(scores) & np.isfinite(costs))
    costs, scores = costs[places].astype(float), scores[places]
    keys = costs
    if len(np.unique(costs)) > most:
        keys = np.floor((costs - costs.min()) / np.ptp(costs) * most)
    order = np.lexsort((np.arange(len(keys)), -scores, keys))
    first = order[np.r_[True, keys[order][1:] != keys[order][:-1]]] if len(order) else order
    return costs[first], scores[first], places[first]
