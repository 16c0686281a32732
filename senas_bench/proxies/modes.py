"""Functions of torch that compute something else for a while, or that are listened to, whatever network calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Replaced(TorchFunctionMode):
    """Inside it, some functions are others.

    Args:
        by: The other function, by that which is called.
    """

    def __init__(self, by: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self._by = by

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._by.get(func, func)(*args, **(kwargs or {}))


def without_caps() -> dict[Any, Callable[..., Any]]:
    """For `Replaced`: ReLU6 without its 6, so that networks of it are homogeneous as those of ReLU are."""
    functional = torch.nn.functional
    names = (functional.hardtanh, functional.hardtanh_, functional.relu6)
    return dict.fromkeys(names, lambda x, *limits, **how: torch.relu(x))


def without_norms() -> dict[Any, Callable[..., Any]]:
    """For `Replaced`: batch norms hand on what they read."""
    return dict.fromkeys((torch.nn.functional.batch_norm, torch.batch_norm), lambda x, *parts, **how: x)


def with_own_statistics() -> dict[Any, Callable[..., Any]]:
    """For `Replaced`: batch norms normalise each image by itself, as if the batch were that image alone."""

    def own(
        x: Any, mean: Any, variance: Any, weight: Any, bias: Any, training: bool, momentum: float, eps: float
    ) -> Any:
        return torch.nn.functional.instance_norm(x, weight=weight, bias=bias, eps=eps)

    return {torch.nn.functional.batch_norm: own}


class Rectified(TorchFunctionMode):
    """Inside it, notes what ReLUs give, and how many convolutions and linear layers read each."""

    def __init__(self) -> None:
        super().__init__()
        functional = torch.nn.functional
        self._rectifiers = {torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_}
        self._rectifiers |= {functional.relu, functional.hardtanh, functional.hardtanh_, functional.relu6}
        self._layers = {torch.conv2d, functional.conv2d, functional.linear}
        self._seen: dict[int, list[Any]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in self._rectifiers and output.dim() == 4:
            self._seen[id(output)] = [output, 0]
        elif func in self._layers and id(args[0]) in self._seen:
            self._seen[id(args[0])][1] += 1
        return output

    def outputs(self) -> list[tuple[torch.Tensor, int]]:
        """What was given, `(B, C, H, W)`, in order, and how often it counts: for each that reads it, at least once."""
        return [(output, max(times, 1)) for output, times in self._seen.values()]
