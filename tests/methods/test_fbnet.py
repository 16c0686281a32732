import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from senas_bench.methods.expected_cost import ExpectedCost
from senas_bench.methods.fbnet import FbNet, SoftSamples
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.mobilenet import MOBILENET, TABLE2, mobilenet_cost, mobilenet_space, small_image
from senas_bench.spaces.mobilenet.network import MobileNetwork
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NB201, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import Alphas

SKELETON = Skeleton(8, 3, in_channels=1, channels=3, cells=1)
COST = nasbench201_cost(SKELETON)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 1, 8, 8, generator=generator).double(), torch.randint(0, 3, (16,), generator=generator)


def a_network(space=NB201) -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(space, channels=3, cells=1, in_channels=1, num_classes=3).train().double()


def task_like(space=NB201, cost=COST, limit=None):
    return SimpleNamespace(
        space=space, problem=SimpleNamespace(limit=limit, cost=cost), work=SimpleNamespace(device=torch.device("cpu"))
    )


def samples(settings=None, space=NB201, limit=None, cost=COST) -> SoftSamples:
    alphas = Alphas(space, None, torch.Generator().manual_seed(0), cost=cost)
    alphas.logits.data = torch.randn(alphas.logits.shape, generator=torch.Generator().manual_seed(4)).double()
    made = SoftSamples(settings or FbNet(), alphas, ExpectedCost.of(task_like(space, cost, limit)))
    made.cost = ExpectedCost(made.cost.per_edge.double(), made.cost.base, made.cost.target)
    return made


def test_temperature_falls_as_in_the_paper():
    """5 times exp(-0.045) for each of 90 epochs; in 9 epochs, ten times as much in each."""
    soft = samples()
    for epochs in (90, 9):
        taus = []
        for epoch in range(epochs):
            soft.begin_epoch(epoch / epochs)
            taus.append(soft.tau)
        steps = [math.log(after / before) for before, after in itertools.pairwise(taus)]
        assert taus[0] == 5 and steps == pytest.approx([-0.045 * 90 / epochs] * (epochs - 1), rel=1e-3)


def test_temperature_may_fall_step_by_step():
    """In a single epoch that covers the whole schedule; by epochs it would stay at its start."""
    soft = samples(FbNet(tau_by_step=True))
    soft.steps, rng, taus = 4, np.random.default_rng(0), []
    soft.begin_epoch(0.0)
    for _ in range(4):
        taus.append(soft.tau)
        soft.sample(rng)
    assert taus == pytest.approx([5 * (0.0871 / 5) ** (step / 4) for step in range(4)])
    assert soft.tau == pytest.approx(0.0871)


@pytest.mark.parametrize("space", [NB201, NB201.without(0, 3).without(4, 1)])
def test_all_alive_operators_run_with_weights_of_the_gumbel_softmax(space):
    soft = samples(space=space)
    soft.tau = 0.7
    noise = np.random.default_rng(3).gumbel(size=(6, 5))
    powered = np.where(soft.alphas.alive.numpy(), np.exp((soft.alphas.logits.detach().numpy() + noise) / 0.7), 0)
    path = soft.draw(np.random.default_rng(3))
    expected = powered / powered.sum(1, keepdims=True)
    np.testing.assert_allclose(path.weights.detach().numpy(), expected, rtol=1e-9)
    assert np.array_equal(np.array(path.runs), soft.alphas.alive.numpy()) and path.passes == 5
    (of_weights,) = soft.sample(np.random.default_rng(3))
    assert not of_weights.weights.requires_grad and torch.equal(of_weights.weights, path.weights)


def test_a_step_holds_the_outputs_of_all_operators():
    """The memory of a mixture: the five operators of an edge run, those with weights in modules."""
    network, soft, calls = a_network(), samples(), []
    for edge, choice in enumerate(network.body[0].choices):
        for op, module in choice.copies.items():
            module.register_forward_hook(lambda *_, key=(edge, int(op)): calls.append(key))
    _, passes = soft.gradient(soft.alphas, network, batch(1), batch(2), None, np.random.default_rng(0))
    assert passes == 5 and sorted(calls) == [(edge, op) for edge in range(6) for op in (CONV1, CONV3)]


