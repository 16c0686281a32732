"""The second step of a search: who is trained, how long, what it costs, who is picked."""

from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.finalists import Finalists, OnePath, best_functions
from senas_bench.methods.spos import Spos
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NB201, NONE, SKIP
from senas_bench.tasks.outputs import ScoreTable
from senas_bench.training.recipe import TrainingRecipe

DIRECT = (NONE, NONE, NONE, CONV3, NONE, NONE)
SAME = (CONV1, NONE, NONE, CONV3, NONE, NONE)  # its 1x1 convolution leads nowhere
CUT = (CONV3, NONE, NONE, NONE, NONE, NONE)
SHORT = (NONE, NONE, NONE, SKIP, NONE, NONE)


@pytest.fixture
def task(tmp_path):
    sizes = replace(
        PRESETS["embedded"],
        channels=2,
        held_out=1600,
        score_images=50,
        score_batch=50,
        calibration_images=50,
        rank_archs=6,
        recipes={"reference": TrainingRecipe((1, 2), 64, snapshots=1, lr_min=0.1)},
        curve_points=0,
    )
    return make_task(make_spec("spos", 0, "embedded", sizes=sizes), Place(tmp_path))


def table(*pairs):
    archs, scores = zip(*pairs, strict=True)
    return ScoreTable(np.array(archs, np.int8), np.array(scores), "full", 1, 3)


def test_the_best_that_are_no_two_the_same_function():
    ranked = table((SHORT, 1.0), (DIRECT, 3.0), (SAME, 4.0), (CUT, 9.0))
    assert best_functions(NB201, ranked, 5) == [SAME, SHORT]
    assert best_functions(NB201, ranked, 1) == [SAME]


def test_each_is_trained_alone_and_the_one_that_validates_best_is_picked(task):
    pick, found = Finalists(2, epochs=3)(task, table((SHORT, 5.0), (DIRECT, 3.0), ((CONV3,) * 6, 1.0)))
    assert found.set == "candidates" and [tuple(row) for row in found.archs.tolist()] == [SHORT, DIRECT]
    assert pick == tuple(found.archs[int(np.argmax(found.scores))].tolist()) and (found.scores >= 0).all()
    counts = task.work.budget.counts["search"]
    steps = len(task.loaders.train)
    assert counts["train_steps"] == 2 * 3 * steps and counts["images_trained"] == 2 * 3 * steps * 64
    held_out = sum(len(y) for _, y in task.loaders.valid)
    assert held_out == 1600 and counts["images_scored"] == 2 * held_out
    cost = np.rint(task.problem.cost(found.archs)["flops_m"] * 1e6).sum()
    assert counts["multiply_adds"] == cost * (3 * 3 * steps * 64 + held_out)
    assert not any(task.work.budget.counts["report"].values())


def test_the_rate_runs_to_0(task, monkeypatch):
    seen = {}

    def train(self, network, space, sample, *, phase, epochs, **rest):
        seen[phase] = (self.recipe, epochs, sample(None), network.skip_dead_edges)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(task), "train", train)
    with pytest.raises(KeyboardInterrupt):
        Finalists(1, epochs=3, lr=0.2)(task, table((DIRECT, 1.0)))
    recipe = replace(task.recipe, stage_epochs=(3,), lr=0.2, lr_min=0.0, lr_horizon=0)
    assert seen == {"alone-0-0-0-3-0-0".replace("3", str(CONV3)): (recipe, 3, [DIRECT], False)}


def test_a_search_ends_with_them(task):
    output = Spos(finalists=Finalists(3, epochs=1))(task)
    whole, finalists = output.tables
    best = best_functions(NB201, whole, 3)
    assert [tuple(row) for row in finalists.archs.tolist()] == best and output.pick in best
    assert output.pick == best[int(np.argmax(finalists.scores))]


def test_what_is_refused():
    for wrong in ({"count": 0}, {"epochs": 0}, {"lr": 0.0}):
        with pytest.raises(ValueError, match="a count, epochs and a rate above 0"):
            Finalists(**wrong)


def test_a_training_alone_is_shared_by_whoever_trains_that_arch():
    assert OnePath(DIRECT).identity() == ["one", list(DIRECT)] != OnePath(SAME).identity()
