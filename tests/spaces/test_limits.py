import math
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare

from senas_bench.spaces import SearchSpace, balanced_sample, limited
from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.darts import DARTS, darts_cost
from senas_bench.spaces.darts import SKELETONS as DARTS_SKELETONS
from senas_bench.spaces.limited import LimitedSampler
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.mobilenet import IDENTITY, MOBILENET, mobilenet_cost
from senas_bench.spaces.nasbench201 import NB201, SKELETONS, nasbench201_cost
from senas_bench.spaces.paths import CoveringPath, UniformPath
from senas_bench.spaces.regions import feasible, operator_sample, within
from senas_bench.spaces.rejection import RejectionSampler

SMALLEST_P = 1e-4
"""Of a chi-square test with a fixed seed."""


def a_space(*candidates: tuple[int, ...], groups=()) -> SearchSpace:
    edges = tuple(f"e{i}" for i in range(len(candidates)))
    return SearchSpace("toy", tuple("abcde"), edges, candidates, groups)


def by_hand(space: SearchSpace, limit: Limit) -> list[tuple[int, ...]]:
    """The archs of a small space that meet a limit, in order, asking for every arch on its own."""
    return [arch for arch in space if limit.low <= limit.cost(np.array([arch]))[0] <= limit.high]


def rows(archs: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(row) for row in archs.tolist()]


def p_value(drawn: list, expected: dict) -> float:
    """Of the draws, if every key of `expected` had that probability and nothing else could be drawn."""
    seen = Counter(drawn)
    assert seen.keys() <= expected.keys()
    if len(expected) == 1:
        return 1.0
    return chisquare([seen[key] for key in expected], [p * len(drawn) for p in expected.values()]).pvalue


def uniform(archs: list) -> dict:
    return dict.fromkeys(archs, 1 / len(archs))


SPACE = a_space((0, 1, 2, 3), (1, 2, 4), (0, 2, 3, 4), (2,), (0, 4))
MERGED = SPACE.with_groups(((0, 1), (2,), (3, 4)))
SHRUNK = MERGED.without(0, 3).without(2, 0).without(4, 4)
TIES = np.array([[3, 3, 5, 9, 0], [0, 2, 2, 0, 8], [1, 9, 1, 1, 9], [0, 0, 4, 0, 0], [2, 0, 0, 0, 7]])
RNG = np.random.default_rng(5)
COSTS = {
    "ties": TIES,
    "in thousands": 1000 * TIES + 7,
    "below zero": TIES - 6,
    "floats": RNG.gamma(2.0, size=(5, 5)),
    "prime": RNG.integers(10**9, 10**10, size=(5, 5)),
}


