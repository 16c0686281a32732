"""What a forward pass through the loops did, and the way back over it.

Autograd keeps a node for each operation, which for convolutions of a few channels costs as much as they do. Here a
whole pass is one node, and what comes back is added up in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from senas_bench.kernels import norms, pools
from senas_bench.kernels.convolutions import Conv2d, bare, convolution_backward, convolve, hooked
from senas_bench.kernels.door import Loops, Torch

ONCE = "the loops go back only once; run the network again, or without them (SENAS_COMPILE=0)"


def recordable(module: nn.Module) -> bool:
    """Whether a tape knows the way back through a convolution, or one with its batch norm: a `Conv2d` with a weight of
    its own, and no hooks."""
    if isinstance(module, nn.Sequential):
        return not hooked(module) and all(map(recordable, module))
    return bare(module) if isinstance(module, nn.Conv2d) else not hooked(module)


class Tape(Loops):
    """Does the same and remembers it, for one way back.

    What enters from outside has no gradient. Layers are `recordable`. Weights and images must not change before the way
    back.
    """

    def __init__(self) -> None:
        self._weights: dict[int, torch.Tensor] = {}
        self._steps: list[Callable[[Tape], None]] = []  # none holds the tape, or only a collector would free it
        self._wanted: set[int] = set()
        self._inside: set[int] = set()  # tensors made here, by their id; a step keeps each alive
        self._gradients: dict[int, torch.Tensor] = {}
        self._writable: set[int] = set()  # those of them whose gradient nothing else holds

    @property
    def weights(self) -> list[torch.Tensor]:
        """The parameters and shares that were used, each once."""
        return list(self._weights.values())

    def operate(self, module: nn.Sequential, x: torch.Tensor) -> norms.Normalised:
        layers: Any = module._modules.values()
        layer, norm = layers
        if not layer.by_loops(x):
            return self.normalise(self.convolve(layer, x), norm)
        made = norms.operate(x, layer, norm)
        self._convolved(layer, x, made.z, True)
        return self._normalised(made)

    def convolve(self, layer: Conv2d, x: torch.Tensor) -> torch.Tensor:
        by_loops = layer.by_loops(x)
        z = convolve(x, layer.weight, layer.stride[0]) if by_loops else super().convolve(layer, x)
        return self._convolved(layer, x, z, by_loops)

    def _convolved(self, layer: Conv2d, x: torch.Tensor, z: torch.Tensor, by_loops: bool) -> torch.Tensor:
        weight, stride, for_x = layer.weight, layer.stride[0], id(x) in self._inside

        def back(tape: Tape) -> None:
            gradient = tape._take(z)
            if gradient is None:
                return
            sum_ = tape._gradients[id(x)] if id(x) in tape._writable else None
            for_weight = id(weight) in tape._wanted
            dx, dw = convolution_backward(gradient, x, weight, stride, by_loops, for_x, for_weight, sum_)
            if for_weight:
                tape._add(weight, dw)
            if for_x and sum_ is None:
                tape._add(x, dx, writable=True)

        self._weights[id(weight)] = weight
        return self._remember(back, z)

    def normalise(self, z: torch.Tensor, norm: nn.BatchNorm2d) -> norms.Normalised:
        return self._normalised(super().normalise(z, norm))

    def _normalised(self, made: norms.Normalised) -> norms.Normalised:
        if made.weight is not None and made.bias is not None:
            self._use(made.weight, made.bias)
        return made

    def weigh(self, output: norms.Normalised | torch.Tensor, share: torch.Tensor) -> norms.Normalised | torch.Tensor:
        made: Any = super().weigh(output, share)
        self._use(share)
        if isinstance(output, norms.Normalised):
            return made

        def back(tape: Tape) -> None:
            gradient = tape._take(made)
            if gradient is not None:
                tape._add(share, (gradient * output).sum())
                tape._add(output, gradient * share, writable=True)

        return self._remember(back, made)

    def combine(
        self, normalised: Sequence[norms.Normalised], plain: Sequence[torch.Tensor], value: bool, rect: bool
    ) -> norms.Outputs:
        outputs = super().combine(normalised, plain, value, rect)
        zs, factors = [each.z for each in normalised], [each.factors for each in normalised]

        def back(tape: Tape) -> None:
            value, rect = (None if output is None else tape._take(output) for output in outputs)
            if value is None and rect is None:
                return
            dzs, sums, total = norms.combine_backward(zs, factors, outputs[1], value, rect, math.inf, bool(plain))
            for i, (each, dz) in enumerate(zip(normalised, dzs, strict=True)):
                tape._add(each.z, dz, writable=True)
                if each.weight is not None or each.share is not None:
                    for weight, gradient in each.gradients(sums[i, 0], sums[i, 1]):
                        tape._add(weight, gradient)
            for each in plain:
                tape._add(each, total)

        self._inside.update(id(output) for output in outputs if output is not None)
        self._steps.append(back)
        return outputs

    def pool(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return self._linear(x, super().pool(layer, x), pools.pool_backward)

    def halve(self, x: torch.Tensor) -> torch.Tensor:
        return self._linear(x, super().halve(x), pools.halve_backward)

    def backward(
        self, output: torch.Tensor, gradient: torch.Tensor, wanted: Sequence[bool] | None = None
    ) -> list[torch.Tensor | None]:
        """Gradients of `weights`, from that of an output of the tape; None where the output does not depend on one.

        Args:
            wanted: Which of them are asked for, all by default. Of convolutions no others are computed.

        Raises:
            RuntimeError: It went back before.
        """
        steps, self._steps = self._steps, []
        if not steps:
            raise RuntimeError(ONCE)
        asked = wanted or [True] * len(self._weights)
        self._wanted = {key for key, asked in zip(self._weights, asked, strict=True) if asked}
        self._add(output, gradient)
        while steps:
            steps.pop()(self)
        gradients = [self._gradients.get(key) for key in self._weights]
        self._gradients.clear()
        return gradients

    def _linear(
        self, x: torch.Tensor, out: torch.Tensor, backward: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        def back(tape: Tape) -> None:
            gradient = tape._take(out)
            if gradient is not None:
                tape._add(x, backward(gradient), writable=True)

        return self._remember(back, out)

    def _remember(self, back: Callable[[Tape], None], made: torch.Tensor) -> torch.Tensor:
        self._inside.add(id(made))
        self._steps.append(back)
        return made

    def _use(self, *weights: torch.Tensor) -> None:
        for weight in weights:
            self._weights[id(weight)] = weight

    def _take(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """What came back for a tensor, all of it: what reads the tensor was done after it, and so is gone back over."""
        self._writable.discard(id(tensor))
        return self._gradients.pop(id(tensor), None)

    def _add(self, tensor: torch.Tensor, gradient: Any, writable: bool = False) -> None:
        """`writable`: whether nothing else holds `gradient`."""
        key = id(tensor)
        earlier = self._gradients.get(key)
        if earlier is None:
            self._gradients[key] = gradient
        else:
            self._gradients[key] = earlier.add_(gradient) if key in self._writable else earlier + gradient
        if writable or earlier is not None:
            self._writable.add(key)


def run(body: Callable[[Torch], torch.Tensor], x: torch.Tensor, by_loops: bool) -> torch.Tensor:
    """What `body` makes of an engine and of images `x` `(B, C, H, W)`, averaged over its pixels: `(B, C)`.

    Args:
        by_loops: Whether the loops do it. The weights have gradients then, where they are on; `x` has none.
    """
    if not by_loops or not torch.is_grad_enabled():
        return body(Loops() if by_loops else Torch()).mean((2, 3))
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
        context.tape, context.output = tape, output
        return output.mean((2, 3))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _ = context.saved_tensors
        output, context.output = context.output, None
        if output is None:
            raise RuntimeError(ONCE)
        shape = output.shape
        spread = (gradient / (shape[2] * shape[3]))[:, :, None, None].expand(shape)
        return None, None, None, *context.tape.backward(output, spread, context.needs_input_grad[3:])
