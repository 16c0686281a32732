"""Bringing other people's tables into `GroundTruth`.

Pickles are touched here, for the default table, and by `unpickle`, for the files that `official` reads; nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from senas_bench.errors import DataError
from senas_bench.files import NoHomeError, cache_home
from senas_bench.groundtruth.archs import official_index
from senas_bench.groundtruth.columns import read_columns, read_csv
from senas_bench.groundtruth.official import read_nats, read_pth
from senas_bench.groundtruth.query import Query
from senas_bench.groundtruth.reading import check_percent, from_columns, load_parquet
from senas_bench.groundtruth.schema import in_schema
from senas_bench.groundtruth.table import GroundTruth
from senas_bench.groundtruth.units import CHANCE, SAMPLING, SHOWS_AN_ORDER, compute_constants, why_opposite
from senas_bench.spaces.nasbench201 import CONV1, CONV3, EDGES, NONE, POOL, SKIP, arch_to_str, prune

WHEEL = "analog-nasbench"
WHEEL_QUERY = Query("cifar10", "test", 200, "mean")
WHEEL_OPERATORS = (SKIP, NONE, CONV3, CONV1, POOL)
"""NAS-Bench-201 operator of each operator code of the wheel."""
WHEEL_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""(source node, target node) of each position of the wheel's arch tuples: by source, not by target.

Both constants were derived from the values, over all 6! edge orders x 5! operator codes; the tests repeat it.
The 341 archs at exactly 10.0 are the disconnected ones under one code for `none` and two edge orders only: this
one and its mirror image (the cell read from output to input). Of the 2 x 4! mappings left, isomorphic archs agree
(standard deviation within a class .259; other codes for `skip_connect` >= 1.17) only if code 0 is `skip_connect`,
and best in this edge order (mirror image: .278). On every edge the mean accuracy then falls in the order of codes
2, 3, 4: conv 3x3, conv 1x1, pooling. Kendall's tau with the official test accuracy at 200 epochs agrees: .926;
the runner-up of all 86,400, the mirror image with the same operator codes, has .854.
"""
_WHEEL_FORMAT = 1  # part of the cache key; raise it when what this module makes of the same wheel changes

_BETTER = 2.0
"""Percent points by which archs that somebody trained anew may be better than the best known one."""
_OFFICIAL = (
    (Query("cifar10", "val", 200, "mean"), 6111, 91.6067),
    (Query("cifar10", "test", 200, "mean"), 6111, 94.3733),
    (Query("cifar100", "val", 200, "mean"), 9930, 73.4933),
    (Query("cifar100", "test", 200, "mean"), 9930, 73.5133),
    (Query("imagenet16-120", "val", 200, "mean"), 10676, 46.7333),
    (Query("imagenet16-120", "test", 200, "mean"), 857, 47.3111),
)
_OPTIMA = {WHEEL: ((WHEEL_QUERY, 13714, 94.0664),)}
"""Table name -> (query, official index of the best arch, its accuracy); `_OFFICIAL` for any other table."""


def load_ground_truth(path: Path | None = None) -> GroundTruth:
    """The table in a Parquet file, or the embedded default.

    The default is the `analog-nasbench` wheel: an independent training of all 15,625 archs on CIFAR-10, used
    as cifar10/test/200/mean. Its tau with the official numbers is .926.

    Raises:
        DataError: A file is missing or corrupt.
    """
    return load_analog_nasbench() if path is None else load_parquet(Path(path))


def import_table(path: Path, out: Path, costs: Path | None = None) -> GroundTruth:
    """Check a benchmark and write it to `out` in canonical form: all accuracies and costs that the schema knows.

    Args:
        path: A Parquet or CSV table in the documented schema (see `table`), a `NAS-Bench-201-v1_*.pth`, or the folder
            of NATS-Bench's topology space, such as `NATS-tss-v1_0-3ffb9-simple` (see `official`).
        out: File to write; its name ends in .parquet.
        costs: Parquet or CSV file whose costs join by arch, such as HW-NAS-Bench's latencies.

    Raises:
        ValueError: `path` is none of these, `out` has another name, or `costs` has no costs, some that the table has,
            or none of its archs.
        DataError: A file is missing, corrupt, hostile or breaks the schema, or the accuracies are not percent.
    """
    path, out = Path(path), Path(out)
    if out.suffix != ".parquet":
        raise ValueError(f"cannot write {out.name!r}: a table is a Parquet file; its name must end in .parquet")
    truth = _reader(path)(path)
    if not truth.source:
        source = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        truth = GroundTruth(truth.name, truth.arch_strs, truth.columns, source, truth.costs)
    _refuse_other_units(truth, path)
    if costs is not None:
        truth = truth.with_costs(Path(costs))
    truth.save(out)
    return truth


