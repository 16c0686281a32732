"""How well a file of scores ranks archs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from senas_bench.analysis.join import final_scores
from senas_bench.analysis.metrics import correlation
from senas_bench.analysis.metrics.bootstrap import MIN_ARCHS, bootstrap_interval, bounds, defined
from senas_bench.analysis.standing import standing
from senas_bench.errors import DataError
from senas_bench.groundtruth.columns import read_columns
from senas_bench.spaces.nasbench201 import NB201, arch_from_str, arch_to_str

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth, Query

RUN_COLUMNS = {"set", "stage", "epoch", "arch_str", "tier", "score"}
"""Of the Parquet file of a run, which holds all its rankings."""


def read_scores(path: Path) -> pd.DataFrame:
    """Read a file of one score per arch.

    Args:
        path: CSV or Parquet with columns `arch_str` (official NAS-Bench-201 string) and `score` (higher is better); or
            the Parquet file of a run in a results folder, whose last ranking is taken, see `join.final_scores`.

    Returns:
        `arch_str` and `score` in the file's order; float64, or whole numbers where float64 would make different scores
        equal. Other columns are dropped.

    Raises:
        FileNotFoundError: No such file.
        DataError: The file cannot be parsed, or has a column twice.
        ValueError: A column is missing, there are no rows, or an arch or score is bad or repeated; rows count from 1.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path}: suffix {path.suffix!r}; give a .csv or .parquet file with columns arch_str, score")
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; give a .csv or .parquet file with columns arch_str, score")
    try:
        table, names = read_columns(path, ("arch_str", "score").__contains__, as_text=("arch_str", "score"))
    except DataError as error:
        raise DataError(f"{error}; write it again") from error
    if path.suffix == ".parquet" and set(names) >= RUN_COLUMNS:
        return _of_run(path)
    missing = [name for name in ("arch_str", "score") if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; it has: {', '.join(map(repr, names))}")
    if not len(table):
        raise ValueError(f"{path}: no rows; give one per arch")
    archs = [_checked_arch(path, row, text) for row, text in enumerate(table["arch_str"].to_pylist(), start=1)]
    first: dict[str, int] = {}
    for row, arch in enumerate(archs, start=1):
        if first.setdefault(arch, row) != row:
            raise ValueError(f"{path}: rows {first[arch]} and {row} both score {arch}; give one row per arch")
    values = [_checked_score(path, row, value) for row, value in enumerate(table["score"].to_pylist(), start=1)]
    return pd.DataFrame({"arch_str": archs, "score": _kept_apart(values)})


def _of_run(path: Path) -> pd.DataFrame:
    """The last ranking in the file of a run."""
    try:
        found: pd.DataFrame = final_scores(pd.read_parquet(path)).drop(columns="estimate")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for row, text in enumerate(found["arch_str"], start=1):
        _checked_arch(path, row, text)
    return found


def _checked_score(path: Path, row: int, value: Any) -> int | float | Decimal:
    """A number, whole ones exactly; text is read, as CSV has nothing else."""
    number = _number(value) if isinstance(value, str) else value
    if isinstance(number, int | float | Decimal) and not isinstance(number, bool) and number == number:
        return number
    shown = "nan" if value is None else str(value)
    raise ValueError(f"{path}: row {row} has score {shown!r}; give a number for every arch")


def _number(text: str) -> int | float:
    """NaN for what is no number."""
    if re.fullmatch(r"\s*[+-]?[0-9]{1,4000}\s*", text):
        return int(text)
    try:
        return float("nan" if "_" in text else text)
    except ValueError:
        return float("nan")


def _kept_apart(values: list[Any]) -> np.ndarray:
    """Numbers as float64, or as they are where that makes different ones equal."""
    try:
        floats = np.array([float(value) for value in values], np.float64)
    except OverflowError:
        return np.array(values, object)
    if len(set(values)) == len(np.unique(floats)):
        return floats
    exact = np.array(values)
    return exact if exact.dtype.kind in "iu" else np.array(values, object)


def _checked_arch(path: Path, row: int, text: Any) -> str:
    try:
        return arch_to_str(arch_from_str(text if isinstance(text, str) else ""))
    except ValueError as error:
        raise ValueError(f"{path}: row {row}: {error}") from None


def _in_order(scores: ArrayLike) -> np.ndarray:
    """`(n,)` float64 with the order and the ties of the scores: themselves, or else their ranks.

    Raises:
        ValueError: They are no numbers.
    """
    given = np.asarray(scores)
    if given.dtype.kind not in "iufO":
        raise ValueError(f"scores must be numbers, higher is better; these are {given.dtype.name}")
    if given.ndim != 1 or (given.dtype.kind == "f" and not _has_large(scores)):
        return given.astype(np.float64)
    values = list(scores) if isinstance(scores, list | tuple) and given.dtype.kind == "f" else given.tolist()
    bad = [v for v in values if isinstance(v, bool | np.bool_) or not isinstance(v, Real | Decimal)]
    if bad:
        raise ValueError(f"scores must be numbers, higher is better; found {type(bad[0]).__name__} {bad[0]!s:.40}")
    apart = _kept_apart(values)
    if apart.dtype.kind == "f" or any(value != value for value in values):
        return apart.astype(np.float64)
    return np.unique(apart, return_inverse=True)[1].astype(np.float64)


def _has_large(scores: ArrayLike) -> bool:
    """Whether it is a list with whole numbers that numpy made float64 because others are fractions, and rounded."""
    return isinstance(scores, list | tuple) and any(isinstance(v, int) and abs(v) > 2**53 for v in scores)


def evaluate_ranking(
    arch_strs: Sequence[str],
    scores: ArrayLike,
    truth: GroundTruth,
    query: Query,
    ks: Sequence[int] = (10, 100),
    rng: np.random.Generator | int = 0,
    n_resamples: int = 1000,
) -> dict[str, Any]:
    """How well scores rank archs, as JSON values; None where a measure is undefined (constant scores, k > n).

    Args:
        arch_strs: `(n,)` distinct archs that the truth has.
        scores: `(n,)`, higher is better; their order counts, and is kept of whole numbers of any size.
        truth: Where their accuracy is looked up.
        query: Dataset, split, epochs and seeds of that accuracy.
        ks: Sizes of the top for `precision@k` (0 to 1) and `best_rank@k` (1 = best of these n archs).
        rng: Generator or seed of the bootstrap over archs.
        n_resamples: Resamples behind the two 95% intervals; None below 10 archs.

    Returns:
        Also `tau_top10`, tau among the truly best tenth of these n archs, None of fewer than 100; `regret`, percent
        points below the best of these n archs, `regret_to_optimum`, below the best of the whole truth, and `pick`, the
        first of the `pick_ties` top-scored archs. Ties at the top count with their mean.

    Raises:
        ValueError: Fewer than 2 archs, lengths that differ, NaN, scores that are no numbers (dates, text, True), an
            arch twice or not in the truth.
    """
    arch_strs, scores = list(arch_strs), _in_order(scores)
    if len(set(arch_strs)) < len(arch_strs):
        raise ValueError(f"arch {Counter(arch_strs).most_common(1)[0][0]} is scored twice; give one score per arch")
    accuracy = np.asarray(truth.accuracy(query, arch_strs), np.float64)
    correlations = _correlations(scores, accuracy, np.random.default_rng(rng), n_resamples)
    n, top = len(scores), scores == scores.max()
    result = {
        "ground_truth": truth.name,
        **{field: getattr(query, field) for field in ("dataset", "split", "epochs", "seeds")},
        "n": n,
        **correlations,
    }
    for k in ks:
        rank, fraction = correlation.best_rank_at_k(scores, accuracy, k) if k <= n else (None, None)
        result[f"precision@{k}"] = correlation.precision_at_k(scores, accuracy, k) if k <= n else None
        result |= {f"best_rank@{k}": rank, f"best_rank_fraction@{k}": fraction}
    pick_accuracy = float(accuracy[top].mean())
    result |= {"regret": float(accuracy.max()) - pick_accuracy}
    result |= {"regret_to_optimum": float(truth.best(query)[1]) - pick_accuracy}
    result |= {"pick": arch_strs[int(top.argmax())], "pick_accuracy": pick_accuracy, "pick_ties": int(top.sum())}
    return result | {"notes": _notes(n, constant=result["tau_b"] is None)}


def _correlations(
    scores: np.ndarray, accuracy: np.ndarray, rng: np.random.Generator, n_resamples: int
) -> dict[str, Any]:
    """Rank correlations of scores and accuracy, two of them with a 95% interval over archs."""
    measures = (correlation.kendall_tau, correlation.spearman)
    tau, rho, weighted = (measure(scores, accuracy) for measure in (*measures, correlation.weighted_tau))
    intervals = bootstrap_interval(
        lambda index: [measure(scores[index], accuracy[index]) for measure in measures],
        len(scores),
        rng,
        n_resamples=n_resamples,
    )
    tau_interval, rho_interval = (None, None) if intervals is None else map(bounds, intervals.T)
    return {
        "tau_b": defined(tau),
        "tau_b_ci95": tau_interval,
        "spearman": defined(rho),
        "spearman_ci95": rho_interval,
        "weighted_tau": defined(weighted),
        "tau_top10": defined(correlation.top_tau(scores, accuracy)),
    }


def _notes(n: int, *, constant: bool) -> list[str]:
    """What a reader must know of measures over n archs."""
    few = n < MIN_ARCHS
    notes = {
        "intervals: bootstrap over archs; they do not cover the randomness of training": not few,
        f"no interval below {MIN_ARCHS} archs": few,
        f"the {n} archs are the whole space: tau is exact for these scores, the interval only shows its sensitivity": (
            n == NB201.size
        ),
        "the scores or the truth are constant: correlations are undefined": constant,
    }
    return [note for note, applies in notes.items() if applies]


def evaluate_rankings(
    tables: Mapping[str, pd.DataFrame],
    truth: GroundTruth,
    query: Query,
    ks: Sequence[int] = (10, 100),
    rng: int = 0,
    n_resamples: int = 1000,
) -> dict[str, Any]:
    """How well several scores rank archs, each by itself and two by two on the archs that both have.

    Args:
        tables: Columns `arch_str` and `score`, by a name.
        truth, query, ks, n_resamples: As in `evaluate_ranking`.
        rng: Seed of every bootstrap.

    Returns:
        `files`, what `evaluate_ranking` gives by name and its `standing` on the ladder, and `pairs`, what
        `paired_difference` gives for each two.

    Raises:
        ValueError: As `evaluate_ranking`.
    """
    files = {}
    for name, table in tables.items():
        archs, scores = table["arch_str"].tolist(), table["score"].to_numpy()
        files[name] = evaluate_ranking(archs, scores, truth, query, ks, rng, n_resamples)
        files[name]["standing"] = standing(archs, truth, query)
    pairs = [
        {"a": a, "b": b, **paired_difference(tables[a], tables[b], truth, query, rng, n_resamples)}
        for a, b in combinations(tables, 2)
    ]
    return {"files": files, "pairs": pairs}


def paired_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    truth: GroundTruth,
    query: Query,
    rng: np.random.Generator | int = 0,
    n_resamples: int = 1000,
) -> dict[str, Any]:
    """Tau-b of two scores on the archs that both have, and B minus A with a 95% bootstrap interval over those archs.

    Each resample takes the same archs for both, so what makes archs easy or hard to rank cancels.

    Args:
        a, b: Columns `arch_str` and `score`; distinct archs.
        truth, query, rng, n_resamples: As in `evaluate_ranking`.

    Returns:
        `n` common archs, `tau_of_a`, `tau_of_b`, `difference`, `difference_ci95`; None where undefined: fewer than 2
        archs, constant scores; the interval below 10 archs.
    """
    common: Any = a.merge(b, on="arch_str", suffixes=("_a", "_b"), validate="one_to_one")
    n = len(common)
    if n < 2:
        return {"n": n} | dict.fromkeys(("tau_of_a", "tau_of_b", "difference", "difference_ci95"))
    sides = [_in_order(common[name].to_numpy()) for name in ("score_a", "score_b")]
    accuracy = np.asarray(truth.accuracy(query, common["arch_str"].tolist()), np.float64)

    def taus(index: np.ndarray) -> list[float]:
        return [correlation.kendall_tau(side[index], accuracy[index]) for side in sides]

    def difference(index: np.ndarray) -> float:
        of_a, of_b = taus(index)
        return of_b - of_a

    of_a, of_b = taus(np.arange(n))
    interval = bootstrap_interval(difference, n, np.random.default_rng(rng), n_resamples=n_resamples)
    return {
        "n": n,
        "tau_of_a": defined(of_a),
        "tau_of_b": defined(of_b),
        "difference": defined(float(of_b - of_a)),
        "difference_ci95": bounds(interval),
    }
