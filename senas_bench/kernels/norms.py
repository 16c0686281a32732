"""Batch norm, sums and ReLU in one pass, on channels-last tensors.

torch reads a tensor four times to normalise it, and again for each sum and each ReLU. These read it twice in all, and
twice on the way back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from senas_bench.kernels.build import call
from senas_bench.kernels.engines import usable

WIDEST = 2048
"""Channels that the C code has room for, as there."""
MOST = 3
"""Tensors that it adds."""
FACTORS = 5
"""Rows of what it keeps of a batch norm: scale, shift, mean, inverse deviation, variance."""
SMALLEST = 20_000
"""Elements from which on single norms gain in training: below, torch's own functions cost less to call."""


def can_normalise(z: torch.Tensor, norm: nn.BatchNorm2d) -> bool:
    """Whether `normalise` and `combine` do to `z` `(B, C, H, W)` what `norm` does: by the statistics of the batch."""
    return norm.training and fits(z, norm) and worth_it(z.numel()) and usable(z)


def fits(z: torch.Tensor, norm: nn.BatchNorm2d) -> bool:
    """Whether torch would take `z` `(B, C, H, W)`, and the norm's tensors are as the loops read them."""
    several = z.dim() == 4 and z.shape[0] * z.shape[2] * z.shape[3] > 1
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    plain = all(t is None or (t.dtype == torch.float32 and t.is_contiguous()) for t in tensors)
    return several and z.shape[1] == norm.num_features <= WIDEST and plain


def worth_it(elements: int) -> bool:
    """Whether tensors of so many elements are faster here: all without gradients, large ones with them."""
    return elements >= SMALLEST or not torch.is_grad_enabled()


