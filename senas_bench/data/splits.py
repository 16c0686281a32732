"""Which images are held out for validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from senas_bench.errors import DataError
from senas_bench.names import lookup

SPLIT_SEED = 0
"""Seed of the one split that every run uses, whatever its own seed: all methods and repeats of a
study then score on the same validation images, so their differences come from training."""


def train_valid_split(n: int, valid: int, seed: int = SPLIT_SEED) -> tuple[np.ndarray, np.ndarray]:
    """Cut a fixed random permutation of `n` images in two. Not stratified.

    Args:
        n: Number of images.
        valid: Size of the validation part.
        seed: Seed of the permutation; not the seed of a run (see `SPLIT_SEED`).

    Returns:
        `(n - valid,)` training and `(valid,)` validation positions, int64, disjoint, in random order.

    Raises:
        ValueError: `valid` is not between 1 and n - 1.
    """
    if not 1 <= valid < n:
        raise ValueError(f"{valid} validation images of {n}: must be between 1 and {n - 1}")
    # RandomState's stream is frozen; a Generator's may change with the numpy version.
    order = np.random.RandomState(seed).permutation(n).astype(np.int64)
    return order[valid:], order[:valid]


class SplitFile(NamedTuple):
    """An official split of NAS-Bench-201, as AutoDL-Projects publishes it in `configs/nas-benchmark`.

    Args:
        name: File name.
        of: Whose images it cuts in two, `train` or `test`.
        rest, valid: Keys of the two halves in the file; `valid` scores the search.
        images: How many there are.
        sha256: Of the published file.
    """

    name: str
    of: str
    rest: str
    valid: str
    images: int
    sha256: str


SPLIT_FILES: Mapping[str, SplitFile] = {
    "cifar10": SplitFile(
        "cifar-split.txt",
        "train",
        "train",
        "valid",
        50_000,
        "986da6174822048d4c5a25ee8ebdb7e754cd5372b51c633ffd4898ace8db9e32",
    ),
    "cifar100": SplitFile(
        "cifar100-test-split.txt",
        "test",
        "xtest",
        "xvalid",
        10_000,
        "14a5e3708e790ad57f987cdbcf202f724519475d6e8b0db34d0182e73b581bba",
    ),
    "imagenet16-120": SplitFile(
        "imagenet-16-120-test-split.txt",
        "test",
        "xtest",
        "xvalid",
        6_000,
        "c0edac1d3676a9f21acea8feeb31336202d75b1a73df62aec31c6b45bb289a18",
    ),
}
"""By data set."""


class OfficialSplit(NamedTuple):
    """The halves of a split file.

    Args:
        of: Whose images they are, `train` or `test`.
        rest: `(n,)` positions of the images that train (of `train`) or test (of `test`), int64.
        valid: `(m,)` positions of the validation images. Both are in a fixed random order, so that a few of the first
            are a sample.
    """

    of: str
    rest: np.ndarray
    valid: np.ndarray


def find_split_file(dataset: str, folder: Path) -> Path:
    """The official split file of a data set in a data folder, its content checked by its hash.

    Raises:
        ValueError: NAS-Bench-201 has no split of that data set.
        DataError: It is not there, or is not the published file.
    """
    known = lookup("data set with an official split", dataset, SPLIT_FILES)
    path = folder / known.name
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"no official split of {dataset}: cannot read {path} ({error.strerror}); it is configs/nas-benchmark/"
            f"{known.name} of AutoDL-Projects"
        ) from error
    if found != known.sha256:
        raise DataError(f"{path} has sha256 {found}, the official file {known.sha256}; get it again")
    return path


def read_official_split(dataset: str, folder: Path) -> OfficialSplit:
    """The halves that a split file names.

    Raises:
        ValueError, DataError: As `find_split_file`.
        DataError: The file does not cut the images in two.
    """
    known = lookup("data set with an official split", dataset, SPLIT_FILES)
    path = find_split_file(dataset, folder)
    try:
        content = json.loads(path.read_bytes())
        rest, valid = (np.array(content[key][1], np.int64) for key in (known.rest, known.valid))
        if not np.array_equal(np.sort(np.append(rest, valid)), np.arange(known.images)):
            raise ValueError(f"the halves do not make up 0 .. {known.images - 1}")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no split of {dataset} ({error}); get it again") from error
    shuffle = np.random.RandomState(SPLIT_SEED).permutation
    return OfficialSplit(known.of, shuffle(np.sort(rest)), shuffle(np.sort(valid)))
