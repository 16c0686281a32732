"""What training costs in multiply-adds (docs/method.md 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from senas_bench.networks.mixture import Mixture
from senas_bench.spaces.cost import CostTable, multiply_adds
from senas_bench.training.samplers import Path

STEP = 3
"""A forward and a backward pass, in forward passes: a backward pass counts as two."""


def passes_price(cost: CostTable, paths: Sequence[Path]) -> int:
    """Multiply-adds of one forward pass of one image through each of some paths, added up.

    An arch costs what the space says of it trained alone at this size, its dead edges included though nobody computes
    them. A path with an arch for each cell costs the mean of these archs, which is exact where each stage of cells
    costs the same: NAS-Bench-201's do at sides that can be halved twice. A mixture costs all operators that run.
    """
    total = 0
    for kind in (_ONE, _PER_CELL, _MIXTURE):
        own: list[Any] = [path for path in paths if _kind(path) == kind]
        if own:
            total += _PRICES[kind](cost, own)
    return total


_ONE, _PER_CELL, _MIXTURE = "one", "per cell", "mixture"


def _kind(path: Path) -> str:
    if not isinstance(path, tuple):
        return _MIXTURE
    return _PER_CELL if isinstance(path[0], tuple) else _ONE


def _archs(cost: CostTable, paths: list[Any]) -> int:
    return int(multiply_adds(cost, np.array(paths)).sum())


def _per_cell(cost: CostTable, paths: list[Any]) -> int:
    archs = np.array(paths)
    total = int(multiply_adds(cost, archs.reshape(-1, archs.shape[-1])).sum())
    return round(total / archs.shape[1])


def _mixtures(cost: CostTable, paths: list[Any]) -> int:
    mixtures = [path if isinstance(path, Mixture) else Mixture.of(path) for path in paths]
    return int(cost.mixtures(np.array([mixture.runs for mixture in mixtures])).sum())


_PRICES = {_ONE: _archs, _PER_CELL: _per_cell, _MIXTURE: _mixtures}
