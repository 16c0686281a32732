from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.spec import settings_of
from senas_bench.kernels.door import Node, Torch
from senas_bench.methods import METHODS
from senas_bench.methods.gdas import Gdas, GumbelPaths
from senas_bench.progress import SilentProgress
from senas_bench.spaces.nasbench201 import EDGES, NB201, arch_from_str, prune_arch
from senas_bench.spaces.nasbench201.network import Cell, NB201Network
from senas_bench.tasks.work import PRICES
from senas_bench.training import loop
from senas_bench.training.bilevel import Alphas, LearningAlphas
from senas_bench.training.loop import descend, make_optimizer, train
from senas_bench.training.recipe import TrainingRecipe

RECIPE = TrainingRecipe((2,), batch_size=16, lr=0.05, lr_min=0.05, weight_decay=0.1, snapshots=1)
NONE, SKIP, CONV1, CONV3, POOL = range(5)
SHRUNK = replace(NB201, candidates=((1, 3), (0, 2, 4), (2,), (0, 1, 2, 3, 4), (0, 3), (1, 4)), groups=())


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


def a_network(space=NB201) -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(space, channels=3, cells=1, in_channels=1, num_classes=3).train()


def some_paths(space=NB201, spread: float = 1.0, tau: float = 2.0, **settings) -> GumbelPaths:
    alphas = Alphas(space, Batches([11, 12, 13]), torch.Generator().manual_seed(0), **settings)
    alphas.logits.data = spread * torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    paths = GumbelPaths(alphas, 10.0, 0.1)
    alphas.begin_epoch(torch.Generator())
    paths.tau = tau
    return paths


def learning(paths: GumbelPaths) -> LearningAlphas:
    return LearningAlphas(paths.alphas, paths.gradient, paths.begin_epoch)


def soft_weights(paths, noise) -> np.ndarray:
    """The soft sample from its formula, in double precision."""
    logits = paths.alphas.logits.detach().double().numpy()
    p = np.where(paths.alphas.alive.numpy(), np.exp(logits), 0)
    p /= p.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):
        powered = np.exp((np.log(p) + noise) / paths.tau)
    return powered / powered.sum(1, keepdims=True)


@pytest.mark.parametrize("space", [NB201, SHRUNK])
@pytest.mark.parametrize("tau", [10.0, 2.0, 0.1])
def test_value_is_one_hot_and_gradient_is_of_the_soft_sample(space, tau):
    """The Jacobian of a softmax at temperature tau is s_i (delta_ij - s_j) / tau, normalised logits or not."""
    for seed in range(20):
        paths = some_paths(space, tau=tau)
        soft = soft_weights(paths, np.random.default_rng(seed).gumbel(size=(6, 5)))
        path = paths.draw(np.random.default_rng(seed))
        assert set(path.detach().unique().tolist()) == {0.0, 1.0}  # exactly
        assert path.detach().argmax(1).tolist() == soft.argmax(1).tolist()
        assert (path.detach().sum(1) == 1).all()
        assert tuple(path.detach().argmax(1).tolist()) in space
        factors = np.random.default_rng(99).normal(size=(6, 5))
        (gradient,) = torch.autograd.grad((path * torch.from_numpy(factors).float()).sum(), paths.alphas.logits)
        expected = soft * (factors - (soft * factors).sum(1, keepdims=True)) / tau
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=2e-3, atol=3e-6)


@pytest.mark.parametrize("tau", [10.0, 0.1])
def test_archs_are_drawn_by_their_probability(tau):
    """Whatever the temperature: Gumbel's maximum is a draw from the softmax."""
    paths, rng = some_paths(tau=tau), np.random.default_rng(0)
    draws = np.array([paths.sample(rng)[0] for _ in range(3000)])
    expected = torch.softmax(paths.alphas.logits.detach().double(), 1).numpy()
    for edge in range(6):
        counts = np.bincount(draws[:, edge], minlength=5)
        assert stats.chisquare(counts, 3000 * expected[edge] / expected[edge].sum()).pvalue > 1e-3


