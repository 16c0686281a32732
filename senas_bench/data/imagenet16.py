"""ImageNet16-120: 120 classes of ImageNet at 16x16 pixels, the third data set of NAS-Bench-201."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from senas_bench.data.decoding import first_line
from senas_bench.data.folders import is_lost_link, lost_link
from senas_bench.data.readers import Images, data_folder, fingerprint
from senas_bench.errors import DataError, MissingData

SIZE = 16
CLASSES = 120
OFFICIAL_MD5 = {
    "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
    "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
    "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
    "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
    "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
    "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
    "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
    "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
    "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
    "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
    "val_data": "3410e3017fdaefba8d5073aaa65e4bd6",
}
"""File -> md5, as the code of NAS-Bench-201 checks them (AutoDL-Projects, `DownsampledImageNet.py`)."""


@dataclass(frozen=True)
class ImageNet16:
    """The official batch files, of all 1,000 classes, of which the first 120 are kept: 151,700 and 6,000 images.

    Looked for in the data folder and in its sub-folder `ImageNet16`, the name in the official archive. The labels of
    the files are 1 to 1,000 and become 0 to 119. ImageNet's validation images are the test part; NAS-Bench-201 splits
    them into `val` and `test`.

    Args:
        name: Key of `senas_bench.data.DATASETS`.
        num_classes: Classes kept, those with the lowest labels.
        md5: File -> its checksum; the training files in their order, then `val_data`.
    """

    name: str = "imagenet16-120"
    num_classes: int = CLASSES
    md5: Mapping[str, str] = field(default_factory=lambda: OFFICIAL_MD5)

    def __call__(self, data_dir: Path | None = None, download: bool = False) -> Images:
        """Read the images, one file at a time, each after its checksum.

        Args:
            data_dir: Data folder; None is `cache_home()/images`.
            download: Refused, with what to do: there is no source without an agreement with ImageNet.

        Raises:
            DataError: A file is missing, corrupt or not the official one.
        """
        files = self._files(data_dir, download)
        parts = [read_batch(file, self.md5[file.name], self.num_classes) for file in files]
        *train, (test_x, test_y) = parts
        train_x, train_y = (np.concatenate(arrays) for arrays in zip(*train, strict=True))
        identity = fingerprint(files)
        return Images(train_x, train_y, test_x, test_y, num_classes=self.num_classes, name=self.name, data_id=identity)

    def data_id(self, data_dir: Path | None = None) -> str:
        """Fingerprint of the files, without unpacking them.

        Raises:
            DataError: One is missing.
        """
        return fingerprint(self._files(data_dir, False))

    def in_official_order(self, data_dir: Path | None = None) -> bool:
        """Always: there are no other files."""
        return True

    def _files(self, data_dir: Path | None, download: bool) -> list[Path]:
        root = data_folder(data_dir)
        places = [root / "ImageNet16", root]
        missing = {place: [name for name in self.md5 if not (place / name).is_file()] for place in places}
        place = min(places, key=lambda place: len(missing[place]))
        if not missing[place]:
            return [place / name for name in self.md5]
        for name in missing[place]:
            if is_lost_link(place / name):
                raise lost_link(place / name)
        lacking = f"{len(missing[place])} of {len(self.md5)} files missing, first {missing[place][0]}"
        advice = "cannot be downloaded without ImageNet's consent; " if download else ""
        kind = MissingData if len(missing[place]) == len(self.md5) else DataError
        raise kind(
            f"no {self.name} images in {place}: {lacking}; {advice}unpack ImageNet16.tar.gz of NAS-Bench-201 there, or "
            "name its folder with --data-dir"
        )


def read_batch(path: Path, md5: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The images of the first classes in one official batch file.

    Args:
        path: A pickled dict with `data`, (N, 768) uint8, channel by channel, and `labels`, from 1 on.
        md5: What the file must hash to. It is compared before anything is unpickled.
        classes: Labels up to this one are kept.

    Returns:
        (n, 16, 16, 3) uint8 images and (n,) int64 labels from 0 on.

    Raises:
        DataError: Another checksum, or another content.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path} has md5 {found}, expected {md5}; delete it and unpack ImageNet16.tar.gz again")
    try:
        entry = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        rows, labels = entry["data"], np.asarray(entry["labels"])
        right = labels.dtype.kind in "iu" and labels.min() >= 1
        if rows.dtype != np.uint8 or rows.shape != (len(labels), 3 * SIZE * SIZE) or not right:
            raise ValueError(f"{rows.dtype} {rows.shape} images, {labels.dtype} {labels.shape} labels")
    except Exception as error:  # a pickle may raise nearly anything
        raise DataError(
            f"{path} is not a batch of {SIZE}x{SIZE} images ({first_line(error)}); unpack ImageNet16.tar.gz again"
        ) from error
    kept = labels <= classes
    images = rows[kept].reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels[kept].astype(np.int64) - 1


class _ArrayUnpickler(pickle.Unpickler):
    """Arrays and plain values; whatever else a pickle names is refused before it is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}:
            return super().find_class(module, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]  # wherever this version of numpy keeps it
        _refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        _refuse("a reference to another file")


def _refuse(what: str) -> NoReturn:
    raise pickle.UnpicklingError(f"refused {what!r:.100}")
