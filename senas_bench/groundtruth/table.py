"""Ground truth: the accuracy of every arch trained from scratch, as columns keyed by what was measured."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from senas_bench.files import atomic_write
from senas_bench.groundtruth.archs import official_index, official_rows, why_unknown
from senas_bench.groundtruth.costs import read_costs
from senas_bench.groundtruth.query import Query, check_same_protocol, why_apart
from senas_bench.groundtruth.schema import COST_EXAMPLE, METADATA, SCHEMA, is_cost


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """A table of accuracies, in official index order whatever the order it was given in.

    Args:
        name: What messages and results call it.
        arch_strs: `(n,)` official arch strings.
        columns: Per query `(n,)` float64, percent; NaN where not measured. Copied and made read-only.
        source: Where it came from, as text: for an imported table `file` and `sha256` of that file.
        costs: Per column of `schema` `(n,)` float64 in its unit; NaN or -1 where not measured. Copied too.

    Raises:
        ValueError: No rows or columns; an arch string is invalid or occurs twice; a column has another
            length than `arch_strs`, or a value outside 0 to 100; a cost has another name, or is negative or infinite.
    """

    name: str
    arch_strs: tuple[str, ...]
    columns: Mapping[Query, np.ndarray]
    source: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.columns or not self.arch_strs:
            raise ValueError(
                "no accuracies: needs rows and columns <dataset>_<split>_acc_<epochs>ep, e.g. cifar10_test_acc_200ep"
            )
        order = np.argsort(official_rows(self.arch_strs), kind="stable")
        object.__setattr__(self, "arch_strs", tuple(self.arch_strs[row] for row in order.tolist()))
        object.__setattr__(self, "columns", {q: _checked(q, values, order) for q, values in self.columns.items()})
        object.__setattr__(self, "costs", {name: _checked_cost(name, v, order) for name, v in self.costs.items()})

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the archs and accuracies alone: the same for the same table in any file, order or format."""
        return self._hash({str(query): values for query, values in self.columns.items()})

    @functools.cached_property
    def costs_sha256(self) -> str:
        """Hash of the archs and costs. Not part of `sha256`, which names a table in the specs of runs."""
        return self._hash(self.costs)

    def _hash(self, columns: Mapping[str, np.ndarray]) -> str:
        digest = hashlib.sha256("\n".join(self.arch_strs).encode())
        for name in sorted(columns):
            digest.update(f"\n{name}\n".encode())
            digest.update(np.ascontiguousarray(columns[name], "<f8").data)
        return digest.hexdigest()

    @functools.cached_property
    def _row(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.arch_strs)}

    def has(self, query: Query) -> bool:
        """Whether the table has this column; single archs may still be NaN in it."""
        return query in self.columns

    def queries(self) -> list[Query]:
        """What the table can answer, in column order."""
        return list(self.columns)

    def accuracy(self, query: Query, arch_strs: Sequence[str] | None = None) -> np.ndarray:
        """Accuracy of archs trained from scratch.

        Args:
            query: What to look up.
            arch_strs: Official arch strings, repeats allowed; None = all of the table, in its order.

        Returns:
            `(n,)` float64, percent, never NaN.

        Raises:
            ValueError: The table lacks the column or an arch, or an arch was not measured.
        """
        values = self._column(query)
        if arch_strs is not None:
            values = values[self.rows(arch_strs)]
        missing = int(np.isnan(values).sum())
        if missing:
            raise ValueError(
                f"table {self.name!r}: {missing} of {len(values)} archs have no {query}; leave those archs out"
            )
        return values

    def comparable(self, *queries: Query) -> np.ndarray:
        """Accuracies to compare with each other, of the archs that were measured in all of them.

        Returns:
            `(queries, n)` float64, percent, never NaN, archs in the order of the table.

        Raises:
            ValueError: The table lacks a column, or they are not of the same kind of training: `check_same_protocol`.
        """
        check_same_protocol(*queries)
        values = np.stack([self._column(query) for query in queries])
        return values[:, ~np.isnan(values).any(axis=0)]

    def best(self, query: Query) -> tuple[str, float]:
        """The best measured arch and its accuracy in percent; of equals, the lowest official index.

        Raises:
            ValueError: The table lacks the column, or measured no arch.
        """
        values = self._column(query)
        if np.isnan(values).all():
            raise ValueError(f"table {self.name!r}: none of {len(values)} archs has {query}")
        row = int(np.nanargmax(values))
        return self.arch_strs[row], float(values[row])

    def joined(self, other: GroundTruth) -> GroundTruth:
        """This table with the columns of another beside its own, NaN for archs that the other lacks.

        A cost that both have is that of this table.

        Raises:
            ValueError: Both have a column of accuracies.
        """
        both = [str(query) for query in other.columns if query in self.columns]
        if both:
            raise ValueError(f"tables {self.name!r} and {other.name!r} both have {', '.join(both)}; give it in one")
        rows = np.array([other._row.get(arch, len(other.arch_strs)) for arch in self.arch_strs])
        columns = {query: np.append(values, np.nan)[rows] for query, values in other.columns.items()}
        costs = {column: np.append(values, np.nan)[rows] for column, values in other.costs.items()}
        name, source = f"{self.name} and {other.name}", {"first": self.sha256, "second": other.sha256}
        return GroundTruth(name, self.arch_strs, {**self.columns, **columns}, source, {**costs, **self.costs})

    def with_costs(self, path: Path) -> GroundTruth:
        """This table with the costs of a Parquet or CSV file, such as HW-NAS-Bench's latencies, joined by arch.

        NaN for archs that the file lacks. `source` gains the file's name and sha256.

        Raises:
            ValueError: The file has no cost columns, one that this table has, or none of its archs.
            DataError: It is missing, corrupt, or breaks the schema: also by a column that is no cost of it.
        """
        arch_strs, costs = read_costs(path)
        both = sorted(self.costs.keys() & costs.keys())
        if both or not costs:
            why = f"costs that table {self.name!r} already has: {', '.join(both)}" if both else "no cost columns"
            raise ValueError(f"{path} has {why}; name a file with columns such as {COST_EXAMPLE}")
        of_arch = {text: row for row, text in enumerate(arch_strs)}
        rows = np.array([of_arch.get(arch, len(arch_strs)) for arch in self.arch_strs])
        if (rows == len(arch_strs)).all():
            raise ValueError(f"{path} has none of the {len(rows)} archs of table {self.name!r}; name one that has them")
        joined = {column: np.append(values, np.nan)[rows] for column, values in costs.items()}
        of_file = {"costs_file": path.name, "costs_file_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        source = {**self.source, **of_file}
        return GroundTruth(self.name, self.arch_strs, self.columns, source, {**self.costs, **joined})

    def save(self, path: Path) -> None:
        """Write the canonical Parquet file, all or nothing."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"arch_index": pa.array([official_index()[text] for text in self.arch_strs], pa.int32())}
        columns["arch_str"] = pa.array(self.arch_strs, pa.string())
        columns |= {str(query): pa.array(values.tolist(), pa.float64()) for query, values in self.columns.items()}
        columns |= {name: pa.array(values.tolist(), pa.float64()) for name, values in self.costs.items()}
        about = {
            "schema": SCHEMA,
            "name": self.name,
            "source": dict(self.source),
            "columns": [str(query) for query in self.columns],
            "sha256": self.sha256,
        }
        if self.costs:
            about |= {"costs": list(self.costs), "costs_sha256": self.costs_sha256}
        metadata = {METADATA: json.dumps(about, sort_keys=True)}
        sink = pa.BufferOutputStream()
        split: Any = [*map(str, self.columns), *self.costs]  # reads in half the time of dictionaries; typed as a bool
        table = pa.table(columns, metadata=metadata)
        pq.write_table(table, sink, compression="zstd", use_dictionary=False, use_byte_stream_split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, sink.getvalue())

    def _column(self, query: Query) -> np.ndarray:
        if query not in self.columns:
            lacking = f"table {self.name!r} has no {query}; it has: {', '.join(map(str, self.columns))}"
            raise ValueError("; ".join([lacking, *self._why_no_substitute(query)]))
        return self.columns[query]

    def _why_no_substitute(self, query: Query) -> list[str]:
        """Why columns that differ from a query in one thing do not stand for it."""
        images = query.dataset.removesuffix("-valid")
        near = [other for other in self.columns if other.dataset.removesuffix("-valid") == images]
        single = [why_apart(other, query) for other in near]
        return sorted({reasons[0] for reasons in single if len(reasons) == 1})

    def rows(self, arch_strs: Sequence[str]) -> np.ndarray:
        """`(n,)` rows of archs in the table.

        Raises:
            ValueError: It lacks one of them.
        """
        try:
            return np.array([self._row[text] for text in arch_strs], np.intp)
        except KeyError:
            unknown = [text for text in arch_strs if text not in self._row]
        count = f"{len(unknown)} of {len(arch_strs)} archs"
        raise ValueError(f"table {self.name!r} of {len(self._row)} archs lacks {count}: {why_unknown(unknown[0])}")


def _checked(query: Query, values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """A read-only float64 copy of one column in the row order `order` `(n,)`."""
    values = _ordered(str(query), values, order)
    values[np.isnan(values)] = np.nan  # one NaN, so that equal tables hash equally
    outside = values[(values < 0) | (values > 100)]
    if outside.size:
        raise ValueError(f"column {query}: {outside.size} values outside 0 to 100 percent, first {outside[0]:g}")
    values.flags.writeable = False
    return values


def _checked_cost(name: str, values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Likewise a column of costs; -1, which is how HW-NAS-Bench marks a device that refused an arch, becomes NaN."""
    if not is_cost(name):
        raise ValueError(f"cost column {name!r} is not one of the schema, such as cifar10_train_s_per_epoch")
    values = _ordered(name, values, order)
    values[np.isnan(values) | (values == -1)] = np.nan
    bad = values[(values < 0) | np.isinf(values)]
    if bad.size:
        raise ValueError(f"column {name}: {bad.size} values that are no cost, first {bad[0]:g}; leave them empty")
    values.flags.writeable = False
    return values


def _ordered(name: str, values: np.ndarray, order: np.ndarray) -> np.ndarray:
    if np.shape(values) != order.shape:
        raise ValueError(f"column {name} has shape {np.shape(values)} for {len(order)} archs")
    return np.asarray(values, np.float64)[order]
