"""What a table holds, and what it knows of one arch, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from senas_bench.groundtruth.archs import official_index
from senas_bench.groundtruth.query import Query
from senas_bench.groundtruth.table import GroundTruth
from senas_bench.spaces.nasbench201 import NB201, arch_from_str, arch_to_str, official_archs


def benchmark_info(truth: GroundTruth) -> dict[str, Any]:
    """What a table holds, as JSON values: `name`, `sha256`, `source`, `archs`, `full_space`, and per
    column under `queries` its fields, how many archs are `measured` and the best of them; under `costs` how many
    archs have each."""
    queries = []
    for query, values in truth.columns.items():
        measured = int(np.isfinite(values).sum())
        arch, accuracy = truth.best(query) if measured else (None, None)
        best = {
            "best_arch": arch,
            "best_index": official_index().get(arch or ""),
            "best_accuracy": accuracy,
        }
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
    (row,) = truth.rows([arch_str])
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
