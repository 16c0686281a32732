"""The command line, as a user meets it: output, files, exit codes."""

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy import stats

from senas_bench import __version__
from senas_bench.cli import main
from senas_bench.cli.options import Device
from senas_bench.experiments.machine import device_of
from senas_bench.experiments.presets import PRESETS, RETRAIN
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.seeds import parse_seeds
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.store import RunStore
from senas_bench.groundtruth import Query, load_ground_truth
from senas_bench.methods import METHODS
from senas_bench.methods.truth import RegularizedEvolution, TruthRandomSearch
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces import SPACES, darts
from senas_bench.spaces.nasbench201 import Skeleton, arch_to_str, nasbench201_cost, official_archs
from senas_bench.training.recipe import TrainingRecipe

ARCHS = 60
TINY = replace(
    PRESETS["embedded"],
    channels=4,
    score_images=50,
    score_batch=50,
    calibration_images=50,
    rank_archs=ARCHS,
    recipes={
        **{name: replace(recipe, stage_epochs=(2,)) for name, recipe in PRESETS["embedded"].recipes.items()},
        "reference": TrainingRecipe((1, 1, 1), 256, snapshots=2),
        "tuned": TrainingRecipe((1, 1, 1), 256, snapshots=2),
    },
)
DARTS_V2 = darts.arch_to_str(darts.arch_from_genotype(darts.GENOTYPES["DARTS_V2"]))
RAY = ["reproduce", "table3", "--executor", "ray"]
INDEX_11 = arch_to_str(official_archs()[11])


@dataclass
class Outcome:
    code: int
    out: str
    err: str


def call(*arguments) -> Outcome:
    """`senas-bench ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["senas-bench", *map(str, arguments)])
        patch.delenv("SENAS_DEBUG", raising=False)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main()
    signal.signal(signal.SIGTERM, before)
    return Outcome(stop.value.code, out.getvalue(), err.getvalue())


def done(*arguments) -> Outcome:
    outcome = call(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def as_json(*arguments):
    return json.loads(done(*arguments, "--json").out)


def refused(code: int, *arguments) -> str:
    """The one line that a command is refused with."""
    outcome = call(*arguments)
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ") and "this is a bug" not in line
    assert outcome.code == code, line
    return line


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def elsewhere(home, tmp_path, monkeypatch):
    """A cache and a working folder of the tests' own."""
    monkeypatch.setenv("SENAS_HOME", str(home))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "embedded", TINY)


@pytest.fixture
def from_scratch(monkeypatch):
    monkeypatch.setitem(METHODS, "regularized-evolution", RegularizedEvolution())
    monkeypatch.setitem(METHODS, "random-search", TruthRandomSearch())


def in_a_fresh_process(code: str, *arguments: str) -> str:
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return process.stdout


CALLS = """if True:
    import contextlib, io, json, sys
    from senas_bench.cli import main
    calls, heavy = json.loads(sys.argv[1]), sys.argv[2].split()
    for arguments in calls:
        sys.argv = ["senas-bench", *arguments]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            with contextlib.suppress(SystemExit):
                main()
        loaded = [name for name in heavy if name in sys.modules]
        if loaded:
            print(" ".join(arguments), "imports", *loaded)
            break
"""
"""Runs the command lines of its first argument in turn, up to one that imports a module of its second."""


def test_help_imports_nothing_heavy():
    commands = [
        "",
        "reproduce",
        "report",
        "compare",
        "rank",
        "evaluate-ranking",
        "cost",
        "status",
        "runs",
        "runs rm",
        "doctor",
        "benchmark query",
        "data list",
    ]
    calls = [[*command.split(), "--help"] for command in commands] + [["--version"], ["nope"]]
    assert in_a_fresh_process(CALLS, json.dumps(calls), "torch numpy pandas scipy pyarrow ray") == ""


@pytest.mark.slow
def test_what_is_wrong_is_said_before_anything_slow_is_imported(tmp_path):
    bad = {"--seeds": "x", "--preset": "x", "--executor": "x", "--stage-epochs": "x", "--data-dir": "x"}
    bad |= {"--dataset": "x", "--ground-truth": "x.parquet"}
    calls = [["reproduce", "table3", option, value] for option, value in bad.items()]
    calls += [["reproduce", "table3", "--executor", "ray", option, "2"] for option in ("--address", "--gpus-per-run")]
    calls += [["rank", "--out", "x"], ["rank", "--out", "x.csv", "--preset", "x"]]
    assert in_a_fresh_process(CALLS, json.dumps(calls), "torch scipy senas_bench.analysis.artefacts.table3 ray") == ""


@pytest.mark.slow
def test_a_second_reproduce_imports_nothing_that_only_runs_and_drawings_need(tmp_path):
    again = [["reproduce", "table3", "--methods", "params,flops", "--jobs", "1"], ["status", "runs"]]
    again += [["reproduce", "table3", "--methods", "spos,se-nas,darts-v1,enas", "--dry-run"]]
    in_a_fresh_process(CALLS, json.dumps(again[:1]), "")
    assert (tmp_path / "runs/figures/table3.png").exists()
    assert in_a_fresh_process(CALLS, json.dumps(again), "torch matplotlib") == ""


def test_version_and_help():
    assert done("--version").out == f"{__version__}\n"
    assert "reproduce" in done("--help").out
    assert "--stage-epochs" in done("reproduce", "--help").out


@pytest.mark.parametrize("group", [[], ["benchmark"], ["data"]])
def test_a_group_alone_prints_its_help_and_is_a_usage_error(group):
    outcome = call(*group)
    assert (outcome.code, outcome.out) == (2, "") and outcome.err.startswith("Usage:")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", [3]), ("0-2", [0, 1, 2]), ("0,2,5-7", [0, 2, 5, 6, 7]), (" 1 , 1-2", [1, 2]), ("4-4", [4])],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["a", "1,", "3-1", "-1", "1-", "1-2-3", "1.5", "²"])
def test_bad_seeds(text):
    assert "bad seeds" in refused(2, "reproduce", "table3", f"--seeds={text}")