def the_middle(space: SearchSpace, cost: np.ndarray, base: float = 11) -> Limit:
    """A limit that a third of the archs meet, with archs on both ends of the window."""
    costs = np.sort(Limit(cost, base, -math.inf, math.inf).cost(space.archs()))
    return Limit(cost, base, costs[len(costs) // 3], costs[2 * len(costs) // 3])


CASES = {
    "ties": (SPACE, "ties", False),
    "ties, coarse": (SPACE, "ties", True),
    "in thousands, merged": (MERGED, "in thousands", False),
    "below zero, shrunk": (SHRUNK, "below zero", False),
    "floats": (SPACE, "floats", False),
    "floats, coarse, shrunk": (SHRUNK, "floats", True),
    "prime, merged": (MERGED, "prime", False),
}
"""A space, its costs, and whether their grid is so coarse that most draws miss the window and are drawn anew."""


@pytest.fixture(params=CASES)
def sampler(request, monkeypatch):
    space, kind, coarse = CASES[request.param]
    if coarse:
        monkeypatch.setattr(limited, "ROUNDED_CELLS", 12)
        monkeypatch.setattr(limited, "EXACT_CELLS", 3)
    monkeypatch.setattr(limited, "MAX_ROUNDS", 13)
    return LimitedSampler(space, the_middle(space, COSTS[kind]))


class TestUniform:
    """All archs of a window can be drawn, equally often, and no others."""

    def test_draws(self, sampler):
        archs = by_hand(sampler.space, sampler.limit)
        drawn = sampler.draw(np.random.default_rng(0), 60 * len(archs))
        assert drawn.dtype == np.int8
        assert p_value(rows(drawn), uniform(archs)) > SMALLEST_P

    def test_single_draws(self, sampler):
        archs, rng = by_hand(sampler.space, sampler.limit), np.random.default_rng(1)
        drawn = [sampler.sample(rng) for _ in range(20 * len(archs))]
        assert all(type(op) is int for op in drawn[0])
        assert p_value(drawn, uniform(archs)) > SMALLEST_P

    def test_archs_and_their_number(self, sampler):
        archs = by_hand(sampler.space, sampler.limit)
        assert rows(sampler.archs()) == archs
        assert sampler.count() == sampler.size == len(archs)
        assert [arch for arch in sampler.space if arch in sampler] == archs

    def test_distinct_archs(self, sampler):
        archs, rng = by_hand(sampler.space, sampler.limit), np.random.default_rng(2)
        assert sorted(rows(sampler.sample_distinct(rng, 100))) == archs
        samples = [rows(sampler.sample_distinct(rng, 3)) for _ in range(20 * len(archs))]
        assert all(len(set(sample)) == min(3, len(archs)) for sample in samples)
        for place in range(min(3, len(archs))):
            assert p_value([sample[place] for sample in samples], uniform(archs)) > SMALLEST_P

    @pytest.mark.slow
    def test_archs_with_an_operator(self, sampler):
        within, rng = by_hand(sampler.space, sampler.limit), np.random.default_rng(3)
        for edge, op in sampler.space.alive():
            archs = [arch for arch in within if arch[edge] == op]
            whole = sampler.sample_with(edge, op, rng, 100)
            if not archs:
                assert whole is None
                continue
            assert sorted(rows(whole)) == archs
            drawn = [rows(sampler.sample_with(edge, op, rng, 1))[0] for _ in range(20 * len(archs))]
            assert p_value(drawn, uniform(archs)) > SMALLEST_P

    def test_feasible_operators(self, sampler):
        contained = {(edge, op) for arch in by_hand(sampler.space, sampler.limit) for edge, op in enumerate(arch)}
        assert sampler.feasible_operators() == [at for at in sampler.space.alive() if at in contained]

    def test_paths(self, sampler):
        archs, rng = by_hand(sampler.space, sampler.limit), np.random.default_rng(4)
        assert p_value([UniformPath(sampler)(rng)[0] for _ in range(20 * len(archs))], uniform(archs)) > SMALLEST_P
        ((one, two, three),) = UniformPath(sampler, cells=3)(rng)
        assert {one, two, three} <= set(archs)


@pytest.mark.parametrize("seed", range(60))
def test_any_window_of_any_small_space(seed):
    """Random candidates, costs and windows, empty ones among them."""
    rng = np.random.default_rng(seed)
    space = a_space(*[tuple(np.flatnonzero(rng.random(5) < 0.5).tolist()) or (3,) for _ in range(4)])
    costs = [rng.integers(-20, 20, (4, 5)), rng.normal(size=(4, 5)), rng.integers(0, 10**12, (4, 5))][seed % 3]
    some = Limit(costs, base := costs[0, 0], -math.inf, math.inf).cost(space.archs())
    limit = Limit(costs, base, *np.sort(rng.choice(some, 2) + rng.choice([0, 0, -1, 1], 2) * rng.random(2)))
    archs = by_hand(space, limit)
    if not archs:
        with pytest.raises(ValueError, match=r"no arch of toy meets"):
            LimitedSampler(space, limit)
        return
    sampler = LimitedSampler(space, limit)
    assert rows(sampler.archs()) == archs
    assert sampler.count() == len(archs)
    assert sampler.feasible_operators() == sorted({at for arch in archs for at in enumerate(arch)})
    assert set(rows(sampler.draw(rng, 200))) <= set(archs)


@pytest.mark.parametrize("kind", COSTS)
def test_a_window_may_be_the_cost_of_a_single_arch(kind):
    """Both ends are inclusive: of every arch, those of the very same cost are found, and a little off none is."""
    costs = Limit(COSTS[kind], 0, -math.inf, math.inf).cost(SHRUNK.archs())
    for cost in np.unique(costs):
        same = [arch for arch, other in zip(SHRUNK, costs, strict=True) if other == cost]
        assert rows(LimitedSampler(SHRUNK, Limit(COSTS[kind], 0, cost, cost)).archs()) == same
        with pytest.raises(ValueError, match="no arch"):
            LimitedSampler(SHRUNK, Limit(COSTS[kind], 0, cost + math.ulp(cost), cost + 2 * math.ulp(cost)))
        assert np.all(Limit(COSTS[kind], 0, -math.inf, cost).holds(SHRUNK.archs()) == (costs <= cost))


@pytest.mark.parametrize("kind", COSTS)
def test_an_open_limit_is_no_limit(kind):
    sampler = LimitedSampler(SPACE, Limit(COSTS[kind], 3, -math.inf, math.inf))
    assert rows(sampler.archs()) == list(SPACE)
    assert len(sampler.feasible_operators()) == len(SPACE.alive())


@pytest.mark.parametrize("kind", COSTS)
def test_a_space_of_one_arch(kind):
    space = SPACE.only((3, 4, 2, 2, 0))
    (cost,) = Limit(COSTS[kind], 0, 0, 0).cost(space.archs())
    rng = np.random.default_rng(0)
    for low, high in [(cost, cost), (cost - 1, cost + 1), (-math.inf, cost), (cost, math.inf)]:
        sampler = LimitedSampler(space, Limit(COSTS[kind], 0, low, high))
        assert sampler.sample(rng) == (3, 4, 2, 2, 0)
        assert sampler.count() == sampler.size == 1
        assert rows(sampler.sample_distinct(rng, 9)) == rows(sampler.sample_with(2, 2, rng, 9)) == [(3, 4, 2, 2, 0)]
        assert rows(sampler.covering(rng, 4)) == [(3, 4, 2, 2, 0)] * 4


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0, 16, "limit 0 to 16: costs go from 17 to 38; move or widen the limit"),
        (43.5, math.inf, "limit 43.5 to inf: costs go from 17 to 38; move or widen the limit"),
        (20.1, 20.9, "limit 20.1 to 20.9: costs go from 17 to 38; move or widen the limit"),
    ],
)
def test_an_impossible_window_is_named_with_what_is_possible(low, high, message):
    """The cheapest operators cost 3 + 2 + 1 + 4 + 2, the dearest 5 + 8 + 9 + 4 + 7, and all else 5."""
    space = replace(SPACE, candidates=((0, 1, 2), (1, 2, 4), (0, 4), (2,), (0, 4)))
    with pytest.raises(ValueError) as error:
        LimitedSampler(space, Limit(TIES, 5, low, high, "cost"))
    assert str(error.value) == f"no arch of toy meets the cost {message}"


