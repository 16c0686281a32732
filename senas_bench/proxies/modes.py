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
