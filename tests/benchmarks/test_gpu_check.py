import argparse
import json

import pytest
import torch

from benchmarks import gpu_check, gpu_parts


def test_no_gpu_is_said_with_an_exit_code(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--out", str(tmp_path / "gpu")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no GPU: ") and error.count("\n") == 1
    assert not (tmp_path / "gpu").exists()


def test_no_images_are_said_with_another(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (tmp_path / "empty").mkdir()
    for folder in ("none", "empty"):
        assert gpu_check.main(["--data-dir", str(tmp_path / folder), "--out", str(tmp_path / "gpu")]) == 3
        error = capsys.readouterr().err
        assert error.startswith("error: no CIFAR-10: ") and error.count("\n") == 1
    assert not (tmp_path / "gpu").exists()


def test_an_unknown_part(capsys):
    with pytest.raises(SystemExit) as error:
        gpu_check.main(["--parts", "steps,sped"])
    assert error.value.code == 2 and "unknown part sped" in capsys.readouterr().err


@pytest.mark.slow
def test_steps_and_ranking_on_the_cpu(capsys):
    """Tiny, and one part of the command as it is given."""
    gpu_parts.steps("cpu")
    steps = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert steps["seconds_per_step"]["plain float32"] > 0 and steps["target_s"] == 300
    gpu_parts.ranking("cpu")
    ranking = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert ranking["target_s"] == 120 and len(ranking["ways"]) == 16
    assert max(way["apart_from_alone"] for way in ranking["ways"]) < 1e-5


@pytest.mark.slow
def test_a_part_on_the_cpu(tmp_path):
    assert gpu_check.main(["--device", "cpu", "--parts", "determinism", "--out", str(tmp_path / "gpu")]) == 0
    found = record(tmp_path / "gpu", "determinism")["found"]
    assert found["weights_same_bytes"] and found["scores_same_bytes"] and found["weights_apart"] == 0


@pytest.mark.slow
def test_the_search_is_a_command_that_exists(monkeypatch, tmp_path):
    """That of a GPU, at preset paper, up to the images that it does not find."""
    command = gpu_check._command

    def on_the_cpu(part: str, options: argparse.Namespace, about: dict) -> list[str]:
        options.device = "cuda"
        return ["cpu" if word == "cuda" else word for word in command(part, options, about)]

    monkeypatch.setattr(gpu_check, "_command", on_the_cpu)
    data = ["--data-dir", str(tmp_path)]
    assert gpu_check.main(["--device", "cpu", "--parts", "search", "--out", str(tmp_path / "gpu"), *data]) == 1
    assert "cifar" in str(record(tmp_path / "gpu", "search")["found"]).lower()


def record(out, part: str) -> dict:
    return json.loads((out / f"{part}.json").read_text())


def check(out, *more: str) -> int:
    return gpu_check.main(["--device", "cpu", "--parts", "steps,search", "--out", str(out), *more])


@pytest.fixture
def commands(monkeypatch) -> dict[str, list[str]]:
    """What the parts run, which a test may change."""
    chosen = {"steps": ["echo", '{"speed": 1}'], "search": ["echo", "far"]}
    monkeypatch.setattr(gpu_check, "_command", lambda part, options, about: chosen[part])
    return chosen


def test_each_part_leaves_a_record(commands, tmp_path):
    assert check(tmp_path) == 0
    assert record(tmp_path, "steps")["found"] == {"speed": 1} and record(tmp_path, "search")["found"] == "far"
    assert record(tmp_path, "steps")["about"]["torch"] == torch.__version__


def test_a_part_that_fails_leaves_the_others_alone(commands, tmp_path):
    commands["steps"] = ["false"]
    assert check(tmp_path) == 1
    assert record(tmp_path, "steps")["exit"] == 1 and record(tmp_path, "search")["exit"] == 0


def test_what_is_done_is_not_done_again(commands, tmp_path, capsys):
    """A part that failed is; and all, where they are asked for afresh."""
    commands["search"] = ["false"]
    assert check(tmp_path) == 1
    commands |= {"steps": ["false"], "search": ["echo", "further"]}
    assert check(tmp_path) == 0
    assert "steps: done before" in capsys.readouterr().out
    assert record(tmp_path, "steps")["found"] == {"speed": 1} and record(tmp_path, "search")["found"] == "further"
    assert check(tmp_path, "--fresh") == 1


def test_the_search_is_one_of_its_commit_and_its_hardware(commands, monkeypatch, tmp_path):
    """What another left is no measurement of this one; afresh, neither is its own."""
    about = gpu_check._about("cpu")
    others = argparse.Namespace(out=tmp_path)
    folders = {gpu_check._search_folder(others, {**about, **one}).name for one in ({}, {"commit": "x"}, {"gpu": "H"})}
    assert len(folders) == 3
    runs = gpu_check._search_folder(others, about) / "runs"
    runs.mkdir(parents=True)
    (runs / "a.json").write_text(json.dumps({"pick": "p", "timing": {"search_seconds": 3.0}}))
    (tmp_path / "search-another/runs").mkdir(parents=True)
    (tmp_path / "search-another/runs/b.json").write_text("{}")
    assert check(tmp_path) == 0 and record(tmp_path, "search")["found"]["timing"] == {"search_seconds": 3.0}
    assert check(tmp_path, "--fresh") == 0 and record(tmp_path, "search")["found"] == "far"
    assert not runs.exists() and (tmp_path / "search-another").exists()


def test_only_the_search_may_run_out_of_time(commands, monkeypatch, tmp_path, capsys):
    commands["search"] = ["sh", "-c", "echo epoch 7; sleep 30"]
    monkeypatch.setitem(gpu_check.LIMITS, "search", 0.5)
    assert check(tmp_path) == 0
    assert record(tmp_path, "search") | {"exit": 124, "found": "epoch 7"} == record(tmp_path, "search")
    assert "give the command again to go on" in capsys.readouterr().out
    commands["steps"] = ["sleep", "30"]
    monkeypatch.setitem(gpu_check.LIMITS, "steps", 0.2)
    assert check(tmp_path, "--fresh") == 1


def test_all_parts_take_at_most_fifteen_minutes():
    assert sum(gpu_check.LIMITS.values()) <= 15 * 60 - 30
