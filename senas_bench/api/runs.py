"""Runs of a results folder: what they show so far, removed, or packed to share."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from senas_bench.errors import DataError

if TYPE_CHECKING:
    from senas_bench.analysis.output.formats import Table
    from senas_bench.experiments.spec import RunRecord
    from senas_bench.experiments.store import RunStore

BESIDE = ("tables", "figures", "latency")
"""Folders of a pack beside the runs; `latency` has the tables by which limits are known again."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of all files in a pack, so that equal folders give equal packs."""


def tables_so_far(results: Path, ground_truth: Path | None = None) -> Iterator[tuple[str, Table]]:
    """Of each study of a folder the tables that the finished runs show, with its title: the one that any method may be
    in, or those of searches. Nothing is written.

    Raises:
        DataError: Nothing is finished.
    """
    from senas_bench.analysis.artefacts import ARTEFACTS, named, records_of, render_sound
    from senas_bench.analysis.output.sections import sections
    from senas_bench.api.studies import load_truth
    from senas_bench.experiments.store import RunStore

    store = RunStore(results)
    records = store.records()
    if not records:
        raise DataError(f"no finished runs in {results}: there is no table yet")
    truth = load_truth(ground_truth, None)
    ranked = next(name for name, artefact in ARTEFACTS.items() if artefact.open)
    names = [ranked, *(name for name in named("searches") if name.startswith("table"))]
    for section in sections(records):
        for name in names:
            shown = records_of(name, section.records)
            if shown:
                yield section.title, render_sound(ARTEFACTS[name], shown, store.scores, truth)[0]


@dataclass(frozen=True)
class Removal:
    """Runs of some methods that can be removed from a results folder.

    Args:
        results: The folder.
        finished, unfinished: Their ids.
    """

    results: Path
    finished: Sequence[str]
    unfinished: Sequence[str]

    def remove(self) -> None:
        """Remove them. Records go first: what is left without one is no run.

        Raises:
            LockHeld: One of them is being computed by now; those before it are gone.
        """
        from senas_bench.experiments.active import status_file
        from senas_bench.experiments.store import RunStore

        store = RunStore(self.results)
        for run_id in (*self.finished, *self.unfinished):
            with store.hold(run_id):
                for path in (*store.files_of(run_id), status_file(self.results, run_id)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def removal_of(results: Path, methods: Sequence[str]) -> Removal:
    """What removing the runs of methods removes.

    Raises:
        ValueError: A method has no runs there, or one of them is being computed.
    """
    from senas_bench.experiments.active import active_runs
    from senas_bench.experiments.store import RunStore

    store = RunStore(results)
    finished = {record.spec.run_id: record.spec.method for record in store.records()}
    begun = {run_id: method_of_run(run_id) for run_id in store.unfinished()}
    known = sorted({*finished.values(), *begun.values()})
    for method in methods:
        if method not in known:
            raise ValueError(f"no runs of {method!r} in {results}; there are some of: {', '.join(known) or 'none'}")
    done = [run_id for run_id, method in finished.items() if method in methods]
    left = [run_id for run_id, method in begun.items() if method in methods and run_id not in done]
    if busy := [run_id for run_id in (*done, *left) if run_id in active_runs(results)]:
        raise ValueError(f"{', '.join(busy)} is being computed; interrupt that command first")
    return Removal(results, done, left)


def method_of_run(run_id: str) -> str:
    """The method in a run id, which ends in preset, data set, seed and hash.

    >>> method_of_run("spos-evolution-embedded-imagenet16-120-s3-0123456789")
    'spos-evolution'
    """
    from senas_bench.data import DATASETS
    from senas_bench.experiments.presets import PRESETS

    stem = run_id.rsplit("-", 2)[0]
    for preset in PRESETS:
        for dataset in DATASETS:
            if stem.endswith(ending := f"-{preset}-{dataset}"):
                return stem.removesuffix(ending)
    return stem


def pack(results: Path, out: Path) -> list[str]:
    """Write one archive of the records, scores, tables (of latency too), figures and report of a results folder.

    Unpacked it is a results folder. Nothing in it names a folder of this machine: in the command lines of records
    absolute paths are cut to their last part, and other files that name one are refused. Equal folders give equal
    archives.

    Returns:
        The names in the archive.

    Raises:
        ValueError: A file names a folder of this machine.
        DataError: Nothing is finished, or a file is damaged.
    """
    from senas_bench.experiments.store import RunStore
    from senas_bench.files import atomic_file

    store = RunStore(results)
    records = store.records()
    if not records:
        raise DataError(f"no finished runs in {results}; there is nothing to pack")
    with tempfile.TemporaryDirectory() as folder:
        own = RunStore(Path(folder))
        files = {path.name: path for record in records for path in _shared(record, store, own)}
        entries = {f"runs/{name}": path.read_bytes() for name, path in sorted(files.items())}
    beside = [path for name in BESIDE for path in sorted((results / name).glob("*")) if path.suffix != ".lock"]
    outputs = [path for path in beside if path.is_file()]
    outputs += [path for path in [results / "report.html"] if path.is_file()]
    entries |= {path.relative_to(results).as_posix(): path.read_bytes() for path in outputs}
    _refuse_paths(entries, results)
    top = results.resolve().name
    with atomic_file(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(f"{top}/{name}", EPOCH), data, zipfile.ZIP_DEFLATED)
    return list(entries)


def _shared(record: RunRecord, store: RunStore, own: RunStore) -> Sequence[Path]:
    """The files of a run as they may be shared: its own, or where its command has to be cut others, sealed anew."""
    from senas_bench.experiments.provenance import without_folder

    command = [without_folder(word) for word in record.provenance.get("command", [])]
    if command == list(record.provenance.get("command", [])):
        return store.files_of(record.spec.run_id)
    scores = None if record.scores_sha256 is None else store.scores(record)
    own.save(replace(record, provenance={**record.provenance, "command": command}), scores)
    return own.files_of(record.spec.run_id)


def _refuse_paths(entries: dict[str, bytes], results: Path) -> None:
    """Refuse what names a folder of this machine: the user's own, the working folder, or that of the results."""
    folders = {Path.cwd(), results.resolve()}
    if home := os.environ.get("HOME"):
        folders.add(Path(home))
    named = [os.fsencode(str(folder)) for folder in folders if len(folder.parts) > 1]
    for name, data in entries.items():
        if any(folder in data for folder in named):
            raise ValueError(f"{name} names a folder of this machine; make it again, or delete it, and pack then")
