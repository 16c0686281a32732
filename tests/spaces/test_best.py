import numpy as np
import pytest

from senas_bench.spaces import best
from senas_bench.spaces.best import best_arch
from senas_bench.spaces.darts import DARTS, DARTS_SEPARATE, NONE, DartsSkeleton, darts_cost
from senas_bench.spaces.darts.cell import EDGES
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost

COST = nasbench201_cost(Skeleton(8, 10, in_channels=1, channels=4, cells=1))
SMALL = DARTS
for edge in range(14):  # none, skip and sep 3x3 are left: 180 * 2^8 archs
    for operator in (1, 2, 5, 6, 7):
        SMALL = SMALL.without(edge, operator)


def scores_of(space, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(space.edges), len(space.operators)))


def by_brute_force(space, scores, limit=None):
    archs = space.archs()
    if limit:
        archs = archs[limit.holds(archs)]
    return tuple(archs[scores[np.arange(archs.shape[1]), archs].sum(1).argmax()].tolist())


@pytest.mark.parametrize("space", [NB201, SMALL], ids=["nasbench201", "darts"])
def test_it_is_the_best_by_brute_force(space):
    for seed in range(5):
        scores = scores_of(space, seed)
        assert best_arch(space, scores) == by_brute_force(space, scores)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("most", [best.MOST, 4000])
def test_within_a_limit_it_is_the_best_by_brute_force(share, most, monkeypatch):
    """Exactly, for these archs have few costs: also where fewer sums may be looked at."""
    monkeypatch.setattr(best, "MOST", most)
    for space, table in ((NB201, COST), (SMALL, darts_cost(DartsSkeleton(8, 10, channels=4, layers=5)))):
        costs = table.base[0] + table.per_edge[..., 0].max(1).sum() * share
        limit = Limit.of(table, "flops", costs)
        if not limit.holds(space.archs()).any():
            with pytest.raises(ValueError, match="no arch was found within the flops limit"):
                best_arch(space, scores_of(space, 0), limit)
            continue
        for seed in range(3):
            scores = scores_of(space, seed)
            assert best_arch(space, scores, limit) == by_brute_force(space, scores, limit)


@pytest.mark.parametrize("ends", [(0.9, 1.0), (1.0, 1.1), (1.0, 1.0)], ids=["high", "low", "both"])
def test_an_arch_on_an_end_of_a_window_of_latencies_counts_as_it_does_for_the_limit(ends):
    """The window ends at the cost of an arch to the last bit, as the limit adds it up; the search adds in another
    order."""
    archs = NB201.archs()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        milliseconds, base = rng.random((6, 5)), rng.random()
        own = Limit(milliseconds, base, 0.0, np.inf).cost(archs[[rng.integers(len(archs))]])[0]
        limit = Limit(milliseconds, base, ends[0] * own, ends[1] * own, "latency")
        scores = scores_of(NB201, seed)
        assert best_arch(NB201, scores, limit) == by_brute_force(NB201, scores, limit)


def test_what_lies_an_ulp_beyond_a_window_is_refused():
    """Where the window's only arch, by the sum of the search, is beyond it as the limit adds it up."""
    archs = NB201.archs()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        milliseconds, base = rng.random((6, 5)), rng.random()
        own = Limit(milliseconds, base, 0.0, np.inf).cost(archs[[rng.integers(len(archs))]])[0]
        above = np.nextafter(own, np.inf)
        with pytest.raises(ValueError, match="no arch was found within the latency limit"):
            best_arch(NB201, scores_of(NB201, seed), Limit(milliseconds, base, above, above, "latency"))


def test_a_darts_cell_is_derived_as_darts_derives_it():
    """Of each node the two edges whose best operators, `none` left out, are the most probable."""
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(8), size=14)
    scores = np.log(probabilities)
    scores[:, NONE] = 0
    expected = [NONE] * 14
    for node in range(2, 6):
        into = [edge for edge, (_, target) in enumerate(EDGES) if target == node]
        for edge in sorted(into, key=lambda edge: probabilities[edge, 1:].max())[-2:]:
            expected[edge] = 1 + int(probabilities[edge, 1:].argmax())
    assert best_arch(DARTS, scores) == tuple(expected)


def test_of_equal_ones_within_a_limit_it_is_the_first():
    """All archs cost nothing and score nothing."""
    nothing = np.zeros((6, 5))
    assert best_arch(NB201, nothing, Limit(nothing, 0.0, 0.0, 0.0)) == (0,) * 6


def test_the_whole_space_of_two_cells_within_a_limit():
    """It meets it, and no change of one node that does is better."""
    table = darts_cost(DartsSkeleton(8, 10, channels=4, layers=5), shared_cell=False)
    one = np.array([DARTS_SEPARATE.sample(np.random.default_rng(0))])
    limit = Limit.of(table, "flops", table(one)["flops_m"][0] * 1e6)
    scores = scores_of(DARTS_SEPARATE, 1)
    arch = best_arch(DARTS_SEPARATE, scores, limit)
    assert arch in DARTS_SEPARATE and limit.holds(np.array([arch]))[0]
    own = scores[np.arange(28), arch].sum()
    for edges, ways in DARTS_SEPARATE.parts():
        others = np.tile(arch, (len(ways), 1))
        others[:, edges] = ways
        others = others[limit.holds(others)]
        assert scores[np.arange(28), others].sum(1).max() <= own + 1e-12


def test_what_must_not_be_chosen_is_not():
    scores = scores_of(NB201, 0)
    first = best_arch(NB201, scores)
    scores[2, first[2]] = -np.inf
    second = best_arch(NB201, scores)
    assert second[2] != first[2] and second[:2] == first[:2] and second[3:] == first[3:]
    scores[2] = -np.inf
    with pytest.raises(ValueError, match="must not be chosen"):
        best_arch(NB201, scores)
