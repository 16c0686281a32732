"""Strided 1x1 convolutions, past a fault of the library with which torch convolves on x86 CPUs.

For the gradient of their weights oneDNN gathers the pixels that are read. Of channels-last images with fewer channels
than a register has lanes it writes behind the room for that (its issue 6035; torch 2.14 has it): a crash, a hang or a
wrong gradient.
"""

from __future__ import annotations

import torch
from torch import nn

from senas_bench.kernels.processor import lanes

SINGLE = 512
"""Pixels that the code for 16 lanes gathers at once; a first lot is always in place."""


class PointConv2d(nn.Conv2d):
    """A 1x1 `nn.Conv2d` without padding and bias."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__(c_in, c_out, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return convolve(self, x)


def convolve(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """`nn.Conv2d.forward` of a layer without padding where it is 1x1; with a right gradient."""
    if not _misplaced(layer, x):
        return nn.Conv2d.forward(layer, x)
    high, wide = layer.stride
    read = x[:, :, ::high, ::wide].contiguous(memory_format=torch.channels_last)
    return nn.functional.conv2d(read, layer.weight, layer.bias)


def _misplaced(layer: nn.Conv2d, x: torch.Tensor) -> bool:
    """Whether the pixels that the layer reads may be gathered in the wrong place.

    Where not, they are left to torch: to copy them first would round the sums in another order.
    """
    if layer.kernel_size != (1, 1) or layer.stride == (1, 1) or x.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    if x.dim() != 4 or layer.in_channels >= lanes():
        return False
    pixels = -(-x.shape[2] // layer.stride[0]) * -(-x.shape[3] // layer.stride[1])
    return lanes() == 8 or torch.get_num_threads() > 1 or pixels > SINGLE
