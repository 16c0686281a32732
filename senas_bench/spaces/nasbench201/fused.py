"""A NAS-Bench-201 network on batch statistics, in training or ranking: norms, sums and ReLUs in one pass.

The same function as `NB201Network.forward` to rounding, with the loops of `kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from senas_bench.networks import kernels, tape
from senas_bench.networks.choice import partial_key
from senas_bench.networks.operations import ConvBN, ReductionBlock
from senas_bench.networks.tape import Loops
from senas_bench.spaces import Arch
from senas_bench.spaces.nasbench201 import CONV1, CONV3, EDGES, INTO, NODES, NONE, POOL, SKIP

BOTH = (True, True)
"""What is made of a node: its value, and its value rectified."""


@dataclass
class Node:
    """A sum, as it is and rectified; what was rectified or pooled of it is made once."""

    value: torch.Tensor | None
    rect: torch.Tensor | None = None
    pooled: torch.Tensor | None = None

    def rectified(self, loops: Loops) -> torch.Tensor:
        if self.rect is None:
            _, self.rect = loops.combine([], [self.value], False, True)
        return self.rect

    def pool(self, loops: Loops) -> torch.Tensor:
        if self.pooled is None:
            self.pooled = loops.pool(self.value)
        return self.pooled


def possible(network: nn.Module, x: torch.Tensor, choices: Sequence[tuple[Arch, Arch]] = ()) -> bool:
    """Whether `forward` computes what `network(x, ...)` does: its batch norms use the statistics of the batch.

    torch does it where the loops have no gradients, of images and of layers that are not `tape.recordable`, and where
    it refuses: sides that cannot be halved twice, other channels, other types.

    Args:
        choices: As for `forward`; without them only the layers that all paths share are looked at.
    """
    last = network.last
    channels = x.dim() == 4 and x.shape[1] == network.stem[0].in_channels
    single = last.weight.dtype == torch.float32
    halved = x.numel() > 0 and all(side >= 8 and side % 4 == 0 for side in x.shape[2:])
    normal = last.training and last.num_features <= kernels.WIDEST
    if not (channels and single and halved and normal and kernels.usable(x)):
        return False
    return not torch.is_grad_enabled() or (not x.requires_grad and all(map(tape.recordable, _layers(network, choices))))


def _layers(network: nn.Module, choices: Sequence[tuple[Arch, Arch]]) -> Iterator[nn.Module]:
    """The convolutions on a path."""
    yield network.stem[0]
    paths = iter(choices)
    for block in network.body:
        if isinstance(block, ReductionBlock):
            yield from (block.first[0], block.second[0], block.shortcut)
        elif choices:
            arch, live = next(paths)
            for choice, op in zip(block.choices, live, strict=True):
                if op in (CONV1, CONV3):
                    yield choice.copies[partial_key(arch, choice.group)][0]


def forward(
    network: nn.Module, x: torch.Tensor, choices: Sequence[tuple[Arch, Arch]], cache: dict | None
) -> torch.Tensor:
    """Logits `(B, classes)`.

    Args:
        choices: Per cell the arch, which names the copies of the weights, and its live form.
        cache: As for `NB201Network.forward`.
    """
    return network.head(tape.run(lambda loops, x: _body(loops, network, x, choices, cache), x))


def _body(
    loops: Loops, network: nn.Module, x: torch.Tensor, choices: Sequence[tuple[Arch, Arch]], cache: dict | None
) -> torch.Tensor:
    """All but the head and the average before it."""
    lives = iter(live for _, live in choices)
    reads = [BOTH if isinstance(block, ReductionBlock) else _reads(next(lives), 0) for block in network.body]
    reads.append((True, False))  # batch norm before the head
    node = cache.get("stem") if cache is not None else None
    if node is None:
        wanted = reads[0] if cache is None else BOTH
        node = Node(*loops.combine([_convolved(loops, network.stem, x)], [], *wanted))
        if cache is not None:
            cache["stem"] = node
    paths = iter(choices)
    for block, wanted in zip(network.body, reads[1:], strict=True):
        if isinstance(block, ReductionBlock):
            node = _reduction(loops, block, node, wanted)
        else:
            node, cache = _cell(loops, block, node, *next(paths), wanted, cache), None
    _, rect = loops.combine([loops.normalise(node.value, network.last)], [], False, True)
    return rect


def _reads(live: Arch, node: int) -> tuple[bool, bool]:
    """Whether the edges that leave a node read its value, and its value rectified; one of the two is always made."""
    ops = {live[edge] for edge, (source, _) in enumerate(EDGES) if source == node}
    rect = bool(ops & {CONV1, CONV3})
    return not rect or bool(ops & {SKIP, POOL}), rect


def _convolved(loops: Loops, module: ConvBN, x: torch.Tensor) -> kernels.Normalised:
    convolution, norm = module
    return loops.normalise(loops.convolve(convolution, x), norm)


def _reduction(loops: Loops, block: ReductionBlock, node: Node, wanted: tuple[bool, bool]) -> Node:
    _, inner = loops.combine([_convolved(loops, block.first, node.rectified(loops))], [], False, True)
    shortcut = loops.convolve(block.shortcut, loops.halve(node.value))
    return Node(*loops.combine([_convolved(loops, block.second, inner)], [shortcut], *wanted))


def _cell(
    loops: Loops,
    cell: nn.Module,
    x: Node,
    arch: Arch,
    live: Arch,
    wanted: tuple[bool, bool],
    cache: dict[Any, Any] | None,
) -> Node:
    """As `Cell.forward`; what is cached of an edge is its output before batch norm, and how to normalise it."""
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
            convolution = op in (CONV1, CONV3)
            key = partial_key(arch, cell.choices[edge].group) if convolution else op
            kept: dict[Any, Any] = {}
            if cache is not None:
                history.append((edge, key, histories[source]))
                if edge not in cache or cache[edge][0] != histories[source]:
                    cache[edge] = (histories[source], {})
                kept = cache[edge][1]
            if key not in kept:
                kept[key] = _output(loops, cell, edge, key, op, nodes[source])
            (normalised if convolution else plain).append(kept[key])
        made = wanted if node == NODES - 1 else _reads(live, node)
        if skipped is not None and len(normalised) + len(plain) == 1:
            nodes.append(skipped)  # the same tensor: what was rectified or pooled of it stays so
        elif normalised or len(plain) > 1:
            nodes.append(Node(*loops.combine(normalised, plain, *made)))
        else:
            nodes.append(Node(plain[0] if plain else torch.zeros_like(x.rect if x.value is None else x.value)))
        histories[node] = tuple(history)
    return nodes[-1]


def _output(loops: Loops, cell: nn.Module, edge: int, key: Any, op: int, source: Node) -> Any:
    if op == SKIP:
        return source.value
    if op == POOL:
        return source.pool(loops)
    return _convolved(loops, cell.choices[edge].copies[key], source.rectified(loops))
