"""What training an arch from scratch would have given and cost, for the searches that share no weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senas_bench.groundtruth.importers import load_ground_truth
from senas_bench.groundtruth.query import DATASETS, Query
from senas_bench.groundtruth.table import GroundTruth
from senas_bench.spaces import Arch
from senas_bench.spaces.nasbench201 import NB201, arch_to_str

EPOCHS = 12
STAND_IN = "cifar10"
"""What is trained on where the run's images are no benchmarked data set, such as the digits that stand for it."""


@dataclass(frozen=True, eq=False)
class BenchmarkTrainer:
    """Looks up the outcome of a 12-epoch training: `(arch) -> (validation accuracy in percent, training seconds)`.

    It holds nothing else of the table: no test accuracy, nothing after 200 epochs.

    Args:
        identity: JSON values that a spec records: the table's name and hash, the data set, and the hash of the
            seconds, which the table's own hash does not cover.
        outcomes: Per arch string.
    """

    identity: Mapping[str, Any]
    outcomes: Mapping[str, tuple[float, float]]

    def __call__(self, arch: Arch) -> tuple[float, float]:
        return self.outcomes[arch_to_str(arch)]


def load_trainer(path: Path | None, images: str) -> BenchmarkTrainer:
    """The trainer over a benchmark table, for a run on `images`.

    Beside `<dataset>_val_acc_12ep` the table needs the seconds of one training epoch, `<dataset>_train_s_per_epoch`
    (on cifar10 that of `cifar10-valid`, the model whose validation accuracy it is). A training costs 12 of those; the
    reference code adds one pass over the validation images, which the tables do not have.

    Raises:
        ValueError: The table lacks a column or an arch, or a time is not positive.
        DataError: The file is missing or corrupt.
    """
    dataset = images if images in DATASETS else STAND_IN
    query, column = Query(dataset, "val", EPOCHS, "mean"), seconds_column(dataset)
    truth = load_ground_truth(path)
    if not truth.has(query):
        raise _lacking(truth, str(query), query, column)
    if len(truth.arch_strs) < NB201.size:
        raise _lacking(truth, f"result of {NB201.size - len(truth.arch_strs)} archs", query, column)
    per_epoch = truth.costs.get(column)
    if per_epoch is None:
        raise _lacking(truth, column, query, column)
    if not (per_epoch > 0).all():
        raise ValueError(f"table {truth.name!r}: {column} must be positive seconds for every arch")
    identity = {
        "name": truth.name,
        "sha256": truth.sha256,
        "dataset": dataset,
        "epochs": EPOCHS,
        "seconds_sha256": hashlib.sha256(per_epoch.astype("<f8").tobytes()).hexdigest(),
    }
    outcomes = zip(truth.accuracy(query).tolist(), (EPOCHS * per_epoch).tolist(), strict=True)
    return BenchmarkTrainer(identity, dict(zip(truth.arch_strs, outcomes, strict=True)))


def seconds_column(dataset: str) -> str:
    """Column of the seconds that one training epoch takes."""
    return f"{'cifar10-valid' if dataset == 'cifar10' else dataset}_train_s_per_epoch"


def _lacking(truth: GroundTruth, what: str, query: Query, column: str) -> ValueError:
    return ValueError(
        f"training from scratch cannot be looked up: table {truth.name!r} has no {what}; give --ground-truth a Parquet "
        f"table with arch_str, {query} and {column} of all {NB201.size} archs"
    )
