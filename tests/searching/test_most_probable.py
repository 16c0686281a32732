import numpy as np
import pytest

from senas_bench.searching.most_probable import _best_by_cost, most_probable_within
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.darts import DARTS
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.mobilenet import MOBILENET, TABLE2, mobilenet_cost
from senas_bench.spaces.nasbench201 import NB201, SKELETONS, nasbench201_cost
from senas_bench.spaces.regions import within

COST = nasbench201_cost(SKELETONS["cifar10"])


def log_softmax(shape, seed: int, spread: float = 1.0) -> np.ndarray:
    logits = spread * np.random.default_rng(seed).normal(size=shape)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@pytest.mark.parametrize("space", [NB201, NB201.without(2, 3).without(5, 0)])
def test_without_a_limit_it_is_the_best_of_each_edge(space):
    table = log_softmax((6, 5), 0)
    archs = space.archs()
    best = archs[np.argmax(table[np.arange(6), archs].sum(1))]
    assert most_probable_within(table, space) == tuple(best.tolist())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("low", "high"), [(None, 60e6), (0.0, 40e6), (113e6, 114.5e6), (8e6, 500e6)])
def test_under_a_limit_by_brute_force(seed, low, high):
    table, limit = log_softmax((6, 5), seed, 2.0), Limit.of(COST, "flops", high, low)
    archs = NB201.archs()
    archs = archs[limit.holds(archs)]
    best = table[np.arange(6), archs].sum(1).max()
    found = most_probable_within(table, within(NB201, limit))
    assert limit.holds(np.array([found])).all()
    assert table[range(6), found].sum() == pytest.approx(best)


@pytest.mark.parametrize("level", [250e6, 470e6])
def test_in_a_large_space_nothing_drawn_is_more_probable(level):
    table, limit = log_softmax((21, 7), 1, 2.0), Limit.of(mobilenet_cost(TABLE2), "flops", level)
    region = within(MOBILENET, limit)
    found = most_probable_within(table, region)
    drawn = region.sample_distinct(np.random.default_rng(0), 5000)
    assert found in region
    assert table[range(21), found].sum() > table[np.arange(21), drawn].sum(1).max()
    # nor is any arch that differs from it in one layer, or in two
    neighbours = [(*found[:k], op, *found[k + 1 :]) for k in range(21) for op in MOBILENET.candidates[k]]
    two = [(*one[:k], op, *one[k + 1 :]) for one in neighbours for k in range(21) for op in MOBILENET.candidates[k]]
    two = np.array(two)[limit.holds(np.array(two))]
    assert table[range(21), found].sum() >= table[np.arange(21), two].sum(1).max() - 1e-3


def test_where_every_arch_costs_the_same():
    limit = Limit(np.zeros((6, 5)), 1.0, 0.5, 1.5)
    table = log_softmax((6, 5), 3)
    assert most_probable_within(table, within(NB201, limit)) == tuple(table.argmax(1).tolist())


def test_a_space_with_a_rule_is_refused():
    with pytest.raises(ValueError, match="not every choice of darts is an arch"):
        most_probable_within(np.zeros((14, 8)), DARTS)


def sums(table: np.ndarray, archs: np.ndarray) -> np.ndarray:
    return table[np.arange(archs.shape[1]), archs].sum(axis=1)


def test_where_rounding_hides_all_that_meet_the_limit_the_best_drawn_is_taken():
    """The first of the windows around three neighbouring costs in which no arch by rounded costs lies."""
    rng = np.random.default_rng(0)
    space = SearchSpace("toy", tuple("abcde"), tuple("uvwxyz"), ((0, 1, 2, 3, 4),) * 6)
    costs, table, archs = rng.random((6, 5)), rng.normal(size=(6, 5)), space.archs()
    ordered = np.sort(sums(costs, archs))
    windows = (Limit(costs, 0.0, ordered[k] - 1e-9, ordered[k + 2] + 1e-9) for k in range(3000, 12000))
    hidden = (limit for limit in windows if not limit.holds(_best_by_cost(table, space.candidates, limit)).any())
    limit = next(hidden)
    inside = archs[limit.holds(archs)]
    found = np.array([most_probable_within(table, within(space, limit))])
    assert len(inside) >= 2 and sums(table, found)[0] == sums(table, inside).max()