def _refuse_other_units(truth: GroundTruth, path: Path) -> None:
    try:
        check_percent(truth)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if problems := _order_problems(truth):
        raise DataError(f"{path}: {problems[0]}")


def left_out(path: Path) -> list[str]:
    """Columns of a Parquet or CSV table that `import_table` does not read, as they are not of the schema.

    Raises:
        DataError: The file is damaged.
    """
    path = Path(path)
    if path.is_dir() or path.suffix not in (".parquet", ".csv"):
        return []
    names = read_columns(path, lambda _: False).names
    return [name for name in names if not in_schema(name) and not name.startswith("__index_level_")]


def _reader(path: Path) -> Callable[[Path], GroundTruth]:
    if path.is_dir():
        return read_nats
    readers = {".parquet": load_parquet, ".csv": _load_csv, ".pth": read_pth}
    if path.suffix in readers:
        return readers[path.suffix]
    packed = path.name.startswith("NATS-") or path.suffix in (".pbz2", ".tar")
    hint = "; of NATS-Bench unpack NATS-tss-v1_0-3ffb9-simple.tar and name the whole folder" if packed else ""
    raise ValueError(
        f"cannot import {path.name!r}: its name must end in .parquet or .csv, in .pth (NAS-Bench-201), or be a folder "
        f"of NATS-Bench records{hint}"
    )


def load_analog_nasbench(data: Path | None = None, cache: Path | None = None) -> GroundTruth:
    """The default table, from the installed wheel; the first call leaves a Parquet copy that later calls read.

    Args:
        data: The wheel's `data.anb`; None = where the wheel is installed.
        cache: Folder of the copy; None = `tables` under `cache_home()`.

    Raises:
        DataError: The wheel is not installed, or its file is not the pickle we know how to read.
    """
    data = _wheel_file() if data is None else data
    try:
        content = data.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {data} ({error.strerror}); reinstall {WHEEL}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"{WHEEL}-{_WHEEL_FORMAT}-{sha256}.parquet"
    try:
        truth = load_parquet(_tables(cache) / name)
        if truth.source.get("sha256") == sha256:
            return truth
    except (DataError, NoHomeError):
        pass  # never written or damaged: it is only a copy
    try:
        truth = _read_wheel(content, {"file": data.name, "sha256": sha256})
    except Exception as error:  # a corrupt pickle may raise nearly anything
        why = f"{type(error).__name__}: {error}"
        raise DataError(f"{data} is not the data of {WHEEL} 0.1.3 ({why}); reinstall it") from error
    try:
        truth.save(_tables(cache) / name)
    except NoHomeError as error:
        warnings.warn(f"cannot keep a copy of the ground truth: {error}", stacklevel=2)
    except OSError as error:
        warnings.warn(f"cannot keep a copy of the ground truth ({error}); set SENAS_HOME", stacklevel=2)
    return truth


def _tables(cache: Path | None) -> Path:
    return cache_home() / "tables" if cache is None else cache


def wheel_arch(codes: tuple[int, ...]) -> tuple[int, ...]:
    """The NAS-Bench-201 arch that a tuple of the wheel means."""
    return tuple(WHEEL_OPERATORS[codes[WHEEL_EDGES.index(edge)]] for edge in EDGES)


def read_wheel_pickle(content: bytes) -> dict[tuple[int, ...], Any]:
    """The wheel's records by its own arch tuples, each with an attribute `baseline_accuracy`, percent.

    The wheel's two classes become empty holders; a pickle that names anything else is refused before it is called.

    Raises:
        pickle.UnpicklingError: The pickle names another class or function.
        Exception: Whatever else a corrupt pickle makes `pickle` raise.
    """
    return _WheelUnpickler(io.BytesIO(content)).load()


def benchmark_verify(path: Path | None = None) -> list[str]:
    """What is wrong with a table, one line each; empty if nothing is.

    Beyond what loading checks (schema, values, hashes, percent): every column measured something, archs are not in the
    opposite order of what is known, nothing is below chance, disconnected archs sit at chance, the best arch of each
    200-epoch column is the known one (for the official numbers and for the default table), and where a table has
    more than one of them, single seeds lie around their mean and `valtest` between `val` and `test`.
    """
    try:
        truth = load_ground_truth(path)
    except DataError as error:
        return [str(error)]
    checks = (_empty_problems, _order_problems, _chance_problems, _optimum_problems, _mean_problems)
    return [problem for check in checks for problem in check(truth)]


def _empty_problems(truth: GroundTruth) -> list[str]:
    return [f"{query}: no arch was measured" for query, values in truth.columns.items() if np.isnan(values).all()]


