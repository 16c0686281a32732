from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.rsps import Rsps
from senas_bench.progress import SilentProgress
from senas_bench.ranking.score_archs import score_archs
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.paths import UniformPath
from senas_bench.tasks.task import Task
from senas_bench.training.connected import ConnectedPath
from senas_bench.training.recipe import TrainingRecipe


def a_task(folder, **changes) -> Task:
    """Two epochs of 5 steps; two batches of 50 images to score on."""
    sizes = replace(
        PRESETS["embedded"],
        channels=4,
        score_images=100,
        score_batch=50,
        rank_archs=60,
        recipes={"reference": TrainingRecipe((1, 0, 1), 256, snapshots=1, **changes)},
    )
    return make_task(make_spec("spos", 0, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))


@pytest.mark.parametrize(("sampling", "cells"), [("tied", 0), ("per_cell", 3)])
def test_trains_on_connected_paths_and_all_images(tmp_path, monkeypatch, sampling, cells):
    task, seen, train = a_task(tmp_path, sampling=sampling), [], Task.train

    def watched(self, network, space, sample, **arguments):
        seen.append((space, sample, arguments.get("loader"), arguments.get("architecture")))
        return train(self, network, space, sample, **arguments)

    monkeypatch.setattr(Task, "train", watched)
    output = Rsps()(task)
    assert seen == [(task.space, ConnectedPath(task.space, cells), None, None)]
    counts = task.work.budget.counts["search"]
    assert (counts["train_steps"], counts["images_trained"], counts["backward_paths"]) == (10, 2560, 10)
    assert [(line["stage"], line["epoch"]) for line in output.history] == [(1, 1), (1, 2)]


def test_without_redrawing_paths_are_uniform(tmp_path, monkeypatch):
    """Every operator on a fifth of the edges, `none` among them; with it, no node has only `none` before it."""
    task, seen, train = a_task(tmp_path), [], Task.train

    def watched(self, network, space, sample, **arguments):
        seen.append(sample)
        return train(self, network, space, sample, **arguments)

    monkeypatch.setattr(Task, "train", watched)
    Rsps(redraw=False, candidates=5)(task)
    assert seen == [UniformPath(task.space, 0)]
    rng = np.random.default_rng(0)
    plain, redrawn = (
        np.array([sample(rng)[0] for _ in range(4000)]) for sample in (seen[0], ConnectedPath(task.space, 0))
    )
    assert np.abs(np.bincount(plain.ravel(), minlength=5) / plain.size - 0.2).max() < 0.01
    assert (redrawn[:, 0] != 0).all() and 0.18 < (plain[:, 0] == 0).mean() < 0.22


@pytest.mark.parametrize(("asked", "n", "images"), [(0, 40, 50), (70, 70, 100)])
def test_picks_the_best_of_random_archs(tmp_path, asked, n, images):
    """On one batch where the number is the method's own, on all where it is the task's."""
    task = replace(a_task(tmp_path), candidates=asked)
    output = Rsps(candidates=40)(task)
    candidates, ranking = output.tables
    assert (candidates.set, candidates.stage, candidates.epoch) == ("candidates", 1, 2)
    assert len(np.unique(candidates.archs, axis=0)) == len(candidates.archs) == n
    assert candidates.archs.std(0).min() > 1  # five operators on each edge
    assert output.pick == tuple(candidates.archs[np.argmax(candidates.scores)].tolist())
    search = task.work.budget.counts["search"]
    assert search["images_scored"] == images * search["archs_scored"]
    assert (ranking.set, ranking.stage, ranking.epoch) == ("sample", 1, 2)
    assert np.array_equal(ranking.archs, task.report.archs)


def test_ranks_with_the_last_weights(tmp_path):
    task = a_task(tmp_path)
    _, ranking = Rsps(candidates=5)(task).tables
    network = task.build(NB201)
    task.train(network, NB201, lambda rng: [], phase="train", epochs=2)  # loads the finished phase
    accuracy, _, distinct = score_archs(network, task.report.archs, task.evaluation)
    np.testing.assert_allclose(ranking.scores, accuracy, rtol=0, atol=1e-9)
    assert task.work.budget.counts["report"]["archs_scored"] == distinct
