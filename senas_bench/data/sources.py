"""Encoded images with labels, in folders or in Parquet files, that are read one by one."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from senas_bench.data.folders import list_images
from senas_bench.data.imagenet import find_part, identity
from senas_bench.data.parquet import image_column, read_labels, reading
from senas_bench.errors import DataError

POOL_IMAGES = 4096
"""Images of a Parquet data set that are shuffled among themselves, and that a worker keeps encoded: about 500 MB of
ImageNet. A row group is read whole, so an order over all images would read it once for each of its images."""


class Source(Protocol):
    """Encoded images with labels. It travels to the workers.

    Args:
        labels: (N,) int64, 0 .. num_classes - 1.
        num_classes: Number of classes.
        data_id: Fingerprint of the files' names and sizes, 16 hex digits: their bytes are too many to read.
    """

    labels: np.ndarray
    num_classes: int
    data_id: str

    def encoded(self, index: int) -> tuple[bytes, str]:
        """The file of an image, and how an error names it."""
        ...

    def shuffled(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """`indices` `(n,)` in a random order that can be read fast."""
        ...


class FolderImages:
    """A folder with a sub-folder of images per class, as `folders.list_images` lists it.

    Raises:
        DataError: As there.
    """

    def __init__(self, folder: Path) -> None:
        found = list(list_images(folder))
        self.folder = folder
        self.classes = tuple(dict.fromkeys(name for name, _, _ in found))
        self.num_classes = len(self.classes)
        self.data_id = identity((name, size) for _, name, size in found)
        # Arrays, not lists: a worker that touches the objects of a list gets a copy of its memory.
        self._names = np.array([os.fsencode(name) for _, name, _ in found])
        label = {name: number for number, name in enumerate(self.classes)}
        self.labels = np.array([label[name] for name, _, _ in found], np.int64)

    def encoded(self, index: int) -> tuple[bytes, str]:
        """See `Source`."""
        path = self.folder / os.fsdecode(self._names[index])
        try:
            return path.read_bytes(), str(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}; check that it is still there") from error

    def shuffled(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """See `Source`: any order is as good as another."""
        return indices[torch.randperm(len(indices), generator=generator, device=generator.device).cpu().numpy()]


class ParquetImages:
    """Hub-style Parquet files: an image column `img` or `image`, a struct with `bytes`, and a column of labels.

    A worker reads a row group when it needs the first of its images, and keeps the last ones it read.

    Args:
        files: In the order of their images.
        label: Name of the label column.

    Raises:
        DataError: A file is missing or not such a file, or a label is no whole number from 0 on.
    """

    def __init__(self, files: Sequence[Path], label: str = "label") -> None:
        import pyarrow.parquet

        if not files:
            raise DataError("no Parquet files of images; at least one needed")
        labels, groups = [], []
        for path in files:
            with reading(path), pyarrow.parquet.ParquetFile(path) as file:
                column = image_column(file, path)
                labels.append(read_labels(file, label, path))
                rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            groups += [(path, column, group, count) for group, count in enumerate(rows)]
        self.labels = np.concatenate(labels)
        self.num_classes = int(self.labels.max()) + 1
        self.data_id = identity((path.name, path.stat().st_size) for path in files)
        self._groups = groups
        self._starts = np.cumsum([0, *(count for *_, count in groups)])
        self._kept: OrderedDict[int, Any] = OrderedDict()

    def encoded(self, index: int) -> tuple[bytes, str]:
        """See `Source`."""
        group = int(np.searchsorted(self._starts, index, "right")) - 1
        row = int(index - self._starts[group])
        found = self._group(group)[row].as_py()
        return found or b"", f"{self._groups[group][0]}: row {row} of row group {self._groups[group][2]}"

    def shuffled(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """See `Source`: row groups in a random order, and images shuffled within runs of about `POOL_IMAGES`."""
        draw = lambda n: torch.randperm(n, generator=generator, device=generator.device).cpu().numpy()  # noqa: E731
        order = draw(len(self._groups))
        before = np.cumsum([0, *np.diff(self._starts)[order]])[:-1]
        pools = np.empty(len(order), np.int64)
        pools[order] = before // POOL_IMAGES
        group = np.searchsorted(self._starts, indices, "right") - 1
        return indices[np.lexsort((draw(len(indices)), pools[group]))]

    def _group(self, group: int) -> Any:
        """The encoded images of a row group, as an Arrow array."""
        import pyarrow.parquet

        if group not in self._kept:
            path, column, place, _ = self._groups[group]
            with reading(path), pyarrow.parquet.ParquetFile(path) as file:
                table = file.read_row_group(place, columns=[f"{column}.bytes"], use_threads=False)
            self._kept[group] = table.column(column).combine_chunks().field("bytes")
            largest = int(np.diff(self._starts).max())
            while sum(map(len, self._kept.values())) > POOL_IMAGES + 2 * largest:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]


def find_images(root: Path, part: str) -> Source:
    """The images of a part of a data set, where `imagenet.find_part` finds them.

    Raises:
        DataError: Nothing found, or a file is corrupt.
    """
    found = find_part(root, part)
    return ParquetImages(found) if isinstance(found, list) else FolderImages(found)
