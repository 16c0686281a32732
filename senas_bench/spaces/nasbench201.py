"""NAS-Bench-201: arch strings, the official index order, and equivalent archs.

Source: Dong and Yang, "NAS-Bench-201", ICLR 2020; order and string rules as in AutoDL-Projects.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from .space import Arch, SearchSpace

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source node, target node) of each edge, in the order of the arch string."""
NODES = 4
INTO = tuple(tuple((e, source) for e, (source, target) in enumerate(EDGES) if target == node) for node in range(NODES))
"""Per node its incoming edges and their sources."""

NB201 = SearchSpace(
    name="nasbench201",
    operators=OPERATORS,
    edges=tuple(f"{source}->{target}" for source, target in EDGES),
    candidates=(tuple(range(5)),) * 6,
)

_TERM = re.compile(r"([a-z0-9_]+)~([0-9]+)")


def arch_to_str(arch: Arch) -> str:
    """The official string `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
    terms = [f"{OPERATORS[op]}~{source}" for op, (source, _) in zip(arch, EDGES, strict=True)]
    return f"|{terms[0]}|+|{terms[1]}|{terms[2]}|+|{terms[3]}|{terms[4]}|{terms[5]}|"


def arch_from_str(text: str) -> Arch:
    """Read an official arch string.

    Raises:
        ValueError: The text does not describe an arch; the message says what is wrong and allowed.
    """
    form = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
    nodes = text.strip().split("+")
    if len(nodes) != NODES - 1:
        raise ValueError(f"bad arch string {text!r}: {len(nodes)} nodes where 3 are needed; write {form}")
    arch = []
    for target, node in enumerate(nodes, start=1):
        terms = node.split("|")
        if len(terms) != target + 2 or terms[0] or terms[-1]:
            raise ValueError(f"bad arch string {text!r}: node {target} needs {target} inputs; write {form}")
        for source, term in enumerate(terms[1:-1]):
            match = _TERM.fullmatch(term)
            if match is None or int(match[2]) != source:
                raise ValueError(f"bad arch string {text!r}: {term!r} where op~{source} is needed; write {form}")
            if match[1] not in OPERATORS:
                raise ValueError(
                    f"bad arch string {text!r}: unknown operator {match[1]!r}; one of: {', '.join(OPERATORS)}"
                )
            arch.append(OPERATORS.index(match[1]))
    return tuple(arch)


@functools.cache
def official_archs() -> tuple[Arch, ...]:
    """All 15,625 archs in the order of the benchmark's index [code].

    The reference enumerates the space and shuffles it with Python's generator seeded with 88.
    """
    archs = list(itertools.product(range(5), repeat=6))
    random.Random(88).shuffle(archs)
    return tuple(archs)


@functools.cache
def _official_index() -> dict[Arch, int]:
    return {arch: index for index, arch in enumerate(official_archs())}


def arch_to_index(arch: Arch) -> int:
    """Official index of an arch, 0 to 15,624."""
    return _official_index()[arch]


def lexicographic_codes(archs: np.ndarray) -> np.ndarray:
    """`(n,)` int: position of each row of `archs` `(n, 6)` in `NB201.archs()`."""
    return archs.astype(np.int64) @ 5 ** np.arange(5, -1, -1)


def unique_str(arch: Arch) -> str:
    """The isomorphism class of an arch under the official rule that folds zeros.

    A skip stands for its source; an edge that is `none` or leaves a node that is exactly `#` becomes
    `#` and stays a summand. 6,466 strings over the whole space. Equal strings mean equal stand-alone
    networks up to the zero summands; use `prune` where weights are shared.
    """
    nodes = ["0"]
    for target in range(1, NODES):
        summands = []
        for op, (source, _) in ((op, edge) for op, edge in zip(arch, EDGES, strict=True) if edge[1] == target):
            if op == NONE or nodes[source] == "#":
                summands.append("#")
            elif op == SKIP:
                summands.append(nodes[source])
            else:
                summands.append(f"({nodes[source]})@{OPERATORS[op]}")
        nodes.append("+".join(sorted(summands)))
    return nodes[-1]


def prune(archs: np.ndarray) -> np.ndarray:
    """Replace by `none` every edge that carries nothing to the output.

    An edge is dead when its source cannot be reached from the input or its target does not reach the
    output. With weights shared over the space and batch norm without affine parameters, an arch and
    its pruned form compute the same function. 9,445 of 15,625 forms remain.

    Args:
        archs: `(n, 6)` operator indices.

    Returns:
        `(n, 6)` of the same type.
    """
    used = archs != NONE
    reached = np.zeros((len(archs), NODES), bool)
    reached[:, 0] = True
    for edge, (source, target) in enumerate(EDGES):  # sources come before targets
        reached[:, target] |= reached[:, source] & used[:, edge]
    useful = np.zeros_like(reached)
    useful[:, -1] = True
    for edge, (source, target) in reversed(list(enumerate(EDGES))):
        useful[:, source] |= useful[:, target] & used[:, edge]
    live = np.stack([reached[:, source] & useful[:, target] for source, target in EDGES], axis=1)
    return np.where(live, archs, NONE).astype(archs.dtype)


def prune_arch(arch: Arch) -> Arch:
    """`prune` for one arch."""
    return _all_pruned()[arch]


@functools.cache
def _all_pruned() -> dict[Arch, Arch]:
    archs = NB201.archs()
    return dict(zip(map(tuple, archs.tolist()), map(tuple, prune(archs).tolist()), strict=True))


def shared_function(live: Arch, weights: Sequence[Hashable]) -> Hashable:
    """What a pruned arch computes where weights are shared: equal for archs that are equal in exact arithmetic.

    A node is a sum of terms, each pooled some number of times: a skip hands its source on, and pooling is linear, so
    it counts one up in every term. Terms are the input and the convolutions, each known by its edge, its weights and
    what it reads. 7,548 of the 9,445 pruned archs of the whole space remain.

    Args:
        live: A pruned arch.
        weights: Per edge a name of the weights that a convolution there uses.
    """
    nodes: list[frozenset] = [frozenset({(0, "input", 1)})]
    for target in range(1, NODES):
        terms: Counter = Counter()
        for edge, source in INTO[target]:
            op = live[edge]
            if op in (SKIP, POOL):
                for pools, term, times in nodes[source]:
                    terms[pools + (op == POOL), term] += times
            elif op != NONE:
                terms[0, (edge, weights[edge], nodes[source])] += 1
        nodes.append(frozenset((*term, times) for term, times in terms.items()))
    return nodes[-1]
