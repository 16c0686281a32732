"""Data sets that do not fit in memory, ImageNet above all: decoded image by image in worker processes.

What a training batch holds depends on the generator alone, not on the number of workers: every image gets the seed of
its own augmentation, and the order is drawn in the main process. Workers send bytes; the device normalises them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from senas_bench.data.decoding import decode_rgb
from senas_bench.data.loader import Batch, Loaders, normalise, row_affine
from senas_bench.data.loading import Loading, Retraining
from senas_bench.data.sources import Source
from senas_bench.data.splits import SPLIT_SEED, train_valid_split
from senas_bench.errors import DataError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Channel statistics of the pixel values scaled to [0, 1], as everybody uses them."""
IMAGENET_VALID = 50_000
"""Training images held out to score archs on (docs/method.md 3): the official validation images are for the end."""
EVALUATION_CROP = 0.875
"""Side of the centre crop over the shorter side of the resized image: 224 of 256."""


class StreamingLoader:
    """Shuffled training batches with random resized crops and horizontal flips; the interface of `TrainLoader`.

    The crop has 8% to 100% of the image and an aspect ratio of 3/4 to 4/3, as torchvision's `RandomResizedCrop`. A
    ragged last batch is dropped.

    Args:
        images: Where they come from.
        indices: (n,) positions of the training images among them.
        batch_size: Images per step, of all processes together, which their number must divide.
        resolution: Height and width of a crop in pixels.
        device: Where the batches appear.
        workers: Processes that decode; 0 decodes in this one.
        rank, world: This process and the number of processes that train together. Each gets its rows of a batch and
            decodes no others.
        flip: Mirror each image left to right with probability 1/2.
        colour_jitter, lighting: As a `TrainingRecipe` has them; they come after the mirroring, in this order.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        images: Source,
        indices: np.ndarray,
        batch_size: int,
        *,
        resolution: int,
        device: torch.device | str = "cpu",
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        flip: bool = True,
        colour_jitter: Sequence[float] = (),
        lighting: float = 0.0,
    ) -> None:
        if not 1 <= batch_size <= len(indices):
            raise ValueError(f"batch_size {batch_size} must be between 1 and the {len(indices)} training images")
        crop = transforms.RandomResizedCrop(resolution)
        mirror = [transforms.RandomHorizontalFlip()] if flip else []
        colours = [transforms.ColorJitter(*colour_jitter)] if colour_jitter else []
        light = [Lighting(lighting)] if lighting else []
        self._decoder = _Decoder(images, transforms.Compose([crop, *mirror, *colours, *light]))
        self._indices = np.asarray(indices, np.int64)
        self._normalise = _Normalise(resolution, device)
        self._workers = workers
        self._rows = _rows(rank, world, batch_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self._indices) // self.batch_size

    @property
    def images_per_epoch(self) -> int:
        """Images seen in one epoch by all processes: n less the dropped ragged tail."""
        return len(self) * self.batch_size

    def halves(self) -> tuple[StreamingLoader, StreamingLoader]:
        """The first and the second half of the images, as `TrainLoader.halves`."""
        middle = len(self._indices) // 2
        if middle < self.batch_size:
            raise ValueError(f"batch_size {self.batch_size} exceeds the {middle} images of a half")
        pair = copy(self), copy(self)
        for half, start in zip(pair, (0, middle), strict=True):
            half._indices = self._indices[start : start + middle]
        return pair

    def share(self, rank: int, world: int) -> StreamingLoader:
        """This loader of whole batches as that of one of `world` processes, see `rank`.

        Raises:
            ValueError: Their number does not divide the batch.
        """
        shared = copy(self)
        shared._rows = _rows(rank, world, self.batch_size)
        return shared

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """One pass in a new order. No image occurs twice.

        All random numbers of the epoch are drawn here, at the call: the same generator state gives the same epoch,
        with any number of workers, and together the processes see what one would.

        Raises:
            DataError: While it is read: an image is unusable.
        """
        order = self._decoder.images.shuffled(self._indices, generator)[: self.images_per_epoch]
        seeds = torch.randint(2**62, (len(order),), generator=generator, device=generator.device).cpu().numpy()
        keys = np.stack([order, seeds], 1).reshape(len(self), self.batch_size, 2)[:, self._rows]
        return map(self._normalise, _read(self._decoder, keys, self._workers, self._normalise.device))


class StoredBatches(Sequence[Batch]):
    """Fixed batches for evaluation, decoded once and kept as bytes, a quarter of what floats would take.

    50,000 images at 224 pixels are 7.5 GB of main memory; a batch is normalised on the device when it is asked for. A
    slice shares the memory.

    Args:
        pixels: Batches (B, H, W, C) uint8.
        labels: As many (B,) int64.
        normalise: Puts a batch on the device.
    """

    def __init__(self, pixels: Sequence[Tensor], labels: Sequence[Tensor], normalise: _Normalise) -> None:
        self._pixels, self._labels, self._normalise = pixels, labels, normalise

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return StoredBatches(self._pixels[index], self._labels[index], self._normalise)
        return self._normalise((self._pixels[index], self._labels[index]))


def stored_batches(
    images: Source,
    indices: np.ndarray,
    batch_size: int,
    *,
    resolution: int,
    device: torch.device | str = "cpu",
    workers: int = 0,
    drop_last: bool = True,
) -> StoredBatches:
    """The images at `indices` `(n,)`, in that order, resized and cropped at the centre.

    Args:
        images: Where they come from.
        batch_size: Images per batch, at most n.
        resolution, device, workers: As for `StreamingLoader`.
        drop_last: Leave the ragged tail out, as `data.loader.fixed_batches`.

    Raises:
        ValueError: No batch would be left.
        DataError: An image is unusable.
    """
    if not 1 <= batch_size <= (len(indices) if drop_last else batch_size) or len(indices) == 0:
        raise ValueError(f"batch size {batch_size} must be between 1 and the {len(indices)} images to batch")
    used = np.asarray(indices, np.int64)[: len(indices) // batch_size * batch_size if drop_last else None]
    decoder = _Decoder(images, _centre(resolution))
    pinned = torch.device(device).type == "cuda"
    pixels = torch.empty((len(used), resolution, resolution, 3), dtype=torch.uint8, pin_memory=pinned)
    # Read in the order of the files, then put in the asked one: row groups are read once.
    places = np.split(np.argsort(used, kind="stable"), range(batch_size, len(used), batch_size))
    keys = [np.stack([used[place], np.zeros_like(place)], 1) for place in places]
    for place, (part, _) in zip(places, _read(decoder, keys, workers), strict=True):
        pixels[place] = part
    labels = torch.from_numpy(images.labels[used])
    return StoredBatches(pixels.split(batch_size), labels.split(batch_size), _Normalise(resolution, device))


class PassingBatches:
    """Fixed batches for evaluation as `stored_batches` makes them, ragged tail included, decoded anew at each pass.

    For images that are seen once, such as the test images: nothing of them stays in memory.

    Args:
        images: Where they come from; all of them, in their order.
        batch_size, resolution, device, workers: As for `stored_batches`.
    """

    def __init__(
        self, images: Source, batch_size: int, *, resolution: int, device: torch.device | str = "cpu", workers: int = 0
    ) -> None:
        self._decoder = _Decoder(images, _centre(resolution))
        self._normalise = _Normalise(resolution, device)
        self._batch_size, self._workers = batch_size, workers

    def __iter__(self) -> Iterator[Batch]:
        keys = _in_order(len(self._decoder), self._batch_size)
        return map(self._normalise, _read(self._decoder, keys, self._workers, self._normalise.device))


def decode_all(images: Source, workers: int = 0) -> None:
    """Decode every image once, and keep none.

    Raises:
        DataError: One is unusable.
    """
    for _ in _read(_Decoder(images, transforms.Resize((1, 1))), _in_order(len(images.labels), 256), workers):
        pass


def prepare_streaming(images: Source, loading: Loading) -> Loaders:
    """Split the training images and make the loaders: `data.loader.prepare` for images that are not in memory.

    The split is the fixed one of `splits.SPLIT_SEED`, and normalising uses ImageNet's statistics.

    Args:
        images: The training images.

    Raises:
        ValueError: A count is out of its range.
        DataError: An image is unusable.
    """
    train_index, valid_index = train_valid_split(len(images.labels), loading.valid, SPLIT_SEED)
    count = loading.calibration
    if not 1 <= count <= len(train_index):
        raise ValueError(f"calibration {count} must be between 1 and the {len(train_index)} training images")
    where = {"resolution": loading.resolution, "device": loading.device, "workers": loading.workers}
    calibration_batch = min(loading.eval_batch, count)
    return Loaders(
        train=_augmented(images, train_index, loading, **where),
        valid=stored_batches(images, valid_index[: loading.score_images or loading.valid], loading.eval_batch, **where),
        calibration=stored_batches(images, train_index[:count], calibration_batch, **where),
        num_classes=images.num_classes,
        in_channels=3,
        resolution=loading.resolution,
    )


def prepare_streaming_retraining(train: Source, test: Source, loading: Loading) -> Retraining:
    """`data.loader.prepare_retraining` for images that are not in memory: all of `train`, and all of `test`.

    Raises:
        ValueError: A count is out of its range.
    """
    where = {"resolution": loading.resolution, "device": loading.device, "workers": loading.workers}
    loader = _augmented(train, np.arange(len(train.labels)), loading, **where)
    return Retraining(loader, PassingBatches(test, loading.eval_batch, **where), "test")


def _augmented(images: Source, indices: np.ndarray, loading: Loading, **where: Any) -> StreamingLoader:
    look = {name: getattr(loading, name) for name in ("flip", "colour_jitter", "lighting")}
    return StreamingLoader(images, indices, loading.batch_size, **look, **where)


class Lighting:
    """AlexNet's noise along the principal components of ImageNet's colours: to each pixel of an image the same
    `vectors @ (a * values)` is added, with `a` (3,) normal (Krizhevsky et al., NIPS 2012, section 4.1).

    Args:
        std: Of `a`.
    """

    values = torch.tensor([0.2175, 0.0188, 0.0045])
    vectors = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    """For pixels scaled to [0, 1]; columns are the components [code: fb.resnet.torch, AutoDL-Projects]."""

    def __init__(self, std: float) -> None:
        self.std = std

    def __call__(self, image: Any) -> np.ndarray:
        """`(H, W, 3)` uint8, rounded and cut off at 0 and 255."""
        shift = 255 * (self.vectors @ (self.std * torch.randn(3) * self.values)).numpy()
        return np.clip(np.rint(np.asarray(image, np.float32) + shift), 0, 255).astype(np.uint8)


def _rows(rank: int, world: int, batch_size: int) -> slice:
    """The part of a batch that is one process's."""
    if not 0 <= rank < world or batch_size % world:
        raise ValueError(f"process {rank} of {world}: their number must divide the batch_size, which is {batch_size}")
    return slice(rank * batch_size // world, (rank + 1) * batch_size // world)


def _centre(resolution: int) -> Any:
    """What is done to an image that evaluates."""
    side = round(resolution / EVALUATION_CROP)
    return transforms.Compose([transforms.Resize(side), transforms.CenterCrop(resolution)])


def _in_order(count: int, batch_size: int) -> list[np.ndarray]:
    """Keys of all images, see `_read`; nothing random is done to them."""
    keys = np.stack([np.arange(count), np.zeros(count, np.int64)], 1)
    return np.split(keys, range(batch_size, count, batch_size))


class _Normalise:
    """Bytes (B, H, W, 3) and labels (B,) to a `Batch` on the device, channels-last."""

    def __init__(self, resolution: int, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._scale, self._shift = row_affine(IMAGENET_MEAN, IMAGENET_STD, resolution, 3, device)

    def __call__(self, batch: tuple[Tensor, Tensor]) -> Batch:
        pixels, labels = (part.to(self.device, non_blocking=True) for part in batch)
        return normalise(pixels, self._scale, self._shift), labels


class _Decoder(Dataset):
    """What the workers do: positions and seeds to a batch of transformed bytes and its labels."""

    def __init__(self, images: Source, transform: Any) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitems__(self, keys: np.ndarray) -> tuple[Tensor, Tensor] | DataError:
        """Args: keys: (B, 2) int64, position and seed. An error is a value: raised in a worker it would come back as
        a traceback in words."""
        try:
            pixels = np.stack([self._decode(int(index), int(seed)) for index, seed in keys])
        except DataError as error:
            return error
        return torch.from_numpy(pixels), torch.from_numpy(self.images.labels[keys[:, 0]])

    def _decode(self, index: int, seed: int) -> np.ndarray:
        image = decode_rgb(*self.images.encoded(index))
        # The transforms draw from the CPU's generator; `torch.manual_seed` would seed those of GPUs, which draw masks.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return np.asarray(self.transform(image))


def _read(
    decoder: _Decoder, keys: Iterable[Any], workers: int, device: torch.device | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decoded batches in order, one for each of `keys` (B, 2)."""
    pin = device is not None and device.type == "cuda"
    loader = DataLoader(
        decoder,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
        # its own, so that the global one stays untouched; nothing is drawn from what it seeds
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
