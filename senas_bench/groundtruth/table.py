"""Ground truth: the accuracy of every arch trained from scratch, as columns keyed by what was measured.

The schema of a table, Parquet or CSV (other columns are ignored):

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

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from senas_bench.errors import DataError
from senas_bench.files import atomic_write
from senas_bench.groundtruth.columns import Columns, read_columns, read_parquet
from senas_bench.groundtruth.units import compute_constants, why_not_percent
from senas_bench.names import lookup
from senas_bench.spaces.nasbench201 import NB201, NONE, arch_from_str, arch_to_str, official_archs

if TYPE_CHECKING:
    import pyarrow

SCHEMA = 1
DATASETS = ("cifar10", "cifar100", "imagenet16-120")
VALID_MODEL = "cifar10-valid"
"""The model trained on half of CIFAR-10's training images, as far as it is asked on the test images."""
MODELS = (VALID_MODEL, *DATASETS)
SPLITS = ("val", "test", "valtest")
EPOCHS = (12, 200)
_COLUMN = re.compile(
    rf"({'|'.join(MODELS)})_({'|'.join(SPLITS)})_acc_(12|200)(?:ep|ep_seed(0|[1-9][0-9]*)|_seed(0|[1-9][0-9]*))"
)
_COST = re.compile(
    rf"({'|'.join(MODELS)})_(train_s_per_epoch|val_s|latency_s|flops_m|params"
    r"|[a-z0-9]+_(latency|energy|arithmetic_intensity))"
)
_COST_EXAMPLE = "cifar10_edgegpu_latency"
_METADATA = b"senas_bench"


@dataclass(frozen=True)
class Query:
    """What an accuracy is the accuracy of. Nothing has a default: mixing these is the classic mistake.

    Args:
        dataset: `cifar10`, `cifar100`, `imagenet16-120`, or `cifar10-valid` for what its `split` says.
        split: `val`, `test`, or `valtest`, the mean of both where no more is known. The first two may belong to
            different models: on cifar10, `val` is the `cifar10-valid` model, trained on 25,000 images, and `test` the
            model trained on all 50,000. So cifar10 has no `valtest`, and the accuracy of the former on the test images
            is `cifar10-valid` with `test`.
        epochs: Length of the training from scratch, 12 or 200.
        seeds: `"mean"` over the training seeds, or one seed such as 777.

    Raises:
        ValueError: A field is not one of these.
    """

    dataset: str
    split: str
    epochs: int
    seeds: Literal["mean"] | int

    def __post_init__(self) -> None:
        lookup("dataset", self.dataset, dict.fromkeys((*DATASETS, VALID_MODEL)))
        lookup("split", self.split, dict.fromkeys(SPLITS))
        if self.dataset == VALID_MODEL and self.split != "test":
            raise ValueError(
                f"{VALID_MODEL} has only split test; its validation accuracy is dataset cifar10, split val"
            )
        if (self.dataset, self.split) == ("cifar10", "valtest"):
            raise ValueError(f"cifar10 has no split valtest: {_WHY_MODEL}, so their mean is of no model; ask for one")
        if self.epochs not in EPOCHS or not isinstance(self.epochs, int):
            raise ValueError(f"epochs {self.epochs!r} is not benchmarked; one of: {', '.join(map(str, EPOCHS))}")
        is_seed = isinstance(self.seeds, int) and not isinstance(self.seeds, bool) and self.seeds >= 0
        if self.seeds != "mean" and not is_seed:
            raise ValueError(f"seeds {self.seeds!r} must be 'mean' or one training seed, an integer such as 777")

    @property
    def model(self) -> str:
        """Whose accuracy it is, one of `MODELS`."""
        return VALID_MODEL if (self.dataset, self.split) == ("cifar10", "val") else self.dataset

    def __str__(self) -> str:
        suffix = "" if self.seeds == "mean" else f"_seed{self.seeds}"
        return f"{self.dataset}_{self.split}_acc_{self.epochs}ep{suffix}"

    @staticmethod
    def from_column(name: str) -> Query:
        """The query that a column answers; the inverse of `str`.

        Raises:
            ValueError: The name is not `<dataset>_<split>_acc_<epochs>ep[_seed<seed>]`.
        """
        match = _COLUMN.fullmatch(name)
        if match is None:
            raise ValueError(
                f"column {name!r} is not <dataset>_<split>_acc_<epochs>ep or that with _seed<seed>: dataset one of "
                f"{', '.join(MODELS)}; split {', '.join(SPLITS)}; epochs 12, 200; rename or remove it"
            )
        seed = match[4] or match[5]
        return Query(match[1], match[2], int(match[3]), "mean" if seed is None else int(seed))


