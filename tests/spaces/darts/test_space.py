import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from senas_bench.shrinking import shrink
from senas_bench.shrinking.se_nas import operator_scores
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.darts import (
    DARTS,
    DARTS_SEPARATE,
    EDGES,
    GENOTYPES,
    SKELETONS,
    DartsSkeleton,
    TwoInputs,
    arch_from_genotype,
    arch_from_str,
    arch_to_genotype,
    arch_to_str,
    darts_cost,
)

NONE, MAX, AVG, SKIP, SEP3, SEP5, DIL3, DIL5 = range(8)
SPACES = [DARTS, DARTS_SEPARATE]
TOY_NODES = ((0, 1), (2, 3, 4))
"""A cell of two nodes: as DARTS's first two."""


def toy(*candidates: tuple[int, ...]) -> tuple[SearchSpace, TwoInputs]:
    nodes = TOY_NODES if len(candidates) == 5 else (tuple(range(len(candidates))),)
    space = SearchSpace("toy", tuple("abcde"), tuple(f"e{i}" for i in range(len(candidates))), candidates)
    return space, TwoInputs(nodes)


def brute_force(space: SearchSpace, rule: TwoInputs) -> list[tuple[int, ...]]:
    """All archs, from the definition."""
    return [arch for arch in space if all(sum(arch[edge] != 0 for edge in node) == 2 for node in rule.nodes)]


UNEQUAL = toy((0, 1, 2), (0, 3), (0, 1), (0, 2, 3, 4), (0, 4))
"""14 archs: 2 * 1 ways for the first node; 1 * 3 + 1 * 1 + 3 * 1 for the second."""


def uniform(counts: dict) -> bool:
    return stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_the_whole_space_is_the_papers():
    assert DARTS.choices == 8**14
    assert DARTS_SEPARATE.choices == 8**28
    assert DARTS.operators == (
        *("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"),
        *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    )
    assert DARTS.edges[:6] == ("0->2", "1->2", "0->3", "1->3", "2->3", "0->4") and DARTS.edges[-1] == "4->5"
    assert DARTS_SEPARATE.edges[0] == "normal 0->2" and DARTS_SEPARATE.edges[14] == "reduce 0->2"


def test_number_of_archs():
    """C(2,2) C(3,2) C(4,2) C(5,2) pairs of inputs, 7^8 operators on them."""
    assert DARTS.rule.count(DARTS) == 1 * 3 * 6 * 10 * 7**8
    assert DARTS_SEPARATE.rule.count(DARTS_SEPARATE) == (180 * 7**8) ** 2


@pytest.mark.parametrize("space", SPACES)
def test_the_nodes_are_those_of_the_edges(space):
    nodes = space.rule.nodes
    assert list(itertools.chain(*nodes)) == list(range(len(space.edges)))
    for node in nodes:
        targets = {space.edges[edge].rpartition(">")[2] for edge in node}
        assert len(targets) == 1 and len(node) == int(targets.pop())


candidate_sets = st.sets(st.integers(0, 4), min_size=1).map(sorted).map(tuple)


@given(st.lists(candidate_sets, min_size=5, max_size=5))
@settings(max_examples=60, deadline=None)
def test_all_archs_in_lexicographic_order(candidates):
    """Also where `none` is not alive on an edge, as in the space of a stand-alone network."""
    space, rule = toy(*candidates)
    expected = brute_force(space, rule)
    if not expected:
        with pytest.raises(ValueError, match="no arch has exactly two inputs among edges e"):
            rule.sample(space, np.random.default_rng(0))
        return
    assert list(map(tuple, rule.archs(space).tolist())) == expected
    assert rule.archs(space).dtype == np.int8
    assert rule.count(space) == len(expected)
    assert rule.valid(space.archs()).sum() == len(expected)
    assert rule.valid(rule.archs(space)).all()


def test_archs_by_hand():
    space, rule = toy((0, 2), (0, 1), (0, 1, 3))
    assert list(map(tuple, rule.archs(space).tolist())) == [
        *[(0, 1, 1), (0, 1, 3), (2, 0, 1), (2, 0, 3), (2, 1, 0)],
    ]