def test_a_slip_of_a_key_does_not_fill_the_memory():
    assert "more than 10,000 at once" in refused(2, "reproduce", "table3", "--seeds", "0-99999999999999")
    assert len(parse_seeds("5-10004")) == 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nope"], 2, "No such command 'nope'"),
        (["cost"], 2, "Missing argument"),
        (["reproduce", "tabel3"], 2, "unknown artefact 'tabel3'; did you mean 'table3'? one of: "),
        (["reproduce", "table3", "--methods", "spo"], 2, "unknown method 'spo'; did you mean 'spos'? one of: "),
        (["reproduce", "table3", "--preset", "embeded"], 2, "unknown preset 'embeded'; did you mean 'embedded'?"),
        (["reproduce", "table3", "--dataset", "cifar"], 2, "unknown dataset 'cifar'; did you mean 'cifar10'?"),
        (
            ["reproduce", "table3", "--latency-table", "t"],
            2,
            "--latency-table is of searches under limits of latency, and",
        ),
        (["reproduce", "table4", "--latency-table", "t"], 2, "and table4 shows none; leave it out"),
        (["reproduce", "table3", "--train-within-limit"], 2, "--train-within-limit is of searches, and table3 shows"),
        (
            ["reproduce", "table3", "--executor", "serial", "--jobs", "7"],
            2,
            "has one run at a time, not --jobs 7",
        ),
        (["reproduce", "table3", "--executor", "dask"], 2, "unknown executor 'dask'; one of: serial, joblib, ray"),
        (["reproduce", "table3", "--address", "auto"], 2, "--address is for --executor ray, not joblib"),
        (["reproduce", "table3", "--gpus-per-run", "1"], 2, "--gpus-per-run is for --executor ray, not joblib"),
        ([*RAY, "--device", "cpu", "--gpus-per-run", "1"], 2, "--gpus-per-run is for runs on a GPU; add --device cuda"),
        ([*RAY, "--gpus-per-run", "2"], 2, "--gpus-per-run 2.0 must be above 0 and at most 1"),
        ([*RAY, "--address", "head"], 2, "bad --address 'head'; write auto, host:port or ray://host:port"),
        (["reproduce", "table3", "--jobs", "many"], 2, "'--jobs'"),
        (["reproduce", "table3", "--threads", "0"], 2, "'--threads'"),
        (["reproduce", "table3", "--device", "gpu"], 2, "'--device'"),
        (["reproduce", "table3", "--rank-archs", "-1"], 2, "'--rank-archs'"),
        (["reproduce", "table3", "--candidates", "-1"], 2, "'--candidates'"),
        (["reproduce", "table3", "--stage-epochs", "5,x"], 2, "--stage-epochs 'x' must be a positive whole number"),
        (["reproduce", "table3", "--stage-epochs", "5,0"], 2, "--stage-epochs '0'"),
        (["reproduce", "table3", "--stage-epochs", ""], 2, "--stage-epochs ''"),
        (["reproduce", "table3", "--data-dir", "nowhere"], 3, "--data-dir nowhere is not a folder"),
        (["reproduce", "table3", "--preset", "cpu"], 3, "no cifar10 images in"),
        (["reproduce", "table3", "--dataset", "cifar100"], 3, "no cifar100 images in"),
        (["reproduce", "table3", "--ground-truth", "none.parquet"], 3, "no ground-truth table at none.parquet"),
        (["rank", "--out", "scores.txt"], 2, "must end in .csv or .parquet"),
        (["rank", "--out", "nowhere/scores.csv"], 2, "--out nowhere/scores.csv: cannot write in "),
        (["rank", "--out", "scores.csv", "--method", "rand"], 2, "unknown method 'rand'; did you mean 'random'?"),
        (["rank", "--out", "scores.csv", "--seed", "-1"], 2, "'--seed'"),
        (["rank", "--out", "scores.csv", "--preset", "cpu"], 3, "no cifar10 images in"),
        (["evaluate-ranking"], 2, "Missing argument 'scores'"),
        (["cost", "|foo|"], 2, "bad arch string '|foo|'"),
        (["cost", INDEX_11.replace("none", "nothing")], 2, "unknown operator 'nothing'; one of: none, skip_connect"),
        (["cost", "15625"], 2, "arch index 15625 is out of range; 0 to 15624"),
        (["cost", "11", "--space", "nasbench"], 2, "unknown space 'nasbench'; did you mean 'nasbench201'?"),
        (["cost", "11", "--dataset", "digits"], 2, "unknown dataset 'digits'"),
        (["benchmark", "query", "11", "--epochs", "90"], 2, "epochs 90 is not benchmarked; one of: 12, 200"),
        (["benchmark", "query", "11", "--split", "val"], 2, "has no column with split val; it has: cifar10_test"),
        (["benchmark", "info", "--ground-truth", "none.parquet"], 3, "no ground-truth table"),
        (["benchmark", "import", "none.csv", "out.parquet"], 3, "no ground-truth table at none.csv"),
        (["benchmark", "import", "none.xls", "out.parquet"], 2, "must end in .parquet or .csv"),
        (["benchmark", "import", "in.csv", "out.csv"], 2, "OUT out.csv: the name must end in .parquet"),
        (["report", "--out", "page.pdf"], 2, "--out page.pdf: the name must end in .html or .htm"),
        (["report", "--out", "nowhere/page.html"], 2, "--out nowhere/page.html: cannot write in "),
        (["draw", "a.txt", "--out", "nowhere/a.png"], 2, "--out nowhere/a.png: cannot write in "),
        (["data", "verify", "digit"], 2, "unknown dataset 'digit'; did you mean 'digits'?"),
        (["data", "verify", "cifar10"], 3, "no cifar10 images in"),
    ],
)
def test_a_user_error_is_one_line_and_a_code(arguments, code, words, tmp_path):
    assert words in refused(code, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["benchmark", "import", "in.csv", "file/out.parquet"], "OUT file/out.parquet: cannot write in "),
        (["benchmark", "import", "in.csv", "file/new/out.parquet"], "OUT file/new/out.parquet: cannot write in "),
        (["benchmark", "import", "in.csv", "folder.parquet"], "OUT folder.parquet is a folder; name a file"),
        (["rank", "--out", "file/scores.csv"], "--out file/scores.csv: cannot write in "),
        (["draw", "in.txt", "--out", "file/a.png"], "--out file/a.png: cannot write in "),
        (["draw", "in.txt", "--out", "folder.png"], "--out folder.png is a folder; name a file"),
        (["report", "--out", "file/page.html"], "--out file/page.html: cannot write in "),
        (["report", "--out", "folder.html"], "--out folder.html is a folder; name a file"),
        (["search", "--space", "darts", "--out", "file"], "--out file is a file; name a folder"),
        (["search", "--space", "darts", "--out", "file/found"], "--out file/found: cannot write there: "),
    ],
)
def test_where_nothing_can_be_written_nothing_is_computed(arguments, words, tmp_path):
    (tmp_path / "file").write_text("")
    for suffix in ("parquet", "png", "html"):
        (tmp_path / f"folder.{suffix}").mkdir()
    before = sorted(tmp_path.iterdir())
    line = refused(2, *arguments)
    assert words in line and "Errno" not in line and ".tmp" not in line
    assert sorted(tmp_path.iterdir()) == before


