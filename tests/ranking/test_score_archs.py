import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from senas_bench.experiments.studies import preset_of
from senas_bench.networks.expansion import expand, plan_groups
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.ranking.score_archs import Evaluation, Found, distinct_functions, score_archs
from senas_bench.shrinking import shrink
from senas_bench.spaces import SPACES, ImageShape
from senas_bench.spaces.nasbench201 import CONV3, NB201, SKIP
from senas_bench.spaces.nasbench201.network import NB201Network

CLASSES = 4


def a_network() -> NB201Network:
    """Weights and running statistics all away from their defaults."""
    torch.manual_seed(0)
    network = NB201Network(NB201, channels=4, cells=1, in_channels=1, num_classes=CLASSES)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.add_(0.2 * torch.randn_like(value))
        network.head.weight.mul_(5)  # logits apart, so that no two classes tie
    return network


def a_batch(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 8, 8, generator=generator), torch.randint(0, CLASSES, (n,), generator=generator)


def evaluation(mode: str, batches: int = 2) -> Evaluation:
    return Evaluation([a_batch(16, s) for s in range(batches)], mode, [a_batch(12, 10 + s)[0] for s in range(2)])


def one_by_one(network, archs, ev: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and log-likelihood the slow way: no pruning, no cache, no sharing; each arch on a copy if need be."""
    accuracy, loglik = [], []
    for arch in map(tuple, archs.tolist()):
        net = network
        if ev.bn_mode == "recalibrate":
            net = copy.deepcopy(network).train()
            norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
            for x in ev.calibration:
                net(x, arch)
            net.eval()
        hits, total, images = 0, 0.0, 0
        for x, y in ev.batches:
            rows, labels = torch.log_softmax(net(x, arch).double(), 1).tolist(), y.tolist()
            hits += sum(row.index(max(row)) == label for row, label in zip(rows, labels, strict=True))
            total += sum(row[label] for row, label in zip(rows, labels, strict=True))
            images += len(y)
        accuracy.append(100 * hits / images)
        loglik.append(total / images)
    return np.array(accuracy), np.array(loglik)


def slow_scores(network, archs, ev: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    network = copy.deepcopy(network)
    network.skip_dead_edges = ev.bn_mode == "running"
    mode = "running" if ev.bn_mode == "recalibrate" else ev.bn_mode
    with torch.no_grad(), evaluation_mode(network, mode):
        return one_by_one(network, archs, ev)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "recalibrate", "running"])
def test_scores_are_those_of_a_naive_loop(mode):
    archs = NB201.sample_distinct(np.random.default_rng(0), 30)
    archs = np.concatenate([archs, np.zeros((1, 6), np.int8), archs[:3]])
    network = a_network()
    expected = slow_scores(network, archs, evaluation(mode))
    accuracy, loglik, _ = score_archs(network, archs, evaluation(mode))
    np.testing.assert_allclose(accuracy, expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(loglik, expected[1], rtol=0, atol=2e-5)
    assert len(set(np.round(loglik, 4))) > 25


def test_the_whole_space_has_7548_functions():
    """docs/method.md 5: 9,445 pruned archs, 7,548 in exact arithmetic."""
    archs, rows = distinct_functions(a_network(), NB201.archs())
    assert len(archs) == 7548 and archs == sorted(archs)
    assert set(rows) == set(range(7548))


@pytest.mark.slow
def test_ranking_through_distinct_functions_is_the_ranking_of_all():
    """docs/method.md 5: 7,548 evaluations rank 15,625 archs exactly. Here on 2,000 of them, dead edges run."""
    network = a_network()
    archs = NB201.sample_distinct(np.random.default_rng(1), 2000)
    ev = evaluation("batch", batches=1)
    accuracy, loglik, evaluated = score_archs(network, archs, ev)
    expected = slow_scores(network, archs, ev)
    assert (accuracy == expected[0]).all()
    np.testing.assert_allclose(loglik, expected[1], rtol=0, atol=1e-5)
    assert evaluated < len(archs)


def test_ranking_of_an_expanded_network_tells_copies_apart():
    """Two shrinks of ten; then every arch that is left, one by one."""
    rng = np.random.default_rng(4)
    network, space = a_network(), NB201
    for _ in range(2):
        space = shrink(space, {pair: rng.random() for pair in space.alive()}, 10)
        space = space.with_groups(plan_groups(space, 50))
        expand(network, space)
        with torch.no_grad():
            for weight in network.parameters():  # "training": copies drift apart
                weight.add_(0.3 * torch.randn_like(weight))
    assert len(space.alive()) == 10 and len(space.groups) == 1
    archs = space.archs()
    accuracy, loglik, evaluated = score_archs(network, archs, evaluation("batch"))
    expected = slow_scores(network, archs, evaluation("batch"))
    np.testing.assert_allclose(accuracy, expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(loglik, expected[1], rtol=0, atol=1e-5)
    assert evaluated == len({network.signature(arch) for arch in space})


@pytest.mark.parametrize("mode", ["batch", "recalibrate", "running"])
def test_archs_that_share_a_pass_score_as_they_do_alone(mode):
    """Beside the naive loop: 12 archs five at a time, two of them without any operator into the output."""
    archs = NB201.sample_distinct(np.random.default_rng(5), 10)
    archs = np.concatenate([archs, np.zeros((1, 6), np.int8), np.array([[3, 3, 3, 0, 3, 0]], np.int8)])
    network = a_network()
    expected = slow_scores(network, archs, evaluation(mode))
    accuracy, loglik, _ = score_archs(network, archs, evaluation(mode), at_once=5)
    np.testing.assert_allclose(accuracy, expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(loglik, expected[1], rtol=0, atol=1e-5)
    assert len(set(np.round(loglik, 4))) > 8


def test_a_pass_is_shared_by_archs_of_an_expanded_network():
    """Merged in pairs: on an edge an operator has a copy for each of the other edge's."""
    space = replace(NB201, candidates=((SKIP, CONV3),) * 6, groups=((0, 1), (2, 3), (4, 5)))
    network = a_network()
    expand(network, space)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    archs = space.archs()[::3]
    expected = score_archs(network, archs, evaluation("batch"), at_once=1)
    shared = score_archs(network, archs, evaluation("batch"), at_once=8)
    np.testing.assert_allclose(shared[1], expected[1], rtol=0, atol=1e-5)
    assert shared[2] == expected[2] and len(set(np.round(shared[1], 4))) > len(archs) / 2


def test_a_shared_pass_is_taken_up_to_the_bit():
    """Stopped after the third pass of seven, in the first batch of two."""
    archs, network = NB201.sample_distinct(np.random.default_rng(6), 20), a_network()
    stops: list[Found] = []
    whole = score_archs(network, archs, evaluation("batch"), at_once=3, after=lambda f: stops.append(copy.deepcopy(f)))
    begun = stops[2]
    assert (begun.done, begun.total) == (9, 2 * whole[2]) and stops[-1].done == 2 * whole[2]
    again = score_archs(network, archs, evaluation("batch"), at_once=3, begun=begun)
    assert (again[0] == whole[0]).all() and (again[1] == whole[1]).all()


def test_a_network_that_cannot_share_a_pass_runs_one_arch_after_the_other():
    space = SPACES["mobilenet"]
    skeleton = space.skeleton(ImageShape(32, CLASSES, 1), preset_of("mobilenet", "embedded"))
    network = space.network(space.whole, skeleton, False)
    archs = space.whole.sample_distinct(np.random.default_rng(0), 3)
    x, y = torch.randn(8, 1, 32, 32), torch.randint(0, CLASSES, (8,))
    ev = Evaluation([(x, y)], "batch")
    assert (score_archs(network, archs, ev, at_once=4)[1] == score_archs(network, archs, ev)[1]).all()


def forwards(network, archs, ev: Evaluation) -> tuple[int, int]:
    """(number of evaluations told, number of calls of the network)."""
    calls = []
    handle = network.register_forward_hook(lambda *_: calls.append(1))
    *_, evaluated = score_archs(network, archs, ev)
    handle.remove()
    return evaluated, len(calls)


def test_archs_that_compute_the_same_are_evaluated_once():
    """Four archs with nothing into the output, two that differ on a dead edge only, and one given twice."""
    archs = [(0, 0, 0, 0, 0, 0), (3, 3, 3, 0, 0, 0), (0, 0, 3, 0, 3, 3), (2, 0, 0, 0, 0, 1)]
    archs += [(3, 2, 0, 1, 3, 0), (3, 4, 3, 1, 3, 0), (3, 3, 3, 3, 3, 3), (3, 3, 3, 3, 3, 3)]
    archs = np.array(archs, np.int8)
    network = a_network()
    assert forwards(network, archs, evaluation("batch")) == (3, 3 * 2)
    assert forwards(network, archs, evaluation("recalibrate")) == (3, 3 * (2 + 2))
    accuracy, loglik, _ = score_archs(network, archs, evaluation("batch"))
    for scores in (accuracy, loglik):
        assert len(set(scores[:4])) == len(set(scores[4:6])) == len(set(scores[6:])) == 1
    assert len(set(loglik)) == 3


def test_scores_come_in_the_order_of_the_archs():
    network = a_network()
    archs = NB201.sample_distinct(np.random.default_rng(2), 40)
    order = np.random.default_rng(3).permutation(40)
    straight, shuffled = (score_archs(network, rows, evaluation("batch"))[1] for rows in (archs, archs[order]))
    np.testing.assert_allclose(shuffled, straight[order], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["batch", "running"])
def test_scoring_changes_nothing(mode):
    network = a_network().train()
    before = copy.deepcopy(network.state_dict())
    score_archs(network, NB201.sample_distinct(np.random.default_rng(2), 5), evaluation(mode))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "recalibrate"])
