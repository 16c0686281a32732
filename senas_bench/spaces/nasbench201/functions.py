"""Which archs of NAS-Bench-201 compute the same function."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from senas_bench.spaces.nasbench201.space import EDGES, INTO, NB201, NODES, NONE, OPERATORS, POOL, SKIP
from senas_bench.spaces.space import Arch


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


def function_arch(arch: Arch) -> Arch | None:
    """The arch that stands for all whose stand-alone networks compute the same, each edge with weights of its own.

    The first in lexicographic order of those that differ in the names of their edges, in skips, dead edges and the
    order of sums and poolings, as in `shared_function`; 5,043 in the whole space. Unlike `unique_str`, it tells one
    convolution that is read twice from two.

    Returns:
        None where nothing reaches the output.
    """
    return _all_functions()[prune_arch(arch)]


def half_of(arch: Arch) -> int:
    """0 or 1: in which half of the functions an arch is, drawn once and for all by a hash. What was chosen with the
    truth of one half in view is to be judged on the other."""
    return hashlib.sha256(bytes(function_arch(arch) or ())).digest()[0] % 2


def pruned_or_none(arch: Arch) -> Arch | None:
    """`prune` for one arch; None where nothing reaches the output."""
    live = prune_arch(arch)
    return live if any(live) else None


@functools.cache
def _all_functions() -> dict[Arch, Arch | None]:
    names: dict[Hashable, int] = {}
    stands: dict[Hashable, Arch] = {}
    forms = sorted(set(_all_pruned().values()))
    keys = {live: _own_function(live, names) for live in forms}
    for live in forms:
        stands.setdefault(keys[live], live)
    return {live: stands[keys[live]] if any(live) else None for live in forms}


def _own_function(live: Arch, names: dict[Hashable, int]) -> Hashable:
    """Equal for pruned archs that are equal up to the names of their edges.

    A node is a sum of terms, the input or a convolution, each pooled some number of times. A term is known by its
    operator and what it reads, and by who reads it how often. That this tells all functions apart which renaming the
    edges does is no theorem: a test tries all names.

    Args:
        names: Small numbers for what was seen, filled in passing.
    """
    nodes, reads = [Counter({(0, -1): 1})], {-1: 0}
    for target in range(1, NODES):
        terms: Counter = Counter()
        for edge, source in INTO[target]:
            if live[edge] in (SKIP, POOL):
                for (pools, term), times in nodes[source].items():
                    terms[pools + (live[edge] == POOL), term] += times
            elif live[edge] != NONE:
                reads[edge] = source
                terms[0, edge] += 1
        nodes.append(terms)

    def name(value: Hashable) -> int:
        return names.setdefault(value, len(names))

    kinds = {-1: name("input")}
    for edge in sorted(reads, key=lambda edge: (reads[edge], edge))[1:]:  # what it reads comes before it
        read = sorted((pools, times, kinds[term]) for (pools, term), times in nodes[reads[edge]].items())
        kinds[edge] = name((live[edge], *read))
    readers = [(name("output"), NODES - 1)] + [(kinds[edge], source) for edge, source in reads.items() if edge >= 0]
    whole = []
    for term, kind in kinds.items():
        uses = sorted((who, pools, nodes[node][pools, term]) for who, node in readers for pools in range(NODES))
        whole.append(name((kind, *(use for use in uses if use[2]))))
    return tuple(sorted(whole))