@pytest.mark.parametrize("space", SPACES)
def test_samples_are_archs_and_meet_every_operator(space):
    rule, rng = space.rule, np.random.default_rng(0)
    archs = np.array([rule.sample(space, rng) for _ in range(1500)])
    assert rule.valid(archs).all() and space.contains_rows(archs).all()
    met = {(edge, op) for row in archs.tolist() for edge, op in enumerate(row) if op}
    assert met == set(rule.droppable(space)) == {(edge, op) for edge, op in space.alive() if op}
    assert all(type(op) is int for op in rule.sample(space, rng))
    share = (archs != NONE).mean(axis=0)
    inputs = [len(node) for node in rule.nodes for _ in node]
    np.testing.assert_allclose(share, [2 / n for n in inputs], atol=0.06)


def test_samples_are_uniform_and_seeded():
    space, rule = UNEQUAL
    rng = np.random.default_rng(1)
    counts = dict.fromkeys(brute_force(space, rule), 0)
    for _ in range(40 * len(counts)):
        counts[rule.sample(space, rng)] += 1  # a KeyError would be no arch
    assert uniform(counts)
    draw = lambda seed: [rule.sample(space, np.random.default_rng([seed, i])) for i in range(20)]  # noqa: E731
    assert draw(3) == draw(3) != draw(4)


def test_the_space_of_one_arch():
    arch = arch_from_genotype(GENOTYPES["DARTS_V2"])
    rule = DARTS_SEPARATE.rule
    alone = DARTS_SEPARATE.only(arch)
    assert rule.sample(alone, np.random.default_rng(0)) == arch
    assert rule.count(alone) == 1


@pytest.mark.parametrize("space", SPACES)
def test_distinct_samples_of_the_whole_space(space):
    rule = space.rule
    some = rule.sample_distinct(space, np.random.default_rng(0), 400)
    assert some.shape == (400, len(space.edges)) and some.dtype == np.int8
    assert rule.valid(some).all() and len(set(map(bytes, some))) == 400


def test_distinct_samples_are_uniform():
    space, rule = UNEQUAL
    archs = brute_force(space, rule)
    everything = rule.sample_distinct(space, np.random.default_rng(0), 10**6)
    assert sorted(map(tuple, everything.tolist())) == archs
    counts = dict.fromkeys(archs, 0)
    for seed in range(600):
        rows = list(map(tuple, rule.sample_distinct(space, np.random.default_rng(seed), 3).tolist()))
        assert len(set(rows)) == 3
        for row in rows:
            counts[row] += 1
    assert uniform(counts)


def test_repair_leaves_archs_as_they_are():
    rule, rng = DARTS.rule, np.random.default_rng(0)
    for _ in range(30):
        arch = rule.sample(DARTS, rng)
        assert rule.repair(DARTS, arch, rng) == arch


def test_repair_keeps_what_it_can():
    rule, rng = DARTS.rule, np.random.default_rng(0)
    for _ in range(200):
        draw = tuple(rng.integers(8, size=14).tolist())
        arch = rule.repair(DARTS, draw, rng)
        assert rule.valid(np.array([arch])).all() and all(type(op) is int for op in arch)
        for node in rule.nodes:
            given = [edge for edge in node if draw[edge]]
            kept = [edge for edge in given if arch[edge] == draw[edge]]
            assert len(kept) == min(2, len(given))


def test_repair_draws_what_is_missing_from_what_is_alive():
    space, rule = toy((0, 1, 2), (0, 3), (0, 2, 4))
    rng = np.random.default_rng(0)
    assert {rule.repair(space, (2, 0, 0), rng) for _ in range(60)} == {(2, 3, 0), (2, 0, 2), (2, 0, 4)}
    assert {rule.repair(space, (1, 3, 4), rng) for _ in range(60)} == {(1, 3, 0), (1, 0, 4), (0, 3, 4)}
    # 3 is not alive on the first edge, so it is not an input that could be kept
    assert {rule.repair(space, (3, 3, 4), rng) for _ in range(60)} == {(0, 3, 4)}
    assert {rule.repair(space, (3, 3, 0), rng) for _ in range(60)} == {(1, 3, 0), (2, 3, 0), (0, 3, 2), (0, 3, 4)}
    counts = dict.fromkeys(brute_force(space, rule), 0)
    for _ in range(40 * len(counts)):
        counts[rule.repair(space, (0, 0, 0), rng)] += 1
    assert uniform(counts)