def test_torch_is_asked_for_a_gpu_where_there_is_a_driver(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("ctypes.CDLL", lambda name: None)
    assert device_of(Device.auto) == device_of(Device.cuda) == "cuda"
    assert device_of(Device.cpu) == "cpu"

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert device_of(Device.auto) == ("cpu" if sys.platform == "linux" else "cuda")
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/kfd")
    assert device_of(Device.auto) == "cuda"


def test_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (["reproduce", "table3"], ["rank", "--out", "scores.csv"]):
        assert "--device cuda: this machine has no usable CUDA GPU" in refused(2, *command, "--device", "cuda")


def test_results_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(2, "reproduce", "table3", "--methods", "params", "--results", "file/runs")
    assert "cannot write results in file/runs" in line and "--results" in line


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["senas-bench", "--debug", "cost", "x"])
    monkeypatch.setenv("SENAS_DEBUG", "")  # restores what the command sets
    with pytest.raises(ValueError, match="bad arch string"):
        main()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (PermissionError(13, "Permission denied", "x"), 1, "error: [Errno 13] Permission denied: 'x'"),
        (KeyError("x"), 1, "error: KeyError: 'x' (this is a bug; --debug shows where)"),
        (ValueError("two\n  lines"), 2, "error: two lines"),
    ],
)
def test_an_error_from_inside_is_one_line(monkeypatch, error, code, line):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("senas_bench.api.searches.one_arch", fail)
    outcome = call("cost", INDEX_11)
    assert (outcome.code, outcome.out, outcome.err) == (code, "", f"{line}\n")


def test_an_interrupt_says_how_to_go_on(tiny, monkeypatch):
    def interrupt(self, spec):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "__call__", interrupt)
    outcome = call("reproduce", "table3", "--methods", "params", "--fresh", "--executor", "serial")
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1].endswith(
        "Go on with: senas-bench reproduce table3 --methods params --executor serial"
    )


@pytest.mark.parametrize(
    ("arch", "dataset", "flops", "params"),
    [
        ("0", "cifar10", 15.64737, 0.129306),
        ("11", "cifar10", 113.95137, 0.802426),
        ("284", "cifar10", 11.71521, 0.101306),
        ("1462", "cifar10", 220.11969, 1.531546),
        (arch_to_str((0,) * 6), "cifar10", 7.78305, 0.073306),
        ("11", "cifar100", 113.95722, 0.808276),
        (INDEX_11, "cifar100", 113.95722, 0.808276),
        ("11", "imagenet16-120", 28.49548, 0.809576),
    ],
)
def test_cost(arch, dataset, flops, params):
    """The published costs of docs/method.md 5."""
    found = as_json("cost", arch, "--dataset", dataset)
    assert (found["flops_m"], found["params"]) == (pytest.approx(flops, abs=5e-6), round(params * 1e6))
    _, numbers, network = done("cost", arch, "--dataset", dataset).out.splitlines()
    assert numbers == f"{flops:.6f} MFLOPs, {params:.6f} M parameters"
    assert network.startswith(f"network: nasbench201 at full size for {dataset}: resolution ")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_evaluate_ranking(tmp_path, suffix):
    """Parameters as scores: correlations and top by scipy and numpy; the order of the rows is nothing to it."""
    archs = np.array(official_archs())[np.random.default_rng(0).permutation(15625)[:800]]
    params = nasbench201_cost(Skeleton(32, 10, 3, 16, 5))(archs)["params"]
    frame = pd.DataFrame({"arch_str": [arch_to_str(tuple(arch)) for arch in archs.tolist()], "score": params})
    path = tmp_path / f"scores{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    options = ["--dataset", "cifar10", "--split", "test", "--epochs", "200", "--k", "1,50", "--resamples", "100"]
    result = as_json("evaluate-ranking", path, *options)
    accuracy = load_ground_truth().accuracy(Query("cifar10", "test", 200, "mean"), frame["arch_str"].tolist())
    assert result["n"] == 800
    assert result["tau_b"] == pytest.approx(stats.kendalltau(params, accuracy).statistic)
    assert result["spearman"] == pytest.approx(stats.spearmanr(params, accuracy).statistic)
    low, high = result["tau_b_ci95"]
    assert low < result["tau_b"] < high
    assert result["pick_accuracy"] == pytest.approx(accuracy[params == params.max()].mean())
    assert "precision@50" in result and "precision@10" not in result
    assert f"{result['tau_b']:.3f} [{low:.3f}, {high:.3f}]  Kendall" in done("evaluate-ranking", path, *options).out


def test_evaluate_ranking_refuses(tmp_path):
    options = ["--dataset", "cifar10", "--split", "test", "--epochs", "200"]
    assert "not found" in refused(3, "evaluate-ranking", "none.csv", *options)
    path = tmp_path / "scores.csv"
    path.write_text(f"arch_str,score\n{INDEX_11},1\n{INDEX_11},2\n")
    assert "rows 1 and 2 both score" in refused(2, "evaluate-ranking", path, *options)
    path.write_text("arch,score\n")
    assert "no column arch_str" in refused(2, "evaluate-ranking", path, *options)
    path.write_text(f"arch_str,score\n{INDEX_11},1\n{arch_to_str((3,) * 6)},2\n")
    assert "has no cifar10_val_acc_12ep" in refused(
        2, "evaluate-ranking", path, "--dataset", "cifar10", "--split", "val", "--epochs", "12"
    )
    assert "'--resamples'" in refused(2, "evaluate-ranking", path, *options, "--resamples", "9")
    assert "--k 'x' must be a positive whole number" in refused(2, "evaluate-ranking", path, *options, "--k", "x")


def test_benchmark_info_and_query():
    truth = load_ground_truth()
    info = as_json("benchmark", "info")
    assert (info["name"], info["archs"], info["sha256"]) == ("analog-nasbench", 15625, truth.sha256)
    assert "analog-nasbench" in done("benchmark", "info").out
    expected = truth.accuracy(Query("cifar10", "test", 200, "mean"), [INDEX_11])[0]
    for name in ("11", INDEX_11):
        found = as_json("benchmark", "query", name, "--dataset", "cifar10", "--epochs", "200")
        assert found == {"arch_index": 11, "arch_str": INDEX_11, "accuracy": {"cifar10_test_acc_200ep": expected}}


def test_benchmark_verify():
    assert done("benchmark", "verify").out == "ok\n"
    outcome = call("benchmark", "verify", "--ground-truth", "none.parquet")
    assert outcome.code == 3 and "no ground-truth table" in outcome.out


