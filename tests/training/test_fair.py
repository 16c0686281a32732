from itertools import permutations, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201, prune_arch
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.fair import FairPaths
from senas_bench.training.loop import train
from senas_bench.training.recipe import TrainingRecipe

SPACE = SearchSpace("toy", ("a", "b", "c", "d"), ("e0", "e1"), ((0, 2, 3), (0, 1, 2)))


@pytest.mark.parametrize("space", [SPACE, NB201])
def test_every_step_uses_every_operator_of_every_edge_once(space):
    sampler, rng = FairPaths(space), np.random.default_rng(0)
    for _ in range(200):
        paths = sampler(rng)
        assert all(path in space for path in paths)
        assert [tuple(sorted(column)) for column in zip(*paths, strict=True)] == list(space.candidates)


def test_each_cell_is_fair_by_its_own_permutations():
    sampler, rng = FairPaths(NB201, cells=3), np.random.default_rng(0)
    for _ in range(100):
        paths = sampler(rng)
        assert len(paths) == 5 and all(len(path) == 3 for path in paths)
        cells = list(zip(*paths, strict=True))
        for archs in cells:
            assert [tuple(sorted(column)) for column in zip(*archs, strict=True)] == list(NB201.candidates)
        assert len(set(cells)) == 3


def test_permutations_are_drawn_anew_at_every_step():
    sampler, rng = FairPaths(NB201), np.random.default_rng(0)
    steps = [frozenset(sampler(rng)) for _ in range(300)]
    assert len(set(steps)) == 300


def test_permutations_are_uniform_and_independent():
    sampler, rng = FairPaths(SPACE), np.random.default_rng(1)
    counts = dict.fromkeys(product(*map(permutations, SPACE.candidates)), 0)
    for _ in range(3600):
        counts[tuple(zip(*sampler(rng), strict=True))] += 1
    assert len(counts) == 36
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_cells_are_independent():
    two = SearchSpace("toy", ("a", "b"), ("e0", "e1"), ((0, 1), (0, 1)))
    sampler, rng = FairPaths(two, cells=2), np.random.default_rng(2)
    counts = dict.fromkeys(product(permutations((0, 1)), repeat=4), 0)
    for _ in range(1600):
        counts[tuple(column for archs in zip(*sampler(rng), strict=True) for column in zip(*archs, strict=True))] += 1
    assert len(counts) == 16
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_unequal_numbers_of_candidates():
    with pytest.raises(ValueError, match=r"as many candidates on every edge, got \[5, 4, 5, 5, 5, 5\]"):
        FairPaths(NB201.without(1, 2))


class OneBatch:
    batch_size = 16

    def __len__(self):
        return 1

    def epoch(self, generator):
        draw = torch.Generator().manual_seed(5)
        yield torch.randn(16, 1, 8, 8, generator=draw), torch.randint(0, 3, (16,), generator=draw)


def a_network() -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(NB201, channels=2, cells=1, in_channels=1, num_classes=3)


def operator_of(name: str) -> tuple[int, int] | None:
    """(edge, operator) that owns a weight, None outside the cells."""
    if ".copies." not in name:
        return None
    return int(name.split(".choices.")[1].split(".")[0]), int(name.split(".copies.")[1].split(".")[0])


@pytest.mark.parametrize("seed", range(3))
def test_a_step_moves_each_operator_by_the_gradient_of_the_one_path_that_uses_it(seed):
    network, twin = a_network(), a_network().train()
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    paths: list = []

    def sample(rng):
        paths[:] = FairPaths(NB201)(rng)
        return paths

    recipe = TrainingRecipe((1,), 16, lr=0.01, lr_min=0.01, clip=0.0, weight_decay=0.1)
    rng = np.random.default_rng(seed)
    train(network, OneBatch(), recipe, sample, epochs=1, rng=rng, generator=torch.Generator())
    ((x, y),) = OneBatch().epoch(None)
    alone = []
    for path in paths:
        twin.zero_grad(set_to_none=True)
        F.cross_entropy(twin(x, path), y).backward()
        alone.append({name: weight.grad for name, weight in twin.named_parameters() if weight.grad is not None})
    live = {pair for path in paths for pair in enumerate(prune_arch(path))}
    assert 2 < len([pair for pair in live if pair[1] in (2, 3)]) < 12
    for name, weight in network.named_parameters():
        owner = operator_of(name)
        moves = owner is None or owner in live
        assert torch.equal(weight, before[name]) != moves, name
        users = [gradients[name] for gradients in alone if name in gradients]
        if owner is None:
            assert len(users) == 5
            torch.testing.assert_close(weight.grad, sum(users), rtol=1e-4, atol=1e-6)
        elif moves:
            assert len(users) == 1
            torch.testing.assert_close(weight.grad, users[0], rtol=1e-4, atol=1e-7)
        else:
            assert weight.grad is None and not users
