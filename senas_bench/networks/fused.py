"""A NAS-Bench-201 network on batch statistics, in training or ranking: norms, sums and ReLUs in one pass.

The same function as `NB201Network.forward` to rounding, with the loops of `kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from senas_bench.spaces import Arch
from senas_bench.spaces.nasbench201 import CONV1, CONV3, EDGES, INTO, NODES, NONE, POOL, SKIP

from . import kernels
from .choice import partial_key
from .operations import ConvBN, ReductionBlock

BOTH = (True, True)
"""What is made of a node: its value, and its value rectified."""


@dataclass
class Node:
    """A sum, as it is and rectified; what was rectified or pooled of it is made once."""

    value: torch.Tensor | None
    rect: torch.Tensor | None = None
    pooled: torch.Tensor | None = None

    def rectified(self) -> torch.Tensor:
        if self.rect is None:
            self.rect = torch.relu(self.value)
        return self.rect

    def pool(self) -> torch.Tensor:
        if self.pooled is None:
            self.pooled = kernels.pool(self.value)
        return self.pooled


def possible(network: nn.Module, x: torch.Tensor) -> bool:
    """Whether `forward` computes what `network(x, ...)` does: its batch norms use the statistics of the batch."""
    last = network.last
    return last.training and last.num_features <= kernels.WIDEST and min(x.shape[2:]) >= 8 and kernels.usable(x)


def forward(
    network: nn.Module, x: torch.Tensor, archs: Iterator[tuple[Arch, Arch]], cache: dict | None
) -> torch.Tensor:
    """Logits `(B, classes)`.

    Args:
        archs: Per cell the arch, which names the copies of the weights, and its live form.
        cache: As for `NB201Network.forward`.
    """
    node = cache.get("stem") if cache is not None else None
    if node is None:
        node = Node(*kernels.combine([_convolved(network.stem, x)], [], True, True))
        if cache is not None:
            cache["stem"] = node
    for block in network.body:
        if isinstance(block, ReductionBlock):
            node = _reduction(block, node)
        else:
            node, cache = _cell(block, node, *next(archs), cache), None
    _, rect = kernels.combine([kernels.normalise(node.value, network.last)], [], False, True)
    return network.head(rect.mean((2, 3)))


def _convolved(module: ConvBN, x: torch.Tensor) -> kernels.Normalised:
    return kernels.normalise(module[0](x), module[1])


def _reduction(block: ReductionBlock, node: Node) -> Node:
    _, inner = kernels.combine([_convolved(block.first, node.rectified())], [], False, True)
    shortcut = block.shortcut(nn.functional.avg_pool2d(node.value, 2))
    return Node(*kernels.combine([_convolved(block.second, inner)], [shortcut], True, True))


def _cell(cell: nn.Module, x: Node, arch: Arch, live: Arch, cache: dict | None) -> Node:
    """As `Cell.forward`; what is cached of an edge is its output before batch norm, and how to normalise it."""
    nodes = [x]
    histories: list[Any] = [()] * NODES
    for node in range(1, NODES):
        normalised, plain, history = [], [], []
        for edge, source in INTO[node]:
            op = live[edge]
            if op == NONE:
                continue
            convolution = op in (CONV1, CONV3)
            key = partial_key(arch, cell.choices[edge].group) if convolution else op
            kept: dict[Any, Any] = {}
            if cache is not None:
                history.append((edge, key, histories[source]))
                if edge not in cache or cache[edge][0] != histories[source]:
                    cache[edge] = (histories[source], {})
                kept = cache[edge][1]
            if key not in kept:
                kept[key] = _output(cell, edge, key, op, nodes[source])
            (normalised if convolution else plain).append(kept[key])
        nodes.append(_sum(normalised, plain, x, node, live))
        histories[node] = tuple(history)
    return nodes[-1]


def _output(cell: nn.Module, edge: int, key: Any, op: int, source: Node) -> Any:
    if op == SKIP:
        return source.value
    if op == POOL:
        return source.pool()
    return _convolved(cell.choices[edge].copies[key], source.rectified())


def _output(cell: nn.Module, edge: int, key: Any, op: int, source: Node) -> Any:
    if op == SKIP:
        return source.value
    if op == POOL:
        return source.pool()
    return _convolved(cell.choices[edge].copies[key], source.rectified())


def _sum(normalised: list, plain: list, x: Node, node: int, live: Arch) -> Node:
    """A node from its edges; inside a cell only what its own edges read is made."""
    if not normalised and not plain:
        return Node(torch.zeros_like(x.value))
    if not normalised and len(plain) == 1:
        return Node(plain[0])
    out = {live[edge] for edge, (source, _) in enumerate(EDGES) if source == node}
    last = node == NODES - 1
    return Node(
        *kernels.combine(normalised, plain, last or bool(out & {SKIP, POOL}), last or bool(out & {CONV1, CONV3}))
    )
