from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.spos import Spos
from senas_bench.progress import SilentProgress
from senas_bench.ranking.score_archs import score_archs
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.recipe import TrainingRecipe

EMBEDDED = PRESETS["embedded"]


def a_task(folder, recipe: str = "reference", seed: int = 0, **changes):
    """A task of two epochs of 5 steps, on 60 archs and 50 images."""
    recipes = {
        name: TrainingRecipe((1, 0, 1), 256, lr=lr, snapshots=3, **changes)
        for name, lr in (("reference", 0.1), ("tuned", 0.2))
    }
    sizes = replace(
        EMBEDDED, channels=4, score_images=50, score_batch=50, rank_archs=60, recipes=recipes, curve_points=0
    )
    task = make_task(make_spec("spos", seed, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))
    return replace(task, recipe=recipes[recipe])


def test_stages_are_trained_without_a_break(tmp_path):
    output = Spos()(a_task(tmp_path))
    assert [(line["stage"], line["epoch"]) for line in output.history] == [(1, 1), (1, 2)]
    (table,) = output.tables
    assert (table.set, table.stage, table.epoch, table.tiers) == ("sample", 1, 2, None)


def test_rank_picks_the_best_of_the_ranked_archs(tmp_path):
    task = a_task(tmp_path)
    output = Spos(estimator="snapshot-loglik")(task)
    (table,) = output.tables
    assert np.array_equal(table.archs, task.report.archs)
    assert output.pick == tuple(table.archs[np.argmax(table.scores)].tolist())
    assert (table.scores < 0).all() and len(set(table.scores.tolist())) > 30
    assert set(task.work.budget.counts["report"].values()) == {0}


@pytest.mark.slow
def test_evolution_searches_the_whole_space_and_ranks_for_the_report(tmp_path, monkeypatch):
    task, asked = a_task(tmp_path), []
    estimate = type(task).estimate

    def watched(self, trained, archs, estimator, label, *, purpose, alike=False):
        asked.append((label, purpose, [tuple(row) for row in archs.tolist()]))
        return estimate(self, trained, archs, estimator, label, purpose=purpose)

    monkeypatch.setattr(type(task), "estimate", watched)
    output = Spos(search="evolution", estimator="snapshot-loglik", evolution=Evolution(12, 3, 4))(task)
    report = [archs for label, purpose, archs in asked if purpose == "report"]
    searched = [archs for label, purpose, archs in asked if purpose == "search"]
    assert report == [[tuple(row) for row in task.report.archs.tolist()]]
    assert [len(archs) for archs in searched] == [12] * 3
    assert len(set().union(*searched)) == 36
    assert len({label for label, *_ in asked}) == 4
    assert output.pick in NB201
    assert task.work.budget.counts["search"]["archs_scored"] > 0
    network = task.build(task.space)
    trained = task.train(network, task.space, lambda rng: [], phase="train", epochs=2)  # loads the finished phase
    archs = list(chain(*searched))
    scores = estimate(task, trained, np.array(archs, np.int8), "snapshot-loglik", "again", purpose="report")
    assert output.pick == archs[int(np.argmax(scores))]


def test_untrained_is_the_random_supernet(tmp_path):
    task = a_task(tmp_path)
    (table,) = Spos(estimator="snapshot-loglik", trained=False)(task).tables
    assert table.epoch == 0
    expected = score_archs(task.build(NB201), task.report.archs, task.evaluation)[1]
    np.testing.assert_allclose(table.scores, expected, rtol=0, atol=1e-6)
    assert task.work.budget.counts["search"]["train_steps"] == 0


@pytest.mark.slow
def test_training_depends_on_the_recipe(tmp_path):
    tables = []
    for recipe in ("reference", "tuned"):
        (tmp_path / recipe).mkdir()
        output = Spos(recipe=recipe, estimator="snapshot-loglik")(a_task(tmp_path / recipe, recipe))
        tables.append(output.tables[0].scores)
        assert output.history[0]["lr"] == pytest.approx({"reference": 0.1, "tuned": 0.2}[recipe], rel=1e-3)
    assert (tables[0] != tables[1]).any()


@pytest.mark.parametrize(("sampling", "per_path"), [("tied", 1), ("per_cell", 3)])
def test_sampling_of_the_recipe(tmp_path, monkeypatch, sampling, per_path):
    paths, forward = [], NB201Network.forward

    def watched(self, x, path, cache=None):
        if torch.is_grad_enabled():
            paths.append([path] if isinstance(path[0], int) else list(path))
        return forward(self, x, path, cache)

    monkeypatch.setattr(NB201Network, "forward", watched)
    Spos()(a_task(tmp_path, sampling=sampling))
    assert len(paths) == 10
    assert all(len(path) == per_path and all(arch in NB201 for arch in path) for path in paths)
    assert len({arch for path in paths for arch in path}) >= 9 * per_path


def test_unknown_search():
    with pytest.raises(ValueError, match="unknown search 'greedy'; one of: rank, evolution"):
        Spos(search="greedy")
