"""A study whose data lie on this machine opens no connection: not in the command, not in its workers."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

WATCH = """
import os, sys

EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto"}

def watch(event, arguments):
    if event in EVENTS:
        with open(os.environ["SENAS_TEST_CONNECTIONS"], "a") as log:
            print(event, *arguments[1:], file=log)
        raise OSError("the network is blocked")

sys.addaudithook(watch)
open(os.environ["SENAS_TEST_CONNECTIONS"] + f".{os.getpid()}", "w").close()
"""
"""Becomes `sitecustomize`, which every Python process imports first."""
SHORT = ["--methods", "spos,params", "--seeds", "0-1", "--stage-epochs", "1,1,1", "--rank-archs", "10"]


@pytest.fixture
def watched(tmp_path):
    """Call with Python arguments: what the process and its children tried to reach; it must end well."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "connections"
    inherited = {name: value for name, value in os.environ.items() if name != "SENAS_OFFLINE"}
    environment = {
        **inherited,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "hook"), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "SENAS_TEST_CONNECTIONS": str(log),
        "SENAS_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }

    def call(*arguments, expected=0):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == expected, done.stderr
        watched_processes = len(list(tmp_path.glob("connections.*")))
        return log.read_text().splitlines() if log.exists() else [], watched_processes

    return call


def test_the_watch_sees_a_connection(watched):
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    tried, _ = watched("-c", code, expected=1)
    assert tried and tried[0].startswith("socket.getaddrinfo")


def test_a_study_reaches_for_nothing(watched, full):
    """With two workers; in full, what `make reproduce` does: every method of table 3, three seeds."""
    options = [] if full else SHORT
    command = ["reproduce", "table3", *options, "--jobs", "2", "--device", "cpu"]
    tried, processes = watched("-c", "from senas_bench.cli import main; main()", *command)
    assert tried == []
    assert processes >= 3  # the command and its workers, each with the watch
