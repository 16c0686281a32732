"""The official benchmark files: NAS-Bench-201's `.pth` and NATS-Bench's folder of the topology space.

Both hold, for each arch and each length of training, the state of an `ArchResults`: per (model, seed) a `ResultsCount`
with what was measured after each epoch (package `nas-bench-201` 2.1, `nas_201_api/api_utils.py`). That package cannot
open its own file with torch 2.6 or later, whose `torch.load` refuses the numpy values in it, and it keeps everything
in memory, twice. So the record is read here, by `unpickle`: of a training the numbers after its last epoch, its
seconds and its latency are kept as soon as it is complete, and memory stays below the size of the file.

| model of the file | what | query |
|---|---|---|
| `cifar10-valid`, trained on 25,000 images | `x-valid` | cifar10, val |
| | `ori-test` | cifar10-valid, test |
| `cifar10`, trained on 50,000 images | `ori-test` | cifar10, test |
| `cifar100`, `ImageNet16-120` | `x-valid`, `x-test`, `ori-test` (both together) | val, test, valtest |
"""

from __future__ import annotations

import bz2
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from senas_bench.errors import DataError
from senas_bench.groundtruth.archs import official_index
from senas_bench.groundtruth.query import Query
from senas_bench.groundtruth.table import GroundTruth
from senas_bench.groundtruth.unpickle import WITHOUT_WEIGHTS, PickleStream, Unreadable

LICENCES = {
    "NAS-Bench-201": "NAS-Bench-201 by X. Dong and Y. Yang (ICLR 2020), whose repository is under the MIT licence",
    "NATS-Bench": "NATS-Bench by X. Dong, L. Liu, K. Musial and B. Gabrys (TPAMI 2021), whose repository is under the "
    "MIT licence",
}
_SETS = {
    ("cifar10-valid", "x-valid"): ("cifar10", "val"),
    ("cifar10-valid", "ori-test"): ("cifar10-valid", "test"),
    ("cifar10", "ori-test"): ("cifar10", "test"),
    **{
        (model, name): (model.lower(), split)
        for model in ("cifar100", "ImageNet16-120")
        for name, split in (("x-valid", "val"), ("x-test", "test"), ("ori-test", "valtest"))
    },
}
"""(model, evaluation set) of the files -> (dataset, split) of a query."""
_MODELS = {model for model, _ in _SETS}
_LENGTHS = {"less": 12, "full": 200, "12": 12, "200": 200}
"""Name of a training's length -> its epochs; the first two in `.pth` files."""
_TRIAL = {"name", "seed", "epochs", "eval_acc1es", "eval_times", "train_times", "latency"}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py; so is the order of the parts after it
_RECORD = re.compile(r"[0-9]{6}\.pickle\.pbz2")
_TOPOLOGY = "only the topology space can be imported: name a NATS-tss folder, such as NATS-tss-v1_0-3ffb9-simple"
_LONGEST_RECORD = 1 << 25
"""Bytes of a NATS-Bench record when decompressed: the official ones have .3 MB."""


class Trial(NamedTuple):
    """What is kept of one training.

    Args:
        model: Name of the files, such as `cifar10-valid`.
        seed: Training seed.
        epochs: Length of the training.
        accuracies: Evaluation set -> accuracy after the last epoch, percent.
        train_s: Mean seconds of a training epoch; NaN where not recorded.
        val_s: Seconds of one pass over the validation images, likewise.
        latency_s: Seconds of a batch of 256 on the authors' GPU, likewise.
    """

    model: str
    seed: int
    epochs: int
    accuracies: dict[str, float]
    train_s: float
    val_s: float
    latency_s: float


def fold_trial(state: dict[Any, Any]) -> bool:
    """Replace the state of a `ResultsCount` by its `Trial`, under the key `trial`, and free the rest.

    Returns:
        Whether it was one; any other dict is left alone.

    Raises:
        ValueError: Its last epoch is missing, or it has another shape.
    """
    if not state.keys() >= _TRIAL:
        return False
    trial = _trial(state)
    for part in state.values():
        if isinstance(part, dict):
            part.clear()  # the reader remembers it
    state.clear()
    state["trial"] = trial
    return True


def read_pth(path: Path) -> GroundTruth:
    """All of a `NAS-Bench-201-v1_*.pth`, or of a part of it, in torch's zip or legacy format.

    Raises:
        DataError: The file is missing, damaged, hostile or something else.
    """
    with _named(path, "NAS-Bench-201 file"), open(path, "rb") as file:
        content = _load_zip(file) if zipfile.is_zipfile(file) else _load_legacy(file)
        if isinstance(content, dict) and content.keys() & _LENGTHS.keys():
            raise Unreadable("it is the record of one arch", "name the file of all, NAS-Bench-201-v1_1-096897.pth")
        if not isinstance(content, dict) or not content.keys() >= {"meta_archs", "arch2infos", "evaluated_indexes"}:
            raise Unreadable("it lacks meta_archs, arch2infos or evaluated_indexes")
        names, infos = content["meta_archs"], content["arch2infos"]
        lost = sum(not isinstance(index, int) or index not in infos for index in content["evaluated_indexes"])
        if lost:
            raise Unreadable(f"{lost} archs that it lists as evaluated are not in it")
        records = ((index, infos[index]) for index in sorted(infos))
        source = {"file": path.name, "sha256": _sha256(file), "licence": LICENCES["NAS-Bench-201"]}
        return _table("nas-bench-201", _archs(records, names), source)


