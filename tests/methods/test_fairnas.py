from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.fairnas import FairNas
from senas_bench.progress import SilentProgress
from senas_bench.spaces.mobilenet import MOBILENET_FAIR
from senas_bench.tasks.task import Task
from senas_bench.training.fair import FairPaths
from senas_bench.training.recipe import TrainingRecipe


def a_task(folder, **changes) -> Task:
    """Two epochs of 5 steps, 60 archs to rank on 50 images."""
    recipe = TrainingRecipe((1, 0, 1), 256, snapshots=3, **changes)
    sizes = replace(
        PRESETS["embedded"],
        channels=4,
        score_images=50,
        score_batch=50,
        rank_archs=60,
        recipes={"reference": recipe},
    )
    return make_task(make_spec("spos", 0, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))


@pytest.mark.slow
@pytest.mark.parametrize(("sampling", "cells"), [("tied", 0), ("per_cell", 3)])
def test_trains_on_fair_paths(tmp_path, monkeypatch, sampling, cells):
    task, seen, train = a_task(tmp_path, sampling=sampling), [], Task.train

    def watched(self, network, space, sample, **arguments):
        seen.append((space, sample, arguments.get("loader")))
        return train(self, network, space, sample, **arguments)

    monkeypatch.setattr(Task, "train", watched)
    output = FairNas()(task)
    assert seen == [(task.space, FairPaths(task.space, cells), None)]
    counts = task.work.budget.counts["search"]
    assert counts["train_steps"] == 10 and counts["images_trained"] == 2560
    assert counts["backward_paths"] == 5 * 10
    assert counts["forward_paths"] == 5 * 10 + counts["archs_scored"]
    assert [(line["stage"], line["epoch"]) for line in output.history] == [(1, 1), (1, 2)]


@pytest.mark.slow
def test_picks_the_best_of_the_ranked_archs(tmp_path):
    task = a_task(tmp_path)
    output = FairNas(estimator="snapshot-loglik")(task)
    (table,) = output.tables
    assert (table.set, table.stage, table.epoch) == ("sample", 1, 2)
    assert np.array_equal(table.archs, task.report.archs)
    assert len(set(table.scores.tolist())) > 30
    assert output.pick == tuple(table.archs[np.argmax(table.scores)].tolist())
    assert set(task.work.budget.counts["report"].values()) == {0}


def test_a_space_with_unequal_edges(tmp_path):
    task = a_task(tmp_path)
    with pytest.raises(ValueError, match="as many candidates on every edge"):
        FairNas()(replace(task, problem=replace(task.problem, space=task.space.without(0, 0))))


def test_operators_of_the_mobilenet_like_space_are_trained_equally_often():
    """After any number of steps, on each of the 21 layers."""
    paths, rng = FairPaths(MOBILENET_FAIR), np.random.default_rng(0)
    counts = np.zeros((21, 6), int)
    for step in range(1, 8):
        archs = np.array(paths(rng))
        assert archs.shape == (6, 21)
        for arch in archs:
            counts[np.arange(21), arch] += 1
        assert (counts == step).all()


@pytest.mark.slow
def test_even_work_divides_the_epochs_by_the_paths(tmp_path):
    """Five paths a step and six epochs: one epoch, whose rate goes down its own line."""
    task = a_task(tmp_path)
    task = replace(task, recipe=replace(task.recipe, stage_epochs=(2, 2, 2), lr_restarts=False, lr_horizon=0))
    output = FairNas(even=True)(task)
    assert [line["epoch"] for line in output.history] == [1] and output.tables[0].epoch == 1
    assert task.work.budget.counts["search"]["backward_paths"] == 5 * 5
    assert output.history[0]["lr"] < task.recipe.lr / 4


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="unknown search 'walk'; one of: rank, evolution"):
        FairNas(search="walk")
