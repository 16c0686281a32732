"""Logits that rest while the weights warm up, and later step less often than the weights do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from senas_bench.training.bilevel import Alphas, Batch, Counts, Gradient, LearningAlphas


class RestingAlphas(LearningAlphas):
    """`LearningAlphas` that begin late and step at some of the weights' steps alone.

    Args:
        alphas, gradient, begin_epoch: As there.
        rest: Share of the epochs before the first that has a step of the logits. Nothing is counted meanwhile.
        every: Steps of the weights for one of the logits, which comes before the last of them. An epoch counts anew.
        after: Called after each step of the logits.
    """

    def __init__(
        self,
        alphas: Alphas,
        gradient: Gradient,
        begin_epoch: Callable[[float], None] | None = None,
        *,
        rest: float = 0.0,
        every: int = 1,
        after: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(alphas, gradient, begin_epoch)
        self._rest, self._every, self._after = rest, every, after
        self._resting, self._turn = False, 0

    def begin_epoch(self, share: float, generator: torch.Generator) -> None:
        """See `Architecture`."""
        super().begin_epoch(share, generator)
        self._resting = share < self._rest - 1e-9
        self._turn = 0

    def step(
        self, network: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, rng: np.random.Generator
    ) -> Counts:
        """One step of the logits where it is their turn."""
        self._turn += 1
        if self._resting or self._turn % self._every:
            return {}
        counts = super().step(network, batch, optimizer, rng)
        if self._after:
            self._after()
        return counts


def rest_of(share: float, epochs: int) -> float:
    """The share of `epochs` that is nearest to `share` from below in whole epochs: a short training may have no rest.

    >>> rest_of(0.25, 4), rest_of(0.25, 3)
    (0.25, 0.0)
    """
    return int(share * epochs + 1e-9) / epochs if epochs else 0.0
