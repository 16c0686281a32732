from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.kernels import engines
from senas_bench.methods import METHODS, darts
from senas_bench.methods.darts import Darts, second_order, unrolled_gradient
from senas_bench.progress import SilentProgress
from senas_bench.spaces.nasbench201 import NB201, Skeleton, arch_from_str, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.tasks.task import Task
from senas_bench.training import loop
from senas_bench.training.bilevel import Alphas, LearningAlphas, first_order
from senas_bench.training.loop import descend, make_optimizer, train
from senas_bench.training.recipe import TrainingRecipe

RECIPE = TrainingRecipe((2,), batch_size=16, lr=0.05, lr_min=0.05, snapshots=1)


def batch(seed: int, dtype=torch.float64, n: int = 16):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.randint(0, 3, (n,), generator=generator)


class Batches:
    """The same batches in every epoch."""

    batch_size = 16

    def __init__(self, seeds, dtype=torch.float64):
        self.batches = [batch(seed, dtype) for seed in seeds]

    def __len__(self):
        return len(self.batches)

    def epoch(self, generator):
        return iter(self.batches)


def a_network(dtype=torch.float64) -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(NB201, channels=3, cells=1, in_channels=1, num_classes=3).to(dtype).train()


def some_alphas(dtype=torch.float64, spread: float = 0.5, seeds=(11, 12, 13), **settings) -> Alphas:
    """Logits far from equal, so that operators differ in their gradients."""
    alphas = Alphas(NB201, Batches(seeds, dtype), torch.Generator().manual_seed(0), **settings)
    start = spread * torch.randn(6, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    alphas.logits.data = start.to(dtype)
    alphas.begin_epoch(torch.Generator())
    return alphas


def moved(network, steps: int, rate: float, dtype=torch.float64):
    """(logits, optimizer) after a few steps of the weights, so that there is momentum; the next one has `rate`."""
    alphas = some_alphas(dtype)
    recipe = replace(RECIPE, weight_decay=0.03)
    optimizer = make_optimizer(network, recipe)
    for seed in range(20, 20 + steps):
        x, y = batch(seed, dtype)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(x, alphas.probabilities().detach()), y).backward()
        descend(optimizer)
    optimizer.zero_grad(set_to_none=True)
    optimizer.param_groups[0]["lr"] = rate
    return alphas, optimizer


def loss_at(network, weights, logits, images):
    x, y = images
    return F.cross_entropy(functional_call(network, weights, (x, torch.softmax(logits, 1))), y)


def exact_gradients(network, alphas, optimizer, training, valid):
    """(whole gradient, its first-order part at the stepped weights), by differentiating through the step."""
    group = optimizer.param_groups[0]
    logits = alphas.logits.detach().requires_grad_()
    weights = dict(network.named_parameters())
    gradients = torch.autograd.grad(
        loss_at(network, weights, logits, training), list(weights.values()), create_graph=True
    )
    stepped = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        momentum = optimizer.state[weight].get("momentum_buffer", torch.zeros_like(weight))
        direction = 0.9 * momentum + gradient + 0.03 * weight
        stepped[name] = weight.detach() - group["lr"] * direction
    (whole,) = torch.autograd.grad(loss_at(network, stepped, logits, valid), logits)
    held = {name: value.detach() for name, value in stepped.items()}
    (direct,) = torch.autograd.grad(loss_at(network, held, logits, valid), logits)
    return whole, direct


def distance(one, other) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("steps", [0, 2])
def test_second_order_gradient_is_the_exact_one(monkeypatch, steps):
    """Against autograd through the step. The part that the difference makes is compared alone, too.

    On a smooth network: a rectifier has no second derivative where it bends, and a difference of finite length
    over a few thousand bends is mostly what happens at them.
    """
    for name in ("relu", "relu_"):
        monkeypatch.setattr(torch, name, F.softplus)
    network = a_network()
    alphas, optimizer = moved(network, steps, rate=0.1)
    exact, direct = exact_gradients(network, alphas, optimizer, batch(1), batch(2))
    ours = unrolled_gradient(alphas, network, batch(1), batch(2), optimizer)
    assert distance(direct, exact) > 0.1  # else the test could not tell
    assert distance(ours, exact) < 1e-2
    assert distance(ours - direct, exact - direct) < 2e-2


