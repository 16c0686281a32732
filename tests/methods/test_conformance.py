"""What every search method must do."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.run import make_spec, report_archs, run
from senas_bench.experiments.spec import RunRecord
from senas_bench.methods import CURVES, METHODS, se_nas
from senas_bench.methods.baselines import LargestCost, RandomSearch
from senas_bench.names import lookup
from senas_bench.progress import SilentProgress
from senas_bench.spaces.nasbench201 import NB201, arch_from_str, arch_to_str
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.tasks.task import COUNTERS, Task
from senas_bench.training import loop
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.samplers import path_evaluations

TRAIN_IMAGES = 1797 - 400
BATCH = 128
ARCHS = 80
EPOCHS = 3
ALONE = 3
STEPS = EPOCHS * (TRAIN_IMAGES // BATCH)
HALF_STEPS = EPOCHS * (TRAIN_IMAGES // 2 // BATCH)
BASELINE = TrainingRecipe((EPOCHS,), BATCH, snapshots=1, controller_steps=1)
TINY = replace(
    PRESETS["embedded"],
    channels=4,
    score_images=100,
    score_batch=100,
    calibration_images=100,
    rank_archs=ARCHS,
    recipes={
        "reference": TrainingRecipe((1, 1, 1), BATCH, snapshots=2),
        "tuned": TrainingRecipe((1, 1, 1), BATCH, sampling="per_cell", snapshots=2, snapshot_epochs=2),
        **dict.fromkeys(("rsps", "darts", "gdas", "setn", "enas", "stand-alone"), BASELINE),
    },
    curve_points=1,
    curve_images=100,
)
DETERMINISTIC = {name for name, method in METHODS.items() if isinstance(method, LargestCost)}
FROM_SCRATCH = {name for name, method in METHODS.items() if getattr(method, "needs_truth", False)}
UNTRAINED = {"random", "untrained", *DETERMINISTIC, *FROM_SCRATCH}
UNSCORED = {"random", *DETERMINISTIC, *FROM_SCRATCH}
BILEVEL = {"darts-v1", "darts-v2", "gdas", "setn", "enas"}
EVENTS = {
    **dict.fromkeys(("random", *DETERMINISTIC), 0),
    **dict.fromkeys(("untrained", *FROM_SCRATCH), 2),
    **dict.fromkeys(("darts-v1", "darts-v2", "gdas"), 1 + EPOCHS),  # they score nothing
}
"""Least number of events at which a run can be interrupted, where it is not 5."""
REPORTING = {"rsps": ("train ranking",), "spos-evolution": ("train ranking",)}
"""Stages that only the correlation tables need, where they are not those of a method that shrinks."""


@pytest.fixture(scope="module", autouse=True)
def small_samples():
    """Fewer archs per operator score, ranking and pick, and a smaller budget; nothing else of a method changes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, method in METHODS.items():
            quick = method
            if hasattr(getattr(method, "criterion", None), "per_operator"):
                quick = replace(quick, criterion=replace(method.criterion, per_operator=6))
            if hasattr(method, "candidates"):
                quick = replace(quick, candidates=30)
            if hasattr(method, "evolution"):
                quick = replace(quick, evolution=replace(method.evolution, population=10, parents=4, generations=2))
            if name == "stand-alone":
                quick = replace(quick, archs=ALONE)
            if hasattr(method, "budget_seconds"):
                quick = replace(quick, budget_seconds=2000.0)
            patch.setitem(METHODS, name, quick)
        patch.setattr(se_nas, "RANK_LIMIT", 100)
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def perform(small_samples, benchmark_table):
    """Run a method at the tiny size; the benchmark reaches only those that declare that they need it."""

    def perform(name: str, seed: int, folder, progress=None) -> tuple[RunRecord, pd.DataFrame]:
        spec = make_spec(name, seed, "embedded", sizes=TINY, ground_truth=benchmark_table)
        assert ("truth" in spec.settings) == (name in FROM_SCRATCH)
        return run(spec, folder, progress=progress, ground_truth=benchmark_table)

    return perform


@pytest.fixture(scope="module")
def finished(perform, tmp_path_factory):
    """The record and scores of an uninterrupted run, made once."""

    @cache
    def make(name: str, seed: int = 0) -> tuple[RunRecord, pd.DataFrame]:
        return perform(name, seed, tmp_path_factory.mktemp("run"))

    return make


def lasting(record: RunRecord) -> RunRecord:
    """What must not depend on the machine and the moment."""
    return replace(record, timing={}, provenance={})


@pytest.mark.parametrize("name", METHODS)
def test_pick_lies_in_the_space_and_leads_the_archs_it_was_chosen_from(finished, name):
    record, scores = finished(name)
    assert arch_from_str(record.pick) in NB201
    last = scores[scores.epoch == scores.epoch.max()]
    last = last[last.stage == last.stage.max()]
    if name in ("darts-v1", "darts-v2", "gdas", "spos-evolution"):  # chosen from the whole space
        chosen = last[last["set"] == "sample"]
        picked = chosen[chosen.arch_str == record.pick]
        assert not len(picked) or picked.score.item() == chosen.score.max()
        return
    chosen = next(group for kind in ("candidates", "current", "sample") if len(group := last[last["set"] == kind]))
    assert chosen[chosen.tier == 0].iloc[0].arch_str == record.pick