def test_repaired_uniform_draws_are_uniform_where_edges_have_equally_many_candidates():
    space, rule = toy((0, 1, 2), (0, 3, 4), (0, 1, 4))
    rng = np.random.default_rng(2)
    counts = dict.fromkeys(brute_force(space, rule), 0)
    for _ in range(100 * len(counts)):
        draw = tuple(int(rng.choice(alive)) for alive in space.candidates)
        counts[rule.repair(space, draw, rng)] += 1
    assert uniform(counts)


@pytest.mark.parametrize(("space", "edges"), [(DARTS, 14), (DARTS_SEPARATE, 28)])
def test_a_balanced_sample_of_the_whole_space_is_as_small_as_it_can_be(space, edges):
    """An operator on an edge into node 5 is in 2/5 * 1/7 of all archs."""
    rule = space.rule
    sample = rule.balanced_sample(space, 100, np.random.default_rng(0))
    assert sample.shape == (1750, edges) and sample.dtype == np.int8
    assert rule.valid(sample).all()
    assert min((sample[:, edge] == op).sum() for edge, op in rule.droppable(space)) == 100


@given(st.lists(candidate_sets, min_size=5, max_size=5), st.integers(0, 6), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_a_balanced_sample_keeps_its_promise(candidates, per_operator, seed):
    space, rule = toy(*candidates)
    archs = brute_force(space, rule)
    assume(archs)
    sample = rule.balanced_sample(space, per_operator, np.random.default_rng(seed))
    assert rule.valid(sample).all() and space.contains_rows(sample).all()
    if list(map(tuple, sample.tolist())) == archs:
        return
    for edge, op in {(edge, op) for arch in archs for edge, op in enumerate(arch) if op}:
        assert (sample[:, edge] == op).sum() >= per_operator


def test_a_small_space_is_its_own_balanced_sample():
    space, rule = UNEQUAL
    sample = rule.balanced_sample(space, 50, np.random.default_rng(0))
    assert list(map(tuple, sample.tolist())) == brute_force(space, rule)


@pytest.mark.parametrize("toy_space", [UNEQUAL, toy((0, 1, 2), (0, 3), (0, 2, 4), (0, 1))])
def test_rows_of_a_balanced_sample_are_uniform(toy_space):
    """Also where pairs of inputs have shares of the rows that are no integers: 14 or 13 archs, 7 rows."""
    space, rule = toy_space
    archs = brute_force(space, rule)
    rows = [dict.fromkeys(archs, 0) for _ in range(2)]
    for seed in range(40 * len(archs)):
        sample = rule.balanced_sample(space, 1, np.random.default_rng(seed))
        assert len(sample) == 7 < len(archs)
        for count, row in zip(rows, (sample[0], sample[-1]), strict=True):
            count[tuple(row.tolist())] += 1
    assert all(map(uniform, rows))


def test_a_seed_gives_one_balanced_sample():
    draw = lambda seed: DARTS.rule.balanced_sample(DARTS, 2, np.random.default_rng(seed))  # noqa: E731
    assert (draw(0) == draw(0)).all() and (draw(0) != draw(1)).any()


def test_none_cannot_be_dropped():
    space, rule = UNEQUAL
    assert rule.droppable(space) == [*[(0, 1), (0, 2), (1, 3), (2, 1)], *[(3, 2), (3, 3), (3, 4), (4, 4)]]


@pytest.mark.parametrize("space", SPACES)
def test_shrinking_leaves_none_and_another_operator_on_every_edge(space):
    """The paper's shrink of DARTS, ten operators from different edges, through `shrink` as it is."""
    rule, rng = space.rule, np.random.default_rng(0)
    for _ in range(9 if space.name == "darts" else 5):
        droppable = rule.droppable(space)
        scores = dict.fromkeys(space.alive(), math.inf) | operator_scores({pair: rng.random() for pair in droppable})
        free = {edge for edge, alive in enumerate(space.candidates) if len(alive) > 2}
        smaller = shrink(space, scores, 10, max_per_edge=1, edges=free)
        gone = set(space.alive()) - set(smaller.alive())
        assert gone <= set(droppable) and len(gone) == min(10, len(free))
        space = smaller
        assert all(alive[0] == NONE and len(alive) > 1 for alive in space.candidates)
        archs = np.array([rule.sample(space, rng) for _ in range(20)])
        assert rule.valid(archs).all() and space.contains_rows(archs).all()
    if space.name == "darts":
        assert {len(alive) for alive in space.candidates} == {2}
        assert rule.count(space) == 180


def test_a_rule_travels_to_another_process():
    assert pickle.loads(pickle.dumps(DARTS.rule)) == DARTS.rule


V1 = (
    *(SEP3, SEP3),
    *(SKIP, SEP3, NONE),
    *(SKIP, SEP3, NONE, NONE),
    *(SEP3, NONE, SKIP, NONE, NONE),
    *(MAX, MAX),
    *(MAX, NONE, SKIP),
    *(MAX, NONE, SKIP, NONE),
    *(AVG, NONE, SKIP, NONE, NONE),
)
V2 = (
    *(SEP3, SEP3),
    *(SEP3, SEP3, NONE),
    *(SKIP, SEP3, NONE, NONE),
    *(SKIP, NONE, DIL3, NONE, NONE),
    *(MAX, MAX),
    *(NONE, MAX, SKIP),
    *(MAX, NONE, SKIP, NONE),
    *(NONE, MAX, SKIP, NONE, NONE),
)


@pytest.mark.parametrize(("name", "arch"), [("DARTS_V1", V1), ("DARTS_V2", V2)])
def test_named_genotypes(name, arch):
    genotype = GENOTYPES[name]
    assert arch_from_genotype(genotype) == arch
    assert DARTS_SEPARATE.rule.valid(np.array([arch])).all()
    assert len(genotype.normal) == len(genotype.reduce) == 8
    assert genotype.normal_concat == genotype.reduce_concat == (2, 3, 4, 5)


def test_a_genotype_lists_two_inputs_per_node_in_ascending_order():
    assert arch_to_genotype(V2).normal == (
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("skip_connect", 0), ("sep_conv_3x3", 1)),
        *(("skip_connect", 0), ("dil_conv_3x3", 2)),
    )
    shared = arch_to_genotype(V2[:14])
    assert shared.normal == shared.reduce == arch_to_genotype(V2).normal


