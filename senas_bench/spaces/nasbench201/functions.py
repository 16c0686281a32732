"""Which archs of NAS-Bench-201 compute the same function."""

from __future__ import annotations

import functools
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