@pytest.mark.parametrize("kind", ["ties", "floats"])
def test_a_gap_between_costs_is_impossible_too(kind):
    space = SPACE.without(0, 3).without(1, 4)
    costs = np.unique(Limit(COSTS[kind], 0, -math.inf, math.inf).cost(space.archs()))
    gap = int(np.argmax(np.diff(costs)))
    window = (costs[gap] + 1e-6, costs[gap + 1] - 1e-6)
    with pytest.raises(ValueError, match=r"^no arch of toy meets .* move or widen the limit$"):
        LimitedSampler(space, Limit(COSTS[kind], 0, *window))


def test_the_way_is_barred_to_bad_limits():
    with pytest.raises(ValueError, match="no cost lies between 5 and 4"):
        Limit(TIES, 0, 5, 4)
    with pytest.raises(ValueError, match="nan"):
        Limit(TIES, 0, math.nan, 4)
    with pytest.raises(ValueError, match=r"\(edges, operators\), its shape is \(5,\)"):
        Limit(TIES[0], 0, 0, 4)
    with pytest.raises(ValueError, match=r"costs of \(4, 5\) edges and operators, space toy has \(5, 5\)"):
        LimitedSampler(SPACE, Limit(TIES[:4], 0, 0, 99))
    with pytest.raises(ValueError, match=r"costs of \(5, 4\) edges and operators"):
        LimitedSampler(SPACE, Limit(TIES[:, :4], 0, 0, 99))
    sampler = LimitedSampler(SPACE, Limit(TIES, 0, 0, 99))
    with pytest.raises(ValueError, match="operator 3 is not alive on edge e1"):
        sampler.sample_with(1, 3, np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match=r"share 1\.5 must lie between 0 and 1"):
        sampler.covering(np.random.default_rng(0), 4, share=1.5)