@pytest.mark.parametrize("space", SPACES)
def test_genotypes_and_strings_give_the_arch_back(space):
    rng = np.random.default_rng(3)
    for _ in range(50):
        arch = space.rule.sample(space, rng)
        genotype = arch_to_genotype(arch)
        assert arch_from_genotype(genotype, shared_cell=space is DARTS) == arch
        swapped = [(b, a) for a, b in zip(genotype.normal[::2], genotype.normal[1::2], strict=True)]
        swapped = genotype._replace(normal=tuple(itertools.chain(*swapped)))
        assert arch_from_genotype(swapped, shared_cell=space is DARTS) == arch
        text = arch_to_str(arch)
        assert arch_from_str(f" {text}\n") == arch
        assert all(f"{name}~{source}" in text for name, source in genotype.normal)


V2_NORMAL = (
    "|sep_conv_3x3~0|sep_conv_3x3~1|+|sep_conv_3x3~0|sep_conv_3x3~1|"
    "+|skip_connect~0|sep_conv_3x3~1|+|skip_connect~0|dil_conv_3x3~2|"
)
V2_REDUCE = (
    "|max_pool_3x3~0|max_pool_3x3~1|+|max_pool_3x3~1|skip_connect~2|"
    "+|max_pool_3x3~0|skip_connect~2|+|max_pool_3x3~1|skip_connect~2|"
)


