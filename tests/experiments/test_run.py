import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from senas_bench.errors import RunError
from senas_bench.experiments import run as run_module
from senas_bench.experiments import runner as runner_module
from senas_bench.experiments import store as store_module
from senas_bench.experiments.active import active_runs, status_file
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS, Preset
from senas_bench.experiments.run import run
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.spec import RunRecord, RunSpec, settings_of
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.studies import preset_of
from senas_bench.experiments.tasks import REPORT_SEED, make_task, report_archs
from senas_bench.experiments.threads import limited_threads
from senas_bench.kernels import ENGINES, processor
from senas_bench.kernels.build import library
from senas_bench.methods import METHODS, se_nas
from senas_bench.methods.truth import TruthRandomSearch
from senas_bench.progress import SilentProgress, read_status
from senas_bench.spaces import SPACES
from senas_bench.spaces.nasbench201 import NB201, arch_from_str, arch_to_str, official_archs
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.training import loop
from senas_bench.training.recipe import PRECISIONS, TrainingRecipe

ARCHS = 150
INDEX_11 = arch_to_str(official_archs()[11])
EMBEDDED = PRESETS["embedded"]
TINY = replace(
    EMBEDDED,
    channels=4,
    score_images=50,
    score_batch=50,
    calibration_images=100,
    rank_archs=ARCHS,
    recipes={
        "reference": TrainingRecipe((1, 1, 1), 256, snapshots=2),
        "tuned": TrainingRecipe((1, 1, 1), 256, lr=0.2, sampling="per_cell", snapshots=2, snapshot_epochs=2),
    },
)


def tiny_spec(method: str = "spos", seed: int = 0, **changes) -> RunSpec:
    return make_spec(method, seed, "embedded", sizes=replace(TINY, **changes))


def few_samples(set_item, set_attribute) -> None:
    """Make SE-NAS quick, here and in the processes that the tests start."""
    method = METHODS["se-nas"]
    set_item(METHODS, "se-nas", replace(method, criterion=replace(method.criterion, per_operator=4)))
    set_attribute(se_nas, "RANK_LIMIT", 50)
    set_attribute(loop, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def quick(monkeypatch):
    few_samples(monkeypatch.setitem, monkeypatch.setattr)


def lasting(record: RunRecord) -> RunRecord:
    return replace(record, timing={}, provenance={})


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"unknown method 'spo'; did you mean 'spos'\? one of: "):
        make_spec("spo", 0, "embedded")
    with pytest.raises(ValueError, match=r"unknown preset 'embeded'; did you mean 'embedded'\? one of: embedded, cpu"):
        make_spec("spos", 0, "embeded")
    with pytest.raises(ValueError, match=r"unknown dataset 'cifar'; did you mean 'cifar10'\? one of: digits"):
        make_spec("spos", 0, "embedded", dataset="cifar")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_spec_is_json_and_reads_back_as_itself(method, preset, benchmark_table):
    spec = make_spec(method, 3, preset, dataset="digits", ground_truth=benchmark_table)
    again = RunSpec(**json.loads(json.dumps(asdict(spec))))
    assert again.run_id == spec.run_id
    assert asdict(again) == asdict(spec)
    kind = METHODS[method].recipe
    own = {
        "note": "",
        "recipes": {kind: PRESETS[preset].recipes[kind]} if kind else {},
        "curve_points": 0,
        "curve_images": 0,
    }
    expected = replace(PRESETS[preset], **own)
    assert Preset.from_settings(again.settings, kind) == expected


def test_every_setting_is_part_of_the_identity():
    base = tiny_spec()
    ids = [
        base.run_id,
        tiny_spec(seed=1).run_id,
        tiny_spec(method="spos+").run_id,
        tiny_spec(bn_mode="recalibrate").run_id,
        tiny_spec(recipes={**TINY.recipes, "reference": replace(TINY.recipes["reference"], clip=1.0)}).run_id,
        replace(base, threads=2).run_id,
        replace(base, data_id="0" * 16).run_id,
    ]
    assert len(set(ids)) == len(ids)
    assert tiny_spec().run_id == base.run_id
    assert all(run_id.startswith("spos") and "-embedded-digits-s" in run_id for run_id in ids)


