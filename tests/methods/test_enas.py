from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from senas_bench.data.loader import TrainLoader
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.enas import Enas, LearningController
from senas_bench.progress import SilentProgress
from senas_bench.searching.controller import Controller, Reinforce
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.tasks.task import Task
from senas_bench.training.recipe import TrainingRecipe

HALF = (1797 - 400) // 2
BATCHES = 7


class Numbered:
    """Batches of 4 images that carry their number; all labels are 1."""

    batch_size = 4

    def __len__(self):
        return BATCHES

    def epoch(self, generator):
        for number in torch.randperm(BATCHES, generator=generator).tolist():
            yield torch.full((4, 1, 1, 1), float(number)), torch.ones(4, dtype=torch.long)


class Planted(nn.Module):
    """Labels all images rightly where edge 2 has operator 3, and a quarter of them otherwise."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list = []

    def forward(self, x, path):
        assert not torch.is_grad_enabled() and not self.training
        self.seen.append((int(x[0]), path))
        right = torch.tensor([True] * 4 if path[2] == 3 else [True, False, False, False])
        return torch.stack([~right, right], 1).float()


def learning(loader, steps: int, aggregate: int = 20, lr: float = 0.02, paths: int = 5) -> LearningController:
    reinforce = Reinforce(Controller(NB201, torch.Generator().manual_seed(0)), lr=lr)
    return LearningController(reinforce, loader, paths=paths, steps=steps, aggregate=aggregate)


def test_the_controller_learns_from_the_accuracy_of_its_archs():
    subject, network = learning(Numbered(), steps=30), Planted()
    counts = subject.end_epoch(network, np.random.default_rng(0), torch.Generator().manual_seed(0))
    assert counts == {"archs_scored": 600, "images_scored": 600 * 4, "forward_paths": 600}
    archs = NB201.archs()
    probability = np.exp(subject.reinforce.controller.arch_scores(archs))[archs[:, 2] == 3].sum()
    assert probability > 0.6
    assert network.training


def test_the_rewards_cost_a_forward_pass_of_a_batch_each():
    subject, archs = learning(Numbered(), steps=3, aggregate=2), []
    subject.cost = lambda rows: archs.extend(rows.tolist()) or {"flops_m": rows[:, 0] / 1e6}
    counts = subject.end_epoch(Planted(), np.random.default_rng(0), torch.Generator())
    assert len(archs) == 6 and counts["multiply_adds"] == 4 * sum(arch[0] for arch in archs) > 0


def test_rewards_are_fractions_of_a_batch(monkeypatch):
    subject, network, seen = learning(Numbered(), steps=2, aggregate=10), Planted(), []
    monkeypatch.setattr(subject.reinforce, "update", lambda archs, accuracies: seen.append((archs, accuracies)))
    subject.end_epoch(network, np.random.default_rng(0), torch.Generator())
    assert len(seen) == 2
    for archs, accuracies in seen:
        assert archs.shape == (10, 6)
        assert accuracies.tolist() == [1.0 if arch[2] == 3 else 0.25 for arch in archs]
    assert [path for _, path in network.seen] == [tuple(row) for archs, _ in seen for row in archs.tolist()]


def test_batches_take_turns_in_an_order_from_the_generator():
    def numbers(seed):
        network = Planted()
        learning(Numbered(), 2, 10).end_epoch(network, np.random.default_rng(0), torch.Generator().manual_seed(seed))
        return [number for number, _ in network.seen]

    one = numbers(0)
    assert sorted(one[:7]) == sorted(one[7:14]) == list(range(7)) and one[:7] != one[7:14]
    assert len(set(one[14:])) == 6
    assert one == numbers(0) != numbers(1)


def test_rewards_change_nothing_in_the_network():
    torch.manual_seed(0)
    network = NB201Network(NB201, channels=2, cells=1, in_channels=1, num_classes=3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (64, 8, 8, 1), dtype=np.uint8), rng.integers(0, 3, 64)
    loader = TrainLoader(images, labels, 16, pad=1, flip=False, mean=[0.5], std=[0.25])
    learning(loader, steps=2).end_epoch(network, rng, torch.Generator())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    assert network.training and all(m.track_running_stats for m in network.modules() if hasattr(m, "running_mean"))


def test_paths_come_from_the_controller_as_it_is():
    """Those of an epoch are drawn together; what an epoch left over is not used by the next."""
    subject, rng = learning(Numbered(), steps=1), np.random.default_rng(3)
    controller = subject.reinforce.controller
    with torch.no_grad():
        controller.head.bias[4] = 1e3
        controller.head.bias[:4] = -1e3
    subject.begin_epoch(0.0, torch.Generator())
    paths = [path for _ in range(5) for path in subject.path(rng)]
    expected = controller.sample(np.random.default_rng(3), 5)
    assert sorted(paths) == sorted(map(tuple, expected.tolist()))
    assert np.mean(np.array(paths) == 4) > 0.9
    for path in (subject.path(rng)[0], *paths):
        assert path in NB201 and all(type(op) is int for op in path)
    with torch.no_grad():
        controller.head.bias.neg_()
    subject.begin_epoch(0.5, torch.Generator())
    assert not any(4 in path for _ in range(5) for path in subject.path(rng))


def a_task(folder, seed: int = 0, **changes) -> Task:
    """Two epochs of 5 steps of the weights and 2 of the controller."""
    recipe = TrainingRecipe((2,), 128, snapshots=1, controller_steps=2, **changes)
    sizes = replace(
        PRESETS["embedded"],
        channels=4,
        score_images=100,
        score_batch=50,
        rank_archs=60,
        recipes={"reference": recipe},
    )
    return make_task(make_spec("spos", seed, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))


def test_weights_and_controller_have_a_half_each(tmp_path, monkeypatch):
    task, seen, train, forward = a_task(tmp_path), [], Task.train, NB201Network.forward
    paths: list = []

    def watched(self, network, space, sample, **arguments):
        seen.append(arguments)
        return train(self, network, space, sample, **arguments)

    def recorded(self, x, path, cache=None):
        if torch.is_grad_enabled():
            paths.append(path)
        return forward(self, x, path, cache)

    monkeypatch.setattr(Task, "train", watched)
    monkeypatch.setattr(NB201Network, "forward", recorded)
    Enas(aggregate=3)(task)
    first, second = task.loaders.train.halves()
    assert torch.equal(seen[0]["loader"]._windows, first._windows)
    assert torch.equal(seen[0]["architecture"].loader._windows, second._windows)
    assert len(paths) == 10 == 2 * (HALF // 128)
    assert all(path in NB201 for path in paths)


def test_with_the_official_split_the_controller_has_the_validation_images(tmp_path, monkeypatch):
    """Twice as many steps of the weights, on all training images; rewards from a fifth as many others, in turns."""
    task, seen, train = a_task(tmp_path), [], Task.train
    learned = task.loaders.train.halves()[1]
    task = replace(task, loaders=replace(task.loaders, learned=learned))

    def watched(self, *args, **options):
        seen.append(options)
        return train(self, *args, **options)

    monkeypatch.setattr(Task, "train", watched)
    Enas(aggregate=3)(task)
    assert seen[0]["loader"] is task.loaders.train
    architecture = seen[0]["architecture"]
    assert architecture.loader.loader is learned and architecture.paths == len(task.loaders.train) == 10
    assert task.work.budget.counts["search"]["images_trained"] == 128 * 20


def test_work_is_counted(tmp_path):
    task = a_task(tmp_path)
    Enas(aggregate=3)(task)
    counts = task.work.budget.counts["search"]
    samples = 2 * 2 * 3  # epochs, steps, archs of a step
    assert counts["train_steps"] == counts["backward_paths"] == 10
    assert counts["images_trained"] == 128 * 10
    assert counts["archs_scored"] >= samples and counts["forward_paths"] == 10 + counts["archs_scored"]
    assert set(task.work.budget.counts["report"].values()) == {0}


@pytest.mark.parametrize(("asked", "n"), [(0, 40), (70, 70)])
def test_picks_among_archs_of_the_controller_and_ranks_by_probability(tmp_path, asked, n):
    task = replace(a_task(tmp_path), candidates=asked)
    method = Enas(candidates=40, lr=0.05)
    output = method(task)
    controller = method.controller(task)
    first, second = task.loaders.train.halves()
    architecture = LearningController(Reinforce(controller), second, paths=5, steps=2, aggregate=20)
    fresh = controller.start.detach().clone()
    task.train(  # loads the finished phase
        task.build(NB201), NB201, architecture.path, phase="train", epochs=2, architecture=architecture, loader=first
    )
    assert not torch.equal(fresh, controller.start)
    candidates, ranking = output.tables
    assert np.array_equal(candidates.archs, controller.sample_distinct(task.rng("candidates"), n))
    assert output.pick == tuple(candidates.archs[np.argmax(candidates.scores)].tolist())
    assert np.array_equal(ranking.archs, task.report.archs)
    assert np.array_equal(ranking.scores, controller.arch_scores(task.report.archs))
    for table, name in ((candidates, "candidates"), (ranking, "sample")):
        assert (table.set, table.stage, table.epoch) == (name, 1, 2)
    assert [(line["stage"], line["epoch"]) for line in output.history] == [(1, 1), (1, 2)]
