"""What a run asks of a data set, and what it gets to train from scratch with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from senas_bench.data.loader import Batch


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How a run wants its images: `images.loaders(loading)` and `images.retraining(loading)`.

    Args:
        resolution: Height and width in pixels.
        valid: Validation images held out of the training images; unused where the images have the official split.
        batch_size: Images per training step, of all processes together.
        eval_batch: Images per validation and calibration batch. Batches are of equal size, so up to `eval_batch - 1`
            validation images are left out.
        pad: Border of the random crop in pixels; images that are not in memory are cropped and resized instead.
        flip: Whether training images are mirrored at random.
        colour_jitter, lighting: Of training images that are not in memory, as a `TrainingRecipe` has them.
        cutout: As for `data.loader.TrainLoader`; 0 for none.
        calibration: Calibration images, in batches of `min(eval_batch, calibration)`.
        score_images: How many of the held-out images that are not in memory are decoded and kept, the first ones;
            0 for all.
        learn_from_valid: Whether an architecture beside the weights learns from the validation images; otherwise, and
            where images are not in memory, from one half of the training images.
        workers: Processes that decode images that are not in memory; 0 decodes in this one.
        device: Where the batches appear.
    """

    resolution: int
    valid: int
    batch_size: int
    eval_batch: int
    pad: int = 0
    flip: bool = False
    cutout: int = 0
    colour_jitter: tuple[float, ...] = ()
    lighting: float = 0.0
    calibration: int = 1024
    score_images: int = 0
    learn_from_valid: bool = False
    workers: int = 0
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Retraining:
    """What trains a found network from scratch and tests it.

    Args:
        train: Loader of all training images: `TrainLoader` or `StreamingLoader`.
        test: Batches; the last may be smaller.
        split: What these are: `test`, or `valid` where a data set has no test images.
    """

    train: Any
    test: Iterable[Batch]
    split: str
