"""Images as batches on the device: augmented for training, fixed for evaluation.

Everything is held in memory as bytes and augmented a batch at a time with tensor indexing, so one
thread feeds a small network without worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from senas_bench.data.loading import Loading, Retraining
from senas_bench.data.readers import Images, resize
from senas_bench.data.splits import SPLIT_SEED, train_valid_split

if TYPE_CHECKING:
    from senas_bench.data.streaming import StreamingLoader

Batch = tuple[Tensor, Tensor]
"""`x` (B, C, H, W) float32, channels-last and normalised; `y` (B,) int64. Both on the device."""


@dataclass(frozen=True)
class _Draws:
    """The random choices of one epoch, each `(steps * batch_size,)`."""

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor
    holes: Tensor
    """`(2, steps * batch_size)`: row and column of the centres; of no images without cutout."""


class TrainLoader:
    """Shuffled training batches with random crops and horizontal flips.

    A crop is a window of the zero-padded image, black before normalising, as torchvision's
    `RandomCrop(size, padding=pad)` followed by `Normalize` gives. A ragged last batch is dropped.

    Args:
        images: (N, H, W, C) uint8.
        labels: (N,) int64.
        batch_size: Images per batch, at most N.
        pad: Pixels of black border on each side; 0 means no crop.
        flip: Mirror each image left to right with probability 1/2.
        mean: (C,) channel means of the pixel values scaled to [0, 1].
        std: (C,) channel standard deviations on the same scale, positive.
        device: Where the images live and the batches appear.
        cutout: Side in pixels of the square that is set to the mean, centred anywhere in the image and cut off at its
            border [code: DARTS; DeVries and Taylor, 2017]; 0 for none.

    Raises:
        ValueError: An argument is out of its range, or shapes do not fit together.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        *,
        pad: int,
        flip: bool,
        mean: Sequence[float] | np.ndarray,
        std: Sequence[float] | np.ndarray,
        device: torch.device | str = "cpu",
        cutout: int = 0,
    ) -> None:
        _check_images(images, labels)
        n, height, width, channels = images.shape
        if not 1 <= batch_size <= n:
            raise ValueError(f"batch_size {batch_size} must be between 1 and the {n} training images")
        if pad < 0:
            raise ValueError(f"pad {pad} must not be negative")
        store = torch.zeros((n, height + 2 * pad, width + 2 * pad, channels), dtype=torch.uint8, device=device)
        store[:, pad : pad + height, pad : pad + width] = torch.from_numpy(images).to(device)
        # A view, no copy: windows[i, top, left] is the (H, W, C) crop of image i at that corner.
        self._windows = store.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
        self._labels = torch.from_numpy(labels).to(device)
        self._scale, self._shift = row_affine(mean, std, width, channels, device)
        self.batch_size = batch_size
        self.pad = pad
        self.flip = flip
        self.cutout = cutout

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self._labels) // self.batch_size

    @property
    def images_per_epoch(self) -> int:
        """Images seen in one epoch: N less the dropped ragged tail."""
        return len(self) * self.batch_size

    def halves(self) -> tuple[TrainLoader, TrainLoader]:
        """The first and the second half of the images, an image less each where their number is odd.

        Methods that learn an architecture beside the weights train each on its own half. The images
        of a training split lie in random order already. Both share this loader's memory.
        """
        middle = len(self._labels) // 2
        if middle < self.batch_size:
            raise ValueError(f"batch_size {self.batch_size} exceeds the {middle} images of a half")
        pair = copy(self), copy(self)
        for half, start in zip(pair, (0, middle), strict=True):
            half._windows = self._windows[start : start + middle]
            half._labels = self._labels[start : start + middle]
        return pair

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """One pass in a new order. No image occurs twice.

        All random numbers of the epoch are drawn here, at the call, from `generator` and on its
        device: the same CPU generator state gives the same epoch on every device, however many of
        its batches are consumed.
        """
        return self._batches(self._draw(generator))

    def _draw(self, generator: torch.Generator) -> _Draws:
        used, where, target = self.images_per_epoch, generator.device, self._labels.device
        order = torch.randperm(len(self._labels), generator=generator, device=where)[:used]
        corners = torch.randint(0, 2 * self.pad + 1, (2, used), generator=generator, device=where)
        flip = torch.randint(0, 2, (used,), generator=generator, device=where).bool()
        side = self._windows.shape[3]
        holes = torch.randint(0, side, (2, used if self.cutout else 0), generator=generator, device=where)
        return _Draws(*(part.to(target) for part in (order, corners[0], corners[1], flip, holes)))

    def _batches(self, draws: _Draws) -> Iterator[Batch]:
        labels = self._labels[draws.order]
        for start in range(0, self.images_per_epoch, self.batch_size):
            step = slice(start, start + self.batch_size)
            pixels = self._windows[draws.order[step], draws.top[step], draws.left[step]]
            if self.flip:
                pixels = torch.where(draws.flip[step, None, None, None], pixels.flip(2), pixels)
            x = normalise(pixels, self._scale, self._shift)
            yield self._cut(x, draws.holes[:, step]) if self.cutout else x, labels[step]

    def _cut(self, x: Tensor, centres: Tensor) -> Tensor:
        """`x` `(B, C, H, W)`, square, with a hole in each image."""
        half = self.cutout // 2
        place = torch.arange(x.shape[2], device=x.device)
        inside = (place >= centres[..., None] - half) & (place < centres[..., None] + half)  # (2, B, side)
        return x.masked_fill((inside[0, :, :, None] & inside[1, :, None, :])[:, None], 0.0)


