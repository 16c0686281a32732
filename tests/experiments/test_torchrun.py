"""The command line in two processes against one. Run as a script, this file is what each of the processes does."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from senas_bench.cli import main
from senas_bench.errors import RunError
from senas_bench.experiments import provenance, torchrun
from senas_bench.experiments.machine import workers_of
from senas_bench.experiments.presets import RETRAIN
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.studies import preset_of
from senas_bench.experiments.torchrun import TorchrunExecutor, dismiss, follow, helps, started
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces import SPACES, Study
from senas_bench.training import distributed, loop
from senas_bench.training.distributed import LostProcess

pytestmark = pytest.mark.slow

COMMAND = ["search", "--space", "mobilenet", "--method", "se-nas", "--retrain", "--device", "cpu", "--json"]
STEPS = (2 + 2) * 3
"""Steps of a run: two stages and two epochs of retraining, each of three batches of 32 of 97 training images."""


def tiny(set_item=dict.__setitem__) -> None:
    """The study of MobileNet at the embedded preset, at its smallest; each process would draw a dropout of its own."""
    space = SPACES["mobilenet"]
    own = space.studies["embedded"]
    recipes = {
        name: {
            **fields,
            "stage_epochs": (2,) if name == RETRAIN else (1, 1),
            "batch_size": 32,
            "snapshots": 2,
            "dropout": 0.0,
        }
        for name, fields in own.recipes.items()
    }
    sizes = {"score_images": 50, "score_batch": 50, "rank_archs": 3, "held_out": 1700, "calibration_images": 50}
    method = {"drop": 60, "per_operator": 1, "search": "evolution", "evolution": Evolution(4, 2, 2)}
    study = Study({**own.sizes, **sizes}, recipes, {**own.method, **method})
    set_item(SPACES, "mobilenet", replace(space, studies={"embedded": study}))


def worker(fatal_step: int, arguments: list[str]) -> None:
    """A process that is killed before that step of training, 0 for never."""
    tiny()
    loop.CHECKPOINT_SECONDS = 0.0
    rate, steps = loop.learning_rate, iter(range(1, 10**9))

    def deadly(*arguments):
        if next(steps) == fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return rate(*arguments)

    loop.learning_rate = deadly
    sys.argv = ["senas-bench", *arguments]
    main()


def processes(results: Path, fatal: int = 0) -> list[subprocess.CompletedProcess]:
    """`COMMAND` in two processes, the second of which may be killed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    place["PYTHONPATH"] = os.pathsep.join(sys.path)
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(fatal * rank), *COMMAND, "--results", str(results)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=300) for process in started]
    return [subprocess.CompletedProcess([], p.returncode, *words) for p, words in zip(started, said, strict=True)]


@pytest.fixture(scope="module")
def cut(tmp_path_factory) -> tuple[Path, list[subprocess.CompletedProcess]]:
    """The second process is killed in the last epoch of the last training."""
    folder = tmp_path_factory.mktemp("two")
    return folder, processes(folder, STEPS - 1)


def test_a_killed_process_ends_the_command_with_one_line(cut):
    folder, (first, second) = cut
    assert second.returncode == -signal.SIGKILL
    assert first.returncode == 1, first.stderr
    (line,) = [line for line in first.stderr.splitlines() if "FAILED" in line]
    assert "process 0 of 2: another process died or did not answer" in line
    assert line.endswith("start the same command again: it goes on from the last checkpoint")
    assert "Traceback" not in first.stderr and json.loads(first.stdout) == []
    assert not list((folder / "runs").glob("*.json"))
    (work,) = [path for path in (folder / "work").iterdir() if path.is_dir()]
    assert {"stage-1.safetensors", "stage-2.safetensors", "retrain.safetensors"} <= {p.name for p in work.iterdir()}