def test_costs_are_needed_of_alive_operators_only():
    costs = COSTS["floats"].copy()
    costs[~np.array([[op in alive for op in range(5)] for alive in SPACE.candidates])] = math.nan
    wider = np.column_stack([costs, np.full(5, math.nan)])
    limit = Limit(wider, 0, 0, 99, "latency")
    assert LimitedSampler(SPACE, limit).count() == SPACE.size
    costs[2, 3] = math.inf
    with pytest.raises(ValueError, match="no latency is known of d on edge e2"):
        LimitedSampler(SPACE, Limit(costs, 0, 0, 99, "latency"))
    assert LimitedSampler(SPACE.without(2, 3), Limit(costs, 0, 0, 99)).count() == SPACE.size * 3 / 4


def test_a_needle_that_rounding_hides_is_an_error_after_bounded_retries(monkeypatch):
    """A million archs fall into the cell of one. Their number is too large for a list, so draws decide."""
    monkeypatch.setattr(limited, "ROUNDED_CELLS", 1)
    costs = np.random.default_rng(0).random((12, 5))
    space = a_space(*[tuple(range(5))] * 12)
    with pytest.raises(ValueError, match="but none was found there"):
        LimitedSampler(space, Limit(costs, 0, 6.000000001, 6.000000002))
    sampler = LimitedSampler(space, Limit(costs, 0, 5.0, 5.5))
    monkeypatch.setattr(limited, "MAX_ROUNDS", 0)
    with pytest.raises(RuntimeError, match="3 of 3 archs within the cost limit not found; widen the window"):
        sampler.draw(np.random.default_rng(0), 3)


def test_an_estimated_count_is_close():
    """Of 5^8 archs with costs that only draws can tell apart."""
    costs = np.random.default_rng(0).random((8, 5))
    space = a_space(*[tuple(range(5))] * 8)
    limit = Limit(costs, 0, 3.0, 3.3)
    assert LimitedSampler(space, limit).count() == pytest.approx(limit.holds(space.archs()).sum(), rel=0.01)


@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("number", [0.0, np.nextafter(1, 0)])
def test_the_extreme_numbers_of_a_generator_give_archs_too(kind, number):
    """The first and the last that can be drawn: an operator that leads out of the window is neither."""

    class Stuck:
        def random(self, shape):
            return np.full(shape, number)

    sampler = LimitedSampler(SPACE, the_middle(SPACE, COSTS[kind]))
    chosen = 0 if number == 0 else -1
    assert sampler.sample(Stuck()) == by_hand(SPACE, sampler.limit)[chosen]
    for edge, op in sampler.feasible_operators():
        assert sampler.sample_with(edge, op, Stuck(), 1)[0, edge] == op


def test_a_cost_beyond_all_measure_rules_an_operator_out():
    costs = COSTS["floats"].copy()
    costs[0, 2], costs[2, 4] = 1e300, 1e15
    sampler = LimitedSampler(SPACE, Limit(costs, 0, 0, costs[0, 1] + 30))
    assert sampler.count() == SPACE.size * 3 / 4 * 3 / 4
    assert sampler.feasible_operators() == [at for at in SPACE.alive() if at not in {(0, 2), (2, 4)}]


def test_same_seed_same_archs():
    sampler = LimitedSampler(SPACE, the_middle(SPACE, TIES))

    def all_of(seed):
        np.random.seed(seed)
        rng = np.random.default_rng(7)
        yield from rows(sampler.draw(rng, 9))
        yield from rows(sampler.sample_distinct(rng, 9))
        yield from rows(sampler.covering(rng, 9))
        yield sampler.sample(rng)
        yield CoveringPath(sampler, cells=2)(rng)

    first = list(all_of(0))
    sampler.feasible_operators()
    sampler = LimitedSampler(SPACE, sampler.limit)
    assert first == list(all_of(1))


def test_covering_gives_every_feasible_operator_its_turns():
    sampler = LimitedSampler(SPACE, the_middle(SPACE, TIES))
    feasible = sampler.feasible_operators()
    archs = sampler.covering(np.random.default_rng(0), 10 * len(feasible), share=0.5)
    assert archs.shape == (10 * len(feasible), 5) and archs.dtype == np.int8
    assert all((archs[:, edge] == op).sum() >= 5 for edge, op in feasible)
    assert sampler.covering(np.random.default_rng(0), 0).shape == (0, 5)