def test_what_a_method_does_not_use_is_not_part_of_its_identity():
    other = {**TINY.recipes, "tuned": replace(TINY.recipes["tuned"], lr=0.3)}
    assert tiny_spec("spos", recipes=other, note="a word").run_id == tiny_spec("spos").run_id
    assert tiny_spec("spos+", recipes=other).run_id != tiny_spec("spos+").run_id


def test_resized_changes_what_it_is_told_and_nothing_else():
    alone = TrainingRecipe((6,))
    preset = replace(TINY, recipes={**TINY.recipes, "rsps": TrainingRecipe((7,), lr=0.3), "stand-alone": alone})
    assert resized(preset) == preset
    sizes = {"rank_archs": 0, "candidates": 9, "curve_points": 7}
    assert resized(preset, **sizes) == replace(preset, **sizes)
    changed = resized(preset, stage_epochs=(4, 5))
    assert {name: recipe.stage_epochs for name, recipe in changed.recipes.items()} == {
        "reference": (4, 5), "tuned": (4, 5), "rsps": (9,), "stand-alone": (6,),
    }  # fmt: skip
    restored = {n: replace(r, stage_epochs=preset.recipes[n].stage_epochs) for n, r in changed.recipes.items()}
    assert replace(changed, recipes=restored) == preset


def test_an_arch_may_be_scored_on_fewer_images_and_so_are_its_curves():
    few = resized(EMBEDDED, score_images=200)
    assert (few.score_images, few.curve_images) == (200, 200)
    fewer = resized(replace(EMBEDDED, score_batch=50), score_images=100)
    assert (fewer.score_images, fewer.curve_images) == (100, 100)
    assert replace(few, score_images=EMBEDDED.score_images) == EMBEDDED
    assert make_spec("spos", 0, "embedded", sizes=few).run_id != make_spec("spos", 0, "embedded").run_id


@pytest.mark.parametrize("images", [100, 300, 600])
def test_images_that_score_are_whole_batches_of_those_held_out(images):
    with pytest.raises(ValueError, match=f"--score-images {images} must be a multiple of 200.*at most 400 that are"):
        resized(EMBEDDED, score_images=images)


def test_a_curve_is_part_of_the_identity_of_the_methods_that_draw_one_and_of_no_other():
    for name, method in METHODS.items():
        if not method.needs_truth:
            with_curve, more, without = (
                make_spec(name, 0, "embedded", sizes=replace(EMBEDDED, curve_points=points)) for points in (2, 3, 0)
            )
            assert (with_curve.settings.get("curve") == {"points": 2, "images": 200}) == method.watched
            assert len({with_curve.run_id, more.run_id, without.run_id}) == (3 if method.watched else 1)
            assert "curve" not in without.settings


def test_the_settings_of_a_method_name_its_strategies():
    settings = make_spec("se-nas", 0, "embedded").settings["method"]
    assert settings["criterion"] == {
        "kind": "SeNasCriterion", "estimator": "weight-average", "per_operator": 100, "normalizer": "mean",
    }  # fmt: skip
    assert (settings["drop"], settings["threshold"]) == (10, 50)


