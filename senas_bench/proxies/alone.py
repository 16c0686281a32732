"""The untrained network of one arch as a proxy sees it, which counts what it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from senas_bench.kernels.engines import using
from senas_bench.spaces import Arch

Layer = nn.Conv2d | nn.Linear


@dataclass
class Passes:
    """What a network was asked.

    Args:
        forward, backward: Passes, of whole batches. The way back over gradients counts as three: it goes over the way
            forward and the way back, which takes as long as three ways forward.
        forward_images, backward_images: Images in them.
    """

    forward: int = 0
    backward: int = 0
    forward_images: int = 0
    backward_images: int = 0


class Alone:
    """The network of a single arch with fresh weights, without a path to choose. It counts what it is asked.

    Args:
        network: Over the space that has the arch alone, a `torch.nn.Module`.
        arch: That arch.
        engine: Who computes a pass without gradients, see `kernels.engines`.
    """

    def __init__(self, network: nn.Module, arch: Arch, engine: str | None = "torch") -> None:
        self.network, self.arch, self.engine = network, arch, engine
        self.passes = Passes()
        self._images = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(B, classes)` of images `(B, C, H, W)`."""
        self._count(x)
        return self.network(x, self.arch)

    def look(self, x: torch.Tensor) -> torch.Tensor:
        """As a call, of a pass that has no gradients and that nobody listens to."""
        with torch.no_grad(), using(self.engine):
            return self(x)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Outputs `(B, C, H, W)` of the stem and of each block behind it, in order; counts as a pass."""
        self._count(x)
        network: Any = self.network
        return network.features(x, self.arch)

    def gradients(
        self,
        outputs: torch.Tensor,
        inputs: Sequence[torch.Tensor],
        along: torch.Tensor | None = None,
        *,
        keep: bool = False,
        graph: bool = False,
        second: bool = False,
        counted: bool = True,
    ) -> list[torch.Tensor]:
        """Gradients of `outputs` for each of `inputs`; zeros for one that plays no part.

        Args:
            along: What comes back to `outputs`; ones by default.
            keep: Whether the way back is gone once more.
            graph: Whether the gradients have gradients; these are then asked for with `second`.
            counted: Off where this is a part of a way back that is counted with another.
        """
        times = 3 * second or int(counted)
        self.passes.backward += times
        self.passes.backward_images += times * self._images
        found = torch.autograd.grad(
            outputs,
            list(inputs),
            torch.ones_like(outputs) if along is None else along,
            retain_graph=keep or graph,
            create_graph=graph,
            allow_unused=True,
        )
        return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]

    def jacobians(self, outputs: torch.Tensor, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Gradients `(n, ...)` of each of `outputs` `(n,)`: as many ways back, gone side by side."""
        self.passes.backward += len(outputs)
        self.passes.backward_images += len(outputs) * self._images
        one_each = torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device)
        found = torch.autograd.grad(outputs, list(inputs), one_each, is_grads_batched=True, allow_unused=True)
        zeros = [x.new_zeros((len(outputs), *x.shape)) for x in inputs]
        return [zero if rows is None else rows for rows, zero in zip(found, zeros, strict=True)]

    @contextmanager
    def listening(self) -> Iterator[list[tuple[Layer, torch.Tensor, torch.Tensor]]]:
        """Meanwhile the layers that run, in order, each with what it reads and what it gives."""
        heard: list[tuple[Layer, torch.Tensor, torch.Tensor]] = []

        def hear(layer: Any, inputs: Any, output: Any) -> None:
            heard.append((layer, inputs[0], output))

        hooks = [layer.register_forward_hook(hear) for layer in self.layers]
        try:
            yield heard
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def layers(self) -> list[Layer]:
        """Convolutions and linear layers, in the order of the modules."""
        return [module for module in self.network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]

    @property
    def weights(self) -> list[torch.Tensor]:
        """Of the layers, without biases."""
        return [layer.weight for layer in self.layers]

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """Batch norms, in the order of the modules."""
        return [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]

    def _count(self, x: torch.Tensor) -> None:
        self._images = len(x)
        self.passes.forward += 1
        self.passes.forward_images += len(x)
