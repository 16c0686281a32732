import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.progress import SilentProgress
from senas_bench.shrinking.magnitude import Magnitude
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.tasks.outputs import Trained
from senas_bench.tasks.task import Task
from senas_bench.training.bilevel import Alphas, LearningAlphas
from senas_bench.training.loop import make_optimizer
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.result import Training
from senas_bench.training.snapshots import Snapshots

SPACE = replace(NB201, candidates=((0, 2, 3), (1, 3), (4,), (2, 3, 4), (0, 1, 3, 4), (2, 3)))


class Batches:
    """One batch, again and again; another one for each seed."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.batch = torch.randn(32, 1, 8, 8, generator=generator), torch.randint(0, 3, (32,), generator=generator)

    def epoch(self, generator):
        while True:
            yield self.batch


def a_network() -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(SPACE, channels=2, cells=1, in_channels=1, num_classes=3).train()


def mixture_over(loader, **arguments) -> LearningAlphas:
    mixture = LearningAlphas(Alphas(SPACE, loader, torch.Generator().manual_seed(3), **arguments))
    mixture.begin_epoch(0.0, torch.Generator())
    return mixture


def alpha_step(network, mixture: LearningAlphas):
    recipe = TrainingRecipe()
    return mixture.step(network, Batches(1).batch, make_optimizer(network, recipe), np.random.default_rng(0))


def test_a_step_of_the_architecture_follows_the_loss_on_its_own_images():
    """Against central differences of the loss on the loader's batch, not on that of the weights."""
    loader, network = Batches(2), a_network().double()
    loader.batch = loader.batch[0].double(), loader.batch[1]
    mixture = mixture_over(loader)
    alphas = mixture.alphas
    applied = []
    alphas.apply = applied.append
    alpha_step(network, mixture)

    def loss(logits) -> float:
        table = torch.zeros(6, 5, dtype=torch.float64)
        for edge, alive in enumerate(SPACE.candidates):
            table[edge, list(alive)] = torch.softmax(logits[edge, list(alive)], 0)
        with torch.no_grad():
            return float(F.cross_entropy(network(loader.batch[0], table), loader.batch[1]))

    at, length = alphas.logits.detach().double(), 1e-5
    for edge, op in SPACE.alive():
        shift = torch.zeros(6, 5, dtype=torch.float64)
        shift[edge, op] = length
        expected = (loss(at + shift) - loss(at - shift)) / (2 * length)
        assert float(applied[0][edge, op]) == pytest.approx(expected, abs=2e-6), (edge, op)
    assert float(applied[0].abs().max()) > 1e-3


def test_a_step_of_the_architecture_moves_no_weight():
    network, mixture = a_network(), mixture_over(Batches(2))
    before, logits = copy.deepcopy(dict(network.named_parameters())), mixture.alphas.logits.detach().clone()
    alpha_step(network, mixture)
    assert all(torch.equal(weight, before[name]) for name, weight in network.named_parameters())
    assert all(weight.grad is None for weight in network.parameters())
    moved = mixture.alphas.logits.detach() != logits
    contested = [(edge, op) for edge, op in SPACE.alive() if len(SPACE.candidates[edge]) > 1]
    assert {tuple(pair) for pair in moved.nonzero().tolist()} >= set(contested)


def test_a_step_of_the_architecture_is_that_of_adam():
    """The first one: the rate, against the sign of gradient and decay, whatever their size."""
    network, mixture = a_network(), mixture_over(Batches(2), lr=0.01, weight_decay=0.0)
    before = mixture.alphas.logits.detach().clone()
    alpha_step(network, mixture)
    step = (mixture.alphas.logits.detach() - before)[0, [0, 2, 3]]
    assert step.abs().tolist() == pytest.approx([0.01] * 3, rel=1e-3)


def test_its_images_and_paths_are_counted():
    counts = alpha_step(a_network(), mixture_over(Batches(2)))
    assert counts == {"images_trained": 32, "forward_paths": 4, "backward_paths": 4}  # 4 on the fullest edge