def test_cost_of_a_one_hot_mixture_is_that_of_its_arch():
    soft = samples()
    for arch in NB201.sample_distinct(np.random.default_rng(0), 5):
        weights = torch.zeros(6, 5, dtype=torch.float64)
        weights[range(6), arch.tolist()] = 1
        assert float(soft.cost(weights)) == pytest.approx(float(COST(arch[None])["flops_m"][0]) * 1e3, rel=1e-6)


def test_gradient_of_the_cost_term():
    """d/dw of 0.2 * log(c)^0.6 is 0.2 * 0.6 * log(c)^-0.4 * cost of the operator / c."""
    soft = samples()
    weights = torch.softmax(soft.alphas.logits.detach(), 1).requires_grad_()
    (gradient,) = torch.autograd.grad(soft.factor(weights), weights)
    each = COST.per_edge[..., 0] / 1e3
    total = COST.base[0] / 1e3 + (each * weights.detach().numpy()).sum()
    np.testing.assert_allclose(gradient.numpy(), 0.2 * 0.6 * math.log(total) ** -0.4 * each / total, rtol=1e-6)
    assert gradient[0, CONV3] > gradient[0, CONV1] > gradient[0, 1] == 0


def test_gradient_of_the_whole_loss_by_differences():
    """Cross-entropy times the factor, differenced in single logits with the noise held fixed."""
    network, soft = a_network(), samples()
    soft.tau = 2.0
    gradient, _ = soft.gradient(soft.alphas, network, batch(1), batch(2), None, np.random.default_rng(5))
    x, y = batch(2)

    def loss():
        with torch.no_grad():
            path = soft.draw(np.random.default_rng(5))
            return float(F.cross_entropy(network(x, path), y) * soft.factor(path.weights))

    for edge, op in [(0, 3), (3, 1), (5, 0), (2, 2)]:
        ends = []
        for sign in (1, -1):
            soft.alphas.logits.data[edge, op] += sign * 1e-5
            ends.append(loss())
            soft.alphas.logits.data[edge, op] -= sign * 1e-5
        assert float(gradient[edge, op]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-8)


def test_the_table_of_a_limit_is_the_cost():
    """Milliseconds become microseconds, an operator that cannot be costs nothing, columns behind the space's are
    cut."""
    table = mobilenet_cost(TABLE2).per_edge[..., 0] / 1e8
    table[0, 6] = np.nan
    limit = Limit(table, 2.0, 0.0, 20.0, "latency")
    cost = ExpectedCost.of(task_like(MOBILENET, None, limit))
    assert (cost.base, cost.target, tuple(cost.per_edge.shape)) == (2000.0, 20_000.0, (21, 7))
    assert float(cost.per_edge[0, 6]) == 0 and float(cost.per_edge[1, 3]) == pytest.approx(1e3 * table[1, 3], rel=1e-6)


def test_a_mixture_of_the_mobilenet_like_space_is_priced():
    """Its cost table has columns for three operators more than the space."""
    skeleton = small_image(8, 3, 1, 0.05)
    space, cost = mobilenet_space(skeleton), mobilenet_cost(skeleton)
    soft = samples(space=space, cost=cost)
    torch.manual_seed(0)
    network = MobileNetwork(space, skeleton).double().train()
    gradient, passes = soft.gradient(soft.alphas, network, batch(1), batch(2), None, np.random.default_rng(0))
    assert passes == 7 and torch.isfinite(gradient).all() and float(gradient.abs().max()) > 0
    everything = cost.base[0] + sum(cost.per_edge[edge, op, 0] for edge, op in space.alive())
    assert soft.alphas.price() == {"multiply_adds": 3 * 16 * int(everything)}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"temperatures must be above 0, not 5\.0 and 0"):
        FbNet(tau_min=0)
