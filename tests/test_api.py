"""The Python face: what the command line does, as functions that return tables and frames."""

import doctest
import importlib
import inspect
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import senas_bench as sb
from senas_bench.analysis.output.formats import Table, to_json
from senas_bench.api.options import Options
from senas_bench.api.studies import prepare
from senas_bench.errors import DataError
from senas_bench.experiments.executors import SerialExecutor
from senas_bench.experiments.failures import RunsFailed
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.seeds import seeds_of
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.study import Setting

SMALL = {"rank_archs": 60, "jobs": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A cache and a working folder of the test's own."""
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_importing_the_package_imports_nothing_else():
    code = "import sys, senas_bench as sb; dir(sb); sb.__version__; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pandas", "matplotlib", "scipy", "typer"} & set(loaded)
    assert [name for name in loaded if name.startswith("senas_bench.")] == []


def test_every_name_of_the_face_is_there_and_listed():
    assert set(sb.__all__) <= set(dir(sb))
    for name in sb.__all__:
        value = getattr(sb, name)
        assert isinstance(value, dict) if name.isupper() else callable(value)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = sb.nope


def test_no_room_of_the_package_takes_a_name_of_the_face():
    """Importing `senas_bench.x` would put the module where the function was."""
    folder = Path(sb.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(sb.__all__)


def test_editors_know_every_option():
    assert list(Options.__annotations__) == [item.name for item in fields(Setting)]
    for function in (sb.reproduce, sb.rank, sb.search, sb.retrain):
        assert inspect.signature(function).parameters["options"].annotation == "Unpack[Options]"


@pytest.mark.parametrize("name", ["api.rankings", "experiments.seeds"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"senas_bench.{name}"))
    assert found.attempted and not found.failed


@pytest.mark.slow
def test_reproduce_returns_the_table_that_it_writes(tmp_path, capsys):
    table = sb.reproduce("table3", methods=["params", "flops"], seeds=range(2), no_timing=True, **SMALL)
    assert isinstance(table, Table)
    assert (tmp_path / "runs/tables/table3.json").read_text() == to_json(table)
    assert [(row["method"], row["n"]) for row in table.meta["rows"]] == [("params", 2), ("flops", 2), ("optimal", 0)]
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("0 of 4 runs are finished, 4 to compute\n")
    again = sb.reproduce("table3", methods=["params", "flops"], seeds=[0, 1], finished=True, no_timing=True, **SMALL)
    assert to_json(again) == to_json(table)


@pytest.mark.slow
def test_a_table_is_drawn_as_its_artefact_draws_it(tmp_path):
    table = sb.reproduce("table3", methods=["params"], seeds=0, results=tmp_path, **SMALL)
    (axes, *_) = sb.figure(table).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["params (1)"]
    assert sb.make("table3", tmp_path, methods=["params"]).meta["rows"] == table.meta["rows"]
    with pytest.raises(ValueError, match="unknown artefact 'scores'"):
        sb.figure(Table("scores", pd.DataFrame(), {}, {}))


@pytest.mark.slow
def test_a_table_that_was_renamed_is_drawn_too(tmp_path):
    """As the README's ten lines after `make reproduce`: the folder has a table of more methods, or of other sizes."""
    sb.reproduce("table3", methods=["params", "random"], seeds=0, results=tmp_path, **SMALL)
    fewer = sb.reproduce("table3", methods=["params"], seeds=0, results=tmp_path, finished=True, **SMALL)
    other = sb.reproduce("table3", methods=["params"], seeds=0, results=tmp_path, **{**SMALL, "rank_archs": 50})
    assert fewer.name == "table3-params" and other.name.startswith("table3-embedded-digits-")
    for table in (fewer, other):
        (axes, *_) = sb.figure(table).axes
        assert [text.get_text() for text in axes.get_yticklabels()] == ["params (1)"]


@pytest.mark.slow
def test_several_artefacts_are_a_dict():
    tables = sb.reproduce("table1", "table3", methods=["params", "random"], seeds=0, results="here", **SMALL)
    assert list(tables) == ["table1", "table3"] and Path("here/tables/table1.csv").exists()


def test_rank_and_evaluate(tmp_path):
    scores = sb.rank("params", **SMALL)
    assert isinstance(scores, pd.DataFrame) and list(scores.columns) == ["arch_str", "score", "estimate"]
    assert len(scores) == 60 and scores["estimate"].is_monotonic_decreasing
    assert scores["score"].is_monotonic_decreasing
    found = sb.evaluate_ranking(scores, resamples=100)
    assert sb.evaluate_ranking(scores, k=10, resamples=100)["precision@10"] == found["precision@10"]
    scores.to_csv(tmp_path / "scores.csv", index=False)
    assert sb.evaluate_ranking(tmp_path / "scores.csv", resamples=100) == found
    assert found["n"] == 60 and json.dumps(found) and "whole space" in found["standing"]["reason"]
    two = sb.evaluate_ranking({"a": scores, "b": tmp_path / "scores.csv"}, resamples=100, plot=tmp_path / "ranks.png")
    assert two["files"]["a"] == two["files"]["b"] == found and (tmp_path / "ranks.png").stat().st_size > 1000
    assert [(pair["a"], pair["b"], pair["difference"]) for pair in two["pairs"]] == [("a", "b", 0.0)]
    files = sb.evaluate_ranking([tmp_path / "scores.csv"], resamples=100)
    assert files == {"files": {str(tmp_path / "scores.csv"): found}, "pairs": []}
    with pytest.raises(ValueError, match=r"--plot .*x\.pdf: the name must end in \.png or \.svg"):
        sb.evaluate_ranking(scores, plot="x.pdf")
    with pytest.raises(ValueError, match="no scores; give a file"):
        sb.evaluate_ranking([])


def test_report(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "senas_bench.cli.app", raising=False)  # which other tests may have imported
    with pytest.raises(DataError, match="no finished runs in runs"):
        sb.report()
    sb.reproduce("table3", methods=["params", "flops"], seeds=range(2), **SMALL)
    page = sb.report(out=tmp_path / "page.html")
    assert page == tmp_path / "page.html" and "a script or notebook" in page.read_text()
    assert Path("runs/tables/verdicts.json").exists()


def test_search(tmp_path):
    found = sb.search("nasbench201", "params", seeds=[0, 1], jobs=1, device="cpu", out=tmp_path / "found")
    assert [line["seed"] for line in found] == [0, 1]
    written = json.loads((tmp_path / "found/params-nasbench201.json").read_text())
    assert [arch["arch"] for arch in written] == [line["pick"] for line in found]


@pytest.mark.slow
def test_failed_runs_are_an_error_once_the_rest_is_written(monkeypatch, tmp_path):
    run = Runner.__call__

    def fails_once(self, spec):
        if spec.seed == 1:
            raise ValueError("broken")
        return run(self, spec)

    monkeypatch.setattr(Runner, "__call__", fails_once)
    with pytest.raises(RunsFailed, match=r"1 runs failed: params-.*-s1-") as failure:
        sb.reproduce("table3", methods=["params"], seeds=range(2), **SMALL)
    assert [spec.seed for spec in failure.value.specs] == [1]
    assert json.loads((tmp_path / "runs/tables/table3.json").read_text())["seeds"] == [0]
    with pytest.raises(RunsFailed):
        sb.rank("params", seed=1, **SMALL)
    with pytest.raises(RunsFailed):
        sb.search("nasbench201", "params", seeds=1, jobs=1, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sb.reproduce("tabel3"), ValueError, "unknown artefact 'tabel3'; did you mean 'table3'"),
        (lambda: sb.reproduce(), ValueError, "no artefact is named"),
        (lambda: sb.reproduce("table3", methods=["spo"]), ValueError, "unknown method 'spo'"),
        (lambda: sb.reproduce("table3", methods="spo"), ValueError, "unknown method 'spo'"),
        (lambda: sb.reproduce("table3", seeds=[]), ValueError, "no seeds"),
        (lambda: sb.reproduce("table3", seeds=range(10**9)), ValueError, "more than 10000 seeds"),
        (lambda: sb.reproduce("table3", methods=[]), ValueError, "no methods; give one at least"),
        (lambda: sb.reproduce("table3", results=""), ValueError, "option results is empty"),
        (lambda: sb.reproduce(["table3"]), ValueError, r"artefact \['table3'\] must be a name; one of: table1"),
        (lambda: sb.reproduce("table3", preset=None), ValueError, "preset None must be a name"),
        (lambda: sb.rank(["params"]), ValueError, r"method \['params'\] must be a name"),
        (lambda: sb.reproduce("table3", seeds=[0, -1]), ValueError, "seed -1 must be"),
        (lambda: sb.reproduce("table3", seeds=["0"]), ValueError, "seed '0' must be"),
        (lambda: sb.reproduce("table3", seeds="0-"), ValueError, "bad seeds '0-'; write 0-9"),
        (lambda: sb.reproduce("table3", seeds=1.5), ValueError, "seed 1.5 must be a whole number"),
        (lambda: sb.reproduce("table3", methods=5), ValueError, "methods 5 must be names, such as"),
        (lambda: sb.reproduce("table3", stage_epochs="5,5,5"), ValueError, r"'5,5,5' must be a number for each stage"),
        (lambda: sb.reproduce("table3", stage_epochs=5), ValueError, r"stage_epochs 5 must be a number for each stage"),
        (lambda: sb.rank("params", seed=[0, 1]), ValueError, "2 seeds; a ranking is of one run"),
        (lambda: sb.reproduce("table3", finished=True, fresh=True), ValueError, "give one of them"),
        (lambda: sb.reproduce("table3", finished=True), DataError, "none of the"),
        (lambda: sb.reproduce("table3", device="gpu"), ValueError, "unknown device 'gpu'"),
        (lambda: sb.reproduce("table3", executor="dask"), ValueError, "unknown executor 'dask'"),
        (lambda: sb.reproduce("table3", preset="cpu"), DataError, "no cifar10 images"),
        (lambda: sb.reproduce("table3", rank_arch=3), ValueError, "unknown option 'rank_arch'; did you mean"),
        (lambda: sb.rank("random-search"), ValueError, "ranks none of the archs"),
        (lambda: sb.rank("params", rank_archs=1), ValueError, "at least 2 archs"),
        (lambda: sb.search("mobile"), ValueError, "unknown space 'mobile'"),
        (lambda: sb.search("darts", max_flops=1, max_params=1), ValueError, "one limit at a time"),
        (lambda: sb.search("darts", max_flops=1e-9), ValueError, "--max-flops 1e-09"),
        (lambda: sb.search("darts", at_least=7), ValueError, "--at-least is of a limit"),
        (lambda: sb.search("darts", at_least=0.9), ValueError, "--at-least is of a limit"),
        (
            lambda: sb.search("darts", "spos", alone_epochs=2, retrain=True),
            ValueError,
            "of darts keep the preset",
        ),
        (lambda: sb.search("nasbench201", "spos", alone_epochs=2), ValueError, "spos trains none; add retrain=True"),
        (lambda: sb.retrain("|foo|"), ValueError, "bad arch string"),
        (lambda: sb.retrain("0", stage_epochs=(1, 1)), ValueError, "stage_epochs is of searches"),
        (lambda: sb.retrain("0", "mobilenet", alone_epochs=2), ValueError, "of mobilenet keep the preset"),
        (lambda: sb.rank("params", executor="nosuch"), ValueError, "unknown executor 'nosuch'"),
        (lambda: sb.rank("params", executor="serial", jobs=7), ValueError, "has one run at a time, not --jobs 7"),
        (lambda: sb.rank("params", latency_table="t.json"), ValueError, "latency_table is of searches under a limit"),
        (lambda: sb.rank("params", train_within_limit=True), ValueError, "and a ranking has none"),
        (lambda: sb.evaluate_ranking(pd.DataFrame({"arch": []})), ValueError, "no column arch_str, score"),
        (lambda: sb.evaluate_ranking([pd.DataFrame(), pd.DataFrame()]), ValueError, 'name several frames: {"mine": fr'),
        (lambda: sb.evaluate_ranking(5), ValueError, "scores must be a frame, a file or a list of files"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(call, error, words, monkeypatch, tmp_path):
    monkeypatch.setattr(SerialExecutor, "map", lambda *_: pytest.fail("computed"))
    monkeypatch.setattr(Runner, "__call__", lambda *_: pytest.fail("computed"))
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", 0),
        ("threads", 1025),
        ("jobs", -1),
        ("rank_archs", -1),
        ("alone_epochs", 0),
        ("candidates", 1.5),
        ("accumulate", True),
        ("stage_epochs", (5, 0)),
        ("stage_epochs", ()),
    ],
)
def test_numbers_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        Setting(**{name: value})