@pytest.mark.parametrize("kind", ["text", "empty", "folder", "name that is no text", "metadata of other types", "deep"])
def test_benchmark_verify_of_junk_is_a_line_and_code_3(tmp_path, kind):
    path = tmp_path / "junk.parquet"
    table = pa.table({"arch_str": [INDEX_11], "cifar10_test_acc_200ep": [91.5], "cifar10_params": [1]})
    meant = {"metadata of other types": b'{"name": {}, "source": [1]}', "deep": b"[" * 100_000}
    if kind == "folder":
        path.mkdir()
    elif kind in ("text", "empty"):
        path.write_text("junk" if kind == "text" else "")
    else:
        pq.write_table(table.replace_schema_metadata({"senas_bench": meant.get(kind, b"{}")}), path)
    if kind == "name that is no text":
        path.write_bytes(path.read_bytes().replace(b"cifar10_params", b"cifar10_param\xff"))
    outcome = call("benchmark", "verify", "--ground-truth", path)
    assert outcome.code == 3 and outcome.err == ""
    problem, count = outcome.out.splitlines()
    assert problem.startswith(str(path)) and count == "1 problems"
    assert str(path) in refused(3, "benchmark", "info", "--ground-truth", path)


def test_benchmark_import(tmp_path):
    (tmp_path / "in.csv").write_text(f"arch_str,cifar10_test_acc_200ep\n{INDEX_11},91.5\n")
    assert (
        "1 archs, cifar10_test_acc_200ep, 0 of single seeds, 0 costs"
        in done("benchmark", "import", "in.csv", "out.parquet").out
    )
    found = as_json("benchmark", "query", "11", "--ground-truth", "out.parquet")
    assert found["accuracy"] == {"cifar10_test_acc_200ep": 91.5}


def test_benchmark_import_does_not_write_over_what_it_reads(tmp_path):
    source = tmp_path / "own.parquet"
    source.write_bytes(b"the only copy")
    assert "is the file that is read; name another" in refused(2, "benchmark", "import", source, source)
    (tmp_path / "link.parquet").symlink_to(source)
    assert "is the file that is read" in refused(2, "benchmark", "import", source, tmp_path / "link.parquet")
    assert source.read_bytes() == b"the only copy"


def test_benchmark_import_says_what_is_measured_and_what_is_left_out(tmp_path):
    other = arch_to_str((3,) * 6)
    (tmp_path / "in.csv").write_text(
        f"arch_str,cifar10_test_acc_200ep,note,mine\n{INDEX_11},91.5,a,1\n{other},92,b,2\n"
    )
    (tmp_path / "costs.csv").write_text(
        f"arch_str,cifar10_pixel3_latency,cifar10_edgetpu_latency\n{INDEX_11},3,-1\n{other},2,4\n"
    )
    outcome = done("benchmark", "import", "in.csv", "new/out.parquet", "--costs", "costs.csv")
    assert "0 of single seeds, 2 costs of 1 to 2 archs; written: new/out.parquet" in outcome.out
    assert outcome.err == "not of the schema, left out: note, mine\n"


def test_data_list_and_verify(tmp_path):
    digits, cifar10, cifar100, imagenet16, imagenet = done("data", "list").out.splitlines()
    assert "imagenet       missing: no train images" in imagenet
    assert "imagenet16-120 missing: no imagenet16-120 images" in imagenet16
    assert digits.split() == ["digits", make_spec("params", 0, "embedded").data_id]
    assert "missing: no cifar10 images" in cifar10 and "missing: no cifar100 images" in cifar100
    assert "1797 training and 0 test images, 10 classes" in done("data", "verify", "digits").out


@pytest.mark.slow
def test_data_list_says_why_images_are_refused_that_are_there(tmp_path):
    for folder in ("images/train", "images/val", "images/ImageNet16"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "images/ImageNet16/train_data_batch_1").touch()
    *_, imagenet16, imagenet = done("data", "list", "--data-dir", "images").out.splitlines()
    assert imagenet.startswith("imagenet       refused: no images in images/train (it has no sub-folders")
    assert imagenet16.startswith("imagenet16-120 refused: ") and "10 of 11 files missing" in imagenet16
    assert "refused  images imagenet: no images in" in call("doctor", "--data-dir", "images").out


@pytest.mark.slow
def test_doctor(tmp_path):
    lines = done("doctor").out.splitlines()
    assert {line.split()[0] for line in lines} == {"ok", "missing"}
    assert any(line.startswith("ok       ground truth analog-nasbench") for line in lines)
    assert any("loops in C: " in line and "recommended" in line for line in lines)
    assert any("bfloat16 on the CPU: " in line for line in lines)
    (tmp_path / "bad.parquet").write_text("x")
    outcome = call("doctor", "--ground-truth", "bad.parquet")
    assert outcome.code == 1 and "\nproblem  ground truth: bad.parquet is not a readable" in outcome.out


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        ("CC", "/nowhere/cc -O2", "the C compiler /nowhere/cc cannot run (No such file or directory)"),
        ("SENAS_COMPILE", "0", "SENAS_COMPILE=0 forbids them"),
    ],
)
def test_doctor_says_why_there_are_no_loops(monkeypatch, tmp_path, variable, value, cause):
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(variable, value)
    assert f"missing  loops in C: {cause}" in call("doctor").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "compild"], "unknown engine 'compild'; did you mean 'compiled'?"),
        (["--engine", "compiled", "--threads", "2"], "--engine compiled runs on one CPU thread"),
        (["--precision", "bfloat"], "unknown precision 'bfloat'; did you mean 'bfloat16'?"),
        (["--engine", "compiled", "--precision", "bfloat16"], "--engine compiled computes in float32"),
    ],
)
@pytest.mark.parametrize(
    "command", [["reproduce", "table3"], ["search", "--space", "mobilenet"], ["rank", "--out", "x.csv"]]
)
def test_an_engine_that_cannot_be_is_refused(command, options, message):
    assert message in refused(2, *command, *options)


def test_status_of_nothing():
    assert done("status").out == "0 finished, 0 unfinished in runs, which is not there\n"
    assert as_json("status", "--results", "nowhere") == {"finished": [], "active": [], "unfinished": []}


RUN = ["reproduce", "table3", "--methods", "spos,params", "--seeds", "0-1", "--no-timing"]


@pytest.fixture(scope="module")
def reproduced(home, tmp_path_factory):
    """Table 3 of two methods and two seeds, one run at a time: folder and outcome."""
    folder = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENAS_HOME", str(home))
        patch.setitem(PRESETS, "embedded", TINY)
        return folder, done(*RUN, "--jobs", 1, "--results", folder)


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lasting(files: dict[str, bytes]) -> dict[str, object]:
    """Files of a results folder without what depends on the machine and the moment."""
    kept: dict[str, object] = {name: data for name, data in files.items() if not name.startswith("work/")}
    for name, data in files.items():
        if name.startswith("runs/") and name.endswith(".json"):
            kept[name] = {**json.loads(data), "timing": {}, "provenance": {}}
    return kept