class TestCovering:
    """Three edges, prices 0 to 4, at most 4 in all: 35 archs, and a single one with the dearest operator of an edge."""

    SAMPLER = LimitedSampler(a_space(*[(0, 1, 2, 3, 4)] * 3), Limit(np.array([[0, 1, 2, 3, 4]] * 3), 0, 0, 4))

    def expected(self, share):
        """An arch has its part of the uniform draws, and of the turns of each of its operators."""
        archs = by_hand(self.SAMPLER.space, self.SAMPLER.limit)
        holders = Counter(at for arch in archs for at in enumerate(arch))
        assert len(archs) == 35 and holders[0, 4] == 1
        turns = {arch: sum(1 / holders[at] for at in enumerate(arch)) / len(holders) for arch in archs}
        return {arch: (1 - share) / len(archs) + share * turns[arch] for arch in archs}

    @pytest.mark.parametrize("share", [0, 0.3, 0.6, 1])
    def test_paths(self, share):
        path, rng = CoveringPath(self.SAMPLER, share), np.random.default_rng(0)
        assert p_value([path(rng)[0] for _ in range(2000)], self.expected(share)) > SMALLEST_P

    def test_each_cell_of_a_path(self):
        path, rng = CoveringPath(self.SAMPLER, share=0.75, cells=4), np.random.default_rng(0)
        drawn = [path(rng) for _ in range(1500)]
        assert all(len(paths) == 1 and len(paths[0]) == 4 for paths in drawn)
        for cell in range(4):
            assert p_value([paths[0][cell] for paths in drawn], self.expected(0.75)) > SMALLEST_P


def test_what_is_in_a_sampler():
    sampler = LimitedSampler(SPACE, Limit(TIES, 0, -math.inf, math.inf))
    assert (0, 1, 0, 2, 0) in sampler
    assert (4, 1, 0, 2, 0) not in sampler and [0, 1, 0, 2, 0] not in sampler and (0, 1) not in sampler


class TestColumns:
    TABLE = CostTable(np.array([100, 7]), np.stack([1000 * TIES, TIES], axis=2))

    def test_of_a_cost_table(self):
        archs = SPACE.archs()
        costs = self.TABLE(archs)
        flops, params = Limit.of(self.TABLE, "flops", 20_000), Limit.of(self.TABLE, "params", 30, low=12)
        assert np.array_equal(flops.cost(archs), np.rint(costs["flops_m"] * 1e6))
        assert np.array_equal(params.cost(archs), costs["params"])
        assert (flops.low, flops.high, flops.name) == (18_000, 20_000, "flops")
        assert (params.low, params.high, params.name) == (12, 30, "params")
        assert np.array_equal(params.holds(archs), (costs["params"] >= 12) & (costs["params"] <= 30))

    def test_unknown_column(self):
        with pytest.raises(ValueError, match=r"unknown column 'flop'; did you mean 'flops'\? one of: flops, params"):
            Limit.of(self.TABLE, "flop", 1)


@pytest.mark.parametrize(("column", "high"), [("flops", 60e6), ("flops", 125.5e6), ("params", 0.4e6)])
def test_nasbench201(column, high):
    limit = Limit.of(nasbench201_cost(SKELETONS["cifar10"]), column, high)
    sampler = LimitedSampler(NB201, limit)
    within = NB201.archs()[limit.holds(NB201.archs())]
    assert np.array_equal(sampler.archs(), within)
    assert sampler.count() == len(within) > 100
    assert p_value(rows(sampler.draw(np.random.default_rng(0), 100_000)), uniform(rows(within))) > SMALLEST_P


def exact_counts(limit: Limit, edges: range) -> Counter:
    """Number of ways to each sum of costs over `edges` of the MobileNet space, up to the limit."""
    sums = Counter({int(limit.base): 1})
    for edge in edges:
        after = Counter()
        for (cost, ways), op in product(sums.items(), MOBILENET.candidates[edge]):
            if (total := cost + int(limit.per_edge[edge, op])) <= limit.high:
                after[total] += ways
        sums = after
    return sums


