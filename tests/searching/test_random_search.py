import numpy as np
import pytest

from senas_bench.searching.evolution import Evolution
from senas_bench.searching.random_search import RandomSearch
from senas_bench.spaces.limited import LimitedSampler
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201, SKELETONS, nasbench201_cost

LIMITED = LimitedSampler(NB201, Limit.of(nasbench201_cost(SKELETONS["cifar10"]), "flops", 100e6))


def recorded(batches):
    def score(archs):
        batches.append(archs)
        return archs @ np.arange(1, 7)

    return score


@pytest.mark.parametrize("space", [NB201, LIMITED])
def test_it_scores_as_many_archs_as_evolution_in_the_same_batches(space):
    random, evolved = [], []
    best, archs, scores = RandomSearch(12, 5)(space, recorded(random), np.random.default_rng(0))
    Evolution(12, 5)(space, recorded(evolved), np.random.default_rng(0))
    assert [batch.shape for batch in random] == [batch.shape for batch in evolved] == [(12, 6)] * 5
    assert np.array_equal(archs, np.concatenate(random)) and archs.dtype == np.int8
    assert len(set(map(tuple, archs.tolist()))) == 60
    assert all(tuple(row) in space for row in archs.tolist())
    assert np.array_equal(scores, archs @ np.arange(1, 7)) and scores.dtype == float
    assert best == tuple(archs[np.argmax(scores)].tolist())
    assert best in NB201 and all(type(op) is int for op in best)


def test_archs_are_those_of_the_window_each_as_likely():
    """Over many searches of two archs each of the window comes up about as often."""
    within = LIMITED.archs()
    rng = np.random.default_rng(0)
    found = np.concatenate([RandomSearch(1, 2)(LIMITED, lambda a: np.zeros(len(a)), rng)[1] for _ in range(2000)])
    for edge in range(6):
        there = np.bincount(found[:, edge], minlength=5) / len(found)
        assert there == pytest.approx(np.bincount(within[:, edge], minlength=5) / len(within), abs=0.03)


def test_a_space_smaller_than_the_budget_is_scored_whole():
    space = NB201.only((1, 2, 3, 4, 0, 1))
    batches = []
    best, archs, _ = RandomSearch()(space, recorded(batches), np.random.default_rng(0))
    assert best == (1, 2, 3, 4, 0, 1) and len(archs) == len(batches) == 1


def test_same_seed_same_archs_and_the_first_of_equals():
    def search(seed):
        return RandomSearch(5, 3)(LIMITED, lambda archs: np.zeros(len(archs)), np.random.default_rng(seed))

    assert np.array_equal(search(0)[1], search(0)[1])
    assert not np.array_equal(search(0)[1], search(1)[1])
    assert search(0)[0] == tuple(search(0)[1][0].tolist())


@pytest.mark.parametrize("field", ["population", "generations"])
def test_sizes_of_zero_are_an_error(field):
    with pytest.raises(ValueError, match="at least 1"):
        RandomSearch(**{field: 0})
