"""Random search: what a search with as many scores has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from senas_bench.spaces import Arch
from senas_bench.spaces.regions import Region


@dataclass(frozen=True)
class RandomSearch:
    """Score distinct random archs, in the batches in which `Evolution` of the same numbers scores its own.

    Args:
        population: Archs per batch.
        generations: Batches.
    """

    population: int = 50
    generations: int = 20

    def __post_init__(self) -> None:
        if min(self.population, self.generations) < 1:
            raise ValueError("population and generations must be at least 1")

    def __call__(
        self,
        space: Region,
        score: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ) -> tuple[Arch, np.ndarray, np.ndarray]:
        """Draw from `space`, uniformly without replacement, and take the arch with the highest score.

        Args:
            space: A sampler within a limit searches under it.
            score: `(n, edges)` archs to `(n,)` scores.

        Returns:
            The best arch (the first found among equals), all `(n, edges)` archs seen, their `(n,)` scores.
        """
        archs = space.sample_distinct(rng, self.population * self.generations)
        starts = range(0, len(archs), self.population)
        scores = np.concatenate([score(archs[start : start + self.population]) for start in starts]).astype(float)
        return tuple(archs[np.argmax(scores)].tolist()), archs, scores
