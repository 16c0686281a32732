from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import CURVE_ARCHS, make_task, report_archs
from senas_bench.methods import se_nas
from senas_bench.methods.se_nas import SeNas
from senas_bench.methods.spos import Spos
from senas_bench.progress import SilentProgress
from senas_bench.ranking.score_archs import score_archs
from senas_bench.shrinking.si import SelectionImportance
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.tasks.curve import ShrinkingCurve
from senas_bench.tasks.outputs import ScoreTable, rows_of
from senas_bench.tasks.report import Curve
from senas_bench.tasks.task import Task
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.result import Observation

TOY = SearchSpace("toy", ("a", "b", "c"), ("1", "2"), ((0, 1, 2), (0, 1)))
ARCHS = np.array([[0, 0], [1, 0], [2, 1], [2, 0]], np.int8)


def test_points_are_spread_evenly_over_every_stage():
    curve = Curve(ARCHS, 4, None)
    assert curve.epochs((20, 20, 20)) == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
    assert Curve(ARCHS, 2, None).epochs((16, 16, 16)) == [8, 16, 24, 32, 40]
    assert curve.epochs((5, 5)) == [2, 3, 4, 5, 7, 8, 9]  # no more than there are
    assert Curve(ARCHS, 3, None).epochs((1, 0, 1)) == [1]
    assert Curve(ARCHS, 1, None).epochs((7,)) == []


def test_rows_of():
    assert rows_of(ARCHS[[3, 1]], ARCHS).tolist() == [3, 1]
    with pytest.raises(KeyError):
        rows_of(np.array([[1, 1]], np.int8), ARCHS)


def test_a_shrinking_curve_by_hand():
    """Two stages of two epochs, one look at the middle and one at the end; operator a leaves edge 1."""

    def seen(*scores):
        return Observation(np.array(scores, float), {}, 0.0)

    curve = ShrinkingCurve(Curve(ARCHS, 2, None), (2, 2))
    assert curve.epochs() == {1, 2}
    curve.take(TOY, ARCHS, {1: seen(1, 2, 3, 4), 2: seen(8, 7, 6, 5)})
    assert curve.epochs() == {1}
    left = TOY.without(0, 0)
    alive = np.array([[2, 1], [1, 1], [1, 0], [2, 0]], np.int8)  # one of them is not in the sample
    curve.take(left, alive, {1: seen(0.1, 0.9, 0.2, 0.3)})
    final = ScoreTable(alive, np.array([4.0, 3.0, 2.0, 1.0]), "current", 2, 4)
    order = [3, 1, 0, 2]
    whole = ScoreTable(ARCHS[order], np.array([1.0, 2.0, 9.0, 4.0]), "full", 2, 4, np.array([0, 0, 1, 0], np.int8))
    tables = {(table.set, table.epoch): table for table in curve.finish(final, whole)}
    assert [*tables] == [(name, epoch) for epoch in (1, 2, 3, 4) for name in ("curve-current", "curve")]
    assert [table.stage for table in tables.values()] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert tables["curve", 2].scores.tolist() == [8, 7, 6, 5] and not tables["curve", 2].tiers.any()
    # the dropped arch keeps the score of the end of stage 1, not of its middle, in a lower tier
    assert tables["curve", 3].scores.tolist() == [8, 0.2, 0.1, 0.3]
    assert tables["curve", 3].tiers.tolist() == [1, 0, 0, 0]
    assert tables["curve-current", 3].archs.tolist() == alive.tolist()
    assert tables["curve", 4].scores.tolist() == [9, 2, 4, 1] and tables["curve", 4].tiers.tolist() == [1, 0, 0, 0]
    assert tables["curve-current", 4].scores is final.scores


def test_a_stage_without_epochs_keeps_the_scores_it_had():
    curve = ShrinkingCurve(Curve(ARCHS, 1, None), (1, 0, 1))
    assert curve.epochs() == {1}
    curve.take(TOY, ARCHS, {1: Observation(np.array([1.0, 2, 3, 4]), {}, 0.0)})
    assert curve.epochs() == set()
    curve.take(TOY.without(0, 0), ARCHS[1:], {})
    curve.take(TOY.without(0, 0).without(0, 1), ARCHS[2:], {})
    assert [values.tolist() for values in curve._ends] == [[1, 2, 3, 4]] * 3


def a_task(folder, curve_points: int = 2, rank_archs: int = 40, **sizes):
    folder.mkdir(exist_ok=True)
    recipe = TrainingRecipe((2, 1, 1), 256, snapshots=2, snapshot_epochs=2)
    preset = replace(
        PRESETS["embedded"],
        channels=4,
        score_images=100,
        score_batch=50,
        rank_archs=rank_archs,
        recipes={"reference": recipe},
        curve_points=curve_points,
        curve_images=50,
        **sizes,
    )
    return make_task(make_spec("spos", 0, "embedded", sizes=preset), Place(folder, progress=SilentProgress()))


