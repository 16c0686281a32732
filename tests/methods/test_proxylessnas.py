import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from senas_bench.methods.expected_cost import ExpectedCost
from senas_bench.methods.proxylessnas import Gates, ProxylessNas, gate_gradient, sample_arch
from senas_bench.networks.mixture import Mixture
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.mobilenet import IDENTITY, mobilenet_space, small_image
from senas_bench.spaces.mobilenet.network import MobileNetwork
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import Alphas
from senas_bench.training.resting import RestingAlphas

COST = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=3, cells=1))
LIMIT = Limit.of(COST, "flops", 60_000)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 1, 8, 8, generator=generator).double(), torch.randint(0, 3, (16,), generator=generator)


def a_task(space, limit):
    problem = SimpleNamespace(limit=limit, cost=COST)
    return SimpleNamespace(space=space, problem=problem, work=SimpleNamespace(device=torch.device("cpu")))


class Batches:
    batch_size = 16

    def epoch(self, generator):
        return iter([batch(seed) for seed in (11, 12, 13)])


def some_gates(space=NB201, limit=LIMIT, lr: float = 0.1) -> Gates:
    alphas = Alphas(space, Batches(), torch.Generator().manual_seed(0), lr=lr, betas=(0.0, 0.999), weight_decay=0.0)
    alphas.logits.data = torch.randn(alphas.logits.shape, generator=torch.Generator().manual_seed(4)).double()
    alphas.begin_epoch(torch.Generator())
    cost = ExpectedCost.of(a_task(space, limit))
    return Gates(ProxylessNas(), alphas, ExpectedCost(cost.per_edge.double(), cost.base, cost.target))


def in_double(path: Mixture) -> Mixture:
    return Mixture(path.weights.detach().double().requires_grad_(), path.runs)


@pytest.fixture(params=["nasbench201", "mobilenet"])
def network_and_gates(request):
    torch.manual_seed(0)
    if request.param == "nasbench201":
        return NB201Network(NB201, channels=3, cells=1, in_channels=1, num_classes=3).train().double(), some_gates()
    skeleton = small_image(8, 3, 1, 0.05)
    space = mobilenet_space(skeleton)
    return MobileNetwork(space, skeleton).train().double(), some_gates(space, None)


def test_two_operators_of_each_edge_run_and_one_gate_is_open(network_and_gates):
    """Two paths in memory: no module but those of the two is called."""
    network, gates = network_and_gates
    path = in_double(gates.draw(np.random.default_rng(1)))
    assert {sum(row) for row in path.runs} == {2} and path.passes == 2
    assert torch.equal(path.weights.detach().sum(1), torch.ones(len(path.runs), dtype=torch.float64))
    assert all(path.runs[edge][op] for edge, op in path.weights.detach().nonzero().tolist())
    calls = []
    choices = network.choices if isinstance(network, MobileNetwork) else network.body[0].choices
    for edge, choice in enumerate(choices):
        for op, module in choice.copies.items():
            module.register_forward_hook(lambda *_, key=(edge, int(op)): calls.append(key))
    gate_gradient(network, path, *batch(2))
    weighty = {int(op) for choice in choices for op in choice.copies}
    wanted = [(edge, op) for edge, row in enumerate(path.runs) for op, on in enumerate(row) if on and op in weighty]
    assert sorted(calls) == wanted


