"""One door to the operations of a network: `Torch` computes them with torch, `tape.Tape` with the loops in C.

A network writes its forward once, on this interface. `Torch` knows every type, device and mode; `tape.Tape`, the loops,
what `engines.usable` and `norms.fits` allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from senas_bench.kernels import norms
from senas_bench.kernels.norms import Outputs


class Torch:
    """Everything by torch, on tensors `(B, C, H, W)`. What is normalised goes to `combine`; nobody else reads it."""

    def operate(self, module: nn.Sequential, x: torch.Tensor) -> Any:
        """A convolution and batch norm, normalised."""
        return module(x)

    def convolve(self, layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        """`layer(x)`."""
        return layer(x)

    def normalise(self, z: torch.Tensor, norm: nn.BatchNorm2d) -> Any:
        """`norm(z)`, normalised."""
        return norm(z)

    def weigh(self, output: Any, share: torch.Tensor) -> Any:
        """What an operator made, normalised or plain, times a number."""
        return output * share

    def combine(self, normalised: Sequence[Any], plain: Sequence[torch.Tensor], value: bool, rect: bool) -> Outputs:
        """The sum of at least one tensor, and the sum rectified; each if asked for."""
        first, *others = (*normalised, *plain)
        total = first
        for other in others:  # in place where nobody else has the sum
            total = total.add_(other) if total is not first and total.dtype == other.dtype else total + other
        rectify = torch.relu if value or total is first else torch.relu_
        return total if value else None, rectify(total) if rect else None

    def pool(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """`layer(x)`, a 3x3 average at stride 1 that leaves padding out of the count."""
        return layer(x)

    def halve(self, x: torch.Tensor) -> torch.Tensor:
        """2x2 average at stride 2."""
        return nn.functional.avg_pool2d(x, 2)

    def average(self, x: torch.Tensor) -> torch.Tensor:
        """Over the pixels, `(B, C)`: the end of a pass."""
        return x.mean((2, 3))


class Node:
    """A sum, as it is and rectified; what was rectified or pooled of it is made once.

    Args:
        engine: What made it goes on with it.
        value, rect: `(B, C, H, W)`, one of them or both; None for what is not read.
    """

    def __init__(self, engine: Torch, value: Any, rect: Any = None) -> None:
        self.engine, self.value, self.rect = engine, value, rect
        self.pooled: Any = None

    @staticmethod
    def total(
        engine: Torch, normalised: Sequence[Any], plain: Sequence[torch.Tensor], wanted: tuple[bool, bool]
    ) -> Node:
        """The sum of any number of tensors, at least one.

        Args:
            wanted: Whether its value and its value rectified will be read.
        """
        while len(normalised) + len(plain) > norms.MOST:
            some = normalised[: norms.MOST]
            more = plain[: norms.MOST - len(some)]
            part, _ = engine.combine(some, more, True, False)
            normalised, plain = normalised[len(some) :], [*plain[len(more) :], part]
        return Node(engine, *engine.combine(normalised, plain, *wanted))

    def rectified(self) -> torch.Tensor:
        if self.rect is None:
            _, self.rect = self.engine.combine([], [self.value], False, True)
        return self.rect

    def pool(self, layer: nn.Module) -> torch.Tensor:
        if self.pooled is None:
            self.pooled = self.engine.pool(layer, self.value)
        return self.pooled

    def zeros(self) -> torch.Tensor:
        """Of its shape."""
        return torch.zeros_like(self.rect if self.value is None else self.value)