@pytest.mark.slow
def test_reproduce_writes_runs_and_tables(reproduced):
    folder, outcome = reproduced
    names = [f"tables/table3.{suffix}" for suffix in ("csv", "md", "tex", "json", "parquet")]
    names += [f"figures/table3.{suffix}" for suffix in ("png", "svg")]
    specs = [make_spec(method, seed, "embedded", sizes=TINY) for method in ("spos", "params") for seed in (0, 1)]
    runs = [f"runs/{spec.run_id}.{suffix}" for spec in specs for suffix in ("json", "parquet")]
    assert sorted(lasting(contents(folder))) == sorted([*names, *runs])
    assert outcome.out.startswith("Table 3") and f"written: {folder / names[0]}, " in outcome.out
    assert outcome.err.startswith("0 of 4 runs are finished, 4 to compute\n") and " [4/4] " in outcome.err


@pytest.mark.slow
def test_workers_write_the_same_and_a_second_run_computes_nothing(reproduced, tiny, tmp_path):
    """The workers never see the patched preset: all sizes lie in the specs."""
    folder, outcome = reproduced
    parallel = done(*RUN, "--jobs", "2", "--results", tmp_path / "two")
    before = contents(tmp_path / "two")
    assert lasting(before) == lasting(contents(folder))
    assert parallel.out.replace(str(tmp_path / "two"), "") == outcome.out.replace(str(folder), "")
    for record in RunStore(tmp_path / "two").records():
        assert record.provenance["command"][:2] == ["reproduce", "table3"]
    again = done(*RUN, "--results", tmp_path / "two")
    assert again.err == "4 of 4 runs are finished, 0 to compute\n"
    assert again.out == parallel.out
    assert contents(tmp_path / "two") == before


@pytest.mark.slow
def test_table_as_json(reproduced, tiny):
    folder, _ = reproduced
    table = as_json(*RUN, "--results", folder)
    assert table == json.loads((folder / "tables/table3.json").read_text())
    assert [(row["method"], row["n"]) for row in table["rows"]] == [("spos", 2), ("params", 2), ("optimal", 0)]
    assert table["seeds"] == [0, 1] and "Not the sizes" not in str(table["notes"])


@pytest.mark.slow
def test_timing_is_in_the_table_unless_told_otherwise(reproduced, tiny, tmp_path):
    assert "search_seconds_mean" not in (reproduced[0] / "tables/table3.json").read_text()
    done("reproduce", "table3", "--methods", "params", "--seeds", "0", "--jobs", "1")
    assert "search_seconds_mean" in (tmp_path / "runs/tables/table3.json").read_text()


def test_status_of_a_results_folder(reproduced):
    folder, _ = reproduced
    found = as_json("status", "--results", folder)
    records = RunStore(folder).records()
    assert [(run["run"], run["pick"]) for run in found["finished"]] == [(r.spec.run_id, r.pick) for r in records]
    lines = done("status", "--results", folder).out.splitlines()
    assert len(lines) == 5 and lines[-1] == f"4 finished, 0 unfinished in {folder}"


@pytest.mark.slow
def test_several_artefacts_share_runs_and_each_takes_the_methods_it_knows(reproduced, tiny, tmp_path):
    folder, _ = reproduced
    shutil.copytree(folder, tmp_path / "more")
    some = ["--methods", "spos,params,se-nas", "--seeds", "0-1", "--no-timing", "--results", tmp_path / "more"]
    outcome = done("reproduce", "table1", "fig1", "fig6", "fig7", "fig8", *some)
    said = "fig1 is not made: it has no runs of stand-alone\n4 of 6 runs are finished, 2 to compute\n"
    assert outcome.err.startswith(said)
    rows = {name: json.loads((tmp_path / f"more/tables/{name}.json").read_text())["rows"] for name in ("fig6", "fig7")}
    assert {row["method"] for row in rows["fig6"]} == {"se-nas"}
    assert {row["method"] for row in rows["fig7"]} == {"se-nas", "spos"}
    assert {row["epoch"] for row in rows["fig7"]} == {1, 2, 3}
    made = {path.name for path in (tmp_path / "more/figures").iterdir()}
    assert made == {f"{name}.{end}" for name in ("table1", "table3", "fig6", "fig7", "fig8") for end in ("png", "svg")}
    again = done("reproduce", "table1", "fig6", "fig7", "fig8", *some)
    assert "6 of 6 runs are finished, 0 to compute" in again.err and again.out in outcome.out
    assert "none of fig6, fig8 shows it" in refused(2, "reproduce", "fig6", "fig8", "--methods", "params,spos")


