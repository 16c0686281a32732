"""What is in front of the first cell of a DARTS network."""

from __future__ import annotations

import torch
from torch import nn

from senas_bench.networks.operations import ConvBN
from senas_bench.spaces.darts.skeleton import DartsSkeleton


class Stem(nn.Module):
    """What the first cell reads: `(B, in_channels, H, W)` to its nodes 0 and 1 [code]."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        before = self.first(x)
        return before, self.second(before)


def stem_of(skeleton: DartsSkeleton) -> Stem:
    """The stem that a skeleton names."""
    c_in, width = skeleton.in_channels, skeleton.channels
    if skeleton.stem == "cifar":
        return Stem(ConvBN(c_in, 3 * width, 3), nn.Identity())
    quarter = nn.Sequential(ConvBN(c_in, width // 2, 3, stride=2), nn.ReLU(), ConvBN(width // 2, width, 3, stride=2))
    return Stem(quarter, nn.Sequential(nn.ReLU(), ConvBN(width, width, 3, stride=2)))
