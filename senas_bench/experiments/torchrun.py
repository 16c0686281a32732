"""Runs that all processes started by torchrun compute together: the first runs the command, the others help it.

Only the first reads the command line, makes the specs, keeps the store and prints. It hands the specs on through the
key-value store at which the processes meet; then all go through them in step. Nothing here imports torch until it must.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senas_bench.training.place import place

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

    from senas_bench.experiments.runner import Runner
    from senas_bench.experiments.spec import RunRecord, RunSpec

WORK = "senas-bench/work"
"""Key of what the first process hands on: the runner's folders and the specs, as JSON; null for nothing to do."""
COMMANDS = ("reproduce", "rank", "search", "retrain")
"""Of the command line: those that train."""
APART = frozenset({"-h", "--help", "--version", "--dry-run", "--finished"})
"""Options with which they do not. Their specs are still those of all processes."""
PARTING = 60.0
"""Seconds that a first process which has no work waits for the others to hear so."""
PATIENCE = 10.0
"""Seconds in which a run that failed in one process must fail in all, so that they can go on with the next in step."""
PATHS = ("root", "data_dir", "ground_truth")
"""Of a runner."""
POLL = 0.1
"""Seconds between two looks at the store. A wait inside of it would not notice a signal."""


def started() -> int:
    """How many processes torchrun started, this one among them; 1 without it.

    Raises:
        ValueError: `RANK` and `WORLD_SIZE` say that there are others, and other variables of torchrun are missing.
    """
    several = "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    return place().world if several else 1


def helps() -> bool:
    """Whether this process is one of several, and not the first."""
    return started() > 1 and place().rank != 0


def joins(arguments: Sequence[str]) -> bool:
    """Whether a command with these arguments trains together with the other processes that torchrun started.

    One of a kind that never trains is alone from then on, whatever variables a cluster has left in the environment.

    Raises:
        ValueError: See `started`.
    """
    words = [word for before, word in zip(["", *arguments], arguments, strict=False) if before != "--with"]
    command = next((word for word in words if not word.startswith("-")), None)
    if command not in COMMANDS or not APART.isdisjoint(arguments):
        if command not in COMMANDS:
            os.environ.pop("RANK", None)
        return False
    return started() > 1


@dataclass(frozen=True)
class TorchrunExecutor:
    """One run after the other, each on all processes; for the first of them. The others call `follow`.

    A run that fails alike in all of them is handed back, and the next begins. After any other failure the processes are
    no longer in step: the failure is handed back and the remaining specs are not.
    """

    def map(
        self, function: Runner, specs: Iterable[RunSpec]
    ) -> Generator[tuple[RunSpec, RunRecord | Exception | None], None, None]:
        """See `Executor.map`."""
        from senas_bench.experiments.executors import SerialExecutor
        from senas_bench.training.distributed import join, meet

        specs, store = list(specs), meet()
        store.set(WORK, json.dumps({"runner": _as_json(function), "specs": [asdict(spec) for spec in specs]}))
        with contextlib.suppress(_OutOfStep), join(specs[0].device) as (processes, _):
            runner = replace(function, processes=processes)
            for number, (spec, outcome) in enumerate(SerialExecutor().map(runner, specs)):
                yield spec, outcome
                if isinstance(outcome, Exception):
                    _wait_for_the_same(store, number, outcome)


def follow() -> int:
    """Help the first process until its command is done; the exit code, 1 after a failure of this process alone.

    Raises:
        RunError: The first process did not come.
    """
    from senas_bench.experiments.executors import SerialExecutor
    from senas_bench.experiments.spec import RunSpec
    from senas_bench.training.distributed import LostProcess, join, meet

    store = meet()
    while not store.check([WORK]):
        time.sleep(POLL)
    work = json.loads(store.get(WORK))
    if work is None:
        return 0
    specs = [RunSpec(**spec) for spec in work["specs"]]
    with contextlib.suppress(_OutOfStep), join(specs[0].device) as (processes, _):
        runner = replace(_from_json(work["runner"]), processes=processes)
        for number, (spec, outcome) in enumerate(SerialExecutor().map(runner, specs)):
            if not isinstance(outcome, Exception):
                continue
            try:
                _wait_for_the_same(store, number, outcome)
            except _OutOfStep as parted:
                # of those that only miss another process one is enough to say so
                if parted.first or not isinstance(outcome, LostProcess):
                    why = " ".join(str(outcome).split()) or type(outcome).__name__
                    print(f"{spec.run_id} FAILED in process {processes.rank}: {why}", file=sys.stderr)
                raise
        return 0
    return 1


def dismiss() -> None:
    """Let the others go, at the end of a command that had nothing for them to do; called by the first process."""
    from senas_bench.errors import RunError
    from senas_bench.training.distributed import meet

    with contextlib.suppress(RunError, RuntimeError):  # they are gone already
        store = meet(PARTING)
        if not store.check([WORK]):
            store.set(WORK, "null")


class _OutOfStep(Exception):
    """A run failed in some processes only; `first` says whether in this one before any other."""

    def __init__(self, first: bool) -> None:
        self.first = first


def _wait_for_the_same(store: Store, number: int, error: Exception) -> None:
    """Return when run `number` has failed in all processes.

    Raises:
        _OutOfStep: It does not in `PATIENCE`, or cannot, because one is lost.
    """
    from senas_bench.training.distributed import LostProcess

    key = f"senas-bench/failed/{number}"
    first, deadline = store.add(key, 1) == 1, time.monotonic() + PATIENCE
    while not isinstance(error, LostProcess) and time.monotonic() < deadline:
        if store.add(key, 0) == started():
            return
        time.sleep(POLL)
    raise _OutOfStep(first)


def _as_json(runner: Runner) -> dict[str, Any]:
    """What a runner of another process needs to know of this one."""
    paths = {name: getattr(runner, name) for name in PATHS}
    absolute = {name: None if path is None else os.path.abspath(path) for name, path in paths.items()}
    additions = [(str(path), sha256) for path, sha256 in runner.additions]
    return {**absolute, "workers": runner.workers, "additions": additions}


def _from_json(fields: dict[str, Any]) -> Runner:
    from senas_bench.experiments.runner import Runner

    known: dict[str, Any] = {name: Path(v) if name in PATHS and v else v for name, v in fields.items()}
    return Runner(**{**known, "additions": tuple((Path(path), sha256) for path, sha256 in known["additions"])})