@pytest.mark.slow
def test_report_makes_all_that_the_runs_of_a_folder_allow(reproduced, tiny, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(reproduced[0], folder)
    table3 = (folder / "tables/table3.json").read_bytes()
    outcome = done("report", "--results", folder, "--no-timing", "--out", tmp_path / "page.html")
    assert outcome.out.startswith("claims of the paper: ") and outcome.out.endswith(f"written: {tmp_path}/page.html\n")
    page = (tmp_path / "page.html").read_bytes()
    assert b"Table 3: searching" in page and b"<script" not in page and page.startswith(b"<!DOCTYPE html>")
    verdicts = json.loads((folder / "tables/verdicts.json").read_text())
    assert {row["verdict"] for row in verdicts["rows"]} <= {"no runs", "undecided"}
    again = json.loads((folder / "tables/table3.json").read_text())
    by_method = [sorted(table["rows"], key=lambda row: row["method"]) for table in (again, json.loads(table3))]
    assert by_method[0] == by_method[1] and "Not the sizes" not in str(again["notes"])
    assert {path.stem for path in (folder / "figures").iterdir()} == {"table1", "fig7", "fig8", "table3", "ladder"}
    before = contents(folder)
    done("report", "--results", folder, "--no-timing")
    assert contents(folder) == {**before, "report.html": page}
    assert "run `senas-bench reproduce table3` first" in refused(3, "report", "--results", tmp_path / "nothing")
    (tmp_path / "file").touch()
    assert "is a file; name a folder" in refused(2, "report", "--results", tmp_path / "file")


def test_compare(reproduced, tmp_path):
    folder, _ = reproduced
    shutil.copytree(folder, tmp_path / "b")
    table = as_json("compare", folder, tmp_path / "b")
    assert {row["method"] for row in table["rows"]} == {"spos", "params"}
    assert all(row["difference"] == 0 for row in table["rows"])
    assert done("compare", folder, tmp_path / "b").out.startswith("A against B")
    assert "reproduce" in refused(2, "compare", folder, tmp_path)


def test_accuracies_of_single_seeds_enter_table1(tiny, tmp_path, shared):
    done(
        "reproduce", "table1", "--methods", "params", "--seeds", "0",
        "--ground-truth", shared / "nb201/nb201_accuracies.parquet",
        "--seed-truth", shared / "nb201/nb201_per_seed.parquet",
    )  # fmt: skip
    rows = json.loads((tmp_path / "runs/tables/table1.json").read_text())["rows"]
    tau = {row["column"]: row["tau_mean"] for row in rows if row["ranking"] == "stand-alone, benchmark"}
    assert round(tau["cifar10_val"], 2) == 0.91 and set(tau) == {
        "cifar10_val", "cifar100_valtest", "imagenet16-120_valtest",
    }  # fmt: skip


def test_another_number_of_stages_is_said(tiny):
    said = done("reproduce", "table3", "--methods", "spos,se-nas", "--stage-epochs", "1,1", "--dry-run").err
    assert said == "stages: 2, so 1 shrinks of se-nas; preset embedded has 3 stages, 2 shrinks\n"
    assert not done("reproduce", "table3", "--methods", "spos,se-nas", "--stage-epochs", "1,1,1", "--dry-run").err


def test_dry_run_computes_and_writes_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, "__call__", lambda *_: pytest.fail("computed"))
    *lines, precision = done(*RUN, "--dry-run").out.splitlines()
    assert precision.startswith("bfloat16 on the CPU: ")
    assert lines == [  # of these sizes nothing is known, see tests/cli/test_plan.py
        "spos-embedded-digits    seeds 0-1: 2 to compute: unknown, no run like it was timed",
        "params-embedded-digits  seeds 0-1: 2 to compute: unknown, no run like it was timed",
        "total: 4 of 4 runs to compute: core-hours unknown",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_is_finished_is_rendered_without_running_the_rest(tiny, tmp_path, monkeypatch):
    assert "none of the 4 runs is finished in runs; run them without" in refused(3, *RUN, "--finished")
    done("reproduce", "table3", "--methods", "params", "--seeds", "1", "--no-timing")
    monkeypatch.setattr(Runner, "__call__", lambda *_: pytest.fail("computed"))
    line = refused(3, *RUN, "--finished", "--rank-archs", "7")
    assert "it has 1 of other settings" in line and "give the options that they were made with" in line
    table = as_json(*RUN, "--finished")
    assert [(row["method"], row["n"]) for row in table["rows"]] == [("params", 1), ("optimal", 0)]
    assert table["seeds"] == [1]
    assert "--finished runs nothing and --fresh runs everything anew" in refused(2, *RUN, "--finished", "--fresh")


@pytest.mark.slow
def test_fresh_sets_finished_runs_aside(tiny, tmp_path):
    options = ["reproduce", "table3", "--methods", "params", "--seeds", "0", "--jobs", "1"]
    done(*options)
    before = contents(tmp_path / "runs" / "runs")
    assert "0 of 1 runs are finished" in done(*options, "--fresh").err
    after = contents(tmp_path / "runs" / "runs")
    assert {name: after[f"{name}.old"] for name in before} == before
    assert set(before) < set(after)


@pytest.mark.slow
def test_sizes_become_part_of_the_run(tiny, tmp_path):
    options = ["--stage-epochs", "1,2", "--rank-archs", "40", "--candidates", "7", "--jobs", "1", "--seeds", "0"]
    outcome = done("reproduce", "table3", "--methods", "spos,params", *options)
    recipes = {**TINY.recipes, "reference": replace(TINY.recipes["reference"], stage_epochs=(1, 2))}
    sizes = replace(TINY, recipes=recipes, rank_archs=40, candidates=7)
    store = RunStore(tmp_path / "runs")
    for method in ("spos", "params"):
        record = store.load(make_spec(method, 0, "embedded", sizes=sizes))
        assert (store.scores(record)["set"] == "sample").sum() == 40
        assert record.spec.run_id != make_spec(method, 0, "embedded", sizes=TINY).run_id
    assert "Not the sizes of preset embedded: candidates 7, rank archs 40, stage epochs 1,2." in outcome.out
    assert "Not the sizes of preset embedded" in (tmp_path / "runs/tables/table3.md").read_text()


@pytest.mark.slow
def test_networks_trained_alone_have_epochs_of_their_own(tiny, tmp_path):
    sizes = ["--alone-epochs", "3", "--rank-archs", "3", "--jobs", "1", "--seeds", "0"]
    outcome = done("reproduce", "table1", "--methods", "stand-alone,spos", *sizes)
    records = {record.spec.method: record for record in RunStore(tmp_path / "runs").records()}
    assert [line["epoch"] for line in records["stand-alone"].history] == [3, 3, 3]
    assert records["spos"].spec.settings["recipe"]["stage_epochs"] == list(TINY.recipes["reference"].stage_epochs)
    assert "Not the sizes of preset embedded: rank archs 3, stage epochs 3." in outcome.out
    assert "'--alone-epochs'" in refused(2, "reproduce", "table1", "--alone-epochs", "0")


def test_a_method_or_seed_named_twice_is_run_once(tiny):
    outcome = done("reproduce", "table3", "--methods", "params, params", "--seeds", "0,0-1", "--jobs", "1")
    assert "0 of 2 runs are finished" in outcome.err


def test_options_that_say_what_the_preset_says_change_nothing(reproduced, tiny):
    folder, first = reproduced
    sizes = ["--stage-epochs", "1,1,1", "--rank-archs", ARCHS, "--candidates", "0"]
    again = done(*RUN, "--results", folder, *sizes)
    assert "0 to compute" in again.err and again.out == first.out


@pytest.mark.slow
def test_a_failed_run_is_reported_and_the_others_are_kept(tiny, tmp_path, monkeypatch):
    recipes = {**TINY.recipes, "tuned": replace(TINY.recipes["tuned"], lr=1e30, clip=0.0)}
    monkeypatch.setitem(PRESETS, "embedded", replace(TINY, recipes=recipes))
    outcome = call("reproduce", "table3", "--methods", "spos+,params", "--seeds", "0", "--executor", "serial")
    assert outcome.code == 1
    (line,) = [line for line in outcome.err.splitlines() if "FAILED" in line]
    assert line[20:].startswith("[1/2] spos+-embedded-digits-s0-") and "training loss is" in line
    assert "Traceback" not in outcome.err
    table = json.loads((tmp_path / "runs/tables/table3.json").read_text())
    assert [row["method"] for row in table["rows"]] == ["params", "optimal"]
    outcome = call("rank", "--method", "spos+", "--out", "scores.csv")
    assert outcome.code == 1 and outcome.out == "" and not (tmp_path / "scores.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--jobs", "2"], ["random", "spos+", "spos"]),
        (["--jobs", "1"], ["random", "spos", "spos+"]),
        (["--executor", "serial"], ["random", "spos", "spos+"]),
    ],
)
def test_several_jobs_begin_with_the_costly_runs_of_a_seed(tiny, monkeypatch, options, expected):
    """Which come last in the order of tables, after what trains nothing; or one worker computes the last of them while
    the others wait."""
    begun = []

    def one_by_one(runner, specs):
        for spec in specs:
            begun.append(spec)
            yield spec, runner(spec)

    executors = dict.fromkeys(("joblib", "serial"), lambda *settings: SimpleNamespace(map=one_by_one))
    monkeypatch.setattr("senas_bench.experiments.executors.EXECUTORS", executors)
    done("reproduce", "table3", "--methods", "random,spos,spos+", "--seeds", "0-1", *options)
    assert [(spec.method, spec.seed) for spec in begun] == [(name, seed) for seed in (0, 1) for name in expected]