def test_draws_depend_on_the_generator_alone():
    paths = some_paths()
    torch.manual_seed(1)
    one = [paths.sample(np.random.default_rng(seed)) for seed in range(10)]
    torch.manual_seed(2)
    np.random.seed(2)
    assert one == [paths.sample(np.random.default_rng(seed)) for seed in range(10)]
    assert len(set(map(tuple, one))) > 5


def test_network_computes_the_hard_path():
    network, paths = a_network(), some_paths()
    for seed in range(15):
        path = paths.draw(np.random.default_rng(seed))
        arch = tuple(path.detach().argmax(1).tolist())
        x, _ = batch(seed)
        torch.testing.assert_close(network(x, path), network(x, arch), rtol=1e-5, atol=1e-5)


def test_gradient_of_a_step_is_that_of_the_sampled_operators_through_the_soft_weights():
    """The loss differenced in how much of a sampled operator is mixed in, times the Jacobian of the softmax."""
    network, moves = a_network().double(), []
    x, y = batch(11)
    for seed in range(4):
        paths = some_paths(lr=1.0)
        paths.alphas.loader.batches = [(x.double(), y)]
        paths.alphas.begin_epoch(torch.Generator())
        paths.alphas.logits.data = paths.alphas.logits.data.double()
        soft = soft_weights(paths, np.random.default_rng(seed).gumbel(size=(6, 5)))
        hard = np.eye(5)[soft.argmax(1)]
        slopes = np.zeros((6, 5))
        for edge, op in enumerate(soft.argmax(1)):
            ends = []
            for sign in (1, -1):
                weights = torch.from_numpy(hard).clone()
                weights[edge, op] += sign * 1e-6
                with torch.no_grad():
                    ends.append(float(F.cross_entropy(network(x.double(), weights), y)))
            slopes[edge, op] = (ends[0] - ends[1]) / 2e-6
        expected = soft * (slopes - (soft * slopes).sum(1, keepdims=True)) / paths.tau
        given = []
        paths.alphas.apply = given.append
        learning(paths).step(network, batch(1), make_optimizer(network, RECIPE), np.random.default_rng(seed))
        np.testing.assert_allclose(given[0].numpy(), expected, rtol=1e-3, atol=1e-7)
        moves.append(np.abs(expected).max())
    assert min(moves) > 1e-3


def always(arch):
    """A generator whose noise makes this arch win on every edge."""

    class Fixed:
        def gumbel(self, size):
            noise = np.zeros(size)
            noise[range(6), arch] = 100.0
            return noise

    return Fixed()


def test_a_step_of_the_logits_leaves_the_weights_as_they_are():
    network, paths = a_network(), some_paths()
    before, logits = [w.detach().clone() for w in network.parameters()], paths.alphas.logits.detach().clone()
    optimizer = make_optimizer(network, RECIPE)
    counts = learning(paths).step(network, batch(1), optimizer, np.random.default_rng(0))
    assert counts == {"images_trained": 16, "forward_paths": 1, "backward_paths": 1}
    assert all(torch.equal(weight, old) for weight, old in zip(network.parameters(), before, strict=True))
    assert all(weight.grad is None for weight in network.parameters())
    assert (paths.alphas.logits != logits).any()


def test_a_path_that_leads_nowhere_moves_the_logits_by_their_decay_alone():
    """The loss does not depend on any logit, which must not be an error."""
    network, paths, twin = a_network(), some_paths(), some_paths()
    learning(paths).step(network, batch(1), make_optimizer(network, RECIPE), always((NONE,) * 6))
    twin.alphas.apply(torch.zeros(6, 5))
    assert torch.equal(paths.alphas.logits, twin.alphas.logits)


