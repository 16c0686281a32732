"""The operators an edge can choose from."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from senas_bench.kernels.convolutions import Conv2d
from senas_bench.kernels.door import Node
from senas_bench.kernels.norms import batch_norm
from senas_bench.kernels.processor import multiplies_bfloat16


class ConvBN(nn.Sequential):
    """Convolution and batch norm; the ReLU before them is the caller's.

    NAS-Bench-201's operator is ReLU-Conv-BN. The cell rectifies each node once and hands the result
    to all convolutions that leave it, which is the same function with fewer passes over memory.

    Args:
        c_in, c_out: Channels.
        kernel: Kernel size; padding keeps the resolution at stride 1.
        affine: Whether the batch norm has weights.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, affine: bool = True) -> None:
        super().__init__(
            Conv2d(c_in, c_out, kernel, stride),
            nn.BatchNorm2d(c_out, affine=affine),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm: Any = self[1]
        return batch_norm(self[0](x), norm)


class ReductionBlock(nn.Module):
    """Residual block with stride 2: two ReLU-Conv3x3-BN beside AvgPool2-Conv1x1 [code: AutoDL-Projects].

    `(B, c_in, H, W)` to `(B, c_out, H/2, W/2)`.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = ConvBN(c_in, c_out, 3, stride=2)
        self.second = ConvBN(c_out, c_out, 3)
        self.shortcut = Conv2d(c_in, c_out, 1)

    def forward(self, x: Node, wanted: tuple[bool, bool] = (True, False)) -> Node:
        """`wanted`: whether the sum and the sum rectified will be read."""
        engine = x.engine
        _, inner = engine.combine([engine.operate(self.first, x.rectified())], [], False, True)
        shortcut = engine.convolve(self.shortcut, engine.halve(x.value))
        return Node(engine, *engine.combine([engine.operate(self.second, inner)], [shortcut], *wanted))


class AveragePool3x3(nn.Module):
    """3x3 average at stride 1 that leaves padding out of the count; no batch norm.

    On a CPU and from 8x8 up it runs as a depthwise convolution, whose border is then scaled up for the pixels that are
    missing there: the same values to rounding, up to three times faster than `avg_pool2d` on channels-last tensors in
    float32, and up to eight times in bfloat16 where the processor multiplies that.
    """

    ninth: torch.Tensor
    border: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("ninth", torch.full((channels, 1, 3, 3), 1 / 9), persistent=False)
        self.register_buffer("border", torch.ones(1, 1, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        if x.is_cuda or height < 8 or width < 2 or not _convolves(x.dtype):
            return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        if self.border.shape[2:] != (height, width):
            with torch.inference_mode(False):  # it is kept, and training must be able to use it later
                ones = torch.ones(1, 1, height, width, dtype=self.ninth.dtype)
                self.border = 1 / nn.functional.avg_pool2d(ones, 3, stride=1, padding=1)  # 9 over the pixels there
        return _DepthwiseAverage.apply(x, self.ninth, self.border.to(x.dtype))


def _convolves(dtype: torch.dtype) -> bool:
    """Whether a depthwise convolution keeps numbers of that type, and is fast with them."""
    if dtype == torch.bfloat16:
        return multiplies_bfloat16()
    return not torch.is_autocast_enabled("cpu")


class _DepthwiseAverage(torch.autograd.Function):
    """`conv2d(x, ninth) * border`, which is 1 inside: only the four sides are touched, and no activation is kept.

    1/9 is no number of bfloat16: there the convolution adds up, and its sums are divided.
    """

    @staticmethod
    def forward(context, x: torch.Tensor, ninth: torch.Tensor, border: torch.Tensor) -> torch.Tensor:
        half = x.dtype == torch.bfloat16
        weight = torch.ones_like(ninth, dtype=x.dtype) if half else ninth
        context.save_for_backward(weight, border)
        sums = nn.functional.conv2d(x, weight, padding=1, groups=x.shape[1])
        return _scale_sides(sums.div_(9) if half else sums, border)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        weight, border = context.saved_tensors
        scaled = _scale_sides(gradient / 9 if gradient.dtype == torch.bfloat16 else gradient.clone(), border)
        # of the input only the shape is read, which is that of the gradient
        return (
            torch.ops.aten.convolution_backward(
                scaled, scaled, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], len(weight), [True, False, False]
            )[0],
            None,
            None,
        )


def _scale_sides(x: torch.Tensor, border: torch.Tensor) -> torch.Tensor:
    """`x * border` in place, where `border` differs from 1."""
    for row in (0, -1):
        x[:, :, row] *= border[:, :, row]
        x[:, :, 1:-1, row] *= border[:, :, 1:-1, row]
    return x
