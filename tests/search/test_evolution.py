import numpy as np
import pytest

from senas_bench.search.evolution import Evolution
from senas_bench.spaces import NB201, SearchSpace

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
