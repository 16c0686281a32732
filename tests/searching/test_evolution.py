import itertools

import numpy as np
import pytest

from senas_bench.searching import evolution
from senas_bench.searching.evolution import MAX_TRIES, Evolution
from senas_bench.searching.random_search import RandomSearch
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.darts import DARTS
from senas_bench.spaces.limited import LimitedSampler
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.mobilenet import MOBILENET, mobilenet_cost
from senas_bench.spaces.nasbench201 import NB201, SKELETONS, nasbench201_cost

TOY = SearchSpace("toy", tuple("abcde"), ("e0", "e1", "e2"), ((0, 3), (1, 2, 4), (2,)))


class Additive:
    """A score that is a sum over edges, with what it was asked."""

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self.table = np.random.default_rng(seed).normal(size=(len(space.edges), len(space.operators)))
        self.batches: list[np.ndarray] = []

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        self.batches.append(archs)
        return self.table[np.arange(archs.shape[1]), archs].sum(axis=1)

    def best(self, space: SearchSpace):
        return tuple(max(alive, key=lambda op: self.table[edge, op]) for edge, alive in enumerate(space.candidates))

    @property
    def asked(self) -> list[tuple[int, ...]]:
        return [tuple(row) for batch in self.batches for row in batch.tolist()]


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_optimum_is_found(seed):
    """1,000 of 15,625 archs are scored: by chance alone it would be found once in sixteen times."""
    score = Additive(NB201, seed)
    best, archs, scores = Evolution()(NB201, score, np.random.default_rng(seed))
    assert best == score.best(NB201)
    assert len(archs) <= 1000
    assert best == tuple(archs[np.argmax(scores)].tolist())


def test_no_arch_is_scored_twice_and_all_lie_in_the_space():
    space = NB201.without(0, 3).without(5, 0)
    score = Additive(space)
    _, archs, scores = Evolution(population=30, generations=12)(space, score, np.random.default_rng(0))
    assert len(set(score.asked)) == len(score.asked) == 30 * 12
    assert all(arch in space for arch in score.asked)
    assert [tuple(row) for row in archs.tolist()] == score.asked
    assert np.array_equal(scores, np.concatenate([Additive(space)(batch) for batch in score.batches]))
    assert all(batch.dtype == np.int8 and batch.shape == (30, 6) for batch in score.batches)


@pytest.mark.parametrize("space", [TOY, TOY.only((0, 4, 2))])
def test_a_space_smaller_than_the_population_is_scored_whole(space):
    score = Additive(space)
    best, archs, _ = Evolution()(space, score, np.random.default_rng(0))
    assert sorted(score.asked) == list(space)
    assert len(archs) == space.size
    assert best == score.best(space)


def test_a_space_larger_than_the_population_may_run_out():
    space = SearchSpace("toy", tuple("abcde"), ("e0", "e1"), ((0, 1, 2, 3, 4),) * 2)
    score = Additive(space)
    best, *_ = Evolution(population=10, generations=8, parents=3)(space, score, np.random.default_rng(0))
    assert len(set(score.asked)) == len(score.asked) == 25
    assert best == score.best(space)


def test_search_depends_on_the_generator_alone():
    def search(seed):
        np.random.seed(0)
        best, archs, scores = Evolution(10, 4, 3)(NB201, Additive(NB201), np.random.default_rng(seed))
        return best, archs.tolist(), scores.tolist()

    assert search(0) == search(0)
    assert search(0)[1] != search(1)[1]


def test_best_is_the_first_among_equals():
    best, archs, _ = Evolution(5, 3, 2)(NB201, lambda batch: np.zeros(len(batch)), np.random.default_rng(0))
    assert best == tuple(archs[0].tolist())


def test_best_is_a_plain_arch():
    best, *_ = Evolution(5, 2, 2)(NB201, Additive(NB201), np.random.default_rng(0))
    assert best in NB201 and all(type(op) is int for op in best)


@pytest.mark.parametrize(("crossover", "mutation"), [(1.0, 0.1), (0.0, 0.1), (0.5, 0.0), (0.5, 1.0)])
def test_extreme_shares_still_fill_every_generation(crossover, mutation):
    score = Additive(NB201)
    Evolution(12, 4, 3, crossover, mutation)(NB201, score, np.random.default_rng(0))
    assert [len(batch) for batch in score.batches] == [12] * 4
    assert len(set(score.asked)) == 48


def test_without_mutation_children_are_made_of_their_parents_operators():
    """Crossover only: from the second generation on, every operator is one that a parent has on that edge."""
    score = Additive(NB201)
    Evolution(population=8, generations=2, parents=3, crossover=1.0)(NB201, score, np.random.default_rng(1))
    first, second = score.batches
    parents = first[np.argsort(-score(first))[:3]]
    made = [row for row in second if all(row[edge] in parents[:, edge] for edge in range(6))]
    assert len(made) >= 7


