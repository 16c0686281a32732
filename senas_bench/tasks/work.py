"""Where and how the work of a run is done, and how much it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from senas_bench.progress import Progress
from senas_bench.tasks.shared import SharedTrainings

if TYPE_CHECKING:
    import numpy as np
    import torch

    from senas_bench.training.distributed import Processes

COUNTERS = ("images_trained", "train_steps", "forward_paths", "backward_paths", "archs_scored", "images_scored")
PRICES = ("multiply_adds", "nominal_multiply_adds")
COUNTERS += PRICES
"""What is counted. Of the prices the first is of what ran; the second also of what was not run because an equal arch
had been scored (docs/method.md 3.1)."""


@dataclass
class Budget:
    """Exact work and wall time, split by what it was for.

    Args:
        counts: `search` is what the pick needed, `report` what only the correlation tables needed. `PRICES` are left
            out once paths ran whose price nobody told.
        seconds: Wall time, split likewise.
    """

    counts: dict[str, dict[str, int]] = field(
        default_factory=lambda: {purpose: dict.fromkeys(COUNTERS, 0) for purpose in ("search", "report")}
    )
    seconds: dict[str, float] = field(default_factory=lambda: {"search": 0.0, "report": 0.0})

    def add(self, purpose: str, seconds: float, counts: Mapping[str, int]) -> None:
        """Book work. Where it has one price only, that is the nominal one too."""
        self.seconds[purpose] += seconds
        booked, made = self.counts[purpose], counts.get(PRICES[0])
        if made is None and counts.get("forward_paths"):
            for name in PRICES:
                booked.pop(name, None)
        for name, value in {**({} if made is None else dict.fromkeys(PRICES, made)), **counts}.items():
            if name not in PRICES or name in booked:
                booked[name] += value


def _alone() -> Processes:
    from senas_bench.training.distributed import ALONE

    return ALONE


@dataclass(frozen=True)
class Work:
    """Where and how a run works.

    Args:
        device: Where everything lives.
        folder: Checkpoints and kept results of this run.
        progress: Sink.
        budget: Work done so far.
        references: Scores of archs that others are compared with, by what they are of; see `Task.estimate`.
        shared: Trainings that this run has in common with others; None keeps its own to itself.
        processes: That work on this task together. They train in step, and where one scores archs all do, but what the
            first one found counts: so each takes the same decisions. It alone writes files.
    """

    device: torch.device
    folder: Path
    progress: Progress
    budget: Budget = field(default_factory=Budget)
    references: dict[str, np.ndarray] = field(default_factory=dict)
    shared: SharedTrainings | None = None
    processes: Processes = field(default_factory=_alone)
