"""Eq. 7 without training: what each reading of it keeps, by the best importance there is and by that of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.join import (
    Scores,
    accuracy_queries,
    by_method,
    one_setting,
    only_primary,
    primary_column,
    setting_meta,
)
from senas_bench.analysis.metrics.operators import OperatorTruth, operator_truth, survivors
from senas_bench.analysis.metrics.statistics import over_seeds
from senas_bench.analysis.output.formats import Table, fixed, listed, span, words
from senas_bench.analysis.output.notes import COLUMNS, RUNS, SETTING
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.style import facts_of, of_kind, shown_as, tuned
from senas_bench.experiments.spec import RunRecord
from senas_bench.groundtruth import Query
from senas_bench.ranking import ESTIMATORS, estimator_of
from senas_bench.shrinking.se_nas import operator_scores
from senas_bench.shrinking.shrink import shrink
from senas_bench.shrinking.si import selection_importance
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201, arch_to_str, lexicographic_codes, prune

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth

TITLE = "Eq. 7: what each reading of it keeps of the best operators"
DROP = 10
"""Operators that each of the two shrinks drops, as the paper on NAS-Bench-201."""
Reading = Callable[[Mapping[tuple[int, int], float]], Mapping[tuple[int, int], float]]
READINGS: dict[str, Reading] = {
    "x / mean": partial(operator_scores, normalizer="mean"),
    "minmax": partial(operator_scores, normalizer="minmax"),
    "SI alone": lambda importance: importance,
    "within-edge": partial(operator_scores, normalizer="within-edge"),
}
MEASURES = {
    "first_top_10": "top 10, 1st",
    "first_top_21": "top 21, 1st",
    "second_top_10": "top 10, 2nd",
    "space_best": "best left",
    "space_mean": "mean left",
    "archs": "archs left",
    "functions": "functions",
}
"""What is measured of the operators alive, and its column; after the second shrink where it does not say."""
TRUTH, SHORT = "truth", "12 epochs"


def methods_shown() -> list[str]:
    """Methods whose supernet estimates the performance of archs, which is what SI is a mean of."""
    return of_kind(lambda method: method.trains and method.ranks and hasattr(method, "estimator"))


def render_eq7(
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """What two shrinks of ten operators keep, by each reading of Eq. 7 and each source of SI (docs/method.md 2.1).

    SI(o) is the mean performance of all archs of the present space that contain o: true accuracy, which no supernet
    can beat; the benchmark's accuracy after 12 epochs; or what the supernet of a finished run gave in its ranking
    before anything was dropped. That ranks the archs of the smaller space too, with the weights as they were then.
    Log-likelihoods enter as likelihoods, and scores that are not all positive as percentiles in (0, 1]. Where a run
    ranked a sample, only the first shrink is known.

    Args, raises: As `table3.render_table3`; there may be no records.
    """
    queries = accuracy_queries(truth)
    setting = one_setting(records) if records else {}
    column = primary_column(queries, setting.get("images", "cifar10"))
    operators, archs = operator_truth(truth, column), list(map(arch_to_str, NB201))
    accuracy = np.asarray(truth.accuracy(queries[column], archs))
    short = Query(queries[column].dataset, "val", 12, "mean")
    sources = {TRUTH: accuracy}
    if short in truth.queries():
        sources[SHORT] = np.asarray(truth.accuracy(short, archs))
    rows = [
        _row(reading, source, [kept(values, READINGS[reading], operators, accuracy)], column)
        for source, values in sources.items()
        for reading in READINGS
    ]
    groups = by_method(records, methods, methods_shown()) if records else {}
    found = {method: _performances(group, scores) for method, group in groups.items()}
    rows += [
        _row(
            reading,
            method,
            [{"seed": seed, **kept(p, READINGS[reading], operators, accuracy)} for seed, p in own.items()],
            column,
        )
        for method, own in found.items()
        for reading in (READINGS if own else ())
    ]
    seeds = [run["seed"] for row in rows for run in row["per_seed"]]
    meta = {"title": TITLE, **setting_meta(setting, truth, seeds), "column": column, "rows": rows}
    notes = {
        SETTING: _setting_notes(meta),
        COLUMNS: _column_notes(meta),
        RUNS: _source_notes(meta, short, [method for method, own in found.items() if not own]),
    }
    return Table("eq7", _display(rows), notes, meta, aside=("archs left", "functions"))


def kept(
    performance: np.ndarray, reading: Reading, operators: OperatorTruth, accuracy: np.ndarray
) -> dict[str, float | None]:
    """What is alive after each of two shrinks.

    Args:
        performance: `(archs,)` of the whole space in lexicographic order; NaN where it is not known.
        accuracy: `(archs,)` the truth, percent.

    Returns:
        By the names of `MEASURES`; None for what the second shrink leaves where archs have no performance.
    """
    archs = NB201.archs()
    first = shrink(NB201, reading(importance_of(NB201, archs, performance)), DROP)
    alive = survivors(first.candidates, operators)
    measured: dict[str, float | None] = dict.fromkeys(MEASURES)
    measured |= {f"first_top_{top}": round(top * alive[f"recall_{top}"]) for top in (10, 21)}
    if np.isnan(performance).any():
        return measured
    second = shrink(first, reading(importance_of(first, archs, performance)), DROP)
    left = second.archs()
    measured["second_top_10"] = round(10 * survivors(second.candidates, operators)["recall_10"])
    true = accuracy[lexicographic_codes(left)]
    measured |= {"space_best": float(true.max()), "space_mean": float(true.mean())}
    return measured | {"archs": len(left), "functions": len(np.unique(prune(left), axis=0))}


def importance_of(space: SearchSpace, archs: np.ndarray, performance: np.ndarray) -> dict[tuple[int, int], float]:
    """Eq. 5 over all archs of a space whose performance is known.

    Args:
        archs: `(n, edges)` of the whole space. performance: `(n,)`, NaN where it is not known.
    """
    inside = space.contains_rows(archs) & ~np.isnan(performance)
    rows = {(edge, op): np.flatnonzero(inside & (archs[:, edge] == op)) for edge, op in space.alive()}
    return selection_importance(rows, performance)


def _performances(records: Sequence[RunRecord], scores: Scores) -> dict[int, np.ndarray]:
    """By seed, `(archs,)` performance of the whole space before anything was dropped; NaN where it was not ranked."""
    found = {}
    for record in records:
        table = scores(record) if record.scores_sha256 else pd.DataFrame({"set": [], "stage": []})
        ranked: Any = table[table["set"].isin(["full", "sample"]) & (table["stage"] == 1)]
        if len(ranked) < 2 or (ranked["tier"] > 0).any():
            continue
        last = ranked[ranked["epoch"] == ranked["epoch"].max()].drop_duplicates("arch_str")
        values = pd.Series(_positive(last["score"].to_numpy(float), record), index=last["arch_str"].to_numpy())
        found[record.spec.seed] = values.reindex(list(map(arch_to_str, NB201))).to_numpy()
    return found


def _positive(values: np.ndarray, record: RunRecord) -> np.ndarray:
    """Scores as Eq. 7 takes them: log-likelihoods as likelihoods, others that are not positive as percentiles."""
    named = record.spec.settings.get("method", {}).get("estimator")
    own = getattr(facts_of(record.spec.method), "estimator", None)  # a strategy with its fields has no name
    known = named if isinstance(named, str) and named in ESTIMATORS else own
    if known is not None and estimator_of(known).nats:
        return np.exp(values)
    return values if (values > 0).all() else pd.Series(values).rank(pct=True).to_numpy()


def _row(reading: str, source: str, runs: list[dict[str, Any]], column: str) -> dict[str, Any]:
    row: dict[str, Any] = {"ranking": f"{reading}, SI of {source}", "reading": reading, "source": source}
    row["n"] = len(runs) if "seed" in runs[0] else 0
    for name in MEASURES:
        values = [run[name] for run in runs if run[name] is not None]
        summary = over_seeds(values) if values else None
        row |= {f"{name}_mean": summary.mean if summary else None, f"{name}_std": summary.std if summary else None}
    row |= {"fits_fig6": _fits_fig6(row), "fits_table3": _fits_table3(row, column)}
    return row | {"per_seed": runs if row["n"] else []}


def _fits_fig6(row: Mapping[str, Any]) -> bool | None:
    """What the paper says of its figure: most of the 21 best are alive after the first shrink, most of the 10 best
    after the second."""
    first, second = row["first_top_21_mean"], row["second_top_10_mean"]
    return None if second is None else first > 21 / 2 and second > 10 / 2


def _fits_table3(row: Mapping[str, Any], column: str) -> bool | None:
    """Whether the archs left have a mean within two standard deviations of the paper's picks, and one as good; None
    where that is not known or the paper has no such column."""
    published, best, average = _published(column), row["space_best_mean"], row["space_mean_mean"]
    if published is None or best is None:
        return None
    mean, std = published
    return bool(best >= mean and abs(average - mean) <= 2 * std)


def _published(column: str) -> tuple[float, float] | None:
    """Accuracy of the paper's SE-NAS, mean and standard deviation over repeats, percent; None if it has no such
    column."""
    if column not in paper.COLUMNS:
        return None
    rows = {str(name): numbers for name, _, *numbers in paper.TABLE3}
    mean, std = rows["Ours"][paper.COLUMNS.index(column)]
    return mean, std or 0.0


def _setting_notes(meta: Mapping[str, Any]) -> list[str]:
    return [
        f"Ground truth {meta['ground_truth']} (sha256 {meta['ground_truth_sha256'][:12]}): {words(meta['column'])}, "
        "mean accuracy, 200 epochs, percent."
    ]


def _column_notes(meta: Mapping[str, Any]) -> list[str]:
    published = _published(meta["column"])
    fits = (
        "the paper has no such column"
        if published is None
        else "the archs left have a mean within two standard deviations of the paper's "
        f"{published[0]:.2f} ± {published[1]:.2f} ({words(meta['column'])}), and the best is no worse"
    )
    return [
        f"Two shrinks of {DROP} operators. Kept: of the operators that the truth ranks first, how many are alive after "
        "the first shrink, and after the second; best, mean and number of the archs then left, and of the functions "
        "that they are. Nothing is trained.",
        "x / mean and minmax: S = normalize(SI) / normalize(SC) with x / mean(x) and (x - mean) / (max - min). "
        "within-edge: (SI - mean of the edge) / sqrt(SC). SI: mean performance of all archs that contain an operator.",
        "Fits Fig. 6: most of the top 21 are alive after the first shrink and most of the top 10 after the second, as "
        f"the paper says. Fits Table 3: {fits}.",
    ]


def _source_notes(meta: Mapping[str, Any], short: Query, unranked: Sequence[str]) -> list[str]:
    sources = {row["source"] for row in meta["rows"]}
    notes = [f"{TRUTH}: SI from the truth itself, which no supernet beats."]
    if SHORT in sources:
        notes.append(f"{SHORT}: SI from {words(str(short))} of the benchmark, which a search may buy.")
    else:
        notes.append(f"No row of 12 epochs: {meta['ground_truth']} has no {short}.")
    if trained := [row for row in meta["rows"] if row["n"]]:
        notes.append(
            f"Preset {meta['preset']}, images {meta['images']}, seeds {listed(meta['seeds'])}, n = "
            f"{span([row['n'] for row in trained])}: SI from the ranking of a supernet before anything was dropped, "
            "for both shrinks; of a ranked sample the first alone is known. Means over seeds."
        )
        ours = tuned({row["source"] for row in trained})
        notes += [f"Tuned with CIFAR-10 truth in view: {', '.join(ours)}."] if ours else []
    return notes + ([f"No such ranking: {', '.join(unranked)}."] if unranked else [])


def _display(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    columns = {"reading": [row["reading"] for row in rows]}
    columns["SI of"] = [shown_as(row["source"]) for row in rows]
    columns["n"] = [str(row["n"] or "–") for row in rows]
    for name, label in MEASURES.items():
        columns[label] = [_cell(row, name) for row in rows]
    for name, label in (("fits_fig6", "fits Fig. 6"), ("fits_table3", "fits Table 3")):
        columns[label] = ["–" if row[name] is None else "yes" if row[name] else "no" for row in rows]
    return pd.DataFrame(columns)


def _cell(row: Mapping[str, Any], name: str) -> str:
    """Accuracies with two decimals; counts whole where there is one, with one decimal where it is a mean."""
    mean = row[f"{name}_mean"]
    return fixed(mean, 2 if name.startswith("space") else 1 if row["n"] > 1 else 0)


EQ7 = Artefact("eq7", TITLE, (), render_eq7, reads=only_primary, every_arch=True, also=methods_shown, alone=True)
