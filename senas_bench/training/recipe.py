"""Every hyper-parameter of a training, named; and how the learning rate runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

PRECISIONS = ("float32", "bfloat16")
"""What networks may be computed in."""


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained.

    Args:
        stage_epochs: Epochs of each stage: one before every shrink and one after the last. A method
            without stages trains their sum.
        batch_size: Images per step.
        lr, lr_min: Ends of the schedule. Equal values give a constant rate.
        lr_horizon: Epochs over which the rate runs from `lr` to `lr_min`, restarted by each stage;
            0 means the length of the stage. The reference code anneals over 250 epochs, so that a
            20-epoch stage hardly decays.
        lr_restarts: Off, the rate does not start again in a stage: one schedule goes over all of them, and a horizon
            of 0 is their sum, whether or not all are trained (paper 4.3: T counts all iterations).
        architecture_images: Of an architecture that learns beside the weights: `half` of the training images, the other
            half for the weights; or `valid`, the validation images, and all training images for the weights, as
            NAS-Bench-201 splits them [code: AutoDL-Projects].
        swings: Half periods of the cosine over all epochs, an odd number, so that it ends at `lr_min`: ENAS's rate goes
            down and up again. 0 for a cosine by `lr_horizon` and `swing`.
        precision: What training, scoring and calibration compute in, on every device: `float32`, or `bfloat16` by
            torch's autocast. Empty for what `amp` says: bfloat16 on CUDA, float32 on a CPU. Weights, their steps and
            the gradients of an architecture are float32 in any case.
        momentum, nesterov, weight_decay: Of SGD.
        clip: Largest norm of the gradient; 0 turns clipping off.
        sampling: `tied` draws one arch for all cells, `per_cell` one for each.
        snapshots: K of Eq. 4, taken at evenly spaced steps.
        snapshot_epochs: Number of last epochs of a stage over which the K snapshots spread.
        amp: bfloat16 autocast on CUDA; what older runs say, and `precision` comes before it.
        swing: Let the cosine go on beyond its horizon, back up and down again.
        controller_steps: Steps of ENAS's controller an epoch.
        schedule: `cosine`; `linear`, a straight line; or `p-darts`, P-DARTS's by whole epochs, see `p_darts_rate`.
        warmup_epochs: Epochs over which the rate first rises from 0 to `lr`; the schedule takes what is left of
            its horizon.
        decay_norm_and_bias: Whether weight decay acts on all weights; off, on those of convolutions and linear
            layers alone.
        label_smoothing: Share of the target that is spread evenly over all classes.
        accumulate: Equal parts of a batch, each with batch norm statistics of its own, whose gradients are
            averaged into one step. Processes share them out, so the result does not depend on their number.
        drop_path: Where `drop_path_prob` of the network is after the last epoch; it rises from 0, a step an epoch.
        auxiliary_weight: Weight of the loss of the network's auxiliary head; above 0 networks are built with one.
        dropout: Of the network's `dropout` before its classifier, while it trains.
        colour_jitter: Largest change of brightness, contrast and saturation, as a share, and of hue, in turns of the
            colour circle; none if empty. Of images that are decoded one by one; those in memory are left alone.
        lighting: Standard deviation of the noise along the principal components of ImageNet's colours, of the same
            images (Krizhevsky et al., 2012); 0 for none.
        cutout: Side of the square that is cut out of each training image, in pixels.

    Raises:
        ValueError: A value is not among those allowed.
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
    schedule: str = field(default="cosine", metadata={"added": True})
    warmup_epochs: int = field(default=0, metadata={"added": True})
    decay_norm_and_bias: bool = field(default=True, metadata={"added": True})
    label_smoothing: float = field(default=0.0, metadata={"added": True})
    accumulate: int = field(default=1, metadata={"added": True})
    drop_path: float = field(default=0.0, metadata={"added": True})
    auxiliary_weight: float = field(default=0.0, metadata={"added": True})
    cutout: int = field(default=0, metadata={"added": True})
    dropout: float = field(default=0.0, metadata={"added": True})
    colour_jitter: tuple[float, ...] = field(default=(), metadata={"added": True})
    lighting: float = field(default=0.0, metadata={"added": True})
    lr_restarts: bool = field(default=True, metadata={"added": True})
    architecture_images: str = field(default="half", metadata={"added": True})
    precision: str = field(default="", metadata={"added": True})
    swings: int = field(default=0, metadata={"added": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "colour_jitter", tuple(self.colour_jitter))  # a list where it comes from JSON
        if len(self.colour_jitter) not in (0, 4):
            raise ValueError(f"colour_jitter {self.colour_jitter} needs brightness, contrast, saturation and hue")
        choices = {"sampling": ("tied", "per_cell"), "schedule": ("cosine", "linear", "p-darts")}
        choices |= {"architecture_images": ("half", "valid"), "precision": ("", *PRECISIONS)}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r}; one of: {', '.join(allowed)}")
        if self.snapshots < 1 or self.snapshot_epochs < 1:
            raise ValueError("snapshots and snapshot_epochs must be at least 1")
        if self.swing and self.schedule != "cosine":
            raise ValueError("only the cosine swings; use schedule='cosine' or swing=False")
        if self.swings and (self.swings < 0 or self.swings % 2 == 0 or self.lr_horizon or self.schedule != "cosine"):
            raise ValueError(f"swings {self.swings} must be odd, of a cosine over all epochs: set lr_horizon to 0")
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} must divide the batch_size, which is {self.batch_size}")
        for name in ("label_smoothing", "drop_path", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 0 and below 1")
        for name in ("warmup_epochs", "auxiliary_weight", "cutout", "lighting"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} must not be negative")

    def half(self, device: str) -> bool:
        """Whether bfloat16 autocast computes, on the type of a device: `cpu` or `cuda`.

        >>> TrainingRecipe(amp=True).half("cpu"), TrainingRecipe(precision="bfloat16").half("cpu")
        (False, True)
        """
        return self.precision == "bfloat16" if self.precision else self.amp and device == "cuda"


def learning_rate(recipe: TrainingRecipe, progress: float, epochs: int, before: int = 0) -> float:
    """Rate at `progress` epochs into a stage of `epochs` epochs.

    Args:
        before: Epochs of the stages before it, which count where the recipe does not restart the rate.

    Raises:
        ValueError: The warm-up leaves nothing of the horizon.
    """
    if not recipe.lr_restarts:
        progress, epochs = before + progress, sum(recipe.stage_epochs)
    horizon = recipe.lr_horizon or epochs
    if recipe.schedule == "p-darts":
        return p_darts_rate(recipe, int(progress), horizon)
    if recipe.warmup_epochs:
        if recipe.warmup_epochs >= horizon:
            raise ValueError(f"warmup_epochs {recipe.warmup_epochs} must be fewer than the {horizon} of the schedule")
        if progress < recipe.warmup_epochs:
            return recipe.lr * progress / recipe.warmup_epochs
        progress, horizon = progress - recipe.warmup_epochs, horizon - recipe.warmup_epochs
    fraction = progress / horizon if recipe.swing else min(progress / horizon, 1.0)
    fraction *= recipe.swings or 1
    if recipe.schedule == "linear":
        return recipe.lr + (recipe.lr_min - recipe.lr) * fraction
    return recipe.lr_min + (recipe.lr - recipe.lr_min) * (1 + math.cos(math.pi * fraction)) / 2


LAST_EPOCHS = 5
"""In which P-DARTS's rate falls less steeply."""


