"""Our step and ranking beside the plain way, at a size for tests; both must give the same numbers."""

import copy

import numpy as np
import pytest
import torch

from benchmarks.plain import like, plain_optimizer, plain_ranking, plain_training
from benchmarks.ratios import a_network, some_archs
from senas_bench.ranking.score_archs import Evaluation, score_archs
from senas_bench.training.loop import train
from senas_bench.training.recipe import TrainingRecipe

ARCHS = some_archs(12, seed=0)


class Batches:
    """A loader without chance: the same batches in every epoch."""

    def __init__(self, count: int) -> None:
        rng = torch.Generator().manual_seed(0)
        images = torch.randn(count, 32, 3, 16, 16, generator=rng)
        self.pairs = list(zip(images, torch.randint(0, 10, (count, 32), generator=rng), strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def epoch(self, generator):
        return ((x.contiguous(memory_format=torch.channels_last), y) for x, y in self.pairs)


@pytest.fixture(scope="module")
def networks():
    network = a_network(8, 1)
    return network, like(network, 8)


def ours(network, batches, archs) -> float:
    paths = iter(archs)
    training = train(
        network,
        batches,
        TrainingRecipe((1,), batch_size=32, lr=0.025, lr_min=0.025),
        lambda rng: [next(paths)],
        epochs=1,
        rng=np.random.default_rng(0),
        generator=torch.Generator().manual_seed(0),
    )
    return training.history[0]["loss"]


def plain(network, batches, archs) -> float:
    paths = iter(archs)
    return float(np.mean(plain_training(network, batches.pairs, plain_optimizer(network), lambda: next(paths))))


@pytest.mark.benchmark(group="6 training steps, C=8 N=1, 16x16, batch 32")
@pytest.mark.parametrize("way", ["ours", "plain"])
def test_training(benchmark, networks, way):
    batches = Batches(6)
    pair = [copy.deepcopy(network) for network in networks]
    assert ours(pair[0], batches, ARCHS) == pytest.approx(plain(pair[1], batches, ARCHS), abs=2e-4)
    call, network = (ours, pair[0]) if way == "ours" else (plain, pair[1])
    benchmark.pedantic(call, (network, batches, ARCHS), rounds=3)


@pytest.mark.benchmark(group="ranking 12 archs, C=8 N=1, 16x16, 64 images")
@pytest.mark.parametrize("way", ["ours", "plain"])
def test_ranking(benchmark, networks, way):
    x, y = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(64) % 10
    evaluation = Evaluation([(x.contiguous(memory_format=torch.channels_last), y)], "batch")
    accuracy, loglik, _ = score_archs(networks[0], np.array(ARCHS), evaluation)
    expected = plain_ranking(copy.deepcopy(networks[1]), [(x, y)], ARCHS)
    np.testing.assert_allclose(loglik, expected[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(accuracy, expected[0], rtol=0, atol=1e-9)
    if way == "ours":
        benchmark.pedantic(score_archs, (networks[0], np.array(ARCHS), evaluation), rounds=3)
    else:
        benchmark.pedantic(plain_ranking, (copy.deepcopy(networks[1]), [(x, y)], ARCHS), rounds=3)