@pytest.mark.parametrize(
    "arch",
    [
        (CONV3, CONV1, CONV3, CONV3, CONV1, CONV1),
        (SKIP, CONV1, NONE, CONV1, POOL, CONV3),
        (NONE, CONV3, CONV1, SKIP, CONV3, CONV1),  # node 1 is all zeros, and convolutions read it
        (CONV1, CONV3, CONV3, POOL, CONV1, NONE),  # nothing reads node 2
    ],
)
def test_a_step_of_the_weights_moves_the_sampled_path_alone(arch):
    """Of the operators those on live edges; the stem, the reductions and the head besides. No logit moves."""
    network, paths = a_network(), some_paths()
    optimizer = make_optimizer(network, RECIPE)
    for other in ((CONV1,) * 6, (CONV3,) * 6):  # momentum everywhere
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(batch(5)[0], other), batch(5)[1]).backward()
        descend(optimizer)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    logits = paths.alphas.logits.detach().clone()

    def sample(rng):
        return paths.sample(always(arch))

    rng, generator = np.random.default_rng(0), torch.Generator()
    train(network, Batches([1]), RECIPE, sample, epochs=1, rng=rng, generator=generator, optimizer=optimizer)
    live = prune_arch(arch)
    for name, weight in network.named_parameters():
        _, inside, tail = name.partition(".choices.")
        edge, _, rest = tail.partition(".copies.")
        on_path = not inside or rest.startswith(f"{live[int(edge)]}.")
        assert on_path == (not torch.equal(weight, before[name])), name
    assert torch.equal(paths.alphas.logits, logits) and paths.alphas.logits.grad is None


def test_temperature_is_linear_in_the_epochs():
    paths = some_paths()
    taus = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        paths.begin_epoch(share)
        taus.append(paths.tau)
    assert taus == pytest.approx([10, 7.525, 5.05, 2.575, 0.1])


def test_temperature_of_a_training(monkeypatch):
    """Four epochs: the loop gives 0, 1/4, 1/2, 3/4. Two draws a step, one for the logits and one for the weights."""
    taus, draw = [], GumbelPaths.draw

    def watched(self, rng):
        taus.append(self.tau)
        return draw(self, rng)

    monkeypatch.setattr(GumbelPaths, "draw", watched)
    paths = some_paths()
    rng, generator = np.random.default_rng(0), torch.Generator()
    arguments = {"epochs": 4, "rng": rng, "generator": generator, "architecture": learning(paths)}
    result = train(a_network(), Batches([1, 2, 3]), RECIPE, paths.sample, **arguments)
    assert taus == pytest.approx([10] * 6 + [7.525] * 6 + [5.05] * 6 + [2.575] * 6)
    assert result.counts == {
        "images_trained": 4 * 6 * 16,
        "train_steps": 12,
        "forward_paths": 24,
        "backward_paths": 24,
    }


def test_only_the_sampled_operators_run():
    network, paths, calls = a_network(), some_paths(), []
    for cell in (block for block in network.body if isinstance(block, Cell)):
        for edge, choice in enumerate(cell.choices):
            for op, module in choice.copies.items():
                module.register_forward_hook(lambda *_, key=(edge, int(op)): calls.append(key))
    arch = (CONV3, CONV1, SKIP, CONV3, POOL, CONV1)
    learning(paths).step(network, batch(1), make_optimizer(network, RECIPE), always(arch))
    assert sorted(calls) == sorted([(0, CONV3), (1, CONV1), (3, CONV3), (5, CONV1)] * 3)


def reference_forward(network, x, hard, index):
    """The network with the cells of AutoDL-Projects's `forward_gdas`: the sampled operator's output times its weight,
    plus the weights of the others."""
    x = network.stem(x)
    for block in network.body:
        if not isinstance(block, Cell):
            x = block(Node(Torch(), x), (True, False)).value
            continue
        nodes = [x]
        for node in range(1, 4):
            total = 0
            for edge, (source, target) in enumerate(EDGES):
                if target != node:
                    continue
                value, op = nodes[source], index[edge]
                outputs = {NONE: 0 * value, SKIP: value, POOL: block.pool(value)}
                output = outputs[op] if op in outputs else block.choices[edge].copies[str(op)](torch.relu(value))
                total = total + output * hard[edge, op] + sum(hard[edge, j] for j in range(5) if j != op)
            nodes.append(total)
        x = nodes[-1]
    return network.head(torch.relu(network.last(x)).mean((2, 3)))