def p_darts_rate(recipe: TrainingRecipe, epoch: int, epochs: int) -> float:
    """Rate of a whole epoch, counted from 0, as P-DARTS trains on ImageNet [code, its `adjust_lr`].

    A line that would be at 0 five epochs before the end; in these, because a step of it is large by then, another from
    where the line was an epoch before to 0. A warm-up multiplies the line by 1/w, 2/w, ... 1.

    Raises:
        ValueError: There are no epochs before the last five, or an end that is not 0.
    """
    if epochs <= LAST_EPOCHS or recipe.lr_min:
        raise ValueError(f"schedule 'p-darts' needs more than {LAST_EPOCHS} epochs, not {epochs}, and ends at lr_min 0")
    left = epochs - epoch
    share = (left - LAST_EPOCHS if left > LAST_EPOCHS else left / LAST_EPOCHS) / (epochs - LAST_EPOCHS)
    return recipe.lr * share * min(1.0, (epoch + 1) / max(1, recipe.warmup_epochs))


def snapshot_steps(recipe: TrainingRecipe, epochs: int, steps_per_epoch: int) -> frozenset[int]:
    """Steps of a stage after which a snapshot is taken; the last is the last step (Eq. 4)."""
    span = min(recipe.snapshot_epochs, epochs) * steps_per_epoch
    total = epochs * steps_per_epoch
    count = min(recipe.snapshots, span)
    return frozenset(total - span + (k * span) // count for k in range(1, count + 1))