def test_the_same_command_goes_on_and_finds_what_one_process_finds(cut, tmp_path, monkeypatch):
    folder, _ = cut
    first, second = processes(folder)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert (second.stdout, second.stderr) == ("", "")  # one of them speaks
    assert not list((folder / "work").glob("*/"))
    tiny(monkeypatch.setitem)
    sizes = resized(preset_of("mobilenet", "embedded"), accumulate=2)
    spec = make_spec("se-nas", 0, "embedded", sizes=sizes, space="mobilenet", retrain=True)
    one, two = Runner(tmp_path)(spec), RunStore(folder).load(spec)
    assert json.loads(first.stdout)[0]["pick"] == one.pick == two.pick
    assert one.counters == two.counters
    assert two.provenance["processes"] == 2 and "processes" not in one.provenance
    for ours, theirs in zip(one.history, two.history, strict=True):
        # the running statistics of batch norm alone differ, by which the retrained network is tested
        ours, theirs = ({k: v for k, v in line.items() if k not in ("top1", "top5")} for line in (ours, theirs))
        numbers = [{k: v for k, v in line.items() if isinstance(v, float)} for line in (ours, theirs)]
        assert numbers[1] == pytest.approx(numbers[0], abs=1e-5)
        assert ours.get("dropped") == theirs.get("dropped") and ours.get("groups") == theirs.get("groups")
    scores = [RunStore(root).scores(record) for root, record in ((tmp_path, one), (folder, two))]
    assert scores[0].arch_str.tolist() == scores[1].arch_str.tolist()
    assert scores[1].score.tolist() == pytest.approx(scores[0].score.tolist(), abs=1e-5)