def test_second_order_gradient_in_single_precision_is_as_good(monkeypatch):
    for name in ("relu", "relu_"):
        monkeypatch.setattr(torch, name, F.softplus)
    network = a_network()
    alphas, optimizer = moved(network, 2, rate=0.1)
    exact, _ = exact_gradients(network, alphas, optimizer, batch(1), batch(2))
    network = a_network(torch.float32)
    with engines.using("torch"):  # the loops would still rectify
        alphas, optimizer = moved(network, 2, 0.1, torch.float32)
        single = [batch(seed, torch.float32) for seed in (1, 2)]
        ours = unrolled_gradient(alphas, network, *single, optimizer)
    assert distance(ours.double(), exact) < 1e-2


def test_second_order_gradient_of_a_rectified_network(monkeypatch):
    """Over a step too short to meet a bend it is what autograd says."""
    monkeypatch.setattr(darts, "SHIFT", 1e-5)
    network = a_network()
    alphas, optimizer = moved(network, 2, rate=0.1)
    exact, direct = exact_gradients(network, alphas, optimizer, batch(1), batch(2))
    ours = unrolled_gradient(alphas, network, batch(1), batch(2), optimizer)
    assert distance(ours - direct, exact - direct) < 1e-6


def test_the_hessian_is_differenced_over_a_hundredth():
    """The two points lie 0.01 / |v| times v to both sides of the weights (below Eq. 8), v the stepped gradient."""
    network, seen = a_network(), []
    alphas, optimizer = moved(network, 2, rate=0.1)
    flat = lambda: torch.cat([weight.detach().flatten() for weight in network.parameters()])  # noqa: E731
    start = flat()
    network.register_forward_hook(lambda *_: seen.append(flat() - start))
    unrolled_gradient(alphas, network, batch(1), batch(2), optimizer)
    at_start, _, plus, minus = seen
    assert not at_start.any()
    assert float(plus.norm()) == pytest.approx(0.01) == float(minus.norm())
    torch.testing.assert_close(plus, -minus, rtol=0, atol=1e-12)


def test_the_orders_agree_at_rate_zero():
    network = a_network()
    alphas, optimizer = moved(network, 2, rate=0.0)
    logits = alphas.logits.detach().clone().requires_grad_()
    x, y = batch(2)
    (first,) = torch.autograd.grad(F.cross_entropy(network(x, torch.softmax(logits, 1)), y), logits)
    second = unrolled_gradient(alphas, network, batch(1), batch(2), optimizer)
    torch.testing.assert_close(second, first, rtol=0, atol=1e-12)


def test_first_order_step_is_adams_on_the_validation_gradient():
    network, alphas, twin = a_network(), some_alphas(), some_alphas()
    logits = twin.logits.detach().clone().requires_grad_()
    x, y = batch(11)
    (expected,) = torch.autograd.grad(F.cross_entropy(network(x, torch.softmax(logits, 1)), y), logits)
    twin.apply(expected)
    counts = LearningAlphas(alphas).step(network, batch(1), make_optimizer(network, RECIPE), None)
    torch.testing.assert_close(alphas.logits, twin.logits, rtol=0, atol=1e-12)
    assert counts == {"images_trained": 16, "forward_paths": 5, "backward_paths": 5}


def test_second_order_step_is_adams_on_the_unrolled_gradient():
    network = a_network()
    (alphas, optimizer), (twin, _) = moved(network, 2, 0.1), moved(a_network(), 2, 0.1)
    twin.apply(unrolled_gradient(twin, network, batch(1), batch(11), optimizer))
    counts = LearningAlphas(alphas, second_order).step(network, batch(1), optimizer, None)
    assert torch.equal(alphas.logits, twin.logits)
    assert counts == {"images_trained": 16, "forward_paths": 20, "backward_paths": 20}


