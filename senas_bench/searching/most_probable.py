"""The most probable arch of a distribution that draws each edge for itself, within a limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from senas_bench.spaces import Arch
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.regions import Region

CELLS = 4096
"""Steps into which the range of costs is cut."""
DRAWS = 512
"""Archs to choose from where rounding hides all that meet the limit."""


def most_probable_within(log_probabilities: np.ndarray, region: Region) -> Arch:
    """The arch of a region with the largest sum of log-probabilities.

    Without a limit it is the best operator of each edge, the first among equals. Under a limit this is a knapsack,
    which is filled edge by edge over costs that are rounded to `CELLS` steps: of the archs that share a step the best
    is kept, and the best of these that truly meets the limit is given. So an arch that costs as much as a better one
    which misses the limit by rounding alone can be overlooked.

    Args:
        log_probabilities: `(edges, operators)`; alive operators have finite ones.
        region: A space in which every choice is an arch, or its archs within a limit.

    Raises:
        ValueError: Some choices are no archs.
    """
    space = region.space
    if space.rule:
        raise ValueError(f"not every choice of {space.name} is an arch; its most probable arch is not known")
    limit: Limit | None = getattr(region, "limit", None)
    if limit is None:
        rows = zip(log_probabilities, space.candidates, strict=True)
        return tuple(alive[int(np.argmax(row[list(alive)]))] for row, alive in rows)
    archs = _best_by_cost(log_probabilities, space.candidates, limit)
    archs = archs[limit.holds(archs)]
    if not len(archs):
        archs = region.sample_distinct(np.random.default_rng(0), DRAWS)
    values = log_probabilities[np.arange(archs.shape[1]), archs].sum(1)
    return tuple(archs[int(np.argmax(values))].tolist())


def _best_by_cost(log_probabilities: np.ndarray, candidates: tuple[tuple[int, ...], ...], limit: Limit) -> np.ndarray:
    """`(n, edges)` int8 archs: for each step of cost up to the limit's end the most probable one, where there is
    one."""
    costs = [limit.per_edge[edge, list(alive)] for edge, alive in enumerate(candidates)]
    least = limit.base + sum(float(cost.min()) for cost in costs)
    most = limit.base + sum(float(cost.max()) for cost in costs)
    high = min(limit.high, most)
    unit = max(high - least, 1e-12 * max(abs(most), 1.0)) / CELLS
    cells = CELLS + len(candidates) + 1  # rounding moves an arch by half a step an edge
    value = np.full(cells, -np.inf)
    value[0] = 0.0
    taken: list[Any] = []
    for edge, alive in enumerate(candidates):
        steps = np.rint((costs[edge] - costs[edge].min()) / unit).astype(np.int64)
        following, chosen = np.full(cells, -np.inf), np.zeros(cells, np.int64)
        for position, (op, step) in enumerate(zip(alive, steps.tolist(), strict=True)):
            if step >= cells:
                continue
            reached = value[: cells - step] + log_probabilities[edge, op]
            better = reached > following[step:]
            following[step:][better], chosen[step:][better] = reached[better], position
        taken.append((steps, chosen))
        value = following
    cell = np.flatnonzero(np.isfinite(value))
    archs = np.zeros((len(cell), len(candidates)), np.int8)
    for edge in reversed(range(len(candidates))):
        steps, chosen = taken[edge]
        position = chosen[cell]
        archs[:, edge] = np.array(candidates[edge], np.int8)[position]
        cell = cell - steps[position]
    return archs
