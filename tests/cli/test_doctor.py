"""What `doctor` says of a results folder is what `reproduce` finds."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from senas_bench.cli.readers import no_results
from senas_bench.experiments.store import RunStore

PLACES = {"there": True, "made": True, "made/with/all/above": True, "there/below": True, "linked/below": True}
PLACES |= {"file": False, "file/below": False, "half": False, "dangling": False}
"""Results folders, and whether they can be used."""


@pytest.fixture
def places(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere/at/all")
    (tmp_path / "half").mkdir()
    (tmp_path / "half/work").write_text("")
    (tmp_path / "linked").symlink_to(tmp_path / "there")
    return tmp_path


@pytest.mark.parametrize("name", PLACES)
def test_what_runs_can_use_is_no_problem_and_nothing_is_left_behind(places, name):
    before = sorted(places.rglob("*"))
    assert (no_results(Path(name)) == "") is PLACES[name]
    assert sorted(places.rglob("*")) == before
    if PLACES[name]:
        RunStore(Path(name)).prepare()
    else:
        assert no_results(Path(name)).startswith("cannot be made: ")
        with pytest.raises((ValueError, OSError)):
            RunStore(Path(name)).prepare()


def test_a_folder_without_room_is_a_problem(monkeypatch):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("senas_bench.files.prove_room", full)
    assert no_results(Path("made")) == "cannot be written: No space left on device"


@pytest.mark.slow
def test_doctor_says_so(places, senas, monkeypatch):
    monkeypatch.setattr("senas_bench.groundtruth.load_ground_truth", lambda _: SimpleNamespace(name="x", queries=list))
    code, out, _ = senas("doctor", "--results", "made/with/all/above")
    assert code == 0 and out.endswith("ok       results go to made/with/all/above\n")
    code, out, _ = senas("doctor", "--results", "file")
    assert code == 1 and "problem  results folder file cannot be made: " in out
    assert out.endswith("file is no folder; name another with --results\n")
