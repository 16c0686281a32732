"""Archs of NAS-Bench-201 as text, and the official index order.

Order and string rules as in AutoDL-Projects.
"""

from __future__ import annotations

import functools
import itertools
import random
import re

from senas_bench.spaces.nasbench201.space import EDGES, NODES, OPERATORS
from senas_bench.spaces.space import Arch
from senas_bench.spaces.texts import refuse_genotype

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
    refuse_genotype(text)
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
