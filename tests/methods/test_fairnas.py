from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.fairnas import FairNas
from senas_bench.progress import SilentProgress
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
