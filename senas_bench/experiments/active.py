"""What the runs of a results folder are at that some process computes now: each says so in a file beside its work
folder, see `progress.StatusFile`, and holds a lock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from senas_bench.experiments.store import WORK
from senas_bench.locks import is_held
from senas_bench.progress import read_status, remove_status

STATUS = ".progress"
"""What the names of the files end in."""


def status_file(root: Path, run_id: str) -> Path:
    """Where a run of a results folder says what it is at."""
    return Path(root) / WORK / f"{run_id}{STATUS}"


def active_runs(root: Path) -> dict[str, Mapping[str, Any]]:
    """What the runs say that a living process computes, by run id, in the order in which they began."""
    files = {path.name.removesuffix(STATUS): path for path in (Path(root) / WORK).glob(f"*{STATUS}")}
    held = [run_id for run_id, path in files.items() if is_held(path.with_suffix(".lock"))]
    said = {run_id: status for run_id in held if (status := read_status(files[run_id])) is not None}
    return dict(sorted(said.items(), key=lambda item: item[1]["began"]))


def forget_status(root: Path) -> None:
    """Remove what runs said that nobody computes any more: their processes were killed."""
    for path in (Path(root) / WORK).glob(f"*{STATUS}"):
        if not is_held(path.with_suffix(".lock")):
            remove_status(path)
