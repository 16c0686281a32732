"""How far a study is: said in plain lines, or shown on the terminal while it goes on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from senas_bench.experiments.active import active_runs, status_file
from senas_bench.experiments.estimates import Known, core_seconds, makespan
from senas_bench.experiments.failures import Failure
from senas_bench.experiments.spec import RunSpec
from senas_bench.progress import duration, read_status, remove_status, stamped

if TYPE_CHECKING:
    from senas_bench.experiments.store import RunStore

LEAST_LEFT = 0.1
"""A run that takes longer than was expected has this share left of what it has taken."""
TOLD = 1.0
"""Seconds that a run was expected to take at least, for its time to say how fast this machine is."""


@dataclass
class Watch:
    """Counts the runs of a study as they end, and says so.

    Args:
        store: Of the results folder.
        specs: The runs to compute, in the order in which they begin.
        jobs: Runs at a time; 0 for those that there are.
        known: What finished runs took.
    """

    store: RunStore
    specs: Sequence[RunSpec]
    jobs: int
    known: Known
    failed: list[Failure] = field(default_factory=list, init=False)
    done: int = field(default=0, init=False)
    began: float = field(default_factory=lambda: time.time(), init=False)
    _took: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._open = {spec.run_id: spec for spec in self.specs}
        kinds = {id(spec.settings): spec for spec in self.specs}  # shared by runs that differ in their seeds alone
        seconds = {kind: core_seconds(spec, self.known)[0] for kind, spec in kinds.items()}
        self._expected = {
            spec.run_id: None if (all_cores := seconds[id(spec.settings)]) is None else all_cores / spec.threads
            for spec in self.specs
        }

    def follow(self, outcomes: Iterable[tuple[RunSpec, Any]]) -> list[Failure]:
        """Say how each run ended, by a record or an exception; those that failed."""
        for spec, outcome in outcomes:
            self.done += 1
            self._open.pop(spec.run_id, None)
            self.say_words(spec.run_id)
            remove_status(status_file(self.store.root, spec.run_id))
            if isinstance(outcome, Exception):
                self.failed.append(Failure(spec, outcome))
                self._say(f"{spec.run_id} FAILED: {self.failed[-1].why}")
                if os.environ.get("SENAS_DEBUG"):
                    self.say("\n".join(getattr(outcome, "__notes__", [])))
            else:
                self._took[spec.run_id] = seconds = outcome.timing["wall_seconds"]
                self._say(f"{spec.run_id} done in {seconds:.1f} s")
        if self._open:
            self.say(f"{len(self._open)} runs not begun: the processes of torchrun are out of step")
        return self.failed

    def active(self) -> dict[str, Mapping[str, Any]]:
        """Those of the runs that are at work, see `active_runs`."""
        return {run_id: status for run_id, status in active_runs(self.store.root).items() if run_id in self._open}

    def seconds_left(self, active: Mapping[str, Mapping[str, Any]]) -> float | None:
        """Seconds until all is done, as far as they are known; None where nothing is.

        What is expected of the others is corrected by how long the finished runs took of what was expected of them.
        """
        told = [run_id for run_id in self._took if (self._expected[run_id] or 0.0) >= TOLD]
        expected = sum(self._expected[run_id] or 0.0 for run_id in told)
        pace = sum(self._took[run_id] for run_id in told) / expected if told else 1.0
        mean = sum(self._took.values()) / len(self._took) if self._took else None
        begun, waiting = [], []
        for run_id in self._open:
            own = self._expected[run_id]
            seconds = mean if own is None else own * pace
            if seconds is None:
                return None
            if run_id in active:
                passed = time.time() - active[run_id]["began"]
                begun.append(max(seconds - passed, LEAST_LEFT * max(seconds, passed)))
            else:
                waiting.append(seconds)
        return makespan(begun, waiting, max(self.jobs, len(begun), 1))

    def say(self, text: str) -> None:
        """Print a line that is no run's."""
        print(text, file=sys.stderr)

    def say_words(self, run_id: str) -> None:
        """What a run's worker said elsewhere than here."""

    def _say(self, text: str) -> None:
        left = self.seconds_left(self.active()) if self._open else None
        about = "" if left is None else f", about {duration(left)} left"
        self.say(stamped(f"[{self.done}/{len(self.specs)}] {text}{about}"))


class LiveWatch(Watch):
    """The same on a terminal, with a display below the lines that `show` draws."""

    def __post_init__(self) -> None:
        from rich.console import Console

        super().__post_init__()
        self.console = Console(file=sys.stderr)
        self._said: dict[str, int] = {}

    def say(self, text: str) -> None:
        """See `Watch`."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def say_words(self, run_id: str) -> None:
        """See `Watch`: each of its lines once."""
        status = read_status(status_file(self.store.root, run_id))
        words = status["words"] if status else []
        for line in words[self._said.get(run_id, 0) :]:
            self.say(f"{run_id}: {line}")
        self._said[run_id] = len(words)

    def _say(self, text: str) -> None:
        self.say(f"[{self.done}/{len(self.specs)}] {text}")

    def __rich__(self) -> Any:
        from senas_bench.experiments.display import drawn

        active = self.active()
        for run_id in active:
            self.say_words(run_id)
        specs = {run_id: self._open[run_id] for run_id in active if run_id in self._open}
        return drawn(self, active, specs, self.seconds_left(active), self.console.width)


def is_live() -> bool:
    """Whether standard error is a terminal that can be drawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown", "")


@contextmanager
def watching(store: RunStore, specs: Sequence[RunSpec], jobs: int, known: Known, live: bool) -> Iterator[Watch]:
    """A `Watch` over runs for as long as the block lasts, with a display that is gone after it."""
    if not live:
        yield Watch(store, specs, jobs, known)
        return
    from rich.live import Live

    watch = LiveWatch(store, specs, jobs, known)
    with Live(watch, console=watch.console, refresh_per_second=1, transient=True, redirect_stdout=False):
        yield watch