@pytest.mark.parametrize("name", [name for name in METHODS if name not in {*FROM_SCRATCH, "stand-alone"}])
def test_the_report_sample_is_ranked_last(finished, name):
    scores = finished(name)[1]
    epochs = 0 if name in UNTRAINED else EPOCHS
    assert scores.epoch.max() == epochs
    final = scores[(scores["set"] == "sample") & (scores.epoch == epochs)]
    wanted = [arch_to_str(tuple(row)) for row in report_archs(NB201, ARCHS).tolist()]
    assert sorted(final.arch_str) == sorted(wanted)


@pytest.mark.parametrize("name", METHODS)
def test_rankings_are_in_order(finished, name):
    scores = finished(name)[1]
    curves = {"curve", "curve-current"} if name in CURVES else set()
    assert curves - {"curve-current"} <= set(scores["set"]) <= {"sample", "current", "candidates", *curves}
    for _, ranking in scores.groupby(["set", "stage", "epoch"]):
        assert not ranking.arch_str.duplicated().any()
        order = list(zip(ranking.tier, -ranking.score, strict=True))
        assert order == sorted(order)
    assert scores.notna().all(axis=None)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in FROM_SCRATCH])
def test_another_seed_gives_other_scores_of_the_same_archs(finished, name):
    one, other = finished(name)[1], finished(name, 1)[1]
    kind = "candidates" if name == "stand-alone" else "sample"
    final = [scores[scores["set"] == kind].set_index("arch_str") for scores in (one, other)]
    final = [scores[scores.stage == scores.stage.max()].score.sort_index() for scores in final]
    assert final[0].index.equals(final[1].index)
    assert final[0].equals(final[1]) == (name in DETERMINISTIC)


class Spy(SilentProgress):
    """Counts path evaluations and images of forward passes, by stage and by whether a gradient was wanted."""

    def __init__(self) -> None:
        self.now = None
        self.passes: Counter[tuple[str, bool]] = Counter()
        self.images: Counter[tuple[str, bool]] = Counter()

    def stage(self, name, total, done=0):
        self.now = name

    def count(self, x, path) -> None:
        key = self.now, torch.is_grad_enabled()
        self.passes[key] += path_evaluations(path)
        self.images[key] += len(x)

    def total(self, counts: Counter, stages: Iterable[str] | None = None, gradient: bool | None = None) -> int:
        return sum(
            count
            for (stage, wanted), count in counts.items()
            if (stages is None or stage in stages) and gradient in (None, wanted)
        )


@pytest.fixture(scope="module")
def repeated(perform, tmp_path_factory):
    """A second run with the first seed, and what it was seen to do."""

    @cache
    def make(name: str) -> tuple[RunRecord, pd.DataFrame, Spy]:
        spy, forward = Spy(), NB201Network.forward

        def counting(self, x, path, cache=None):
            spy.count(x, path)
            return forward(self, x, path, cache)

        torch.manual_seed(99)  # the state of the global generators is nothing to a run
        np.random.seed(99)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NB201Network, "forward", counting)
            return *perform(name, 0, tmp_path_factory.mktemp("again"), spy), spy

    return make


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_record(finished, repeated, name):
    record, scores, _ = repeated(name)
    assert lasting(record) == lasting(finished(name)[0])
    pd.testing.assert_frame_equal(scores, finished(name)[1], check_exact=True)
    assert RunRecord.from_json(record.to_json()) == record


