from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.ranking.hierarchical import hierarchical_ranking
from senas_bench.shrinking import shrink
from senas_bench.spaces import SearchSpace

SPACE = SearchSpace("toy", ("a", "b", "c"), ("e0", "e1"), ((0, 1, 2), (0, 1, 2)))


def test_three_stages_by_hand():
    """Stage 2 loses operator 2 of e0; stage 3 loses operators 1 and 2 of e1."""
    second = SPACE.without(0, 2)
    spaces = [SPACE, second, second.without(1, 1).without(1, 2)]
    archs = np.array([(0, 0), (2, 0), (1, 0), (0, 1), (1, 2), (2, 2)], np.int8)
    gone = np.nan
    scores = [
        np.array([1.0, 9.0, 2.0, 3.0, 4.0, 8.0]),
        np.array([5.0, gone, 6.0, 0.1, 0.2, gone]),
        np.array([7.0, gone, 7.5, gone, gone, gone]),
    ]
    tiers, values = hierarchical_ranking(archs, spaces, scores)
    assert tiers.dtype == np.int8
    assert tiers.tolist() == [0, 2, 0, 1, 1, 2]
    assert values.tolist() == [7.0, 9.0, 7.5, 0.1, 0.2, 8.0]
    best_first = sorted(range(6), key=lambda i: (tiers[i], -values[i]))
    assert [tuple(archs[i].tolist()) for i in best_first] == [(1, 0), (0, 0), (1, 2), (0, 1), (2, 0), (2, 2)]


def test_one_stage_is_a_plain_ranking():
    scores = np.arange(9.0)
    tiers, values = hierarchical_ranking(SPACE.archs(), [SPACE], [scores])
    assert tiers.tolist() == [0] * 9
    assert values.tolist() == scores.tolist()


@given(st.integers(0, 1000), st.lists(st.integers(1, 2), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_who_stays_longer_ranks_higher(seed, drops):
    rng = np.random.default_rng(seed)
    archs, spaces, scores = SPACE.archs(), [SPACE], [rng.random(9)]
    for k in drops:
        spaces.append(shrink(spaces[-1], {pair: rng.random() for pair in spaces[-1].alive()}, k))
        scores.append(np.where([tuple(row) in spaces[-1] for row in archs.tolist()], rng.random(9), np.nan))
    given_scores = [stage.copy() for stage in scores]
    tiers, values = hierarchical_ranking(archs, spaces, scores)
    for arch, tier, value in zip(map(tuple, archs.tolist()), tiers, values, strict=True):
        stays = sum(arch in space for space in spaces)
        assert tier == len(spaces) - stays
        assert value == scores[stays - 1][list(map(tuple, archs.tolist())).index(arch)]
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(scores, given_scores, strict=True))
    assert all(larger.size >= smaller.size for larger, smaller in pairwise(spaces))
