import itertools
import random
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.spaces.nasbench201 import (
    CONV3,
    EDGES,
    INTO,
    NB201,
    NODES,
    NONE,
    OPERATORS,
    POOL,
    SKIP,
    arch_from_str,
    arch_to_index,
    arch_to_str,
    function_arch,
    lexicographic_codes,
    official_archs,
    prune,
    prune_arch,
    pruned_or_none,
    unique_str,
)
from senas_bench.spaces.nasbench201.functions import half_of

ALL = list(itertools.product(range(5), repeat=6))
archs = st.tuples(*[st.integers(0, 4)] * 6)


def test_official_order_is_that_of_the_benchmark_table(shared):
    table = pd.read_parquet(shared / "nb201" / "nb201_accuracies.parquet", columns=["arch_index", "arch_str"])
    assert table["arch_index"].tolist() == list(range(15625))
    assert [arch_to_str(arch) for arch in official_archs()] == table["arch_str"].tolist()
    assert [arch_to_index(arch_from_str(text)) for text in table["arch_str"]] == list(range(15625))


def test_official_order_holds_every_arch_once():
    assert sorted(official_archs()) == ALL
    assert [arch_to_index(arch) for arch in official_archs()] == list(range(15625))


def test_known_strings_and_indices():
    """The strings of the NATS-Bench records with these indices, and the all-3x3 arch of docs/method.md 5."""
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert arch_from_str(text) == (4, 2, 1, 2, 1, 1)
    assert arch_to_index((4, 2, 1, 2, 1, 1)) == 0
    assert arch_to_index((CONV3,) * 6) == 1462


@given(archs)
@settings(max_examples=100, deadline=None)
def test_strings_round_trip(arch):
    text = arch_to_str(arch)
    assert arch_from_str(text) == arch_from_str(f" {text}\n") == arch
    assert [OPERATORS.index(name) for name in re.findall(r"\|([a-z_0-9]+)~", text.replace("|+|", "|"))] == list(arch)
    assert official_archs()[arch_to_index(arch)] == arch


