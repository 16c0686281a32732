"""A second classifier behind the last reduction cell, for training from scratch.

[code] is DARTS's public code.
"""

from __future__ import annotations

import torch
from torch import nn

from senas_bench.networks.operations import ConvBN
from senas_bench.spaces.darts.skeleton import DartsSkeleton


class AuxiliaryHead(nn.Module):
    """A second classifier, for training from scratch [code].

    `(B, c_in, H, W)` to `(B, num_classes)`. The 5x5 mean has stride 3 behind the CIFAR stem, where 32x32 images arrive
    as 8x8, and stride 2 behind the ImageNet stem, where 224x224 images arrive as 7x7; there the last batch norm is
    missing, as in the experiments of the DARTS paper.
    """

    def __init__(self, c_in: int, num_classes: int, stem: str) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, 3 if stem == "cifar" else 2),
            ConvBN(c_in, 128, 1),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768) if stem == "cifar" else nn.Identity(),
            nn.ReLU(),
        )
        self.head = nn.Linear(768, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


def auxiliary_layer(skeleton: DartsSkeleton) -> int:
    """Position of the cell that the auxiliary head reads."""
    if not skeleton.reductions:
        raise ValueError("an auxiliary head goes behind the last reduction cell, and the skeleton has none")
    layer, least = skeleton.reductions[-1], 8 if skeleton.stem == "cifar" else 7
    side = skeleton.cells[layer].out_side
    if side < least:
        raise ValueError(f"an auxiliary head needs {least}x{least} pixels, but {side}x{side} arrive; use larger images")
    return layer
