"""Partial channels: operators work on some channels of a node, and the others pass by (PC-DARTS).

Source: Xu et al., "PC-DARTS: Partial channel connections for memory-efficient architecture search", ICLR 2020; [code]
is its public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

Operated = tuple["Callable[[torch.Tensor], torch.Tensor]", torch.Tensor]
"""A module, and the weight of its output."""


def pass_by(
    x: torch.Tensor, partial: int, operators: Sequence[Operated], share: torch.Tensor, stride: int = 1
) -> torch.Tensor:
    """What an edge gives: `(B, C, H, W)` to `(B, C, H/stride, W/stride)`, rounded up.

    The operators see the first of `partial` equal groups of channels; the other channels are left as they are, or
    max-pooled where the stride is 2. Then the groups are shuffled, so that the next edge sees others [code].

    Args:
        operators: That run; without any their channels are zeros.
        share: Weight of the edge: what passes by is multiplied by it, as the weights of the operators already are.
    """
    seen = x.shape[1] // partial
    rest = x[:, seen:]
    if stride > 1:
        rest = torch.nn.functional.max_pool2d(rest, stride, stride, ceil_mode=True)
    made = rest.new_zeros(len(x), seen, *rest.shape[2:])
    for module, weight in operators:
        made = made + module(x[:, :seen]) * weight
    return shuffled(torch.cat([made, rest * share], 1), partial)


def shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    """`(B, C, H, W)` with the first channels of all groups in front, then the second ones, and so on."""
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)
