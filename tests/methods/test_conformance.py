"""What every search method must do."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import limit_settings, make_spec
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.studies import preset_of
from senas_bench.experiments.tasks import report_archs
from senas_bench.methods import METHODS, se_nas
from senas_bench.methods.baselines import RandomSearch
from senas_bench.methods.training_free import ByProxy
from senas_bench.names import lookup
from senas_bench.networks.mixture import Mixture
from senas_bench.progress import SilentProgress
from senas_bench.ranking import ESTIMATORS
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NB201, Skeleton, arch_from_str, arch_to_str, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.tasks.method import Method, check_method
from senas_bench.tasks.report import Report
from senas_bench.tasks.task import Task
from senas_bench.tasks.work import COUNTERS
from senas_bench.training import loop
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.samplers import path_evaluations

TRAIN_IMAGES = 1797 - 400
BATCH = 256
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
        **dict.fromkeys(
            {method.recipe for method in METHODS.values()} - {None, "reference", "tuned"}, BASELINE
        ),  # as many epochs in one stage
    },
    curve_points=3,
    curve_images=100,
)


@cache
def cost_of(cells: int = 1, partial: int = 1) -> CostTable:
    """Of networks of that width, with so many cells, whose operators see one of so many channels."""
    return nasbench201_cost(Skeleton(8, 10, in_channels=1, channels=4, cells=cells, partial=partial))


def names_of(fits: Callable[[Method], bool] = lambda method: True) -> list[str]:
    """Methods that run in NAS-Bench-201, by what is true of them."""
    return [name for name, own in METHODS.items() if "nasbench201" in (own.spaces or ["nasbench201"]) and fits(own)]


def those(fits: Callable[[Method], bool] = lambda method: True) -> list[Any]:
    """As `names_of`. Of each class the first is fast; others differ in parameters, and `make test` runs them once."""
    return tiered(names_of(fits))


HEAVY = {"p-darts", "pc-darts", "snas", "fair-darts", "fbnet", "fairnas", "stand-alone", "pcnas-pool"}
"""Mixtures and others whose steps are dear, which have tests of their own: `make test` runs them once here, as it does
the others of a class."""


def tiered(names: Iterable[str]) -> list[Any]:
    """Of entries that differ in their estimator alone the first: what estimators do, `tests/ranking` asks."""
    names = list(names)
    first = {type(METHODS[name]): name for name in reversed(names)}.values()
    kinds = {_but_estimator(METHODS[name]): name for name in reversed(names)}.values()
    fast = [name for name in first if name not in HEAVY]
    slow = [name for name in names if name not in fast and (name in first or name in kinds)]
    return [*fast, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)]


def _but_estimator(strategy: Any) -> tuple[Any, ...]:
    """The class of a strategy and what it is made of, beside estimators, what their scores become, recipe and facts."""
    left = {"estimator", "normalizer", "recipe", "spaces", "watched", "dropped_by"}
    own = {item.name: getattr(strategy, item.name) for item in fields(strategy) if item.name not in left}
    return type(strategy), *(_but_estimator(value) if is_dataclass(value) else value for value in own.values())


def of_the_house(method: Method) -> bool:
    return type(method).__module__.startswith("senas_bench.methods.")


@pytest.fixture(scope="module", autouse=True)
def small_samples():
    """Fewer archs per operator score, ranking and pick, and a smaller budget; nothing else of a method changes."""
    smaller = {
        "reference": 20,
        "count": 3,
        "per_operator": 6,
        "candidates": 30,
        "archs": ALONE,
        "budget_seconds": 2000.0,
        "filter_images": 100,
        "samples": 3,
        "partials": 2,
        "completions": 1,
        "drawn": 4,
        "kept": 2,
    }
    smaller["evolution"] = Evolution(population=10, parents=4, generations=2)

    def small(strategy):
        """With smaller sizes, where it or a strategy inside it has a field of that name and type."""
        own = {item.name: getattr(strategy, item.name) for item in fields(strategy)}
        less = {name: size for name, size in smaller.items() if type(own.get(name)) is type(size)}
        inside = {name: small(value) for name, value in own.items() if is_dataclass(value) and name not in less}
        return replace(strategy, **less, **inside)

    with pytest.MonkeyPatch.context() as patch:
        for name, method in METHODS.items():
            patch.setitem(METHODS, name, small(method))
        for name, estimator in ESTIMATORS.items():
            patch.setitem(ESTIMATORS, name, small(estimator))
        patch.setattr(se_nas, "RANK_LIMIT", 100)
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def perform(small_samples, benchmark_table):
    """Run a method at the tiny size; the benchmark reaches only those that declare that they need it."""

    def perform(name: str, seed: int, folder, progress=None, sizes=TINY) -> tuple[RunRecord, pd.DataFrame]:
        spec = make_spec(name, seed, "embedded", sizes=sizes, ground_truth=benchmark_table)
        assert ("truth" in spec.settings) == METHODS[name].needs_truth
        return run(spec, Place(folder, progress=progress or SilentProgress(), ground_truth=benchmark_table))

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


def proxies_slow(names: Iterable[str]) -> list[Any]:
    slow = {name for name, own in METHODS.items() if isinstance(own, ByProxy) or name.endswith(("-full", "+top25"))}
    slow |= {"se-nas+synflow-bn", "se-nas+four-proxies", "spos+four-proxies"}
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


TINIEST = replace(
    TINY,
    rank_archs=10,
    recipes={name: replace(recipe, batch_size=TRAIN_IMAGES // 2) for name, recipe in TINY.recipes.items()},
)
"""Two steps an epoch."""


@pytest.mark.parametrize("name", proxies_slow(name for name in names_of() if name not in those()))
def test_every_entry_runs(perform, name, tmp_path):
    """Those whose class has another entry that is asked for everything."""
    record, _ = perform(name, 0, tmp_path, sizes=TINIEST)
    assert arch_from_str(record.pick) in NB201


@pytest.mark.parametrize("name", those())
def test_the_pick_meets_the_limit(name, small_samples, benchmark_table, tmp_path):
    """One arch of five has FLOPs within it."""
    low, high = np.quantile(cost_of()(NB201.archs())["flops_m"], [0.3, 0.5])
    limit = limit_settings("flops", low=1e6 * float(low), high=1e6 * float(high))
    spec = make_spec(name, 0, "embedded", sizes=TINIEST, ground_truth=benchmark_table, limit=limit)
    record, _ = run(spec, Place(tmp_path, progress=SilentProgress(), ground_truth=benchmark_table))
    flops = cost_of()(np.array([arch_from_str(record.pick)]))["flops_m"][0]
    assert low <= flops <= high


@pytest.mark.parametrize("name", those())
def test_pick_lies_in_the_space_and_leads_the_archs_it_was_chosen_from(finished, name):
    """One that may pick any arch leads the ranking of the sample where the sample holds it."""
    record, scores = finished(name)
    assert arch_from_str(record.pick) in NB201
    last = scores[scores.epoch == scores.epoch.max()]
    last = last[last.stage == last.stage.max()]
    kinds = [kind for kind in ("candidates", "current", "sample") if kind in set(last["set"])]
    chosen = last[(last["set"] == kinds[0]) & (last.tier == 0)]
    picked = chosen[chosen.arch_str == record.pick]
    if METHODS[name].only_ranked or kinds[0] != "sample":
        assert chosen.iloc[0].arch_str == record.pick
    assert not len(picked) or picked.score.item() == chosen.score.max()


@pytest.mark.parametrize("name", those(lambda method: method.ranks))
def test_the_report_sample_is_ranked_last(finished, repeated, name):
    scores = finished(name)[1]
    assert (scores.epoch.max() > 0) == METHODS[name].trains and scores.epoch.max() <= repeated(name)[2].epochs
    final = scores[(scores["set"] == "sample") & (scores.epoch == scores.epoch.max())]
    wanted = [arch_to_str(tuple(row)) for row in report_archs(NB201, ARCHS).tolist()]
    assert sorted(final.arch_str) == sorted(wanted)


@pytest.mark.parametrize("name", those(lambda method: method.ranks and method.trains and of_the_house(method)))
def test_those_of_the_house_rank_at_the_end_of_their_recipe(finished, name):
    assert finished(name)[1].epoch.max() == EPOCHS


@pytest.mark.parametrize("name", those())
def test_rankings_are_in_order(finished, name):
    scores = finished(name)[1]
    curves = {"curve", "curve-current"} if METHODS[name].watched else set()
    assert curves - {"curve-current"} <= set(scores["set"]) <= {"sample", "current", "candidates", *curves}
    for _, ranking in scores.groupby(["set", "stage", "epoch"]):
        assert not ranking.arch_str.duplicated().any()
        order = list(zip(ranking.tier, -ranking.score, strict=True))
        assert order == sorted(order)
    assert scores.notna().all(axis=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", those(lambda method: not method.needs_truth))
def test_another_seed_gives_other_scores_of_the_same_archs(perform, tmp_path, monkeypatch, name):
    """Unless the method never asks for a random number; one that ranks no report may score other archs too."""
    asked, rng = [], Task.rng
    monkeypatch.setattr(Task, "rng", lambda self, phase: asked.append(phase) or rng(self, phase))
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
    one, other = (perform(name, seed, tmp_path / str(seed), sizes=TINIEST)[1] for seed in range(2))
    kind = "sample" if METHODS[name].ranks else "candidates"
    final = [scores[scores["set"] == kind].set_index("arch_str") for scores in (one, other)]
    final = [scores[scores.stage == scores.stage.max()].score.sort_index() for scores in final]
    if METHODS[name].ranks or of_the_house(METHODS[name]):
        assert final[0].index.equals(final[1].index)
    assert final[0].equals(final[1]) == (not asked)


def price_of(path, cost: CostTable) -> int:
    """Multiply-adds of a pass of an image, edge by edge: what a mixture says that it runs, or is not 0, or the
    archs."""
    frame, (*_, small, large, _) = cost.base[0], cost.per_edge[0, :, 0]
    if not isinstance(path, tuple | list):
        ran = np.array(path.runs) if isinstance(path, Mixture) else path.detach().numpy() != 0
        return int(frame + small * ran[:, CONV1].sum() + large * ran[:, CONV3].sum())
    archs = [path] if isinstance(path[0], int) else path
    ops = Counter(op for arch in archs for op in arch)
    return int(frame + (small * ops[CONV1] + large * ops[CONV3]) / len(archs))


class Spy(SilentProgress):
    """Counts path evaluations and images of forward passes, by stage and by whether a gradient was wanted; and notes
    what was asked for: random numbers, and estimates for the report alone."""

    def __init__(self) -> None:
        self.now = None
        self.asked: set[str] = set()
        self.reporting: set[str] = set()
        self.trainings: set[str] = set()
        self.epochs = 0
        self.scored_in_training = 0
        self.passes: Counter[tuple[str, bool]] = Counter()
        self.images: Counter[tuple[str, bool]] = Counter()
        self.price: Counter[tuple[str, bool]] = Counter()

    def stage(self, name, total, done=0):
        self.now = name

    def count(self, network, x, path) -> None:
        key = self.now, torch.is_grad_enabled()
        self.passes[key] += path_evaluations(path)
        self.images[key] += len(x)
        cost = cost_of(network.cells, network.partial)
        self.price[key] += len(x) * (3 if key[1] else 1) * price_of(path, cost)

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
            spy.count(self, x, path)
            return forward(self, x, path, cache)

        def drawing(self, phase):
            spy.asked.add(phase)
            return rng(self, phase)

        def estimating(self, trained, archs, estimator, label, *, purpose, **how):
            if purpose == "report":
                spy.reporting.add(f"{trained.phase} {label}")
            return estimate(self, trained, archs, estimator, label, purpose=purpose, **how)

        def training(self, *parts, phase, epochs, **how):
            spy.trainings.add(phase)
            spy.epochs += epochs
            trained = train(self, *parts, phase=phase, epochs=epochs, **how)
            spy.scored_in_training += trained.training.counts.get("images_scored", 0)
            return trained

        rng, estimate, train = Task.rng, Task.estimate, Task.train
        torch.manual_seed(99)  # the state of the global generators is nothing to a run
        np.random.seed(99)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NB201Network, "forward", counting)
            patch.setattr(Task, "rng", drawing)
            patch.setattr(Task, "estimate", estimating)
            patch.setattr(Task, "train", training)
            return *perform(name, 0, tmp_path_factory.mktemp("again"), spy), spy

    return make


@pytest.mark.parametrize("name", those())
def test_same_seed_same_record(finished, repeated, name):
    record, scores, _ = repeated(name)
    assert lasting(record) == lasting(finished(name)[0])
    pd.testing.assert_frame_equal(scores, finished(name)[1], check_exact=True)
    assert RunRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("name", those())
def test_work_is_counted_exactly(repeated, name):
    """Against a count of what the network was really asked."""
    record, _, spy = repeated(name)
    for stage, gradient in list(spy.passes):
        if stage.startswith("alone-") and not gradient:
            spy.passes[stage, gradient] = 1  # a finalist is evaluated once, on several batches
    assert set(record.counters) == {"search", "report"}
    assert all(tuple(counts) == COUNTERS for counts in record.counters.values())
    search, report = record.counters["search"], record.counters["report"]
    trained = [search[count] for count in ("images_trained", "train_steps")]
    assert all(trained) if METHODS[name].trains else not any(trained)
    assert search["backward_paths"] or not METHODS[name].trains
    assert search["train_steps"] * BATCH <= search["images_trained"]
    assert search["backward_paths"] + report["backward_paths"] == spy.total(spy.passes, gradient=True)
    watching = {stage for stage, _ in spy.passes} & set(spy.trainings) if METHODS[name].watched else set()
    looks, images = (spy.total(counts, watching, gradient=False) for counts in (spy.passes, spy.images))
    assert (looks > 0) == METHODS[name].watched
    assert report["forward_paths"] == spy.total(spy.passes, spy.reporting) + looks
    assert search["forward_paths"] + report["forward_paths"] == spy.total(spy.passes)
    assert report["images_scored"] == spy.total(spy.images, spy.reporting) + images
    scoring = {stage for stage, _ in spy.passes} - ({*spy.trainings} - watching)  # a training may ask what it likes
    assert search["multiply_adds"] == spy.total(spy.price) - report["multiply_adds"]
    assert report["multiply_adds"] == spy.total(spy.price, spy.reporting) + spy.total(spy.price, watching, False)
    assert search["nominal_multiply_adds"] >= search["multiply_adds"]
    scored = search["images_scored"] + report["images_scored"] - spy.scored_in_training  # such as a sampler's
    proxied = spy.total(spy.images, scoring - watching)  # some go back through untrained networks
    assert scored == proxied + spy.total(spy.images, watching, gradient=False)
    assert not any(report[count] for count in ("images_trained", "train_steps"))
    assert not report["backward_paths"] or METHODS[name].saw


BILEVEL = 2 * HALF_STEPS, HALF_STEPS
"""Batches and steps of the weights, where an architecture learns on the other half of the images."""
BATCHES = {
    **dict.fromkeys(("darts-v1", "darts-v2", "gdas", "setn", "fbnet", "fair-darts", "p-darts"), BILEVEL),
    "proxylessnas": (HALF_STEPS + EPOCHS, HALF_STEPS),  # a fifth of the steps, of which an epoch has five
    **dict.fromkeys(("proxylessnas-r", "enas"), (HALF_STEPS, HALF_STEPS)),  # rewards are no training
    "pc-darts": (HALF_STEPS + 2 * HALF_STEPS // EPOCHS, HALF_STEPS),  # in the first epoch the weights alone learn
    "snas": (STEPS, STEPS),
    # two of the three stages train a second supernet on both halves
    "magnitude-shrink": (STEPS + 2 * 2 * HALF_STEPS // EPOCHS, STEPS + 2 * HALF_STEPS // EPOCHS),
    "stand-alone": (ALONE * STEPS, ALONE * STEPS),
    **dict.fromkeys(("spos", "se-nas", "fairnas", "rsps", "pcnas"), (STEPS, STEPS)),
    **dict.fromkeys(("greedynas", "pcnas-pool"), (STEPS, STEPS)),
    **dict.fromkeys(("random", "untrained", "params", "random-search", "synflow"), (0, 0)),
}
"""What three epochs of some methods of papers train on."""


@pytest.mark.parametrize("name", tiered(BATCHES))
def test_papers_train_as_long_as_they_say(finished, name):
    search = finished(name)[0].counters["search"]
    assert (search["images_trained"] / BATCH, search["train_steps"]) == BATCHES[name]


@pytest.mark.parametrize(
    ("name", "scored", "for_report"),
    [
        ("random", False, False),
        ("params", False, False),
        ("darts-v1", False, False),
        ("gdas", False, False),
        ("spos", True, True),  # its curve
        ("fairnas", True, False),
        ("rsps", True, True),
        ("spos-evolution", True, True),
        ("enas", True, False),
        ("se-nas-shrink", True, True),
        ("fbnet", False, False),
        ("proxylessnas", False, False),
        ("proxylessnas-r", True, False),
        ("greedynas", True, False),
        ("pcnas-pool", True, True),
    ],
)
def test_what_papers_score_for_their_pick_and_for_the_report(finished, name, scored, for_report):
    search, report = (finished(name)[0].counters[purpose] for purpose in ("search", "report"))
    assert (search["images_scored"] > 0, report["images_scored"] > 0) == (scored, for_report)


@pytest.mark.slow
@pytest.mark.parametrize("name", those())
def test_resumed_run_gives_the_same_record(perform, finished, repeated, through_interruptions, name, tmp_path, full):
    """Interrupted at every third event of a run, in full at every one, always in the same work folder."""
    (record, scores), events = through_interruptions(
        lambda progress: perform(name, 0, tmp_path, progress), most=100, every=1 if full else 3
    )
    assert events >= len(repeated(name)[2].trainings) + repeated(name)[2].epochs  # each begins, and each epoch ends
    assert lasting(record) == lasting(finished(name)[0])
    pd.testing.assert_frame_equal(scores, finished(name)[1], check_exact=True)


@pytest.mark.parametrize("name", METHODS)
def test_method_is_a_strategy_of_plain_fields(name):
    method = METHODS[name]
    check_method(name, method)
    assert all(method.recipe in (None, *preset_of("nasbench201", preset).recipes) for preset in PRESETS)
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
        report = Report(NB201.archs()[:4], "sample")

        def __init__(self, seed):
            self.seed = seed

        def rng(self, phase):
            return np.random.default_rng(self.seed)

    picks = [RandomSearch()(Bare(seed)).pick for seed in range(400)]
    counts = [picks.count(tuple(row)) for row in Bare.report.archs.tolist()]
    assert sum(counts) == 400 and min(counts) > 70


def test_unknown_method():
    with pytest.raises(ValueError, match=r"unknown method 'spo'; did you mean 'spos'\? one of: random, params"):
        lookup("method", "spo", METHODS)


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_run_has_no_path_to_the_ground_truth():
    """Neither importing all methods nor running one loads it; a task has no field for it."""
    code = """if True:
        import sys, tempfile, pathlib
        import senas_bench.methods
        from senas_bench.experiments.place import Place
        from senas_bench.experiments.run import run
        from senas_bench.experiments.settings import limit_settings, make_spec
        loaded = lambda: [name for name in sys.modules if "groundtruth" in name or "analog" in name.lower()]
        print(loaded())
        run(make_spec("params", 0, "embedded"), Place(pathlib.Path(tempfile.mkdtemp())))
        print(loaded())"""
    assert in_a_fresh_process(code).split() == ["[]", "[]"]
    assert not [field.name for field in fields(Task) if "truth" in field.name or "accuracy" in field.name]


def test_what_must_not_need_torch():
    """Reading records and rendering tables starts in a moment, and works where torch is not installed."""
    code = """if True:
        import importlib, pkgutil, sys
        import senas_bench.analysis
        names = ["senas_bench.spaces", "senas_bench.spaces.cost", "senas_bench.experiments.spec",
                 "senas_bench.experiments.store", "senas_bench.experiments.presets", "senas_bench.experiments.runner"]
        found = pkgutil.walk_packages(senas_bench.analysis.__path__, "senas_bench.analysis.")
        names += [module.name for module in found]
        for name in names:
            importlib.import_module(name)
            if "torch" in sys.modules:
                print(name)
                break"""
    assert in_a_fresh_process(code) == ""
