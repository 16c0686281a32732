"""The DARTS space: cells of four nodes, each the sum of two inputs (paper Fig. 4).

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019; [code] is its public code
unless another is named.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .cost import CostTable
from .space import Arch, SearchSpace

OPERATORS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
NONE, MAX_POOL, AVG_POOL, SKIP, SEP3, SEP5, DIL3, DIL5 = range(8)
SEPARABLE = {SEP3: 3, SEP5: 5}
DILATED = {DIL3: 3, DIL5: 5}
"""Kernel sizes."""
NODES = (2, 3, 4, 5)
"""Nodes that sum their inputs; nodes 0 and 1 are the outputs of the two cells before."""
EDGES = tuple((source, target) for target in NODES for source in range(target))
"""(source node, target node) of each edge of a cell: 0->2, 1->2, 0->3, 1->3, 2->3, ..., 4->5."""
CELLS = ("normal", "reduce")


def darts_space(shared_cell: bool = True) -> SearchSpace:
    """The space of one cell, 8^14 choices, or of a normal and a reduction cell, 8^28; `TwoInputs` says which are archs.

    Args:
        shared_cell: Normal and reduction cells have the same arch, which has 14 edges. Otherwise an arch has 28: those
            of the normal cell come first. The spaces are named `darts` and `darts-separate`.
    """
    prefixes = ("",) if shared_cell else tuple(f"{cell} " for cell in CELLS)
    edges = tuple(f"{prefix}{source}->{target}" for prefix in prefixes for source, target in EDGES)
    name = "darts" if shared_cell else "darts-separate"
    rule = TwoInputs(_into_nodes(len(prefixes)))
    return SearchSpace(name, OPERATORS, edges, (tuple(range(len(OPERATORS))),) * len(edges), rule=rule)


@dataclass(frozen=True)
class TwoInputs:
    """What makes a tuple of choices an arch: exactly two inputs of each node carry something, the others are `none`.

    `none` is how an edge is left out, so it is no operator that could be dropped, and an edge keeps at least one beside
    it. It is the `rule` of the space: whole or shrunk, the space gives archs that obey it.

    Args:
        nodes: The edges into each node: a partition of the edges, in order.
        none: Index of the operator `none`.
    """

    nodes: tuple[tuple[int, ...], ...]
    none: int = NONE

    def valid(self, archs: np.ndarray) -> np.ndarray:
        """`(n,)` bool: which rows of `archs` `(n, edges)` are archs, in whatever space."""
        inside = np.ones(len(archs), bool)
        for node in self.nodes:
            inside &= (archs[:, node] != self.none).sum(axis=1) == 2
        return inside

    def count(self, space: SearchSpace) -> int:
        """Number of archs: 180 * 49^4, about 1.04e9, in the whole space of one cell."""
        return math.prod(map(len, _node_tables(self, space)))

    def archs(self, space: SearchSpace) -> np.ndarray:
        """All archs, `(count, edges)` int8, in lexicographic order."""
        return self._decode(space, np.arange(self.count(space)))

    def sample(self, space: SearchSpace, rng: np.random.Generator) -> Arch:
        """One arch, uniformly over all archs of the space.

        AngleNAS [code] draws each edge on its own and repairs the draw. In a space whose edges have equally many
        candidates that is the same distribution; in a shrunk space it is not, while this one stays uniform.
        """
        arch = [self.none] * len(space.edges)
        for node, table in zip(self.nodes, _node_tables(self, space), strict=True):
            for edge, op in zip(node, table[rng.integers(len(table))].tolist(), strict=True):
                arch[edge] = op
        return tuple(arch)

    def sample_distinct(self, space: SearchSpace, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(min(n, count), edges)` int8 distinct archs, uniformly without replacement."""
        count = self.count(space)
        return self._decode(space, rng.choice(count, size=min(n, count), replace=False))

    def repair(self, space: SearchSpace, arch: Arch, rng: np.random.Generator) -> Arch:
        """An arch of the space that keeps as many operators of `arch` as it can; uniformly among all such.

        An arch of the space stays as it is. Of three or more inputs of a node two are kept, each pair equally likely;
        one or two that are missing, or not alive, are drawn from all that is alive beside what is kept. So a uniform
        draw from a space whose edges have equally many candidates becomes a uniform arch.

        Args:
            arch: Any choices, such as a crossover of two archs.
        """
        repaired = list(arch)
        for node, table in zip(self.nodes, _node_tables(self, space), strict=True):
            given = np.array([arch[edge] for edge in node])
            kept = ((table == given) & (table != self.none)).sum(axis=1)
            nearest = table[kept == kept.max()]
            for edge, op in zip(node, nearest[rng.integers(len(nearest))].tolist(), strict=True):
                repaired[edge] = op
        return tuple(repaired)

    def balanced_sample(self, space: SearchSpace, per_operator: int, rng: np.random.Generator) -> np.ndarray:
        """Archs in which every alive operator but `none` occurs at least `per_operator` times (Eq. 5).

        As `spaces.balanced_sample`: each row is uniform over the archs, so that the rows with an operator are uniform
        over the archs that contain it, and one pool serves all operators. In the whole space of one cell 100 per
        operator take 1,750 archs in place of 9,800. A space with no more archs than the pool is returned whole.

        Returns:
            `(n, edges)` int8.
        """
        pool = self._pool_size(space, per_operator)
        if self.count(space) <= pool:
            return self.archs(space)
        archs = np.full((pool, len(space.edges)), self.none, np.int8)
        for node in self.nodes:
            pairs = self._pairs(space, node)
            weights = np.cumsum(list(pairs.values()))
            # systematic sampling: each pair of edges gets its share of the rows, rounded up or down at random
            ends = (weights * pool + rng.integers(weights[-1])) // weights[-1]
            for pair, rows in zip(pairs, np.split(rng.permutation(pool), ends[:-1]), strict=True):
                for edge in pair:
                    archs[rows, edge] = _evenly(self._others(space, edge), len(rows), rng)
        return archs

    def droppable(self, space: SearchSpace) -> list[tuple[int, int]]:
        """The operators that criteria score and a shrink may drop, as `(edge, operator)`: all alive but `none`.

        Whoever drops them leaves the last of each edge.
        """
        return [(edge, op) for edge, op in space.alive() if op != self.none]

    def _others(self, space: SearchSpace, edge: int) -> list[int]:
        return [op for op in space.candidates[edge] if op != self.none]

    def _pairs(self, space: SearchSpace, node: Sequence[int]) -> dict[tuple[int, int], int]:
        """The pairs of edges that can be the inputs of a node, and in how many ways."""
        pairs = {}
        for pair in itertools.combinations(node, 2):
            ways = math.prod(len(self._others(space, edge)) for edge in pair)
            if ways and all(self.none in space.candidates[edge] for edge in node if edge not in pair):
                pairs[pair] = ways
        return pairs

    def _pool_size(self, space: SearchSpace, per_operator: int) -> int:
        """The least number of rows with which `balanced_sample` can keep its promise."""
        pool = per_operator
        for node in self.nodes:
            pairs = self._pairs(space, node)
            total = sum(pairs.values())
            for edge in set(itertools.chain.from_iterable(pairs)):
                ways = [count for pair, count in pairs.items() if edge in pair]
                operators = len(self._others(space, edge))
                while sum(pool * count // total // operators for count in ways) < per_operator:
                    pool += 1
        return pool

    def _decode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        """`(n, edges)` archs at positions `codes` of the lexicographic order."""
        tables = _node_tables(self, space)
        archs = np.empty((len(codes), len(space.edges)), np.int8)
        for node, table, digits in zip(self.nodes, tables, np.unravel_index(codes, [*map(len, tables)]), strict=True):
            archs[:, node] = table[digits]
        return archs


@functools.lru_cache(maxsize=64)
def _node_tables(rule: TwoInputs, space: SearchSpace) -> tuple[np.ndarray, ...]:
    """Per node `(ways, edges of the node)` int8: all operators that its edges can have, in lexicographic order."""
    tables = []
    for node in rule.nodes:
        choices = itertools.product(*[space.candidates[edge] for edge in node])
        ways = [row for row in choices if len(row) - row.count(rule.none) == 2]
        if not ways:
            names = ", ".join(space.edges[edge] for edge in node)
            raise ValueError(f"no arch has exactly two inputs among edges {names}; `none` may be missing, or all else")
        tables.append(np.array(ways, np.int8))
    return tuple(tables)


def _evenly(operators: Sequence[int], n: int, rng: np.random.Generator) -> np.ndarray:
    """`(n,)` operators, each as often as any other to within one, and each place equally likely to hold any."""
    rounds = [rng.permutation(np.array(operators, np.int8)) for _ in range(n // len(operators) + 1)]
    return np.concatenate(rounds)[:n]


def _into_nodes(cells: int) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(len(EDGES) * cell + edge for edge, (_, target) in enumerate(EDGES) if target == node)
        for cell in range(cells)
        for node in NODES
    )


DARTS = darts_space()
DARTS_SEPARATE = darts_space(shared_cell=False)


class Genotype(NamedTuple):
    """A pair of cells in the notation of DARTS [code].

    Args:
        normal, reduce: Eight `(operator, input node)`; the first two make node 2, the next two node 3, and so on.
        normal_concat, reduce_concat: The nodes whose concatenation is the output: always all four here.
    """

    normal: tuple[tuple[str, int], ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[tuple[str, int], ...]
    reduce_concat: tuple[int, ...]


def arch_to_genotype(arch: Arch) -> Genotype:
    """The genotype of an arch, inputs of a node in ascending order; of a shared cell, both cells the same.

    Raises:
        ValueError: These are not 14 or 28 edges, or a node has not exactly two inputs.
    """
    normal, reduce = (_cells_of(arch) * 2)[:2]
    return Genotype(normal, NODES, reduce, NODES)


def arch_from_genotype(genotype: Genotype, shared_cell: bool = False) -> Arch:
    """The arch of a genotype, whose order of a node's two inputs says nothing.

    Args:
        genotype: Or any other sequence of its four fields.
        shared_cell: Give an arch of 14 edges; both cells must be the same.

    Raises:
        ValueError: It does not describe cells of this space; the message says what is wrong.
    """
    normal, normal_concat, reduce, reduce_concat = genotype
    cells = []
    for name, inputs, concat in zip(CELLS, (normal, reduce), (normal_concat, reduce_concat), strict=True):
        if sorted(concat) != list(NODES):
            raise ValueError(f"bad genotype: {name} cell concatenates nodes {list(concat)}; all of {NODES} are needed")
        if len(inputs) != 2 * len(NODES):
            raise ValueError(f"bad genotype: {name} cell has {len(inputs)} inputs; two for each of 4 nodes are needed")
        try:
            cells.append(_cell_from(zip(inputs[::2], inputs[1::2], strict=True)))
        except ValueError as error:
            raise ValueError(f"bad genotype: {name} cell, {error}") from None
    if not shared_cell:
        return cells[0] + cells[1]
    if cells[0] != cells[1]:
        raise ValueError("bad genotype: normal and reduction cell differ, so they are no shared cell")
    return cells[0]


_FORM = "four nodes joined by +, each |op~source|op~source|, and a reduction cell of its own behind a /"
_TERM = re.compile(r"([a-z0-9_]+)~([0-9]+)")


def arch_to_str(arch: Arch) -> str:
    """The inputs of each node, as in NAS-Bench-201 but without those that are `none`; `/` parts separate cells.

    `|sep_conv_3x3~0|skip_connect~1|+|...|+|...|+|...|`: node 2 is a 3x3 separable convolution of node 0 plus node 1.

    Raises:
        ValueError: These are not 14 or 28 edges, or a node has not exactly two inputs.
    """
    terms = [[f"{name}~{source}" for name, source in cell] for cell in _cells_of(arch)]
    return "/".join("+".join(f"|{a}|{b}|" for a, b in zip(cell[::2], cell[1::2], strict=True)) for cell in terms)


def arch_from_str(text: str) -> Arch:
    """Read what `arch_to_str` writes: 14 edges from one cell, 28 from two. The order of a node's inputs is free.

    Raises:
        ValueError: The text does not describe an arch; the message says what is wrong and allowed.
    """
    cells = text.strip().split("/")
    try:
        if len(cells) > len(CELLS):
            raise ValueError(f"{len(cells)} cells where 1 or 2 are possible")
        return tuple(itertools.chain.from_iterable(_cell_from(_parse_cell(cell)) for cell in cells))
    except ValueError as error:
        raise ValueError(f"bad arch string {text!r}: {error}; write {_FORM}") from None


def _parse_cell(text: str) -> list[list[tuple[str, int]]]:
    nodes = text.split("+")
    if len(nodes) != len(NODES):
        raise ValueError(f"{len(nodes)} nodes where {len(NODES)} are needed")
    cell = []
    for target, node in zip(NODES, nodes, strict=True):
        terms = node.split("|")
        if len(terms) != 4 or terms[0] or terms[-1]:
            raise ValueError(f"node {target} needs two inputs, not {node!r}")
        matches = [_TERM.fullmatch(term) for term in terms[1:-1]]
        if None in matches:
            raise ValueError(f"node {target}: {terms[1 + matches.index(None)]!r} is no op~source")
        cell.append([(match[1], int(match[2])) for match in matches])
    return cell


def _cell_from(inputs: Iterable[Sequence[tuple[str, int]]]) -> Arch:
    """The 14 edges of a cell from the two inputs of each node."""
    cell = [NONE] * len(EDGES)
    for target, pair in zip(NODES, inputs, strict=True):
        for name, source in pair:
            if name not in OPERATORS[1:]:
                raise ValueError(f"node {target}: unknown operator {name!r}; one of: {', '.join(OPERATORS[1:])}")
            if source not in range(target):
                raise ValueError(f"node {target}: input {source}, which is not among nodes 0 to {target - 1}")
            edge = EDGES.index((source, target))
            if cell[edge] != NONE:
                raise ValueError(f"node {target}: input {source} twice; the two inputs of a node must differ")
            cell[edge] = OPERATORS.index(name)
    return tuple(cell)


def _cells_of(arch: Arch) -> list[tuple[tuple[str, int], ...]]:
    """Per cell of an arch its eight (operator, input node)."""
    if len(arch) not in (len(EDGES), 2 * len(EDGES)):
        raise ValueError(f"no arch: {len(arch)} edges where {len(EDGES)} or {2 * len(EDGES)} are needed")
    cells = []
    for start in range(0, len(arch), len(EDGES)):
        cell = arch[start : start + len(EDGES)]
        inputs = [(OPERATORS[op], source, target) for op, (source, target) in zip(cell, EDGES, strict=True) if op]
        for node in NODES:
            if (count := sum(target == node for *_, target in inputs)) != 2:
                raise ValueError(f"no arch: node {node} has {count} inputs where 2 are needed")
        cells.append(tuple((name, source) for name, source, _ in inputs))
    return cells


def _inputs(text: str) -> tuple[tuple[str, int], ...]:
    terms = (term.split("~") for term in text.split())
    return tuple((name, int(source)) for name, source in terms)


GENOTYPES = {
    "DARTS_V1": Genotype(
        _inputs(
            "sep_conv_3x3~1 sep_conv_3x3~0 skip_connect~0 sep_conv_3x3~1 "
            "skip_connect~0 sep_conv_3x3~1 sep_conv_3x3~0 skip_connect~2"
        ),
        NODES,
        _inputs(
            "max_pool_3x3~0 max_pool_3x3~1 skip_connect~2 max_pool_3x3~0 "
            "max_pool_3x3~0 skip_connect~2 skip_connect~2 avg_pool_3x3~0"
        ),
        NODES,
    ),
    "DARTS_V2": Genotype(
        _inputs(
            "sep_conv_3x3~0 sep_conv_3x3~1 sep_conv_3x3~0 sep_conv_3x3~1 "
            "sep_conv_3x3~1 skip_connect~0 skip_connect~0 dil_conv_3x3~2"
        ),
        NODES,
        _inputs(
            "max_pool_3x3~0 max_pool_3x3~1 skip_connect~2 max_pool_3x3~1 "
            "max_pool_3x3~0 skip_connect~2 skip_connect~2 max_pool_3x3~1"
        ),
        NODES,
    ),
}
"""The cells that DARTS found on CIFAR-10, first and second order (Liu et al. 2019) [code]."""

STEMS = ("cifar", "imagenet")


class CellShape(NamedTuple):
    """One cell of the stack.

    Args:
        c_before, c_last: Channels of the outputs of the cell before the last, and of the last: nodes 0 and 1.
        channels: Of its own nodes; its output has four times as many.
        reduction: Whether its edges from nodes 0 and 1 have stride 2.
        halve_before: Whether node 0 is twice as high and wide as node 1 and has to be halved first.
        side: Height and width of node 1 in pixels.
    """

    c_before: int
    c_last: int
    channels: int
    reduction: bool
    halve_before: bool
    side: int

    @property
    def out_side(self) -> int:
        """Height and width of the output in pixels."""
        return -(-self.side // 2) if self.reduction else self.side


@dataclass(frozen=True)
class DartsSkeleton:
    """What surrounds the choices; by default the paper's stack for CIFAR, at the width of DARTS's search [code].

    Args:
        resolution: Height and width of an image in pixels.
        num_classes, in_channels: Of the data.
        channels: Width of the first normal cell's nodes; doubled by each reduction cell.
        layers: Cells in all.
        reductions: Positions of the reduction cells. None puts them at `layers // 3` and `2 * layers // 3` [code],
            which with `3 n + 2` layers leaves three stages of n normal cells: 4-R-4-R-4 of 14, 6-R-6-R-6 of 20.
        stem: `cifar`, one convolution at full resolution; or `imagenet`, three of stride 2.

    Raises:
        ValueError: Unknown stem, a number that is too small, or reductions that are not ascending positions.
    """

    resolution: int = 32
    num_classes: int = 10
    in_channels: int = 3
    channels: int = 16
    layers: int = 14
    reductions: tuple[int, ...] | None = None
    stem: str = "cifar"

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise ValueError(f"unknown stem {self.stem!r}; one of: {', '.join(STEMS)}")
        if min(self.resolution, self.num_classes, self.in_channels, self.channels - 1, self.layers) < 1:
            raise ValueError(f"every number of a skeleton must be at least 1, and channels 2: {self}")
        if self.reductions is None:
            object.__setattr__(self, "reductions", (self.layers // 3, 2 * self.layers // 3))
        if list(self.reductions) != sorted(set(self.reductions) & set(range(self.layers))):
            raise ValueError(f"reductions {self.reductions} must be ascending positions below {self.layers}")

    @property
    def cells(self) -> tuple[CellShape, ...]:
        """All cells, shallow to deep."""
        imagenet = self.stem == "imagenet"
        before = last = self.channels if imagenet else 3 * self.channels
        side = -(-self.resolution // 8) if imagenet else self.resolution
        channels, halve, cells = self.channels, imagenet, []
        for layer in range(self.layers):
            reduction = layer in self.reductions
            channels *= 2 if reduction else 1
            cells.append(CellShape(before, last, channels, reduction, halve, side))
            before, last, halve, side = last, 4 * channels, reduction, cells[-1].out_side
        return tuple(cells)


SUPERNET = DartsSkeleton()
SKELETONS = {
    "cifar10": DartsSkeleton(32, 10, channels=36, layers=20),
    "cifar100": DartsSkeleton(32, 100, channels=36, layers=20),
    "imagenet": DartsSkeleton(224, 1000, channels=48, layers=14, stem="imagenet"),
}
"""The networks in which found cells are trained from scratch [code], by dataset."""


def operator_cost(op: int, shape: CellShape, source: int) -> tuple[int, int]:
    """Multiply-adds and parameters, affine batch norm included, of an operator on an edge from node `source`."""
    width, halved = shape.channels, shape.reduction and source < 2
    depthwise = SEPARABLE | DILATED
    if op in depthwise:
        weights = depthwise[op] ** 2 * width + width**2
        times = 2 if op in SEPARABLE else 1
        return times * weights * shape.out_side**2, times * (weights + 2 * width)
    if op == SKIP and halved:
        return width**2 * shape.out_side**2, width**2 + 2 * width
    return 0, 0


def darts_cost(skeleton: DartsSkeleton, shared_cell: bool = True) -> CostTable:
    """Exact cost table of the stand-alone network over a skeleton, its auxiliary head left out (docs/method.md 7).

    Multiply-adds are those of convolutions and the classifier without its bias; parameters include affine batch norm
    and that bias. An edge that is `none` is absent, so a cost is a sum over edges for any choices, archs or not.

    Args:
        shared_cell: `per_edge` is `(14, 8, 2)`, or `(28, 8, 2)` for separate cells.
    """
    width, cells = skeleton.channels, skeleton.cells
    base = np.zeros(2, np.int64)

    def add(weights: int, side: int, other: int) -> None:
        base[:] += weights * side**2, weights + other

    if skeleton.stem == "cifar":
        add(9 * skeleton.in_channels * 3 * width, skeleton.resolution, 2 * 3 * width)
    else:
        widths = (skeleton.in_channels, width // 2, width, width)
        for (c_in, c_out), stride in zip(itertools.pairwise(widths), (2, 4, 8), strict=True):
            add(9 * c_in * c_out, -(-skeleton.resolution // stride), 2 * c_out)
    per_edge = np.zeros((len(EDGES) * (1 if shared_cell else 2), len(OPERATORS), 2), np.int64)
    for shape in cells:
        add((shape.c_before + shape.c_last) * shape.channels, shape.side, 4 * shape.channels)
        first = len(EDGES) if shape.reduction and not shared_cell else 0
        for edge, (source, _) in enumerate(EDGES):
            for op in range(len(OPERATORS)):
                per_edge[first + edge, op] += operator_cost(op, shape, source)
    add(4 * cells[-1].channels * skeleton.num_classes, 1, skeleton.num_classes)
    return CostTable(base, per_edge)
