"""Where archs are drawn from: a whole space, or the part of it that meets a limit. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from senas_bench.spaces.limited import LimitedSampler
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.rejection import RejectionSampler
from senas_bench.spaces.space import Arch, SearchSpace


class Region(Protocol):
    """What paths, criteria, shrinking and searches draw from: a `SearchSpace`, or its archs within a limit."""

    @property
    def space(self) -> SearchSpace:
        """The space that it is, or is a part of."""
        ...

    @property
    def size(self) -> int:
        """Number of archs; under a limit it may be an estimate."""
        ...

    def __contains__(self, arch: object) -> bool: ...

    def identity(self) -> list[object]:
        """JSON values that two regions share only if they are the same archs of the same space."""
        ...

    def archs(self) -> np.ndarray:
        """All of them, `(size, edges)` int8, in lexicographic order. For small ones."""
        ...

    def sample(self, rng: np.random.Generator) -> Arch:
        """One, uniformly."""
        ...

    def sample_distinct(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(min(n, size), edges)` int8 distinct archs, uniformly without replacement."""
        ...

    def pool(self, per_operator: int, rng: np.random.Generator) -> np.ndarray:
        """`(n, edges)` int8 archs in which an operator occurs `per_operator` times, or fewer where
        it is rare."""
        ...

    def more_with(self, edge: int, operator: int, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """`(m, edges)` archs with an operator that a pool has too rarely, at most n; None where there are no more."""

    def paths(self, cells: int) -> Callable[[np.random.Generator], list[Any]]:
        """Single paths for training, one per step; `cells` as in `UniformPath`."""
        ...


def within(space: SearchSpace, limit: Limit | None) -> Region:
    """The archs of a space that meet a limit; the space itself where there is none.

    Raises:
        ValueError: No arch meets it.
    """
    if limit is None:
        return space
    return RejectionSampler(space, limit) if space.rule else LimitedSampler(space, limit)


def feasible(space: SearchSpace, limit: Limit | None, archs: int = 1) -> bool:
    """Whether so many archs of the space, about, meet the limit."""
    if limit is None:
        return True
    try:
        return within(space, limit).size >= archs
    except ValueError:
        return False


def operator_sample(
    region: Region, per_operator: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[tuple[int, int], np.ndarray]]:
    """Archs to score operators with (Eq. 5), and for each operator the rows that are a uniform sample of those with it.

    The pool serves all operators; one that fewer than `per_operator` of its archs contain is given others, as many as
    are found, and these count for it alone.

    Returns:
        `(n, edges)` int8, and by `(edge, operator)` row numbers, of which a droppable operator that no arch found
        within the limit contains has none.
    """
    pool = region.pool(per_operator, rng)
    parts, count, rows = [pool], len(pool), {}
    for edge, op in region.space.droppable():
        own = np.flatnonzero(pool[:, edge] == op)
        more = region.more_with(edge, op, rng, per_operator) if len(own) < per_operator else None
        if more is not None and len(more) >= len(own):
            own = np.arange(count, count + len(more))
            parts.append(more)
            count += len(more)
        rows[edge, op] = own
    return np.concatenate(parts), rows
