"""Columns of a Parquet or CSV file that somebody else wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from senas_bench.errors import DataError

if TYPE_CHECKING:
    import pyarrow


class Columns(NamedTuple):
    """What was read.

    Args:
        table: The columns that were wanted, in the file's order; with the file's metadata, if it is Parquet.
        names: All columns of the file.
    """

    table: pyarrow.Table
    names: list[str]


Wanted = Callable[[str], object]
"""Whether a column of that name is wanted."""


def read_columns(path: Path, wanted: Wanted, as_text: Sequence[str] = ()) -> Columns:
    """The wanted columns of a file: CSV if its name ends in .csv, otherwise Parquet.

    What pandas stored as an index is a column like any other.

    Args:
        as_text: Columns of a CSV file that are not to be turned into numbers.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is damaged or of another kind, or two wanted columns have one name.
    """
    return read_csv(path, wanted, as_text) if path.suffix == ".csv" else read_parquet(path, wanted)


def read_parquet(path: Path, wanted: Wanted) -> Columns:
    """As `read_columns`, of a Parquet file; only what is wanted leaves the disk."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            chosen = _chosen(path, names, wanted)
            return Columns(file.read(columns=chosen, use_threads=False), names)
    except (FileNotFoundError, DataError):
        raise
    except Exception as error:  # damage may raise nearly anything
        raise _unreadable(path, "Parquet", error) from error


def read_csv(path: Path, wanted: Wanted, as_text: Sequence[str] = ()) -> Columns:
    """As `read_columns`, of a CSV file."""
    import pyarrow as pa
    from pyarrow import csv

    convert = csv.ConvertOptions(column_types=dict.fromkeys(as_text, pa.string()), strings_can_be_null=True)
    try:
        table = csv.read_csv(path, convert_options=convert)
        names = list(table.column_names)
        return Columns(table.select(_chosen(path, names, wanted)), names)
    except (FileNotFoundError, DataError):
        raise
    except Exception as error:
        raise _unreadable(path, "CSV", error) from error


def _chosen(path: Path, names: list[str], wanted: Wanted) -> list[str]:
    chosen = [name for name in names if wanted(name)]
    double = [name for name, number in Counter(chosen).items() if number > 1]
    if double:
        raise DataError(f"{path}: two columns have the same name, {double[0]}; remove or rename one")
    return chosen


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    why = (str(error) or type(error).__name__).partition("\n")[0]
    return DataError(f"{path} is not a readable {kind} file ({why})")
