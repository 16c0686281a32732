"""Runs specs and keeps their records."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.experiments.active import status_file
from senas_bench.experiments.additions import code_of, use_as_read
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.store import RunStore
from senas_bench.progress import (
    Overheard,
    PlainProgress,
    Progress,
    SilentProgress,
    StatusFile,
    TensorBoardProgress,
)

if TYPE_CHECKING:
    from senas_bench.training.distributed import Processes
from senas_bench.experiments.place import Place
from senas_bench.experiments.run import run


@dataclass(frozen=True)
class Runner:
    """Runs specs and keeps their records; travels to worker processes.

    Args:
        root: Results folder.
        data_dir: Where the images lie.
        command: For the provenance.
        progress: `silent`, `plain` (lines on standard error), or `live`: somebody shows what the status files of runs
            runs say, and removes them.
        ground_truth: For methods that train from scratch; see `make_spec`.
        workers: Processes that decode the images of each run which memory does not hold; 0 for none beside its own.
            They change no result.
        processes: That compute each run together, see `Task`, each with a runner of its own; None for this one alone.
        tensorboard: Folder for the curves of each run, in a folder of its id; None for none.
        share: Runs of the results folder that begin with the same training compute it once; `RunStore.forget_trainings`
            removes what nobody asked to keep.
        keep_trained: Keep such trainings in the results folder.
        additions: Files that make known what the package does not have, as `additions.used` gives them; a worker runs
            them first.
    """

    root: Path
    data_dir: Path | None = None
    command: tuple[str, ...] = ()
    progress: str = "silent"
    ground_truth: Path | None = None
    workers: int = 0
    processes: Processes | None = None
    tensorboard: Path | None = None
    share: bool = False
    keep_trained: bool = False
    additions: tuple[tuple[Path, str], ...] = ()

    def __call__(self, spec: RunSpec) -> RunRecord | None:
        """The record of `spec`: from the store, or computed, resuming what an earlier try left behind.

        None in a process that is not the first, which helps to compute it and leaves the store alone.
        """
        use_as_read(self.additions)
        store = RunStore(self.root)
        if self.processes is not None and not self.processes.first:
            if self._goes_on(True):
                run(spec, self._place(store.work_dir(spec)))
            return None
        with store.claim(spec) as finished:
            if finished is not None:
                self._goes_on(False)
                return finished
            work_dir = store.work_dir(spec, code_of(spec))
            self._goes_on(True)
            try:
                with self._said(spec, status_file(store.root, spec.run_id)) as progress:
                    done = self.run_in(work_dir, spec, store if self.share or self.keep_trained else None, progress)
            except Exception:
                store.forget_unused(spec)
                raise
            return store.save(*done)

    @contextlib.contextmanager
    def _said(self, spec: RunSpec, path: Path) -> Iterator[Progress]:
        """What a run tells, in its status file too. Where that is shown, so is what goes to standard error meanwhile:
        it would tear the display."""
        live = self.progress == "live"
        beside = SilentProgress() if live else progress_of(self.progress, spec.run_id)
        told = StatusFile(path, beside, keep=live)
        with contextlib.redirect_stderr(Overheard(told)) if live else contextlib.nullcontext():  # type: ignore[type-var]
            try:
                yield told
            finally:
                told.close()

    def run_in(
        self, work_dir: Path, spec: RunSpec, sharing: RunStore | None = None, progress: Progress | None = None
    ) -> tuple[RunRecord, Any]:
        """As `run`, kept nowhere.

        Args:
            sharing: Where trainings are shared with other runs; None for nowhere.
            progress: Told; None for plain lines, unless this runner is silent.
        """
        progress = progress or progress_of(self.progress, spec.run_id)
        if self.tensorboard is not None:
            progress = TensorBoardProgress(Path(self.tensorboard) / spec.run_id, progress)
        with contextlib.closing(progress):
            place = replace(self._place(work_dir), progress=progress)
            if sharing is not None:
                folder = sharing.kept_trainings if self.keep_trained else sharing.trainings
                place = replace(place, trainings=folder, kept_trainings=sharing.kept_trainings)
            return run(spec, place)

    def apart(self) -> tuple[DistantRunner, Callable[[tuple[RunRecord, Any]], RunRecord]]:
        """The same in two parts, for workers that may not see this machine's files: theirs, and what is then done here.

        Raises:
            ValueError: The results folder cannot be written.
        """
        paths = {name: getattr(self, name) for name in ("root", "data_dir", "ground_truth", "tensorboard")}
        here = replace(self, **{name: path and Path(path).absolute() for name, path in paths.items()})
        store = RunStore(here.root)
        store.prepare()
        return DistantRunner(here, store.identity()), here._keep

    def _keep(self, finished: tuple[RunRecord, Any]) -> RunRecord:
        record, tables = finished
        store = RunStore(self.root)
        return store.make_way(record.spec) or store.save(record, tables)

    def _goes_on(self, mine: bool) -> bool:
        """Whether the run is to be computed, as the first process has it."""
        return mine if self.processes is None else bool(self.processes.from_first(np.array([int(mine)]))[0])

    def _place(self, work_dir: Path) -> Place:
        alone: dict[str, Any] = {} if self.processes is None else {"processes": self.processes}
        return Place(work_dir, self.data_dir, self.ground_truth, command=self.command, workers=self.workers, **alone)


@dataclass(frozen=True)
class DistantRunner:
    """The part of a `Runner` that is done on a machine which may or may not see its results folder.

    Where it does, a run is claimed, resumed and saved as by the runner itself. Where not, it works in a temporary
    folder. Either way the record and its scores travel back.

    Args:
        runner: With absolute paths.
        identity: Of its results folder.
    """

    runner: Runner
    identity: str

    def __call__(self, spec: RunSpec) -> tuple[RunRecord, Any]:
        """The record and its scores; see `run`."""
        use_as_read(self.runner.additions)
        store = RunStore(self.runner.root)
        if store.is_identical(self.identity):
            record = self.runner(spec)
            assert record is not None  # it runs in one process
            return record, None if record.scores_sha256 is None else store.scores(record)
        with tempfile.TemporaryDirectory(prefix="senas-bench-") as folder:
            return self.runner.run_in(Path(folder), spec)


def progress_of(kind: str, label: str) -> Progress:
    """Of a run that has no status file: what cannot be shown live is said in plain lines."""
    return SilentProgress() if kind == "silent" else PlainProgress(sys.stderr, label)
