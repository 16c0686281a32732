import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback

import pytest

from senas_bench.errors import RunError
from senas_bench.experiments.executors import EXECUTORS, JoblibExecutor, SerialExecutor
from senas_bench.experiments.spec import RunSpec


def a_spec(seed: int) -> RunSpec:
    return RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1")


SPECS = [a_spec(seed) for seed in range(4)]


def by_seed(pairs) -> dict:
    return {spec.seed: result for spec, result in pairs}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXECUTORS)
def test_conformance(name):
    """Results, failures among them: the same from every executor."""

    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def function(spec):
        if spec.seed == 1:
            raise ValueError("no luck")
        if spec.seed == 2:
            raise Odd("this", "that")
        return spec.seed * 10

    results = by_seed(EXECUTORS[name](2).map(function, SPECS))
    assert sorted(results) == [0, 1, 2, 3]
    assert results[0] == 0 and results[3] == 30
    assert isinstance(results[1], ValueError) and str(results[1]) == "no luck"
    assert "this and that" in str(results[2])
    for seed, text in ((1, 'raise ValueError("no luck")'), (2, 'raise Odd("this", "that")')):
        assert text in results[seed].__notes__[-1]
        assert text in "".join(traceback.format_exception(results[seed]))


def test_joblib_equals_serial():
    def draw(spec):
        import numpy

        return numpy.random.default_rng(spec.seed).normal(size=100).tolist()

    assert by_seed(JoblibExecutor(2).map(draw, SPECS)) == by_seed(SerialExecutor().map(draw, SPECS))


def test_completion_order(tmp_path):
    """The first run waits for the others, and comes last."""

    def wait_for_others(spec):
        import time

        if spec.seed:
            (tmp_path / str(spec.seed)).touch()
        deadline = time.monotonic() + 60
        while spec.seed == 0 and len(list(tmp_path.iterdir())) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)

    assert [spec.seed for spec, _ in JoblibExecutor(2).map(wait_for_others, SPECS)][-1] == 0


def test_serial_is_lazy():
    calls = []
    results = SerialExecutor().map(lambda spec: calls.append(spec.seed), SPECS)
    assert calls == []
    next(results)
    assert calls == [0]


def test_result_that_cannot_travel_fails_alone():
    results = by_seed(JoblibExecutor(2).map(lambda spec: (lambda: 0) if spec.seed == 1 else spec.seed, SPECS))
    assert isinstance(results.pop(1), RunError)
    assert results == {0: 0, 2: 2, 3: 3}


def test_a_worker_that_dies_fails_its_run_only():
    def die(spec):
        import os
        import signal

        if spec.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return spec.seed

    results = by_seed(JoblibExecutor(2).map(die, [a_spec(seed) for seed in range(6)]))
    assert isinstance(results.pop(1), RunError)
    assert results == {seed: seed for seed in (0, 2, 3, 4, 5)}


MASKS = """
import signal
from senas_bench.experiments.executors import JoblibExecutor
from senas_bench.experiments.spec import RunSpec

def blocks_interrupts(spec=None):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])

specs = [RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1") for seed in range(4)]
print([result for _, result in JoblibExecutor(2).map(blocks_interrupts, specs)], blocks_interrupts())
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="asks for the mask of a process")
def test_an_interrupt_of_the_terminal_is_for_the_first_process_alone():
    """It ends the workers, which would say a traceback each, even while they begin."""
    done = subprocess.run([sys.executable, "-c", MASKS], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == f"{[True] * 4} False"


def test_no_specs():
    assert list(JoblibExecutor(2).map(print, [])) == list(SerialExecutor().map(print, [])) == []


def test_no_jobs():
    with pytest.raises(ValueError, match="at least 1"):
        JoblibExecutor(0)


INTERRUPTED = """
import contextlib, os, signal, sys, time
from pathlib import Path
from senas_bench.experiments.executors import EXECUTORS
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started ignoring it
from senas_bench.experiments.spec import RunSpec
folder = sys.argv[2]
specs = [RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1") for seed in range(5)]
def sleep(spec):
    if spec.seed:
        Path(folder, str(os.getpid())).touch()
        time.sleep(600)
try:
    with contextlib.closing(EXECUTORS[sys.argv[1]](2).map(sleep, specs)) as results:
        for spec, result in results:
            if sys.argv[3] == "between":
                time.sleep(600)
except KeyboardInterrupt:
    sys.exit(130)
"""


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def left(pids: list[int]) -> list[int]:
    """Those that are still alive after as long as they need to end."""
    deadline = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [pid for pid in pids if alive(pid)]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="asks /proc whether a process lives")
@pytest.mark.parametrize(
    ("name", "moment", "workers"),
    [("serial", "during", 1), ("joblib", "during", 2), ("joblib", "between", 1), ("ray", "between", 1)],
)
def test_interrupt_is_prompt_and_leaves_no_workers(tmp_path, name, moment, workers):
    pids = tmp_path / "pids"
    pids.mkdir()
    command = [sys.executable, "-c", INTERRUPTED, name, str(pids), moment]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(pids.iterdir())) < workers and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    sleepers = [int(path.name) for path in pids.iterdir()]
    assert len(sleepers) >= workers
    process.send_signal(signal.SIGINT)  # to the parent alone, unlike Ctrl-C in a terminal
    assert process.wait(timeout=60) == 130
    assert left(sleepers) == []


LATE = """
import _multiprocessing, contextlib, os, signal, sys, threading, time
unlink, run, said, begun = _multiprocessing.sem_unlink, threading.Thread.run, threading.Event(), threading.Event()

def feeds():
    return threading.current_thread().name == "QueueFeederThread"

def late(thread):
    if feeds():  # it gives back what it holds when all has been said
        target = thread._target
        thread._target = lambda *arguments: (target(*arguments), said.wait())
    run(thread)
    if feeds():
        begun.set()

def slow(name):
    unlink(name)
    if feeds():
        begun.set()
        time.sleep(0.5)

_multiprocessing.sem_unlink, threading.Thread.run = slow, late
from senas_bench.experiments.executors import JoblibExecutor
from senas_bench.experiments.spec import RunSpec

def work(spec):
    if sys.argv[1] == "interrupted" and spec.seed == 0:
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60 if sys.argv[1] == "interrupted" else 0)

signal.signal(signal.SIGINT, signal.default_int_handler)
specs = [RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1") for seed in range(2)]
with contextlib.suppress(KeyboardInterrupt), contextlib.closing(JoblibExecutor(2).map(work, specs)) as results:
    list(results)
print("the last word", file=sys.stderr, flush=True)
said.set()
begun.wait(60 if sys.argv[1] == "interrupted" else 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["interrupted", "done"])
def test_nothing_is_said_after_the_last_word(how):
    """Neither by threads nor by helpers of joblib, where they are the last to end."""
    done = subprocess.run([sys.executable, "-c", LATE, how], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "the last word\n")