_WHY_MODEL = "val is the cifar10-valid model, trained on 25,000 images, and test the model trained on all 50,000"
_WHY_EPOCHS = "12 and 200 epochs are two trainings, each with its own learning-rate schedule, not one curve"
_WHY_SEEDS = "one seed has the noise of one training, which a mean over seeds does not"


def check_same_protocol(*queries: Query) -> None:
    """Refuse to compare, rank or average accuracies that are not of the same kind of training.

    Different data sets and splits of one model may be compared. What may not be mixed: the two CIFAR-10 models,
    12 and 200 epochs, and one seed and a mean over seeds. Two single seeds may.

    Raises:
        ValueError: Two of the queries differ in one of these; the message says in which, and why it matters.
    """
    for first, second in itertools.combinations(queries, 2):
        if differences := _differences(first, second):
            raise ValueError(f"{first} and {second} must not be mixed: {'; '.join(differences)}")


def _differences(first: Query, second: Query) -> list[str]:
    """Why two queries are of different kinds of training, one phrase each."""
    differences = []
    if {first.model, second.model} == {"cifar10", VALID_MODEL}:
        differences.append(f"on cifar10, {_WHY_MODEL}")
    if first.epochs != second.epochs:
        differences.append(_WHY_EPOCHS)
    if (first.seeds == "mean") != (second.seeds == "mean"):
        differences.append(_WHY_SEEDS)
    return differences


@functools.cache
def official_index() -> dict[str, int]:
    """Arch string -> official index, all 15,625, in that order."""
    halves = list(itertools.product(range(5), repeat=3))  # 250 strings glued, not 15,625 formatted: 40 ms less
    heads = {half: arch_to_str((*half, NONE, NONE, NONE)).rpartition("+")[0] for half in halves}
    tails = {half: arch_to_str((NONE, NONE, NONE, *half)).rpartition("+")[2] for half in halves}
    return {f"{heads[arch[:3]]}+{tails[arch[3:]]}": index for index, arch in enumerate(official_archs())}


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """A table of accuracies, in official index order whatever the order it was given in.

    Args:
        name: What messages and results call it.
        arch_strs: `(n,)` official arch strings.
        columns: Per query `(n,)` float64, percent; NaN where not measured. Copied and made read-only.
        source: Where it came from, as text: for an imported table `file` and `sha256` of that file.
        costs: Per column of the schema above `(n,)` float64 in its unit; NaN or -1 where not measured. Copied too.

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
        order = np.argsort(_official_rows(self.arch_strs), kind="stable")
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
            digest.update(np.ascontiguousarray(columns[name], "<f8"))
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
            values = values[self._rows(arch_strs)]
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
        arch_strs, costs = _read_costs(path)
        both = sorted(self.costs.keys() & costs.keys())
        if both or not costs:
            why = f"costs that table {self.name!r} already has: {', '.join(both)}" if both else "no cost columns"
            raise ValueError(f"{path} has {why}; name a file with columns such as {_COST_EXAMPLE}")
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
        metadata = {_METADATA: json.dumps(about, sort_keys=True)}
        sink = pa.BufferOutputStream()
        split = [*map(str, self.columns), *self.costs]  # reads in half the time of dictionaries
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
        single = [_differences(other, query) for other in near]
        return sorted({reasons[0] for reasons in single if len(reasons) == 1})

    def _rows(self, arch_strs: Sequence[str]) -> np.ndarray:
        try:
            return np.array([self._row[text] for text in arch_strs], np.intp)
        except KeyError:
            unknown = [text for text in arch_strs if text not in self._row]
        count = f"{len(unknown)} of {len(arch_strs)} archs"
        raise ValueError(f"table {self.name!r} of {len(self._row)} archs lacks {count}: {_why_unknown(unknown[0])}")


def load_parquet(path: Path) -> GroundTruth:
    """Read a table in the schema above; only the columns of the schema leave the disk.

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