class RepeatedLoader:
    """A loader whose epoch has more batches: its images come again, each time in a new order.

    Args:
        loader: Of fewer batches.
        steps: Batches of an epoch.
    """

    def __init__(self, loader: TrainLoader, steps: int) -> None:
        self.loader, self.steps, self.batch_size = loader, steps, loader.batch_size

    def __len__(self) -> int:
        return self.steps

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """As `TrainLoader.epoch`: all random numbers are drawn here."""
        rounds = [self.loader.epoch(generator) for _ in range(-(-self.steps // len(self.loader)))]
        return islice(chain(*rounds), self.steps)


AnyLoader: TypeAlias = "TrainLoader | StreamingLoader"


@dataclass(frozen=True)
class Loaders:
    """What a run trains, scores and calibrates with.

    Args:
        train: Augmented batches of the training images.
        valid: Fixed batches of the held-out validation images.
        calibration: Fixed batches of training images without augmentation, over which batch norm
            statistics are recalibrated.
        num_classes: Number of classes.
        in_channels: Channels of an image.
        resolution: Height and width of an image in pixels.
        learned: Augmented batches of the validation images, where an architecture is to learn from them.
    """

    train: AnyLoader
    valid: Sequence[Batch]
    calibration: Sequence[Batch]
    num_classes: int
    in_channels: int
    resolution: int
    learned: TrainLoader | None = None

    def bilevel(self) -> tuple[AnyLoader, AnyLoader | RepeatedLoader]:
        """For the weights, and for an architecture that learns beside them, as many batches an epoch: the two halves of
        the training images; or these and the validation images, as often as it takes."""
        if self.learned is None:
            return self.train.halves()
        return self.train, RepeatedLoader(self.learned, len(self.train))

    @property
    def valid_images(self) -> int:
        """Validation images in use, the dropped tail left out."""
        return sum(len(y) for _, y in self.valid)

    @property
    def calibration_images(self) -> int:
        """Calibration images in use, the dropped tail left out."""
        return sum(len(y) for _, y in self.calibration)


def prepare(images: Images, loading: Loading) -> Loaders:
    """Resize, split, normalise and place the images on the device.

    The split is the fixed one of `splits.SPLIT_SEED`, or the official one where the images have it. Channel
    statistics come from the training part only. The calibration images are the first of the training part, whose order
    is random.

    Args:
        images: The data set; its test images are not touched, unless the official split takes them.

    Raises:
        ValueError: A count is out of its range.
    """
    train_index, valid_index = _split(images, loading.valid)
    count = loading.calibration
    if not 1 <= count <= len(train_index):
        raise ValueError(f"calibration {count} must be between 1 and the {len(train_index)} training images")
    x, y = resize(images.train_x, loading.resolution), images.train_y
    valid_x, valid_y = x, y
    if images.split is not None and images.split.of == "test":
        assert images.test_x is not None and images.test_y is not None  # the split is theirs
        valid_x, valid_y = resize(images.test_x, loading.resolution), images.test_y
    train_x = x[train_index]
    look = _Look(*channel_statistics(train_x), loading.device)
    calibration_batch = min(loading.eval_batch, count)
    learned = None
    if loading.learn_from_valid:
        learned = _train_loader(valid_x[valid_index], valid_y[valid_index], loading, look)
    return Loaders(
        learned=learned,
        train=_train_loader(train_x, y[train_index], loading, look),
        valid=fixed_batches(valid_x, valid_y, valid_index, loading.eval_batch, **vars(look)),
        calibration=fixed_batches(x, y, train_index[:count], calibration_batch, **vars(look)),
        num_classes=images.num_classes,
        in_channels=x.shape[3],
        resolution=loading.resolution,
    )


def prepare_retraining(images: Images, loading: Loading) -> Retraining:
    """What trains a found network from scratch and tests it: all training images, and the test images.

    A data set without test images is split as `prepare` splits it: the validation images, which scored the search,
    test the network too. Where the official split takes validation images from the test images, the others test it.
    """
    x, y = resize(images.train_x, loading.resolution), images.train_y
    if images.test_x is None or images.test_y is None:
        train_index, index = _split(images, loading.valid)
        train_x, train_y, test_x, test_y, split = x[train_index], y[train_index], x, y, "valid"
    else:
        train_x, train_y, test_x, test_y, split = x, y, resize(images.test_x, loading.resolution), images.test_y, "test"
        official = images.split
        index = official.rest if official is not None and official.of == "test" else np.arange(len(test_x))
    look = _Look(*channel_statistics(train_x), loading.device)
    test = fixed_batches(test_x, test_y, index, loading.eval_batch, **vars(look), drop_last=False)
    return Retraining(_train_loader(train_x, train_y, loading, look), test, split)


@dataclass(frozen=True)
class _Look:
    """How pixels become numbers, and where: as for `TrainLoader`."""

    mean: Sequence[float] | np.ndarray
    std: Sequence[float] | np.ndarray
    device: torch.device | str


def _train_loader(x: np.ndarray, y: np.ndarray, loading: Loading, look: _Look) -> TrainLoader:
    return TrainLoader(
        x, y, loading.batch_size, pad=loading.pad, flip=loading.flip, cutout=loading.cutout, **vars(look)
    )


def _split(images: Images, valid: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training images, and of the validation images among the training or the test images."""
    if images.split is None:
        return train_valid_split(len(images.train_x), valid, SPLIT_SEED)
    if images.split.of == "train":
        return images.split.rest, images.split.valid
    return np.random.RandomState(SPLIT_SEED).permutation(len(images.train_x)), images.split.valid


def fixed_batches(
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    batch_size: int,
    *,
    mean: Sequence[float] | np.ndarray,
    std: Sequence[float] | np.ndarray,
    device: torch.device | str = "cpu",
    drop_last: bool = True,
) -> list[Batch]:
    """The images at `indices`, in that order, as a list of batches.

    Args:
        images: (N, H, W, C) uint8.
        labels: (N,) int64.
        indices: (n,) positions in `images`.
        batch_size: Images per batch.
        mean: (C,) as for `TrainLoader`.
        std: (C,) as for `TrainLoader`.
        device: Where the batches appear.
        drop_last: Leave the ragged tail out, so that `n // batch_size * batch_size` images are used:
            batch norm on batch statistics needs batches of equal size.

    Raises:
        ValueError: No batch would be left, or shapes do not fit together.
    """
    _check_images(images, labels)
    if not 1 <= batch_size <= (len(indices) if drop_last else batch_size) or len(indices) == 0:
        raise ValueError(f"batch size {batch_size} must be between 1 and the {len(indices)} images to batch")
    scale, shift = row_affine(mean, std, images.shape[2], images.shape[3], device)
    used = len(indices) // batch_size * batch_size if drop_last else len(indices)
    batches = []
    for start in range(0, used, batch_size):
        chosen = indices[start : start + batch_size]
        pixels = torch.from_numpy(images[chosen]).to(device)
        batches.append((normalise(pixels, scale, shift), torch.from_numpy(labels[chosen]).to(device)))
    return batches


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation per channel, `(C,)` float64 each, of pixels scaled to [0, 1].

    Counted from the histogram of byte values, so the sums are exact whatever the number of images.

    Args:
        images: (N, H, W, C) uint8.
    """
    levels = np.arange(256) / 255
    shares = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[3])])
    shares = shares / shares.sum(axis=1, keepdims=True)
    mean = shares @ levels
    return mean, np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))


