"""CIFAR-10 and CIFAR-100, from the official batches or from Parquet files."""

from __future__ import annotations

import hashlib
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from senas_bench.data.decoding import decode_rgb
from senas_bench.data.download import Archive, fetch, unpack
from senas_bench.data.folders import is_lost_link, lost_link
from senas_bench.data.parquet import image_column, read_labels, reading
from senas_bench.data.readers import Images, data_folder, fingerprint
from senas_bench.errors import DataError, MissingData
from senas_bench.files import NoHomeError, atomic_file, cache_home, offline, room_named
from senas_bench.locks import held

CIFAR_SIZE = 32
DECODED = 2
"""Version of what is decoded from Parquet files, part of the name of its cache: 1 clipped grey of 16 bits, and made
whole numbers of any labels."""
ARCHIVES = {
    "cifar10": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "cifar100": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
}
"""The official batches of a data set. The hashes are those that Keras and torchvision check."""
PATIENCE = 24 * 3600.0
"""Seconds to wait for another process that downloads the same, as long as it lives."""


class _Arrays(NamedTuple):
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


class _Source(NamedTuple):
    """The files found: `batches` (official pickles) or `parquet` (train, test), and their folder."""

    kind: str
    folder: Path
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Cifar:
    """CIFAR-10 or CIFAR-100 in either of two layouts; the first one found is read.

    1. The official Python batches, `<folder>/<batch files>`, through torchvision, once their checksums are found right.
    2. Hub-style Parquet, a train and a test file with columns `img` or `image` (struct of bytes and path) and the
       label, named `<dataset>-train.parquet` or `train-00000-of-00001.parquet`.

    Both are looked for in the data folder and in its sub-folders `<dataset>` and `<hub folder>`. The
    decoded Parquet images are cached under `cache_home()/decoded`.

    Args:
        name: Key of `senas_bench.data.DATASETS`.
        num_classes: Number of classes.
        label: Label column of the Parquet files.
        torchvision_class: Name of the torchvision data set.
        folder: Folder of the official batches.
        batches: Names of the official batch files.
        hub_folder: Folder of the Parquet files in the hub's repository.
    """

    name: str
    num_classes: int
    label: str
    torchvision_class: str
    folder: str
    batches: tuple[str, ...]
    hub_folder: str

    def __call__(self, data_dir: Path | None = None, download: bool = False) -> Images:
        """Read the images.

        Args:
            data_dir: Data folder; None is `cache_home()/images`.
            download: Fetch the official batches into the data folder when nothing is found there.

        Raises:
            DataError: Nothing found, a file is corrupt, or the download failed or is forbidden by
                `SENAS_OFFLINE=1`.
        """
        root = data_folder(data_dir)
        source = self._find(root)
        if source is None and download:
            self._download(root)
            source = self._find(root)
        if source is None:
            raise self._missing(root)
        identity = fingerprint(source.files)
        if source.kind == "batches":
            arrays = self._read_batches(source)
        else:
            arrays = cached(
                _decoded(f"{self.name}-{identity}-{DECODED}"),
                lambda: _Arrays(
                    *read_parquet(source.files[0], self.label, self.num_classes),
                    *read_parquet(source.files[1], self.label, self.num_classes),
                ),
            )
        return Images(*arrays, num_classes=self.num_classes, name=self.name, data_id=identity)

    def data_id(self, data_dir: Path | None = None) -> str:
        """Fingerprint of the image files, without decoding them.

        Raises:
            DataError: Nothing found.
        """
        root = data_folder(data_dir)
        source = self._find(root)
        if source is None:
            raise self._missing(root)
        return fingerprint(source.files)

    def in_official_order(self, data_dir: Path | None = None) -> bool:
        """Whether the images lie in the order of the official batches, which Parquet files need not keep."""
        source = self._find(data_folder(data_dir))
        return source is not None and source.kind == "batches"

    def _find(self, root: Path) -> _Source | None:
        places = self._places(root)
        for place in places:
            files = tuple(place / self.folder / name for name in self.batches)
            if all(file.is_file() for file in files):
                return _Source("batches", place, files)
        for place in places:
            for pattern in (f"{self.name}-{{}}.parquet", "{}-00000-of-00001.parquet"):
                files = tuple(place / pattern.format(part) for part in ("train", "test"))
                if all(file.is_file() for file in files):
                    return _Source("parquet", place, files)
        return None

    def _places(self, root: Path) -> list[Path]:
        # Sub-folders first: a hub file name in the root does not say which data set it holds.
        return [root / self.name / self.hub_folder, root / self.name, root / self.hub_folder, root]

    def _missing(self, root: Path) -> DataError:
        what = f"{self.folder}/ with {len(self.batches)} batch files, {self.name}-{{train,test}}.parquet"
        hub = "{train,test}-00000-of-00001.parquet"
        places = self._places(root)
        near = [path for place in places for path in sorted(place.glob("*.parquet"))]
        for path in (root, *places, *(place / self.folder for place in places), *near):
            if is_lost_link(path):
                return lost_link(path)
        found = f" (found {', '.join([path.name for path in near][:3])})" if near else ""
        inside = " and ".join(f"{name}/" for name in dict.fromkeys((self.name, self.hub_folder)))
        return MissingData(
            f"no {self.name} images in {root}: looked for {what} or {hub}, there and in {inside}{found}; "
            "name the folder with --data-dir or run: "
            f"senas-bench data download {self.name}"
        )

    def _download(self, root: Path) -> None:
        if offline():
            raise DataError(
                f"no {self.name} images in {root} and SENAS_OFFLINE forbids the download; "
                "unset it, or name a folder that has them with --data-dir"
            )
        try:
            with room_named(root):
                root.mkdir(parents=True, exist_ok=True)
            with held(root / f".{self.name}.lock", PATIENCE):
                if self._find(root) is None:  # else another process has just fetched it
                    archive = fetch(ARCHIVES[self.name], root)
                    unpack(archive, root / self.folder, [name for name, _ in self._checksums()])
        except (OSError, ValueError, KeyError, tarfile.TarError, zlib.error) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"download of {self.name} into {root} failed ({why}); try again, or put the files there"
            ) from error

    def _checksums(self) -> list[tuple[str, str]]:
        """Name and md5 of each official file, as torchvision knows them; the labels' names first."""
        import torchvision.datasets

        official = getattr(torchvision.datasets, self.torchvision_class)
        batches = [*official.train_list, *official.test_list]
        return [(official.meta["filename"], official.meta["md5"]), *((name, md5) for name, md5 in batches)]

    def _read_batches(self, source: _Source) -> _Arrays:
        import torchvision.datasets

        folder = source.folder / self.folder
        for name, expected in self._checksums():
            found = _md5(folder / name)
            if found != expected:
                raise DataError(
                    f"{folder / name} {f'has md5 {found}' if found else 'is missing'}, the official file {expected}; "
                    f"delete {folder} and run: senas-bench data download {self.name}"
                )
        read = getattr(torchvision.datasets, self.torchvision_class)
        train, test = (read(str(source.folder), train=part, download=False) for part in (True, False))
        return _Arrays(train.data, np.asarray(train.targets, np.int64), test.data, np.asarray(test.targets, np.int64))


