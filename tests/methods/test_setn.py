from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.setn import Setn, top_archs
from senas_bench.networks.mixture import Mixture
from senas_bench.progress import SilentProgress
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201, prune_arch
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.spaces.paths import UniformPath
from senas_bench.tasks.task import Task
from senas_bench.training.bilevel import Alphas, LearningAlphas
from senas_bench.training.recipe import TrainingRecipe

HALF = (1797 - 400) // 2


def a_task(folder, batch: int = 128, epochs: int = 2, **changes) -> Task:
    sizes = replace(
        PRESETS["embedded"],
        channels=4,
        score_images=100,
        score_batch=50,
        rank_archs=60,
        recipes={"reference": TrainingRecipe((epochs,), batch, snapshots=1, **{"clip": 0.0, **changes})},
    )
    return make_task(make_spec("spos", 0, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))


@pytest.fixture
def trainings(monkeypatch):
    """What `Task.train` was called with."""
    seen, train = [], Task.train

    def watched(self, network, space, sample, **arguments):
        seen.append({"network": network, "space": space, "sample": sample, **arguments})
        return train(self, network, space, sample, **arguments)

    monkeypatch.setattr(Task, "train", watched)
    return seen


def spread(task: Task) -> Alphas:
    """Alphas that are far from uniform, in place of the method's."""
    alphas, _ = task.alphas(NB201, "alphas", lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    with torch.no_grad():
        alphas.logits[:, 0] = 20
    return alphas


@pytest.mark.slow
def test_weights_learn_on_uniform_archs_whatever_the_alphas_are(tmp_path, trainings, monkeypatch):
    task, paths, forward = a_task(tmp_path, batch=32, epochs=3), [], NB201Network.forward
    alphas = spread(task)
    monkeypatch.setattr(Task, "alphas", lambda task, *_, **settings: (alphas, task.loaders.train.halves()[0]))

    def watched(self, x, path, cache=None):
        if torch.is_grad_enabled():
            paths.append(path)
        return forward(self, x, path, cache)

    monkeypatch.setattr(NB201Network, "forward", watched)
    Setn()(task)
    assert trainings[0]["sample"] == UniformPath(NB201, 0)
    steps = 3 * (HALF // 32)
    mixtures, single = paths[0::2], paths[1::2]  # in turn
    assert len(mixtures) == len(single) == steps
    assert all(isinstance(path, Mixture) and path.weights.shape == (6, 5) for path in mixtures)
    assert all(path in NB201 for path in single)
    counts = np.stack([np.bincount(column, minlength=5) for column in np.array(single).T])
    assert counts.min() > 0.3 * steps / 5  # the alphas would draw operator 0 alone
    assert float(mixtures[-1].weights.detach()[:, 0].min()) > 0.99


def test_each_half_has_its_learner(tmp_path, trainings):
    task = a_task(tmp_path)
    Setn(candidates=5)(task)
    first, second = task.loaders.train.halves()
    assert torch.equal(trainings[0]["loader"]._windows, first._windows)
    assert torch.equal(trainings[0]["architecture"].alphas.loader._windows, second._windows)
    assert len(first._windows) == HALF and not torch.equal(first._windows, second._windows)


def test_with_the_official_split_the_alphas_have_the_validation_images(tmp_path, trainings):
    task = a_task(tmp_path)
    learned = task.loaders.train.halves()[1]
    task = replace(task, loaders=replace(task.loaders, learned=learned))
    Setn(candidates=5)(task)
    assert trainings[0]["loader"] is task.loaders.train
    loader = trainings[0]["architecture"].alphas.loader
    assert loader.loader is learned and len(loader) == len(task.loaders.train) > len(learned)


def test_alphas_move_and_the_weights_do_not_when_only_alphas_step(tmp_path, trainings):
    """The rate of the weights is 0, so whatever moved was moved by the step of the alphas."""
    task = a_task(tmp_path, lr=0.0, lr_min=0.0)
    before = dict(task.build(NB201).named_parameters())
    Setn(candidates=5)(task)
    after = dict(trainings[0]["network"].named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    start, _ = task.alphas(NB201, "alphas", lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    assert (trainings[0]["architecture"].alphas.logits != start.logits).all()


def test_a_step_touches_one_path(tmp_path, trainings):
    task = a_task(tmp_path, batch=HALF, epochs=1, weight_decay=0.1)
    before = dict(task.build(NB201).named_parameters())
    sampled: list = []
    uniform = UniformPath.__call__

    class Watched(UniformPath):
        def __call__(self, rng):
            sampled.extend(uniform(self, rng))
            return sampled[-1:]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("senas_bench.spaces.space.UniformPath", Watched)
        Setn(candidates=5)(task)
    (path,) = sampled
    live = prune_arch(path)
    for name, weight in trainings[0]["network"].named_parameters():
        edge = int(name.split(".choices.")[1].split(".")[0]) if ".copies." in name else None
        on_path = edge is None or name.split(".copies.")[1].startswith(f"{live[edge]}.")
        assert torch.equal(weight, before[name]) != on_path, name


def test_work_is_counted(tmp_path):
    """Per step: a path of the weights, and a mixture of five on as many images again."""
    task = a_task(tmp_path)
    Setn()(task)
    steps, counts = 2 * (HALF // 128), task.work.budget.counts["search"]
    assert counts["train_steps"] == steps
    assert counts["images_trained"] == 2 * 128 * steps
    assert counts["backward_paths"] == 6 * steps
    assert counts["forward_paths"] == 6 * steps + counts["archs_scored"]
    assert set(task.work.budget.counts["report"].values()) == {0}


def some_alphas(space: SearchSpace) -> Alphas:
    alphas = Alphas(space, None, torch.Generator().manual_seed(0))
    with torch.no_grad():
        alphas.logits.mul_(1000)  # standard normal
    return alphas


@pytest.mark.parametrize("n", [1, 7, 36, 100])
def test_top_archs_are_those_of_highest_probability(n):
    space = replace(NB201, candidates=((0, 3), (1,), (2, 3, 4), (0, 1, 2), (4,), (1, 3)))
    alphas = some_alphas(space)
    logits = alphas.logits.detach().double().numpy()
    probability = {}
    for arch in product(*space.candidates):
        factors = [
            np.exp(logits[edge, op]) / sum(np.exp(logits[edge, other]) for other in space.candidates[edge])
            for edge, op in enumerate(arch)
        ]
        probability[arch] = np.prod(factors)
    assert sum(probability.values()) == pytest.approx(1)
    ranked = sorted(probability, key=probability.__getitem__, reverse=True)
    assert [tuple(row) for row in top_archs(alphas, space, n).tolist()] == ranked[:n]


def test_the_first_of_the_top_archs_has_the_best_operator_everywhere():
    alphas = some_alphas(NB201)
    top = top_archs(alphas, NB201, 100)
    assert top.shape == (100, 6)
    assert top[0].tolist() == alphas.logits.argmax(1).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "n"), [(0, 100), (30, 30)])
def test_picks_among_the_most_probable_and_ranks_by_probability(tmp_path, asked, n):
    task = replace(a_task(tmp_path), candidates=asked)
    output = Setn(arch_lr=0.1)(task)
    alphas, first = task.alphas(NB201, "alphas", lr=0.1, betas=(0.5, 0.999), weight_decay=1e-3)
    architecture = LearningAlphas(alphas)
    task.train(  # loads the finished phase
        task.build(NB201), NB201, lambda rng: [], phase="train", epochs=2, architecture=architecture, loader=first
    )
    candidates, ranking = output.tables
    assert np.array_equal(candidates.archs, top_archs(alphas, NB201, n))
    assert output.pick == tuple(candidates.archs[np.argmax(candidates.scores)].tolist())
    assert np.array_equal(ranking.scores, alphas.arch_scores(task.report.archs))
    assert ranking.scores.max() - ranking.scores.min() > 1
    for table, name in ((candidates, "candidates"), (ranking, "sample")):
        assert (table.set, table.stage, table.epoch) == (name, 1, 2)
    assert [(line["stage"], line["epoch"]) for line in output.history] == [(1, 1), (1, 2)]
