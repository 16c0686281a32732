"""Hub-style Parquet files of images: which shards make up a part of a data set, and what their columns must hold.

No torch, and pyarrow only where a file is opened.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.data.decoding import first_line
from senas_bench.data.folders import is_lost_link, lost_link
from senas_bench.errors import DataError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

IMAGE_COLUMNS = ("img", "image")
SHARD = re.compile(r"(.+)-(\d{1,6})-of-(\d{1,6})(-[0-9a-f]+)?\.parquet")
"""How the Hub names shards: what they are of, place, total and, formerly, a hash."""


def find_shards(folder: Path, part: str) -> list[Path]:
    """The files `<part>-*.parquet` of a folder, in order of their names; none where there are none.

    Raises:
        DataError: Their names say that shards are missing or double, or two files hold the same.
    """
    files = sorted(folder.glob(f"{part}-*.parquet"))
    for path in files:
        if is_lost_link(path):
            raise lost_link(path)
        if not path.is_file():
            raise DataError(f"{path} is a folder, not a Parquet file; move its files to {folder}/{part}-*.parquet")
    numbered = [match for path in files if (match := SHARD.fullmatch(path.name))]
    if numbered:
        odd = sorted({path.name for path in files} - {match[0] for match in numbered})
        if odd:
            raise DataError(
                f"{folder}: {', '.join(odd[:3])} beside numbered shards of {part}; move away what is a copy or of "
                "another data set"
            )
        for name in sorted({match[1] for match in numbered}):
            _check_numbers(folder, name, [(int(match[2]), int(match[3])) for match in numbered if match[1] == name])
    _check_contents(files)
    return files


def image_column(file: pyarrow.parquet.ParquetFile, path: Path) -> str:
    """Name of the column of images.

    Raises:
        DataError: There is none, or it is no struct with `bytes`.
    """
    import pyarrow.types

    schema = file.schema_arrow
    column = next((name for name in IMAGE_COLUMNS if schema.names.count(name) == 1), None)
    if column is None:
        raise _no_column(path, "images, 'img' or 'image'", schema.names)
    kind = schema.field(column).type
    whole = pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not whole or kind.field("bytes").type not in (pyarrow.binary(), pyarrow.large_binary()):
        raise DataError(
            f"{path}: column {column!r} holds {kind}, not a struct with the encoded images as binary 'bytes'; write "
            "them so, as the Hub does"
        )
    return column


def read_labels(file: pyarrow.parquet.ParquetFile, label: str, path: Path) -> np.ndarray:
    """The labels `(N,)` int64.

    Raises:
        DataError: There is no such column, or it holds anything but whole numbers from 0 on, at least one.
    """
    import pyarrow.types

    if file.schema_arrow.names.count(label) != 1:
        raise _no_column(path, f"labels, {label!r}", file.schema_arrow.names)
    column = file.read([label]).column(label)
    if not pyarrow.types.is_integer(column.type):
        raise DataError(
            f"{path}: column {label!r} holds {column.type}, labels must be integers 0 .. classes - 1; store it as int64"
        )
    if len(column) == 0 or column.null_count:
        raise DataError(
            f"{path}: {column.null_count} of {len(column)} labels in column {label!r} are null, at least one label and "
            "no null needed; is the file whole?"
        )
    labels = column.to_numpy()
    if labels.min() < 0 or labels.max() > np.iinfo(np.int64).max:
        raise DataError(
            f"{path}: labels {labels.min()} .. {labels.max()} in column {label!r}, none below 0 allowed; -1 marks "
            "labels that were not published: take a part that has them"
        )
    return labels.astype(np.int64)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what pyarrow raises on a file into a `DataError` of one line."""
    import pyarrow

    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        why = os.strerror(error.errno) if error.errno else first_line(error)
        raise DataError(f"cannot read {path}: {why}; it must be a file that you may read") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: no readable Parquet ({first_line(error)}); get the file again") from error


def _check_numbers(folder: Path, name: str, numbers: list[tuple[int, int]]) -> None:
    """Raise unless these places and totals are one total, and each place below it once."""
    totals = sorted({total for _, total in numbers})
    if len(totals) > 1:
        raise DataError(
            f"{folder}: shards of {name} of {' and of '.join(map(str, totals))} in all; move those of one away"
        )
    found = [place for place, _ in numbers]
    double = sorted({place for place in found if found.count(place) > 1})
    missing = sorted(set(range(totals[0])) - set(found))
    beyond = sorted(set(found) - set(range(totals[0])))
    for wrong, what, advice in (
        (double, "is double", "delete the copies"),
        (beyond, "is beyond the total", "rename or delete it"),
        (missing, "is missing", "get the missing ones"),
    ):
        if wrong:
            more = f" and {len(wrong) - 1} more" if wrong[1:] else ""
            raise DataError(
                f"{folder}: shard {wrong[0]:05}-of-{totals[0]:05} of {name}{more} {what} ({len(found)} files of "
                f"{totals[0]}, counted from 0); {advice}"
            )


def _check_contents(files: list[Path]) -> None:
    """Raise where two files hold the same; only those of one size are read."""
    sizes: dict[int, list[Path]] = {}
    for path in files:
        sizes.setdefault(path.stat().st_size, []).append(path)
    for same in sizes.values():
        for one, other in combinations(same, 2):
            with reading(other):
                equal = filecmp.cmp(one, other, shallow=False)
            if equal:
                raise DataError(f"{one} and {other.name} hold the same; delete the copy")


def _no_column(path: Path, wanted: str, names: list[str]) -> DataError:
    found = ", ".join(map(repr, names[:8])) + (", ..." if names[8:] else "")
    return DataError(f"{path}: no column of {wanted}, but {found or 'none'}; rename it, or is it another data set?")
