"""kill -9 at any moment of a study costs nothing but time."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import warnings

import pytest

from senas_bench.experiments.store import RunStore

pytestmark = pytest.mark.slow

STUDY = ["--methods", "spos,se-nas", "--seeds", "0-1", "--rank-archs", "40"]


@pytest.fixture(scope="module")
def whole(senas, hashes, tmp_path_factory):
    """The study without a fault: its results, how long it took and how many write points it passed."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    done = senas(*STUDY, "--results", folder)
    assert done["status"] == 0, done["log"]
    results = hashes(folder)
    assert sum(name.startswith(("tables/", "figures/")) for name in results) == 7 and len(results) == 7 + 8
    return results, done["seconds"], done["points"]


def killed(senas, folder, draw, seconds, points, in_a_write):
    """Kill the study at a moment that was drawn: what it had done then."""
    arguments = [*STUDY, "--results", folder]
    if in_a_write:
        return senas(*arguments, point=draw.randint(1, points))
    return senas(*arguments, after=draw.uniform(0, seconds))


def test_after_a_kill_at_a_random_moment_all_artefacts_are_the_same(senas, hashes, whole, tmp_path, full):
    """Every second kill strikes inside a write: of a checkpoint, a record, a table."""
    expected, seconds, points = whole
    draw = random.Random(2021)
    same = done = drawn = 0
    kills = 20 if full else 3
    while done < kills:
        folder = tmp_path / str(drawn)
        drawn += 1
        assert drawn <= 3 * kills, "most studies end before they are killed"
        death = killed(senas, folder, draw, seconds, points, in_a_write=done % 2 == 0)
        if death["status"] == 0:
            continue  # it was quicker than the first
        assert death["status"] == -9, death["log"]
        done += 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            finished = RunStore(folder).records()
        again = senas(*STUDY, "--results", folder)
        assert again["status"] == 0, again["log"]
        assert f"{len(finished)} of 4 runs are finished" in again["log"]
        same += hashes(folder) == expected
        print(f"kill {done}: after {death['points']} of {points} write points, {death['seconds']:.1f} s, same {same}")
    assert (same, done) == (kills, kills)


def test_a_study_may_be_killed_again_and_again(senas, hashes, whole, tmp_path, full):
    """Each time it gets a third further, counted in write points."""
    if not full:
        pytest.skip("half a minute; set SENAS_FAULTS=full")
    expected, _, points = whole
    arguments = [*STUDY, "--results", tmp_path / "results"]
    deaths = 0
    while (outcome := senas(*arguments, point=points // 3))["status"] == -9:
        deaths += 1
        assert deaths < 10
    assert outcome["status"] == 0 and deaths >= 2, outcome["log"]
    assert hashes(tmp_path / "results") == expected


def with_two_workers(folder, after=None, group=True):
    """The study in a process and two workers of its own; killed `after` seconds, with its workers or alone.

    Returns:
        Exit status, stderr, and seconds.
    """
    command = ["reproduce", "table3", "--no-timing", "--jobs", "2", "--curve-points", "0", "--device", "cpu"]
    command += [*STUDY, "--stage-epochs", "1,1,1", "--results", str(folder)]
    began = time.monotonic()
    with open(folder.with_suffix(".log"), "w+") as log:
        study = subprocess.Popen(
            [sys.executable, "-c", "from senas_bench.cli import main; main()", *command],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SENAS_OFFLINE": "1"},
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            study.wait(after)
        if study.poll() is None:
            os.killpg(study.pid, signal.SIGKILL) if group else study.kill()
            study.wait()
        log.seek(0)
        return study.returncode, log.read(), time.monotonic() - began


def test_after_a_kill_of_a_study_with_two_workers_all_artefacts_are_the_same(hashes, tmp_path, full):
    """Every second kill leaves the workers alive: they hold what they compute while the command is run again."""
    if not full:
        pytest.skip("minutes; set SENAS_FAULTS=full")
    status, log, seconds = with_two_workers(tmp_path / "whole")
    assert status == 0, log
    expected, draw = hashes(tmp_path / "whole"), random.Random(2021)
    kills = same = 0
    while kills < 10:
        folder = tmp_path / f"{kills}"
        status, log, _ = with_two_workers(folder, after=draw.uniform(2, seconds), group=kills % 2 == 0)
        if status == 0:  # it was quicker than the first
            folder.rename(tmp_path / f"{kills}-{time.monotonic_ns()}")
            continue
        assert status == -signal.SIGKILL, log
        kills += 1
        status, log, _ = with_two_workers(folder)
        assert status == 0, log
        same += hashes(folder) == expected
        print(f"kill {kills}: same {same}")
    assert same == kills
