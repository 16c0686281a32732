"""What a training leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from senas_bench.training.snapshots import Snapshots


@dataclass(frozen=True)
class Observation:
    """What was looked up of a network at the end of an epoch, which its training does not notice.

    Args:
        scores: Float64, as the observer gave them.
        counts: Work done for it.
        seconds: Wall time.
    """

    scores: np.ndarray
    counts: Mapping[str, int]
    seconds: float


@dataclass
class Training:
    """What a training left behind.

    Args:
        optimizer: Holds the momentum, for a next stage to carry on.
        snapshots: The K snapshots of the last epochs; the initial weights when no step was taken.
        history: One mapping per epoch: `epoch`, `loss` (mean of what the steps minimised), `lr`.
        counts: `images_trained`, `train_steps`, `forward_paths`, `backward_paths`, `multiply_adds` where all that ran
            has a price, and what else an architecture counts.
        seconds: Wall time of the steps.
        observed: By epoch, what `train` was asked to observe.
    """

    optimizer: torch.optim.Optimizer
    snapshots: Snapshots
    history: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("images_trained", "train_steps", "forward_paths", "backward_paths"), 0)
    )
    seconds: float = 0.0
    observed: dict[int, Observation] = field(default_factory=dict)
