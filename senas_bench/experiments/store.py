"""Where finished runs are kept: one JSON and one Parquet file per run, whole or not at all. No torch here."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from senas_bench.errors import DataError
from senas_bench.experiments.sealing import Newer, check, sealed, sha256, unsealed
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.files import atomic_write, prove_room, room_named
from senas_bench.locks import LockHeld, held

SCORES = pa.schema(
    [
        pa.field("set", pa.string(), nullable=False),
        pa.field("stage", pa.int8(), nullable=False),
        pa.field("epoch", pa.int16(), nullable=False),
        pa.field("arch_str", pa.string(), nullable=False),
        pa.field("tier", pa.int8(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
"""One row per arch per evaluation. `set`: "full" space, fixed "sample" of it, or the "current" archs of the stage;
`stage` from 1; `epoch`: trained so far; `tier` 0 ranks above 1 above 2; `score`: higher is better, never NaN."""

MAX_STAGES, MAX_EPOCHS = 2**7 - 1, 2**15 - 1
"""What the integers of `SCORES` hold."""
WORK = "work"
"""Name of the folder of what is not finished."""
CODE = "additions.json"
"""Name of the file in a work folder that says which files of the user the run was begun with."""
TRAININGS = "trained"
"""Name of the folders of trainings that runs share."""
OUTPUTS = ("tables", "figures")
"""Folders beside the runs that commands fill at their end, when all is computed."""
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, DataError)
"""What reading a damaged record can raise."""
PATIENCE = 600.0
"""Seconds to wait for a process that writes a record."""
SHORT_PATIENCE = 90.0
"""Seconds in which the lock of a dead process is taken over, wherever it was."""
RUN_PATIENCE = 7 * 24 * 3600.0
"""Seconds to wait for a process that computes the same run: as long as it lives and a run may take."""


def scores_to_bytes(scores: pd.DataFrame) -> bytes:
    """Parquet bytes of a score table; the same table gives the same bytes under the same pyarrow.

    Raises:
        ValueError: The columns are not those of `SCORES`, or a value is missing, NaN or out of range.
    """
    if set(scores.columns) != set(SCORES.names):
        raise ValueError(f"score table has columns {sorted(scores.columns)}; it needs exactly {SCORES.names}")
    table = pa.Table.from_pandas(scores, schema=SCORES, preserve_index=False)
    sink = pa.BufferOutputStream()
    # Without the stored schema: its metadata name the version of pandas and the types the frame came with.
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True)
class RunStore:
    """A results folder: `runs/<run_id>.{json,parquet}` of finished runs, `work/<run_id>/` of unfinished ones.

    The JSON file is written last, so a run is finished exactly when it is there. A damaged run, or one of which a part
    is not there yet, counts as missing, with a warning. Who reads leaves it in its place; who is about to write it
    moves it aside to `<name>.corrupt`: nothing is deleted. Both files are checked by sha256 whenever they are read.
    Reading creates nothing, and works in a read-only folder.
    """

    root: Path

    def prepare(self) -> None:
        """Create the folders and prove that they can be written, before anything is computed; so too for tables and
        figures, which come last.

        Raises:
            ValueError: They cannot.
        """
        try:
            for folder in (self._runs, self._work):
                self._make(folder)
            outputs = (Path(self.root) / name for name in OUTPUTS)
            for folder in (self.root, self._runs, self._work, *(folder for folder in outputs if folder.exists())):
                prove_room(Path(folder))
        except OSError as error:
            raise ValueError(
                f"cannot write results in {self.root}: {error.strerror}; name a writable folder with --results"
            ) from error

    def save(self, record: RunRecord, tables: pd.DataFrame | None) -> RunRecord:
        """Keep a finished run and remove its work folder.

        Args:
            record: The run; its `scores_sha256` is replaced.
            tables: The scores of every evaluated epoch, as `SCORES`; None for a method that scores nothing.

        Returns:
            The record as written.

        Raises:
            ValueError: The score table is malformed.
            OSError: No room on the disk; the store holds the whole run from before or none.
        """
        run_id = record.spec.run_id
        scores = None if tables is None else scores_to_bytes(tables)
        record = replace(record, scores_sha256=None if scores is None else sha256(scores))
        text = sealed(record.to_json()).encode()
        self._make(self._runs)
        with self._lock("save"):
            for stale in self._runs.glob(f".{run_id}.*.tmp"):  # of a writer that was killed
                stale.unlink()
            if scores is not None:
                atomic_write(self._parquet(run_id), scores)
            atomic_write(self._json(run_id), text)
        shutil.rmtree(self._work / run_id, ignore_errors=True)
        return record

    def has(self, spec: RunSpec) -> bool:
        """Whether the run is finished and undamaged."""
        return self._find(spec.run_id, spec) is not None

    def load(self, spec: RunSpec) -> RunRecord:
        """The record of a finished run.

        Raises:
            FileNotFoundError: The run is missing.
            DataError: A newer version wrote it.
        """
        record = self._find(spec.run_id, spec)
        if record is None:
            raise FileNotFoundError(f"run {spec.run_id} is not in {self.root}; run it first")
        return record

    def finished(self, specs: Iterable[RunSpec]) -> list[RunRecord]:
        """The records of those of the specs that have a finished run, in order."""
        found = [self._find(spec.run_id, spec) for spec in specs]
        return [record for record in found if record is not None]

    def scores(self, record: RunRecord) -> pd.DataFrame:
        """The score table of a run, columns as `SCORES`.

        Raises:
            ValueError: The method scores nothing.
            DataError: The file is missing, or is not the one the record was saved with.
        """
        if record.scores_sha256 is None:
            raise ValueError(f"run {record.spec.run_id} has no scores: method {record.spec.method!r} ranks nothing")
        return pq.read_table(pa.BufferReader(self._score_bytes(record))).to_pandas()

    def missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """The specs without a finished run, in order."""
        return [spec for spec in specs if not self.has(spec)]

    def records(self) -> list[RunRecord]:
        """All finished runs, by run id.

        Raises:
            ValueError: The folder is a file.
        """
        if self.root.is_file():
            raise ValueError(f"--results {self.root} is a file; name a folder")
        found = [self._find(path.name.removesuffix(".json")) for path in sorted(self._runs.glob("*.json"))]
        return [record for record in found if record is not None]

    def work_dir(self, spec: RunSpec, code: Mapping[str, str] | None = None) -> Path:
        """The folder for the checkpoints of an unfinished run, created; `save` removes it.

        Args:
            code: Files of the user that decide the run, see `additions.code_of`. What another state of them has begun
                is set aside, with a warning: the run would be of two codes. None to take what is there.
        """
        folder = self._make(self._work / spec.run_id)
        if code:
            begun = folder / CODE
            if begun.exists() and (then := json.loads(begun.read_bytes())) != code:
                changed = ", ".join(sorted(name for name, sha in code.items() if then.get(name) != sha))
                aside = _move_aside(folder, "old")
                warnings.warn(
                    f"run {spec.run_id} begins anew: {changed or 'its code'} has changed since it was interrupted; "
                    f"what was done is in {aside}",
                    stacklevel=1,
                )
            atomic_write(self._make(folder) / CODE, json.dumps(code, sort_keys=True).encode())
        return folder

    def forget_unused(self, spec: RunSpec) -> None:
        """Remove the work folder of a run that was refused before it kept anything: it is not unfinished."""
        folder = self._work / spec.run_id
        with suppress(OSError):
            if {path.name for path in folder.iterdir()} <= {CODE}:
                shutil.rmtree(folder)

    def unfinished(self) -> list[str]:
        """Run ids with a work folder: begun and not finished."""
        return (
            sorted(
                path.name
                for path in self._work.iterdir()
                if path.is_dir() and ".old" not in path.name and path != self.trainings
            )
            if self._work.is_dir()
            else []
        )

    def files_of(self, run_id: str) -> list[Path]:
        """All there is of a run: record, scores, work folder."""
        files = self._json(run_id), self._parquet(run_id), self._work / run_id
        return [path for path in files if path.exists()]

    def identity(self) -> str:
        """A random name that the folder keeps: who reads the same one, on any machine, sees the same folder."""
        with self._lock("identity"):
            if not self._identity.exists():
                atomic_write(self._identity, secrets.token_hex(16).encode())
        return self._identity.read_text()

    def is_identical(self, identity: str) -> bool:
        """Whether the folder, as this machine sees it, has that `identity`; it does not where it cannot be read."""
        try:
            return self._identity.read_text() == identity
        except (OSError, UnicodeDecodeError):
            return False

    def set_aside(self, spec: RunSpec) -> None:
        """Rename a finished run to `<name>.old` and its work folder too, so that it is computed again.

        Raises:
            LockHeld: Somebody computes it.
        """
        with self.hold(spec.run_id), self._lock("save"):
            for path in (self._json(spec.run_id), self._parquet(spec.run_id), self._work / spec.run_id):
                if path.exists():
                    _move_aside(path, "old")

    def hold(self, run_id: str, patience: float | None = None) -> AbstractContextManager[None]:
        """Hold a run, so that nobody computes it or takes it away meanwhile; raises as `claim`."""
        return self._lock(run_id, SHORT_PATIENCE if patience is None else patience)

    @contextmanager
    def claim(self, spec: RunSpec) -> Iterator[RunRecord | None]:
        """Hold a run so that no other process computes it; wait while one does.

        Yields:
            None when the run is still to be computed, else the record that someone finished meanwhile.

        Raises:
            ValueError: The folder cannot be written.
            LockHeld: The other one did not end.
        """
        self.prepare()
        with self.hold(spec.run_id, RUN_PATIENCE):
            yield self.make_way(spec)

    def make_way(self, spec: RunSpec) -> RunRecord | None:
        """The record of a finished run; None where it is to be written, and what was damaged there is moved aside."""
        return self._find(spec.run_id, spec, aside=True)

    @property
    def trainings(self) -> Path:
        """Trainings that runs share, for as long as a command goes on."""
        return self._work / TRAININGS

    @property
    def kept_trainings(self) -> Path:
        """Trainings that runs share and somebody asked to keep."""
        return Path(self.root) / TRAININGS

    def forget_trainings(self) -> None:
        """Remove the trainings that runs shared and nobody asked to keep, once no run is unfinished: one that is at
        work, or was interrupted, may go on from them."""
        if self.unfinished():
            return
        for path in self.trainings.glob("*.safetensors"):
            if not path.with_suffix(".lock").exists():
                path.unlink(missing_ok=True)
        with suppress(OSError):  # somebody is at one
            self.trainings.rmdir()

    @property
    def _runs(self) -> Path:
        return Path(self.root) / "runs"

    @property
    def _work(self) -> Path:
        return Path(self.root) / WORK

    @property
    def _identity(self) -> Path:
        return self._work / "identity"

    def _json(self, run_id: str) -> Path:
        return self._runs / f"{run_id}.json"

    def _parquet(self, run_id: str) -> Path:
        return self._runs / f"{run_id}.parquet"

    @staticmethod
    def _make(folder: Path) -> Path:
        with room_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _lock(self, name: str, patience: float | None = None) -> AbstractContextManager[None]:
        return held(self._make(self._work) / f"{name}.lock", PATIENCE if patience is None else patience)

    def _find(self, run_id: str, spec: RunSpec | None = None, aside: bool = False) -> RunRecord | None:
        """The checked record; None when it is missing or, with a warning, damaged.

        Args:
            aside: What is damaged is moved aside; otherwise it stays, as it may be on its way here.

        Raises:
            DataError: A newer version wrote it: it stays where it is.
        """
        try:
            return self._read(run_id, spec)
        except Newer:
            raise
        except DAMAGE as error:
            reason = error
        fate = "left in place"
        try:
            with self._lock("save") if self._work.is_dir() else nullcontext():
                try:  # again: a writer may have been between the two files
                    return self._read(run_id, spec)
                except Newer:
                    raise
                except DAMAGE:
                    there = [path for path in (self._json(run_id), self._parquet(run_id)) if aside and path.exists()]
                    fate = f"moved to {', '.join(map(_move_aside, there))}" if there else fate
        except OSError as error:
            fate = f"left in place ({error.strerror})"
        except LockHeld as error:
            fate = f"left in place ({error})"
        why = "no " * isinstance(reason, KeyError) + (" ".join(str(reason).split()) or type(reason).__name__)
        warnings.warn(f"run {run_id} is damaged or incomplete and counts as missing: {why}; {fate}", stacklevel=1)
        return None

    def _read(self, run_id: str, spec: RunSpec | None) -> RunRecord | None:
        path = self._json(run_id)
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return None
        record = RunRecord.from_json(unsealed(text, path))
        if record.spec.run_id != run_id or (spec is not None and record.spec.canonical() != spec.canonical()):
            raise ValueError("its spec is not the one that was asked")
        if record.scores_sha256 is not None:
            self._score_bytes(record)
        return record

    def _score_bytes(self, record: RunRecord) -> bytes:
        path = self._parquet(record.spec.run_id)
        if not path.exists():
            raise DataError(f"scores {path} is missing; run it again")
        data = path.read_bytes()
        check(path, sha256(data), record.scores_sha256)
        return data


def _move_aside(path: Path, suffix: str = "corrupt") -> str:
    """Rename to `<name>.<suffix>`, numbered where that is taken; the new name."""
    aside = path.with_name(f"{path.name}.{suffix}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{suffix}{number}")
    os.replace(path, aside)
    return aside.name
