"""Ranking correlation while a supernet trains and at its end: Figs. 7 and 8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.artefacts.convergence_figures import SETS, draw_fig7, draw_fig8
from senas_bench.analysis.join import (
    TOP_NOTE,
    Scores,
    accuracy_queries,
    by_method,
    distinct_functions,
    final_rankings,
    one_setting,
    run_key,
    setting_meta,
    setting_notes,
    tested_columns,
)
from senas_bench.analysis.metrics import correlation
from senas_bench.analysis.metrics.bootstrap import MIN_ARCHS, defined
from senas_bench.analysis.metrics.statistics import over_seeds
from senas_bench.analysis.output.formats import Table, fixed, interval_cell, listed, plus_minus, span, words
from senas_bench.analysis.output.notes import COLUMNS, RUNS, SETTING
from senas_bench.analysis.style import by_baseline, fitting, in_order, shown_as, style, tuned
from senas_bench.experiments.spec import RunRecord

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth, Query

TITLES = {
    "fig7": "Figure 7: ranking correlation over epochs",
    "fig8": "Figure 8: ranking correlation at the end, over seeds",
}


@dataclass(frozen=True)
class _Point:
    """Rankings of one run at one epoch, by set, each indexed by arch string, higher is better."""

    method: str
    seed: int
    epoch: int
    rankings: Mapping[str, pd.Series]


def default_methods(artefact: str) -> list[str]:
    """Methods that rank while they train, each after its baseline."""
    return by_baseline(fitting(artefact, lambda method: method.watched))


def render_fig7(
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """Fig. 7: tau over epochs, on the archs alive and on one fixed sample.

    The paper compares the archs alive in SE-NAS with the whole space of its baseline. Here every set has its own row:
    `current`, the archs alive (only of methods that shrink); `same`, the baseline of the same seed on those archs, as
    far as it scored them; `sample`, a fixed sample of the whole space, where an arch that was dropped ranks below by
    its last score; `full`, the whole space, at the end alone.

    Args, raises: As `table3.render_table3`.
    """
    return _render(
        "fig7",
        TITLES["fig7"],
        records,
        scores,
        truth,
        methods,
        lambda record: _points(record, scores(record)),
        _FIG7_NOTES,
    )


def render_fig8(
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """Fig. 8: the distribution over seeds of the final tau, on the sets of `render_fig7`.

    Args, raises: As `table3.render_table3`.
    """

    def last(record: RunRecord) -> list[_Point]:
        point = _points(record, scores(record))[-1]
        wanted = {"full", "current"} if "full" in point.rankings else {"sample", "current"}
        rankings = {name: ranking for name, ranking in point.rankings.items() if name in wanted}
        return [_Point(point.method, point.seed, point.epoch, rankings)]

    return _render("fig8", TITLES["fig8"], records, scores, truth, methods, last, _FIG8_NOTES)


_FIG7_NOTES = (
    "A point before the last scores with the weights of that moment; the last is the method's own final ranking.",
)
_FIG8_NOTES = ("The paper's figure compares current of SE-NAS with the whole space of SPOS.",)
FEW = ("current", "same")
"""Sets of so few archs that they may all be one function."""
_CURVES = {"curve": "sample", "curve-current": "current"}


def _points(record: RunRecord, table: pd.DataFrame) -> list[_Point]:
    """The rankings of a run by epoch, the final one last."""
    method, seed = run_key(record)
    seen: dict[int, dict[str, pd.Series]] = {}
    curves: Any = table[table["set"].isin(_CURVES)].groupby(["set", "epoch"], observed=True)
    for (name, epoch), group in curves:
        if len(group) > 1:
            ranks = correlation.tiered(group["tier"].to_numpy(), group["score"].to_numpy())
            seen.setdefault(int(epoch), {})[_CURVES[name]] = pd.Series(ranks, index=group["arch_str"].to_numpy())
    last = int(table["epoch"].to_numpy().max())
    final = {name: ranking for name, ranking in final_rankings(table).items() if name in SETS}
    seen[last] = seen.get(last, {}) | final
    return [_Point(method, seed, epoch, seen[epoch]) for epoch in sorted(seen)]


def _render(
    name: str,
    title: str,
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    methods: Sequence[str] | None,
    points_of: Callable[[RunRecord], list[_Point]],
    remarks: Iterable[str],
) -> Table:
    setting, queries = one_setting(records), accuracy_queries(truth)
    methods = methods or default_methods(name)
    shown = [record for group in by_method(records, methods, ()).values() for record in group]
    columns = tested_columns(queries, setting["images"])
    points = [point for record in shown if record.scores_sha256 for point in points_of(record)]
    points += _same_sets(points, _Whole(shown, scores))
    rows = []
    for column in columns:
        rows += _rows(points, column, truth, queries[column], default_methods(name))
    if not rows:
        raise ValueError(f"none of the runs ranks archs; {name} needs runs of {', '.join(default_methods(name))}")
    meta = {
        "title": title,
        **setting_meta(setting, truth, [point.seed for point in points]),
        "shrinks": _shrinks(shown),
        "rows": rows,
    }
    notes = {
        SETTING: setting_notes(meta, [row["n"] for row in rows], columns),
        COLUMNS: [*_set_notes(rows, setting["images"]), *remarks],
        RUNS: _gap_notes(shown, rows, methods),
    }
    return Table(name, _display(rows, name == "fig7"), notes, meta, aside=("functions", "seeds"))


class _Whole:
    """The widest final ranking of a run, read once and only when asked for."""

    def __init__(self, records: Sequence[RunRecord], scores: Scores) -> None:
        self._records = {run_key(record): record for record in records if record.scores_sha256}
        self._scores = scores
        self._read: dict[tuple[str, int], pd.Series | None] = {}

    def __call__(self, method: str, seed: int) -> pd.Series | None:
        key = method, seed
        if key not in self._read:
            record = self._records.get(key)
            final = final_rankings(self._scores(record)) if record else {}
            self._read[key] = final.get("full", final.get("sample"))
        return self._read[key]


def _same_sets(points: list[_Point], whole: Callable[[str, int], pd.Series | None]) -> list[_Point]:
    """The baselines on the archs alive in the run of the same seed, as far as they scored them at that epoch."""
    by_key = {(point.method, point.seed, point.epoch): point for point in points}
    last = {(point.method, point.seed): point.epoch for point in points}
    found = []
    for point in points:
        baseline, alive = style(point.method).against, point.rankings.get("current")
        if baseline is None or alive is None:
            continue
        other = by_key.get((baseline, point.seed, point.epoch))
        if other is None:
            continue
        at_end = last[baseline, point.seed] == point.epoch
        ranking = whole(baseline, point.seed) if at_end else other.rankings.get("sample")
        if ranking is None:
            continue
        shared = ranking.index.intersection(alive.index)
        if len(shared) == len(alive) or (not at_end and len(shared) >= MIN_ARCHS):
            found.append(_Point(baseline, point.seed, point.epoch, {"same": ranking.loc[shared]}))
    return found


def _rows(
    points: list[_Point], column: str, truth: GroundTruth, query: Query, first: list[str]
) -> list[dict[str, Any]]:
    """One row per method, set and epoch: mean over seeds; no interval below 10 archs or 3 seeds. Archs that are one
    function have no tau: whatever tells their accuracies apart in a benchmark is chance."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for point in points:
        for name, ranking in point.rankings.items():
            run = {"seed": point.seed, **taus_of(ranking, truth, query)}
            if name in FEW:
                run["functions"] = distinct_functions(ranking.index)
            if run.get("functions") == 1:
                run |= {"tau": None, "tau_top10": None}
            groups.setdefault((point.method, name, point.epoch), []).append(run)
    known = [*first, *in_order({method for method, _, _ in groups}.difference(first))]
    order = sorted(groups, key=lambda key: (known.index(key[0]), list(SETS).index(key[1]), key[2]))
    return [
        {"method": method, "set": name, "column": column, "epoch": epoch, **tau_summary(groups[method, name, epoch])}
        for method, name, epoch in order
    ]