def _md5(path: Path) -> str | None:
    """The md5 of a file, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except FileNotFoundError:
        return None


def read_parquet(path: Path, label: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode a Hub-style Parquet file of 32x32 images.

    Args:
        path: File with a column `img` or `image` (struct of bytes and path) and the column of labels, integers.
        label: Name of the label column.
        num_classes: Labels must lie below it.

    Returns:
        (N, 32, 32, 3) uint8 images and (N,) int64 labels.

    Raises:
        DataError: Not such a file, or an image or a label in it is unusable.
    """
    import pyarrow.parquet

    with reading(path), pyarrow.parquet.ParquetFile(path) as file:
        column, y = image_column(file, path), read_labels(file, label, path)
        if y.max() >= num_classes:
            raise DataError(
                f"{path}: label {y.max()} in column {label!r}, they must lie in 0 .. {num_classes - 1}; is it another "
                "data set?"
            )
        x = np.empty((len(y), CIFAR_SIZE, CIFAR_SIZE, 3), np.uint8)
        row = 0
        for batch in file.iter_batches(4096, columns=[f"{column}.bytes"]):
            for encoded in batch.column(column).field("bytes").to_pylist():
                x[row] = np.asarray(decode_rgb(encoded or b"", f"{path}: row {row}", (CIFAR_SIZE, CIFAR_SIZE)))
                row += 1
    return x, y


def _decoded(name: str) -> Path | None:
    """Where the decoded images of a data set are kept; None where the user has no home folder for them."""
    try:
        return cache_home() / "decoded" / f"{name}.npz"
    except NoHomeError as error:
        warnings.warn(f"decoded images are not cached: {error}", stacklevel=2)
        return None


def cached(path: Path | None, build: Callable[[], _Arrays]) -> _Arrays:
    """The arrays stored at `path`, built and stored when they are absent or corrupt; only built where it is None.

    One `.npz` without compression: its CRCs reveal damage, and a file is complete or absent because
    it is written beside its place and moved there. A folder that cannot be written costs a warning.
    """
    if path is None:
        return build()
    try:
        with np.load(path, allow_pickle=False) as stored:
            return _Arrays(*(stored[name] for name in _Arrays._fields))
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        arrays = build()  # RuntimeError: a flipped bit says "encrypted" or names an unknown compression
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            np.savez(file, **arrays._asdict())
    except OSError as error:
        warnings.warn(f"decoded images not cached at {path}: {error.strerror}", stacklevel=2)
    return arrays
