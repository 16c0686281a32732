import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from senas_bench.searching import controller as module
from senas_bench.searching.controller import Controller, Reinforce
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201

SPACE = SearchSpace("toy", ("a", "b", "c", "d"), ("e0", "e1", "e2"), ((0, 2), (0, 1, 3), (1, 2, 3)))


def a_controller(space=SPACE, spread: float = 1.0, seed: int = 0, **arguments) -> Controller:
    """At its start, or with weights `spread` times as large, so that no two archs are equally probable."""
    controller = Controller(space, torch.Generator().manual_seed(seed), **arguments)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.mul_(spread)
    return controller


def conditional(controller: Controller, arch) -> torch.Tensor:
    """`(edges, operators)` log-probabilities on the way of one arch."""
    return controller(torch.tensor([[int(op) for op in arch]]))[0]


def test_probabilities_of_all_archs_sum_to_one_and_match_sampling():
    controller = a_controller(spread=20)
    archs = SPACE.archs()
    expected = np.exp(controller.arch_scores(archs))
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    assert expected.max() > 3 * expected.min()
    drawn = controller.sample(np.random.default_rng(0), 20000)
    seen = np.array([(drawn == arch).all(1).sum() for arch in archs])
    assert seen.sum() == 20000  # nothing outside the space
    assert stats.chisquare(seen, expected / expected.sum() * 20000).pvalue > 1e-3


def test_scores_of_the_whole_of_nb201_are_log_probabilities():
    assert np.exp(a_controller(NB201, 20).arch_scores(NB201.archs())).sum() == pytest.approx(1, abs=1e-5)


def test_scores_are_the_product_of_conditional_probabilities():
    controller = a_controller(spread=20)
    for arch in list(SPACE)[::5]:
        rows = conditional(controller, arch).detach()
        expected = sum(float(rows[edge, op]) for edge, op in enumerate(arch))
        assert controller.arch_scores(np.array([arch], np.int8))[0] == pytest.approx(expected, abs=1e-5)


def test_an_edge_sees_the_edges_before_it_only():
    controller = a_controller(spread=20)
    rows = {arch: conditional(controller, arch).detach() for arch in SPACE}
    for one, other in product(SPACE, repeat=2):
        for edge in range(3):
            equal = torch.equal(rows[one][edge], rows[other][edge])
            assert equal == (one[:edge] == other[:edge])


def test_masked_operators_have_no_probability_and_are_never_drawn():
    space = SearchSpace("toy", ("a", "b", "c", "d"), ("e0", "e1"), ((1,), (0, 2)))
    controller = a_controller(space, 50)
    rows = conditional(controller, (1, 0)).exp()
    assert (rows > 0).tolist() == [[False, True, False, False], [True, False, True, False]]

    class Extreme:
        """The ends of what a generator can draw."""

        def random(self, shape):
            return np.resize([0.0, 1 - 2**-53], shape[::-1]).T

    for rng in (Extreme(), np.random.default_rng(0)):
        assert {tuple(row) for row in controller.sample(rng, 200).tolist()} == {(1, 0), (1, 2)}


def test_inversion_takes_the_first_sum_above_the_draw():
    probabilities = np.array([[0.0, 0.25, 0.0, 0.75, 0.0]] * 4)
    assert module._invert(probabilities, np.array([0.0, 0.2499, 0.25, 1 - 2**-53])).tolist() == [1, 1, 3, 3]
    short = np.array([[0.5, 0.4999, 0.0]])  # rounding may leave the sum below 1
    assert module._invert(short, np.array([0.99995])).tolist() == [1]