@pytest.mark.parametrize("gradient", [first_order, second_order])
def test_a_step_of_the_logits_leaves_the_weights_as_they_are(gradient):
    """To the bit, and with their momentum and gradients; in single precision, where adding back would show."""
    network = a_network(torch.float32)
    alphas, optimizer = moved(network, 2, 0.1, torch.float32)
    for weight in network.parameters():
        weight.grad = torch.full_like(weight, 3.0)
    weights = [weight.detach().clone() for weight in network.parameters()]
    momenta = [optimizer.state[weight]["momentum_buffer"].clone() for weight in network.parameters()]
    logits = alphas.logits.detach().clone()
    LearningAlphas(alphas, gradient).step(network, batch(1, torch.float32), optimizer, None)
    assert (alphas.logits != logits).all()
    for weight, before, momentum in zip(network.parameters(), weights, momenta, strict=True):
        assert torch.equal(weight, before)
        assert torch.equal(optimizer.state[weight]["momentum_buffer"], momentum)
        assert torch.equal(weight.grad, torch.full_like(weight, 3.0))


@pytest.mark.parametrize("gradient", [first_order, second_order])
def test_a_step_of_the_weights_leaves_the_logits_as_they_are(gradient):
    """Training without the hook: paths of the mixture alone."""
    network, alphas = a_network(torch.float32), some_alphas(torch.float32)
    before, logits = [weight.detach().clone() for weight in network.parameters()], alphas.logits.detach().clone()
    result = train(
        network,
        Batches([1, 2], torch.float32),
        RECIPE,
        alphas.mixture,
        epochs=1,
        rng=np.random.default_rng(0),
        generator=torch.Generator(),
    )
    assert torch.equal(alphas.logits, logits) and alphas.logits.grad is None
    assert all(not torch.equal(weight, old) for weight, old in zip(network.parameters(), before, strict=True))
    assert result.counts["forward_paths"] == 2 * 5


@pytest.mark.parametrize("gradient", [first_order, second_order])
def test_passes_and_images_are_counted_as_run(gradient, monkeypatch):
    """A training of one epoch, against a count of what the network was asked and with which images."""
    seen, forward = [], NB201Network.forward

    def watched(self, x, path, cache=None):
        seen.append((float(x.sum()), path.weights.requires_grad))
        return forward(self, x, path, cache)

    monkeypatch.setattr(NB201Network, "forward", watched)
    first, second = (Batches(seeds, torch.float32) for seeds in ([1, 2, 3], [11, 12, 13]))
    cost = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=3, cells=1))
    mixture = LearningAlphas(some_alphas(torch.float32, cost=cost), gradient)
    result = train(
        a_network(torch.float32),
        first,
        RECIPE,
        mixture.alphas.mixture,
        epochs=1,
        rng=np.random.default_rng(0),
        generator=torch.Generator(),
        architecture=mixture,
        cost=cost,
    )
    mine, theirs = ([float(x.sum()) for x, _ in loader.batches] for loader in (first, second))
    expected = []
    for weight_batch, arch_batch in zip(mine, theirs, strict=True):
        of_logits = [weight_batch, arch_batch, weight_batch, weight_batch] if gradient is second_order else [arch_batch]
        expected += [(images, True) for images in of_logits] + [(weight_batch, False)]
    assert seen == expected
    assert result.counts == {
        "images_trained": 16 * 6,
        "train_steps": 3,
        "forward_paths": 5 * len(seen),
        "backward_paths": 5 * len(seen),
        "multiply_adds": 3 * 16 * len(seen) * cost.mixtures(np.ones((1, 6, 5), bool)).item(),
    }


ARCHS = 80
TINY = replace(
    PRESETS["embedded"],
    channels=2,
    score_images=100,
    score_batch=100,
    rank_archs=ARCHS,
    recipes={"darts": TrainingRecipe((1, 1), 256, snapshots=1)},
)
STEPS = (1797 - 400) // 2 // 256
MIXTURE = 9 * 2 * 64 + 18 * 10 * 2 * 2 * 64 + (72 + 144 + 8) * 16 + (288 + 576 + 32) * 4 + 8 * 10 + 10
"""Multiply-adds of a pass of an image of 8x8: stem, a 1x1 and a 3x3 on 18 edges, two reductions, ten classes."""


@pytest.fixture
def methods(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    for second in (False, True):
        method = Darts(second_order=second, arch_lr=0.05)
        monkeypatch.setitem(METHODS, f"darts-v{1 + second}", method)


def a_run(method, folder, progress=None, seed=0):
    return run(make_spec(method, seed, "embedded", sizes=TINY), Place(folder, progress=progress or SilentProgress()))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "passes"), [("darts-v1", 2), ("darts-v2", 5)])
