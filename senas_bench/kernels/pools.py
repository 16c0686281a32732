"""Average pools, on channels-last tensors; their gradients are functions of their own."""

from __future__ import annotations

import torch

from senas_bench.kernels.build import library


def pool(x: torch.Tensor) -> torch.Tensor:
    """3x3 average of `(B, C, H, W)` float32 at stride 1 that leaves padding out of the count; H and W from 2 up."""
    return _pool(x, "pool")


def _pool(x: torch.Tensor, name: str) -> torch.Tensor:
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    out, line = torch.empty_like(x), x.new_empty(width * channels)
    getattr(library(), name)(x.data_ptr(), batch, height, width, channels, line.data_ptr(), out.data_ptr())
    return out


def pool_backward(gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the input of `pool`, `(B, C, H, W)`."""
    return _pool(gradient, "pool_backward")


def halve(x: torch.Tensor) -> torch.Tensor:
    """2x2 average of `(B, C, H, W)` float32 at stride 2, H and W even."""
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    out = torch.empty((batch, channels, height // 2, width // 2), dtype=x.dtype, memory_format=torch.channels_last)
    library().halve(x.data_ptr(), batch, height // 2, width // 2, channels, out.data_ptr())
    return out


def halve_backward(gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the input of `halve`."""
    batch, channels, height, width = gradient.shape
    out = torch.empty((batch, channels, 2 * height, 2 * width), dtype=gradient.dtype, memory_format=torch.channels_last)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    library().halve_backward(gradient.data_ptr(), batch, height, width, channels, out.data_ptr())
    return out