def taus_of(ranking: pd.Series, truth: GroundTruth, query: Query) -> dict[str, Any]:
    """Of a ranking by arch string: `archs`, how many; `tau`, and `tau_top10` among their truly best tenth, None where
    undefined."""
    scores, accuracy = ranking.to_numpy(), truth.accuracy(query, list(ranking.index))
    tau, top = correlation.kendall_tau(scores, accuracy), correlation.top_tau(scores, accuracy)
    return {"archs": len(ranking), "tau": defined(tau), "tau_top10": defined(top)}


def tau_summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean tau over the runs that have one.

    Args:
        runs: Each with `seed`, `archs` (its number of archs), perhaps `functions` (how many they are), and `tau` and
            `tau_top10`, None or not there where undefined.

    Returns:
        `n` runs with a tau, `archs_min`, `archs_max`, `functions_min` and `functions_max` where runs have them,
        `tau_mean`, `tau_std` (ddof = 1), `tau_low`, `tau_high` (Student's 95% interval of the mean over seeds, cut to
        -1..1; None below 3 seeds or 10 archs), `tau_top10_mean`, `tau_top10_std`, and the runs as `per_seed`.
    """
    taus, tops = ([run[name] for run in runs if run.get(name) is not None] for name in ("tau", "tau_top10"))
    sizes, functions = ([run[name] for run in runs if name in run] for name in ("archs", "functions"))
    summary, best = (over_seeds(values) if values else None for values in (taus, tops))
    interval = summary.interval if summary and min(sizes) >= MIN_ARCHS else None
    low, high = np.clip(interval, -1, 1).tolist() if interval else (None, None)
    return {
        "n": len(taus),
        "archs_min": min(sizes),
        "archs_max": max(sizes),
        **({"functions_min": min(functions), "functions_max": max(functions)} if functions else {}),
        "tau_mean": summary.mean if summary else None,
        "tau_std": summary.std if summary else None,
        "tau_low": low,
        "tau_high": high,
        "tau_top10_mean": best.mean if best else None,
        "tau_top10_std": best.std if best else None,
        "per_seed": sorted(runs, key=lambda run: run["seed"]),
    }


def _shrinks(records: Sequence[RunRecord]) -> list[int]:
    """Epochs after which a run shrank its space."""
    return sorted({line["epoch"] for record in records for line in record.history if "candidates" in line})


def _set_notes(rows: list[dict[str, Any]], images: str) -> list[str]:
    sets = {row["set"] for row in rows}
    meanings = {
        "full": "full: all archs of the space; one that was dropped ranks below those that stayed, by its last score",
        "sample": "sample: one fixed random sample of the space, ranked as full",
        "current": "current: the archs alive, whose number shrinks, of many a sample; a tau on 5 to 16 archs is not "
        + "comparable with full; archs that are one function have none",
        "same": "same: the baseline of the same seed on the archs alive in SE-NAS; before the end, on those it scored",
    }
    notes = ["Kendall's tau-b; 95% interval over seeds, none below 3 seeds or 10 archs."]
    notes += [TOP_NOTE] if any(row["tau_top10_mean"] is not None for row in rows) else []
    notes += [f"{meaning}." for name, meaning in meanings.items() if name in sets]
    one = {
        (row["method"], run["seed"])
        for row in _ends(rows, "current")
        for run in row["per_seed"]
        if run["functions"] == 1
    }
    for method in in_order({method for method, _ in one}):
        seeds = listed(seed for name, seed in one if name == method)
        notes.append(
            f"{method}: the archs alive at the end are one function with seeds {seeds}: nothing to rank, no tau."
        )
    transferred = [words(row["column"]) for row in rows if not row["column"].startswith(f"{images}_")]
    if transferred:
        columns = ", ".join(dict.fromkeys(transferred))
        notes.append(f"{columns}: the supernets saw {images}; the paper trains one per data set.")
    return notes


def _gap_notes(shown: Sequence[RunRecord], rows: list[dict], methods: Sequence[str]) -> list[str]:
    present = {record.spec.method for record in shown}
    absent = [method for method in methods if method not in present]
    ours = tuned(present)
    notes = [f"Tuned with CIFAR-10 truth in view: {', '.join(ours)}."] if ours else []
    notes += [f"No runs of: {', '.join(absent)}."] if absent else []
    ranked = {(row["method"], run["seed"]) for row in rows for run in row["per_seed"]}
    undefined = {
        (row["method"], run["seed"])
        for row in rows
        for run in row["per_seed"]
        if run["tau"] is None and run.get("functions") != 1
    }
    for method in methods:
        if seeds := {seed for name, seed in map(run_key, shown) if name == method and (name, seed) not in ranked}:
            notes.append(f"{method} ranks no archs with seeds {listed(seeds)}.")
        if seeds := {seed for name, seed in undefined if name == method}:
            notes.append(f"{method} scored some set of archs alike with seeds {listed(seeds)}; those have no tau.")
        baseline = style(method).against
        if seeds := _seeds_at_end(rows, method, "current") - _seeds_at_end(rows, baseline, "same"):
            notes.append(
                f"No {baseline} run ranks all archs alive at the end of {method} with seeds {listed(seeds)}, so they "
                "have no tau on the same archs there."
            )
    return notes


def _seeds_at_end(rows: list[dict], method: str | None, name: str) -> set[int]:
    """Seeds that a method has on a set at the last epoch of all its rows."""
    return {run["seed"] for row in _ends(rows, name) if row["method"] == method for run in row["per_seed"]}


def _ends(rows: list[dict], name: str) -> list[dict]:
    """The rows of a set at the last epoch of all rows of their method."""
    last: dict[str, int] = {}
    for row in rows:
        last[row["method"]] = max(row["epoch"], last.get(row["method"], 0))
    return [row for row in rows if row["set"] == name and row["epoch"] == last[row["method"]]]


def _display(rows: list[dict[str, Any]], epochs: bool) -> pd.DataFrame:
    columns = {"method": [shown_as(row["method"]) for row in rows], "set": [row["set"] for row in rows]}
    columns["truth"] = [words(row["column"]) for row in rows]
    if epochs:
        columns["epoch"] = [str(row["epoch"]) for row in rows]
    columns["n"] = [str(row["n"]) for row in rows]
    columns["archs"] = [span([row["archs_min"], row["archs_max"]]) for row in rows]
    columns["functions"] = [
        span([row[f"functions_{end}"] for end in ("min", "max")]) if "functions_min" in row else "–" for row in rows
    ]
    columns["tau"] = [plus_minus(row, "tau", 3) for row in rows]
    columns["95% interval"] = [interval_cell(row, "tau") for row in rows]
    if any(row["tau_top10_mean"] is not None for row in rows):
        columns["tau top 10%"] = [plus_minus(row, "tau_top10", 3) for row in rows]
    if not epochs:
        columns["seeds"] = [" ".join(fixed(run["tau"], 3) for run in row["per_seed"]) for row in rows]
    return pd.DataFrame(columns)


FIG7 = Artefact("fig7", TITLES["fig7"], partial(default_methods, "fig7"), render_fig7, draw_fig7)
FIG8 = Artefact("fig8", TITLES["fig8"], partial(default_methods, "fig8"), render_fig8, draw_fig8)
