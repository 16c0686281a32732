import numpy as np
import pytest
import torch
from scipy import stats

from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.paths import UniformPath
from senas_bench.training.samplers import path_evaluations

SPACE = SearchSpace("toy", ("a", "b", "c"), ("e0", "e1"), ((0, 2), (0, 1, 2)))


def test_tied_path_is_one_uniform_arch():
    sampler, rng = UniformPath(SPACE), np.random.default_rng(0)
    counts = dict.fromkeys(SPACE, 0)
    for _ in range(3000):
        (path,) = sampler(rng)
        counts[path] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_each_cell_draws_its_own_arch():
    sampler, rng = UniformPath(SPACE, cells=2), np.random.default_rng(1)
    counts = {(one, other): 0 for one in SPACE for other in SPACE}
    for _ in range(7200):
        (path,) = sampler(rng)
        counts[path] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_draws_depend_on_the_generator_alone():
    draw = lambda seed: [UniformPath(NB201, 3)(rng) for rng in [np.random.default_rng(seed)] for _ in range(5)]  # noqa: E731
    assert draw(0) == draw(0) != draw(1)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], 3),
        ([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], 1),
        ([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], 2),  # the widest edge counts
        ([[-0.5, 0.0, 0.0], [-1.0, 1e-30, -2.0]], 3),
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], 0),
    ],
)
def test_operator_weights_count_as_many_paths_as_they_run(weights, expected):
    weights = torch.tensor(weights, requires_grad=True)
    assert path_evaluations(weights) == expected
    assert type(path_evaluations(weights)) is int  # goes into JSON


def test_an_arch_counts_once():
    assert path_evaluations((3, 2, 0)) == path_evaluations(((3, 2, 0), (1, 1, 1), (0, 0, 0))) == 1
