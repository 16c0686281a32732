import json

import pytest
import torch

from benchmarks import gpu_check


def test_no_gpu_is_said_with_an_exit_code(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--out", str(tmp_path / "gpu")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no GPU: ") and error.count("\n") == 1
    assert not (tmp_path / "gpu").exists()


def test_no_images_are_said_with_another(capsys, tmp_path):
    assert gpu_check.main(["--device", "cpu", "--data-dir", str(tmp_path / "none"), "--out", str(tmp_path)]) == 3
    assert "no CIFAR-10" in capsys.readouterr().err


def test_an_unknown_part(capsys):
    with pytest.raises(SystemExit) as error:
        gpu_check.main(["--parts", "tests,sped"])
    assert error.value.code == 2 and "unknown part sped" in capsys.readouterr().err


@pytest.mark.slow
def test_speed_on_the_cpu(tmp_path):
    """The command itself, without a GPU."""
    assert gpu_check.main(["--device", "cpu", "--parts", "speed", "--out", str(tmp_path)]) == 0
    part = json.loads((tmp_path / "check.json").read_text())["parts"]["speed"]
    assert part["exit"] == 0 and json.loads(part["last_line"])["ratio"]["step"] > 0


def test_a_part_that_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_check, "_command", lambda part, options: ["false"])
    assert gpu_check.main(["--device", "cpu", "--parts", "speed", "--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "check.json").read_text())["parts"]["speed"]["exit"] == 1


def test_a_part_that_hangs(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_check, "_command", lambda part, options: ["sleep", "30"])
    monkeypatch.setitem(gpu_check.LIMITS, "speed", 0.2)
    assert gpu_check.main(["--device", "cpu", "--parts", "speed", "--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "check.json").read_text())["parts"]["speed"]["exit"] == 124
