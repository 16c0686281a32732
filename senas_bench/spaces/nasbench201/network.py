"""The NAS-Bench-201 network over a search space: a supernet, or stand-alone when one candidate is left."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import nn

from senas_bench.networks.choice import ChoiceEdge, partial_key
from senas_bench.networks.operations import AveragePool3x3, ConvBN, ReductionBlock
from senas_bench.spaces.nasbench201 import (
    CONV1,
    CONV3,
    EDGES,
    INTO,
    NODES,
    NONE,
    POOL,
    SKIP,
    fused,
    prune_arch,
    shared_function,
)
from senas_bench.spaces.space import Arch, SearchSpace

KERNELS = {CONV1: 1, CONV3: 3}


class Cell(nn.Module):
    """Four nodes, each the sum of its incoming edges; `(B, C, H, W)` in and out."""

    def __init__(self, space: SearchSpace, channels: int, affine: bool) -> None:
        super().__init__()

        def make(op: int) -> nn.Module | None:
            return ConvBN(channels, channels, KERNELS[op], affine=affine) if op in KERNELS else None

        self.choices = nn.ModuleList(ChoiceEdge(edge, space, make) for edge in range(len(EDGES)))
        self.pool = AveragePool3x3(channels)

    def weightless_operators(self) -> Iterator[tuple[int, int, nn.Module]]:
        """Edge, operator and module of what runs outside the `ChoiceEdge`s."""
        yield from ((edge, POOL, self.pool) for edge in range(len(self.choices)))

    def forward(self, x: torch.Tensor, arch: Arch, live: Arch, cache: dict[int, Any] | None = None) -> torch.Tensor:
        """Run one arch.

        Args:
            arch: Names the copies of the weights.
            live: Operators to run; `none` where an edge is dead.
            cache: Edge outputs kept from the arch before, when `x` is the same. An entry is reused
                while everything between it and `x` stays the same.
        """
        nodes: list[torch.Tensor | None] = [x]
        rectified: list[torch.Tensor | None] = [None] * NODES
        pooled: list[torch.Tensor | None] = [None] * NODES
        histories: list[Any] = [()] * NODES
        for node in range(1, NODES):
            total = None
            ours = False  # whether the sum may be written to: nobody else reads it
            history = []
            for edge, source in INTO[node]:
                op, value = live[edge], nodes[source]
                if op == NONE:
                    continue
                if value is None:  # a node without inputs is read only where dead edges are computed
                    value = nodes[source] = torch.zeros_like(x)
                key = partial_key(arch, self.choices[edge].group) if op in KERNELS else op
                output = None
                if cache is not None:
                    history.append((edge, key, histories[source]))
                    if edge not in cache or cache[edge][0] != histories[source]:
                        cache[edge] = (histories[source], {})
                    output = cache[edge][1].get(key)
                if output is None:
                    if op == SKIP:
                        output = value
                    elif op in KERNELS:
                        if rectified[source] is None:
                            rectified[source] = torch.relu(value)
                        output = self.choices[edge].copies[key](rectified[source])
                    else:
                        # shared where no gradients are: with them it would add up what comes back in another order
                        output = pooled[source] if pooled[source] is not None else self.pool(value)
                        pooled[source] = None if torch.is_grad_enabled() else output
                    if cache is not None:
                        cache[edge][1][key] = output
                if total is None:
                    total, ours = output, op in KERNELS and cache is None
                elif ours and total.dtype == output.dtype:
                    total += output
                else:
                    total, ours = total + output, True
            nodes.append(total)
            histories[node] = tuple(history)
        return torch.zeros_like(x) if nodes[-1] is None else nodes[-1]

    def mixture(self, x: torch.Tensor, weights: torch.Tensor, idle: bool = False) -> torch.Tensor:
        """Weighted sum of operators on every edge; only operators with a weight other than 0 run.

        Args:
            weights: `(edges, operators)`; gradients flow to those of the operators that run.
            idle: Add the weights of operators that do not run, zeros with a gradient, to what the edge gives, as the
                released code of GDAS does.
        """
        active = (weights.detach() != 0).tolist()
        nodes = [x]
        rectified: list[torch.Tensor | None] = [None] * NODES
        for node in range(1, NODES):
            total = None
            for edge, source in INTO[node]:
                value = nodes[source]
                for op, on in enumerate(active[edge]):
                    if not on or op == NONE:
                        continue
                    if op == SKIP:
                        output = value
                    elif op in KERNELS:
                        if rectified[source] is None:
                            rectified[source] = torch.relu(value)
                        output = self.choices[edge].copies[str(op)](rectified[source])
                    else:
                        output = self.pool(value)
                    output = output * weights[edge, op]
                    total = output if total is None else total + output
                if idle:
                    rest = weights[edge, [op for op, on in enumerate(active[edge]) if not on]].sum()
                    total = (torch.zeros_like(x) if total is None else total) + rest
            nodes.append(torch.zeros_like(x) if total is None else total)
        return nodes[-1]


class NB201Network(nn.Module):
    """Stem, three stages of cells joined by reductions, and a linear head (docs/method.md 5).

    Args:
        space: One candidate per edge gives a stand-alone network, more a supernet.
        channels: Width of the first stage; doubled by each reduction.
        cells: Cells per stage.
        in_channels, num_classes: Of the data.
        affine: Batch norm weights inside the cells: off in a supernet, on in a stand-alone network.

    `idle_weights` may be set for mixtures, see `Cell.mixture`.

    Dead edges are not computed unless `affine`: with affine batch norm an operator that reads zeros
    still adds its bias, so leaving it out would be another function.
    """

    def __init__(
        self,
        space: SearchSpace,
        channels: int = 16,
        cells: int = 5,
        in_channels: int = 3,
        num_classes: int = 10,
        affine: bool = False,
    ) -> None:
        super().__init__()
        self.skip_dead_edges = not affine
        self.idle_weights = False
        self.cells = cells
        self.operators = len(space.operators)
        self.stem = ConvBN(in_channels, channels, 3)
        stages, width = [], channels
        for stage in range(3):
            if stage:
                stages.append(ReductionBlock(width, 2 * width))
                width *= 2
            stages += [Cell(space, width, affine) for _ in range(cells)]
        self.body = nn.ModuleList(stages)
        self.last = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(
        self, x: torch.Tensor, path: Arch | Sequence[Arch] | torch.Tensor, cache: dict[Any, Any] | None = None
    ) -> torch.Tensor:
        """Logits `(B, classes)` of one path.

        Args:
            x: `(B, in_channels, H, W)`.
            path: One arch for all cells, or one per cell, `3 * cells` in all; or the relaxed form, operator
                weights `(edges, operators)` for all cells, which needs an unexpanded network.
            cache: Pass the same dictionary for several archs on the same `x`, in lexicographic
                order: the stem and the edges of the first cell that they share are computed once. Not used
                where gradients are on.
        """
        if isinstance(path, torch.Tensor):
            return self._mixture(x, path)
        choices = [path] * self.choice_cells if isinstance(path[0], Integral) else path
        if len(choices) != self.choice_cells:
            raise ValueError(f"{len(choices)} archs for {self.choice_cells} cells; give one for all or one per cell")
        pairs = [(arch, prune_arch(arch) if self.skip_dead_edges else arch) for arch in choices]
        if torch.is_grad_enabled():
            cache = None
        if fused.possible(self, x, pairs):
            return fused.forward(self, x, pairs, cache)
        archs = iter(pairs)
        if cache is None:
            x = self.stem(x)
        else:
            if "stem" not in cache:
                cache["stem"] = self.stem(x)
            x = cache["stem"]
        first = True
        for block in self.body:
            if isinstance(block, Cell):
                x = block(x, *next(archs), cache if first else None)
                first = False
            else:
                x = block(x)
        x = torch.relu(self.last(x)).mean((2, 3))
        return self.head(x)

    def _mixture(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        shape = (len(EDGES), self.operators)
        if tuple(weights.shape) != shape:
            raise ValueError(f"operator weights of shape {tuple(weights.shape)}; {shape} are needed")
        if self.expanded:
            raise ValueError("an expanded network has no mixture: an operator is no longer one set of weights")
        x = self.stem(x)
        for block in self.body:
            x = block.mixture(x, weights, self.idle_weights) if isinstance(block, Cell) else block(x)
        return self.head(torch.relu(self.last(x)).mean((2, 3)))

    @property
    def expanded(self) -> bool:
        """Whether edges are merged."""
        return any(len(choice.group) > 1 for choice in self._first_cell.choices)

    @property
    def _first_cell(self) -> Cell:
        return next(block for block in self.body if isinstance(block, Cell))

    @property
    def choice_cells(self) -> int:
        """Cells that can each take their own arch."""
        return 3 * self.cells

    def signature(self, arch: Arch) -> Hashable:
        """Equal for archs that compute the same function with the same weights: `shared_function` of the pruned arch
        and the copies that its edges use; where dead edges are computed, only operators and copies."""
        copies = tuple(partial_key(arch, choice.group) for choice in self._first_cell.choices)
        if self.skip_dead_edges:
            return shared_function(prune_arch(arch), copies)
        return tuple(copy if op in KERNELS else op for op, copy in zip(arch, copies, strict=True))
