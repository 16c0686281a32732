"""Many writers of one store, most of them killed: what a writer was told is safe stays, once."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from senas_bench.experiments.spec import RunSpec
from senas_bench.experiments.store import RunStore

pytestmark = pytest.mark.slow

WRITERS, KILLED, RUNS = 8, 5, 100


def test_no_acknowledged_record_is_lost_or_doubled(tmp_path):
    """The killings are spread over the runs that are done, so that the speed of the machine is nothing to them."""
    root, notes = tmp_path / "results", tmp_path / "notes"
    notes.mkdir()
    command = [sys.executable, Path(__file__).with_name("writer.py"), root, notes, str(WRITERS), str(RUNS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writers = dict(process.stdout.readline().split() for _ in range(WRITERS))
    victims = random.Random(3).sample(sorted(writers), KILLED)
    deadline = time.monotonic() + 240
    for nth, victim in enumerate(victims, start=1):
        while len(list((root / "runs").glob("*.json"))) < RUNS * nth // (KILLED + 2) and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(int(writers[victim]), signal.SIGKILL)  # not yet waited for, so the id is its own
    _, complaints = process.communicate(timeout=300)
    assert complaints == ""
    said = {path.name: path.read_text().split() for path in notes.iterdir()}
    assert {name for name, lines in said.items() if lines[-1:] == ["end"]} == set(writers) - set(victims)
    acknowledged = [(int(line), name) for name, lines in said.items() for line in lines if line != "end"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = RunStore(root)
        specs = [RunSpec("spos", number, "embedded", "nasbench201", "digits", "d1") for number in range(RUNS)]
        assert store.missing(specs) == []
        records = store.records()
        assert len(records) == RUNS == len(list((root / "runs").glob("*.json")))
        assert len({number for number, _ in acknowledged}) == len(acknowledged)
        owner = {record.spec.seed: record.pick for record in records}
        assert [pair for pair in acknowledged if owner[pair[0]] != pair[1]] == []
        assert all(store.scores(record).arch_str[0] == f"{record.pick} 0" for record in records)
    # A writer may die between its record and its word; no other run lacks one.
    assert RUNS - KILLED <= len(acknowledged) <= RUNS
    assert not [path for path in (root / "runs").iterdir() if path.name.startswith(".")]