def test_arch_strings():
    assert arch_to_str(V2) == f"{V2_NORMAL}/{V2_REDUCE}"
    assert arch_to_str(V2[:14]) == V2_NORMAL
    assert arch_from_str(V2_REDUCE) == V2[14:]
    swapped = V2_NORMAL.replace("|skip_connect~0|sep_conv_3x3~1|", "|sep_conv_3x3~1|skip_connect~0|")
    assert swapped != V2_NORMAL and arch_from_str(swapped) == V2[:14]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "1 nodes where 4 are needed"),
        (V2_NORMAL + "/", "1 nodes where 4 are needed"),
        ("/".join([V2_NORMAL] * 3), "3 cells where 1 or 2 are possible"),
        (V2_NORMAL.rpartition("+")[0], "3 nodes where 4 are needed"),
        (V2_NORMAL[1:], "node 2 needs two inputs, not 'sep_conv"),
        (V2_NORMAL[:-1], "node 5 needs two inputs"),
        (V2_NORMAL.replace("|dil_conv_3x3~2|", "|"), r"node 5 needs two inputs, not '\|skip_connect~0\|'"),
        (V2_NORMAL.replace("~2|", "~2|avg_pool_3x3~1|"), "node 5 needs two inputs"),
        (V2_NORMAL.replace("dil_conv_3x3~2", "dil_conv_3x3"), "node 5: 'dil_conv_3x3' is no op~source"),
        (V2_NORMAL.replace("dil_conv_3x3~2", "dil_conv_7x7~2"), "node 5: unknown operator 'dil_conv_7x7'; one of: max"),
        (V2_NORMAL.replace("dil_conv_3x3~2", "none~2"), "node 5: unknown operator 'none'"),
        (V2_NORMAL.replace("dil_conv_3x3~2", "dil_conv_3x3~5"), "node 5: input 5, which is not among nodes 0 to 4"),
        (V2_NORMAL.replace("dil_conv_3x3~2", "dil_conv_3x3~0"), "node 5: input 0 twice"),
    ],
)
def test_bad_strings_are_explained(text, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        arch_from_str(text)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("bad arch string")


def broken(**fields) -> tuple:
    return GENOTYPES["DARTS_V2"]._replace(**fields)


@pytest.mark.parametrize(
    ("genotype", "complaint"),
    [
        (broken(normal_concat=(3, 4, 5)), r"normal cell concatenates nodes \[3, 4, 5\]"),
        (broken(reduce=GENOTYPES["DARTS_V2"].reduce[:6]), "reduce cell has 6 inputs"),
        (broken(reduce=(("sep_conv_7x7", 0), *GENOTYPES["DARTS_V2"].reduce[1:])), "reduce cell, node 2: unknown"),
        (broken(normal=(("skip_connect", 1), *GENOTYPES["DARTS_V2"].normal[1:])), "normal cell, node 2: input 1 twice"),
        (
            broken(normal=(("skip_connect", 2), *GENOTYPES["DARTS_V2"].normal[1:])),
            "normal cell, node 2: input 2",
        ),
    ],
)
def test_bad_genotypes_are_explained(genotype, complaint):
    with pytest.raises(ValueError, match=f"bad genotype: {complaint}"):
        arch_from_genotype(genotype)


def test_different_cells_are_no_shared_cell():
    with pytest.raises(ValueError, match="differ"):
        arch_from_genotype(GENOTYPES["DARTS_V2"], shared_cell=True)


@pytest.mark.parametrize(
    ("arch", "complaint"),
    [
        ((SEP3,) * 14, "node 3 has 3 inputs where 2 are needed"),
        ((NONE,) * 28, "node 2 has 0 inputs"),
        ((*V2[:26], SKIP, NONE), "node 5 has 3 inputs"),
        (V2[:13], "13 edges where 14 or 28 are needed"),
    ],
)
def test_choices_that_are_no_arch_have_no_name(arch, complaint):
    for write in (arch_to_str, arch_to_genotype):
        with pytest.raises(ValueError, match=complaint):
            write(arch)


def test_published_costs_of_darts_v2():
    """docs/method.md 7. The auxiliary head and the bias of the classifier are in neither number of multiply-adds, and
    the parameters lack the head alone."""
    archs = np.array([V2], np.int8)
    cifar = darts_cost(SKELETONS["cifar10"], shared_cell=False)(archs)
    assert cifar["flops_m"] == pytest.approx([528.35904], abs=1e-9) and cifar["params"].tolist() == [3349342]
    imagenet = darts_cost(SKELETONS["imagenet"], shared_cell=False)(archs)
    assert imagenet["flops_m"] == pytest.approx([529.911552], abs=1e-9) and imagenet["params"].tolist() == [4718752]


def test_equal_cells_cost_what_the_shared_cell_costs():
    archs = DARTS.rule.sample_distinct(DARTS, np.random.default_rng(0), 20)
    for skeleton in SKELETONS.values():
        shared, separate = darts_cost(skeleton), darts_cost(skeleton, shared_cell=False)
        one, other = shared(archs), separate(np.concatenate([archs, archs], 1))
        assert (one["params"] == other["params"]).all() and (one["flops_m"] == other["flops_m"]).all()
        assert (shared.base == separate.base).all()


def test_costs_of_operators_by_hand():
    """One normal cell of 4 channels on 8x8 pixels."""
    skeleton = DartsSkeleton(8, 10, channels=4, layers=1, reductions=())
    table = darts_cost(skeleton)
    for edge in range(14):
        assert table.per_edge[edge, [NONE, MAX, AVG, SKIP]].tolist() == [[0, 0]] * 4
        assert table.per_edge[edge, SEP5].tolist() == [2 * (25 * 4 + 16) * 64, 2 * (25 * 4 + 16 + 8)]
        assert table.per_edge[edge, DIL3].tolist() == [(9 * 4 + 16) * 64, 9 * 4 + 16 + 8]
    stem, inputs, head = 27 * 12, 2 * 12 * 4, 16 * 10
    assert table.base.tolist() == [(stem + inputs) * 64 + head, stem + 24 + inputs + 2 * 8 + head + 10]


def test_stride_is_on_the_edges_from_the_inputs_of_a_reduction_cell():
    """One reduction cell of 8 channels, 9x9 to 5x5 pixels."""
    table = darts_cost(DartsSkeleton(9, 10, channels=4, layers=1, reductions=(0,)), shared_cell=False)
    assert not table.per_edge[:14].any()
    for edge, (source, _) in enumerate(EDGES, start=14):
        assert table.per_edge[edge, SKIP].tolist() == ([64 * 25, 64 + 16] if source < 2 else [0, 0])
        assert table.per_edge[edge, DIL5].tolist() == [(25 * 8 + 64) * 25, 25 * 8 + 64 + 16]


@pytest.mark.parametrize(("layers", "reductions"), [(14, (4, 9)), (20, (6, 13)), (5, (1, 3)), (8, (2, 5))])
def test_reductions_part_three_equal_stages(layers, reductions):
    """The paper's 4-R-4-R-4 and DARTS's thirds are the same rule."""
    skeleton = DartsSkeleton(layers=layers)
    assert skeleton.reductions == reductions
    assert [i for i, shape in enumerate(skeleton.cells) if shape.reduction] == list(reductions)


def test_shapes_of_the_cells():
    cells = DartsSkeleton(32, 10, channels=16, layers=5).cells
    assert [(c.c_before, c.c_last, c.channels, c.halve_before, c.side, c.out_side) for c in cells] == [
        (48, 48, 16, False, 32, 32),
        (48, 64, 32, False, 32, 16),
        (64, 128, 32, True, 16, 16),
        (128, 128, 64, False, 16, 8),
        (128, 256, 64, True, 8, 8),
    ]
    cells = SKELETONS["imagenet"].cells
    assert [(c.c_before, c.c_last, c.channels, c.halve_before, c.side) for c in cells[:2]] == [
        (48, 48, 48, True, 28),
        (48, 192, 48, False, 28),
    ]
    assert cells[-1].out_side == 7 and cells[-1].channels == 192


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"stem": "mnist"}, "unknown stem 'mnist'; one of: cifar, imagenet"),
        ({"layers": 0}, "at least 1"),
        ({"channels": 1}, "channels 2"),
        ({"reductions": (9, 4)}, "ascending positions below 14"),
        ({"reductions": (4, 14)}, "ascending positions below 14"),
        ({"layers": 1}, r"reductions \(0, 0\)"),
    ],
)
def test_impossible_skeletons(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        DartsSkeleton(**fields)
