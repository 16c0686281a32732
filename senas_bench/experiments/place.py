"""Where and with what a run is computed: nothing here is part of its spec, and nothing changes its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from senas_bench.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from senas_bench.training.distributed import Processes


def _alone() -> Processes:
    from senas_bench.training.distributed import ALONE

    return ALONE


@dataclass(frozen=True)
class Place:
    """What a run is given beside its spec.

    Args:
        work_dir: Checkpoints; a run that finds its own there goes on from them.
        data_dir: Where the images lie.
        ground_truth: For a method that trains from scratch; must be the table that its spec names.
        progress: Sink.
        command: For the provenance.
        workers: Processes that decode the images which memory does not hold; 0 for none beside its own.
        processes: That compute the run together, see `Task`.
        trainings: Folder of the trainings that it shares with other runs; None keeps its own to itself.
        kept_trainings: Folder of those that the user asked to keep, looked in first.
    """

    work_dir: Path
    data_dir: Path | None = None
    ground_truth: Path | None = None
    progress: Progress = field(default_factory=SilentProgress)
    command: tuple[str, ...] = ()
    workers: int = 0
    processes: Processes = field(default_factory=_alone)
    trainings: Path | None = None
    kept_trainings: Path | None = None
