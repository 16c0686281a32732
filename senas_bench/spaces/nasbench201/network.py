"""The NAS-Bench-201 network over a search space: a supernet, or stand-alone when one candidate is left."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import nn

from senas_bench.kernels import convolutions, engines, norms, tape
from senas_bench.kernels.door import Node, Torch
from senas_bench.networks.choice import ChoiceEdge, partial_key
from senas_bench.networks.mixture import Mixture, as_mixture
from senas_bench.networks.operations import AveragePool3x3, ConvBN, ReductionBlock
from senas_bench.networks.partial import pass_by
from senas_bench.spaces.nasbench201 import (
    CONV1,
    CONV3,
    EDGES,
    INTO,
    NODES,
    NONE,
    POOL,
    SKIP,
    prune_arch,
    shared_function,
)
from senas_bench.spaces.nasbench201.stacked import Plan, Stack
from senas_bench.spaces.space import Arch, SearchSpace

KERNELS = {CONV1: 1, CONV3: 3}
BOTH = (True, True)
"""What is made of a node: its value, and its value rectified."""

Pair = tuple[Arch, Arch]
"""An arch, which names the copies of the weights, and its live form."""


def reads(live: Arch, node: int) -> tuple[bool, bool]:
    """Whether the edges that leave a node read its value, and its value rectified; one of the two is always made."""
    ops = {live[edge] for edge, (source, _) in enumerate(EDGES) if source == node}
    rect = bool(ops & KERNELS.keys())
    return not rect or bool(ops & {SKIP, POOL}), rect


class Cell(nn.Module):
    """Four nodes, each the sum of its incoming edges; `(B, C, H, W)` in and out."""

    def __init__(self, space: SearchSpace, channels: int, affine: bool, partial: int = 1) -> None:
        super().__init__()
        channels, self.partial = channels // partial, partial
        self.channels = channels

        def make(op: int) -> nn.Module | None:
            return ConvBN(channels, channels, KERNELS[op], affine=affine) if op in KERNELS else None

        self.choices: Any = nn.ModuleList(ChoiceEdge(edge, space, make) for edge in range(len(EDGES)))
        self.pool = AveragePool3x3(channels)

    def weightless_operators(self) -> Iterator[tuple[int, int, nn.Module]]:
        """Edge, operator and module of what runs outside the `ChoiceEdge`s."""
        yield from ((edge, POOL, self.pool) for edge in range(len(self.choices)))

    def forward(
        self,
        x: Node,
        arch: Arch,
        live: Arch,
        wanted: tuple[bool, bool] = (True, False),
        cache: dict[int, Any] | None = None,
    ) -> Node:
        """Run one arch.

        Args:
            arch: Names the copies of the weights.
            live: Operators to run; `none` where an edge is dead.
            wanted: Whether the output and the output rectified will be read.
            cache: Edge outputs kept from the arch before, when `x` is the same; those of convolutions as the engine
                normalises them. An entry is reused while everything between it and `x` stays the same.
        """
        nodes = [x]
        histories: list[Any] = [()] * NODES
        for node in range(1, NODES):
            normalised, plain, history, skipped = [], [], [], None
            for edge, source in INTO[node]:
                op = live[edge]
                if op == NONE:
                    continue
                if op == SKIP:
                    skipped = nodes[source]
                key = partial_key(arch, self.choices[edge].group) if op in KERNELS else op
                kept: dict[Any, Any] = {}
                if cache is not None:
                    history.append((edge, key, histories[source]))
                    if edge not in cache or cache[edge][0] != histories[source]:
                        cache[edge] = (histories[source], {})
                    kept = cache[edge][1]
                if key not in kept:
                    kept[key] = self._output(edge, key, op, nodes[source])
                (normalised if op in KERNELS else plain).append(kept[key])
            made = wanted if node == NODES - 1 else reads(live, node)
            if skipped is not None and len(normalised) + len(plain) == 1:
                nodes.append(skipped)  # the same tensor: what was rectified or pooled of it stays so
            elif normalised or len(plain) > 1:
                nodes.append(Node(x.engine, *x.engine.combine(normalised, plain, *made)))
            else:
                nodes.append(Node(x.engine, plain[0] if plain else x.zeros()))
            histories[node] = tuple(history)
        return nodes[-1]

    def _output(self, edge: int, key: Any, op: int, source: Node) -> Any:
        if op == SKIP:
            return source.value
        if op == POOL:
            return source.pool(self.pool)
        return source.engine.operate(self.choices[edge].copies[key], source.rectified())

    def stacked(self, x: Node, plan: Plan, rows: torch.Tensor) -> Node:
        """Run several archs, each operator once.

        Args:
            x: Of the engine `Stacked`.
            rows: What the slices of the plan are of.
        """
        engine: Any = x.engine
        nodes = [x]

        def listed(place: slice | None) -> torch.Tensor | None:
            return None if place is None else rows[place]

        for count, calls in plan.nodes:
            total = engine.zeros(x.value, count)
            for call in calls:
                edge, op, key = call.key
                source = nodes[EDGES[edge][0]]
                read = engine.take(source.rectified() if op in KERNELS else source.value, listed(call.sources))
                made = self._output(edge, key, op, Node(engine, read, read))  # it reads one of the two
                engine.add(total, listed(call.targets), engine.take(made, listed(call.given)))
            nodes.append(Node(engine, total))
        return nodes[-1]

    def mixture(
        self,
        x: Node,
        shares: Sequence[Sequence[torch.Tensor | None]],
        wanted: tuple[bool, bool],
        idle: Sequence[torch.Tensor] | None = None,
        skip_dropout: float = 0.0,
    ) -> Node:
        """Weighted sum of operators on every edge.

        Args:
            shares: Per edge and operator, with gradients; None for one that does not run.
            wanted: Whether the output and the output rectified will be read.
            idle: Per edge the sum of the weights of operators that do not run, zeros with a gradient, to be added to
                what the edge gives, as the released code of GDAS does; torch alone has its gradient.
            skip_dropout: Of what skips give, value by value.
        """
        if self.partial > 1:
            return self._partial(x, shares, wanted)
        nodes = [x]
        for node in range(1, NODES):
            normalised, plain = [], []
            for edge, source in INTO[node]:
                for op, share in enumerate(shares[edge]):
                    if op != NONE and share is not None:
                        output = self._output(edge, str(op), op, nodes[source])
                        if op == SKIP and skip_dropout:
                            output = nn.functional.dropout(output, skip_dropout)
                        output = x.engine.weigh(output, share)
                        (normalised if op in KERNELS else plain).append(output)
                if idle is not None:
                    plain.append(x.zeros() + idle[edge])
            made = wanted if node == NODES - 1 else BOTH
            some = normalised or plain
            nodes.append(Node.total(x.engine, normalised, plain, made) if some else Node(x.engine, x.zeros()))
        return nodes[-1]

    def _partial(self, x: Node, shares: Sequence[Sequence[torch.Tensor | None]], wanted: tuple[bool, bool]) -> Node:
        """As `mixture`, where operators see a part of the channels; by torch."""
        values = [x.value]
        for node in range(1, NODES):
            total: Any = 0
            for edge, source in INTO[node]:
                on = [(op, share) for op, share in enumerate(shares[edge]) if share is not None]
                operators = [(self._operator(edge, op), share) for op, share in on if op != NONE]
                whole = sum((share for _, share in on), values[source].new_zeros(()))
                total = total + pass_by(values[source], self.partial, operators, whole)
            values.append(total)
        return Node(x.engine, *x.engine.combine([], [values[-1]], *wanted))

    def _operator(self, edge: int, op: int) -> Any:
        """What runs there, as a function of a node."""
        if op in KERNELS:
            module = self.choices[edge].copies[str(op)]
            return lambda x: module(torch.relu(x))
        return self.pool if op == POOL else nn.Identity()


class NB201Network(nn.Module):
    """Stem, three stages of cells joined by reductions, and a linear head (docs/method.md 5).

    Args:
        space: One candidate per edge gives a stand-alone network, more a supernet.
        channels: Width of the first stage; doubled by each reduction.
        cells: Cells per stage.
        in_channels, num_classes: Of the data.
        affine: Batch norm weights inside the cells: off in a supernet, on in a stand-alone network.
        partial: Operators see one of so many channels, see `networks.partial`; such a network runs mixtures alone.

    `idle_weights` and `skip_dropout` may be set for mixtures, see `Cell.mixture`.

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
        partial: int = 1,
    ) -> None:
        super().__init__()
        self.skip_dead_edges = not affine
        self.idle_weights, self.skip_dropout, self.partial = False, 0.0, partial
        self.cells = cells
        self.operators = len(space.operators)
        self.stem: Any = ConvBN(in_channels, channels, 3)
        stages, width = [], channels
        for stage in range(3):
            if stage:
                stages.append(ReductionBlock(width, 2 * width))
                width *= 2
            stages += [Cell(space, width, affine, partial) for _ in range(cells)]
        self.body: Any = nn.ModuleList(stages)
        self.last: Any = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(
        self, x: torch.Tensor, path: Arch | Sequence[Arch] | Mixture | torch.Tensor, cache: dict[Any, Any] | None = None
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
        if isinstance(path, Mixture | torch.Tensor):
            return self._mixture(x, as_mixture(path, (len(EDGES), self.operators), self.expanded))
        if self.partial > 1:
            raise ValueError("operators that see a part of the channels run in mixtures alone; give operator weights")
        choices: Any = [path] * self.choice_cells if isinstance(path[0], Integral) else path
        if len(choices) != self.choice_cells:
            raise ValueError(f"{len(choices)} archs for {self.choice_cells} cells; give one for all or one per cell")
        pairs = [(arch, prune_arch(arch) if self.skip_dead_edges else arch) for arch in choices]
        if torch.is_grad_enabled():
            cache = None
        by_loops = self.by_loops(x, self._layers(pairs))
        return self.head(tape.run(lambda engine: self._body(engine, x, pairs, cache), x, by_loops))

    def features(self, x: torch.Tensor, arch: Arch) -> list[torch.Tensor]:
        """Outputs `(B, C, H, W)` of the stem and of each block behind it, then what the head averages. By torch."""
        live, engine = prune_arch(arch) if self.skip_dead_edges else arch, Torch()
        node = Node(engine, *engine.combine([engine.operate(self.stem, x)], [], *BOTH))
        outputs = [node.value]
        for block in self.body:
            node = block(node, arch, live, BOTH) if isinstance(block, Cell) else block(node, BOTH)
            outputs.append(node.value)
        return [*outputs, engine.combine([engine.normalise(node.value, self.last)], [], False, True)[1]]

    def _body(self, engine: Torch, x: torch.Tensor, pairs: list[Pair], cache: dict[Any, Any] | None) -> torch.Tensor:
        """All but the head: `(B, C)`."""
        lives = iter(live for _, live in pairs)
        wanted = [BOTH if isinstance(block, ReductionBlock) else reads(next(lives), 0) for block in self.body]
        wanted.append((True, False))  # batch norm before the head
        node = cache.get("stem") if cache is not None else None
        if node is not None:
            engine = node.engine  # what it makes for this pass is made of what is kept
        else:
            made = wanted[0] if cache is None else BOTH
            node = Node(engine, *engine.combine([engine.operate(self.stem, x)], [], *made))
            if cache is not None:
                cache["stem"] = node
        paths = iter(pairs)
        for block, made in zip(self.body, wanted[1:], strict=True):
            if isinstance(block, Cell):
                node, cache = block(node, *next(paths), made, cache), None
            else:
                node = block(node, made)
        _, rect = engine.combine([engine.normalise(node.value, self.last)], [], False, True)
        return engine.average(rect)

    def stack_archs(self, archs: Sequence[Arch]) -> Stack:
        """Several archs, to be run in one pass without gradients."""
        return Stack(self, [(arch, prune_arch(arch) if self.skip_dead_edges else arch) for arch in archs])

    def by_loops(self, x: torch.Tensor, layers: Iterable[nn.Module] = ()) -> bool:
        """Whether the loops compute what torch does, and do it faster: batch norms use the statistics of the batch.
        Without gradients all of them are taken to be in the mode of the last.

        torch does it where the loops have no gradients, of images and of layers that are not `tape.recordable`, and
        where it refuses: sides that cannot be halved twice, other channels, other types. What is trained is narrow,
        too: each of its convolutions goes by loops.

        Args:
            layers: The convolutions that run.
        """
        last, stem = self.last, self.stem[0]
        channels = x.dim() == 4 and x.shape[1] == stem.in_channels
        single = last.weight.dtype == torch.float32
        halved = x.numel() > 0 and all(side >= 8 and side % 4 == 0 for side in x.shape[2:])
        normal = last.training and last.num_features <= norms.WIDEST
        if not (channels and single and halved and normal and engines.usable(x)):
            return False
        if not torch.is_grad_enabled():
            return True
        pixels = x.shape[2] * x.shape[3]
        small = stem.out_channels * pixels <= engines.limits().passes and pixels <= convolutions.MOST_PIXELS
        narrow = stem.out_channels % convolutions.VECTOR == 0 and last.num_features <= convolutions.NARROW
        return small and narrow and not x.requires_grad and all(map(tape.recordable, layers))

    def _layers(self, pairs: Sequence[Pair]) -> Iterator[nn.Module]:
        """The convolutions on a path, with their batch norms."""
        yield self.stem
        paths = iter(pairs)
        for block in self.body:
            if isinstance(block, ReductionBlock):
                yield from (block.first, block.second, block.shortcut)
            else:
                arch, live = next(paths)
                for choice, op in zip(block.choices, live, strict=True):
                    if op in KERNELS:
                        yield choice.copies[partial_key(arch, choice.group)]

    def _mixture(self, x: torch.Tensor, path: Mixture) -> torch.Tensor:
        weights = path.weights.to(self.last.weight.dtype)  # as the loops read them
        rows = zip(weights.unbind(), path.runs, strict=True)  # here, where gradients are on
        shares = [[share if on else None for share, on in zip(row.unbind(), ons, strict=True)] for row, ons in rows]
        idle = (weights * (weights.detach() == 0)).sum(1).unbind() if self.idle_weights else None

        dropout = self.skip_dropout if self.training else 0.0

        def body(engine: Torch) -> torch.Tensor:
            node = Node(engine, *engine.combine([engine.operate(self.stem, x)], [], *BOTH))
            for i, block in enumerate(self.body):
                wanted = (True, i + 1 < len(self.body))  # batch norm comes last
                if isinstance(block, Cell):
                    node = block.mixture(node, shares, wanted, idle, dropout)
                else:
                    node = block(node, wanted)
            return engine.average(engine.combine([engine.normalise(node.value, self.last)], [], False, True)[1])

        layers = (module for module in self.modules() if isinstance(module, ConvBN | nn.Conv2d))
        plain = idle is None and not dropout and self.partial == 1
        return self.head(tape.run(body, x, plain and self.by_loops(x, layers)))

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
