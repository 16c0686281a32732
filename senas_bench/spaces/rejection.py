"""Archs that meet a limit, in spaces whose archs obey a rule: drawn from the space, and dumped where they do not."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from senas_bench.spaces.limits import FEW, MAX_ROUNDS, SHARE_DRAWS, Limit
from senas_bench.spaces.paths import UniformPath
from senas_bench.spaces.space import Arch, SearchSpace, balanced_sample


class RejectionSampler:
    """As `LimitedSampler` for a space whose archs obey a rule, such as the two inputs of a DARTS node.

    Draws uniformly over the archs of the space and dumps those that break the limit, as the paper does: uniform over
    those that meet it. Good for windows that are not rare: of uniform `darts` archs on ImageNet about one in seven
    has 540M to 600M multiply-adds.

    Args:
        space: Where to draw from.
        limit: On its archs.

    Raises:
        ValueError: Bounded retries, more than 100,000 draws, found no arch within the limit.
    """

    def __init__(self, space: SearchSpace, limit: Limit) -> None:
        self.space, self.limit = space, limit
        if self._some(np.random.default_rng(0)) is None:
            costs = limit.cost(space.sample_distinct(np.random.default_rng(0), 1000))
            raise ValueError(
                f"no arch of {space.name} that meets the {limit.name} limit {limit.span(limit.low, limit.high)} was "
                f"found; typical costs go from {limit.span(costs.min(), costs.max())}; move or widen the limit"
            )

    @property
    def size(self) -> int:
        """Number of archs that meet the limit: counted in a space of at most `FEW`, else estimated from 4,096 draws, or
        from more where these found none."""
        return self._size

    @cached_property
    def _size(self) -> int:
        if self.space.size <= FEW:
            return int(self.limit.holds(self.space.archs()).sum())
        share = 0.0
        for draws in SHARE_DRAWS:
            share = float(self.limit.holds(self.space.sample_distinct(np.random.default_rng(0), draws)).mean())
            if share:
                break
        return max(1, round(share * self.space.size))

    def __contains__(self, arch: object) -> bool:
        return arch in self.space and bool(self.limit.holds(np.array([arch]))[0])

    def archs(self) -> np.ndarray:
        """All archs that meet the limit, `(size, edges)` int8, in lexicographic order. For small spaces."""
        archs = self.space.archs()
        return archs[self.limit.holds(archs)]

    def sample(self, rng: np.random.Generator) -> Arch:
        """One arch, uniformly over those that meet the limit.

        Raises:
            RuntimeError: Bounded retries found none.
        """
        found = self._some(rng)
        if found is None:
            raise RuntimeError(f"no arch within the {self.limit.name} limit found; widen the window")
        return tuple(found[0].tolist())

    def sample_distinct(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(min(n, size), edges)` int8 distinct archs, uniformly without replacement; fewer where retries end."""
        return self._distinct(self.space, rng, n)

    def identity(self) -> list[object]:
        """As `SearchSpace.identity`, with the limit."""
        return [self.space.identity(), self.limit.identity()]

    def pool(self, per_operator: int, rng: np.random.Generator) -> np.ndarray:
        """As many distinct archs as `balanced_sample` would take from the space."""
        return self.sample_distinct(rng, len(balanced_sample(self.space, per_operator, rng)))

    def more_with(self, edge: int, operator: int, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """Distinct archs that contain an operator, uniformly without replacement, at most n; None where bounded
        retries found none."""
        there = ((operator,) if other == edge else alive for other, alive in enumerate(self.space.candidates))
        narrow = replace(self.space, candidates=tuple(there))
        found = self._distinct(narrow, rng, n)
        return found if len(found) else None

    def paths(self, cells: int = 0) -> UniformPath:
        """Single paths drawn uniformly, one per step."""
        return UniformPath(self, cells)

    def feasible_operators(self) -> list[tuple[int, int]]:
        """Every `(edge, operator)` in one of the archs that 100,000 draws found within the limit."""
        archs = self.sample_distinct(np.random.default_rng(0), 2 ** (MAX_ROUNDS - 1))
        return [(edge, op) for edge, op in self.space.alive() if (archs[:, edge] == op).any()]

    def _distinct(self, space: SearchSpace, rng: np.random.Generator, n: int) -> np.ndarray:
        """`sample_distinct` in a part of the space."""
        found: dict[Arch, None] = {}
        for round_ in range(MAX_ROUNDS):
            archs = space.sample_distinct(rng, max(n, 2**round_))
            found.update(dict.fromkeys(map(tuple, archs[self.limit.holds(archs)].tolist())))
            if len(found) >= n or len(archs) == space.size:
                break
        return np.array(list(found)[:n], np.int8).reshape(-1, len(space.edges))

    def _some(self, rng: np.random.Generator) -> np.ndarray | None:
        for round_ in range(MAX_ROUNDS):
            archs = self.space.sample_distinct(rng, 2**round_)
            archs = archs[self.limit.holds(archs)]
            if len(archs):
                return archs
        return None
