"""What a run says while it trains: nothing, plain lines, or a small file that others read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

NO_TENSORBOARD = "--tensorboard needs the package tensorboard; pip install tensorboard, or leave the option out"
STATUS_INTERVAL = 1.0
"""Least seconds between two steps of a stage that `StatusFile` writes down."""


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
    """One line per stage, once it is over, with what was said meanwhile and until the next: for logs and workers.

    Args:
        stream: Where the lines go.
        label: Begins every line after the time, such as the run id.
        clock: Seconds.
    """

    stream: TextIO
    label: str
    clock: Callable[[], float] = time.monotonic
    _name: str | None = field(default=None, init=False)
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)
    _ended: str = field(default="", init=False)
    _words: list[str] = field(default_factory=list, init=False)

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self.close()
        self._name, self._total, self._done, self._began, self._ended = name, total, done, self.clock(), ""
        if done >= total:
            self._ended = "done before" if done else "nothing to do"

    def step(self, done: int, **numbers: float) -> None:
        """See `Progress`."""
        self._done = done
        if self._name is not None and done >= self._total and not self._ended:
            self._ended = f"{worded(numbers)} {self._took()}".strip()

    def message(self, text: str) -> None:
        """See `Progress`."""
        if self._name is None:
            self._say(text)
        else:
            self._words.append(text)

    def close(self) -> None:
        """See `Progress`."""
        if self._name is not None:
            ended = self._ended or f"stopped early {self._took()}"
            self._say("; ".join([f"{self._name}: {self._done}/{self._total} {ended}", *self._words]))
        self._name, self._words = None, []

    def _took(self) -> str:
        return f"(took {self.clock() - self._began:.1f} s)"

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone ends no run
            # one call, so that lines of several processes do not mix
            self.stream.write(f"{stamped(f'[{self.label}] {text}')}\n")
            self.stream.flush()


class StatusFile:
    """What a run is at, in a small file: replaced when a stage begins and ends, and at most once a second between.

    Whoever wants to know reads it with `read_status`: the display of the command, or `senas-bench status` elsewhere. It
    holds the `stage` with its steps `done` of `total` and the last `numbers`, when the run `began` (seconds since 1970)
    and all `words`. What cannot be written is not: no run fails for it.

    Args:
        path: The file; this process alone writes it.
        beside: Told everything too.
        keep: Leave the file when the run is over, for a reader who removes it.
    """

    def __init__(self, path: Path, beside: Progress, *, keep: bool = False) -> None:
        self._path, self._beside, self._keep = path, beside, keep
        self._status: dict[str, Any] = {"stage": "", "done": 0, "total": 0, "numbers": {}, "began": time.time()}
        self._status["words"] = []
        self._wrote = 0.0
        self._write()

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self._status.update(stage=name, total=total, done=done, numbers={})
        self._write()
        self._beside.stage(name, total, done)

    def step(self, done: int, **numbers: float) -> None:
        """See `Progress`."""
        self._status.update(done=done, numbers=numbers)
        if done >= self._status["total"] or time.monotonic() - self._wrote >= STATUS_INTERVAL:
            self._write()
        self._beside.step(done, **numbers)

    def message(self, text: str) -> None:
        """See `Progress`."""
        self._beside.message(text)

    def word(self, line: str) -> None:
        """A line that somebody else said, such as a warning: who reads the file shows it."""
        self._status["words"] += [line]
        self._write()

    def close(self) -> None:
        """See `Progress`."""
        if not self._keep:
            remove_status(self._path)
        self._beside.close()

    def _write(self) -> None:
        self._wrote = time.monotonic()
        unfinished = _unfinished(self._path)
        with contextlib.suppress(OSError):
            unfinished.write_text(json.dumps(self._status), encoding="utf-8")
            os.replace(unfinished, self._path)


def read_status(path: Path) -> Mapping[str, Any] | None:
    """What a `StatusFile` holds; None where there is none, or what is there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.keys() >= {"stage", "done", "total", "numbers", "began", "words"}
    return found if whole else None


def remove_status(path: Path) -> None:
    """Remove a `StatusFile`, and what its writer left half written."""
    for file in (path, _unfinished(path)):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


class Overheard(io.TextIOBase):
    """A stream whose lines a `StatusFile` is told, such as those of `sys.stderr` in a worker."""

    def __init__(self, told: StatusFile) -> None:
        self._told, self._rest = told, ""

    def write(self, text: str) -> int:
        """Take a part of a line, or lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._told.word(line)
        return len(text)


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


def worded(numbers: Mapping[str, float]) -> str:
    """Numbers with their names.

    >>> worded({"epoch": 3, "loss": 1.23456})
    'epoch 3 loss 1.235'
    """
    return " ".join(
        f"{name} {value if isinstance(value, int) else format(value, '.4g')}" for name, value in numbers.items()
    )


def stamped(text: str) -> str:
    """A line after the time of this moment."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(8.2), duration(200), duration(59 * 60 + 59), duration(7500)
    ('8 s', '3 min', '60 min', '2 h 5 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
