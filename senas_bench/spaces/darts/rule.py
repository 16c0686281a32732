"""Two inputs per node: which choices of a DARTS cell are archs."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from senas_bench.spaces.darts.cell import EDGES, NODES, NONE
from senas_bench.spaces.space import Arch, Part, SearchSpace


@dataclass(frozen=True)
class TwoInputs:
    """What makes a tuple of choices an arch: exactly two inputs of each node carry something, the others are `none`.

    `none` is how an edge is left out, so it is no operator that could be dropped, and an edge keeps at least one beside
    it. It is the `rule` of the space: whole or shrunk, the space gives archs that obey it.

    Args:
        nodes: The edges into each node: a partition of the edges, in order.
        none: Index of the operator `none`.
    """

    nodes: tuple[tuple[int, ...], ...]
    none: int = NONE

    def valid(self, archs: np.ndarray) -> np.ndarray:
        """`(n,)` bool: which rows of `archs` `(n, edges)` are archs, in whatever space."""
        inside = np.ones(len(archs), bool)
        for node in self.nodes:
            inside &= (archs[:, node] != self.none).sum(axis=1) == 2
        return inside

    def count(self, space: SearchSpace) -> int:
        """Number of archs: 180 * 49^4, about 1.04e9, in the whole space of one cell."""
        return math.prod(map(len, _node_tables(self, space)))

    def archs(self, space: SearchSpace) -> np.ndarray:
        """All archs, `(count, edges)` int8, in lexicographic order."""
        return self._decode(space, np.arange(self.count(space)))

    def sample(self, space: SearchSpace, rng: np.random.Generator) -> Arch:
        """One arch, uniformly over all archs of the space.

        AngleNAS [code] draws each edge on its own and repairs the draw. In a space whose edges have equally many
        candidates that is the same distribution; in a shrunk space it is not, while this one stays uniform.
        """
        arch = [self.none] * len(space.edges)
        for node, table in zip(self.nodes, _node_tables(self, space), strict=True):
            for edge, op in zip(node, table[rng.integers(len(table))].tolist(), strict=True):
                arch[edge] = op
        return tuple(arch)

    def sample_distinct(self, space: SearchSpace, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(min(n, count), edges)` int8 distinct archs, uniformly without replacement."""
        count = self.count(space)
        return self._decode(space, rng.choice(count, size=min(n, count), replace=False))

    def repair(self, space: SearchSpace, arch: Arch, rng: np.random.Generator) -> Arch:
        """An arch of the space that keeps as many operators of `arch` as it can; uniformly among all such.

        An arch of the space stays as it is. Of three or more inputs of a node two are kept, each pair equally likely;
        one or two that are missing, or not alive, are drawn from all that is alive beside what is kept. So a uniform
        draw from a space whose edges have equally many candidates becomes a uniform arch.

        Args:
            arch: Any choices, such as a crossover of two archs.
        """
        repaired = list(arch)
        for node, table in zip(self.nodes, _node_tables(self, space), strict=True):
            given = np.array([arch[edge] for edge in node])
            kept = ((table == given) & (table != self.none)).sum(axis=1)
            nearest = table[kept == kept.max()]
            for edge, op in zip(node, nearest[rng.integers(len(nearest))].tolist(), strict=True):
                repaired[edge] = op
        return tuple(repaired)

    def balanced_sample(self, space: SearchSpace, per_operator: int, rng: np.random.Generator) -> np.ndarray:
        """Archs in which every alive operator but `none` occurs at least `per_operator` times (Eq. 5).

        As `spaces.balanced_sample`: each row is uniform over the archs, so that the rows with an operator are uniform
        over the archs that contain it, and one pool serves all operators. In the whole space of one cell 100 per
        operator take 1,750 archs in place of 9,800. A space with no more archs than the pool is returned whole.

        Returns:
            `(n, edges)` int8.
        """
        pool = self._pool_size(space, per_operator)
        if self.count(space) <= pool:
            return self.archs(space)
        archs = np.full((pool, len(space.edges)), self.none, np.int8)
        for node in self.nodes:
            pairs = self._pairs(space, node)
            weights = np.cumsum(list(pairs.values()))
            # systematic sampling: each pair of edges gets its share of the rows, rounded up or down at random
            ends = (weights * pool + rng.integers(weights[-1])) // weights[-1]
            for pair, rows in zip(pairs, np.split(rng.permutation(pool), ends[:-1]), strict=True):
                for edge in pair:
                    archs[rows, edge] = _evenly(self._others(space, edge), len(rows), rng)
        return archs

    def droppable(self, space: SearchSpace) -> list[tuple[int, int]]:
        """The operators that criteria score and a shrink may drop, as `(edge, operator)`: all alive but `none`.

        Whoever drops them leaves the last of each edge.
        """
        return [(edge, op) for edge, op in space.alive() if op != self.none]

    def parts(self, space: SearchSpace) -> list[Part]:
        """The edges into each node, and all ways to choose two of them and their operators."""
        return list(zip(self.nodes, _node_tables(self, space), strict=True))

    def _others(self, space: SearchSpace, edge: int) -> list[int]:
        return [op for op in space.candidates[edge] if op != self.none]

    def _pairs(self, space: SearchSpace, node: Sequence[int]) -> dict[tuple[int, int], int]:
        """The pairs of edges that can be the inputs of a node, and in how many ways."""
        pairs = {}
        for pair in itertools.combinations(node, 2):
            ways = math.prod(len(self._others(space, edge)) for edge in pair)
            if ways and all(self.none in space.candidates[edge] for edge in node if edge not in pair):
                pairs[pair] = ways
        return pairs

    def _pool_size(self, space: SearchSpace, per_operator: int) -> int:
        """The least number of rows with which `balanced_sample` can keep its promise."""
        pool = per_operator
        for node in self.nodes:
            pairs = self._pairs(space, node)
            total = sum(pairs.values())
            for edge in set(itertools.chain.from_iterable(pairs)):
                ways = [count for pair, count in pairs.items() if edge in pair]
                operators = len(self._others(space, edge))
                while sum(pool * count // total // operators for count in ways) < per_operator:
                    pool += 1
        return pool

    def _decode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        """`(n, edges)` archs at positions `codes` of the lexicographic order."""
        tables = _node_tables(self, space)
        archs = np.empty((len(codes), len(space.edges)), np.int8)
        for node, table, digits in zip(self.nodes, tables, np.unravel_index(codes, [*map(len, tables)]), strict=True):
            archs[:, node] = table[digits]
        return archs


@functools.lru_cache(maxsize=64)
def _node_tables(rule: TwoInputs, space: SearchSpace) -> tuple[np.ndarray, ...]:
    """Per node `(ways, edges of the node)` int8: all operators that its edges can have, in lexicographic order."""
    tables = []
    for node in rule.nodes:
        choices = itertools.product(*[space.candidates[edge] for edge in node])
        ways = [row for row in choices if len(row) - row.count(rule.none) == 2]
        if not ways:
            names = ", ".join(space.edges[edge] for edge in node)
            raise ValueError(f"no arch has exactly two inputs among edges {names}; `none` may be missing, or all else")
        tables.append(np.array(ways, np.int8))
    return tuple(tables)


def _evenly(operators: Sequence[int], n: int, rng: np.random.Generator) -> np.ndarray:
    """`(n,)` operators, each as often as any other to within one, and each place equally likely to hold any."""
    rounds = [rng.permutation(np.array(operators, np.int8)) for _ in range(n // len(operators) + 1)]
    return np.concatenate(rounds)[:n]


def into_nodes(cells: int) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(len(EDGES) * cell + edge for edge, (_, target) in enumerate(EDGES) if target == node)
        for cell in range(cells)
        for node in NODES
    )
