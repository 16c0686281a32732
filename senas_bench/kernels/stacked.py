"""Several archs in one pass: their images follow each other in one tensor, so that each operation is launched once.

A GPU waits for the processor that tells it what to do, not for its own arithmetic, where an arch has a few small
layers. A row is the images of one arch, or of several where they agree so far.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from senas_bench.kernels.door import Torch


class RowStatistics:
    """Of each row of each batch norm, the average mean and unbiased variance over the batches that were seen."""

    def __init__(self) -> None:
        self._sums: dict[nn.Module, list[torch.Tensor]] = {}
        self._batches: dict[nn.Module, int] = {}

    def see(self, norm: nn.Module, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """One more batch: `(rows, 1, C)` each. A norm sees the same rows in each batch."""
        kept = self._sums.get(norm)
        self._sums[norm] = [mean, variance] if kept is None else [kept[0] + mean, kept[1] + variance]
        self._batches[norm] = self._batches.get(norm, 0) + 1

    def of(self, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """`(rows, 1, C)` mean and variance."""
        mean, variance = (part / self._batches[norm] for part in self._sums[norm])
        return mean, variance


class Stacked(Torch):
    """torch on tensors `(rows * images, C, H, W)` in channels-last; batch norm takes each row for itself. No gradients.

    A norm in training mode uses the statistics of the batch, one in evaluation mode its running ones, or `kept`.

    Args:
        images: Of a row.
        kept: Statistics in place of the running ones.
        learn: Use those of the batch, and show them to `kept`.
    """

    def __init__(self, images: int, kept: RowStatistics | None = None, learn: bool = False) -> None:
        self.images, self.kept, self.learn = images, kept, learn

    def operate(self, module: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        layers: Any = module
        convolution, norm = layers
        return self.normalise(convolution(x), norm)

    def normalise(self, z: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
        if self.kept is None and not norm.training:
            return norm(z)
        pixels = z.permute(0, 2, 3, 1)
        values = pixels.reshape(len(z) // self.images, -1, z.shape[1])
        mean, variance = self._statistics(values, norm)
        scale = (variance + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
        out = torch.empty_like(values)  # given, it is written at once in its own type
        torch.addcmul(shift, values, scale, out=out)
        return out.view(pixels.shape).permute(0, 3, 1, 2)

    def _statistics(self, values: torch.Tensor, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
        """`(rows, 1, C)` mean and variance, of `values` `(rows, n, C)`."""
        if self.kept is not None and not self.learn:
            return self.kept.of(norm)
        variance, mean = _variance_and_mean(values)
        if self.kept is not None:
            count = values.shape[1]
            self.kept.see(norm, mean, variance * (count / (count - 1)))
        return mean, variance

    def take(self, x: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """Some rows, in the order of `rows` `(n,)`; all without."""
        return x if rows is None else self._apart(x).index_select(0, rows).flatten(0, 1).permute(0, 3, 1, 2)

    def zeros(self, like: torch.Tensor, rows: int) -> torch.Tensor:
        """Of so many rows."""
        _, channels, height, width = like.shape
        return like.new_zeros((rows * self.images, height, width, channels)).permute(0, 3, 1, 2)

    def add(self, total: torch.Tensor, rows: torch.Tensor | None, x: torch.Tensor) -> None:
        """Add to some rows of `total`, in place, those of `x`; to all without `rows`."""
        if rows is None:
            total.add_(x)
        else:
            self._apart(total).index_add_(0, rows, self._apart(x).to(total.dtype))

    def _apart(self, x: torch.Tensor) -> torch.Tensor:
        """`(rows, images, H, W, C)`, a view."""
        return x.permute(0, 2, 3, 1).unflatten(0, (-1, self.images))


def _variance_and_mean(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`(rows, 1, C)` float32 each, of `values` `(rows, n, C)`, without a copy of them in float32."""
    if values.dtype == torch.float32:
        return torch.var_mean(values, 1, correction=0, keepdim=True)
    mean = values.mean(1, keepdim=True, dtype=torch.float32)
    length = torch.linalg.vector_norm(values, dim=1, keepdim=True, dtype=torch.float32)
    return (length.square() / values.shape[1] - mean.square()).clamp_min(0), mean