def test_ticks_tell_the_share_that_is_done(mode):
    archs = NB201.sample_distinct(np.random.default_rng(2), 330)
    ticks, network = [], a_network()
    ev = Evaluation([a_batch(2, s) for s in range(2)], mode, [a_batch(2, 5)[0]])
    score_archs(network, archs, ev, ticks.append)
    assert ticks and ticks == sorted(ticks) and 0 < ticks[0] <= ticks[-1] <= 1


def test_images_are_counted():
    assert evaluation("batch").images == 32


@pytest.mark.parametrize("mode", ["batch", "recalibrate"])
def test_scores_by_bfloat16_are_near(mode):
    """Within what a number of eight bits leaves of logits of about 1, and not the same."""
    network, archs = a_network(), np.random.default_rng(0).integers(1, 5, (8, 6))
    network.head.weight.data.div_(5)
    exact, rounded = (score_archs(network, archs, replace(evaluation(mode), half=half))[1] for half in (False, True))
    gap = np.abs(exact - rounded)
    assert 0 < gap.max() < 0.1 and exact.std() > 3 * gap.mean()


def test_nothing_to_score_on_is_an_error():
    """A mean over no image is NaN, and scores are never NaN."""
    with pytest.raises(ValueError):
        score_archs(a_network(), np.zeros((1, 6), np.int8), Evaluation([], "batch"))


@pytest.mark.parametrize("at_once", [1, 4])
def test_recalibrating_on_no_image_is_an_error(at_once):
    with pytest.raises(ValueError, match="no calibration images"):
        ev = Evaluation([a_batch(4, 0)], "recalibrate")
        score_archs(a_network(), np.zeros((1, 6), np.int8), ev, at_once=at_once)