def images_trained(name: str) -> int:
    """What three epochs of a method see: each image once an epoch, the architecture's among them."""
    if name in UNTRAINED:
        return 0
    if name == "enas":  # its controller takes 20 batches an epoch
        return (HALF_STEPS + EPOCHS * 20) * BATCH
    if name == "magnitude-shrink":  # two of the three stages train a second supernet on both halves
        return (STEPS + 2 * 2 * HALF_STEPS // EPOCHS) * BATCH
    if name == "stand-alone":
        return ALONE * STEPS * BATCH
    return (2 * HALF_STEPS if name in BILEVEL else STEPS) * BATCH


@pytest.mark.parametrize("name", METHODS)
def test_work_is_counted_exactly(repeated, name):
    """Against a count of what the network was really asked."""
    record, _, spy = repeated(name)
    assert set(record.counters) == {"search", "report"}
    assert all(tuple(counts) == COUNTERS for counts in record.counters.values())
    search, report = record.counters["search"], record.counters["report"]
    assert search["images_trained"] == images_trained(name)
    second = 2 * HALF_STEPS // EPOCHS if name == "magnitude-shrink" else 0
    alone = (ALONE - 1) * STEPS if name == "stand-alone" else 0
    steps = 0 if name in UNTRAINED else HALF_STEPS if name in BILEVEL else STEPS + second + alone
    assert search["train_steps"] == steps
    for_report = REPORTING.get(name, ("stage-1 ranking", "stage-2 ranking"))
    assert search["backward_paths"] == spy.total(spy.passes, gradient=True)
    trainings = ("train", "stage-1", "stage-2", "stage-3") if name in CURVES else ()  # where a curve is looked at
    looks, images = (spy.total(counts, trainings, gradient=False) for counts in (spy.passes, spy.images))
    assert (looks > 0) == (name in CURVES)
    assert report["forward_paths"] == spy.total(spy.passes, for_report) + looks
    assert search["forward_paths"] + report["forward_paths"] == spy.total(spy.passes)
    assert report["images_scored"] == spy.total(spy.images, for_report) + images
    scoring = {stage for stage, _ in spy.passes} - ({"train"} if name == "enas" else set())  # it asks while it trains
    assert search["images_scored"] + report["images_scored"] == spy.total(spy.images, scoring, gradient=False)
    assert (search["images_scored"] == 0) == (name in {*UNSCORED, "darts-v1", "darts-v2", "gdas"})
    assert not any(report[count] for count in ("images_trained", "train_steps", "backward_paths"))


@pytest.mark.parametrize("name", METHODS)
def test_resumed_run_gives_the_same_record(perform, finished, through_interruptions, name, tmp_path, full):
    """Interrupted at every third event of a run, in full at every one, always in the same work folder."""
    (record, scores), events = through_interruptions(
        lambda progress: perform(name, 0, tmp_path, progress), most=100, every=1 if full else 3
    )
    assert events >= EVENTS.get(name, 5)
    assert lasting(record) == lasting(finished(name)[0])
    pd.testing.assert_frame_equal(scores, finished(name)[1], check_exact=True)


@pytest.mark.parametrize("name", METHODS)
def test_method_is_a_strategy_of_plain_fields(name):
    method = METHODS[name]
    assert is_dataclass(method) and type(method).__dataclass_params__.frozen
    assert all(method.recipe in preset.recipes for preset in PRESETS.values())
    assert replace(method) == method and hash(method) == hash(replace(method))


def test_baselines_by_cost_agree(finished):
    """On NAS-Bench-201 FLOPs and parameters give the same ranking, and the largest is all 3x3."""
    rankings = [finished(name)[1].arch_str.tolist() for name in ("params", "flops")]
    assert rankings[0] == rankings[1]
    archs = report_archs(NB201, ARCHS)
    size = (archs == 3).sum(1) * 9 * 16 + (archs == 2).sum(1) * 16 + 8 * np.isin(archs, (2, 3)).sum(1)
    assert finished("params")[0].pick in {arch_to_str(tuple(row)) for row in archs[size == size.max()].tolist()}


def test_random_search_is_a_uniform_pick():
    class Bare:
        report_archs = NB201.archs()[:4]
        report_set = "sample"

        def __init__(self, seed):
            self.seed = seed

        def rng(self, phase):
            return np.random.default_rng(self.seed)

    picks = [RandomSearch()(Bare(seed)).pick for seed in range(400)]
    counts = [picks.count(tuple(row)) for row in Bare.report_archs.tolist()]
    assert sum(counts) == 400 and min(counts) > 70


def test_unknown_method():
    with pytest.raises(ValueError, match=r"unknown method 'spo'; did you mean 'spos'\? one of: random, params"):
        lookup("method", "spo", METHODS)


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_has_no_path_to_the_ground_truth():
    """Neither importing all methods nor running one loads it; a task has no field for it."""
    code = """if True:
        import sys, tempfile, pathlib
        import senas_bench.methods
        from senas_bench.experiments.run import make_spec, run
        loaded = lambda: [name for name in sys.modules if "groundtruth" in name or "analog" in name.lower()]
        print(loaded())
        run(make_spec("params", 0, "embedded"), pathlib.Path(tempfile.mkdtemp()))
        print(loaded())"""
    assert in_a_fresh_process(code).split() == ["[]", "[]"]
    assert not [field.name for field in fields(Task) if "truth" in field.name or "accuracy" in field.name]


def test_what_must_not_need_torch():
    """Reading records and rendering tables starts in a moment, and works where torch is not installed."""
    code = """if True:
        import importlib, pkgutil, sys
        import senas_bench.analysis
        names = ["senas_bench.spaces", "senas_bench.spaces.cost", "senas_bench.experiments.spec",
                 "senas_bench.experiments.store", "senas_bench.experiments.presets", "senas_bench.experiments.run"]
        names += [f"analysis.{module.name}" for module in pkgutil.iter_modules(analysis.__path__)]
        for name in names:
            importlib.import_module(name)
            if "torch" in sys.modules:
                print(name)
                break"""
    assert in_a_fresh_process(code) == ""
