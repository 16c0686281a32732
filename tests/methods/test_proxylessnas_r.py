import itertools
import math

import numpy as np
import pytest
import torch

from senas_bench.methods.proxylessnas_r import ProxylessNasR, Rewarded
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import Alphas

COST = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=3, cells=1))
TOY = SearchSpace(NB201.name, NB201.operators, NB201.edges, ((1, 3), (2,), (0, 2, 4), (0,), (4,), (3,)))


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 3, (16,), generator=generator)


class Batches:
    batch_size = 16

    def epoch(self, generator):
        return iter([batch(1), batch(2)])


def rewarded(space=NB201, limit=None, settings=None, **how) -> Rewarded:
    alphas = Alphas(space, Batches(), torch.Generator().manual_seed(0), lr=0.1, betas=(0.0, 0.999), weight_decay=0.0)
    alphas.logits.data = torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    return Rewarded(settings or ProxylessNasR(), alphas, limit, **how)


def test_the_reward_falls_with_the_cost():
    limit = Limit.of(COST, "flops", 60_000)
    archs = NB201.sample_distinct(np.random.default_rng(0), 4)
    rewards = rewarded(limit=limit).rewards(archs, np.array([0.5, 0.6, 0.7, 0.8]))
    for arch, accuracy, reward in zip(archs, (0.5, 0.6, 0.7, 0.8), rewards, strict=True):
        assert reward == pytest.approx(accuracy * (60_000 / (COST(arch[None])["flops_m"][0] * 1e6)) ** 0.1)
    assert np.array_equal(rewarded().rewards(archs, np.array([0.1, 0.2, 0.3, 0.4])), [0.1, 0.2, 0.3, 0.4])


def test_the_mean_gradient_is_that_of_the_expected_reward():
    """Over all archs, each as often as it is probable: minus the derivative of the sum of probability times reward."""
    learning = rewarded(TOY)
    archs = np.array(list(itertools.product(*TOY.candidates)))
    value = np.random.default_rng(0).random(len(archs))
    logits = learning.alphas.logits.detach().double().clone().requires_grad_()
    table = torch.log_softmax(logits.masked_fill(~learning.alphas.alive, -math.inf), 1)
    probabilities = torch.stack([table[range(6), arch].sum() for arch in archs.tolist()]).exp()
    (expected,) = torch.autograd.grad(-(probabilities * torch.from_numpy(value)).sum(), logits)
    mean = torch.zeros(6, 5, dtype=torch.float64)
    for arch, reward, chance in zip(archs, value, probabilities.detach().tolist(), strict=True):
        learning.baseline = 0.4  # whatever it is, the mean is the same
        learning.settings = ProxylessNasR(decay=0.0)
        mean += chance * learning.gradient(arch[None], np.array([reward])).double()
    torch.testing.assert_close(mean, torch.nan_to_num(expected), rtol=1e-4, atol=1e-6)
    assert float(expected.abs().max()) > 0.01


def test_the_baseline_moves_before_it_is_used():
    learning, archs = rewarded(), NB201.sample_distinct(np.random.default_rng(0), 2)
    first = learning.gradient(archs, np.array([0.2, 0.4]))
    assert learning.baseline == pytest.approx(0.3)
    learning.gradient(archs, np.array([0.5, 0.5]))
    assert learning.baseline == pytest.approx(0.3 + 0.99 * 0.2)
    p = learning.alphas.probabilities().detach()
    hot = [torch.nn.functional.one_hot(torch.tensor(arch), 5) for arch in archs.tolist()]
    torch.testing.assert_close(first, -((-0.1) * (hot[0] - p) + 0.1 * (hot[1] - p)) / 2)


def test_a_step_rewards_on_one_batch_and_moves_no_weight():
    """Accuracies with the statistics of the batch; running statistics stay as they are too."""
    torch.manual_seed(0)
    network = NB201Network(NB201, channels=3, cells=1, in_channels=1, num_classes=3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learning, seen = rewarded(settings=ProxylessNasR(samples=4), every=2, cost=COST), []
    forward = network.forward
    network.forward = lambda x, path: seen.append((x, path, torch.is_grad_enabled())) or forward(x, path)
    learning.begin_epoch(0.0, torch.Generator())
    rng, logits = np.random.default_rng(0), learning.alphas.logits.detach().clone()
    assert learning.step(network, batch(5), None, rng) == {} and not seen
    counts = learning.step(network, batch(5), None, rng)
    price = sum(round(COST(np.array([path]))["flops_m"][0] * 1e6) for _, path, _ in seen)
    assert counts == {
        "forward_paths": 4,
        "archs_scored": 4,
        "images_scored": 64,
        "multiply_adds": 16 * price,
    }
    assert len({x.data_ptr() for x, _, _ in seen}) == 1 and not any(wanted for *_, wanted in seen)
    assert not torch.equal(learning.alphas.logits, logits)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training


def test_rest_and_state():
    learning = rewarded(rest=0.5)
    learning.begin_epoch(0.25, torch.Generator())
    assert learning.step(None, None, None, None) == {} and np.isnan(learning.baseline)
    learning.gradient(NB201.sample_distinct(np.random.default_rng(0), 1), np.array([0.25]))
    learning.alphas.apply(torch.ones(6, 5))
    other = rewarded()
    other.load({name: value.clone() for name, value in learning.tensors().items()})
    assert other.baseline == 0.25 and torch.equal(other.alphas.logits, learning.alphas.logits)
    assert other.tensors().keys() == learning.tensors().keys()