class TestMobilenet:
    @pytest.fixture(params=[250, 330, 475, 600])
    def sampler(self, request):
        return LimitedSampler(MOBILENET, Limit.of(mobilenet_cost(), "flops", request.param * 1e6))

    def test_draws_meet_the_limit_and_differ(self, sampler):
        archs = sampler.draw(np.random.default_rng(0), 1000)
        flops = mobilenet_cost()(archs)["flops_m"]
        assert flops.min() >= sampler.limit.low / 1e6 and flops.max() <= sampler.limit.high / 1e6
        assert all(arch in MOBILENET for arch in rows(archs))
        assert len(set(rows(archs))) >= 950

    def test_every_operator_that_fits_is_covered_by_a_thousand(self, sampler):
        """An operator fits where the cheapest arch with it is not too dear: the window is much wider than steps are."""
        cost = sampler.limit.per_edge
        cheapest = np.array([cost[edge, list(alive)].min() for edge, alive in enumerate(MOBILENET.candidates)])
        least = sampler.limit.base + cheapest.sum()
        fits = [(e, op) for e, op in MOBILENET.alive() if least - cheapest[e] + cost[e, op] <= sampler.limit.high]
        assert sampler.feasible_operators() == fits
        assert len(fits) == (138 if sampler.limit.high == 250e6 else 141)
        archs = sampler.covering(np.random.default_rng(0), 1000)
        assert all((archs[:, edge] == op).any() for edge, op in fits)
        assert sampler.limit.holds(archs).all()
        assert len(set(rows(archs))) >= 950

    def test_a_thousand_archs_with_the_rarest_operator(self, sampler):
        """k5e6 on the second layer; where it fits, few or no others may be dear."""
        archs = sampler.sample_with(1, 3, np.random.default_rng(0), 1000)
        assert sampler.limit.holds(archs).all() and (archs[:, 1] == 3).all()
        assert len(set(rows(archs))) == len(archs)
        assert len(archs) == (674 if sampler.limit.high == 250e6 else 1000)

    def test_none_where_an_operator_does_not_fit(self):
        sampler = LimitedSampler(MOBILENET, Limit.of(mobilenet_cost(), "flops", 250e6))
        assert sampler.sample_with(1, 5, np.random.default_rng(0), 1000) is None

    def test_count_under_250m_is_exact(self):
        limit = Limit.of(mobilenet_cost(), "flops", 250e6)
        sums = exact_counts(limit, range(21))
        assert LimitedSampler(MOBILENET, limit).count() == sum(n for cost, n in sums.items() if cost >= limit.low)

    def test_frequencies_under_250m(self):
        """Of the operators of one layer, expected from the exact numbers of ways on both of its sides."""
        limit, edge = Limit.of(mobilenet_cost(), "flops", 250e6), 10
        before, after = exact_counts(limit, range(edge)), exact_counts(limit, range(edge + 1, 21))
        costs = np.array(sorted(after))
        ways = np.concatenate([[0], np.cumsum([after[cost] for cost in costs.tolist()])])
        expected = {}
        for op in MOBILENET.candidates[edge]:
            so_far = np.array(list(before)) + limit.per_edge[edge, op] - limit.base
            ends = np.searchsorted(costs, limit.high - so_far, side="right")
            starts = np.searchsorted(costs, limit.low - so_far, side="left")
            expected[op] = int(((ways[ends] - ways[starts]) * np.array(list(before.values()))).sum())
        total = sum(expected.values())
        archs = LimitedSampler(MOBILENET, limit).draw(np.random.default_rng(0), 30_000)
        assert p_value(archs[:, edge].tolist(), {op: n / total for op, n in expected.items()}) > SMALLEST_P

    def test_no_limit_counts_the_whole_space(self):
        sampler = LimitedSampler(MOBILENET, Limit.of(mobilenet_cost(), "flops", 2e9, low=0))
        assert sampler.count() == pytest.approx(MOBILENET.size, rel=1e-12)

    def test_an_impossible_limit_says_what_is_possible(self):
        """The cheapest arch has k3e3 in the six layers that cannot be skipped, the dearest k7e6 everywhere."""
        skippable = [IDENTITY in alive for alive in MOBILENET.candidates]
        ends = np.array([[IDENTITY if skip else 0 for skip in skippable], [5] * 21])
        least, most = mobilenet_cost()(ends)["flops_m"]
        with pytest.raises(ValueError) as error:
            LimitedSampler(MOBILENET, Limit.of(mobilenet_cost(), "flops", 180e6))
        assert str(error.value) == (
            "no arch of mobilenet meets the flops limit 162 to 180 million: "
            f"costs go from {least:,.10g} to {most:,.10g} million; move or widen the limit"
        )

    def test_shrunk_space(self):
        space = MOBILENET
        for edge in range(0, 21, 2):
            space = space.without(edge, 0).without(edge, 5)
        limit = Limit.of(mobilenet_cost(), "flops", 475e6)
        sampler = LimitedSampler(space, limit)
        archs = sampler.draw(np.random.default_rng(0), 500)
        assert space.contains_rows(archs).all() and limit.holds(archs).all()
        assert sampler.feasible_operators() == space.alive()

    def test_parameters_and_latencies_need_rounding(self):
        latency = np.random.default_rng(0).gamma(2.0, 0.4, mobilenet_cost().per_edge.shape[:2])
        for limit in (Limit.of(mobilenet_cost(), "params", 5e6), Limit(latency, 2.0, 15.3, 17.0, "latency_ms")):
            sampler = LimitedSampler(MOBILENET, limit)
            archs = sampler.draw(np.random.default_rng(0), 1000)
            assert limit.holds(archs).all()
            assert len(set(rows(archs))) >= 950
            assert sampler.feasible_operators() == MOBILENET.alive()


