"""Convolutions of a few channels, which take torch longer than their arithmetic, and depthwise ones."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import nn

from senas_bench.kernels import pointwise
from senas_bench.kernels.build import call, images
from senas_bench.kernels.engines import limits, usable

VECTOR = 8
"""Channels that the convolutions go through at once."""
NARROW = 64
"""Channels up to which they take over from torch."""
MOST_PIXELS = 1024
"""Pixels of an image that they have room for, as there."""


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise `nn.Conv2d` without bias, whose weights' gradient is a loop of ours where `usable` says so.

    On a CPU torch takes up to thirty times as long for a 7x7 kernel on a few pixels, longer than all else in the layer.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kernel_size[0] in (3, 5, 7) and torch.is_grad_enabled() and usable(x):
            return _Depthwise.apply(x, self.weight, self.stride[0], self.padding[0], self.dilation[0])
        return super().forward(x)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        context, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int, dilation: int
    ) -> torch.Tensor:
        context.save_for_backward(x, weight)
        context.settings = stride, padding, dilation
        return nn.functional.conv2d(x, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = context.saved_tensors
        stride, padding, dilation = context.settings
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        dx = dw = None
        if context.needs_input_grad[0]:
            dx = _depthwise_input(gradient, x, weight, stride, padding, dilation)
        if context.needs_input_grad[1]:
            dw = _depthwise_backward(x, gradient, weight.shape[2], stride, padding, dilation)
        return dx, dw, None, None, None


def _depthwise_input(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int, dilation: int
) -> torch.Tensor:
    """Gradient of the input `(B, C, H, W)`.

    Where torch has no fast code for it, the same sums are a convolution by the turned kernel of what comes back, with
    zeros between where the stride is above 1: for a dilated kernel in a fifth to a fifteenth of the time (Zen 4).
    """
    same = 2 * padding == dilation * (weight.shape[2] - 1)
    if not same or (stride > 1 and dilation == 1):
        sides = ([stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], len(weight), [True, False, False])
        return torch.ops.aten.convolution_backward(gradient, x, weight, None, *sides)[0]
    if stride > 1:
        spread = torch.zeros_like(x)
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    return nn.functional.conv2d(gradient, weight.flip(2, 3), None, 1, padding, dilation, len(weight))


def _depthwise_backward(
    x: torch.Tensor, gradient: torch.Tensor, kernel: int, stride: int, padding: int, dilation: int
) -> torch.Tensor:
    _, *sizes = images(x)
    line, part = x.new_zeros((x.shape[3] + 2 * padding) * x.shape[1]), x.new_empty(kernel * kernel * x.shape[1])
    dw = x.new_zeros((kernel, kernel, x.shape[1]))
    how = *gradient.shape[2:], kernel, stride, padding, dilation
    call("depthwise_backward", x, gradient, *sizes, *how, line, part, dw)
    return dw.permute(2, 0, 1).unsqueeze(1).contiguous()


class Conv2d(nn.Conv2d):
    """A square `nn.Conv2d` with padding `kernel // 2` and without bias.

    A loop of ours where `usable` says so, the layer is narrow and its images are small. There are no gradients of its
    gradients.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
        self._narrow = c_out % VECTOR == 0 and max(c_in, c_out) <= NARROW and kernel % 2 == 1

    def by_loops(self, x: torch.Tensor) -> bool:
        """Whether the loops take it, if they are `usable` for `x` `(B, C, H, W)`."""
        if not self._narrow or x.dim() != 4:
            return False
        _, channels, height, width = x.shape
        stride = self.stride[0]
        return (
            channels == self.in_channels
            and self.weight.dtype == torch.float32
            and 0 < height * width <= MOST_PIXELS
            and channels * height * width <= limits().convolutions
            and height % stride == width % stride == 0
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.by_loops(x) or not usable(x):
            return pointwise.convolve(self, x)
        if torch.is_grad_enabled():
            return _Convolution.apply(x, self.weight, self.stride[0])
        return convolve(x, self.weight, self.stride[0])


def bare(layer: nn.Module) -> TypeGuard[Conv2d]:
    """Whether a layer is a `Conv2d` with a weight of its own and no hooks, so that nobody misses its call."""
    return type(layer) is Conv2d and "weight" in layer._parameters and not hooked(layer)


def hooked(module: nn.Module) -> bool:
    """Whether somebody wants to be told when a module is called."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context, x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        context.save_for_backward(x, weight)
        context.stride = stride
        return convolve(x, weight, stride)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = context.saved_tensors
        dx, dw = convolution_backward(gradient, x, weight, context.stride, True, *context.needs_input_grad[:2])
        return dx, dw, None


def convolution_backward(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    by_loops: bool,
    for_x: bool,
    for_weight: bool,
    dx: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Gradients of the input `(B, C_in, H, W)` and the weights of a `Conv2d`, from that of its output.

    Args:
        by_loops: What the layer's `by_loops` says of `x`; torch does it otherwise.
        for_x, for_weight: Which are asked for; the other is None.
        dx: To add the gradient of the input to, in place; it is returned then.
    """
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    x_by_loops = by_loops and x.shape[1] % VECTOR == 0
    rest = [for_x and not x_by_loops, for_weight and not by_loops, False]
    more: Any = None
    dw = None
    if rest[0] or rest[1]:
        sides = ([stride] * 2, [weight.shape[2] // 2] * 2, [1, 1], False, [0, 0], 1, rest)
        more, dw, _ = torch.ops.aten.convolution_backward(gradient, x, weight, None, *sides)
    if for_x and x_by_loops:
        dx = _convolve_input(gradient, x, weight, stride, dx)
    elif for_x:
        dx = more if dx is None else dx.add_(more)
    if for_weight and by_loops:
        dw = _convolve_weights(x, gradient, weight, stride)
    return dx, dw


def convolve(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """What a `Conv2d` that goes `by_loops` makes of `x` `(B, C, H, W)`, without gradients."""
    batch, channels, height, width = x.shape
    c_out, _, kernel, _ = weight.shape
    out = made_of(x, c_out, stride)
    call("convolve", x, batch, height, width, channels, *dense(weight), c_out, kernel, stride, False, False, out)
    return out


def made_of(x: torch.Tensor, c_out: int, stride: int) -> torch.Tensor:
    """Room for what a convolution makes of `x` `(B, C, H, W)`."""
    batch, channels, height, width = x.shape
    if stride == 1 and c_out == channels:
        return torch.empty_like(x)
    shape = (batch, c_out, height // stride, width // stride)
    return torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last)


def _convolve_input(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, dx: torch.Tensor | None
) -> torch.Tensor:
    batch, channels, height, width = x.shape
    c_out, _, kernel, _ = weight.shape
    add = dx is not None
    if dx is None:
        dx = torch.empty_like(x, memory_format=torch.channels_last)
    sizes = batch, height, width, channels, *dense(weight), c_out, kernel, stride
    call("convolve_input", gradient, *sizes, add, dx)
    return dx


def _convolve_weights(x: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    batch, channels, height, width = x.shape
    c_out, _, kernel, _ = weight.shape
    weight, last = dense(weight)
    dw = torch.empty_like(weight)
    call("convolve_weights", x, gradient, batch, height, width, channels, last, c_out, kernel, stride, dw)
    return dw


def dense(weight: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """A weight without gaps, and whether it is channels-last."""
    if weight.is_contiguous():
        return weight, False
    return weight.contiguous(memory_format=torch.channels_last), True
