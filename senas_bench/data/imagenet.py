"""ImageNet, and any other set of images in files that memory does not hold: where they lie and what names them.

`streaming` decodes them. Nothing here imports torch until it must.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.data.folders import is_lost_link, list_images, lost_link
from senas_bench.data.parquet import find_shards
from senas_bench.data.readers import data_folder
from senas_bench.errors import DataError, MissingData

if TYPE_CHECKING:
    from senas_bench.data.loader import Loaders
    from senas_bench.data.loading import Loading, Retraining
    from senas_bench.data.sources import Source


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """A data set that is decoded as it is needed.

    Args:
        train, test: The images and labels of its two parts.
        num_classes: Labels are 0 .. num_classes - 1.
        resolution: Height and width in pixels to which they are cropped where nobody asks for another.
        name: Key of `senas_bench.data.DATASETS`.
        data_id: See `ImageNet.data_id`.
    """

    train: Source
    test: Source
    num_classes: int
    resolution: int
    name: str
    data_id: str

    @property
    def counts(self) -> tuple[int, int]:
        """Training and test images."""
        return len(self.train.labels), len(self.test.labels)

    def loaders(self, loading: Loading) -> Loaders:
        """What a run trains and scores with; see `data.streaming.prepare_streaming`.

        Raises:
            ValueError: They are to be cut out.
        """
        from senas_bench.data.streaming import prepare_streaming

        self._check(loading)
        return prepare_streaming(self.train, loading)

    def retraining(self, loading: Loading) -> Retraining:
        """What a found network is trained from scratch and tested with; errors as for `loaders`."""
        from senas_bench.data.streaming import prepare_streaming_retraining

        self._check(loading)
        return prepare_streaming_retraining(self.train, self.test, loading)

    def _check(self, loading: Loading) -> None:
        if loading.cutout:
            raise ValueError(f"images of {self.name} are not cut out; set cutout of the recipe to 0")


@dataclass(frozen=True)
class ImageNet:
    """ImageNet of 1,000 classes, or a part of its classes, in either of the layouts that `find_part` knows.

    The official validation images are the test part; those that score archs are held out of the training images.
    Looked for in the sub-folder `imagenet` of the data folder where there is one, else in the data folder.

    Args:
        name: Key of `senas_bench.data.DATASETS`.
        num_classes: Of the whole data set, for what must be known without reading it.
        resolution: See `StreamedImages`.
    """

    name: str = "imagenet"
    num_classes: int = 1000
    resolution: int = 224

    def __call__(self, data_dir: Path | None = None, download: bool = False) -> StreamedImages:
        """List the images; none is decoded.

        Args:
            data_dir: Data folder; None is `cache_home()/images`.
            download: Refused where there are none, with what to do: ImageNet asks for an agreement.

        Raises:
            DataError: Images are missing, the two parts have not the same classes, or a class has no training image.
        """
        from senas_bench.data.sources import find_images

        root = self._root(data_dir)
        try:
            train, test = (find_images(root, part) for part in ("train", "val"))
        except DataError as error:
            advice = "; they cannot be downloaded without ImageNet's consent" if download else ""
            raise DataError(f"{error}{advice}") from error
        _check_classes(root, getattr(train, "classes", None), getattr(test, "classes", None))
        _check_labels(root, train)
        if test.num_classes > train.num_classes:
            raise DataError(f"{root}: val has label {test.num_classes - 1}, train none above {train.num_classes - 1}")
        identity = _joined(train.data_id, test.data_id)
        return StreamedImages(train, test, train.num_classes, self.resolution, self.name, identity)

    def data_id(self, data_dir: Path | None = None) -> str:
        """Fingerprint of names and sizes of all files, 16 hex digits: 150 GB of content are too much to read.

        An image that was replaced by another of the same size goes unnoticed.

        Raises:
            DataError: Images are missing.
        """
        root = self._root(data_dir)
        return _joined(*(_part_id(find_part(root, part)) for part in ("train", "val")))

    def _root(self, data_dir: Path | None) -> Path:
        root = data_folder(data_dir)
        if is_lost_link(root / self.name):
            raise lost_link(root / self.name)
        return root / self.name if (root / self.name).is_dir() else root


def find_part(root: Path, part: str) -> Path | list[Path]:
    """Where a part of a data set lies: a folder with a sub-folder per class, or Parquet files.

    Looked for, in this order: the folder `<part>`; files `<part>-*.parquet`; both also in `data/`, where the Hub has
    them. The validation part is called `val`, `valid` or `validation`.

    Args:
        root: Folder of the data set.
        part: `train` or `val`.

    Raises:
        DataError: Nothing found, or not all of it: see `parquet.find_shards`.
    """
    names = ("val", "valid", "validation") if part == "val" else (part,)
    for place in (root, root / "data"):
        if is_lost_link(place):
            raise lost_link(place)
        for name in names:
            if is_lost_link(place / name):
                raise lost_link(place / name)
            if (place / name).is_dir():
                return place / name
            if files := find_shards(place, name):
                return files
    raise MissingData(
        f"no {part} images in {root} ({_found(root)}): looked for {'/, '.join(names)}/ with a folder per class and for "
        f"{'-*.parquet, '.join(names)}-*.parquet, there and in data/; name the folder with --data-dir"
    )


def identity(files: Iterable[tuple[str, int]]) -> str:
    """First 16 hex digits of the sha256 over names and sizes, in order of name."""
    digest = hashlib.sha256()
    for name, size in sorted(files):
        digest.update(f"{name} {size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _found(root: Path) -> str:
    """The first names in a folder."""
    if not root.is_dir():
        return "there is no such folder"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(root) if not entry.name.startswith("."))
    return f"it holds {', '.join(names[:5])}{', ...' if names[5:] else ''}" if names else "it is empty"


def _check_classes(root: Path, train: Sequence[str] | None, test: Sequence[str] | None) -> None:
    """Raise where the folders of two parts are not of the same classes; None: a part has no folders."""
    if train is None or test is None or train == test:
        return
    only = {"train": sorted(set(train) - set(test)), "val": sorted(set(test) - set(train))}
    said = " and ".join(f"{len(odd)} classes in {part} only, first {odd[0]}" for part, odd in only.items() if odd)
    raise DataError(f"{root}: {said}; each class needs a folder of the same name in both")


def _check_labels(root: Path, train: Source) -> None:
    """Raise where there are numbers below the highest label that no training image has."""
    found = np.unique(train.labels)
    if len(found) < train.num_classes:
        gap = int(np.argmin(np.append(found, -1) == np.arange(len(found) + 1)))
        raise DataError(
            f"{root}: {len(found)} different labels in train, the highest {found[-1]}, none {gap}; number the classes "
            "0 .. classes - 1"
        )


def _part_id(found: Path | list[Path]) -> str:
    """`data_id` of the `Source` that would be made of what was found."""
    if isinstance(found, list):
        return identity((path.name, path.stat().st_size) for path in found)
    return identity((name, size) for _, name, size in list_images(found))


def _joined(*identities: str) -> str:
    return hashlib.sha256(" ".join(identities).encode()).hexdigest()[:16]
