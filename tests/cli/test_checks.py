"""What is refused before anything is computed: one line, and nothing is left behind."""

import contextlib
import io
import math
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.cli import main
from senas_bench.experiments.executors import SerialExecutor
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.settings import limit_settings, make_spec
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.tasks import report_archs
from senas_bench.methods import METHODS
from senas_bench.methods.training_free import ByProxy
from senas_bench.spaces.nasbench201 import NB201, arch_to_str, official_archs

ALL = [arch_to_str(arch) for arch in official_archs()]
MEAN = "cifar10_test_acc_200ep"


def call(*arguments: object) -> SimpleNamespace:
    """`senas-bench ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["senas-bench", *map(str, arguments)])
        patch.delenv("SENAS_DEBUG", raising=False)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main()
    signal.signal(signal.SIGTERM, before)
    return SimpleNamespace(code=stop.value.code, out=out.getvalue(), err=err.getvalue())


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of the tests' own."""
    monkeypatch.setenv("SENAS_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The one line that a command is refused with, where nothing may run and nothing may be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SerialExecutor, "map", lambda *_: pytest.fail("computed"))
    monkeypatch.setattr(Runner, "__call__", lambda *_: pytest.fail("computed"))

    def line(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        outcome = call(*arguments)
        assert (outcome.code, outcome.out) == (2, ""), outcome.err
        assert sorted(tmp_path.rglob("*")) == before
        (text,) = outcome.err.splitlines()
        return text.removeprefix("error: ")

    return line


@pytest.fixture
def table(tmp_path):
    """Writes a ground truth: columns by name, of some archs."""

    def write(archs: list[str], **columns: np.ndarray):
        pq.write_table(pa.table({"arch_str": archs, **columns}), tmp_path / "truth.parquet")
        return tmp_path / "truth.parquet"

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("reproduce table3 --methods fairnas+se-nas,params --stage-epochs 1,1,1,1,1,1", "give at most 5 stages"),
        ("rank --method fairnas+se-nas --stage-epochs 1,1,1,1,1,1 --out x.csv", "method 'fairnas+se-nas': 6 stages"),
        ("reproduce table3 --methods spos --stage-epochs 40000", "1 stages of 40,000 epochs in all are more than"),
        (
            f"reproduce table3 --methods se-nas --stage-epochs {','.join(['1'] * 128)}",
            "give at most 127 stages of 32,767",
        ),
        ("reproduce fig6 --stage-epochs 60", "fig6 cannot be made: it shows shrinks"),
        ("reproduce fig6 --methods spos", "fig6 cannot be made: it shows shrinks"),
        ("reproduce fig1 --methods spos", "fig1 cannot be made: it has no runs of stand-alone"),
        ("rank --method spos --rank-archs 1 --out x.csv", "--rank-archs 1: a ranking needs at least 2 archs"),
    ],
)
def test_stages_and_methods_that_cannot_end_well(refused, options, message):
    assert message in refused(*options.split())


@pytest.mark.parametrize("method", ["stand-alone", "random-search", "regularized-evolution"])
def test_rank_refuses_what_ranks_nothing(refused, method):
    line = refused("rank", "--method", method, "--out", "x.csv")
    assert line.startswith(f"method {method!r} ranks none of the archs of the report; one of: random, params")


def test_a_truth_without_200_epochs(refused, table):
    path = table(ALL, cifar10_test_acc_12ep=np.linspace(0, 100, len(ALL)))
    line = refused("reproduce", "table3", "table1", "--ground-truth", path)
    assert line.count("has no mean 200-epoch accuracy; import a table that has") == 2


@pytest.mark.parametrize("gap", ["rows", "cells"])
def test_a_truth_without_archs_that_runs_may_name(refused, table, gap):
    """Whole-space picks need the whole space; a ranking of the preset's sample needs that sample."""
    sample = [arch_to_str(tuple(arch)) for arch in report_archs(NB201, 500).tolist()]
    lost = sample[7]
    values = np.array([math.nan if arch == lost else 50.0 for arch in ALL])
    keep = slice(None) if gap == "cells" else ~np.isnan(values)
    path = table(np.array(ALL)[keep].tolist(), **{MEAN: values[keep]})
    line = refused("reproduce", "table3", "--methods", "spos", "--ground-truth", path)
    assert f"has no {MEAN} of 1 of the 500 archs that its runs may rank or pick, first {lost};" in line
    line = refused("reproduce", "table3", "--methods", "spos,rsps,gdas", "--ground-truth", path)
    assert f"has no {MEAN} of 1 of the 15,625 archs" in line
    assert line.endswith("give a table that has, or leave out rsps, gdas, which may pick any arch")
    assert "1 of the 15,625 archs" in refused("reproduce", "fig6", "--methods", "se-nas", "--ground-truth", path)


