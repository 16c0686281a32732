"""One decision position of a network: candidate operators times copies of their weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from senas_bench.spaces import Arch, SearchSpace


def partial_key(arch: Arch, group: tuple[int, ...]) -> str:
    """Name of the partial model that `arch` takes in a group of edges, such as `3_0_4`."""
    return "_".join(str(arch[edge]) for edge in group)


class Candidates(nn.ModuleDict):
    """Modules of which a path runs one, by the partial models of a group of edges."""

    def __init__(self, group: tuple[int, ...], modules: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(modules)
        self.group = group

    def chosen(self, arch: Arch) -> dict[str, nn.Module]:
        """By name what `arch` runs; nothing where that has no module."""
        key = partial_key(arch, self.group)
        return {key: self[key]} if key in self else {}


class ChoiceEdge(nn.Module):
    """The weights of one edge: one operator module per partial model of the edge's group.

    An edge that is not merged is its own group, so its partial models are its operators and this is
    the plain shared supernet. In a merged group every partial model owns its own copy (paper section
    3.4). Operators without weights have no entry.

    Args:
        edge: Index of the edge in the space.
        space: Alive candidates and groups.
        make: Builds the module of an operator, or None for an operator without weights.
    """

    def __init__(self, edge: int, space: SearchSpace, make: Callable[[int], nn.Module | None]) -> None:
        super().__init__()
        self.edge = edge
        self.group = space.group_of(edge)
        fresh = {op: make(op) for op in space.candidates[edge]}
        self.copies = Candidates(self.group)
        for partial in space.partial_models(self.group):
            module = fresh[partial[self.group.index(edge)]]
            if module is not None:
                self.copies["_".join(map(str, partial))] = copy.deepcopy(module) if len(self.group) > 1 else module

    def module(self, arch: Arch) -> nn.Module:
        """The copy that `arch` uses here."""
        return self.copies[partial_key(arch, self.group)]

    def regroup(self, space: SearchSpace) -> dict[nn.Parameter, nn.Parameter]:
        """Follow `space`: drop what no path uses any more, copy what is newly merged.

        The new group must contain the old one. Each new copy starts from the weights that its partial
        model used so far.

        Returns:
            The parameter that each new parameter was copied from.
        """
        group = space.group_of(self.edge)
        if not set(self.group) <= set(group):
            raise ValueError(f"edge {space.edges[self.edge]}: group {self.group} may grow, not turn into {group}")
        sources: dict[nn.Parameter, nn.Parameter] = {}
        copies = Candidates(group)
        for key, old_key in self._copies_in(space):
            module = self.copies[old_key]
            if group != self.group:
                module = copy.deepcopy(module)
                sources.update(zip(module.parameters(), self.copies[old_key].parameters(), strict=True))
            copies[key] = module
        self.group, self.copies = group, copies
        return sources

    def parameters_after(self, space: SearchSpace) -> int:
        """Number of weights this edge will hold after `regroup(space)`."""
        return sum(p.numel() for _, old_key in self._copies_in(space) for p in self.copies[old_key].parameters())

    def _copies_in(self, space: SearchSpace) -> list[tuple[str, str]]:
        """(key under `space`, key of the present copy it comes from) for all copies with weights."""
        group = space.group_of(self.edge)
        pairs = []
        for partial in space.partial_models(group):
            choice = dict(zip(group, partial, strict=True))
            old_key = "_".join(str(choice[edge]) for edge in self.group)
            if old_key in self.copies:
                pairs.append(("_".join(map(str, partial)), old_key))
        return pairs