@pytest.mark.parametrize("field", ["population", "generations", "parents"])
def test_sizes_of_zero_are_an_error(field):
    with pytest.raises(ValueError, match="at least 1"):
        Evolution(**{field: 0})


def as_it_was(search, space, score, rng):
    """The search of the first committed results (8a2500e), which knew no limits."""

    def cross(best):
        one, other = best[rng.integers(len(best))], best[rng.integers(len(best))]
        return tuple(a if rng.random() < 0.5 else b for a, b in zip(one, other, strict=True))

    def mutate(best):
        parent, fresh = best[rng.integers(len(best))], space.sample(rng)
        return tuple(b if rng.random() < search.mutation_rate else a for a, b in zip(parent, fresh, strict=True))

    seen = {}
    for generation in range(search.generations):
        batch = []
        best = sorted(seen, key=seen.__getitem__, reverse=True)[: search.parents]
        each = int(search.population * search.crossover)
        makers = [cross] * each + [mutate] * min(each, search.population - each)
        for make in makers if generation else []:
            for _ in range(MAX_TRIES):
                child = make(best)
                if child not in seen and child not in batch:
                    batch.append(child)
                    break
        for _ in range(MAX_TRIES * search.population):
            if len(batch) >= min(search.population, space.size - len(seen)):
                break
            arch = space.sample(rng)
            if arch not in seen and arch not in batch:
                batch.append(arch)
        if not batch:
            break
        seen.update(zip(batch, map(float, score(np.array(batch, np.int8))), strict=True))
    best = max(seen, key=seen.__getitem__)
    return best, np.array(list(seen), np.int8), np.array(list(seen.values()))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("space", [NB201, NB201.without(1, 0).without(4, 2), TOY, MOBILENET], ids=lambda s: s.name)
def test_without_a_limit_it_searches_as_it_always_did(space, seed):
    """Picks of finished runs hang on every draw: same archs in the same order, and the generator at the same place."""
    search = [Evolution(), Evolution(20, 6, 4), Evolution(9, 5, 2, 0.3, 0.4)][seed % 3]
    now, then = np.random.default_rng(seed), np.random.default_rng(seed)
    result, former = search(space, Additive(space, seed), now), as_it_was(search, space, Additive(space, seed), then)
    assert all(np.array_equal(new, old) for new, old in zip(result, former, strict=True))
    assert now.bit_generator.state == then.bit_generator.state


def nb201_under(megaflops):
    return LimitedSampler(NB201, Limit.of(nasbench201_cost(SKELETONS["cifar10"]), "flops", megaflops * 1e6))


def mobilenet_under(megaflops):
    return LimitedSampler(MOBILENET, Limit.of(mobilenet_cost(), "flops", megaflops * 1e6))


@pytest.mark.parametrize(
    ("under", "megaflops"), [(nb201_under, 50), (nb201_under, 90), (mobilenet_under, 250), (mobilenet_under, 475)]
)
def test_under_a_limit_all_archs_meet_it_and_none_is_scored_twice(under, megaflops):
    sampler = under(megaflops)
    score = Additive(sampler.space)
    best, archs, scores = Evolution(30, 8)(sampler, score, np.random.default_rng(0))
    assert len(set(score.asked)) == len(score.asked) == 30 * 8
    assert sampler.limit.holds(archs).all() and best in sampler
    assert [tuple(row) for row in archs.tolist()] == score.asked
    assert best == score.asked[int(np.argmax(scores))]


@pytest.mark.slow
@pytest.mark.parametrize("megaflops", [50, 80, 90])
def test_the_best_arch_within_a_limit_is_found(megaflops):
    """The window has 2,430, 1,215 and 2,430 archs, of which 600 are scored."""
    sampler = nb201_under(megaflops)
    for seed in range(3):
        score = Additive(NB201, seed)
        best, *_ = Evolution(50, 12)(sampler, score, np.random.default_rng(seed))
        archs = sampler.archs()
        assert best == tuple(archs[np.argmax(Additive(NB201, seed)(archs))].tolist())


@pytest.mark.slow
@pytest.mark.parametrize("megaflops", [250, 330, 475, 600])
def test_evolution_under_a_limit_beats_as_many_random_archs(megaflops):
    """And it gets better on its way."""
    sampler = mobilenet_under(megaflops)
    score = Additive(MOBILENET, 1)
    _, _, scores = Evolution()(sampler, score, np.random.default_rng(0))
    _, _, random = RandomSearch()(sampler, Additive(MOBILENET, 1), np.random.default_rng(0))
    assert len(scores) == len(random) == 1000
    assert scores.max() > random.max() + 2
    assert scores[:50].max() < scores[50:250].max() < scores[250:].max()


