from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from senas_bench.methods.snas import ConcretePaths, Snas, resource_loss
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import Alphas
from senas_bench.training.loop import train
from senas_bench.training.recipe import TrainingRecipe

RECIPE = TrainingRecipe((2,), batch_size=16, lr=0.05, lr_min=0.05, snapshots=1)
COST = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=3, cells=1))


def batch(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 3, (16,), generator=generator)


class Batches:
    batch_size = 16

    def __init__(self, seeds):
        self.batches = [batch(seed) for seed in seeds]

    def __len__(self):
        return len(self.batches)

    def epoch(self, generator):
        return iter(self.batches)


def a_network() -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(NB201, channels=3, cells=1, in_channels=1, num_classes=3).train()


def some_paths(resource: float = 0.0, dtype=torch.float32, **settings) -> ConcretePaths:
    alphas = Alphas(NB201, None, torch.Generator().manual_seed(0), **settings)
    alphas.logits.data = torch.randn(6, 5, generator=torch.Generator().manual_seed(4)).to(dtype)
    return ConcretePaths(alphas, 1.0, 0.03, COST.per_edge, resource)


def test_temperature_is_linear_and_ends_in_the_last_epoch():
    paths, seen = some_paths(), []
    for epoch in range(5):
        paths.begin_epoch(epoch, 5)
        seen.append(paths.temperature)
    assert seen == pytest.approx([1.0, 0.7575, 0.515, 0.2725, 0.03])
    paths.begin_epoch(0, 1)
    assert paths.temperature == 1.0
    with pytest.raises(ValueError, match="temperatures must be above 0"):
        Snas(temperature_end=0.0)


def test_the_loop_lowers_the_temperature(monkeypatch):
    seen, draw = [], ConcretePaths.__call__
    monkeypatch.setattr(
        ConcretePaths, "__call__", lambda self, rng: (seen.append(self.temperature), draw(self, rng))[1]
    )
    rng, generator = np.random.default_rng(0), torch.Generator()
    train(a_network(), Batches([1, 2]), RECIPE, some_paths(), epochs=3, rng=rng, generator=generator)
    assert seen == pytest.approx([1.0] * 2 + [0.515] * 2 + [0.03] * 2)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_a_sample_is_of_the_concrete_distribution(temperature):
    """From its formula, in double precision: powers of the probabilities times exponentiated noise."""
    paths = some_paths()
    paths.temperature = temperature
    noise = np.random.default_rng(5).gumbel(size=(6, 5))
    powered = (np.exp(paths.alphas.logits.detach().double().numpy()) * np.exp(noise)) ** (1 / temperature)
    (path,) = paths(np.random.default_rng(5))
    np.testing.assert_allclose(path.weights.detach(), powered / powered.sum(1, keepdims=True), rtol=1e-4, atol=1e-7)
    assert path.passes == 5  # all operators run


def test_at_a_low_temperature_samples_are_draws_of_the_softmax():
    paths, rng = some_paths(), np.random.default_rng(0)
    paths.temperature = 0.03
    draws = np.array([paths.soft(rng).detach().argmax(1).numpy() for _ in range(3000)])
    expected = torch.softmax(paths.alphas.logits.detach(), 1).numpy()
    for edge in range(6):
        np.testing.assert_allclose(np.bincount(draws[:, edge], minlength=5) / 3000, expected[edge], atol=0.03)


def test_weights_and_logits_step_on_the_same_batch_and_sample():
    """The step of the logits is Adam's on the gradient of the loss of that very sample; the weights step beside it."""
    network, paths, twin = a_network(), some_paths(), some_paths()
    soft = twin.soft(np.random.default_rng(7))
    x, y = batch(1)
    (expected,) = torch.autograd.grad(F.cross_entropy(a_network()(x, soft), y), [twin.alphas.logits])
    assert expected.abs().max() > 1e-3
    twin.alphas.apply(expected)
    before = [weight.detach().clone() for weight in network.parameters()]
    arguments = {"epochs": 1, "rng": np.random.default_rng(7), "generator": torch.Generator()}
    result = train(network, Batches([1]), replace(RECIPE, stage_epochs=(1,)), paths, cost=COST, **arguments)
    torch.testing.assert_close(paths.alphas.logits, twin.alphas.logits, rtol=1e-4, atol=1e-6)
    assert all(not torch.equal(weight, old) for weight, old in zip(network.parameters(), before, strict=True))
    mixture = COST.mixtures(np.ones((1, 6, 5), bool)).item()
    assert result.counts == {
        "images_trained": 16,
        "train_steps": 1,
        "forward_paths": 5,
        "backward_paths": 5,
        "multiply_adds": 3 * 16 * mixture,
    }


def test_parts_of_a_batch_add_up():
    """The sample is one for all parts, and so is the step of the logits."""
    steps = []
    for accumulate in (1, 2):
        network: Any = a_network().double()
        paths, given = some_paths(dtype=torch.float64), []
        network.eval()  # so that parts are normalised alike
        network.train = lambda: None
        paths.alphas.apply = given.append
        loader = Batches([1])
        loader.batches = [(x.double(), y) for x, y in loader.batches]
        recipe = replace(RECIPE, stage_epochs=(1,), accumulate=accumulate)
        arguments = {"epochs": 1, "rng": np.random.default_rng(7), "generator": torch.Generator()}
        train(network, loader, recipe, paths, **arguments)
        steps += given
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-9, atol=1e-12)


def test_gradient_of_the_resource_term():
    """By hand: of the logarithm of an edge's mean cost it is p (c - mean) / mean, half for each cost; costs fall."""
    paths = some_paths(resource=1.0, dtype=torch.float64)
    logits = paths.alphas.logits
    (gradient,) = torch.autograd.grad(resource_loss(paths.alphas.probabilities(), COST.per_edge), [logits])
    p = torch.softmax(logits.detach(), 1).numpy()
    expected = np.zeros((6, 5))
    for column in range(2):
        costs = COST.per_edge[..., column]
        means = (p * costs).sum(1, keepdims=True)
        expected += p * (costs - means) / means / 2
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-9)
    assert (gradient[:, 3] > 0).all()  # the dearest operator goes down
    assert (gradient[:, 0] < 0).all()  # `none` goes up


@pytest.mark.parametrize("resource", [0.0, 0.5])
def test_the_resource_term_is_added_to_the_loss(resource):
    """Where the loss says nothing, the step is the resource term's alone."""
    paths, given = some_paths(resource, dtype=torch.float64), []
    paths.alphas.apply = given.append
    paths(np.random.default_rng(0))
    paths.after_step([], [])
    (of_term,) = torch.autograd.grad(resource_loss(paths.alphas.probabilities(), COST.per_edge), [paths.alphas.logits])
    torch.testing.assert_close(given[0], resource * of_term)


def test_several_processes_are_refused():
    class Bare:
        class work:
            class processes:
                world = 2

    with pytest.raises(ValueError, match="in one process; start without torchrun"):
        Snas()(Bare())
