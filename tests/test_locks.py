"""Tests of senas_bench.locks. Time is made up: to sleep moves the clock on."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from senas_bench import locks
from senas_bench.errors import RunError
from senas_bench.locks import Holder, LockHeld, held

NO_FLOCK = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]
ELSEWHERE = Holder("node7", 4711, "2026-01-02 03:04:05 UTC", "another boot", 99, "t")
LONG_AGO = (0, 0)
"""Times of a file."""


class Clock:
    """Stands for the module `time`; `slept` is called whenever someone sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, lambda: None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(locks, "time", clock)
    return clock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lock"


def left(path, holder: Holder) -> None:
    """The lock file of `holder`, as if it had just renewed it."""
    path.write_text(json.dumps(asdict(holder)))
    os.utime(path, LONG_AGO)


def ended(reap: bool) -> tuple[Holder, subprocess.Popen]:
    """A lock of a process that has ended, which its parent has noticed or not."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = replace(Holder.here(), pid=process.pid, born=locks._state(process.pid)[1])
    assert holder.lives()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    if reap:
        process.wait()
    return holder, process


@pytest.mark.parametrize("code", NO_FLOCK)
def test_a_lock_needs_no_flock(path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    with held(path, 0):
        assert json.loads(path.read_text())["pid"] == os.getpid()
        with pytest.raises(LockHeld), held(path, 0):
            pass
    assert os.listdir(path.parent) == []


def test_the_file_says_who_holds_it_and_is_gone_after_a_failure(path):
    with pytest.raises(KeyError), held(path, 0):
        holder = Holder(**json.loads(path.read_text()))
        assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
        assert holder.lives() and holder.since.endswith(" UTC")
        raise KeyError
    assert os.listdir(path.parent) == []


def test_whoever_waits_in_vain_says_for_whom_and_what_to_do(path, clock, capsys):
    left(path, ELSEWHERE)
    clock.slept = lambda: os.utime(path, (clock.now, clock.now))  # it lives
    with pytest.raises(RunError) as error, held(path, 1000):
        pass
    who = f"process 4711 on node7 holds {path} since 2026-01-02 03:04:05 UTC"
    assert str(error.value).startswith(f"{who}; gave up after 100")
    assert "run the same command again" in str(error.value) and "delete the file" in str(error.value)
    assert "\n" not in str(error.value) and path.exists()
    assert capsys.readouterr().err == f"waiting: {who}; this goes on when that process is done or gone\n"


def test_who_is_silent_on_another_machine_is_dead_after_a_minute(path, clock):
    left(path, ELSEWHERE)
    with held(path, 1000):
        assert 60 < clock.now - 1000 < 65
    assert os.listdir(path.parent) == []


def test_the_times_of_two_machines_are_not_compared(path, clock):
    """Only whether a file's time changes counts: an hour behind or ahead is the same."""
    left(path, ELSEWHERE)
    behind = [clock.now - 3600]

    def renew():
        behind[0] += 1
        os.utime(path, (behind[0], behind[0]))

    clock.slept = renew
    with pytest.raises(LockHeld), held(path, 300):
        pass


def test_time_in_which_nobody_looked_is_no_silence(clock):
    watch, seen = locks._Watch(), locks._Seen(json.dumps(asdict(ELSEWHERE)), 0)
    for _ in range(10):
        assert not watch.is_dead(seen)
        clock.now += 10_000  # this machine slept
    for _ in range(60):
        clock.now += 1
        dead = watch.is_dead(seen)
    assert dead


@pytest.mark.parametrize("text", ["", "4711\nnode7\n", '{"pid": 1}', "[]", "{"])
def test_a_file_that_names_nobody_is_taken(path, clock, text):
    """As earlier versions left them, and as a process leaves that is killed before it has written."""
    path.write_text(text)
    os.utime(path, LONG_AGO)
    with held(path, 0):
        assert clock.now == 1000
    path.write_text(text)
    os.utime(path, (clock.now, clock.now))
    with held(path, 1000):
        assert 5 < clock.now - 1000 < 7
    assert os.listdir(path.parent) == []


@pytest.mark.skipif(not locks._place(), reason="asks /proc")
@pytest.mark.parametrize("reap", [True, False])
def test_a_dead_process_of_this_machine_holds_nothing(path, reap):
    holder, process = ended(reap)
    left(path, holder)
    with held(path, 0):
        pass
    process.wait()
    process.stdin.close()
    assert os.listdir(path.parent) == []


@pytest.mark.skipif(not locks._place(), reason="asks /proc")
def test_a_living_process_of_this_machine_is_never_taken_for_dead(path, clock):
    """Not even where it is stopped, and renews nothing."""
    left(path, Holder.here())
    with pytest.raises(LockHeld), held(path, 600):
        pass
    here = Holder.here()
    assert replace(here, born=here.born - 1).lives() is False  # its id is used again
    assert replace(here, place="another boot").lives() is None and replace(here, host="node7").lives() is None
    assert replace(here, born=None).lives() is None


def test_who_died_while_removing_a_dead_lock_stops_nobody(path, clock):
    for name in (path, path.with_name("x.lock.break")):
        left(name, ELSEWHERE)
    with held(path, 1000):
        pass
    assert os.listdir(path.parent) == []


def test_only_the_lock_that_was_found_dead_is_removed(path):
    """Of two that find it so the second comes when the first already holds it."""
    left(path, ELSEWHERE)
    dead = locks._look(path)
    path.unlink()
    with held(path, 0):
        mine = path.read_text()
        locks._remove(path, dead, 0)
        assert path.read_text() == mine


def test_who_was_taken_for_dead_leaves_the_next_ones_lock(path):
    with held(path, 0):
        left(path, ELSEWHERE)
    assert json.loads(path.read_text())["host"] == "node7"


def test_who_loses_the_file_before_it_is_written_does_not_hold_it(path, clock, monkeypatch):
    real = os.open

    def slow(name, *arguments):
        descriptor = real(name, *arguments)
        path.unlink()  # someone took it for dead
        left(path, ELSEWHERE)
        monkeypatch.setattr(os, "open", real)
        return descriptor

    monkeypatch.setattr(os, "open", slow)
    with pytest.raises(LockHeld, match="node7"), held(path, 1):
        pass


def test_a_holder_renews_its_file(path, monkeypatch):
    renewed = threading.Event()
    monkeypatch.setattr(locks, "BEAT", 0.001)
    monkeypatch.setattr(os, "utime", lambda name: renewed.set() if name == path else None)
    with held(path, 0):
        assert renewed.wait(60)


def test_no_room_for_a_lock_names_it_and_leaves_nothing(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(locks, "open", refuse, raising=False)
    with pytest.raises(OSError, match=r"MB free; make room and run the same command again.*x\.lock"), held(path, 0):
        pass
    assert os.listdir(path.parent) == []


COUNT = """
import sys
from pathlib import Path
from senas_bench.locks import held
lock, count = map(Path, sys.argv[1:])
for _ in range(100):
    with held(lock, 600):
        count.write_text(str(int(count.read_text()) + 1))
"""


@pytest.mark.slow
def test_processes_and_threads_exclude_each_other(path, tmp_path):
    """The first of them find a dead lock."""
    path.write_text("")
    os.utime(path, LONG_AGO)
    count = tmp_path / "count"
    count.write_text("0")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, path, count], env=environment) for _ in range(3)]

    def one_more(_):
        with held(path, 600):
            count.write_text(str(int(count.read_text()) + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one_more, range(100)))
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert count.read_text() == "400" and os.listdir(tmp_path) == ["count"]
