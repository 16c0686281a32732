"""What a run says while it trains: nothing, plain lines, or a live bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

NO_TENSORBOARD = "--tensorboard needs the package tensorboard; pip install tensorboard, or leave the option out"
PLAIN_INTERVAL = 10.0
"""Least seconds between two progress lines of `PlainProgress`."""


class Progress(Protocol):
    """A sink for the progress of one run, whose stages follow one another."""

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """A stage of `total` steps begins, `done` of them by an earlier try; the one before it is over."""
        ...

    def step(self, done: int, **numbers: float) -> None:
        """`done` steps of the stage are finished; `numbers` such as `epoch` and `loss` describe the last."""
        ...

    def message(self, text: str) -> None:
        """One line worth reading, such as the operators that were dropped."""
        ...

    def close(self) -> None:
        """No more will come. May be called twice."""
        ...


class SilentProgress:
    """Says nothing."""

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """See `Progress`."""

    def step(self, done: int, **numbers: float) -> None:
        """See `Progress`."""

    def message(self, text: str) -> None:
        """See `Progress`."""

    def close(self) -> None:
        """See `Progress`."""


@dataclass
class PlainProgress:
    """One line when a stage begins and ends, and at most one every 10 seconds between: for logs and workers.

    Args:
        stream: Where the lines go.
        label: Prefix of every line, such as the run id.
        clock: Seconds.
    """

    stream: TextIO
    label: str
    clock: Callable[[], float] = time.monotonic
    _name: str | None = field(default=None, init=False)
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _before: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)
    _spoke: float = field(default=0.0, init=False)

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self.close()
        if done >= total:
            self.message(f"{name}: {done}/{total} {'done before' if done else 'nothing to do'}")
            return
        self._name, self._total, self._done, self._before = name, total, done, done
        self._began = self._spoke = self.clock()
        self.message(f"{name}: {total} steps" + (f", {done} done before" if done else ""))

    def step(self, done: int, **numbers: float) -> None:
        """See `Progress`."""
        self._done, now = done, self.clock()
        if self._name is None:
            return
        if done >= self._total:
            self._end(_numbers(numbers))
        elif done > self._before and now - self._spoke >= PLAIN_INTERVAL:
            self._spoke = now
            left = (now - self._began) * (self._total - done) / (done - self._before)
            self.message(f"{self._name}: {done}/{self._total} {_numbers(numbers)} ({left:.0f} s left)")

    def message(self, text: str) -> None:
        """See `Progress`."""
        print(f"[{self.label}] {text}", file=self.stream, flush=True)

    def close(self) -> None:
        """See `Progress`."""
        if self._name is not None:
            self._end("stopped early")

    def _end(self, remark: str) -> None:
        self.message(f"{self._name}: {self._done}/{self._total} {remark} (took {self.clock() - self._began:.1f} s)")
        self._name = None


class RichProgress:
    """A live bar on the terminal with the stage, its numbers and the time left. Only one may be open at a time.

    Args:
        label: Prefix of the bar, such as the run id.
        console: A `rich.console.Console`; standard error by default.
    """

    def __init__(self, label: str, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._label = label
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
        )
        self._task: Any = None

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self._bars.start()
        self._task = self._bars.add_task(f"{self._label} {name}", total=total, completed=done, numbers="")

    def step(self, done: int, **numbers: float) -> None:
        """See `Progress`."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, numbers=_numbers(numbers))

    def message(self, text: str) -> None:
        """See `Progress`."""
        self._bars.console.print(f"{self._label} {text}", markup=False, highlight=False)

    def close(self) -> None:
        """See `Progress`."""
        self._bars.stop()


class TensorBoardProgress:
    """Curves for TensorBoard, one per stage and number, beside what another progress says.

    A run that is resumed adds to them; TensorBoard shows what came later where steps repeat.

    Args:
        folder: Where the event files of this run go.
        beside: Told everything too.

    Raises:
        ValueError: The package tensorboard is not installed.
    """

    def __init__(self, folder: Path, beside: Progress) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(NO_TENSORBOARD) from error
        self._writer = SummaryWriter(str(folder))
        self._beside = beside
        self._name = ""

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self._name = name
        self._beside.stage(name, total, done)

    def step(self, done: int, **numbers: float) -> None:
        """See `Progress`. The epoch is the step itself, and no curve."""
        for name in numbers.keys() - {"epoch"}:
            self._writer.add_scalar(f"{self._name}/{name}", numbers[name], done)
        self._beside.step(done, **numbers)

    def message(self, text: str) -> None:
        """See `Progress`."""
        self._writer.add_text("messages", text)
        self._beside.message(text)

    def close(self) -> None:
        """See `Progress`."""
        self._writer.close()
        self._beside.close()


def _numbers(numbers: dict[str, float]) -> str:
    return " ".join(
        f"{name} {value if isinstance(value, int) else format(value, '.4g')}" for name, value in numbers.items()
    )