def test_a_task_has_the_curve_that_its_spec_asks_for(tmp_path):
    task = a_task(tmp_path)
    assert task.report.curve.points == 2 and task.report.curve.archs is task.report.archs
    assert len(task.report.curve.evaluation.batches) == 1 and len(task.evaluation.batches) == 2
    assert a_task(tmp_path, curve_points=0).report.curve is None
    whole = a_task(tmp_path, rank_archs=0)
    assert len(whole.report.archs) == NB201.size
    assert (
        np.array_equal(whole.report.curve.archs, report_archs(NB201, CURVE_ARCHS))
        and len(whole.report.curve.archs) == 500
    )


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["weight-average", "snapshot-loglik"])
def test_spos_is_looked_at_with_the_weights_of_the_moment(tmp_path, monkeypatch, estimator):
    task, epochs, expected = a_task(tmp_path), [], {}
    plain = Spos(estimator=estimator)(a_task(tmp_path / "plain", curve_points=0))
    look = Task._look

    def watched(self, network, space, watch, phase, epoch):
        scores = look(self, network, space, watch, phase, epoch)
        if scores is not None:
            accuracy, loglik, _ = score_archs(network, watch.archs, self.report.curve.evaluation)
            expected[epoch] = accuracy if estimator == "weight-average" else loglik
        epochs.append(epoch)
        return scores

    monkeypatch.setattr(Task, "_look", watched)
    output = Spos(estimator=estimator)(task)
    final, *curve = output.tables
    assert epochs == [1, 2, 3, 4]
    assert [(table.set, table.epoch) for table in curve] == [("curve", epoch) for epoch in (1, 2, 3, 4)]
    for table in curve[:-1]:
        np.testing.assert_allclose(table.scores, expected[table.epoch])
    assert np.array_equal(curve[-1].scores, final.scores)  # the last point is the final ranking
    assert np.array_equal(final.scores, plain.tables[0].scores) and output.pick == plain.pick
    assert task.work.budget.counts["report"]["forward_paths"] > 0
    assert task.work.budget.counts["search"]["forward_paths"] < task.work.budget.counts["report"]["forward_paths"] * 100


@pytest.mark.slow
def test_se_nas_with_a_curve_finds_what_it_finds_without(tmp_path, monkeypatch):
    monkeypatch.setattr(se_nas, "RANK_LIMIT", 60)
    method = SeNas(criterion=SelectionImportance(per_operator=4))
    outputs = [method(a_task(tmp_path / str(points), curve_points=points)) for points in (0, 1)]
    plain, curved = outputs
    assert plain.pick == curved.pick and plain.history == curved.history
    final = [table for table in curved.tables if not table.set.startswith("curve")]
    assert len(final) == len(plain.tables)
    for one, other in zip(plain.tables, final, strict=True):
        assert np.array_equal(one.scores, other.scores) and np.array_equal(one.archs, other.archs)
    curve = [table for table in curved.tables if table.set == "curve"]
    assert [(table.stage, table.epoch) for table in curve] == [(1, 2), (2, 3), (3, 4)]
    spaces = [SimpleNamespace(candidates=NB201.candidates)]
    spaces += [SimpleNamespace(**line) for line in curved.history if "candidates" in line]
    for stage, table in enumerate(curve):
        alive = [
            all(op in alive for op, alive in zip(row, spaces[stage].candidates, strict=True))
            for row in table.archs.tolist()
        ]
        assert np.array_equal(table.tiers == 0, alive)
    whole = curved.tables[-1 - sum(table.set.startswith("curve") for table in curved.tables)]
    assert np.array_equal(curve[-1].scores, whole.scores[rows_of(curve[-1].archs, whole.archs)])


def test_untrained_has_no_curve(tmp_path):
    (table,) = Spos(trained=False)(a_task(tmp_path)).tables
    assert table.set == "sample"


def test_a_look_pays_for_the_report_and_for_nothing_of_the_search(tmp_path):
    """Proxies remember what they scored: what a curve asked for first, the ranking pays for all the same."""
    counts = {}
    for points in (0, 2):
        task = a_task(tmp_path / str(points), curve_points=points, rank_archs=12)
        Spos(estimator="snip")(task)
        counts[points] = task.work.budget.counts
    assert counts[0]["search"] == counts[2]["search"] and counts[0]["search"]["archs_scored"] > 0
    assert counts[2]["report"]["archs_scored"] > 0
