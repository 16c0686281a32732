"""Merging and expanding (paper section 3.4): fewer archs share each weight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from senas_bench.networks.choice import ChoiceEdge

if TYPE_CHECKING:
    from senas_bench.spaces import SearchSpace


def plan_groups(space: SearchSpace, threshold: int) -> tuple[tuple[int, ...], ...]:
    """Merge adjacent groups, shallow to deep, while their joint size stays within a threshold.

    The units are the groups of the space, single edges at first: a merged group may grow but is never
    split, so every new copy has one source. Greedy: a group takes the next unit as long as the product
    of candidate counts is at most `threshold`, then closes.

    Args:
        threshold: T of Algorithm 1 (50 in the paper).
    """
    groups: list[tuple[int, ...]] = []
    size = 0
    for unit in space.groups:
        unit_size = math.prod(len(space.candidates[edge]) for edge in unit)
        if groups and size * unit_size <= threshold:
            groups[-1] += unit
            size *= unit_size
        else:
            groups.append(unit)
            size = unit_size
    return tuple(groups)


def expand(network: nn.Module, space: SearchSpace) -> dict[nn.Parameter, nn.Parameter]:
    """Make a supernet follow a space that was shrunk or merged; in place.

    Dropped operators leave. Each partial model of a newly merged group gets its own copy of the
    weights it used so far, so every remaining path computes what it computed before.

    Returns:
        The parameter that each new parameter was copied from; optimizer state follows along it.

    Raises:
        ValueError: A group of `space` does not contain the group it grows out of.
    """
    network.zero_grad(set_to_none=True)
    sources: dict[nn.Parameter, nn.Parameter] = {}
    for module in network.modules():
        if isinstance(module, ChoiceEdge):
            sources.update(module.regroup(space))
    return sources


def count_parameters(network: nn.Module) -> int:
    """Number of trainable weights, copies included."""
    return sum(p.numel() for p in network.parameters())


def expanded_parameters(network: nn.Module, space: SearchSpace) -> int:
    """`count_parameters` as it will be after `expand(network, space)`, without making the copies."""
    total = count_parameters(network)
    for module in network.modules():
        if isinstance(module, ChoiceEdge):
            total += module.parameters_after(space) - count_parameters(module)
    return total