def _order_problems(truth: GroundTruth) -> list[str]:
    """Columns whose order is the opposite of the default table's, as that of error rates is."""
    if truth.name == WHEEL or len(truth.arch_strs) < SHOWS_AN_ORDER:
        return []
    try:
        default = load_analog_nasbench()
    except DataError as error:
        warnings.warn(f"the order of {truth.name!r} is compared with nothing known: {error}", stacklevel=2)
        return []
    known = default.accuracy(WHEEL_QUERY, truth.arch_strs)
    reasons = {query: why_opposite(values, known) for query, values in truth.columns.items()}
    return [f"column {query}: {why}" for query, why in reasons.items() if why]


def _chance_problems(truth: GroundTruth) -> list[str]:
    constant = compute_constants(truth.arch_strs)
    problems = []
    for query, values in truth.columns.items():
        chance = CHANCE[query.dataset]
        off = int((abs(values[constant] - chance) > 0.05 * chance).sum())
        if off:
            problems.append(
                f"{query}: {off} of {int(constant.sum())} disconnected archs are not at chance ({chance:.3g})"
            )
        low = int((values[~constant] < chance - SAMPLING).sum())
        if low:
            problems.append(f"{query}: {low} connected archs are below chance ({chance:.3g}); leave failed ones empty")
    return problems


def _optimum_problems(truth: GroundTruth) -> list[str]:
    row = {text: row for row, text in enumerate(truth.arch_strs)}
    name_of = list(official_index())
    problems = []
    for query, index, accuracy in _OPTIMA.get(truth.name, _OFFICIAL):
        if not truth.has(query) or np.isnan(truth.columns[query]).all():
            continue
        best = truth.best(query)[1]
        found = truth.columns[query][row[name_of[index]]] if name_of[index] in row else np.nan
        if abs(found - accuracy) > 0.01:
            problems.append(f"{query}: index {index} has {found:.4f} where {accuracy} is known")
        elif best > accuracy + (_BETTER if np.isnan(found) else 0.01):
            problems.append(f"{query}: best is {best:.4f}, above the known {accuracy} of index {index}")
    return problems


def _mean_problems(truth: GroundTruth) -> list[str]:
    problems = []
    for query, values in truth.columns.items():
        if query.split == "valtest":
            parts = [replace(query, split=split) for split in ("val", "test")]
        elif query.seeds == "mean":
            parts = [one for one in truth.columns if one.seeds != "mean" and replace(one, seeds="mean") == query]
        else:
            continue
        if not all(map(truth.has, parts)) or not parts:
            continue
        of_parts = np.stack([truth.columns[part] for part in parts])
        low, high = np.fmin.reduce(of_parts), np.fmax.reduce(of_parts)  # neither minds NaN
        off = int(((values < low - 0.01) | (values > high + 0.01)).sum())
        if off:
            problems.append(f"{query}: {off} archs are not between {' and '.join(map(str, parts))}")
    return problems


def _load_csv(path: Path) -> GroundTruth:
    try:
        columns = read_csv(path, in_schema, as_text=("arch_str",))
    except FileNotFoundError:
        raise DataError(f"no ground-truth table at {path}; give a CSV file in the documented schema") from None
    return from_columns(columns, path)


def _wheel_file() -> Path:
    """Where the wheel's data lie. The package itself cannot be imported: it needs the removed `pkg_resources`."""
    try:
        return Path(str(metadata.distribution(WHEEL).locate_file("analognasbench/data.anb")))
    except metadata.PackageNotFoundError:
        raise DataError(f"the default ground truth needs `pip install {WHEEL}`; or name a Parquet table") from None


def _read_wheel(content: bytes, source: dict[str, str]) -> GroundTruth:
    accuracy = {codes: float(record.baseline_accuracy) for codes, record in read_wheel_pickle(content).items()}
    if accuracy.keys() != set(itertools.product(range(5), repeat=6)):
        raise ValueError(f"{len(accuracy)} archs that are not the space's 15,625")
    archs = np.array([wheel_arch(codes) for codes in accuracy], np.int8)
    values = np.array(list(accuracy.values()))
    if ((values == CHANCE["cifar10"]) != (prune(archs) == NONE).all(axis=1)).any():
        raise ValueError("the archs at chance are not the disconnected ones, so its operator codes are unknown")
    return GroundTruth(WHEEL, tuple(arch_to_str(arch) for arch in archs.tolist()), {WHEEL_QUERY: values}, source)


class _Holder:
    """Stands in for the wheel's classes: attributes, no behaviour."""


class _WheelUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if module == "analognasbench.data" and name in ("Architecture", "DriftMeasurement"):
            return _Holder
        raise pickle.UnpicklingError(f"refused {module}.{name}")
