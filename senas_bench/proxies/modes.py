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


def with_deviations() -> dict[Any, Callable[..., Any]]:
    """For `Replaced`: batch norms divide by their running deviation and multiply by their absolute weight, in float64;
    they never move the mean."""

    def divide(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, *how: Any, eps: float, **named: Any) -> Any:
        scale = (variance.double() + eps).rsqrt()
        return x * (scale if weight is None else scale * weight.double().abs())[:, None, None]

    return dict.fromkeys((torch.nn.functional.batch_norm, torch.batch_norm), divide)


def along_weights() -> dict[Any, Callable[..., Any]]:
    """For `Replaced`: of two images in float64 the first goes through a network whose weights and biases are absolute,
    and the second becomes the derivative of that along the weights: what comes of (1 + t) times the weights, by t at 0.

    So a layer adds to the second what it makes of the first. What is homogeneous takes both alike; a maximum takes the
    second where the first is largest.
    """
    functional = torch.nn.functional

    def layer(function: Callable[..., Any]) -> Callable[..., Any]:
        def both(x: Any, weight: Any, bias: Any = None, *how: Any, **named: Any) -> Any:
            output = function(x, weight.double().abs(), None, *how, **named)
            if isinstance(weight, torch.nn.Parameter):  # not of a pool that is computed as a convolution
                output[1] += output[0]
            if bias is not None:
                output[0] += bias.double().abs().reshape(-1, *[1] * (output.dim() - 2))
            return output

        return both

    def largest(x: Any, *how: Any, **named: Any) -> Any:
        first, places = functional.max_pool2d(x[:1], *how, **{**named, "return_indices": True})
        second = x[1:].flatten(2).gather(2, places.flatten(2))
        return torch.cat([first, second.view_as(first)])

    convolve, linear = layer(torch.conv2d), layer(functional.linear)
    layers = {torch.conv2d: convolve, functional.conv2d: convolve, functional.linear: linear}
    return {**layers, functional.max_pool2d: largest, torch.max_pool2d: largest}


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
