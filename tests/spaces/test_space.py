import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from senas_bench.spaces import SPACES, SearchSpace, balanced_sample


def a_space(*candidates: tuple[int, ...], operators: int = 5, groups=()) -> SearchSpace:
    names = tuple(f"op{i}" for i in range(operators))
    return SearchSpace("toy", names, tuple(f"e{i}" for i in range(len(candidates))), candidates, groups)


candidate_sets = st.sets(st.integers(0, 4), min_size=1).map(sorted).map(tuple)
spaces = st.lists(candidate_sets, min_size=1, max_size=5).map(lambda sets: a_space(*sets))


@settings(max_examples=30, deadline=None)
@given(spaces)
def test_size_iteration_and_array_agree(space):
    listed = list(space)
    assert space.size == len(listed) == math.prod(len(alive) for alive in space.candidates)
    assert listed == sorted(set(itertools.product(*space.candidates)))
    assert space.archs().dtype == np.int8
    assert list(map(tuple, space.archs().tolist())) == listed
    assert all(arch in space for arch in listed)


@settings(max_examples=30, deadline=None)
@given(spaces, st.lists(st.integers(0, 4), min_size=1, max_size=5).map(tuple))
def test_membership(space, arch):
    inside = arch in set(itertools.product(*space.candidates))
    assert (arch in space) == inside
    if len(arch) == len(space.edges):
        assert space.contains_rows(np.array([arch], np.int8)).tolist() == [inside]


def test_only_tuples_are_members():
    space = a_space((0, 1), (2,))
    assert (0, 2) in space
    assert [0, 2] not in space
    assert (0, 2, 0) not in space
    assert None not in space


def test_sample_is_uniform_and_seeded():
    space = a_space((0, 1, 4), (2,), (1, 3))
    draw = lambda seed, n: [space.sample(np.random.default_rng([seed, i])) for i in range(n)]  # noqa: E731
    assert draw(3, 20) == draw(3, 20) != draw(4, 20)
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(space, 0)
    for _ in range(6000):
        counts[space.sample(rng)] += 1  # a KeyError would be an arch outside the space
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_sampled_archs_hold_python_integers():
    arch = a_space((0, 1, 4), (2,)).sample(np.random.default_rng(0))
    assert all(type(op) is int for op in arch)


def test_distinct_samples():
    space = a_space((0, 1, 4), (2, 3), (1, 3))
    some = space.sample_distinct(np.random.default_rng(0), 7)
    assert some.shape == (7, 3) and some.dtype == np.int8
    assert len(set(map(tuple, some.tolist()))) == 7
    assert space.contains_rows(some).all()
    everything = space.sample_distinct(np.random.default_rng(0), 1000)
    assert sorted(map(tuple, everything.tolist())) == list(space)
    counts = dict.fromkeys(space, 0)
    for seed in range(2000):
        for row in space.sample_distinct(np.random.default_rng(seed), 3).tolist():
            counts[tuple(row)] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_without_drops_one_operator_and_keeps_the_rest():
    space = a_space((0, 1, 4), (2, 3), groups=((0, 1),))
    smaller = space.without(0, 1)
    assert smaller.candidates == ((0, 4), (2, 3))
    assert smaller.groups == ((0, 1),)
    assert space.candidates == ((0, 1, 4), (2, 3))
    assert smaller.alive() == [(0, 0), (0, 4), (1, 2), (1, 3)]


def test_without_refuses_a_dead_operator_and_the_last_of_an_edge():
    space = a_space((0, 1), (2,))
    with pytest.raises(ValueError, match="operator 3 is not alive on edge e0"):
        space.without(0, 3)
    with pytest.raises(ValueError, match="edge e1"):
        space.without(1, 2)


def test_edges_are_their_own_groups_until_merged():
    space = a_space((0, 1), (2, 4), (3,))
    assert space.groups == ((0,), (1,), (2,))
    merged = space.with_groups(((0,), (1, 2)))
    assert merged.candidates == space.candidates and merged.size == space.size
    assert [merged.group_of(edge) for edge in range(3)] == [(0,), (1, 2), (1, 2)]
    assert merged.partial_models((1, 2)) == [(2, 3), (4, 3)]
    assert merged.partial_models((0,)) == [(0,), (1,)]


@pytest.mark.parametrize(
    "groups", [((0, 1),), ((1,), (0,), (2,)), ((0,), (0, 1), (2,)), ((0, 2), (1,)), ((0,), (1,), (2,), (3,))]
)
def test_groups_must_partition_the_edges_in_order(groups):
    with pytest.raises(ValueError, match="partition"):
        a_space((0, 1), (2, 4), (3,)).with_groups(groups)


@pytest.mark.parametrize("alive", [(), (1, 0), (1, 1), (0, 5), (-1, 0)])
def test_candidates_must_be_ascending_indices(alive):
    with pytest.raises(ValueError, match="edge e1"):
        a_space((0, 1), alive)


def test_one_candidate_tuple_per_edge():
    with pytest.raises(ValueError, match="1 candidate tuples for 2 edges"):
        SearchSpace("toy", ("a", "b"), ("e0", "e1"), ((0, 1),))


def test_only_makes_the_space_of_a_stand_alone_network():
    space = a_space((0, 1), (2, 4), groups=((0, 1),)).only((1, 4))
    assert list(space) == [(1, 4)]
    assert space.groups == ((0,), (1,))


@pytest.mark.parametrize("name", SPACES)
def test_registered_spaces_carry_their_key(name):
    assert SPACES[name].whole.name == name


@settings(max_examples=40, deadline=None)
@given(spaces, st.integers(1, 12), st.integers(0, 10))
def test_balanced_sample_counts(space, per_operator, seed):
    """Every operator occurs often enough, and operators of an edge equally often to within one."""
    sample = balanced_sample(space, per_operator, np.random.default_rng(seed))
    pool = per_operator * max(len(alive) for alive in space.candidates)
    assert space.contains_rows(sample).all()
    if space.size <= pool:
        assert list(map(tuple, sample.tolist())) == list(space)
        return
    assert len(sample) == pool
    for edge, alive in enumerate(space.candidates):
        counts = [(sample[:, edge] == op).sum() for op in alive]
        assert min(counts) >= per_operator
        assert max(counts) - min(counts) <= 1


def test_balanced_sample_is_seeded():
    draw = lambda seed: balanced_sample(SPACES["nasbench201"].whole, 10, np.random.default_rng(seed))  # noqa: E731
    assert (draw(0) == draw(0)).all()
    assert (draw(0) != draw(1)).any()


def test_rows_of_a_balanced_sample_are_uniform():
    """Each row over the space, and the rows that hold an operator over the archs that contain it."""
    space = a_space((0, 1, 2), (0, 3), (1, 4))
    rows = [dict.fromkeys(space, 0) for _ in range(3)]
    for seed in range(1500):
        sample = balanced_sample(space, 1, np.random.default_rng(seed))
        for count, row in zip(rows, sample.tolist(), strict=True):
            count[tuple(row)] += 1
    for count in rows:
        assert stats.chisquare(list(count.values())).pvalue > 1e-3
    for edge, op in space.alive():
        containing = [sum(count[arch] for count in rows) for arch in space if arch[edge] == op]
        assert stats.chisquare(containing).pvalue > 1e-3