def test_constants_bound_the_odds():
    """However large the weights, and by hand from the bias when nothing else acts."""
    rows = a_controller(NB201, 1e4)(torch.zeros(1, 6, dtype=torch.long))[0].detach()
    assert (rows.max(1).values - rows.min(1).values).max() == pytest.approx(2 * 2.5, abs=1e-3)
    controller = a_controller(temperature=2.0, tanh_constant=1.5)
    with torch.no_grad():
        controller.head.weight.zero_()
        controller.head.bias.copy_(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    logits = {op: 1.5 * math.tanh(bias / 2) for op, bias in enumerate((1.0, -2.0, 3.0, 0.5))}
    expected = math.exp(logits[2]) / (math.exp(logits[0]) + math.exp(logits[2]))
    assert float(conditional(controller, (0, 0, 1)).detach()[0, 2].exp()) == pytest.approx(expected, abs=1e-6)


def test_start_depends_on_the_generator_alone():
    torch.manual_seed(1)
    one = a_controller().state_dict()
    torch.manual_seed(2)
    other = a_controller().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["start"], a_controller(seed=1).state_dict()["start"])
    assert all(value.abs().max() <= 0.1 for value in one.values())


def test_distinct_draws_are_the_first_of_each():
    controller = a_controller(NB201)
    drawn = [tuple(row) for row in controller.sample(np.random.default_rng(0), 300).tolist()]
    assert len(set(drawn)) < 300
    distinct = controller.sample_distinct(np.random.default_rng(0), 300)
    assert distinct.shape == (300, 6) and distinct.dtype == np.int8
    assert [tuple(row) for row in distinct.tolist()][: len(set(drawn))] == list(dict.fromkeys(drawn))
    assert len(np.unique(distinct, axis=0)) == 300
    small = a_controller().sample_distinct(np.random.default_rng(0), 100)
    assert sorted(map(tuple, small.tolist())) == sorted(SPACE)


ARCHS = np.array([(2, 3, 1), (0, 0, 2), (2, 1, 3)], np.int8)


def test_reinforce_by_hand():
    """Baseline 0.9 b + 0.1 r after each reward r, from the first; and the gradient of -mean(advantage log p)."""
    controller = a_controller(spread=5)
    reinforce = Reinforce(controller, entropy_weight=0.5, baseline_decay=0.9)
    logs = [conditional(controller, arch)[range(3), arch.tolist()].sum() for arch in ARCHS]
    r = [accuracy - 0.5 * float(log.detach()) for accuracy, log in zip((0.5, 1.0, 0.0), logs, strict=True)]
    b1 = r[0]
    b2 = 0.9 * b1 + 0.1 * r[1]
    b3 = 0.9 * b2 + 0.1 * r[2]
    advantages = [0.0, r[1] - b2, r[2] - b3]
    loss = reinforce.loss(ARCHS, torch.tensor([0.5, 1.0, 0.0]))
    assert reinforce.baseline == pytest.approx(b3, abs=1e-6)
    expected = sum(-advantage * log for advantage, log in zip(advantages, logs, strict=True)) / 3
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    parameters = list(controller.parameters())
    pairs = zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True)
    for got, wanted in pairs:
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    reinforce.loss(ARCHS[:1], torch.tensor([0.0]))
    assert reinforce.baseline == pytest.approx(0.9 * b3 + 0.1 * (r[0] - 0.5), abs=1e-6)


def test_gradient_of_the_bias_in_closed_form():
    """One edge, no weights in the head: d log p(a) / d bias_k = (1[k = a] - p_k) c / T (1 - tanh(bias_k / T)^2)."""
    space = SearchSpace("toy", ("a", "b", "c"), ("e0",), ((0, 1, 2),))
    controller = a_controller(space)
    bias = np.array([0.5, -1.0, 2.0])
    with torch.no_grad():
        controller.head.weight.zero_()
        controller.head.bias.copy_(torch.from_numpy(bias))
    reinforce = Reinforce(controller, entropy_weight=0.0)
    reinforce.baseline = 0.2
    reinforce.loss(np.array([[1]], np.int8), torch.tensor([0.9])).backward()
    logits = 2.5 * np.tanh(bias / 5)
    p = np.exp(logits) / np.exp(logits).sum()
    advantage = 0.9 - (0.99 * 0.2 + 0.01 * 0.9)
    expected = -advantage * (np.array([0, 1, 0]) - p) * 2.5 / 5 * (1 - np.tanh(bias / 5) ** 2)
    np.testing.assert_allclose(controller.head.bias.grad.numpy(), expected, atol=1e-6)
    assert expected[1] < 0 < expected[0]  # descent makes a good arch more probable


