"""Which rows each operator of a cell reads and is added to, where several archs run in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import torch

from senas_bench.kernels.door import Node
from senas_bench.kernels.stacked import RowStatistics, Stacked
from senas_bench.networks.choice import partial_key
from senas_bench.networks.operations import ReductionBlock
from senas_bench.spaces.nasbench201 import CONV1, CONV3, EDGES, INTO, NODES, NONE
from senas_bench.spaces.space import Arch

Key = tuple[int, int, Any]
"""Edge, operator, and the name of what runs there: the copy of the weights, or the operator again."""


class Rows:
    """Lists of rows, one behind the other, so that all can be brought to a device at once."""

    def __init__(self) -> None:
        self.all: list[int] = []

    def add(self, rows: Sequence[int], among: int | None = None) -> slice | None:
        """Where the list lies; None if it is all of `among` rows, in order."""
        if among is not None and list(rows) == list(range(among)):
            return None
        self.all += rows
        return slice(len(self.all) - len(rows), len(self.all))


@dataclass(frozen=True)
class Call:
    """One operator, run once on some rows of a node. Each slice is of `Rows.all`; None stands for all rows, in order.

    Args:
        key: Which.
        sources: Lists the rows it reads, each once.
        given: Lists which of what it makes goes to each of `targets`.
        targets: Lists the rows of a later node that it is added to.
    """

    key: Key
    sources: slice | None
    given: slice | None
    targets: slice | None


@dataclass(frozen=True)
class Plan:
    """A cell: per node from the second on its number of rows and its calls; and per arch the row of the output."""

    nodes: tuple[tuple[int, tuple[Call, ...]], ...]
    outputs: tuple[int, ...]


def plan(ways: Sequence[Sequence[Key | None]], inputs: Sequence[int], rows: Rows) -> Plan:
    """How archs go through a cell. Of rows that would be equal there is one.

    Args:
        ways: Per arch and edge what runs there; None where nothing does.
        inputs: Per arch the row of the input.
        rows: Takes the lists.
    """
    at, nodes = [tuple(inputs)], []
    for node in range(1, NODES):
        numbers: dict[Any, int] = {}
        sums = [
            tuple((way[edge], at[source][i]) for edge, source in INTO[node] if way[edge]) for i, way in enumerate(ways)
        ]
        at.append(tuple(numbers.setdefault(terms, len(numbers)) for terms in sums))
        sizes = [1 + max(numbered) for numbered in at]
        nodes.append((len(numbers), tuple(_calls(list(numbers), sizes, rows))))
    return Plan(tuple(nodes), at[-1])


def _calls(sums: Sequence[Sequence[tuple[Any, int]]], sizes: Sequence[int], rows: Rows) -> Iterator[Call]:
    """What to do for a node.

    Args:
        sums: Of each of its rows, the operators that are added and the rows that these read.
        sizes: Rows of the nodes before.
    """
    terms: dict[Key, list[tuple[int, int]]] = {}
    for target, sum_ in enumerate(sums):
        for key, source in sum_:
            terms.setdefault(key, []).append((source, target))
    for key, pairs in terms.items():
        sources = sorted({source for source, _ in pairs})
        given = rows.add([sources.index(source) for source, _ in pairs], len(sources))
        read = rows.add(sources, sizes[EDGES[key[0]][0]])
        yield Call(key, read, given, rows.add([target for _, target in pairs], len(sums)))


class Stack:
    """Several archs of a network, run in one pass.

    Args:
        network: An `NB201Network`.
        pairs: Archs, which name the copies of the weights, and their live forms.
    """

    def __init__(self, network: Any, pairs: Sequence[tuple[Arch, Arch]]) -> None:
        self.network, self.rows = network, Rows()
        groups = [choice.group for choice in next(iter(network.body)).choices]
        ways = [[_key(arch, live[edge], edge, groups[edge]) for edge in range(len(EDGES))] for arch, live in pairs]
        self.first = plan(ways, [0] * len(ways), self.rows)
        self.others = plan(ways, self.first.outputs, self.rows)
        self.outputs: Any = self.rows.add(self.others.outputs)
        # brought without waiting for what the device has to do before
        self.index = torch.tensor(self.rows.all).to(network.head.weight.device, non_blocking=True)

    def __call__(self, x: torch.Tensor, kept: RowStatistics | None = None, learn: bool = False) -> torch.Tensor:
        """Logits `(archs, B, classes)`.

        Args:
            x: `(B, in_channels, H, W)`, the same for all.
            kept, learn: As for `Stacked`.
        """
        network, engine = self.network, Stacked(len(x), kept, learn)
        node = Node(engine, engine.operate(network.stem, x))
        plans = chain([self.first], repeat(self.others))
        for block in network.body:
            node = block(node) if isinstance(block, ReductionBlock) else block.stacked(node, next(plans), self.index)
        features = torch.relu(engine.normalise(node.value, network.last)).mean((2, 3))
        return network.head(features).unflatten(0, (-1, len(x))).index_select(0, self.index[self.outputs])


def _key(arch: Arch, op: int, edge: int, group: tuple[int, ...]) -> Key | None:
    if op == NONE:
        return None
    return edge, op, partial_key(arch, group) if op in (CONV1, CONV3) else op