@pytest.mark.slow
def test_searches_from_scratch(tiny, from_scratch, benchmark_table, tmp_path):
    options = ["reproduce", "table3", "--methods", "regularized-evolution,random-search,params", "--seeds", "0-1"]
    options += ["--ground-truth", benchmark_table, "--jobs", "1"]
    table = as_json(*options)
    assert [row["method"] for row in table["rows"]] == [
        "regularized-evolution", "random-search", "params", "optimal",
    ]  # fmt: skip
    assert table["rows"][0]["images_trained_mean"] == 0
    assert "6 of 6 runs are finished" in done(*options).err
    record = RunStore(tmp_path / "runs").load(
        make_spec("random-search", 0, "embedded", sizes=TINY, ground_truth=benchmark_table)
    )
    assert record.history[-1]["budget_seconds"] == 12000


def test_searches_from_scratch_need_the_right_table(tiny, from_scratch, tmp_path):
    line = refused(2, "reproduce", "table3", "--methods", "random-search")
    assert "'analog-nasbench' has no cifar10_val_acc_12ep; give --ground-truth" in line
    line = refused(2, "rank", "--method", "random-search", "--out", "scores.csv")
    assert "ranks none of the archs of the report; one of: random, params" in line
    assert not list(tmp_path.iterdir())


def test_rank_and_evaluate(tiny, tmp_path):
    options = ["--method", "params", "--rank-archs", "30", "--out"]
    assert done("rank", *options, "scores.csv").out.startswith("30 archs scored by params; best |")
    done("rank", *options, "scores.parquet")
    scores = pd.read_csv(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(scores, pq.read_table(tmp_path / "scores.parquet").to_pandas(), check_dtype=False)
    assert list(scores.columns) == ["arch_str", "score", "estimate"] and len(scores) == 30
    (record,) = RunStore(tmp_path / "runs").records()
    assert record.spec.run_id == make_spec("params", 0, "embedded", sizes=replace(TINY, rank_archs=30)).run_id
    assert scores.arch_str[0] == record.pick
    options = ["--dataset", "cifar10", "--split", "test", "--epochs", "200", "--resamples", "100"]
    assert as_json("evaluate-ranking", "scores.csv", *options)["n"] == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "scores.csv", "scores.parquet"]


def test_rank_tries_its_output_before_it_computes(tiny, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder; name a file" in refused(2, "rank", "--method", "params", "--out", "folder.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.parametrize(
    ("space", "arch", "dataset", "flops", "params"),
    [
        ("mobilenet", "2 -1 -1 -1 4 -1 -1 0 5 -1 -1 2 3 -1 0 2 5 5 5 3 5", None, 465.260, 7.1198),
        ("darts-separate", DARTS_V2, "cifar10", 528.359, 3.349342),
        ("darts-separate", DARTS_V2, "imagenet", 529.912, 4.718752),
    ],
)
def test_cost_in_other_spaces(space, arch, dataset, flops, params):
    """The published costs of docs/method.md 6 and 7."""
    found = as_json("cost", arch, "--space", space, *(("--dataset", dataset) if dataset else ()))
    assert found["flops_m"] == pytest.approx(flops, abs=5e-4)
    assert found["params"] / 1e6 == pytest.approx(params, abs=5e-5)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--space", "mobile"], "unknown space 'mobile'; did you mean 'mobilenet'?"),
        (["--space", "darts", "--method", "setn"], "method 'setn' runs in nasbench201 only; in darts: random"),
        (["--space", "darts", "--max-flops", "1", "--max-params", "1"], "one limit at a time; give one of --max-flops"),
        (["--space", "darts", "--max-flops", "-1"], "--max-flops -1.0 must be positive"),
        (["--space", "darts", "--max-flops", "1", "--at-least", "1"], "--at-least 1.0 must be at least 0 and below 1"),
        (["--space", "darts", "--at-least", "7"], "--at-least is of a limit; add --max-flops, --max-params or"),
        (["--space", "darts", "--train-within-limit"], "--train-within-limit is of a limit; add --max-flops,"),
        (
            ["--space", "darts", "--latency-table", "t.json", "--max-flops", "1"],
            "is for a limit of latency; add",
        ),
        (["--space", "nasbench201", "--method", "fixd"], "unknown method 'fixd'"),
        (["--space", "darts", "--preset", "cpus"], "unknown preset 'cpus'; did you mean 'cpu'?"),
    ],
)
def test_a_search_that_cannot_be_is_refused(arguments, line):
    assert line in refused(2, "search", *arguments)