GOOD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "1 nodes where 3 are needed"),
        ("|none~0|+|none~0|none~1|", "2 nodes where 3 are needed"),
        (GOOD + "+|none~0|", "4 nodes where 3 are needed"),
        (GOOD.replace("|none~0|none~1|+", "|none~0|+"), "node 2 needs 2 inputs"),
        (GOOD[1:], "node 1 needs 1 inputs"),
        (GOOD[:-1], "node 3 needs 3 inputs"),
        (GOOD.replace("none~2", "none~1"), "'none~1' where op~2 is needed"),
        (GOOD.replace("none~2", "none2"), "'none2' where op~2 is needed"),
        (GOOD.replace("none~2", "sep_conv_3x3~2"), "unknown operator 'sep_conv_3x3'"),
    ],
)
def test_bad_strings_are_explained(text, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        arch_from_str(text)
    assert "\n" not in str(caught.value)


def test_lexicographic_codes_are_positions():
    assert (lexicographic_codes(NB201.archs()) == np.arange(15625)).all()
    assert lexicographic_codes(np.array([(4, 4, 4, 4, 4, 4)], np.int8)).tolist() == [15624]  # beyond int8


def official_rule(text: str, node: int = 3, drop_zeros: bool = False) -> str:
    """`to_unique_str(consider_zero=True)` from its definition, by recursion over the string."""
    if node == 0:
        return "0"
    summands = []
    for term in text.split("+")[node - 1].strip("|").split("|"):
        name, source = term.split("~")
        inner = official_rule(text, int(source), drop_zeros)
        if name == "none" or inner == "#":
            summands.append("#")
        else:
            summands.append(inner if name == "skip_connect" else f"({inner})@{name}")
    if drop_zeros:
        summands = [summand for summand in summands if summand != "#"] or ["#"]
    return "+".join(sorted(summands))


def test_unique_strings_follow_the_official_rule():
    for arch in random.Random(0).sample(ALL, 2000):
        assert unique_str(arch) == official_rule(arch_to_str(arch))


def test_unique_strings_of_two_archs_by_hand():
    # node 1 = 3x3(0); node 2 = zero + node 1; node 3 = 0 + zero + pool(node 2)
    assert unique_str((3, 0, 1, 1, 0, 4)) == "#+(#+(0)@nor_conv_3x3)@avg_pool_3x3+0"
    # node 1 is exactly '#', so its 3x3 is a zero; node 2 is '#+#', which is not '#', and stays an operand
    assert unique_str((0, 0, 3, 1, 3, 2)) == "#+(#+#)@nor_conv_1x1+0"


def test_number_of_unique_strings():
    assert len({unique_str(arch) for arch in ALL}) == 6466


def test_number_under_the_neighbouring_rule():
    """Dropping zeros gives another number (docs/method.md 5), so the rule above is told apart from it."""
    assert len({official_rule(arch_to_str(arch), drop_zeros=True) for arch in ALL}) == 5390


def live_edges(arch) -> set[tuple[int, int]]:
    """Edges on a walk from the input to the output along operators that are not `none`, by enumeration."""
    alive = {edge for edge, op in zip(EDGES, arch, strict=True) if op != NONE}
    walks = [[(0, 3)], [(0, 1), (1, 3)], [(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]]
    return {edge for walk in walks if set(walk) <= alive for edge in walk}


def test_pruning_keeps_the_edges_on_a_walk_from_input_to_output():
    pruned = prune(NB201.archs())
    assert pruned.dtype == np.int8
    for arch, row in zip(ALL, pruned.tolist(), strict=True):
        live = live_edges(arch)
        assert row == [op if edge in live else NONE for edge, op in zip(EDGES, arch, strict=True)]


def test_pruning_all_archs():
    before = NB201.archs()
    pruned = prune(before)
    assert (before == NB201.archs()).all()
    assert len(np.unique(pruned, axis=0)) == 9445
    assert (prune(pruned) == pruned).all()
    assert (pruned == NONE).all(axis=1).sum() == 341  # disconnected archs


@given(archs)
@settings(max_examples=50, deadline=None)
def test_pruning_one_arch(arch):
    pruned = prune_arch(arch)
    assert pruned == tuple(prune(np.array([arch])).tolist()[0])
    assert all(type(op) is int for op in pruned)


def named_function(live) -> tuple:
    """What a pruned arch computes with weights of its own on each edge, under the least of all names of its
    convolutions: the terms of the output, and of what each convolution reads, as (poolings, name, times)."""
    nodes, reads = [{(0, None): 1}], {}
    for target in range(1, NODES):
        terms: dict = {}
        for edge, source in INTO[target]:
            if live[edge] in (SKIP, POOL):
                for (pools, term), times in nodes[source].items():
                    pooled = (pools + (live[edge] == POOL), term)
                    terms[pooled] = terms.get(pooled, 0) + times
            elif live[edge] != NONE:
                reads[edge], terms[0, edge] = source, 1
        nodes.append(terms)

    def written(names) -> tuple:
        name = {None: -1, **dict(zip(reads, names, strict=True))}
        terms = [sorted((pools, name[term], times) for (pools, term), times in node.items()) for node in nodes]
        return terms[-1], sorted((name[edge], live[edge], terms[source]) for edge, source in reads.items())

    output, convolutions = min(written(names) for names in itertools.permutations(range(len(reads))))
    return repr(output), repr(convolutions)


def as_brute_force_has_it(some) -> None:
    by_names, by_arch = ({} for _ in range(2))
    for arch in some:
        names, stands = named_function(prune_arch(arch)), function_arch(arch)
        assert by_names.setdefault(names, stands) == stands and by_arch.setdefault(stands, names) == names


def test_functions_are_told_apart_as_by_all_names_of_their_convolutions():
    as_brute_force_has_it(random.Random(0).sample(ALL, 700))


@pytest.mark.slow
def test_functions_of_the_whole_space():
    as_brute_force_has_it(sorted(set(map(prune_arch, ALL))))


def test_the_arch_that_stands_for_a_function():
    stands = {arch: function_arch(arch) for arch in ALL}
    assert len(set(stands.values()) - {None}) == 5043
    assert all(stands[own] == own <= prune_arch(arch) for arch, own in stands.items() if own is not None)
    assert [arch for arch, own in stands.items() if own is None] == [a for a in ALL if not any(prune_arch(a))]
    assert all((pruned_or_none(arch) is None) == (own is None) for arch, own in stands.items())
    twice, two = (CONV3, NONE, SKIP, NONE, SKIP, SKIP), (CONV3, CONV3, NONE, NONE, SKIP, SKIP)
    assert stands[twice] != stands[two]  # one convolution that is read twice, and two


def test_halves_of_the_functions():
    """Archs that compute the same are in the same half, and each half has about half of the 5,043."""
    halves = {function_arch(arch): set() for arch in ALL}
    for arch in ALL:
        halves[function_arch(arch)].add(half_of(arch))
    assert all(len(found) == 1 for found in halves.values())
    second = sum(1 in found for stands, found in halves.items() if stands is not None)
    assert 0.45 < second / 5043 < 0.55


@pytest.mark.parametrize(("arch", "half"), [((3,) * 6, 0), ((1, 2, 3, 4, 0, 1), 1), ((1,) * 6, 1)])
def test_the_half_of_an_arch_never_changes(arch, half):
    """By the first byte of the hash of its function's six bytes: 0xbe, 0x65, 0xdf. No other byte has these halves."""
    assert half_of(arch) == half
