import io
import subprocess
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
from rich.console import Console

from senas_bench.progress import PlainProgress, RichProgress, SilentProgress, TensorBoardProgress


def plain():
    now = [0.0]
    return PlainProgress(io.StringIO(), "spos-s0", lambda: now[0]), now


def lines(progress) -> list[str]:
    return progress.stream.getvalue().splitlines()


def test_plain_speaks_at_most_every_ten_seconds():
    progress, now = plain()
    progress.stage("train", 100)
    for epoch in range(1, 101):
        now[0] = float(epoch)
        progress.step(epoch, epoch=epoch, loss=1 / epoch)
    progress.close()
    progress.close()
    said = lines(progress)
    assert len(said) == 11
    assert said[0] == "[spos-s0] train: 100 steps"
    assert said[1] == "[spos-s0] train: 10/100 epoch 10 loss 0.1 (90 s left)"
    assert said[-1] == "[spos-s0] train: 100/100 epoch 100 loss 0.01 (took 100.0 s)"


def test_plain_ends_a_stage_before_the_next():
    progress, _ = plain()
    progress.step(1)  # outside any stage: ignored
    progress.stage("train", 5)
    progress.step(3, epoch=3)
    progress.stage("score", 2)
    progress.step(2)
    progress.message("dropped 0->3 none")
    progress.close()
    assert [line.partition("] ")[2].partition(" (")[0].strip() for line in lines(progress)] == [
        "train: 5 steps", "train: 3/5 stopped early", "score: 2 steps", "score: 2/2", "dropped 0->3 none",
    ]  # fmt: skip


def said(progress) -> list[str]:
    return [line.partition("] ")[2] for line in lines(progress)]


def test_plain_says_what_an_earlier_try_has_done_and_counts_time_from_there():
    """60 of 100 done before, 10 more take 20 s: the other 30 take 60 s."""
    progress, now = plain()
    progress.stage("train", 100, 60)
    now[0] = 20.0
    progress.step(70, epoch=70)
    now[0] = 30.0
    progress.close()
    assert said(progress) == [
        "train: 100 steps, 60 done before", "train: 70/100 epoch 70 (60 s left)",
        "train: 70/100 stopped early (took 30.0 s)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("total", "done", "line"), [(16, 16, "stage-1: 16/16 done before"), (0, 0, "stage-1: 0/0 nothing to do")]
)
def test_a_stage_without_anything_left_did_not_stop_early(total, done, line):
    progress, _ = plain()
    progress.stage("stage-1", total, done)
    progress.stage("stage-2", 2)
    progress.step(2)
    progress.close()
    assert said(progress) == [line, "stage-2: 2 steps", "stage-2: 2/2  (took 0.0 s)"]


def test_the_bar_begins_where_an_earlier_try_was():
    progress = RichProgress("spos-s0", Console(file=io.StringIO(), force_terminal=True, width=120))
    progress.stage("train", 3, 2)
    (task,) = progress._bars.tasks
    assert (task.completed, task.total) == (2, 3)
    progress.close()


def test_rich_shows_stage_numbers_and_messages_as_they_are():
    stream = io.StringIO()
    progress = RichProgress("spos-s0", Console(file=stream, force_terminal=True, width=120))
    progress.step(1)
    progress.stage("train", 10)
    progress.step(4, epoch=4, loss=0.123456)
    progress._bars.refresh()
    progress.message("dropped [bold]none")
    progress.stage("score", 2)
    progress.step(2)
    progress.close()
    progress.close()
    text = stream.getvalue()
    for part in ("spos-s0 train", "4/10", "epoch 4 loss 0.1235", "spos-s0 dropped [bold]none", "spos-s0 score", "2/2"):
        assert part in text


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
    assert len(lines(beside)) == 5 and said(beside)[3] == "score: 3 steps, 1 done before"


def test_without_tensorboard_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"^--tensorboard needs the package tensorboard; pip install tensorboard, or"):
        TensorBoardProgress(tmp_path, SilentProgress())


@pytest.mark.parametrize("progress", [SilentProgress(), plain()[0], RichProgress("x", Console(file=io.StringIO()))])
def test_conformance(progress):
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
