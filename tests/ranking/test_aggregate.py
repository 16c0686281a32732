"""Aggregates: percentiles in a reference sample, worked out by hand, and what a run keeps of them."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.spec import settings_of
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.spos import Spos
from senas_bench.progress import SilentProgress
from senas_bench.ranking import ESTIMATORS, knows_size, needs_snapshots
from senas_bench.ranking.aggregate import Aggregate, Size, percentiles
from senas_bench.ranking.estimator import Estimator, Reference, together
from senas_bench.ranking.partial import Partial
from senas_bench.ranking.snapshots import NOBODY, Watcher
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.tasks.look import look
from senas_bench.tasks.method import check_method
from senas_bench.tasks.report import Report, reference_archs
from senas_bench.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class Column(Estimator):
    """The operator on an edge, times a sign; it notes how many archs it was asked about."""

    edge: int
    sign: int = 1
    fails: bool = False

    def __call__(self, trained, archs, evaluation, cost, watcher=NOBODY):
        ASKED.append((self.edge, len(archs)))
        if self.fails:
            raise KeyboardInterrupt
        return self.sign * archs[:, self.edge].astype(float), {"archs_scored": len(archs), "forward_paths": len(archs)}


ASKED: list[tuple[int, int]] = []


@pytest.fixture(autouse=True)
def forget():
    ASKED.clear()


def weights(*parts, archs):
    told = {str(part): Reference(part, archs, part(None, archs, None, None)[0]) for part in parts}
    ASKED.clear()
    return SimpleNamespace(references=told)


def test_percentiles_by_hand():
    """Of the sample 1, 2, 2, 4: places 1/8, 4/8 (the mean of 3/8 and 5/8), 7/8; half-way between two, half-way."""
    sample = np.array([4.0, 2.0, 1.0, 2.0])
    assert percentiles(np.array([1.0, 2.0, 4.0, 3.0]), sample).tolist() == [1 / 8, 4 / 8, 7 / 8, (4 + 7) / 16]


def test_beyond_the_sample_its_deviation_is_the_scale():
    """0 and 10 are at 1/4 and 3/4 and deviate by 5 from their mean: 4 beyond them is 4/5 of that."""
    sample = np.array([0.0, 10.0])
    assert percentiles(np.array([14.0]), sample) == pytest.approx(1 - 0.25 * np.exp(-4 / 5))
    assert percentiles(np.array([-4.0]), sample) == pytest.approx(0.25 * np.exp(-4 / 5))


def test_percentiles_grow_strictly_and_stay_between_0_and_1():
    sample = np.random.default_rng(0).normal(size=200)
    scores = np.sort(np.concatenate([sample, np.linspace(-9, 9, 400)]))
    found = percentiles(scores, sample)
    assert (np.diff(found)[np.diff(scores) > 0] > 0).all() and found[0] > 0 and found[-1] < 1
    assert percentiles(scores[::-1], sample)[::-1].tolist() == found.tolist()


def test_archs_that_are_cut_off_stand_at_the_bottom_of_the_sample():
    """Of -inf, -inf, 0, 1 the finite ones are at 5/8 and 7/8, those cut off half-way up the half that is theirs."""
    sample = np.array([-np.inf, 0.0, -np.inf, 1.0])
    found = percentiles(np.array([-np.inf, -1000.0, 0.0, 1.0]), sample)
    assert found[[0, 2, 3]].tolist() == [1 / 4, 5 / 8, 7 / 8] and 1 / 4 < found[1] < 5 / 8


def test_archs_far_out_of_the_sample_keep_their_side_and_those_cut_off_stand_below_them():
    """A sample without any that is cut off says nothing of how far down these are."""
    sample = np.array([0.0, 1.0])
    far = percentiles(np.array([-np.inf, -1e9, -300.0, -9.0, 0.0, 1.0, 15.0, 1e9]), sample)
    assert (np.diff(far) > 0).all() and far[0] > 0 and far[-1] < 1 and np.isfinite(np.log(far)).all()
    assert far[3:6].tolist() == [0.25 * np.exp(-18.0), 1 / 4, 3 / 4]  # the deviation of the sample is 1/2


@pytest.mark.parametrize(
    ("scores", "sample"), [([np.nan], [0.0, 1.0]), ([0.0], [np.nan, 1.0]), ([0.0], [-np.inf, -np.inf])]
)
def test_what_has_no_rank(scores, sample):
    with pytest.raises(ValueError, match="no rank"):
        percentiles(np.array(scores), np.array(sample))


def test_the_mean_of_log_percentiles():
    """Edge 0 of the four archs is 0, 1, 2, 3; edge 1 the other way round, so that percentiles are p and 1 - p."""
    archs = np.array([[0, 3], [1, 2], [2, 1], [3, 0]], np.int8)
    one, other = Column(0), Column(1)
    shares = np.array([1, 3, 5, 7]) / 8
    for parts, rule, expected in (
        ((one,), "log-rank", np.log(shares)),
        ((one, other), "log-rank", (np.log(shares) + np.log(1 - shares)) / 2),
        ((one, other), "rank", np.log(np.full(4, 0.5))),
    ):
        scores, _ = Aggregate(parts, 4, rule)(weights(*parts, archs=archs), archs, None, None)
        np.testing.assert_allclose(scores, expected)


def test_a_score_depends_on_the_arch_alone():
    archs, part = NB201.sample_distinct(np.random.default_rng(0), 40), Column(2)
    aggregate, told = Aggregate((part, Column(4))), weights(part, Column(4), archs=archs[:20])
    whole = aggregate(told, archs, None, None)[0]
    for some in ([3], [30, 2], list(range(39, 10, -1))):
        assert aggregate(told, archs[some], None, None)[0].tolist() == whole[some].tolist()


def test_archs_of_the_sample_are_scored_once():
    archs, part = NB201.sample_distinct(np.random.default_rng(0), 30), Column(2)
    scores, work = Aggregate((part,))(weights(part, archs=archs[:20]), archs, None, None)
    assert ASKED == [(2, 10)] and work == {"archs_scored": 10, "forward_paths": 10} and len(scores) == 30
    ASKED.clear()
    assert Aggregate((part,))(weights(part, archs=archs), archs[5:], None, None)[1] == {} and not ASKED


def test_the_price_of_several_is_known_where_each_told_its_own():
    """One of 5 multiply-adds for which 8 were asked, one of 3, and one that runs nothing."""
    first, second = {"multiply_adds": 5, "nominal_multiply_adds": 8}, {"forward_paths": 1, "multiply_adds": 3}
    whole = {"forward_paths": 1, "multiply_adds": 8, "nominal_multiply_adds": 11, "archs_scored": 0}
    assert together([first, second, {"archs_scored": 0, "forward_paths": 0}]) == whole
    assert together([first, {"forward_paths": 2}]) == {"forward_paths": 2}


def test_a_part_that_is_done_is_kept(tmp_path):
    archs, parts = NB201.sample_distinct(np.random.default_rng(0), 9), (Column(1), Column(2))
    told, watcher = weights(*parts, archs=archs[:3]), Watcher(partial=Partial(tmp_path / "ranking.arrays"))
    whole = Aggregate(parts)(told, archs, None, None)
    ASKED.clear()
    broken = replace(parts[1], fails=True)
    told.references[str(broken)] = replace(told.references[str(parts[1])], estimator=broken)
    with pytest.raises(KeyboardInterrupt):
        Aggregate((parts[0], broken))(told, archs, None, None, watcher)
    scores, work = Aggregate(parts)(told, archs, None, None, watcher)
    assert ASKED == [(1, 6), (2, 6), (2, 6)]
    assert scores.tolist() == whole[0].tolist() and work == whole[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (((),), "no parts"),
        (("params",), "no parts"),
        ((("params",), 1), "ranks nothing"),
        ((("params",), 9, "sum"), "unknown rule"),
    ],
)
def test_what_is_refused(arguments, why):
    with pytest.raises(ValueError, match=why):
        Aggregate(*arguments)


def test_it_is_what_its_parts_are():
    assert needs_snapshots(Aggregate(("snapshot-loglik", "params"))) and knows_size(
        Aggregate(("snapshot-loglik", "params"))
    )
    assert not needs_snapshots(Aggregate(("weight-average",))) and not knows_size(Aggregate(("weight-average",)))
    with pytest.raises(ValueError, match="unknown estimator 'parms'"):
        check_method("mine", Spos(estimator=Aggregate(("parms",))))
    with pytest.raises(ValueError, match="is a class"):
        check_method("mine", Spos(estimator=Aggregate((Size,))))  # type: ignore[arg-type]


def test_a_spec_holds_its_parts():
    settings = settings_of(Spos(estimator=Aggregate(("snapshot-loglik", Size("params")))))
    assert settings["estimator"]["parts"] == ["snapshot-loglik", {"kind": "Size", "cost": "params"}]


def test_size_is_the_cost():
    cost = {"params": np.array([3, 1]), "flops_m": np.array([0.5, 2.0])}
    assert Size("params")(None, NB201.archs()[:2], None, lambda archs: cost)[0].tolist() == [3.0, 1.0]
    assert ESTIMATORS["flops"](None, NB201.archs()[:2], None, lambda archs: cost)[0].tolist() == [0.5, 2.0]


@pytest.fixture
def task(tmp_path):
    sizes = replace(
        PRESETS["embedded"],
        channels=2,
        held_out=1700,
        score_images=50,
        score_batch=50,
        calibration_images=50,
        rank_archs=150,
        recipes={"reference": TrainingRecipe((1,), 32, snapshots=1)},
        curve_points=0,
    )
    return make_task(make_spec("spos", 0, "embedded", sizes=sizes), Place(tmp_path, progress=SilentProgress()))


def test_a_run_scores_its_sample_once_and_counts_it_once(task):
    """The sample is what the report ranks; another phase, or other images, have their own."""
    part, space = Column(3), task.space
    network = task.build(space)
    trained = task.train(network, space, task.uniform_paths(space, network), phase="train", epochs=0)
    aggregate = Aggregate((part,), 120)
    few = NB201.sample_distinct(np.random.default_rng(5), 10)
    first = task.estimate(trained, few, aggregate, "one", purpose="search")
    assert ASKED[0] == (3, 120) and task.work.budget.counts["search"]["archs_scored"] == sum(n for _, n in ASKED)
    count = len(ASKED)
    again = task.estimate(trained, few[::-1], aggregate, "two", purpose="search")
    assert (3, 120) not in ASKED[count:] and again[::-1].tolist() == first.tolist()
    smaller = replace(trained, phase="next", space=space.without(3, 1))
    task.estimate(smaller, few[few[:, 3] != 1], aggregate, "one", purpose="search")
    sample = smaller.space.contains_rows(task.report.archs).sum()
    assert ASKED[-2][1] == min(sample, 120)


def test_a_hundred_alive_of_the_report_are_a_sample_and_fewer_are_not():
    """Of 120 archs of the report 100, then 99, have operator 0 or 1 on the first edge. Then 200 of the space are drawn,
    though a thousand are asked for."""
    space, archs = NB201, NB201.archs()
    for operator in (2, 3, 4):
        space = space.without(0, operator)
    inside, outside = archs[archs[:, 0] < 2], archs[archs[:, 0] > 1]
    for alive in (100, 99):
        report = Report(np.concatenate([outside[: 120 - alive], inside[:alive]]), "sample")
        found = reference_archs(report, space, space, 1000, np.random.default_rng(0))
        own = sorted(map(tuple, found.tolist())) != sorted(map(tuple, inside[:alive].tolist()))
        assert (len(found), own) == ((100, False) if alive == 100 else (200, True))
        assert space.contains_rows(found).all() and len(np.unique(found, axis=0)) == len(found)


@pytest.mark.parametrize("watched", [False, True])
def test_an_aggregate_may_be_a_part_of_another(task, watched):
    """Of archs that are in no sample too: the inner one compares with its own sample, of another size. By hand, from
    the columns alone."""
    inner = Aggregate((Column(3), Column(2, -1)), 90)
    outer = Aggregate((inner, Column(0)), 120)
    few = NB201.sample_distinct(np.random.default_rng(5), 10)

    def logs(archs, values, size):
        sample = reference_archs(task.report, task.space, task.space, size, task.rng("reference"))
        return np.log(percentiles(values(archs), values(sample)))

    def first(archs):
        parts = [lambda rows: rows[:, 3].astype(float), lambda rows: -rows[:, 2].astype(float)]
        return np.mean([logs(archs, part, 90) for part in parts], 0)

    expected = (logs(few, first, 120) + logs(few, lambda rows: rows[:, 0].astype(float), 120)) / 2
    network = task.build(task.space)
    if watched:
        curve = SimpleNamespace(epochs={1}, archs=few, estimator=outer)
        found, _ = look(task, network, task.space, curve, task.evaluation, task.work.folder / "look.arrays")
    else:
        trained = task.train(network, task.space, task.uniform_paths(task.space, network), phase="train", epochs=0)
        found = task.estimate(trained, few, outer, "one", purpose="search")
    np.testing.assert_allclose(found, expected)


def test_a_resumed_run_counts_the_same(task, tmp_path):
    part, few = Column(3), NB201.sample_distinct(np.random.default_rng(5), 10)
    network = task.build(task.space)
    counts = []
    for _ in range(2):
        task.work.budget.counts["search"]["archs_scored"] = 0
        fresh = replace(task, work=replace(task.work, references={}))
        trained = fresh.train(network, fresh.space, fresh.uniform_paths(fresh.space, network), phase="t", epochs=0)
        fresh.estimate(trained, few, Aggregate((part,)), "ranking", purpose="search")
        counts.append(task.work.budget.counts["search"]["archs_scored"])
    assert counts[0] == counts[1] > 100 and len([n for _, n in ASKED if n > 100]) == 1