class TestRejection:
    """A space with a rule: every node of `darts` has two inputs."""

    limit = Limit.of(darts_cost(DARTS_SKELETONS["imagenet"]), "flops", 600e6)
    space = DARTS  # shrunk to one operator beside none on each edge: 180 archs
    for edge, op in [(e, o) for e in range(14) for o in range(1, 8) if o != 3 + e % 5]:
        space = space.without(edge, op)

    def test_draws_are_uniform_within_the_limit(self):
        limit = the_middle(self.space, self.limit.per_edge)
        sampler, rng = RejectionSampler(self.space, limit), np.random.default_rng(1)
        inside = by_hand(self.space, limit)
        assert 30 < len(inside) == sampler.size == len(sampler.archs()) < self.space.size == 180
        assert all(arch in sampler for arch in inside)
        assert p_value([sampler.sample(rng) for _ in range(3000)], uniform(inside)) > SMALLEST_P
        assert len(sampler.sample_distinct(rng, 1000)) == len(inside)

    def test_distinct_draws_obey_rule_and_limit(self):
        sampler = within(DARTS, self.limit)
        archs = sampler.sample_distinct(np.random.default_rng(0), 200)
        assert len({tuple(row) for row in archs.tolist()}) == 200
        assert DARTS.rule.valid(archs).all() and self.limit.holds(archs).all()
        # node 2 needs both of its edges, so that `none` is on neither
        assert sampler.size > 1e8 and len(sampler.feasible_operators()) == 14 * 8 - 2

    def test_every_operator_has_its_own_sample(self):
        """A pool of 70 archs lacks some of the 98 operators; `none` is counted for no operator's sample."""
        sampler = within(DARTS, self.limit)
        pool = sampler.pool(5, np.random.default_rng(0))
        assert any(not (pool[:, edge] == op).any() for edge, op in DARTS.droppable())
        archs, rows = operator_sample(sampler, 5, np.random.default_rng(0))
        assert DARTS.rule.valid(archs).all() and self.limit.holds(archs).all()
        assert set(rows) == set(DARTS.droppable())
        for (edge, op), own in rows.items():
            assert (archs[own, edge] == op).all() and len({tuple(row) for row in archs[own].tolist()}) >= 5

    def test_the_archs_with_an_operator_are_drawn_uniformly(self):
        limit = the_middle(self.space, self.limit.per_edge)
        sampler, rng, pair = RejectionSampler(self.space, limit), np.random.default_rng(2), (5, 3)
        inside = [arch for arch in by_hand(self.space, limit) if arch[pair[0]] == pair[1]]
        found = sampler.more_with(*pair, rng, 10_000)
        assert found is not None and sorted(map(tuple, found.tolist())) == sorted(inside)
        drawn = [tuple(sampler.more_with(*pair, rng, 1)[0].tolist()) for _ in range(1000)]
        assert p_value(drawn, uniform(inside)) > SMALLEST_P

    def test_an_operator_that_no_arch_within_the_limit_has_is_given_none(self):
        limit = the_middle(self.space, self.limit.per_edge)
        cheap = self.limit.per_edge.copy()
        cheap[5, 3] = 1e12
        sampler = RejectionSampler(self.space, Limit(cheap, limit.base, limit.low, limit.high))
        assert sampler.more_with(5, 3, np.random.default_rng(0), 5) is None

    def test_the_size_of_a_rare_window_is_estimated_from_more_draws(self):
        """One arch in 10,000 is above this; 4,096 draws may find none."""
        costs = self.limit.cost(DARTS.sample_distinct(np.random.default_rng(5), 200_000))
        low = float(np.quantile(costs, 1 - 1e-4))
        sampler = RejectionSampler(DARTS, Limit(self.limit.per_edge, self.limit.base, low, np.inf))
        assert 0.3e-4 < sampler.size / DARTS.size < 3e-4

    def test_a_limit_that_nothing_meets(self):
        with pytest.raises(
            ValueError, match="no arch of darts that meets the flops limit 1 to 2 million was found; typ"
        ):
            RejectionSampler(DARTS, Limit(self.limit.per_edge, self.limit.base, 1e6, 2e6, "flops"))
        assert not feasible(DARTS, Limit(self.limit.per_edge, self.limit.base, 1, 2))