def test_nothing_to_learn_is_no_error():
    """None on every edge into the output: the loss does not depend on the logits."""
    space = replace(NB201, candidates=((2, 3), (1, 3), (2, 3), (0,), (0,), (0,)))
    network = NB201Network(space, channels=2, cells=1, in_channels=1, num_classes=3).train()
    mixture = LearningAlphas(Alphas(space, Batches(2), torch.Generator().manual_seed(0), weight_decay=0.0))
    mixture.begin_epoch(0.0, torch.Generator())
    before = mixture.alphas.logits.detach().clone()
    alpha_step(network, mixture)
    assert torch.equal(mixture.alphas.logits.detach(), before)


def a_task(folder) -> Task:
    recipe = TrainingRecipe((3,), 128, snapshots=2)
    sizes = replace(PRESETS["embedded"], channels=2, rank_archs=10, recipes={"reference": recipe})
    return make_task(make_spec("se-nas", 0, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))


def stage(space, epochs: int) -> Trained:
    """A stage of which only the length may matter: its network is not to be touched."""
    return Trained("stage-7", space, None, Training(None, Snapshots(), [{"epoch": e + 1} for e in range(epochs)]))


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """One call with a fast architecture: the task, its scores, and what `Task.train` was asked and left."""
    task, calls, train = a_task(tmp_path), [], Task.train

    def watching(self, network, space, sample, **arguments):
        start = copy.deepcopy(network.state_dict())
        alphas = arguments["architecture"].alphas
        seen = []

        def sampling(rng):
            seen.append((sample(rng), alphas.logits.detach().clone()))
            return seen[-1][0]

        trained = train(self, network, space, sampling, **arguments)
        calls.append({"network": network, "start": start, "space": space, "seen": seen, "alphas": alphas, **arguments})
        calls[-1]["trained"] = trained
        return trained

    monkeypatch.setattr(Task, "train", watching)
    expanded = SPACE.with_groups(((0, 1), (2,), (3, 4, 5)))
    output = Magnitude(lr=0.05)(stage(expanded, 2), task)
    return task, output, calls


@pytest.mark.slow
def test_the_second_supernet(watched):
    """Fresh, over the operators alive, unexpanded; as long as the stage; on one half each."""
    task, _, (call,) = watched
    assert call["space"] == SPACE and not call["network"].expanded
    fresh = task.build(SPACE).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in call["start"].items())
    assert (call["phase"], call["epochs"]) == ("stage-7-magnitude", 2)
    assert call["trained"].training.snapshots.states == []
    halves = task.loaders.train.halves()
    for loader, half in zip((call["loader"], call["alphas"].loader), halves, strict=True):
        assert loader._windows.data_ptr() == half._windows.data_ptr() and len(loader) == len(half)


def test_each_step_of_the_weights_runs_the_mixture_as_it_is(watched):
    """A step of the architecture comes before each; none of the weights' steps changes it."""
    _, _, (call,) = watched
    assert len(call["seen"]) == 2 * len(call["loader"])
    for (mixture,), logits in call["seen"]:
        path = mixture.weights
        assert not path.requires_grad
        assert mixture.runs == tuple(tuple(op in alive for op in range(5)) for alive in SPACE.candidates)
        for edge, alive in enumerate(SPACE.candidates):
            torch.testing.assert_close(path[edge, list(alive)], torch.softmax(logits[edge, list(alive)], 0))
            assert int((path[edge] != 0).sum()) == len(alive)
    assert not torch.equal(call["seen"][0][1], call["seen"][1][1])
    assert torch.equal(call["seen"][-1][1], call["alphas"].logits)  # the last step was one of the weights


def test_scores_are_the_final_probabilities(watched):
    _, output, (call,) = watched
    logits = call["alphas"].logits.detach().double()
    for edge, alive in enumerate(SPACE.candidates):
        expected = torch.softmax(logits[edge, list(alive)], 0).tolist()
        assert [output.scores[edge, op] for op in alive] == pytest.approx(expected, rel=1e-5)
    assert output.scores[2, 4] == 1.0  # no choice there
    assert len(output.scores) == len(SPACE.alive())


@pytest.mark.slow
def test_rate_and_decay_are_those_of_darts(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Task, "train", lambda self, *_, architecture, **__: seen.append(architecture))
    Magnitude()(stage(SPACE, 1), a_task(tmp_path))
    (group,) = seen[0].alphas.optimizer.param_groups
    assert type(seen[0].alphas.optimizer) is torch.optim.Adam
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)
