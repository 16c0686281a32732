"""Images of a data set as arrays of bytes. Nothing here imports torch until it must."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.data.splits import OfficialSplit
from senas_bench.errors import DataError, MissingData
from senas_bench.files import NoHomeError, cache_home

if TYPE_CHECKING:
    from senas_bench.data.loader import Loaders
    from senas_bench.data.loading import Loading, Retraining

DIGITS_ID = "65e5b4619795efb4"
"""Fingerprint of scikit-learn's digits. Kept as a constant because importing scikit-learn takes a
second; `read_digits` checks the installed digits against it."""


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory.

    Args:
        train_x: (N, H, W, C) uint8.
        train_y: (N,) int64.
        test_x: (M, H, W, C) uint8, or None when the data set has no test part.
        test_y: (M,) int64, or None.
        num_classes: Labels are 0 .. num_classes - 1.
        name: Key of `senas_bench.data.DATASETS`.
        data_id: Fingerprint of the source, 16 hex digits: see `data_id` of each reader.
        split: The official split, where it was asked for; else validation images are held out of the training images.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray | None
    test_y: np.ndarray | None
    num_classes: int
    name: str
    data_id: str
    split: OfficialSplit | None = None

    @property
    def resolution(self) -> int:
        """Height and width of an image in pixels."""
        return self.train_x.shape[1]

    @property
    def counts(self) -> tuple[int, int]:
        """Training and test images."""
        return len(self.train_x), 0 if self.test_x is None else len(self.test_x)

    def loaders(self, loading: Loading) -> Loaders:
        """What a run trains and scores with; see `data.loader.prepare`."""
        from senas_bench.data.loader import prepare

        return prepare(self, loading)

    def retraining(self, loading: Loading) -> Retraining:
        """What a found network is trained from scratch and tested with; see `data.loader.prepare_retraining`."""
        from senas_bench.data.loader import prepare_retraining

        return prepare_retraining(self, loading)


@dataclass(frozen=True)
class Digits:
    """scikit-learn's 1,797 handwritten digits, which come with the package."""

    name: str = "digits"
    num_classes: int = 10

    def __call__(self, data_dir: Path | None = None, download: bool = False) -> Images:
        """The images; both arguments are ignored, there is nothing to find."""
        return read_digits()

    def data_id(self, data_dir: Path | None = None) -> str:
        """Fingerprint of the images, without reading them."""
        return DIGITS_ID


def read_digits(resolution: int = 8) -> Images:
    """scikit-learn's digits: 1,797 grey images of 8x8, all of them training images; there is no test part.

    Args:
        resolution: Height and width in pixels; other than 8 is a `resize`.

    Raises:
        DataError: The installed scikit-learn has other digits than the known ones.
    """
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    pixels, labels = digits.images.astype(np.uint8), digits.target.astype("<i8")
    found = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()[:16]
    if found != DIGITS_ID:
        raise DataError(
            f"scikit-learn's digits have fingerprint {found}, expected {DIGITS_ID}; install another version"
        )
    # 17 grey levels, 0 .. 16, spread over the bytes and rounded.
    scaled = ((pixels.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)[..., None]
    return Images(resize(scaled, resolution), labels.astype(np.int64), None, None, 10, "digits", found)


def resize(x: np.ndarray, resolution: int) -> np.ndarray:
    """Square images at another resolution.

    A whole-number reduction averages each block of pixels, rounding half up; anything else is
    torch's bilinear interpolation with antialiasing, rounded.

    Args:
        x: (N, S, S, C) uint8; returned as it is when S equals `resolution`.
        resolution: Height and width in pixels.

    Returns:
        (N, resolution, resolution, C) uint8.

    Raises:
        ValueError: The images are not square or `resolution` is not positive.
    """
    _, height, width, _ = x.shape
    if height != width or resolution < 1:
        raise ValueError(f"cannot resize {height}x{width} images to {resolution}: square and at least 1 needed")
    if resolution == height:
        return x
    return _block_mean(x, height // resolution) if height % resolution == 0 else _interpolate(x, resolution)


def fingerprint(files: Iterable[Path]) -> str:
    """First 16 hex digits of the sha256 over the files' bytes, one after the other in order of name.

    Raises:
        DataError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    return digest.hexdigest()[:16]


def data_folder(data_dir: Path | None) -> Path:
    """`data_dir`, or where images lie when the user names no folder.

    Raises:
        DataError: None is named, and the user has no home folder.
    """
    if data_dir is not None:
        return Path(data_dir)
    try:
        return cache_home() / "images"
    except NoHomeError as error:
        raise MissingData(f"no folder of images: {error}, or name the folder of images with --data-dir") from error


def _block_mean(x: np.ndarray, factor: int) -> np.ndarray:
    total = np.zeros((len(x), x.shape[1] // factor, x.shape[2] // factor, x.shape[3]), np.uint32)
    for top in range(factor):
        for left in range(factor):
            total += x[:, top::factor, left::factor]
    return ((total + factor * factor // 2) // (factor * factor)).astype(np.uint8)


def _interpolate(x: np.ndarray, resolution: int) -> np.ndarray:
    import torch
    from torch.nn.functional import interpolate

    out = np.empty((len(x), resolution, resolution, x.shape[3]), np.uint8)
    # In parts, so that the floats never take four times the data set's memory.
    for start in range(0, len(x), 4096):
        part = torch.from_numpy(x[start : start + 4096]).permute(0, 3, 1, 2).float()
        part = interpolate(part, size=(resolution, resolution), mode="bilinear", antialias=True)
        out[start : start + 4096] = part.round_().clamp_(0, 255).permute(0, 2, 3, 1).byte().numpy()
    return out
