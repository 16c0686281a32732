from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from senas_bench.spaces.nasbench201 import NB201
from senas_bench.training.connected import ConnectedPath

SMALL = replace(NB201, candidates=((0, 1, 3), (0, 1), (0, 2), (0, 3), (2, 4), (0, 1)))
"""Node 3 cannot be without input; nodes 1 and 2 can."""


def has_inputs(arch) -> bool:
    """Whether each of the nodes 1, 2 and 3 has an input that is not `none`."""
    return all(any(arch[edge] for edge in edges) for edges in ((0,), (1, 2), (3, 4, 5)))


def test_no_node_is_without_input():
    sampler, rng = ConnectedPath(NB201), np.random.default_rng(0)
    archs = [sampler(rng)[0] for _ in range(3000)]
    assert all(arch in NB201 and has_inputs(arch) for arch in archs)
    assert all(type(op) is int for op in archs[0])


def test_uniform_over_the_archs_that_are_left():
    """By enumeration: a node redrawn while all its inputs are `none` is uniform over its other inputs."""
    sampler, rng = ConnectedPath(SMALL), np.random.default_rng(1)
    counts = {arch: 0 for arch in SMALL if has_inputs(arch)}
    assert len(counts) == 2 * 3 * 8 < SMALL.size
    for _ in range(4800):
        counts[sampler(rng)[0]] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_operators_of_the_whole_space_have_their_conditional_shares():
    """Of 4, 24 and 124 inputs of the three nodes, `none` on one edge is in 0, 4 and 24."""
    sampler, rng = ConnectedPath(NB201), np.random.default_rng(2)
    archs = np.array([sampler(rng)[0] for _ in range(5000)])
    for edge, (total, none) in enumerate([(4, 0), (24, 4), (24, 4), (124, 24), (124, 24), (124, 24)]):
        others = (total - none) // 4
        expected = np.array([none, others, others, others, others]) / total * len(archs)
        seen = np.bincount(archs[:, edge], minlength=5)
        assert seen[expected == 0].sum() == 0
        assert stats.chisquare(seen[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_each_cell_draws_its_own_arch():
    sampler, rng = ConnectedPath(SMALL, cells=2), np.random.default_rng(3)
    pairs = [path for _ in range(2000) for path in sampler(rng)]
    assert all(len(pair) == 2 and all(map(has_inputs, pair)) for pair in pairs)
    same = sum(one == other for one, other in pairs)
    assert 15 < same < 80  # one in 48 of 2000


def test_draws_depend_on_the_generator_alone():
    draw = lambda seed: [ConnectedPath(NB201)(rng) for rng in [np.random.default_rng(seed)] for _ in range(5)]  # noqa: E731
    assert draw(0) == draw(0) != draw(1)


def test_a_node_that_nothing_can_reach():
    with pytest.raises(ValueError, match="node 2 has no operator but none on its inputs"):
        ConnectedPath(replace(NB201, candidates=((1, 2), (0,), (0,), (1, 2), (0, 1), (0, 1))))