@pytest.mark.slow
def test_options_become_part_of_the_runs():
    sb.reproduce("table3", methods=["params"], seeds=0, results="runs", **{**SMALL, "rank_archs": 40})
    (record,) = RunStore(Path("runs")).records()
    assert record.spec.settings["preset"]["rank_archs"] == 40
    setting = replace(Setting(), stage_epochs=[1, 2])
    assert setting.sizes().recipes["reference"].stage_epochs == (1, 2)
    assert seeds_of([3, 3, 1]) == [3, 1] and seeds_of("0-1,4") == [0, 1, 4]


def test_numbers_of_numpy_and_a_home_are_as_good(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    setting = Setting(results="~/runs", data_dir="~/images", rank_archs=np.int64(40), stage_epochs=np.array([1, 2]))
    assert (setting.results, setting.data_dir) == (tmp_path / "me/runs", tmp_path / "me/images")
    assert setting == Setting(results=setting.results, data_dir=setting.data_dir, rank_archs=40, stage_epochs=(1, 2))
    assert type(setting.rank_archs) is int and setting.sizes().recipes["reference"].stage_epochs == (1, 2)
    for seeds in (np.int64(3), np.array(3), np.array([3]), [np.uint8(3), 3], range(3, 4)):
        assert json.dumps(seeds_of(seeds)) == "[3]"
    for wrong in (np.bool_(True), [True], np.array([0.5])):
        with pytest.raises(ValueError, match="must be a whole number, at least 0 and below"):
            seeds_of(wrong)


def test_what_can_be_read_only_once_is_read_only_once(tmp_path):
    """Names and files from a generator, as of `Path.glob`."""
    study = prepare(["table3"], 0, (name for name in ("params", "random")), Setting(results=tmp_path), dry=True)
    assert [spec.method for spec in study.specs] == ["params", "random"]
    nodes = "+|none~0|none~1|+"
    archs = [f"|nor_conv_3x3~0|{nodes}|none~0|none~1|none~2|", f"|none~0|{nodes}|nor_conv_3x3~0|none~1|none~2|"]
    pd.DataFrame({"arch_str": archs, "score": [0.0, 1.0]}).to_csv(tmp_path / "s1.csv", index=False)
    found = sb.evaluate_ranking(tmp_path.glob("s*.csv"), k=np.int64(1))
    assert [one["precision@1"] for one in found["files"].values()] == [1.0]


def test_what_is_no_method_is_said_at_once(monkeypatch):
    monkeypatch.setitem(sb.METHODS, "mine", lambda task: None)
    with pytest.raises(ValueError, match="method 'mine': function is no Method; inherit"):
        sb.reproduce("table3", methods="mine", seeds="0")


def test_more_archs_than_there_are():
    with pytest.raises(ValueError, match="--rank-archs 15,626: nasbench201 has 15,625 archs; 0 ranks them all"):
        sb.reproduce("table3", methods="params, random", seeds="0-1", rank_archs=15_626)
