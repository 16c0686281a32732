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
    progress.stage("score", 3)
    progress.step(3)
    progress.close()
    where = str(tmp_path)
    assert written == [(where, "train/loss", 2.5, 1), (where, "messages", "dropped 0->3 none"), "closed"]
    assert len(lines(beside)) == 5


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
    progress.stage("score", 3)
    progress.step(1, loss=float("nan"))
    progress.close()
    progress.close()


def test_rich_is_imported_only_when_used():
    code = "import sys, senas_bench.progress; sys.exit('rich' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