def test_gradient_in_the_gates_is_the_difference_of_losses(network_and_gates):
    """Of open gates and of closed ones, whose operators have no part in the loss. The steps are short, for the loss of
    a deep network bends at every ReLU."""
    network, gates = network_and_gates
    x, y = batch(2)
    path = in_double(gates.draw(np.random.default_rng(1)))
    _, slopes = gate_gradient(network, path, x, y)
    found = {0: [], 1: []}
    for edge in range(0, len(path.runs), 1 if len(path.runs) == 6 else 4):
        for op in [op for op, on in enumerate(path.runs[edge]) if on]:
            ends = []
            for sign in (1, -1):
                weights = path.weights.detach().clone()
                weights[edge, op] += sign * 1e-8
                with torch.no_grad():
                    ends.append(float(F.cross_entropy(network(x, Mixture(weights, path.runs)), y)))
            slope = (ends[0] - ends[1]) / 2e-8
            assert float(slopes[edge, op]) == pytest.approx(slope, rel=1e-3, abs=1e-6)
            found[int(path.weights[edge, op])].append(abs(slope))
    assert max(found[0]) > 1e-3 and max(found[1]) > 1e-3
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize("limit", [None, LIMIT])
def test_chain_rule_to_the_logits(limit, monkeypatch):
    """Eq. 4, and the released code's loss with a cost, by their formulas: entropy and slopes are made up."""
    gates, entropy = some_gates(limit=limit), 1.7
    slopes = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5)))
    monkeypatch.setattr(
        "senas_bench.methods.proxylessnas.gate_gradient", lambda *_: (torch.tensor(entropy).double(), slopes)
    )
    path = gates.draw(np.random.default_rng(3))
    gradient, passes = gates.gradient(gates.alphas, None, None, batch(1), None, np.random.default_rng(3))
    logits, table = gates.alphas.logits.detach().numpy(), gates.cost.per_edge.numpy()
    expected, inside = np.zeros((6, 5)), np.zeros((6, 5))
    pairs = [[op for op in range(5) if path.runs[edge][op]] for edge in range(6)]
    for edge, two in enumerate(pairs):
        inside[edge, two] = np.exp(logits[edge, two]) / np.exp(logits[edge, two]).sum()
    cost = gates.cost.base + (table * inside).sum()
    factor, rise = 1.0, 0.0
    if limit:
        ratio = math.log(cost) / math.log(60)  # thousands
        factor = 0.2 * ratio**0.3
        rise = 0.2 * entropy * 0.3 * ratio**-0.7 / (cost * math.log(60))
    for edge, two in enumerate(pairs):
        for i in two:
            for j in two:
                inner = inside[edge, j] * ((i == j) - inside[edge, i])
                expected[edge, i] += (factor * float(slopes[edge, j]) + rise * table[edge, j]) * inner
    assert passes == 2
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-6, atol=1e-12)


def test_the_probabilities_of_all_others_stay(network_and_gates):
    network, gates = network_and_gates
    learning = RestingAlphas(gates.alphas, gates.gradient, after=gates.keep_the_others)
    monkey = gates.draw
    gates.draw = lambda rng: in_double(monkey(rng))  # the network is in double precision
    learning.begin_epoch(0.0, torch.Generator())
    for seed in range(3):
        before = gates.alphas.probabilities().detach()
        counts = learning.step(network, batch(1), None, np.random.default_rng(seed))
        after = gates.alphas.probabilities().detach()
        drawn = torch.tensor(monkey(np.random.default_rng(seed)).runs) if seed == 0 else gates._drawn
        assert counts == {"images_trained": 16, "forward_paths": 2, "backward_paths": 2}
        torch.testing.assert_close(after[~drawn], before[~drawn], rtol=1e-9, atol=1e-12)
        moved = (after - before).abs()
        assert float((moved * drawn).max()) > 1e-3
        two = (after - before)[drawn].reshape(-1, 2)
        torch.testing.assert_close(two[:, 0], -two[:, 1], rtol=1e-6, atol=1e-12)  # one up, the other down


def test_pairs_are_drawn_without_repetition_by_their_probability():
    """The first of a pair by its probability, the second among what is left; the open gate by the share of the two."""
    gates, rng = some_gates(), np.random.default_rng(0)
    p = gates.alphas.probabilities().detach().numpy()[0]
    pairs, opened = np.zeros((5, 5)), np.zeros((5, 5))
    for _ in range(2000):
        path = gates.draw(rng)
        i, j = (op for op in range(5) if path.runs[0][op])
        pairs[i, j] += 1
        opened[i, j] += float(path.weights.detach()[0, i])
    upper = np.triu_indices(5, 1)
    chance = np.array([p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in zip(*upper, strict=True)])
    assert stats.chisquare(pairs[upper], 2000 * chance / chance.sum()).pvalue > 1e-3
    i, j = np.unravel_index(pairs.argmax(), pairs.shape)
    share = p[i] / (p[i] + p[j])
    assert stats.binomtest(int(opened[i, j]), int(pairs[i, j]), share).pvalue > 1e-3


def test_a_path_of_the_weights_is_drawn_by_its_probability():
    gates, rng = some_gates(), np.random.default_rng(0)
    draws = np.array([sample_arch(gates.alphas, rng) for _ in range(3000)])
    p = gates.alphas.probabilities().detach().numpy()
    for edge in range(6):
        assert stats.chisquare(np.bincount(draws[:, edge], minlength=5), 3000 * p[edge] / p[edge].sum()).pvalue > 1e-3


def test_an_edge_with_one_operator_has_one_path():
    space = mobilenet_space(small_image(8, 3, 1, 0.05))
    space = space.only((0,) * 21)
    path = some_gates(space, None).draw(np.random.default_rng(0))
    assert path.passes == 1 and all(path.weights[edge, 0] == 1 for edge in range(21))
    assert path.weights.shape[1] - 1 == IDENTITY
