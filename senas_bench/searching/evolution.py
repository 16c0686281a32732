"""Evolutionary search over a space, or over the part of it that meets a limit, as SPOS runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from senas_bench.spaces import Arch, SearchSpace
from senas_bench.spaces.regions import Region

MAX_TRIES = 100
"""Draws per child before a random arch, and per random arch before giving up on new ones."""


@dataclass(frozen=True)
class Evolution:
    """Keep the best, cross and mutate them (Guo et al. 2020, Algorithm 1; defaults from the paper).

    Args:
        population: Archs per generation.
        generations: Rounds, the random first one included.
        parents: The best archs seen so far, from which children are made.
        crossover: Share of children from crossover; as many again come from mutation, the rest is drawn
            at random.
        mutation_rate: Probability that an edge of a mutated arch is drawn anew.
    """

    population: int = 50
    generations: int = 20
    parents: int = 10
    crossover: float = 0.5
    mutation_rate: float = 0.1

    def __post_init__(self) -> None:
        if min(self.population, self.generations, self.parents) < 1:
            raise ValueError("population, generations and parents must be at least 1")

    def __call__(
        self,
        space: Region,
        score: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
        start: Sequence[Arch] = (),
    ) -> tuple[Arch, np.ndarray, np.ndarray]:
        """Search `space` for the arch with the highest score. No arch is scored twice.

        Args:
            space: A sampler within a limit searches under it: a child that breaks it is made anew, as SPOS does, and
                after `MAX_TRIES` a random arch within the limit takes its place. Mutations draw from the whole space;
                a child that breaks the rule of a space is repaired.
            score: `(n, edges)` archs to `(n,)` scores.
            start: Distinct archs of the first generation, as many as it takes and as lie in `space`; the rest is
                random.

        Returns:
            The best arch (the first found among equals), all `(n, edges)` archs seen, their `(n,)` scores.
        """
        seen: dict[Arch, float] = {}
        for generation in range(self.generations):
            children = self._children(space, seen, rng) if generation else self._first(space, start)
            batch = self._fill(space, children, seen, rng)
            if not batch:
                break
            values = score(np.array(batch, np.int8))
            seen.update(zip(batch, map(float, values), strict=True))
        best = max(seen, key=seen.__getitem__)
        return best, np.array(list(seen), np.int8), np.array(list(seen.values()))

    def _first(self, space: Region, start: Sequence[Arch]) -> list[Arch]:
        return [arch for arch in dict.fromkeys(start) if arch in space][: self.population]

    def _children(self, space: Region, seen: dict[Arch, float], rng: np.random.Generator) -> list[Arch]:
        whole = space.space
        best = sorted(seen, key=seen.__getitem__, reverse=True)[: self.parents]
        each = int(self.population * self.crossover)
        children: list[Arch] = []
        for make in [self._cross] * each + [self._mutate] * min(each, self.population - each):
            for _ in range(MAX_TRIES):
                child = make(whole, best, rng)
                if child not in seen and child not in children and child in space:
                    children.append(child)
                    break
        return children

    def _fill(self, space: Region, batch: list[Arch], seen: dict[Arch, float], rng: np.random.Generator) -> list[Arch]:
        """`batch` filled up with new random archs to the size of the population, as far as there are any."""
        new = set(batch)
        for _ in range(MAX_TRIES * self.population):
            if len(batch) >= min(self.population, space.size - len(seen)):
                break
            arch = space.sample(rng)
            if arch not in seen and arch not in new:
                batch.append(arch)
                new.add(arch)
        return batch

    def _cross(self, space: SearchSpace, best: list[Arch], rng: np.random.Generator) -> Arch:
        one, other = best[rng.integers(len(best))], best[rng.integers(len(best))]
        return space.repair(tuple(a if rng.random() < 0.5 else b for a, b in zip(one, other, strict=True)), rng)

    def _mutate(self, space: SearchSpace, best: list[Arch], rng: np.random.Generator) -> Arch:
        parent, fresh = best[rng.integers(len(best))], space.sample(rng)
        mixed = tuple(b if rng.random() < self.mutation_rate else a for a, b in zip(parent, fresh, strict=True))
        return space.repair(mixed, rng)