class Normalised(NamedTuple):
    """A tensor `(B, C, H, W)` and what its batch norm would do to it.

    Args:
        factors: `(FACTORS, C)`.
        weight, bias: `(C,)` of the batch norm, or None; already part of the factors, here for their gradients.
        share: A number that all is multiplied by, or None; likewise.
    """

    z: torch.Tensor
    factors: torch.Tensor
    weight: torch.Tensor | None
    bias: torch.Tensor | None
    share: torch.Tensor | None = None

    def times(self, share: torch.Tensor) -> Normalised:
        """It, multiplied by a number."""
        factors = self.factors.clone()
        factors[:2] *= share
        return self._replace(factors=factors, share=share)

    def gradients(self, slope: torch.Tensor, total: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Its weight, bias and share, where there are such, each with its gradient.

        Args:
            slope, total: What `combine_backward` says of weight and bias, without the share.
        """
        weight, bias, share = self.weight, self.bias, self.share
        if weight is None or bias is None:
            if share is not None:
                yield share, slope.sum()
        elif share is None:
            yield weight, slope
            yield bias, total
        else:
            yield weight, slope * share
            yield bias, total * share
            yield share, (slope * weight + total * bias).sum()


def normalise(z: torch.Tensor, norm: nn.BatchNorm2d) -> Normalised:
    """`z` `(B, C, H, W)` float32 by its own statistics, which the running ones of `norm` take in if it keeps such."""
    z = z.contiguous(memory_format=torch.channels_last)
    channels = z.shape[1]
    factors = torch.empty((FACTORS, channels), dtype=torch.float32)
    weight, bias, *how = _memory(norm)
    call("statistics", z, z.numel() // channels, channels, norm.eps, weight, bias, *how, factors)
    return Normalised(z, factors, weight, bias)


def _memory(norm: nn.BatchNorm2d) -> tuple[Any, ...]:
    """Weight and bias; the share of a batch in the running mean and variance, and these, where the norm keeps such."""
    weights, buffers = norm._parameters, norm._buffers  # past the search of a module for a name
    weight, bias, share = weights["weight"], weights["bias"], norm.momentum
    if not norm.track_running_stats:
        return weight, bias, 0.0, None, None
    batches: Any = buffers["num_batches_tracked"]
    batches.add_(1)
    return weight, bias, 1 / float(batches) if share is None else share, buffers["running_mean"], buffers["running_var"]


def batch_norm(
    z: torch.Tensor, norm: nn.BatchNorm2d, plain: torch.Tensor | None = None, cap: float | None = None
) -> torch.Tensor:
    """`norm(z)`, by the loops where they can.

    Args:
        plain: Is added.
        cap: The result is held between 0 and it.
    """
    if can_normalise(z, norm):
        end = math.inf if cap is None else cap
        outputs = combine([normalise(z, norm)], [] if plain is None else [plain], cap is None, cap is not None, end)
        return outputs[cap is not None]
    out = norm(z) if plain is None else plain + norm(z)
    return out if cap is None else nn.functional.hardtanh_(out, 0, cap)


Outputs = tuple[Any, Any]
"""A sum, and the sum rectified: `(B, C, H, W)`, or None where nobody asked for it."""


def combine(
    normalised: Sequence[Normalised], plain: Sequence[torch.Tensor], value: bool, rect: bool, cap: float = math.inf
) -> Outputs:
    """The sum of all, which have one shape `(B, C, H, W)`, and the sum rectified; each if asked for, else None.

    Args:
        cap: Where the rectified sum ends: 6 for ReLU6.

    Raises:
        ValueError: More than `MOST` tensors, or of different shapes.
    """
    columns = list(zip(*normalised, strict=True)) or [()] * 5
    zs, factors, weights, biases, _ = columns
    if torch.is_grad_enabled():
        return _Combine.apply(factors, value, rect, cap, *zs, *weights, *biases, *plain)
    return _combine(zs, factors, plain, value, rect, cap)


def _combine(
    zs: Sequence[torch.Tensor],
    factors: Sequence[torch.Tensor],
    plain: Sequence[torch.Tensor],
    value: bool,
    rect: bool,
    cap: float,
) -> Outputs:
    plain = [tensor.contiguous(memory_format=torch.channels_last) for tensor in plain]
    tensors = (*zs, *plain)
    like = tensors[0]
    channels = like.shape[1]
    if len(tensors) > MOST or channels > WIDEST or any(tensor.shape != like.shape for tensor in tensors):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ValueError(f"cannot add tensors of shapes {shapes}: at most {MOST} of one shape, of {WIDEST} channels")
    outputs = [torch.empty_like(like) if wanted else None for wanted in (value, rect)]
    rows = like.numel() // channels
    call("combine", len(zs), zs, factors, len(plain), plain, rows, channels, cap, *outputs)
    return outputs[0], outputs[1]


class _Combine(torch.autograd.Function):
    """`combine` with gradients: for the tensors before batch norm, its weights and biases, and the plain tensors."""

    @staticmethod
    def forward(context, factors, value: bool, rect: bool, cap: float, *tensors: Any) -> Outputs:
        count = len(factors)
        zs, plain = tensors[:count], tensors[3 * count :]
        outputs = _combine(zs, factors, plain, value, rect, cap)
        context.set_materialize_grads(False)
        context.save_for_backward(outputs[1], *zs)
        context.factors, context.cap, context.plain = factors, cap, len(plain)
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, dvalue: torch.Tensor | None, drect: torch.Tensor | None) -> tuple[Any, ...]:
        rect, *zs = context.saved_tensors
        count = len(zs)
        if dvalue is None and drect is None:
            return (None,) * (4 + 3 * count + context.plain)
        back, sums, total = combine_backward(zs, context.factors, rect, dvalue, drect, context.cap, context.plain > 0)
        wanted = context.needs_input_grad[4 + count : 4 + 3 * count]
        weights = [sums[i % count, i // count] if needed else None for i, needed in enumerate(wanted)]
        return None, None, None, None, *back, *weights, *[total] * context.plain


def combine_backward(
    zs: Sequence[torch.Tensor],
    factors: Sequence[torch.Tensor],
    rect: torch.Tensor | None,
    dvalue: torch.Tensor | None,
    drect: torch.Tensor | None,
    cap: float,
    plain: bool,
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor | None]:
    """Gradients of `combine`, from what comes back for the sum, for the sum rectified, or for both.

    Args:
        rect: What `combine` made.
        plain: Whether plain tensors are part of the sum.

    Returns:
        Those of the tensors before batch norm; `(n, 2, C)` of their batch norms' weight and bias; and of each plain
        tensor. The last may be what came back itself.
    """
    given = [None if back is None else back.contiguous(memory_format=torch.channels_last) for back in (dvalue, drect)]
    total: Any = given[0] if given[1] is None else given[1]
    elements, channels = total.numel(), total.shape[1]
    kept = drect is not None and (plain or len(zs) > 1)
    if kept:
        total = torch.empty_like(total)
    back = [torch.empty_like(z) for z in zs]
    sums = torch.empty((len(zs), 2, channels), dtype=torch.float32)
    out = cap, total if kept else None, back, sums
    call("combine_backward", len(zs), zs, factors, *given, rect, elements // channels, channels, *out)
    return back, sums, total
