"""Files of costs that are joined to a table, such as HW-NAS-Bench's latencies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.errors import DataError
from senas_bench.groundtruth.archs import official_rows
from senas_bench.groundtruth.columns import read_columns
from senas_bench.groundtruth.query import MODELS
from senas_bench.groundtruth.schema import COST_EXAMPLE, archs_of, in_schema, is_cost, numbers

if TYPE_CHECKING:
    import pyarrow


def read_costs(path: Path) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Arch strings and cost columns of a Parquet or CSV file."""
    try:
        columns = read_columns(path, lambda _: True)
    except FileNotFoundError:
        raise DataError(f"no costs at {path}; give a Parquet or CSV file with {COST_EXAMPLE} or the like") from None
    table = columns.table
    try:
        arch_strs = archs_of(columns)
        official_rows(arch_strs)
        costs = {name: numbers(table, name) for name in table.column_names if is_cost(name)}
        unknown = [name for name in table.column_names if costs and _may_be_cost(table, name)]
        if unknown:
            raise ValueError(
                f"no costs of the schema: {', '.join(unknown)}; rename them as {COST_EXAMPLE} is named, or remove them"
            )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return arch_strs, costs


def _may_be_cost(table: pyarrow.Table, name: str) -> bool:
    """Whether a column that the schema does not have holds something that was meant to be joined."""
    import pyarrow as pa

    kind = table[name].type
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    return not in_schema(name) and (name.startswith(MODELS) or (is_number and not name.startswith("__index_level_")))