def in_schema(name: str) -> bool:
    """Whether a column of that name is one of the schema, or one that breaks it; any other is ignored."""
    return name in ("arch_str", "arch_index") or "_acc_" in name or _is_cost(name)


def _is_cost(name: str) -> bool:
    return _COST.fullmatch(name) is not None


def _read_costs(path: Path) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Arch strings and cost columns of a Parquet or CSV file."""
    try:
        columns = read_columns(path, lambda _: True)
    except FileNotFoundError:
        raise DataError(f"no costs at {path}; give a Parquet or CSV file with {_COST_EXAMPLE} or the like") from None
    table = columns.table
    try:
        arch_strs = _arch_strs(columns)
        _official_rows(arch_strs)
        costs = {name: _numbers(table, name) for name in table.column_names if _is_cost(name)}
        unknown = [name for name in table.column_names if costs and _may_be_cost(table, name)]
        if unknown:
            raise ValueError(
                f"no costs of the schema: {', '.join(unknown)}; rename them as {_COST_EXAMPLE} is named, or remove them"
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


def from_columns(columns: Columns, path: Path) -> GroundTruth:
    """The ground truth in columns of the schema above.

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
        about = _read_metadata(table.schema.metadata or {})
        arch_strs = _arch_strs(columns)
        queries = {name: Query.from_column(name) for name in names if "_acc_" in name}
        accuracies = {query: _numbers(table, name) for name, query in queries.items()}
        costs = {name: _numbers(table, name) for name in names if _is_cost(name)}
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


def _arch_strs(columns: Columns) -> tuple[str, ...]:
    """The archs of a file, whose official indices fit if it gives them."""
    if "arch_str" not in columns.table.column_names:
        raise ValueError(f"no column 'arch_str' among: {', '.join(columns.names)}")
    arch_strs = tuple(columns.table["arch_str"].to_pylist())
    if "arch_index" in columns.table.column_names:
        _check_index(arch_strs, _numbers(columns.table, "arch_index"))
    return arch_strs


def _official_rows(arch_strs: Sequence[str]) -> np.ndarray:
    """`(n,)` official indices of arch strings.

    Raises:
        ValueError: One is not official, or occurs twice.
    """
    index = official_index()
    try:
        rows = np.array([index[text] for text in arch_strs], np.intp)
    except (KeyError, TypeError):
        bad = next(text for text in arch_strs if not isinstance(text, str) or text not in index)
        raise ValueError(_why_unknown(bad)) from None
    order = np.argsort(rows, kind="stable")
    repeated = np.flatnonzero(np.diff(rows[order]) == 0)
    if repeated.size:
        first = arch_strs[order[repeated[0]]]
        raise ValueError(f"{repeated.size} duplicate arch strings, first {first!r}; keep one row per arch")
    return rows


def _hashes(truth: GroundTruth) -> tuple[str, str | None]:
    """What a canonical file says of its values: of the accuracies, and of the costs if there are any."""
    return truth.sha256, truth.costs_sha256 if truth.costs else None