def test_a_run_picks_the_most_probable_arch(methods, tmp_path, method, passes):
    record, scores = a_run(method, tmp_path)
    *epochs, last = record.history
    assert [(line["stage"], line["epoch"]) for line in record.history] == [(1, 1), (1, 2), (1, 2)]
    assert all("loss" in line for line in epochs)
    table = np.array([[last["probabilities"][edge][op] for op in NB201.operators] for edge in NB201.edges])
    np.testing.assert_allclose(table.sum(1), 1, atol=1e-5)
    assert table.std() > 0.01
    assert arch_from_str(record.pick) == tuple(table.argmax(1).tolist())
    assert len(scores) == ARCHS and set(scores["set"]) == {"sample"}
    assert set(scores.epoch) == {2} and set(scores.stage) == {1}
    for row in scores.itertuples():
        arch = arch_from_str(row.arch_str)
        assert row.score == pytest.approx(np.log(table[range(6), arch]).sum(), abs=1e-3)
    assert record.counters["search"] == {
        "images_trained": 2 * 2 * STEPS * 256,
        "train_steps": 2 * STEPS,
        "forward_paths": 2 * STEPS * passes * 5,
        "backward_paths": 2 * STEPS * passes * 5,
        "archs_scored": 0,
        "images_scored": 0,
        **dict.fromkeys(("multiply_adds", "nominal_multiply_adds"), 3 * 256 * 2 * STEPS * passes * MIXTURE),
    }
    assert set(record.counters["report"].values()) == {0}


class Interrupted(Exception):
    pass


class StopsAfter(SilentProgress):
    def __init__(self, epoch):
        self.epoch = epoch

    def step(self, done, **numbers):
        if done == self.epoch:
            raise Interrupted


@pytest.mark.slow
def test_a_resumed_run_gives_the_same_record(methods, tmp_path):
    folders = [tmp_path / name for name in ("whole", "cut", "other")]
    for folder in folders:
        folder.mkdir()
    record, scores = a_run("darts-v2", folders[0])
    for epoch in (1, 2):
        with pytest.raises(Interrupted):
            a_run("darts-v2", folders[1], StopsAfter(epoch))
    again, again_scores = a_run("darts-v2", folders[1], StopsAfter(1))  # epoch 1 is not run once more
    assert (again.pick, again.history, again.counters) == (record.pick, record.history, record.counters)
    assert scores.equals(again_scores)
    assert not scores.equals(a_run("darts-v1", folders[2], seed=1)[1])


def test_weights_and_logits_learn_on_different_images(methods, tmp_path, monkeypatch):
    seen, fresh = [], Task.alphas

    def watched(*arguments, **settings):
        alphas, first = fresh(*arguments, **settings)
        seen.append((first._labels.data_ptr(), alphas.loader._labels.data_ptr(), len(first), len(alphas.loader)))
        return alphas, first

    monkeypatch.setattr(Task, "alphas", watched)
    a_run("darts-v1", tmp_path)
    ((weights, logits, steps, arch_steps),) = seen
    assert logits - weights == (1797 - 400) // 2 * 8  # bytes of an int64 label
    assert steps == arch_steps == STEPS


def test_a_shrunk_space_is_searched_within_itself(tmp_path, monkeypatch):
    """Dropped operators are neither built, nor picked, nor probable."""
    monkeypatch.setitem(METHODS, "darts-v2", Darts(second_order=True))
    task = make_task(make_spec("darts-v2", 0, "embedded", sizes=TINY), Place(tmp_path, progress=SilentProgress()))
    space = replace(NB201, candidates=((0,), (1, 3), (2,), (0, 4), (1, 2, 3), (3, 4)), groups=())
    task = replace(
        task,
        problem=replace(task.problem, space=space),
        report=replace(task.report, archs=space.archs()),
    )
    output = Darts(second_order=True)(task)
    assert output.pick in space
    (table,) = output.tables
    assert np.exp(table.scores).sum() == pytest.approx(1, rel=1e-5)
    assert output.pick == tuple(table.archs[table.scores.argmax()].tolist())
    assert output.history[-1]["probabilities"]["0->1"] == {"none": 1.0}
