"""Average pools, on channels-last tensors; their gradients are functions of their own."""

from __future__ import annotations

import torch

from senas_bench.kernels.build import call, images


def pool(x: torch.Tensor) -> torch.Tensor:
    """3x3 average of `(B, C, H, W)` float32 at stride 1 that leaves padding out of the count; H and W from 2 up."""
    return _pool(x, "pool")


def _pool(x: torch.Tensor, name: str) -> torch.Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    out, line = torch.empty_like(x), x.new_empty(x.shape[3] * x.shape[1])
    call(name, *images(x), line, out)
    return out


def pool_backward(gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the input of `pool`, `(B, C, H, W)`."""
    return _pool(gradient, "pool_backward")


def halve(x: torch.Tensor) -> torch.Tensor:
    """2x2 average of `(B, C, H, W)` float32 at stride 2, H and W even."""
    batch, channels, height, width = x.shape
    out = torch.empty((batch, channels, height // 2, width // 2), dtype=x.dtype, memory_format=torch.channels_last)
    call("halve", x.contiguous(memory_format=torch.channels_last), *images(out)[1:], out)
    return out


def halve_backward(gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the input of `halve`."""
    batch, channels, height, width = gradient.shape
    out = torch.empty((batch, channels, 2 * height, 2 * width), dtype=gradient.dtype, memory_format=torch.channels_last)
    call("halve_backward", *images(gradient.contiguous(memory_format=torch.channels_last)), out)
    return out