def test_a_window_smaller_than_the_population_is_scored_whole():
    limit = Limit(np.arange(15).reshape(3, 5), 0, 18, 21)
    sampler = LimitedSampler(TOY, limit)
    score = Additive(TOY)
    best, archs, scores = Evolution()(sampler, score, np.random.default_rng(0))
    within = [arch for arch in TOY if 18 <= arch[0] + 5 + arch[1] + 10 + arch[2] <= 21]
    assert sorted(score.asked) == within and 0 < len(within) < TOY.size
    assert best == tuple(archs[np.argmax(scores)].tolist())


def test_without_children_that_meet_the_limit_generations_are_filled_at_random(monkeypatch):
    """Every arch of the window differs from the others in all edges, so that no child of two meets the limit."""
    monkeypatch.setattr(evolution, "MAX_TRIES", 20)
    space = SearchSpace("toy", tuple("abcde"), ("e0", "e1"), ((0, 1, 2, 3, 4),) * 2)
    costs = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
    sampler = LimitedSampler(space, Limit(costs, 0, 4, 4))
    score = Additive(space)
    best, archs, _ = Evolution(2, 9, 2)(sampler, score, np.random.default_rng(0))
    assert sorted(score.asked) == [(op, op) for op in range(5)] and len(archs) == 5
    assert best == max(score.asked, key=lambda arch: score.table[0, arch[0]] + score.table[1, arch[1]])


def test_mutations_under_a_limit_draw_from_the_whole_space(monkeypatch):
    sampler, drawn = nb201_under(100), []
    monkeypatch.setattr(SearchSpace, "sample", lambda space, rng: drawn.append(space) or (1,) * 6)
    Evolution(4, 2, 2)(sampler, Additive(NB201), np.random.default_rng(0))
    assert drawn and all(space is NB201 for space in drawn)


def test_a_search_that_was_cut_goes_on_by_replay():
    """The caller keeps the scores of each generation, as SPOS does; a new call asks for the same archs again."""
    sampler, kept = mobilenet_under(330), []

    class Cut(Exception):
        pass

    def scored(score, stop):
        generation = itertools.count()

        def through(archs):
            at = next(generation)
            if at == stop:
                raise Cut
            if at == len(kept):
                kept.append((archs, score(archs)))
            assert np.array_equal(kept[at][0], archs)
            return kept[at][1]

        return through

    search, score = Evolution(20, 7), Additive(MOBILENET)
    for stop in (1, 4):
        with pytest.raises(Cut):
            search(sampler, scored(score, stop), np.random.default_rng(3))
    best, archs, _ = search(LimitedSampler(MOBILENET, sampler.limit), scored(score, None), np.random.default_rng(3))
    straight = search(sampler, Additive(MOBILENET), np.random.default_rng(3))
    assert best == straight[0] and np.array_equal(archs, straight[1])
    assert len(score.batches) == 7


def test_the_first_generation_begins_with_what_is_given():
    """Once each, in order, as many as it takes, and only those that meet the limit; the rest is random."""
    limit = Limit.of(nasbench201_cost(SKELETONS["cifar10"]), "flops", 60e6)
    region = LimitedSampler(NB201, limit)
    inside = [tuple(row) for row in region.sample_distinct(np.random.default_rng(5), 12).tolist()]
    start = [inside[0], (3,) * 6, inside[0], *inside[1:]]
    for population, expected in ((8, inside[:8]), (20, inside)):
        score = Additive(NB201)
        search = Evolution(population=population, generations=2, parents=4)
        _, archs, _ = search(region, score, np.random.default_rng(0), start)
        first = [tuple(row) for row in score.batches[0].tolist()]
        assert first[: len(expected)] == expected and len(first) == population == len(set(first))
        assert limit.holds(archs).all()


@pytest.mark.parametrize("make", ["_cross", "_mutate"])
def test_children_are_archs_where_a_rule_leaves_edges_out(make):
    rng = np.random.default_rng(0)
    best = [DARTS.sample(rng) for _ in range(10)]
    children = [getattr(Evolution(mutation_rate=0.3), make)(DARTS, best, rng) for _ in range(50)]
    assert all(child in DARTS for child in children)


def test_defaults_are_the_codes():
    usual = Evolution()
    assert (usual.population, usual.generations, usual.parents, usual.crossover) == (50, 20, 10, 0.5)
    assert usual.mutation_rate == 0.1 and MAX_TRIES == 100