def test_a_spec_of_another_version_is_refused(tmp_path):
    spec = tiny_spec()
    other = replace(spec, settings={**spec.settings, "method": {**spec.settings["method"], "search": "evolution"}})
    with pytest.raises(ValueError, match="other settings of 'spos'") as caught:
        run(other, Place(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_spec_that_was_read_from_a_file_runs_the_same(tmp_path):
    spec = tiny_spec()
    stored = RunSpec(**json.loads(json.dumps(asdict(spec))))
    (one, scores), (other, again) = run(spec, Place(tmp_path)), run(stored, Place(tmp_path / ".."))
    assert lasting(one).to_json() == lasting(other).to_json()
    pd.testing.assert_frame_equal(scores, again, check_exact=True)


def test_the_fixed_sample_is_the_same_in_every_run():
    sample = report_archs(NB201, 1000)
    assert len(np.unique(sample, axis=0)) == len(sample) == 1000
    assert np.array_equal(sample, report_archs(NB201, 1000))
    assert np.array_equal(sample, NB201.sample_distinct(np.random.default_rng(REPORT_SEED), 1000))
    assert np.array_equal(report_archs(NB201, 0), NB201.archs())


def test_task_is_what_the_spec_says(tmp_path):
    spec = tiny_spec("spos+", seed=5)
    task = make_task(spec, Place(tmp_path, progress=SilentProgress()))
    assert task.recipe == TINY.recipes["tuned"]
    assert (task.seed, task.space, task.report.set, len(task.report.archs)) == (5, NB201, "sample", ARCHS)
    assert task.evaluation.images == 50 and task.evaluation.bn_mode == "batch"
    assert sum(map(len, task.evaluation.calibration)) == 100
    assert len(task.loaders.train) == (1797 - 400) // 256
    archs = np.array([official_archs()[0], (3,) * 6], np.int8)
    for arch, params in zip(archs.tolist(), task.problem.cost(archs)["params"], strict=True):
        network = task.build(NB201.only(tuple(arch)), affine=True)
        assert sum(weight.numel() for weight in network.parameters()) == params


def test_a_runner_hands_the_table_to_a_method_that_declares_its_need(tmp_path, monkeypatch, benchmark_table):
    monkeypatch.setitem(METHODS, "random-search", TruthRandomSearch())
    spec = make_spec("random-search", 0, "embedded", sizes=TINY, ground_truth=benchmark_table)
    record = Runner(tmp_path, ground_truth=benchmark_table)(spec)
    assert RunStore(tmp_path).load(spec) == record
    with pytest.raises(ValueError, match="give --ground-truth"):
        Runner(tmp_path / "other")(spec)


def test_whole_space_when_the_preset_says_so(tmp_path):
    task = make_task(tiny_spec(rank_archs=0), Place(tmp_path, progress=SilentProgress()))
    assert (task.report.set, len(task.report.archs)) == ("full", 15625)


def test_fresh_weights_are_the_same_at_each_call_and_leave_the_global_generator_alone(tmp_path):
    task, other = (make_task(tiny_spec(seed=seed), Place(tmp_path, progress=SilentProgress())) for seed in (0, 1))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    weights = [one.build(NB201).state_dict()["head.weight"] for one in (task, task, other)]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_phases_draw_independent_numbers(tmp_path):
    task = make_task(tiny_spec(), Place(tmp_path, progress=SilentProgress()))
    draws = {phase: task.rng(phase).integers(2**62) for phase in ("stage-1-paths", "stage-1-images", "stage-2-paths")}
    assert len(set(draws.values())) == 3
    assert task.rng("stage-1-paths").integers(2**62) == draws["stage-1-paths"]
    one, same, other = (task.generator(phase) for phase in ("stage-1-images", "stage-1-images", "stage-2-images"))
    torch.rand(5)  # what others draw from the global generator is nothing to a phase
    first, again, second = (
        torch.randint(2**62, (3,), generator=generator).tolist() for generator in (one, same, other)
    )
    assert first == again != second


def test_too_few_images_to_fill_a_scoring_batch_are_an_error(tmp_path):
    """Not a run whose every score is NaN."""
    with pytest.raises(ValueError):
        run(tiny_spec("untrained", score_images=49), Place(tmp_path))


@pytest.mark.slow
def test_scores_come_best_first_under_the_names_of_the_archs(tmp_path):
    _, scores = run(tiny_spec("spos+"), Place(tmp_path))
    assert list(scores.columns) == ["set", "stage", "epoch", "arch_str", "tier", "score"]
    scores = scores[scores["set"] == "sample"]
    assert scores.score.is_monotonic_decreasing
    names = {arch_to_str(tuple(row)) for row in report_archs(NB201, ARCHS).tolist()}
    assert set(scores.arch_str) == names and len(scores) == ARCHS
    assert scores.dtypes.astype(str)[["stage", "epoch", "tier", "score"]].tolist() == [
        "int8", "int16", "int8", "float32",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "compile_", "kernels"),
    [(1, "1", "compiled"), (1, "0", "torch"), pytest.param(2, "1", "torch", marks=pytest.mark.slow)],
)
def test_a_run_sets_its_threads_and_says_what_it_used(tmp_path, monkeypatch, asked, compile_, kernels):
    """Whoever calls it: a library, or an executor whose process has other threads."""
    monkeypatch.setenv("SENAS_COMPILE", compile_)
    library.cache_clear()
    if kernels == "compiled" and library() is None:
        pytest.skip("no C compiler")
    spec = make_spec("untrained", 0, "embedded", sizes=replace(TINY, rank_archs=20), threads=asked)
    seen, made = set(), []
    for outside in (1, 2):
        with limited_threads(outside):
            with monkeypatch.context() as patch:
                patch.setattr(run_module, "make_task", lambda *a: seen.add(torch.get_num_threads()) or make_task(*a))
                made.append(Runner(tmp_path / str(outside))(spec))
            assert torch.get_num_threads() == outside
    library.cache_clear()
    assert seen == {asked}
    assert lasting(made[0]) == lasting(made[1])
    for record in made:
        assert (record.provenance["threads"], record.provenance["kernels"]) == (asked, kernels)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_is_part_of_a_spec_and_holds(tmp_path, engine):
    if library() is None:
        pytest.skip("no C compiler")
    sizes = replace(TINY, rank_archs=20)
    usual, spec = (
        make_spec("untrained", 0, "embedded", sizes=resized(sizes, engine=which)) for which in (None, engine)
    )
    assert "engine" not in usual.settings["preset"] and spec.run_id != usual.run_id
    assert spec.settings["preset"]["engine"] == engine
    assert Runner(tmp_path)(spec).provenance["kernels"] == engine


def test_an_engine_that_cannot_be_had_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SENAS_COMPILE", "0")
    spec = make_spec("untrained", 0, "embedded", sizes=resized(TINY, engine="compiled"))
    with pytest.raises(RunError, match="engine compiled cannot be had: SENAS_COMPILE=0 forbids them"):
        Runner(tmp_path)(spec)


def archs_twice(archs):
    return np.concatenate([archs[:-1], archs[:1]])


@pytest.mark.parametrize(
    ("ranked", "said"),
    [
        (archs_twice, "ranked archs that are not those of task.report.archs, each once"),
        (lambda archs: (archs + 1) % 5, "ranked archs that are not those of task.report.archs, each once"),
        (lambda archs: archs[:12], "ranked 12 of the 20 archs of task.report.archs; rank all"),
        (lambda archs: sys.exit(0), r"ended Python \(SystemExit: 0\); a method returns, or raises an error"),
    ],
)
def test_what_a_method_returns_is_checked_before_it_is_kept(ranked, said, tmp_path, monkeypatch):
    """Taus of unlike archs would stand side by side; a process that ends would look like one that is done."""

    class Ranks(type(METHODS["params"])):
        def __call__(self, task):
            archs = ranked(task.report.archs)
            table = ScoreTable(archs, np.zeros(len(archs)), task.report.set, 1, 1)
            return MethodOutput(tuple(archs[0].tolist()), (table,))

    monkeypatch.setitem(METHODS, "params", Ranks("params"))
    with pytest.raises(RunError, match=said):
        Runner(tmp_path)(tiny_spec("params", rank_archs=20))
    assert not RunStore(tmp_path).records()


def test_the_precision_is_part_of_a_spec_and_of_a_shared_training():
    usual, single, half = (tiny_spec(recipes=resized(TINY, precision=p).recipes) for p in (None, *PRECISIONS))
    assert "precision" not in usual.settings["recipe"] and half.settings["recipe"]["precision"] == "bfloat16"
    assert len({usual.run_id, single.run_id, half.run_id}) == 3


@pytest.mark.parametrize("preset", PRESETS)
def test_without_it_ids_are_those_of_finished_runs(preset):
    recipes = resized(PRESETS[preset]).recipes.values()
    assert not any("precision" in settings_of(recipe) for recipe in recipes)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spos", "magnitude-shrink", "enas"])
def test_a_run_by_bfloat16(tmp_path, monkeypatch, method):
    """On a CPU too; it warns once where the processor is slow at it, and its training is shared with its like alone."""
    monkeypatch.setattr(processor, "flags", lambda: frozenset({"avx2"}))
    run_module._warn_of_bfloat16.cache_clear()
    short = {name: replace(recipe, stage_epochs=(1,) * len(recipe.stage_epochs), batch_size=256)
             for name, recipe in EMBEDDED.recipes.items()}  # fmt: skip
    sizes = replace(TINY, rank_archs=10, candidates=4, recipes=short)
    single, half = (make_spec(method, 0, "embedded", sizes=resized(sizes, precision=p)) for p in PRECISIONS)
    runner = Runner(tmp_path, share=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        losses = [runner(spec).history[0]["loss"] for spec in (single, half, replace(half, seed=1))]
    assert sum("precision bfloat16 is computed as it was asked for, but slowly" in str(w.message) for w in said) == 1
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_run_that_runs_no_network_says_so(tmp_path):
    record = Runner(tmp_path)(tiny_spec("params"))
    assert (record.provenance["threads"], record.provenance["kernels"]) == (1, "none")


@pytest.mark.slow
def test_runner_keeps_the_record_and_cleans_up(tmp_path, monkeypatch):
    spec, store = tiny_spec(), RunStore(tmp_path)
    record = Runner(tmp_path, command=("reproduce", "table3"))(spec)
    assert store.load(spec) == record
    assert store.scores(record).arch_str[0] in {arch_to_str(tuple(row)) for row in report_archs(NB201, ARCHS).tolist()}
    assert arch_from_str(record.pick) in NB201
    assert record.provenance["command"] == ["reproduce", "table3"]
    assert record.provenance["kernels"] == ("compiled" if library() else "torch")
    assert set(record.timing) == {"search_seconds", "report_seconds", "wall_seconds"}
    assert not (tmp_path / "work" / spec.run_id).exists()
    monkeypatch.setattr(runner_module, "run", lambda *_: pytest.fail("it is finished"))
    assert Runner(tmp_path)(spec) == record


@pytest.mark.parametrize("kind", ["silent", "plain", "live"])
def test_a_runner_says_what_it_is_at_while_it_runs(tmp_path, monkeypatch, capsys, kind):
    spec, seen = tiny_spec("params"), []

    def looking(spec, place):
        place.progress.stage("train", 5)
        print("a warning", file=sys.stderr)
        seen.append(active_runs(tmp_path)[spec.run_id])
        return run(spec, place)

    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "run", looking)
        record = Runner(tmp_path, progress=kind)(spec)
    assert (seen[0]["stage"], seen[0]["total"]) == ("train", 5) and not active_runs(tmp_path)
    left = read_status(status_file(tmp_path, spec.run_id))
    err = capsys.readouterr().err
    if kind == "live":  # whoever shows it removes it
        assert left["words"] == ["a warning"] and err == ""
    else:
        assert left is None and err.count("train: 0/5") == (kind == "plain") and "a warning\n" in err
    assert lasting(record) == lasting(Runner(tmp_path / "other")(spec))


@pytest.mark.parametrize("method", ["params", "fixed"])
@pytest.mark.parametrize("seen", [True, False])
def test_a_runner_in_two_parts_keeps_the_same_once_whether_or_not_the_folder_is_seen(
    tmp_path, monkeypatch, method, seen
):
    monkeypatch.chdir(tmp_path)
    spec = tiny_spec("params") if method == "params" else make_spec("fixed", 0, "embedded", sizes=TINY, arch=INDEX_11)
    expected = Runner(tmp_path / "whole")(spec)
    away, home = Runner(Path("here")).apart()
    monkeypatch.chdir("/")
    if not seen:
        away = replace(away, identity="of another folder")
    saved, save = [], RunStore.save
    monkeypatch.setattr(RunStore, "save", lambda *a: saved.append(a[0].root) or save(*a))
    finished = pickle.loads(pickle.dumps(away(spec)))
    store = RunStore(tmp_path / "here")
    assert store.has(spec) == seen
    assert lasting(home(finished)) == lasting(store.load(spec)) == lasting(expected)
    assert home(finished) == store.load(spec)
    assert saved == [store.root]
    if expected.scores_sha256 is not None:
        assert store.scores(store.load(spec)).equals(RunStore(tmp_path / "whole").scores(expected))
    if seen:
        monkeypatch.setattr(runner_module, "run", lambda *_: pytest.fail("it is finished"))
        assert away(spec)[0] == store.load(spec)


@pytest.mark.slow
def test_an_interrupted_runner_leaves_its_work_and_goes_on(tmp_path, monkeypatch, quick):
    expected = Runner(tmp_path / "whole")(tiny_spec("se-nas"))
    spec, root = tiny_spec("se-nas"), tmp_path / "broken"

    class Failing(SilentProgress):
        def message(self, text):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "progress_of", lambda kind, label: Failing())
        with pytest.raises(KeyboardInterrupt):
            Runner(root)(spec)
    assert RunStore(root).missing([spec]) == [spec]
    assert {path.name for path in (root / "work" / spec.run_id).iterdir()} == {
        "stage-1.safetensors", "stage-1-ranking.arrays", "stage-1-criterion.arrays",
    }  # fmt: skip
    assert lasting(Runner(root)(spec)) == lasting(expected)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"garbage", None])