def test_without_a_limit_the_region_is_the_space():
    assert within(SPACE, None) is SPACE and feasible(SPACE, None, 10**9)
    assert isinstance(within(SPACE, the_middle(SPACE, COSTS["ties"])), LimitedSampler)


def test_a_region_is_feasible_down_to_a_number_of_archs():
    limit = the_middle(SPACE, COSTS["ties"])
    count = int(limit.holds(SPACE.archs()).sum())
    assert feasible(SPACE, limit, count) and not feasible(SPACE, limit, count + 1)


def test_every_operator_has_its_own_sample():
    """Under a limit that only few archs with operator 5 of the first layer meet, it is given archs that do."""
    per_edge = np.zeros((len(MOBILENET.edges), len(MOBILENET.operators)))
    per_edge[0, 5] = 30.0
    per_edge[1:, :6] = 1.0  # identity is free, and 15 layers can have it
    sampler = within(MOBILENET, Limit(per_edge, 0.0, 15.0, 40.0))
    archs, rows = operator_sample(sampler, 4, np.random.default_rng(0))
    assert sampler.limit.holds(archs).all() and set(rows) == set(MOBILENET.droppable())
    for (edge, op), own in rows.items():
        assert len(own) >= 4 and (archs[own, edge] == op).all()
    impossible = within(MOBILENET, Limit(per_edge, 0.0, 5.0, 20.0))
    _, rows = operator_sample(impossible, 4, np.random.default_rng(0))
    assert len(rows[0, 5]) == 0 and len(rows[0, 4]) >= 4


def test_the_sample_of_a_whole_space_is_the_balanced_one():
    archs, rows = operator_sample(SPACE, 3, np.random.default_rng(0))
    assert (archs == balanced_sample(SPACE, 3, np.random.default_rng(0))).all()
    assert list(rows) == SPACE.alive()
    assert all((np.flatnonzero(archs[:, edge] == op) == own).all() for (edge, op), own in rows.items())


def test_an_operator_keeps_the_rows_of_the_pool_where_fewer_others_are_found():
    """The pool has two archs with each operator, the region finds one more: two are the better sample."""
    space = a_space((0, 1), (2, 3))
    pool = np.array([[0, 2], [0, 3], [1, 2], [1, 3]], np.int8)

    class OneMore:
        def __init__(self):
            self.space = space

        def pool(self, per_operator, rng):
            return pool

        def more_with(self, edge, operator, rng, n):
            return pool[pool[:, edge] == operator][:1]

    archs, rows = operator_sample(OneMore(), 3, np.random.default_rng(0))
    assert archs.tolist() == pool.tolist()
    found = {pair: own.tolist() for pair, own in rows.items()}
    assert found == {(0, 0): [0, 1], (0, 1): [2, 3], (1, 2): [0, 2], (1, 3): [1, 3]}


@pytest.mark.parametrize("part", ["per_edge", "base", "low", "high"])
def test_whatever_changes_a_window_changes_its_identity(part):
    limit = Limit(TIES, 11.0, 12.0, 20.0)
    other = replace(limit, **{part: getattr(limit, part) + 1})
    assert other.identity() != limit.identity()
    assert replace(limit, per_edge=TIES.copy(), name="flops", in_training=False).identity() == limit.identity()