def test_update_clips_and_steps():
    controller = a_controller()
    before = {name: value.clone() for name, value in controller.state_dict().items()}
    reinforce = Reinforce(controller, lr=0.01, clip=1e-3)
    reinforce.baseline = -1e6
    reinforce.update(ARCHS, torch.ones(3))
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in controller.parameters()))
    assert norm == pytest.approx(1e-3, rel=1e-3)
    assert any(not torch.equal(before[name], value) for name, value in controller.state_dict().items())


def learn(reward, samples: int, space=NB201, lr: float = 0.02) -> Controller:
    controller, rng = a_controller(space), np.random.default_rng(0)
    reinforce = Reinforce(controller, lr=lr)
    for _ in range(samples // 20):
        archs = controller.sample(rng, 20)
        reinforce.update(archs, torch.tensor([reward(arch) for arch in archs], dtype=torch.float32))
    return controller


@pytest.mark.parametrize(("edge", "op"), [(0, 1), (2, 3), (5, 4)])
def test_learns_a_planted_operator(edge, op):
    controller = learn(lambda arch: arch[edge] == op, 600)
    archs = NB201.archs()
    probability = np.exp(controller.arch_scores(archs))[archs[:, edge] == op].sum()
    assert probability > 0.6  # from 0.2


@pytest.mark.parametrize("planted", [(2, 1, 3), (0, 3, 1), (0, 0, 2)])
def test_learns_a_planted_arch(planted):
    controller = learn(lambda arch: tuple(arch.tolist()) == planted, 1000, SPACE)
    assert np.exp(controller.arch_scores(np.array([planted]))) > 0.25  # from 1/18


def test_learns_in_a_shrunk_space():
    controller = learn(lambda arch: arch[1] == 3, 400, SPACE)
    drawn = controller.sample(np.random.default_rng(1), 500)
    assert all(tuple(row) in SPACE for row in drawn.tolist())
    assert (drawn[:, 1] == 3).mean() > 0.6


def test_entropy_in_the_reward_keeps_the_controller_open():
    """With nothing but entropy to gain, a controller that has made up its mind opens again."""
    controller, rng = a_controller(NB201, 30), np.random.default_rng(0)
    entropy = lambda: -controller.arch_scores(controller.sample(rng, 500)).mean()  # noqa: E731
    before = entropy()
    reinforce = Reinforce(controller, lr=0.02, entropy_weight=1.0)
    for _ in range(30):
        reinforce.update(controller.sample(rng, 20), torch.zeros(20))
    assert entropy() > before + 0.5


def test_state_goes_through_a_checkpoint():
    def some_updates(reinforce, rng, n):
        for _ in range(n):
            archs = reinforce.controller.sample(rng, 4)
            reinforce.update(archs, torch.from_numpy(archs[:, 0] / 4).float())

    whole, rng = Reinforce(a_controller()), np.random.default_rng(0)
    some_updates(whole, rng, 3)
    kept = {name: value.clone() for name, value in whole.tensors().items()}
    state = rng.bit_generator.state
    some_updates(whole, rng, 3)
    resumed = Reinforce(a_controller(seed=7))
    resumed.load(kept)
    rng.bit_generator.state = state
    some_updates(resumed, rng, 3)
    end = whole.tensors()
    assert end.keys() == resumed.tensors().keys()
    assert all(torch.equal(end[name], value) for name, value in resumed.tensors().items())


def test_an_unused_controller_goes_through_a_checkpoint():
    fresh = Reinforce(a_controller(seed=7))
    fresh.load(Reinforce(a_controller()).tensors())
    assert math.isnan(fresh.baseline)
    assert torch.equal(fresh.controller.start, a_controller().start)


def test_distinct_archs_are_within_what_holds():
    def holds(archs):
        return archs[:, 0] == 1

    controller = Controller(NB201, torch.Generator().manual_seed(0))
    drawn = controller.sample_distinct(np.random.default_rng(0), 50, holds)
    assert len(drawn) == 50 and holds(drawn).all()
