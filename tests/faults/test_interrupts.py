"""SIGINT and SIGTERM end a study within ten seconds, workers and all, and say how to go on."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from senas_bench.experiments.active import active_runs
from senas_bench.experiments.store import RunStore

pytestmark = pytest.mark.slow

STUDY = ["reproduce", "table3", "--methods", "spos", "--seeds", "0-1", "--rank-archs", "10", "--device", "cpu"]
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from senas_bench.cli import main; main()"
)
"""A shell that puts a job into the background makes it ignore SIGINT."""


def descendants(pid: int) -> set[int]:
    """Processes that a process started, and theirs."""
    found = set()
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                found |= set(map(int, children.read().split()))
    return found.union(*map(descendants, found))


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="asks /proc for the workers")
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGTERM, 2), (signal.SIGINT, 1)])
def test_a_signal_stops_a_study_in_training(tmp_path, number, jobs, full):
    if number == signal.SIGINT and not full:
        pytest.skip("tests/experiments/test_executors.py sends SIGINT; set SENAS_FAULTS=full")
    options = ["--stage-epochs", "30000", "--jobs", str(jobs), "--results", str(tmp_path / "results"), "--fresh"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SENAS_HOME": str(tmp_path / "home")}
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-c", START, *STUDY, *options], stderr=stderr, env=environment)
    deadline = time.monotonic() + 240
    while not any(said["stage"] == "train" for said in active_runs(tmp_path / "results").values()):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    workers = descendants(process.pid)
    assert len(workers) >= (jobs if jobs > 1 else 0)
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    took = time.monotonic() - began
    assert took < 10, took
    command = " ".join([*STUDY, *options[:-1]])
    said = log.read_text()
    assert said.splitlines()[-1] == f"interrupted; what is finished is kept. Go on with: senas-bench {command}"
    assert "Traceback" not in said
    deadline = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if alive(pid)]
    store = RunStore(tmp_path / "results")
    assert store.records() == [] and 1 <= len(store.unfinished()) <= 2
