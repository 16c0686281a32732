"""A step of stochastic gradient descent with its clipping, by the loops of `networks.kernels` where they can.

A small network has many small weights. torch goes through each in several calls, which cost more than their arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from senas_bench.networks import kernels


def descend(optimizer: torch.optim.SGD, clip: float = 0.0) -> None:
    """`clip_grad_norm_` over all weights that have a gradient, then `optimizer.step()`; to rounding.

    Args:
        clip: Largest length of the gradients as one vector; 0 leaves them as they are.
    """
    steps = _steps(optimizer)
    if steps is None:
        if clip:
            nn.utils.clip_grad_norm_([weight for group in optimizer.param_groups for weight in group["params"]], clip)
        optimizer.step()
        return
    if clip:
        _clip([gradient for _, gradients, _ in steps for gradient in gradients], clip)
    for (weights, gradients, momenta), group in zip(steps, optimizer.param_groups, strict=True):
        settings = {name: group[name] for name in ("lr", "momentum", "weight_decay", "nesterov")}
        kernels.descend(weights, gradients, momenta, **settings)


def _clip(gradients: list[torch.Tensor], largest: float) -> None:
    length = kernels.norm(gradients)
    if not length <= largest:  # what is no number reaches the weights, as it does from torch
        kernels.scale(gradients, largest / (length + 1e-6))


Columns = tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]


def _steps(optimizer: torch.optim.SGD) -> list[Columns] | None:
    """By group the weights that have a gradient, those gradients and their momenta; None where the loops cannot take
    the step."""
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    watched = torch._C._len_torch_dispatch_stack() > 0
    if hooks or watched or not _on_cpu(optimizer) or not kernels.available():
        return None
    steps = [_columns(group, optimizer.state) if _usual(group) else None for group in optimizer.param_groups]
    return None if any(columns is None for columns in steps) else steps


def _on_cpu(optimizer: torch.optim.SGD) -> bool:
    """Whether to look for the loops at all: a GPU's runs need none, nor to hear that there are none."""
    return all(weight.device.type == "cpu" for group in optimizer.param_groups for weight in group["params"][:1])


def _usual(group: dict[str, Any]) -> bool:
    unusual = group["dampening"], group["maximize"], group["differentiable"], isinstance(group["lr"], torch.Tensor)
    return group["momentum"] > 0 and not any(unusual)


def _columns(group: dict[str, Any], state: dict[torch.Tensor, dict[str, Any]]) -> Columns | None:
    columns: Columns = ([], [], [])
    for weight in group["params"]:
        gradient = weight.grad
        if gradient is None:
            continue
        momentum = state[weight].get("momentum_buffer")
        if momentum is None:  # torch's first one is the gradient: the same as the sum with nothing
            momentum = state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        if not kernels.alike(weight, gradient, momentum):
            return None
        for column, tensor in zip(columns, (weight, gradient, momentum), strict=True):
            column.append(tensor)
    return columns
