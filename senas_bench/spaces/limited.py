"""Archs drawn uniformly among those that meet a limit, where every choice is an arch. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from senas_bench.spaces.limits import FEW, MAX_ROUNDS, SHARE_DRAWS, Limit
from senas_bench.spaces.paths import CoveringPath
from senas_bench.spaces.space import Arch, SearchSpace, balanced_sample

EXACT_CELLS = 1 << 17
"""A grid of costs this long may be made of exact sums; a longer one is rounded to `ROUNDED_CELLS`."""
ROUNDED_CELLS = 1 << 15


class LimitedSampler:
    """The archs of a space that meet a limit, to be drawn uniformly; stands where a `SearchSpace` is drawn from.

    Under the limit `UniformPath(sampler)` trains, and `Evolution()(sampler, ...)` and `RandomSearch()(sampler, ...)`
    search.

    The paper draws archs uniformly and dumps those that break the limit, which leaves a uniform draw among those that
    meet it. We draw from that very distribution, directly, so that means such as Eq. 5 keep their meaning; a biased
    sampler would be as fast, and its means would need weights. Costs are sums, so the number of ways to complete an
    arch depends on nothing but the edge and the sum so far: these numbers are counted once, from the last edge to the
    first, and an arch is drawn edge by edge, each operator in proportion to the ways that remain behind it.

    Sums lie on a grid. Where all costs are integers and their range, in units of their greatest common divisor, has
    no more than `EXACT_CELLS` steps (`mobilenet` up to 799M FLOPs), it is exact. Elsewhere costs are rounded, the
    window is widened by all that rounding may hide, and a drawn arch that misses the true window is drawn anew: still
    uniform. Numbers of ways are float64: exact up to 2^53, then to a relative 1e-13.

    An operator that needs almost all of the others to be cheap is rare among uniform draws: under 250M FLOPs three
    operators of `mobilenet` occur once in 10,000 each. `covering` and `sample_with` are for them.

    Args:
        space: Where to draw from; merged edges make no difference.
        limit: On its archs.

    Raises:
        ValueError: No arch meets the limit, an alive operator has no finite cost, or the shapes do not fit.
    """

    def __init__(self, space: SearchSpace, limit: Limit) -> None:
        self.space, self.limit = space, limit
        self._alive = [np.array(alive, np.int8) for alive in space.candidates]
        costs = self._costs()
        least, most = (self._extreme(costs, choose) for choose in (np.argmin, np.argmax))
        low, high = max(limit.low, least), min(limit.high, most)
        if isinstance(least, int):
            low, high = math.ceil(low), math.floor(high)
        reason = f"no arch of {space.name} meets the {limit.name} limit {limit.span(limit.low, limit.high)}"
        if low > high:
            raise ValueError(f"{reason}: costs go from {limit.span(least, most)}; move or widen the limit")
        ulp = math.ulp(max(abs(least), abs(most)))
        self._grid = _Grid.of([cost - cost.min() for cost in costs], low - least, high - least, ulp)
        window = np.zeros(self._grid.last + 2)  # the last cell stands for all sums above the window
        window[self._grid.first : -1] = 1
        self._after = _ways(self._grid.steps, window)
        self._count = self._count_archs()
        if not self._count:
            raise ValueError(
                f"{reason}: costs go from {limit.span(least, most)}, but none was found there; move or widen the limit"
            )

    @property
    def size(self) -> int:
        """Number of archs that meet the limit, as `SearchSpace.size`; see `count`."""
        return max(1, round(self._count))

    def count(self) -> float:
        """Number of archs that meet the limit: exact up to 2^53 where the grid is exact or has no more than `FEW`
        archs in its window; elsewhere an estimate from 4,096 draws of those that rounding lets pass."""
        return self._count

    def __contains__(self, arch: object) -> bool:
        return arch in self.space and bool(self.limit.holds(np.array([arch]))[0])

    def archs(self) -> np.ndarray:
        """All archs that meet the limit, `(size, edges)` int8, in lexicographic order."""
        archs, sums = np.zeros((1, 0), np.int8), np.zeros(1, np.int64)
        for alive, steps, after in zip(self._alive, self._grid.steps, self._after[1:], strict=True):
            reached = self._reach(sums, steps)
            row, chosen = np.nonzero(after[reached])
            archs, sums = np.column_stack([archs[row], alive[chosen]]), reached[row, chosen]
        return archs[self.limit.holds(archs)]

    def sample(self, rng: np.random.Generator) -> Arch:
        """One arch, uniformly over those that meet the limit.

        Raises:
            RuntimeError: The costs are so fine and the window so narrow that bounded retries found none.
        """
        return tuple(self.draw(rng, 1)[0].tolist())

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(n, edges)` int8 independent archs, each as `sample` draws it; raises as it does."""
        return self._fill(partial(self._draw, rng), n)

    def sample_distinct(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(min(n, size), edges)` int8 distinct archs, uniformly without replacement.

        Where n comes close to the number of archs there may be fewer: bounded retries look for the last.
        """
        return self._distinct(partial(self._draw, rng), n, self._after[0][0])

    def sample_with(self, edge: int, operator: int, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """Distinct archs that contain an operator, uniformly without replacement: the sample of Eq. 5.

        Returns:
            `(n, edges)` int8, fewer where fewer meet the limit; None where none does.

        Raises:
            ValueError: The operator is not alive there.
        """
        most = self._ways_with(edge, operator).sum()
        if not most:
            return None
        archs = self._distinct(partial(self._draw_with, edge, operator, rng), n, most)
        return archs if len(archs) else None

    def identity(self) -> list[object]:
        """As `SearchSpace.identity`, with the limit."""
        return [self.space.identity(), self.limit.identity()]

    def pool(self, per_operator: int, rng: np.random.Generator) -> np.ndarray:
        """As many distinct archs as `balanced_sample` would take from the space."""
        return self.sample_distinct(rng, len(balanced_sample(self.space, per_operator, rng)))

    def more_with(self, edge: int, operator: int, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """As `sample_with`."""
        return self.sample_with(edge, operator, rng, n)

    def paths(self, cells: int = 0) -> CoveringPath:
        """Single paths, one per step, of which half contain an operator drawn beforehand, so that none is trained too
        rarely."""
        return CoveringPath(self, cells=cells)

    def feasible_operators(self) -> list[tuple[int, int]]:
        """Every `(edge, operator)` that an arch within the limit contains, in the order of `SearchSpace.alive`."""
        return list(self._feasible)

    def covering(self, rng: np.random.Generator, n: int, share: float = 0.5) -> np.ndarray:
        """Archs in which no feasible operator is rare.

        A `share` of the rows is drawn uniformly among the archs that contain an operator given beforehand, and all
        feasible operators have their turn equally often, to within one. The rest is uniform. So a row contains a given
        operator with a probability of at least `share / operators`. The rows that hold an operator are not uniform:
        for training and for a first look, not for Eq. 5.

        Returns:
            `(n, edges)` int8, in random order.

        Raises:
            ValueError: The share is no share.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share {share} must lie between 0 and 1")
        turns = np.resize(rng.permutation(len(self._feasible)), int(share * n + rng.random()))
        archs = [self.draw(rng, n - len(turns))]
        for index, rows in zip(*np.unique(turns, return_counts=True), strict=True):
            archs.append(self._fill(partial(self._draw_with, *self._feasible[index], rng), rows))
        return rng.permutation(np.concatenate(archs))

    def _costs(self) -> list[np.ndarray]:
        """Per edge the costs of its alive operators."""
        shape, needed = self.limit.per_edge.shape, (len(self.space.edges), len(self.space.operators))
        if shape[0] != needed[0] or shape[1] < needed[1]:
            raise ValueError(
                f"the limit has costs of {shape} edges and operators, space {self.space.name} has {needed}"
            )
        costs = [self.limit.per_edge[edge, list(alive)] for edge, alive in enumerate(self.space.candidates)]
        for edge, cost in enumerate(costs):
            if not np.isfinite(cost).all():
                operator = self.space.operators[self._alive[edge][np.argmin(np.isfinite(cost))]]
                raise ValueError(f"no {self.limit.name} is known of {operator} on edge {self.space.edges[edge]}")
        return costs

    def _extreme(self, costs: list[np.ndarray], choose: Callable[[np.ndarray], int]) -> float:
        """The least or the largest cost, added up as `Limit.cost` does, so that floats agree to the last bit."""
        arch = [alive[choose(cost)] for alive, cost in zip(self._alive, costs, strict=True)]
        return self.limit.cost(np.array([arch]))[0].item()

    def _count_archs(self) -> float:
        within = self._after[0][0]
        if self._grid.exact or not within:
            return float(within)
        if within <= FEW:
            return float(len(self.archs()))
        for size in SHARE_DRAWS:
            share = self.limit.holds(self._draw(np.random.default_rng(0), size)).mean()
            if share:
                break
        return float(within * share)

    def _reach(self, sums: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """`(n, operators)` cells that `(n,)` cells lead to; those above the window are one."""
        return np.minimum(sums[:, None] + steps, self._grid.last + 1)

    @cached_property
    def _before(self) -> list[np.ndarray]:
        """Per edge the ways to get there, over the cells that are left up to the end of the window.

        It is `_after` of the edges in reverse, so that a walk to the front is a walk like the other.
        """
        start = np.zeros(self._grid.last + 2)
        start[-2] = 1
        return _ways(self._grid.steps[::-1], start)[::-1]

    @cached_property
    def _feasible(self) -> list[tuple[int, int]]:
        return [(edge, operator) for edge, operator in self.space.alive() if self._is_feasible(edge, operator)]

    def _is_feasible(self, edge: int, operator: int) -> bool:
        if not self._ways_with(edge, operator).any():
            return False
        draw = partial(self._draw_with, edge, operator, np.random.default_rng(0))
        return self._grid.exact or next(self._accepted(draw, 1), None) is not None

    def _ways_with(self, edge: int, operator: int) -> np.ndarray:
        """`(sums,)` archs that take `operator` on `edge`, as far as the grid can tell, over the sum before it."""
        if operator not in self.space.candidates[edge]:
            raise ValueError(f"operator {operator} is not alive on edge {self.space.edges[edge]}")
        after = self._after[edge + 1][self._step(edge, operator) : -1]
        return self._before[edge][-2::-1][: len(after)] * after

    def _step(self, edge: int, operator: int) -> int:
        return int(self._grid.steps[edge][self.space.candidates[edge].index(operator)])

    def _draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(n, edges)` archs whose sums lie in the window of the grid."""
        archs = np.empty((n, len(self._alive)), np.int8)
        self._walk(rng, archs, range(len(self._alive)), self._after[1:], np.zeros(n, np.int64))
        return archs

    def _draw_with(self, edge: int, operator: int, rng: np.random.Generator, n: int) -> np.ndarray:
        """As `_draw`, but among the archs with an operator: first the sum before it, then both ways from there."""
        archs = np.empty((n, len(self._alive)), np.int8)
        archs[:, edge] = operator
        ways = self._ways_with(edge, operator).cumsum()
        sums = np.searchsorted(ways / ways[-1], rng.random(n), side="right")
        after = sums + self._step(edge, operator)
        self._walk(rng, archs, range(edge + 1, len(self._alive)), self._after[1:], after)
        self._walk(rng, archs, range(edge - 1, -1, -1), self._before, self._grid.last - sums)
        return archs

    def _walk(
        self, rng: np.random.Generator, archs: np.ndarray, edges: range, ways: list[np.ndarray], sums: np.ndarray
    ) -> None:
        """Draw the operators of `edges` one after the other, in proportion to the `ways` behind each."""
        for edge in edges:
            reached = self._reach(sums, self._grid.steps[edge])
            chosen = _pick(ways[edge][reached].cumsum(axis=1), rng)
            archs[:, edge] = self._alive[edge][chosen]
            sums = reached[np.arange(len(sums)), chosen]

    def _accepted(self, draw: Callable[[int], np.ndarray], n: int) -> Iterator[np.ndarray]:
        """Batches of drawn archs that meet the limit, n at first and more and more later."""
        for round_ in range(MAX_ROUNDS):
            archs = draw(max(n, 2**round_))
            archs = archs[self.limit.holds(archs)]
            if len(archs):
                yield archs

    def _fill(self, draw: Callable[[int], np.ndarray], n: int) -> np.ndarray:
        found, missing = [np.empty((0, len(self._alive)), np.int8)], n
        for archs in self._accepted(draw, n) if n else ():
            found.append(archs[:missing])
            missing -= len(found[-1])
            if not missing:
                break
        if missing:
            raise RuntimeError(f"{missing} of {n} archs within the {self.limit.name} limit not found; widen the window")
        return np.concatenate(found)

    def _distinct(self, draw: Callable[[int], np.ndarray], n: int, most: float) -> np.ndarray:
        found: dict[Arch, None] = {}
        for archs in self._accepted(draw, n):
            found.update(dict.fromkeys(map(tuple, archs.tolist())))
            if len(found) >= min(n, most):
                break
        return np.array(list(found)[:n], np.int8).reshape(-1, len(self._alive))


@dataclass(frozen=True)
class _Grid:
    """What archs cost above the cheapest one, in whole steps.

    Args:
        steps: Per edge `(operators,)` int64.
        first, last: The sums of steps that the window spans. Where the grid is not exact, every arch of the true
            window has its sum there, and others may.
        exact: Whether the sums are the costs, in another unit.
    """

    steps: list[np.ndarray]
    first: int
    last: int
    exact: bool

    @classmethod
    def of(cls, costs: list[np.ndarray], low: float, high: float, ulp: float) -> _Grid:
        """The grid of costs per edge, 0 for the cheapest operator, and a window; `ulp` is the spacing of floats."""
        if isinstance(low, int):
            unit = int(np.gcd.reduce(np.concatenate(costs))) or 1
            if high // unit <= EXACT_CELLS:
                return cls([cost // unit for cost in costs], -(-low // unit), int(high // unit), True)
        unit = max(high / ROUNDED_CELLS, len(costs) * ulp) or 1.0
        scaled = [np.minimum(cost / unit, 2 * ROUNDED_CELLS) for cost in costs]
        steps = [np.floor(cost) for cost in scaled]
        hidden = sum(np.max(cost - step) for cost, step in zip(scaled, steps, strict=True))
        first = max(0, math.ceil(low / unit - hidden) - 1)  # one step for the rounding of floats, here and below
        return cls([step.astype(np.int64) for step in steps], first, math.floor(high / unit) + 1, False)


def _ways(steps: list[np.ndarray], end: np.ndarray) -> list[np.ndarray]:
    """Per edge, and at the end, the number of ways from each cell to the end; an edge leads `steps` cells up.

    Args:
        end: `(cells + 1,)`; the last entry, cells above the window, is 0.
    """
    ways = [end]
    for edge in reversed(steps):
        here = np.zeros_like(end)
        for step in edge[edge < len(end)]:
            here[: len(end) - step] += ways[-1][step:]
        ways.append(here)
    return ways[::-1]


def _pick(sums: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`(n,)` columns, drawn in proportion to the weights that `(n, columns)` cumulative `sums` add up."""
    draws = rng.random((len(sums), 1))
    return (sums / sums[:, -1:] <= draws).sum(axis=1)
