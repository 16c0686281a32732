"""Tables that are read: the columns of a file become a ground truth once they are checked."""

from __future__ import annotations

from pathlib import Path

from senas_bench.errors import DataError
from senas_bench.groundtruth.columns import Columns, read_parquet
from senas_bench.groundtruth.query import Query
from senas_bench.groundtruth.schema import archs_of, in_schema, is_cost, numbers, read_metadata
from senas_bench.groundtruth.table import GroundTruth
from senas_bench.groundtruth.units import compute_constants, why_not_percent


def load_parquet(path: Path) -> GroundTruth:
    """Read a table in the schema of `schema`; only the columns of the schema leave the disk.

    Raises:
        DataError: There is no such file, it is no Parquet file, its content breaks the schema, is fractions or error
            rates, or differs from the hash that a canonical file carries.
    """
    try:
        columns = read_parquet(path, in_schema)
    except FileNotFoundError:
        raise DataError(f"no ground-truth table at {path}; give a Parquet file in the documented schema") from None
    except DataError as error:
        raise DataError(f"{error}; import CSV with `benchmark import`") from error
    return from_columns(columns, path)


def from_columns(columns: Columns, path: Path) -> GroundTruth:
    """The ground truth in columns of the schema.

    Args:
        columns: Those of `in_schema`; others are ignored.
        path: The file they were read from: it gives messages a place, and a table without metadata its name.

    Raises:
        DataError: The content breaks the schema, is fractions or error rates, or differs from the hash that the
            metadata hold.
    """
    table = columns.table
    names = [name for name in table.column_names if in_schema(name)]
    try:
        about = read_metadata(table.schema.metadata or {})
        arch_strs = archs_of(columns)
        queries = {name: Query.from_column(name) for name in names if "_acc_" in name}
        accuracies = {query: numbers(table, name) for name, query in queries.items()}
        costs = {name: numbers(table, name) for name in names if is_cost(name)}
        truth = GroundTruth(about.get("name", path.stem), arch_strs, accuracies, about.get("source", {}), costs)
        if "sha256" in about and (about["sha256"], about.get("costs_sha256")) != _hashes(truth):
            raise ValueError("its values differ from the hash in its metadata; import the table again")
        check_percent(truth)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return truth


def check_percent(truth: GroundTruth) -> None:
    """Refuse columns that are fractions or error rates, as far as the values themselves show it.

    Raises:
        ValueError: One is.
    """
    constant = compute_constants(truth.arch_strs)
    for query, values in truth.columns.items():
        if why := why_not_percent(query.dataset, values, constant):
            raise ValueError(f"column {query}: {why}")


def _hashes(truth: GroundTruth) -> tuple[str, str | None]:
    """What a canonical file says of its values: of the accuracies, and of the costs if there are any."""
    return truth.sha256, truth.costs_sha256 if truth.costs else None