def _check_images(images: np.ndarray, labels: np.ndarray) -> None:
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(f"images must be (N, H, W, C) uint8, got {images.shape} {images.dtype}")
    if labels.shape != images.shape[:1] or labels.dtype != np.int64:
        raise ValueError(f"labels must be ({len(images)},) int64, got {labels.shape} {labels.dtype}")


def row_affine(
    mean: Sequence[float] | np.ndarray,
    std: Sequence[float] | np.ndarray,
    width: int,
    channels: int,
    device: torch.device | str,
) -> tuple[Tensor, Tensor]:
    """`scale, shift`, (W * C,) float32 each: `byte * scale + shift` is the normalised value.

    Repeated along a row because a broadcast over an innermost axis of 3 does not vectorise.
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    if mean.shape != (channels,) or std.shape != (channels,) or not (std > 0).all():
        raise ValueError(f"mean and std must hold {channels} values, std positive; got mean {mean}, std {std}")
    rows = np.tile(np.stack([1 / (255 * std), -mean / std]), width)
    scale, shift = torch.from_numpy(rows).to(dtype=torch.float32).to(device)
    return scale, shift


def normalise(pixels: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) float32; the memory stays as it is, which is channels-last."""
    rows = torch.addcmul(shift, pixels.flatten(2).float(), scale)
    return rows.view(pixels.shape).permute(0, 3, 1, 2)
