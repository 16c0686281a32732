"""Archs of the DARTS space as text and as published genotypes.

[code] is DARTS's public code unless another is named.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from senas_bench.spaces.darts.cell import CELLS, EDGES, NODES, NONE, OPERATORS
from senas_bench.spaces.space import Arch


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
        cell.append([(match[1], int(match[2])) for match in matches if match])
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