@pytest.mark.parametrize("idle", [False, True])
def test_both_gradients(idle):
    """With the term of the released code it is that of its forward pass, without it another."""
    network, (x, y) = a_network(), batch(11)
    same = []
    for seed in range(5):
        paths = some_paths()
        paths.idle = idle
        hard = paths.draw(np.random.default_rng(seed))
        loss = F.cross_entropy(reference_forward(network, x, hard, hard.argmax(1).tolist()), y)
        (expected,) = torch.autograd.grad(loss, [paths.alphas.logits])
        rng = np.random.default_rng(seed)
        gradient, passes = paths.gradient(paths.alphas, network, batch(3), (x, y), None, rng)
        same.append(torch.allclose(gradient, expected, rtol=1e-3, atol=1e-6))
        assert passes == 1 and network.idle_weights is False
    assert same == [idle] * 5


def test_which_gradient_is_a_setting():
    assert "gradient" not in settings_of(METHODS["gdas"])  # the ids of runs that were made before there were two
    assert settings_of(METHODS["gdas-code"])["gradient"] == "code"
    with pytest.raises(ValueError, match="unknown gradient 'both'; one of: paper, code"):
        Gdas(gradient="both")


ARCHS = 80
TINY = replace(
    PRESETS["embedded"],
    channels=2,
    score_images=100,
    score_batch=100,
    rank_archs=ARCHS,
    recipes={"gdas": TrainingRecipe((1, 1), 256, snapshots=1)},
)
STEPS = (1797 - 400) // 2 // 256
FRAME = 9 * 2 * 64 + (72 + 144 + 8) * 16 + (288 + 576 + 32) * 4 + 8 * 10 + 10
"""Multiply-adds of a pass of an image of 8x8 through all but the cells: stem, two reductions, ten classes."""


def a_run(folder, progress=None, seed=0):
    return run(make_spec("gdas", seed, "embedded", sizes=TINY), Place(folder, progress=progress or SilentProgress()))


class Interrupted(Exception):
    pass


class StopsAfter(SilentProgress):
    def __init__(self, epoch):
        self.epoch = epoch

    def step(self, done, **numbers):
        if done == self.epoch:
            raise Interrupted


@pytest.mark.slow
def test_a_run_and_its_resumption(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setitem(METHODS, "gdas", Gdas(arch_lr=0.05))
    folders = [tmp_path / name for name in ("whole", "cut", "other")]
    for folder in folders:
        folder.mkdir()
    record, scores = a_run(folders[0])
    last = record.history[-1]["probabilities"]
    table = np.array([[last[edge][op] for op in NB201.operators] for edge in NB201.edges])
    assert table.std() > 0.01
    assert arch_from_str(record.pick) == tuple(table.argmax(1).tolist())
    assert len(scores) == ARCHS and set(scores["set"]) == {"sample"} and set(scores.epoch) == {2}
    for row in scores.itertuples():
        arch = arch_from_str(row.arch_str)
        assert row.score == pytest.approx(np.log(table[range(6), arch]).sum(), abs=1e-3)
    assert record.counters["search"] == {
        "images_trained": 2 * 2 * STEPS * 256,
        "train_steps": 2 * STEPS,
        "forward_paths": 4 * STEPS,
        "backward_paths": 4 * STEPS,
        "archs_scored": 0,
        "images_scored": 0,
        **{name: record.counters["search"][name] for name in PRICES},
    }
    cheapest, dearest = (3 * 256 * 4 * STEPS * cost for cost in (FRAME, FRAME + 18 * 9 * 2 * 2 * 64))
    assert cheapest < record.counters["search"]["multiply_adds"] < dearest
    assert len({record.counters["search"][name] for name in PRICES}) == 1
    for epoch in (1, 2):
        with pytest.raises(Interrupted):
            a_run(folders[1], StopsAfter(epoch))
    again, again_scores = a_run(folders[1], StopsAfter(1))
    assert (again.pick, again.history, again.counters) == (record.pick, record.history, record.counters)
    assert scores.equals(again_scores)
    assert not scores.equals(a_run(folders[2], seed=1)[1])
