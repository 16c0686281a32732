"""A pass by the loops: written down while the network runs and done in one call, as is the way back over it.

To call a small loop from Python takes longer than the loop, and autograd keeps a node for each operation. Here a whole
pass is one call and one node, and what comes back is added up in place.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn

from senas_bench.kernels.build import library
from senas_bench.kernels.convolutions import bare, dense, hooked, made_of
from senas_bench.kernels.door import Torch
from senas_bench.kernels.norms import FACTORS, MOST, Outputs

ONCE = "the loops go back only once; run the network again, or without them (SENAS_COMPILE=0)"
CONVOLVE, NORMALISE, WEIGH, COMBINE, TIMES, POOL, HALVE, AVERAGE = range(8)
"""Kinds of records, as in `loops.c`."""
LONGS = 400
"""Of records after which a pass without a way back is done so far: what it needs no more is free to be used again."""


def recordable(module: nn.Module) -> bool:
    """Whether a tape knows the way back through a convolution, or one with its batch norm: a `Conv2d` with a weight of
    its own, a norm in training, and no hooks."""
    if isinstance(module, nn.Sequential):
        return not hooked(module) and all(map(recordable, module))
    if isinstance(module, nn.Conv2d):
        return bare(module)
    return not hooked(module) and (module.training or not isinstance(module, nn.BatchNorm2d))


class Normalised(NamedTuple):
    """A tensor `(B, C, H, W)` and what its batch norm does to it, `factors`, for `COMBINE`, which reads `words`."""

    z: torch.Tensor
    factors: torch.Tensor
    words: tuple[int, ...]


class Tape(Torch):
    """Writes down what is asked; tensors are filled when `average`, the end of a pass, is asked.

    Args:
        back: Whether there will be a way back, once. Nothing has a gradient that enters from outside, layers are
            `recordable` and go `by_loops`, and weights and images must not change before the way back. Without one
            torch takes the convolutions that do not go by loops.
    """

    def __init__(self, back: bool = True) -> None:
        self.back = back
        self.weights: list[torch.Tensor] = []
        """The parameters and shares that were used, each once."""
        self._code: list[int] = []
        self._done = array("q")
        self._kept: list[Any] = []  # what the code points at
        self._tensors: dict[int, int] = {}  # by their id, those that something comes back for: their number
        self._numbers: dict[int, int] = {}  # of weights, likewise
        self._output = -1

    def operate(self, module: nn.Sequential, x: torch.Tensor) -> Normalised:
        layers: Any = module._modules.values()  # past the search of a module for a name
        layer, norm = layers
        return self.normalise(self.convolve(layer, x), norm)

    def convolve(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        if not self.back and not (bare(layer) and layer.by_loops(x)):
            self.do()
            return layer(x).contiguous(memory_format=torch.channels_last)
        weight: Any = layer._parameters["weight"]
        values, last = dense(weight)
        stride, c_out, kernel = layer.stride[0], layer.out_channels, layer.kernel_size[0]
        z = made_of(x, c_out, stride)
        batch, channels, height, width = x.shape
        how = values.data_ptr(), last, c_out, kernel, stride, z.data_ptr()
        numbers = self._tensors.get(id(x), -1), self._made(z), self._weight(weight)
        self._code += (CONVOLVE, 16, x.data_ptr(), batch, height, width, channels, *how, *numbers)
        self._kept += (x, values, z)
        return z

    def normalise(self, z: torch.Tensor, norm: nn.BatchNorm2d) -> Normalised:
        z = z.contiguous(memory_format=torch.channels_last)
        weights, buffers, share = norm._parameters, norm._buffers, norm.momentum
        gamma, beta, mean, variance = weights["weight"], weights["bias"], None, None
        batches: Any = None
        if norm.track_running_stats:
            mean, variance, batches = buffers["running_mean"], buffers["running_var"], buffers["num_batches_tracked"]
            if share is None:
                batches.add_(1)
                share, batches = 1 / float(batches), None
        place, channels = z.data_ptr(), z.shape[1]
        factors = torch.empty((FACTORS, channels), dtype=torch.float32)
        learned = _place(gamma), _place(beta)
        memory = _bits(norm.eps), *learned, _bits(share or 0.0), _place(mean), _place(variance)
        made = factors.data_ptr()
        self._code += (NORMALISE, 13, place, z.numel() // channels, channels, *memory, made, _place(batches))
        self._kept += (z, factors)
        numbers = self._tensors.get(id(z), -1), self._weight(gamma), self._weight(beta), -1
        return Normalised(z, factors, (place, made, *learned, 0, *numbers))

    def weigh(self, output: Normalised | torch.Tensor, share: torch.Tensor) -> Normalised | torch.Tensor:
        place, number = share.data_ptr(), self._weight(share)
        self._kept.append(share)
        if isinstance(output, Normalised):
            factors, words = torch.empty_like(output.factors), output.words
            made = factors.data_ptr()
            self._code += (WEIGH, 6, words[1], place, made, factors.shape[1])
            self._kept.append(factors)
            return Normalised(output.z, factors, (words[0], made, *words[2:4], place, *words[5:8], number))
        out = torch.empty_like(output)
        numbers = self._tensors.get(id(output), -1), self._made(out), number
        self._code += (TIMES, 9, output.data_ptr(), place, out.data_ptr(), out.numel(), *numbers)
        self._kept += (output, out)
        return out

    def combine(
        self, normalised: Sequence[Normalised], plain: Sequence[torch.Tensor], value: bool, rect: bool
    ) -> Outputs:
        plain = [tensor.contiguous(memory_format=torch.channels_last) for tensor in plain]
        tensors = [*(each.z for each in normalised), *plain]
        like = tensors[0]
        if len(tensors) > MOST or any(tensor.shape != like.shape for tensor in tensors):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ValueError(f"cannot add tensors of shapes {shapes}: at most {MOST} of one shape")
        outputs = [torch.empty_like(like) if wanted else None for wanted in (value, rect)]
        numbers = [-1 if output is None else self._made(output) for output in outputs]
        channels, sizes = like.shape[1], (len(normalised), len(plain))
        words = [word for each in normalised for word in each.words]
        for tensor in plain:
            words += (tensor.data_ptr(), self._tensors.get(id(tensor), -1))
        places = _place(outputs[0]), _place(outputs[1])
        self._code += (COMBINE, 10 + len(words), *sizes, like.numel() // channels, channels, *places, *numbers, *words)
        self._kept += (*tensors, *outputs, *(each.factors for each in normalised))
        if not self.back and len(self._code) > LONGS:
            self.do()
        return outputs[0], outputs[1]

    def pool(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return self._pooled(POOL, x, torch.empty_like(x))

    def halve(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        shape = batch, channels, height // 2, width // 2
        return self._pooled(HALVE, x, torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last))

    def _pooled(self, kind: int, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = out.shape
        numbers = self._tensors.get(id(x), -1), self._made(out)
        self._code += (kind, 10, x.data_ptr(), batch, height, width, channels, out.data_ptr(), *numbers)
        self._kept += (x, out)
        return out

    def average(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        out = torch.empty((batch, channels), dtype=x.dtype)
        numbers = self._tensors.get(id(x), -1), self._made(out)
        self._code += (AVERAGE, 9, x.data_ptr(), batch, height * width, channels, out.data_ptr(), *numbers)
        self._kept += (x, out)
        self._output = numbers[1]
        self.do()
        return out

    def do(self) -> None:
        """All that was asked so far."""
        loops: Any = library()
        code, self._code = array("q", self._code), []
        loops.go(code.buffer_info()[0], len(code))
        if self.back:
            self._done.extend(code)
        else:
            self._kept.clear()

    def backward(self, gradient: torch.Tensor, wanted: Sequence[bool] | None = None) -> list[torch.Tensor | None]:
        """Gradients of `weights`, from that of the `average`, `(B, C)`; None where it does not depend on one.

        Args:
            wanted: Which of them are asked for, all by default. No others are computed.
        """
        loops: Any = library()
        asked, gradient = wanted or [True] * len(self.weights), gradient.contiguous()
        found = [torch.empty_like(w) if yes else None for w, yes in zip(self.weights, asked, strict=True)]
        places = array("q", map(_place, found))
        code, flags = self._done, array("b", bytes(len(found) + 1))
        given = gradient.data_ptr(), gradient.numel(), places.buffer_info()[0], flags.buffer_info()[0]
        loops.go_back(code.buffer_info()[0], len(code), len(self._tensors), self._output, *given)
        self._kept.clear()
        return [gradient if flag else None for gradient, flag in zip(found, flags, strict=False)]

    def _made(self, tensor: torch.Tensor) -> int:
        """The number of a tensor of this pass; it is kept alive, so that no other has its id."""
        return self._tensors.setdefault(id(tensor), len(self._tensors)) if self.back else -1

    def _weight(self, weight: torch.Tensor | None) -> int:
        if weight is None or not self.back:
            return -1
        number = self._numbers.setdefault(id(weight), len(self.weights))
        if number == len(self.weights):
            self.weights.append(weight)
        return number


@cache
def _bits(number: float) -> int:
    """Of a double, as a whole number."""
    return struct.unpack("q", struct.pack("d", number))[0]


def _place(tensor: torch.Tensor | None) -> int:
    """In memory; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def run(body: Callable[[Torch], torch.Tensor], x: torch.Tensor, by_loops: bool) -> torch.Tensor:
    """What `body` makes of an engine and of images `x` `(B, C, H, W)`: an `average`, `(B, C)`.

    Args:
        by_loops: Whether the loops do it. The weights have gradients then, where they are on; `x` has none.
    """
    if not by_loops:
        return body(Torch())
    if not torch.is_grad_enabled():
        return body(Tape(back=False))
    tape = Tape()
    with torch.no_grad():
        output = body(tape)
    return _Recorded.apply(tape, output, x, *tape.weights)


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, tape: Tape, output: torch.Tensor, x: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        context.save_for_backward(x, *weights)  # the tape has them; so torch notices when they are changed in place
        context.tape = tape
        return output.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _ = context.saved_tensors
        tape, context.tape = context.tape, None
        if tape is None:
            raise RuntimeError(ONCE)
        return None, None, None, *tape.backward(gradient, context.needs_input_grad[3:])
