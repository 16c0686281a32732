"""Paths on which every node has an input, as RSPS draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from senas_bench.spaces import Arch, SearchSpace
from senas_bench.spaces.nasbench201 import EDGES, NODES, NONE
from senas_bench.training.samplers import Path

_INTO = [[edge for edge, (_, target) in enumerate(EDGES) if target == node] for node in range(1, NODES)]


@dataclass(frozen=True)
class ConnectedPath:
    """One path per step, uniform over the archs of a cell space in which no node has only `none` as inputs.

    `forward_urs` redraws a node while all its inputs are `none` [code: AutoDL-Projects]. The same
    distribution is drawn here without retries: a node's inputs are one of its combinations but that one.

    Args:
        space: Where to draw from.
        cells: 0 ties all cells to one arch; otherwise the number of cells, each with its own draw.

    Raises:
        ValueError: A node has nothing but `none` left.
    """

    space: SearchSpace
    cells: int = 0

    def __post_init__(self) -> None:
        for node, edges in enumerate(_INTO, start=1):
            if all(self.space.candidates[edge] == (NONE,) for edge in edges):
                raise ValueError(f"node {node} has no operator but none on its inputs; no path can reach it")

    def __call__(self, rng: np.random.Generator) -> list[Path]:
        if not self.cells:
            return [self._arch(rng)]
        return [tuple(self._arch(rng) for _ in range(self.cells))]

    def _arch(self, rng: np.random.Generator) -> Arch:
        arch = [NONE] * len(EDGES)
        for edges in _INTO:
            alive = [self.space.candidates[edge] for edge in edges]
            sizes = [len(ops) for ops in alive]
            # `none` is the first operator, so where all inputs can be `none` that is combination 0
            first = int(all(ops[0] == NONE for ops in alive))
            digits = np.unravel_index(int(rng.integers(first, math.prod(sizes))), sizes)
            for edge, ops, digit in zip(edges, alive, digits, strict=True):
                arch[edge] = ops[int(digit)]
        return tuple(arch)