def test_damaged_work_is_done_again(tmp_path, monkeypatch, quick, damage):
    """Whatever of an unfinished run is unreadable, down to half a file, is computed anew."""
    spec = tiny_spec("se-nas")
    expected, _ = run(spec, Place(tmp_path))
    files = list(tmp_path.iterdir())
    assert len(files) == 3 + 3 + 2  # checkpoints, rankings, operator scores
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2] if damage is None else damage)
    record, _ = run(spec, Place(tmp_path))
    assert lasting(record) == lasting(expected)


KILLED = """
import json, os, runpy, signal, sys
globals().update(runpy.run_path(sys.argv[1]))
few_samples(dict.__setitem__, setattr)
spec, root, suffix, left = RunSpec(**json.loads(sys.argv[2])), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])
replace_file = os.replace

def deadly(source, target):
    global left
    left -= str(target).endswith(suffix)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace_file(source, target)

os.replace = deadly
Runner(root)(spec)
"""


def killed(spec: RunSpec, root: Path, suffix: str, nth: int) -> None:
    """Run a spec in a process that dies when its n-th file of a kind is written but not yet in place."""
    command = [sys.executable, "-c", KILLED, __file__, json.dumps(asdict(spec)), str(root), suffix, str(nth)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
def test_kill_9_costs_nothing_but_time(tmp_path, quick):
    """Killed at the checkpoint of the second stage, then again with the scores written and the record not yet."""
    spec, root = tiny_spec("se-nas"), tmp_path / "killed"
    whole = Runner(tmp_path / "whole")(spec)
    killed(spec, root, ".safetensors", 2)
    work = {path.name for path in (root / "work" / spec.run_id).iterdir()}
    assert {name for name in work if not name.startswith(".")} == {
        "stage-1.safetensors", "stage-1-ranking.arrays", "stage-1-criterion.arrays",
    }  # fmt: skip
    killed(spec, root, ".json", 1)
    store = RunStore(root)
    assert store.missing([spec]) == [spec]
    assert [path.suffix for path in (root / "runs").iterdir() if not path.name.startswith(".")] == [".parquet"]
    record = Runner(root)(spec)
    assert lasting(record) == lasting(whole)
    assert record.scores_sha256 == whole.scores_sha256 is not None
    assert sorted(os.listdir(root / "runs")) == [f"{spec.run_id}.json", f"{spec.run_id}.parquet"]
    assert not (root / "work" / spec.run_id).exists()


def test_a_run_that_failed_leaves_no_record(tmp_path, monkeypatch):
    spec = tiny_spec(recipes={name: replace(recipe, lr=1e30, clip=0.0) for name, recipe in TINY.recipes.items()})
    with pytest.raises(RunError, match="training loss is"):
        Runner(tmp_path)(spec)
    assert not RunStore(tmp_path).has(spec)
    assert store_module.RunStore(tmp_path).records() == []


def test_the_pick_of_a_search_under_a_limit_of_latency_is_timed_whole(tmp_path, monkeypatch):
    """For as many images as the table of the limit is of; another limit asks for no time."""
    asked = []
    monkeypatch.setattr("senas_bench.latency.measure.latency_of", lambda *how: asked.append(how) or 1.23456)
    sizes = preset_of("mobilenet", "embedded")
    layers = SPACES["mobilenet"].whole
    per_edge = [[1.0] * len(layers.operators) for _ in layers.edges]
    limit = {"cost": "latency", "low": 0.0, "high": 1e9, "base": 0.0, "per_edge": per_edge, "batch": 8}
    spec = make_spec("random", 0, "embedded", sizes=sizes, space="mobilenet", limit=limit)
    record, _ = run(spec, Place(tmp_path))
    assert record.timing["pick_latency_ms"] == 1.2346
    ((space, _, pick, *rest),) = asked
    assert (space, rest) == ("mobilenet", ["cpu", 8, 1])
    assert SPACES["mobilenet"].to_str(pick) == record.pick
    flops = {"cost": "flops", "low": 0.0, "high": 1e12}
    record, _ = run(make_spec("random", 0, "embedded", sizes=sizes, space="mobilenet", limit=flops), Place(tmp_path))
    assert "pick_latency_ms" not in record.timing and len(asked) == 1