def test_a_truth_of_the_ranked_archs_is_enough_for_those_who_pick_among_them(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample = [arch_to_str(tuple(arch)) for arch in report_archs(NB201, 500).tolist()]
    path = table(sample, **{MEAN: np.linspace(10, 90, 500)})
    outcome = call("reproduce", "table3", "--methods", "params,spos", "--ground-truth", path, "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")


def test_which_methods_pick_among_the_ranked_archs():
    declared = {name for name, method in METHODS.items() if getattr(method, "only_ranked", False)}
    ours = {
        "random",
        "params",
        "flops",
        "untrained",
        "fairnas",
        "greedynas",
        "spos",
        "spos+",
        "spos-loglik",
        "stand-alone",
    }
    hybrids = {name for name in METHODS if name.startswith(("spos+", "untrained+"))}
    assert declared == ours | hybrids | {name for name, method in METHODS.items() if isinstance(method, ByProxy)}


@pytest.mark.parametrize(
    ("space", "option", "message"),
    [
        (
            "mobilenet",
            "--max-flops 470",
            "the flops limit 423 to 470 million: costs go from 0.602608 to 6.293872 million",
        ),
        ("mobilenet", "--max-params 1e-4", "the params limit 0.00009 to 0.0001 million: costs go from"),
        ("darts", "--max-flops 470", "the flops limit 423 to 470 million was found; typical costs go from 0.0"),
    ],
)
def test_a_limit_that_no_network_meets(refused, space, option, message):
    line = refused("search", "--space", space, *option.split())
    given = f"{option.split()[0]} {float(option.split()[1]):g}"
    assert line.startswith(f"{given}: no arch of {space} ") and message in line


@pytest.mark.parametrize("limit", ["--max-flops 1", "--max-latency 1"])
@pytest.mark.parametrize(
    ("space", "method", "paths"),
    [
        ("nasbench201", "fairnas", "strictly fair paths"),
        ("nasbench201", "fairnas+se-nas", "strictly fair paths"),
        ("nasbench201", "rsps", "paths that leave no node without an input"),
        ("nasbench201", "gdas", "what its logits choose"),
        ("mobilenet", "pcnas-pool", "uniform paths, and later archs that begin with a partial model of its pool"),
    ],
)
def test_a_limit_in_training_of_paths_that_keep_to_none(refused, space, method, paths, limit):
    """Refused before latency is measured."""
    line = refused("search", "--space", space, "--method", method, *limit.split(), "--train-within-limit")
    said = f"--train-within-limit restricts uniform paths, and others train {method} ({paths})"
    assert line == f"{said}; leave out the option, or these methods"


def test_an_artefact_names_all_whose_paths_keep_to_no_limit(refused):
    line = refused("reproduce", "table5", "--train-within-limit", "--seeds", "0")
    assert "others train proxylessnas-r, proxylessnas (what its logits choose); leave out" in line
    line = refused("reproduce", "table4", "--train-within-limit", "--methods", "spos,fairnas,greedynas,pcnas-pool")
    assert "others train fairnas (strictly fair paths), pcnas-pool (uniform paths, and later" in line


def test_a_limit_in_training_of_paths_that_keep_to_it():
    limit = limit_settings("flops", level=320, in_training=True)
    for method in ("spos", "se-nas", "greedynas", "random", "synflow"):
        assert make_spec(method, 0, "embedded", space="mobilenet", limit=limit).settings["limit"] == limit
    with pytest.raises(ValueError, match=r"^--train-within-limit restricts uniform paths"):
        make_spec("fbnet", 0, "embedded", space="mobilenet", limit=limit)


def test_the_folder_of_what_a_search_finds(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert refused("search", "--space", "mobilenet", "--out", "file") == "--out file is a file; name a folder"
    assert "cannot write there" in refused("search", "--space", "mobilenet", "--out", "file/in")


def test_the_run_itself_refuses_too_and_leaves_nothing_unfinished(tmp_path):
    """As where the images alone tell the size of the network."""
    spec = make_spec("spos", 0, "embedded", space="mobilenet", limit=limit_settings("flops", high=1e9))
    with pytest.raises(ValueError, match="no arch of mobilenet meets the flops limit 900 to 1,000 million"):
        Runner(tmp_path)(spec)
    assert RunStore(tmp_path).unfinished() == []


def test_what_cannot_be_made_is_said_first_and_leaves_the_rest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = call(
        "reproduce", "table3", "fig1", "--seeds", "0", "--jobs", "1", "--methods", "params,spos", "--dry-run"
    )
    assert outcome.code == 0 and outcome.err == "fig1 is not made: it has no runs of stand-alone\n"


def test_all_methods_are_those_that_can_run_and_of_the_others_it_is_said_why(tmp_path, monkeypatch):
    """Two of them look trainings up, which the table that is shipped does not have."""
    monkeypatch.chdir(tmp_path)
    asked = ("reproduce", "table3", "--seeds", "0", "--methods", "all", "--dry-run")
    outcome = call(*asked)
    rows = [line.split("-embedded-digits")[0] for line in outcome.out.splitlines() if "-embedded-digits" in line]
    looked_up = ["random-search", "regularized-evolution"]
    assert rows == [name for name in METHODS if name not in looked_up]
    assert [line.split(":")[0] for line in outcome.err.splitlines()] == [f"{name} is left out" for name in looked_up]
    assert "cannot be looked up" in outcome.err


def test_table_3_takes_any_method_beside_other_artefacts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ("--seeds", "0", "--methods", "se-nas-within-edge,snas", "--dry-run")
    out = call("reproduce", "table3", "fig6", *asked).out
    assert "se-nas-within-edge-embedded" in out and "snas-embedded" in out


def test_all_methods_of_several_artefacts_are_those_that_each_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    only = call("reproduce", "fig6", "fig1", "--seeds", "0", "--methods", "all", "--dry-run").out
    assert "se-nas-embedded" in only and "stand-alone-embedded" in only and "params-embedded" not in only