def read_nats(folder: Path) -> GroundTruth:
    """All records in a folder such as `NATS-tss-v1_0-3ffb9-simple`; archs without a file are left out.

    Its `sha256` is over the records in order of index: each one's name and its own sha256 in hex, a line each.

    Raises:
        DataError: There are no records, or one is damaged, hostile or something else: of the size space, or with the
            weights of a "full" archive.
    """
    files = _records(folder)
    if not files:
        raise DataError(f"{folder} has no NATS-Bench records, 000000.pickle.pbz2 and so on; {_instead_of(folder)}")
    digest, names = hashlib.sha256(), list(official_index())

    def record(path: Path) -> list[tuple[str, list[Trial]]]:
        with _named(path, "NATS-Bench record"):
            if path.stat().st_size > _LONGEST_RECORD:
                raise Unreadable(f"it has {path.stat().st_size >> 20} MB, as with trained weights", WITHOUT_WEIGHTS)
            content = path.read_bytes()
            digest.update(f"{path.name} {hashlib.sha256(content).hexdigest()}\n".encode())
            return list(_archs([(int(path.name[:6]), _load_bz2(content))], names))

    archs = [arch for path in files for arch in record(path)]
    source = {"file": folder.resolve().name, "sha256": digest.hexdigest(), "licence": LICENCES["NATS-Bench"]}
    with _named(folder, "NATS-Bench folder"):
        return _table("nats-bench", archs, source)


def _records(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _RECORD.fullmatch(path.name) and path.is_file())


def _instead_of(folder: Path) -> str:
    """What to do about a folder without records, by what is in it."""
    inside = sorted(folder.iterdir())
    for path in inside:
        if path.is_dir() and _records(path):
            return f"name the folder {path.name} in it"
    packed = [path.name for path in inside if ".tar" in path.suffixes or ".pbz2" in path.suffixes]
    found = f"it has {packed[0]}" if packed else f"it has {len(inside)} other files" if inside else "it is empty"
    return f"{found}: unpack NATS-tss-v1_0-3ffb9-simple.tar and name its folder"


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    """Every failure as one line with the path."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"no {kind} at {path}; give the unpacked official one") from None
    except Exception as error:  # damage may raise nearly anything
        why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        why = " ".join(why.split())[:200]
        advice = getattr(error, "advice", "") or "get the official one again"
        raise DataError(f"{path} is not a {kind} that can be read ({why}); {advice}") from error


def _load_zip(file: BinaryIO) -> Any:
    """The pickle in a torch file. It is read where it lies: nothing is ever unpacked to a path that a file names."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(name.startswith(("/", "\\")) or ".." in name for name in (member.filename for member in members)):
            raise Unreadable("a member whose path leads out of the archive")
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Unreadable("no single data.pkl in it, so torch did not write it")
        if pickles[0].compress_type != zipfile.ZIP_STORED or pickles[0].file_size != pickles[0].compress_size:
            raise Unreadable("its data.pkl is compressed, which torch never does")
        with archive.open(pickles[0]) as stream:
            content = PickleStream(stream, fold_trial).load()
            while stream.read(1 << 20):
                pass  # the checksum is compared at the end
            return content


def _load_legacy(file: BinaryIO) -> Any:
    """The object in a torch file from before 1.6: magic number, version, system, object, and storages, not read."""
    file.seek(0)
    stream = PickleStream(file, fold_trial)
    try:
        magic = stream.load()
    except Exception:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise Unreadable("it does not begin as a torch file")
    stream.load()
    stream.load()
    return stream.load()


def _load_bz2(compressed: bytes) -> Any:
    with bz2.open(io.BytesIO(compressed)) as stream:
        limited = _Limited(stream, _LONGEST_RECORD)
        content = PickleStream(limited, fold_trial).load()
        if limited.read(1):
            raise Unreadable("there is more after its record")
        return content


