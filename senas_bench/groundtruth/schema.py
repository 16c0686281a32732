"""The schema of a table in a file, Parquet or CSV: what its columns are called, and what it says about itself.

Other columns are ignored:

| column | type | meaning |
|---|---|---|
| `arch_str` | string, required | official NAS-Bench-201 arch string, each at most once; any subset, any order |
| `arch_index` | integer, optional | official index of that string; checked against it |
| `<dataset>_<split>_acc_<epochs>ep` | number | accuracy in percent, 0 to 100, mean over training seeds |
| `<dataset>_<split>_acc_<epochs>ep_seed<seed>` | number | accuracy of one training seed; `ep` may be left out |
| `<model>_train_s_per_epoch` | number | cost: seconds of a training epoch |
| `<model>_val_s` | number | cost: seconds of one pass over the validation images |
| `<model>_latency_s` | number | cost: seconds of a batch of 256 |
| `<model>_flops_m`, `<model>_params` | number | cost: multiply-adds in millions, parameters |
| `<model>_<device>_latency`, `..._energy` | number | cost: milliseconds, millijoules (HW-NAS-Bench) |
| `<model>_<device>_arithmetic_intensity` | number | cost: as HW-NAS-Bench reports it |

`dataset` is cifar10, cifar100 or imagenet16-120; `split` val, test, or valtest, the mean of both; `epochs` 12 or
200. `cifar10-valid` with `test` is the model that cifar10 `val` is of, on the test images: see `Query`. `model` is
one of all four. An empty cell or NaN was not measured, nor was a cost of -1. A column whose name has `_acc_` in it
but breaks this form is an error: dropping it silently would lose data. So is, in a file of costs that are to be
joined, any other column of numbers. Columns of fractions or error rates are refused where `units` can tell.

A canonical file (`GroundTruth.save`) has the official row order and, in the schema metadata under
`senas_bench`, a JSON object: `schema`, `name`, `source`, `columns`, and the `sha256` of the values; with costs also
`costs`, their columns, and `costs_sha256`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.groundtruth.archs import official_rows
from senas_bench.groundtruth.columns import Columns
from senas_bench.groundtruth.query import MODELS

if TYPE_CHECKING:
    import pyarrow

SCHEMA = 1
_COST = re.compile(
    rf"({'|'.join(MODELS)})_(train_s_per_epoch|val_s|latency_s|flops_m|params"
    r"|[a-z0-9]+_(latency|energy|arithmetic_intensity))"
)
COST_EXAMPLE = "cifar10_edgegpu_latency"
METADATA = b"senas_bench"


def in_schema(name: str) -> bool:
    """Whether a column of that name is one of the schema, or one that breaks it; any other is ignored."""
    return name in ("arch_str", "arch_index") or "_acc_" in name or is_cost(name)


def is_cost(name: str) -> bool:
    return _COST.fullmatch(name) is not None


def archs_of(columns: Columns) -> tuple[str, ...]:
    """The archs of a file, whose official indices fit if it gives them."""
    if "arch_str" not in columns.table.column_names:
        raise ValueError(f"no column 'arch_str' among: {', '.join(columns.names)}")
    arch_strs = tuple(columns.table["arch_str"].to_pylist())
    if "arch_index" in columns.table.column_names:
        _check_index(arch_strs, numbers(columns.table, "arch_index"))
    return arch_strs


def numbers(table: pyarrow.Table, name: str) -> np.ndarray:
    """A column as float64, NaN for null."""
    import pyarrow as pa

    column = table[name]
    if not any(is_type(column.type) for is_type in (pa.types.is_floating, pa.types.is_integer, pa.types.is_null)):
        raise ValueError(f"column {name!r} holds {column.type}, not numbers")
    if column.null_count or not len(column):
        return np.array(column.to_pylist(), np.float64)
    # Arrow's own to_numpy would import pandas: 0.3 s
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks]).astype(np.float64, copy=False)


def _check_index(arch_strs: Sequence[str], given: np.ndarray) -> None:
    official = official_rows(arch_strs)
    (wrong,) = np.nonzero(given != official)
    if wrong.size:
        row = wrong[0]
        raise ValueError(
            f"arch_index of {wrong.size} rows is not official, first in row {row}: {given[row]:g} where "
            f"{official[row]} is the index of its arch_str"
        )


def read_metadata(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What a canonical file says about itself; empty for any other file."""
    try:
        about = json.loads(metadata.get(METADATA, b"{}"))
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or about.get("schema", SCHEMA) != SCHEMA or not _is_about(about):
        raise ValueError(f"its metadata are not schema {SCHEMA}, which this version reads; import the table again")
    return about


def _is_about(about: dict[str, Any]) -> bool:
    source = about.get("source", {})
    return isinstance(about.get("name", ""), str) and isinstance(source, dict) and all(map(_is_text, source.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