WHOLE = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29999"}
"""What torchrun sets."""
LEFT_OVER = [
    {"RANK": "0", "WORLD_SIZE": "2"},
    {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"},
    {**WHOLE, "RANK": "x"},
    {**WHOLE, "WORLD_SIZE": ""},
    {**WHOLE, "MASTER_PORT": "-1"},
    {**WHOLE, "MASTER_PORT": "99999"},
    {**WHOLE, "RANK": "2"},
    {**WHOLE, "LOCAL_RANK": "2"},
]
"""What it does not."""


def put(patch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """The variables of torchrun in the environment, and no others of it."""
    for name in (*WHOLE, "LOCAL_WORLD_SIZE"):
        patch.delenv(name, raising=False)
    for name, value in variables.items():
        patch.setenv(name, value)


def command(patch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `senas-bench ARGUMENTS` in this process."""
    patch.setattr(sys, "argv", ["senas-bench", *arguments])
    patch.setenv("SENAS_DEBUG", "")  # which a command may set
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


@pytest.fixture
def nobody(monkeypatch):
    """Fails where others are waited for."""

    def wait(*_):
        raise AssertionError("waits for others")

    monkeypatch.setattr(distributed, "meet", wait)


@pytest.fixture
def store(monkeypatch) -> torch.distributed.Store:
    """Where the second of two processes meets the first."""
    store = torch.distributed.HashStore()
    monkeypatch.setattr(distributed, "meet", lambda *_: store)
    monkeypatch.setattr(torchrun, "PATIENCE", 0.3)
    put(monkeypatch, {**WHOLE, "RANK": "1"})
    return store


def test_who_helps(monkeypatch, store):
    assert started() == 2 and helps()
    monkeypatch.setenv("RANK", "0")
    assert started() == 2 and not helps()
    monkeypatch.delenv("RANK")  # of some other program
    assert started() == 1 and not helps()


@pytest.mark.parametrize("variables", [*LEFT_OVER, WHOLE, {**WHOLE, "RANK": "1"}], ids=str)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["status"],
        ["cost", "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"],
        ["--debug", "data", "list"],
    ],
    ids=lambda arguments: arguments[-1].split("|")[0],
)
def test_what_does_not_train_is_alone(monkeypatch, nobody, capsys, tmp_path, variables, arguments):
    monkeypatch.chdir(tmp_path)
    put(monkeypatch, {})
    assert command(monkeypatch, *arguments) == 0
    alone = capsys.readouterr()
    assert alone.out
    put(monkeypatch, variables)
    assert command(monkeypatch, *arguments) == 0
    assert capsys.readouterr() == alone


@pytest.mark.parametrize("arguments", [["--help"], ["--dry-run"], ["--finished"]], ids=str)
def test_what_runs_nothing_waits_for_nobody(monkeypatch, nobody, capsys, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    put(monkeypatch, WHOLE)
    run = ["reproduce", "table3", "--methods", "spos", "--seeds", "0", "--device", "cpu"]
    assert command(monkeypatch, *run, *arguments) == (3 if arguments == ["--finished"] else 0)
    said = capsys.readouterr()
    assert "Traceback" not in said.err and said.out + said.err


def test_a_plan_is_that_of_all_processes(monkeypatch, nobody):
    put(monkeypatch, WHOLE)
    assert not torchrun.joins(["reproduce", "table3", "--dry-run"])
    assert started() == 2
    assert torchrun.joins(["--with", "mine.py", "reproduce", "table3"])
    assert torchrun.joins(["reproduce", "table3"]) and not torchrun.joins(["doctor"])
    assert started() == 1


@pytest.mark.parametrize("variables", LEFT_OVER, ids=str)
def test_what_trains_refuses_variables_that_make_no_group(monkeypatch, nobody, capsys, variables):
    put(monkeypatch, variables)
    assert command(monkeypatch, *COMMAND) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("error: ") and said.err.endswith("; start with torchrun, or unset RANK to run alone\n")


def test_the_number_of_processes_here_counts_under_torchrun_only(monkeypatch):
    put(monkeypatch, {"LOCAL_WORLD_SIZE": "2"})
    monkeypatch.setattr(provenance, "cpu_cores", lambda: 8)
    assert workers_of(1) == 8
    put(monkeypatch, {**WHOLE, "LOCAL_WORLD_SIZE": "2"})
    assert workers_of(1) == 4


def test_whoever_waits_for_the_others_says_so(monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    put(monkeypatch, {**WHOLE, "MASTER_PORT": port})
    monkeypatch.setattr(distributed, "SAYING_SECONDS", 0.0)
    monkeypatch.setattr(distributed, "_MET", [])
    words = f"process 0 of 2: the others did not come to localhost:{port} within 1 s .*; start with torchrun, or unset"
    with pytest.raises(LostProcess, match=words):
        distributed.meet(1.0)
    words = f"process 0 of 2 waits for the others at localhost:{port}, as RANK and WORLD_SIZE say; start with torchrun"
    assert words in capsys.readouterr().err


def test_a_command_without_work_lets_the_others_go(store):
    dismiss()
    assert follow() == 0
    store.set(torchrun.WORK, "work")
    dismiss()
    assert store.get(torchrun.WORK) == b"work"


def test_an_accumulation_that_cannot_be_shared_is_refused(store, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    assert command(monkeypatch, *COMMAND, "--accumulate", "3") == 2
    assert capsys.readouterr().err == "error: --accumulate 3 must be a multiple of the 2 processes of torchrun\n"


@pytest.fixture
def alone(monkeypatch):
    """A run that fails as it is told, and processes that need no other to be joined."""

    @contextmanager
    def join(device):
        yield distributed.Processes(int(os.environ["RANK"]), 2), torch.device(device)

    monkeypatch.setattr(distributed, "join", join)

    def failing(error: Exception):
        def run(self, spec):
            raise error

        monkeypatch.setattr(Runner, "__call__", run)

    return failing


def test_after_a_failure_of_all_the_next_run_begins(store, alone, monkeypatch, tmp_path):
    alone(ValueError("a bad setting"))
    monkeypatch.setenv("RANK", "0")
    specs = [make_spec("spos", seed, "embedded") for seed in (0, 1)]
    for number in (0, 1):
        store.add(f"senas-bench/failed/{number}", 1)  # the other
    assert [str(error) for _, error in TorchrunExecutor().map(Runner(tmp_path), specs)] == ["a bad setting"] * 2
    assert json.loads(store.get(torchrun.WORK))["runner"]["root"] == str(tmp_path)


def test_after_a_failure_of_one_none_begins(store, alone, monkeypatch, tmp_path):
    alone(OSError("no room"))
    monkeypatch.setenv("RANK", "0")
    specs = [make_spec("spos", seed, "embedded") for seed in (0, 1)]
    assert len(list(TorchrunExecutor().map(Runner(tmp_path), specs))) == 1


@pytest.mark.parametrize(
    ("error", "before", "line"),
    [
        (RunError("a bad image"), 0, "FAILED in process 1: a bad image"),  # its own
        (LostProcess("gone"), 0, "FAILED in process 1: gone"),  # it is the first to notice
        (LostProcess("gone"), 1, ""),
    ],
)
def test_what_a_helper_says_of_a_failure(store, alone, capsys, tmp_path, error, before, line):
    alone(error)
    work = {"runner": torchrun._as_json(Runner(tmp_path)), "specs": [vars(make_spec("spos", 0, "embedded"))]}
    store.set(torchrun.WORK, json.dumps(work))
    if before:
        store.add("senas-bench/failed/0", 1)
    assert follow() == 1
    assert capsys.readouterr().err.partition(" ")[2].strip() == line


def test_a_helper_knows_which_files_were_read(tmp_path):
    runner = Runner(tmp_path, additions=((tmp_path / "mine.py", "0" * 64),))
    told = torchrun._from_json(json.loads(json.dumps(torchrun._as_json(runner))))
    assert told.additions == runner.additions


if __name__ == "__main__":
    worker(int(sys.argv[1]), sys.argv[2:])