@pytest.mark.slow
def test_search_draw_and_retrain(tmp_path, monkeypatch):
    """Uniform draws under a limit in the DARTS space, drawn; and the last of them trained for one epoch."""
    own = SPACES["darts"].studies["embedded"]
    quick = {name: {**fields, "stage_epochs": (1,)} for name, fields in own.recipes.items()}
    study = replace(own, recipes=quick, method={})
    monkeypatch.setitem(SPACES, "darts", replace(SPACES["darts"], studies={"embedded": study}))
    where = ["--results", tmp_path / "runs", "--jobs", "1", "--device", "cpu"]
    limit = ["--max-flops", "0.27", "--seeds", "0-1"]
    found = as_json("search", "--space", "darts", "--method", "random", *limit, *where, "--out", tmp_path / "found")
    assert [line["seed"] for line in found] == [0, 1]
    assert all(0.9 * 0.27 <= line["flops_m"] <= 0.27 for line in found)
    file = tmp_path / "found" / "random-darts.json"
    assert [arch["arch"] for arch in json.loads(file.read_text())] == [line["pick"] for line in found]
    done("draw", file, "--out", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "found" / "random-darts.png").read_bytes()
    assert "holds 2 archs of darts; one of darts is needed" in refused(2, "retrain", file, "--space", "darts", *where)
    (line,) = as_json("retrain", found[1]["pick"], "--space", "darts", *where)
    assert line["tested_on"] == "digits valid" and 0 < line["top1"] <= line["top5"] <= 100
    assert (line["pick"], line["flops_m"]) == (found[1]["pick"], found[1]["flops_m"])


def test_the_official_split(tmp_path):
    options = ["table3", "--official-split", "--dry-run"]
    line = refused(2, "reproduce", *options)
    assert line == "error: unknown data set with an official split 'digits'; one of: cifar10, cifar100, imagenet16-120"


@pytest.fixture
def small_paper(monkeypatch):
    """MobileNet at preset paper, at a size at which a few images do."""
    own = SPACES["mobilenet"].studies["paper"]
    lengths = {"reference": (1, 1), "tuned": (1, 1), RETRAIN: (1,)}
    recipes = {
        name: {**own.recipes[name], "stage_epochs": epochs, "batch_size": 8, "amp": False}
        for name, epochs in lengths.items()
    }
    sizes = {"resolution": 8, "width": 0.125, "held_out": 6, "score_images": 4, "score_batch": 2, "rank_archs": 2}
    sizes |= {"calibration_images": 4}
    method = {"drop": 60, "per_operator": 1, "evolution": Evolution(4, 2, 2)}
    study = replace(own, sizes={**own.sizes, **sizes}, recipes=recipes, method={**own.method, **method})
    monkeypatch.setitem(SPACES, "mobilenet", replace(SPACES["mobilenet"], studies={"paper": study}))


def fake_imagenet(root, layout: str):
    """Three classes of eight training and three test images, in either layout."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("val", 9)):
        encoded = []
        for _ in range(count):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
            encoded.append(buffer.getvalue())
        labels = [3 * k // count for k in range(count)]
        if layout == "folder":
            for k, (data, label) in enumerate(zip(encoded, labels, strict=True)):
                path = root / part / f"n0{label}" / f"{k}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        else:
            (root / "data").mkdir(exist_ok=True)
            images = pa.array([{"bytes": data} for data in encoded], pa.struct({"bytes": pa.binary()}))
            name = {"train": "train", "val": "validation"}[part]
            pq.write_table(
                pa.table({"image": images, "label": labels}), root / "data" / f"{name}-00000-of-00001.parquet"
            )
    return root


MOBILE = "1 3 -1 2 4 0 -1 -1 5 1 1 -1 2 2 -1 -1 0 0 -1 -1 3"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_imagenet(tmp_path, small_paper, layout):
    """A search in the one layout, a training in the other, both from scratch and tested on all of `val`."""
    where = ["--data-dir", fake_imagenet(tmp_path, layout), "--device", "cpu"]
    asked = ["search", "--method", "se-nas", "--retrain"] if layout == "folder" else ["retrain", MOBILE]
    (line,) = as_json(*asked, "--space", "mobilenet", "--preset", "paper", "--dataset", "imagenet", *where)
    assert line["tested_on"] == "imagenet test" and line["top5"] == 100
    (record,) = RunStore(tmp_path / "runs").records()
    retrained = record.history[-1]
    assert (retrained["images"], record.counters["retrain"]["images_trained"]) == (9, 24)
    assert record.counters["search"]["images_trained"] == (32 if layout == "folder" else 0)
    assert record.history[-2]["skeleton"]["num_classes"] == 3
    listed = [text for text in done("data", "list", *where[:2]).out.splitlines() if text.split()[0] == "imagenet"]
    assert listed[0].split() == ["imagenet", record.spec.data_id]
    said = done("data", "verify", "imagenet", *where[:2]).out
    assert said == f"imagenet: 24 training and 9 test images, 3 classes, {record.spec.data_id}\n"


def test_imagenet_that_is_not_there_or_not_whole(tmp_path):
    where = ["--space", "mobilenet", "--preset", "paper", "--data-dir", tmp_path]
    assert "no train images in" in refused(3, "search", *where)
    assert "ImageNet's consent" in refused(3, "data", "download", "imagenet", "--data-dir", tmp_path)
    fake_imagenet(tmp_path, "folder")
    (tmp_path / "val" / "n01" / "3.JPEG").write_bytes(b"no image")
    assert "3.JPEG: unusable image" in refused(3, "data", "verify", "imagenet", "--data-dir", tmp_path)


def test_curves_for_tensorboard(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for command in (["reproduce", "table3"], ["search", "--space", "darts"], ["retrain", "11"]):
        assert "--tensorboard needs the package" in refused(2, *command, "--tensorboard", tmp_path / "curves")
    folders = []

    class Writer:
        def __init__(self, folder):
            folders.append(folder)
            self.add_scalar = self.add_text = lambda *_: None
            self.close = lambda: None

    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    sys.modules["tensorboard"].__spec__ = ModuleSpec("tensorboard", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    done("search", "--space", "nasbench201", "--method", "params", "--jobs", "1", "--tensorboard", tmp_path / "curves")
    (record,) = RunStore(tmp_path / "runs").records()
    assert folders == [str(tmp_path / "curves" / record.spec.run_id)]


@pytest.mark.slow
def test_latency_is_measured_once(tmp_path):
    options = ["--space", "darts", "--clock", "cpu", "--device", "cpu", "--results", tmp_path]
    first = as_json("latency", *options, "--validate", "2")
    assert (first["clock"], first["archs"]) == ("cpu", 2) and 0 < first["fastest_ms"] <= first["slowest_ms"]
    table = Path(first["table"]).read_bytes()
    again = as_json("latency", *options)
    assert Path(again["table"]).read_bytes() == table and "spearman" not in again
    assert "clock 'sun'; one of: wall, cpu, cuda" in refused(2, "latency", *options[:2], "--clock", "sun")


def test_methods_that_a_search_artefact_does_not_show_are_refused():
    assert "--methods gdas: none of table6 shows it" in refused(2, "reproduce", "table6", "--methods", "gdas")


def test_draw_refuses_what_it_cannot_write(tmp_path):
    assert "the name must end in .png or .svg" in refused(2, "draw", tmp_path / "a.json", "--out", tmp_path / "a.jpg")
