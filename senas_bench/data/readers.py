"""Images of a data set as arrays of bytes. Nothing here imports torch until it must."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from senas_bench.data.decoding import decode_rgb
from senas_bench.data.folders import is_lost_link, lost_link
from senas_bench.data.parquet import image_column, read_labels, reading
from senas_bench.data.splits import OfficialSplit
from senas_bench.errors import DataError
from senas_bench.files import NoHomeError, atomic_file, cache_home, offline, room_named
from senas_bench.locks import held

DIGITS_ID = "65e5b4619795efb4"
"""Fingerprint of scikit-learn's digits. Kept as a constant because importing scikit-learn takes a
second; `read_digits` checks the installed digits against it."""

CIFAR_SIZE = 32
DECODED = 2
"""Version of what is decoded from Parquet files, part of the name of its cache: 1 clipped grey of 16 bits, and made
whole numbers of any labels."""


class Archive(NamedTuple):
    """A file that its makers publish."""

    url: str
    sha256: str


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
ATTEMPTS = 3
"""Tries to fetch a file; each goes on where the last one broke off."""
TIMEOUT = 30.0
"""Seconds without a byte after which a transfer counts as broken."""
PATIENCE = 24 * 3600.0
"""Seconds to wait for another process that downloads the same, as long as it lives."""
BLOCK = 1 << 14
"""Bytes that are written at a time: the most that is lost of what arrived when a transfer breaks."""


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
        return DataError(
            f"no {self.name} images in {root}: looked for {what} or {hub}, there and in {self.name}/ "
            f"and {self.hub_folder}/{found}; name the folder with --data-dir or run: "
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


def fetch(archive: Archive, folder: Path) -> Path:
    """Download a file into `folder` unless it is there; whole and with the right hash, or not at all.

    What arrived before a transfer broke, or its process was killed, lies in `<name>.part`: the next one asks for the
    rest. Callers hold a lock, since two transfers would share that file.

    Raises:
        ValueError: The file that was sent has another hash, in the message with the expected one.
        OSError: The network failed `ATTEMPTS` times (the errors of requests are `OSError`), or the disk is full.
    """
    import pooch

    name = archive.url.rpartition("/")[2]
    keeper = pooch.create(
        path=folder,
        base_url="",
        registry={name: f"sha256:{archive.sha256}"},
        urls={name: archive.url},
        retry_if_failed=ATTEMPTS - 1,
    )
    part = folder / f"{name}.part"
    return Path(keeper.fetch(name, downloader=lambda url, target, _: _transfer(url, part, Path(target))))


def unpack(archive: Path, folder: Path, names: Iterable[str]) -> None:
    """Write the named files of an archive's directory `folder.name` to `folder`, each whole or not at all, in order.

    Nothing else in the archive is looked at, so that no path in it leads elsewhere.

    Raises:
        KeyError: It lacks one of them.
        tarfile.TarError: It is no tar file.
        OSError: The disk is full.
    """
    with tarfile.open(archive) as tar:
        for name in names:
            source = tar.extractfile(f"{folder.name}/{name}")
            if source is None:
                raise KeyError(f"{folder.name}/{name} in {archive} is not a file")
            with room_named(folder):
                folder.mkdir(exist_ok=True)
            with source, atomic_file(folder / name) as file:
                shutil.copyfileobj(source, file)


def _transfer(url: str, part: Path, target: Path) -> None:
    """Fetch what `part` lacks of a file, then move it to `target`."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if not (answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}"):  # not complete
            if answer.status_code == 416:
                part.unlink()  # longer than the file: of another one
            answer.raise_for_status()
            goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            with room_named(part), part.open("ab" if goes_on else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    file.write(block)
    os.replace(part, target)


def _md5(path: Path) -> str | None:
    """The md5 of a file, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except FileNotFoundError:
        return None


def read_digits(resolution: int = 8) -> Images:
    """scikit-learn's digits: 1,797 grey images of 8x8, all of them training images; there is no test part.

    Args:
        resolution: Height and width in pixels; other than 8 is a `resize`.

    Raises:
        DataError: The installed scikit-learn has other digits than the known ones.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels, labels = digits.images.astype(np.uint8), digits.target.astype("<i8")
    found = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()[:16]
    if found != DIGITS_ID:
        raise DataError(
            f"scikit-learn's digits have fingerprint {found}, expected {DIGITS_ID}; install another version"
        )
    # 17 grey levels, 0 .. 16, spread over the bytes and rounded.
    scaled = ((pixels.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)[..., None]
    return Images(resize(scaled, resolution), labels.astype(np.int64), None, None, 10, "digits", found)


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
                x[row] = decode_rgb(encoded or b"", f"{path}: row {row}", (CIFAR_SIZE, CIFAR_SIZE))
                row += 1
    return x, y


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
        raise DataError(f"no folder of images: {error}, or name the folder of images with --data-dir") from error


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