def benchmark_info(truth: GroundTruth) -> dict[str, Any]:
    """What a table holds, as JSON values: `name`, `sha256`, `source`, `archs`, `full_space`, and per
    column under `queries` its fields, how many archs are `measured` and the best of them; under `costs` how many
    archs have each."""
    queries = []
    for query, values in truth.columns.items():
        measured = int(np.isfinite(values).sum())
        arch, accuracy = truth.best(query) if measured else (None, None)
        best = {"best_arch": arch, "best_index": official_index().get(arch), "best_accuracy": accuracy}
        queries.append({"column": str(query), **vars(query), "measured": measured, **best})
    return {
        "name": truth.name,
        "sha256": truth.sha256,
        "source": dict(truth.source),
        "archs": len(truth.arch_strs),
        "full_space": len(truth.arch_strs) == NB201.size,
        "queries": queries,
        "costs": {name: int(np.isfinite(values).sum()) for name, values in truth.costs.items()},
    }


def benchmark_query(
    truth: GroundTruth,
    arch: str | int,
    *,
    dataset: str | None = None,
    split: str | None = None,
    epochs: int | None = None,
    seeds: Literal["mean"] | int | None = None,
) -> dict[str, Any]:
    """Everything a table knows about one arch, as JSON values.

    Args:
        truth: The table.
        arch: Official arch string or official index, 0 to 15,624, also as text.
        dataset, split, epochs, seeds: Only the columns with these fields; None = any.

    Returns:
        `arch_index`, `arch_str`, and `accuracy`: column name -> percent, None where not measured. If the table has
        costs of the data set, also `costs`.

    Raises:
        ValueError: No such arch in the space or the table, a field is not benchmarked, or no column fits.
    """
    wanted = {"dataset": dataset, "split": split, "epochs": epochs, "seeds": seeds}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    Query(**{"dataset": "cifar10", "split": "test", "epochs": 200, "seeds": "mean", **wanted})  # checks the spelling
    arch_str = _named_arch(arch)
    (row,) = truth._rows([arch_str])
    columns = {q: v for q, v in truth.columns.items() if all(getattr(q, n) == value for n, value in wanted.items())}
    if not columns:
        asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
        raise ValueError(
            f"table {truth.name!r} has no column with {asked}; it has: {', '.join(map(str, truth.columns))}"
        )
    costs = {name: values for name, values in truth.costs.items() if dataset in (None, *_models_of(name))}
    answer = {"arch_index": official_index()[arch_str], "arch_str": arch_str, "accuracy": _cells(columns, row)}
    return answer | ({"costs": _cells(costs, row)} if costs else {})


def _models_of(cost: str) -> tuple[str, str]:
    """The model whose cost it is, and the data set whose images that sees."""
    model = cost.partition("_")[0]
    return model, model.removesuffix("-valid")


def _cells(columns: Mapping[Any, np.ndarray], row: int) -> dict[str, float | None]:
    return {str(name): None if np.isnan(values[row]) else float(values[row]) for name, values in columns.items()}


def _named_arch(arch: str | int) -> str:
    if isinstance(arch, str) and not arch.strip().lstrip("-").isdecimal():
        return arch_to_str(arch_from_str(arch))
    if not 0 <= int(arch) < NB201.size:
        raise ValueError(f"arch index {arch} is out of range; 0 to {NB201.size - 1}")
    return arch_to_str(official_archs()[int(arch)])


def _why_unknown(text: Any) -> str:
    """Why a table has no row of this name."""
    if not isinstance(text, str):
        return f"arch string {text!r} is missing or no text"
    try:
        official = arch_to_str(arch_from_str(text))
    except ValueError as error:
        return str(error)
    return f"no row for {text!r}" if text == official else f"arch string {text!r} must be written {official!r}"


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
    if not _is_cost(name):
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


def _numbers(table: pyarrow.Table, name: str) -> np.ndarray:
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
    official = _official_rows(arch_strs)
    (wrong,) = np.nonzero(given != official)
    if wrong.size:
        row = wrong[0]
        raise ValueError(
            f"arch_index of {wrong.size} rows is not official, first in row {row}: {given[row]:g} where "
            f"{official[row]} is the index of its arch_str"
        )


def _read_metadata(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What a canonical file says about itself; empty for any other file."""
    try:
        about = json.loads(metadata.get(_METADATA, b"{}"))
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
