import contextlib
import io
import re
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest

from senas_bench.progress import (
    Overheard,
    PlainProgress,
    SilentProgress,
    StatusFile,
    TensorBoardProgress,
    read_status,
    remove_status,
)


def plain():
    now = [0.0]
    return PlainProgress(io.StringIO(), "spos-s0", lambda: now[0]), now


def lines(progress) -> list[str]:
    return progress.stream.getvalue().splitlines()


def said(progress) -> list[str]:
    return [line.partition("] ")[2] for line in lines(progress)]


def test_plain_says_one_line_with_the_time_of_day_per_stage():
    progress, now = plain()
    progress.stage("train", 100)
    for epoch in range(1, 101):
        now[0] = float(epoch)
        progress.step(epoch, epoch=epoch, loss=1 / epoch)
    now[0] = 150.0
    progress.close()
    progress.close()
    (line,) = lines(progress)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[spos-s0\] train: .*", line)
    assert said(progress) == ["train: 100/100 epoch 100 loss 0.01 (took 100.0 s)"]


def test_plain_ends_a_stage_before_the_next_with_what_was_said_since():
    progress, now = plain()
    progress.step(1)  # outside any stage: ignored
    progress.message("begun")
    progress.stage("train", 5)
    progress.step(3, epoch=3)
    now[0] = 30.0
    progress.stage("score", 2)
    progress.step(2)
    progress.message("dropped 0->3 none")
    assert said(progress) == ["begun", "train: 3/5 stopped early (took 30.0 s)"]
    progress.close()
    assert said(progress)[2:] == ["score: 2/2 (took 0.0 s); dropped 0->3 none"]


@pytest.mark.parametrize(
    ("total", "done", "line"), [(16, 16, "stage-1: 16/16 done before"), (0, 0, "stage-1: 0/0 nothing to do")]
)
def test_a_stage_without_anything_left_did_not_stop_early(total, done, line):
    progress, _ = plain()
    progress.stage("stage-1", total, done)
    progress.stage("stage-2", 2)
    progress.step(2)
    progress.close()
    assert said(progress) == [line, "stage-2: 2/2 (took 0.0 s)"]


@pytest.fixture
def status(tmp_path, monkeypatch):
    """A `StatusFile`, the time in a list, and what its file holds."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    path = tmp_path / "spos-s0.progress"
    return StatusFile(path, SilentProgress()), now, lambda: read_status(path)


def test_a_status_file_says_what_a_run_is_at(status):
    progress, _, found = status
    assert (found()["stage"], found()["total"]) == ("", 0)
    progress.stage("train", 8, 3)
    assert {name: found()[name] for name in ("stage", "done", "total", "numbers", "words")} == {
        "stage": "train", "done": 3, "total": 8, "numbers": {}, "words": [],
    }  # fmt: skip
    progress.close()
    assert found() is None


def test_a_status_file_is_written_once_a_second_and_at_the_end_of_a_stage(status):
    progress, now, found = status
    progress.stage("train", 8)
    seen = []
    for step, seconds in enumerate([0.3, 0.6, 1.1, 1.9, 2.1, 2.2], start=1):
        now[0] = seconds
        progress.step(step, loss=1 / step)
        seen.append(found()["done"])
    assert seen == [0, 0, 3, 3, 5, 5] and found()["numbers"] == {"loss": 0.2}
    progress.step(8)
    assert (found()["done"], found()["numbers"]) == (8, {})


def test_lines_of_others_are_heard_whole_and_kept_for_the_reader(tmp_path):
    path = tmp_path / "x.progress"
    progress = StatusFile(path, SilentProgress(), keep=True)
    with contextlib.redirect_stderr(Overheard(progress)):
        print("waiting:", "a", "b", file=sys.stderr)
        sys.stderr.write("half")
    progress.close()
    assert read_status(path)["words"] == ["waiting: a b"]
    remove_status(path)
    assert not list(tmp_path.iterdir())


def test_no_run_fails_because_its_status_cannot_be_written(tmp_path):
    progress = StatusFile(tmp_path / "gone" / "x.progress", SilentProgress())
    progress.stage("train", 1)
    progress.step(1)
    progress.close()


@pytest.mark.parametrize("junk", ["", "{", "[]", "3", '{"stage": 1}', "\udcff"])
def test_what_is_no_status_is_none(tmp_path, junk):
    (tmp_path / "x").write_bytes(junk.encode(errors="surrogateescape"))
    assert read_status(tmp_path / "x") is None and read_status(tmp_path / "none") is None


class Writer:
    """Stands in for TensorBoard's, which need not be installed."""

    written: ClassVar[list] = []

    def __init__(self, folder):
        self.add_scalar = lambda name, value, step: self.written.append((folder, name, value, step))
        self.add_text = lambda name, text: self.written.append((folder, name, text))
        self.close = lambda: self.written.append("closed")


@pytest.fixture
def written(monkeypatch) -> list:
    Writer.written.clear()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    return Writer.written


def test_tensorboard_gets_a_curve_per_stage_and_the_other_progress_all(written, tmp_path):
    beside, _ = plain()
    progress = TensorBoardProgress(tmp_path, beside)
    progress.stage("train", 2)
    progress.step(1, epoch=1, loss=2.5)
    progress.message("dropped 0->3 none")
    progress.stage("score", 3, 1)
    progress.step(3)
    progress.close()
    where = str(tmp_path)
    assert written == [(where, "train/loss", 2.5, 1), (where, "messages", "dropped 0->3 none"), "closed"]
    assert said(beside) == ["train: 1/2 stopped early (took 0.0 s); dropped 0->3 none", "score: 3/3 (took 0.0 s)"]


def test_without_tensorboard_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"^--tensorboard needs the package tensorboard; pip install tensorboard, or"):
        TensorBoardProgress(tmp_path, SilentProgress())


@pytest.mark.parametrize("kind", ["silent", "plain", "file"])
def test_conformance(kind, tmp_path):
    progress = {"silent": SilentProgress(), "plain": plain()[0]}.get(kind)
    progress = progress or StatusFile(tmp_path / "x", SilentProgress())
    progress.close()
    progress.message("before")
    progress.stage("train", 0)
    progress.step(0)
    progress.stage("more", 5, 5)
    progress.stage("score", 3)
    progress.step(1, loss=float("nan"))
    progress.close()
    progress.close()


def test_rich_is_imported_only_when_used():
    code = "import sys, senas_bench.progress; sys.exit('rich' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