class _Limited:
    """A stream that refuses to be longer than `limit` bytes: a bomb ends here."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._limit = stream, limit

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._limit -= len(content)
        if self._limit < 0:
            why = f"it grows beyond {_LONGEST_RECORD >> 20} MB, as with trained weights"
            raise Unreadable(why, WITHOUT_WEIGHTS)
        return content


def _archs(records: Iterable[tuple[int, Any]], names: list[str]) -> Iterator[tuple[str, list[Trial]]]:
    """Arch string and trainings of each record, whose parts must agree with each other and with the official order.

    Raises:
        ValueError: They do not.
    """
    official = official_index()
    for index, record in records:
        if isinstance(index, int) and index >= len(official):
            raise Unreadable(f"index {index} where NAS-Bench-201 has {len(official):,} archs", _TOPOLOGY)
        name = names[index]
        if not isinstance(name, str) or official.get(name) != index:
            raise Unreadable(f"index {index} is {name!r:.100} in it, which is not NAS-Bench-201's order")
        trials = []
        for length, results in record.items():
            if results["arch_str"] != name:
                raise Unreadable(f"the record of index {index} is of {results['arch_str']!r:.100}, not of {name!r}")
            found = {key: state["trial"] for key, state in results["all_results"].items()}
            for key, trial in found.items():
                if (trial.model, trial.seed) != key or trial.epochs != _LENGTHS[length]:
                    there = f"{trial.model}, seed {trial.seed}, {trial.epochs} epochs"
                    raise Unreadable(f"index {index}: under {key}, {_LENGTHS[length]} epochs, it has {there}")
            trials += found.values()
        yield name, trials


def _trial(state: dict[str, Any]) -> Trial:
    if isinstance(state.get("arch_config"), dict) and "channels" in state["arch_config"]:
        raise Unreadable("it is of NATS-Bench's size space, whose archs differ in their channels", _TOPOLOGY)
    model, epochs = state["name"], state["epochs"]
    # Types first: a hash of tuples nested without end would overflow Python's stack.
    if not isinstance(model, str) or model not in _MODELS or type(epochs) is not int or epochs not in (12, 200):
        raise Unreadable(
            f"a training of {model!r:.40} for {epochs!r:.40} epochs; NAS-Bench-201's are {sorted(_MODELS)}"
        )
    last = {name: state["eval_acc1es"].get(f"{name}@{epochs - 1}") for of, name in _SETS if of == model}
    accuracies = {name: float(value) for name, value in last.items() if value is not None}
    if not accuracies:
        raise Unreadable(f"a training of {model} without an accuracy after epoch {epochs}")
    train, valid, latency = state["train_times"] or {}, state["eval_times"] or {}, state["latency"] or []
    if train and len(train) != epochs:
        raise Unreadable(f"{len(train)} training times for {epochs} epochs")
    of_epochs = (valid.get(f"x-valid@{epoch}") for epoch in range(epochs))
    means = _mean(train.values()), _mean(time for time in of_epochs if time is not None)
    return Trial(model, int(state["seed"]), epochs, accuracies, *means, _mean(latency))


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else float("nan")


def _table(name: str, archs: Iterable[tuple[str, list[Trial]]], source: dict[str, str]) -> GroundTruth:
    rows = list(archs)
    if not rows:
        raise Unreadable("no evaluated arch in it")
    columns: dict[Query, np.ndarray] = {}
    costs: dict[str, np.ndarray] = {}  # (2, n) sum and number
    for row, (_, trials) in enumerate(rows):
        for trial in trials:
            for on, accuracy in trial.accuracies.items():
                query = _query(trial.model, on, trial.epochs, trial.seed)
                if query not in columns:
                    columns[query] = np.full(len(rows), np.nan)
                columns[query][row] = accuracy
            for column, value in _costs(trial):
                if column not in costs:
                    costs[column] = np.zeros((2, len(rows)))
                if value > 0:
                    costs[column][:, row] += value, 1
    means = {query: _mean_of_seeds(query, columns) for query in map(_of_all_seeds, columns)}
    of_costs = {
        column: np.where(n > 0, total / np.maximum(n, 1), np.nan) for column, (total, n) in costs.items() if n.any()
    }
    queries = {query: values for query, values in sorted({**means, **columns}.items(), key=_order)}
    return GroundTruth(name, tuple(arch for arch, _ in rows), queries, source, dict(sorted(of_costs.items())))


@cache
def _query(model: str, on: str, epochs: int, seed: int) -> Query:
    return Query(*_SETS[model, on], epochs, seed)


def _costs(trial: Trial) -> list[tuple[str, float]]:
    """Costs are means over all trainings of a model: those of the last release are of one machine, equal in all."""
    names = {"train_s_per_epoch": trial.train_s, "val_s": trial.val_s, "latency_s": trial.latency_s}
    return [(f"{trial.model.lower()}_{name}", value) for name, value in names.items()]


def _of_all_seeds(query: Query) -> Query:
    return Query(query.dataset, query.split, query.epochs, "mean")


def _mean_of_seeds(query: Query, columns: dict[Query, np.ndarray]) -> np.ndarray:
    """`(n,)` mean over the seeds that an arch was trained with, as the benchmark's own interface averages."""
    seeds = np.stack([values for one, values in columns.items() if _of_all_seeds(one) == query])
    known = np.isfinite(seeds)
    return np.where(known.any(axis=0), np.nansum(seeds, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)


def _order(item: tuple[Query, np.ndarray]) -> tuple[str, int]:
    """The means first, then seed by seed."""
    query = item[0]
    return f"{query.dataset} {query.split} {query.epochs:3}", -1 if query.seeds == "mean" else query.seeds


def _sha256(file: io.BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
