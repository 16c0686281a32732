"""Every hyper-parameter of a training, named; and how the learning rate runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained.

    Args:
        stage_epochs: Epochs of each stage: one before every shrink and one after the last. A method
            without stages trains their sum.
        batch_size: Images per step.
        lr, lr_min: Ends of the cosine. Equal values give a constant rate.
        lr_horizon: Epochs over which the cosine runs from `lr` to `lr_min`, restarted by each stage;
            0 means the length of the stage. The reference code anneals over 250 epochs, so that a
            20-epoch stage hardly decays.
        momentum, nesterov, weight_decay: Of SGD.
        clip: Largest norm of the gradient; 0 turns clipping off.
        sampling: `tied` draws one arch for all cells, `per_cell` one for each.
        snapshots: K of Eq. 4, taken at evenly spaced steps.
        snapshot_epochs: Number of last epochs of a stage over which the K snapshots spread.
        amp: bfloat16 autocast on CUDA.
        swing: Let the cosine go on beyond its horizon, back up and down again, as ENAS has it.
        controller_steps: Steps of ENAS's controller an epoch.
    """

    stage_epochs: tuple[int, ...] = (20, 20, 20)
    batch_size: int = 256
    lr: float = 0.1
    lr_min: float = 0.004
    lr_horizon: int = 250
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    clip: float = 5.0
    sampling: str = "tied"
    snapshots: int = 10
    snapshot_epochs: int = 1
    amp: bool = False
    swing: bool = field(default=False, metadata={"added": True})
    controller_steps: int = field(default=50, metadata={"added": True})

    def __post_init__(self) -> None:
        if self.sampling not in ("tied", "per_cell"):
            raise ValueError(f"sampling {self.sampling!r}; one of: tied, per_cell")
        if self.snapshots < 1 or self.snapshot_epochs < 1:
            raise ValueError("snapshots and snapshot_epochs must be at least 1")


def learning_rate(recipe: TrainingRecipe, progress: float, epochs: int) -> float:
    """Rate at `progress` epochs into a stage of `epochs` epochs."""
    horizon = recipe.lr_horizon or epochs
    fraction = progress / horizon if recipe.swing else min(progress / horizon, 1.0)
    return recipe.lr_min + (recipe.lr - recipe.lr_min) * (1 + math.cos(math.pi * fraction)) / 2


def snapshot_steps(recipe: TrainingRecipe, epochs: int, steps_per_epoch: int) -> frozenset[int]:
    """Steps of a stage after which a snapshot is taken; the last is the last step (Eq. 4)."""
    span = min(recipe.snapshot_epochs, epochs) * steps_per_epoch
    total = epochs * steps_per_epoch
    count = min(recipe.snapshots, span)
    return frozenset(total - span + (k * span) // count for k in range(1, count + 1))
