"""A disk that is full from some write on: what was there before stays, and the command says what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STUDY = ["--methods", "params,spos", "--seeds", "0", "--rank-archs", "40"]
EARLIER = ["--methods", "params", "--seeds", "0", "--rank-archs", "40"]


@pytest.fixture(scope="module")
def earlier(senas, hashes, tmp_path_factory):
    """A folder in which half the study is finished, and its results."""
    folder = tmp_path_factory.mktemp("earlier") / "results"
    done = senas(*EARLIER, "--results", folder)
    assert done["status"] == 0, done["log"]
    return folder, hashes(folder)


@pytest.fixture(scope="module")
def whole(senas, hashes, earlier, tmp_path_factory):
    """The rest of the study without a fault: all results, and the write points passed.

    Twice, since the first time also fills caches, such as that of the loops in C.
    """
    for name in ("first", "whole"):
        folder = tmp_path_factory.mktemp(name) / "results"
        shutil.copytree(earlier[0], folder)
        done = senas(*STUDY, "--results", folder)
        assert done["status"] == 0, done["log"]
    return hashes(folder), done["points"]


def test_a_disk_that_is_full_at_any_write_loses_nothing(senas, hashes, earlier, whole, tmp_path, full):
    folder, before = earlier
    expected, points = whole
    assert points > 60
    for point in range(1, points + 1, 1 if full else points // 3):
        results = tmp_path / str(point)
        shutil.copytree(folder, results)
        failed = senas(*STUDY, "--results", results, point=point, fault="full")
        assert failed["status"] in (1, 2), failed["log"]
        named = [line for line in failed["log"].splitlines() if "No space left on device, " in line]
        assert named and " MB free" in named[-1] and str(results) in named[-1], failed["log"]
        assert "Traceback" not in failed["log"] and "this is a bug" not in failed["log"]
        after = hashes(results)
        _check_nothing_is_lost(before, after, expected)
        assert not [path for path in results.rglob("*.tmp")], point
    again = senas(*STUDY, "--results", results)
    assert again["status"] == 0 and hashes(results) == expected


def test_a_real_disk_that_is_full(senas, hashes, earlier, whole, tmp_path, full):
    """On a file system of two megabytes, of which all but a few kilobytes are taken."""
    if not full:
        pytest.skip("ten seconds, and the right to mount a tmpfs; set SENAS_FAULTS=full")
    small = _small_disk(tmp_path / "small")
    try:
        shutil.copytree(earlier[0], small / "results")
        filler = small / "filler"
        room = shutil.disk_usage(small).free - 20_000
        filler.write_bytes(bytes(room))
        failed = senas(*STUDY, "--results", small / "results")
        assert failed["status"] == 1, failed["log"]
        assert "No space left on device, 0.0 MB free; make room" in failed["log"]
        half = tmp_path / "half"  # what the command renders of the finished run when the other fails
        shutil.copytree(earlier[0], half)
        other = senas(*STUDY, "--results", half, point=whole[1] // 2, fault="once")
        assert other["status"] == 1 and "[1/1] spos" in other["log"] and "written: " in other["log"], other["log"]
        _check_nothing_is_lost(earlier[1], hashes(small / "results"), whole[0], hashes(half))
        filler.unlink()
        again = senas(*STUDY, "--results", small / "results")
        assert again["status"] == 0 and hashes(small / "results") == whole[0]
    finally:
        _call("umount", str(small))


def _check_nothing_is_lost(before, after, *new):
    """Runs are what they were; a table that was to be written anew is the old one or one of the new ones."""
    for name, sha256 in before.items():
        renewed = () if name.startswith("runs/") else [files[name] for files in new]
        assert after[name] in (sha256, *renewed), name


def _small_disk(folder: Path) -> Path:
    folder.mkdir()
    if not _call("mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)):
        pytest.skip("needs the right to mount a small tmpfs")
    return folder


def _call(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
