"""The ladder: how well each method ranks and picks, against what it costs in multiply-adds."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.artefacts.ladder_costs import COUNTED, EXPECTED, LOOKED_UP, archs_of, search_cost
from senas_bench.analysis.artefacts.ladder_figure import draw_ladder
from senas_bench.analysis.artefacts.ladder_references import DRAWS, Reference, references
from senas_bench.analysis.artefacts.table3 import default_methods
from senas_bench.analysis.join import (
    TOP_NOTE,
    Scores,
    accuracy_queries,
    by_method,
    final_rankings,
    one_setting,
    only_primary,
    primary_column,
    setting_meta,
    setting_notes,
)
from senas_bench.analysis.metrics import correlation
from senas_bench.analysis.metrics.bootstrap import MIN_ARCHS, defined, mean_tau_interval
from senas_bench.analysis.metrics.statistics import over_seeds
from senas_bench.analysis.output.formats import Table, fixed, interval_cell, plus_minus, scaled, span, words
from senas_bench.analysis.output.notes import COLUMNS, RUNS, SETTING
from senas_bench.analysis.style import facts_of, of_kind, saw_truth, shown_as, tuned
from senas_bench.experiments.spec import RunRecord
from senas_bench.spaces.nasbench201 import SKELETONS, nasbench201_cost
from senas_bench.spaces.nasbench201.functions import half_of

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth

TITLE = "The ladder: ranking and picking against cost"
MEASURES = {
    "tau": (-1, 1),
    "tau_top10": (-1, 1),
    "tau_quintiles": (-1, 1),
    "precision_at_10": (0, 1),
    "best_of_20": (0, 100),
    "regret": (0, 100),
}
"""What is measured, and the range that an interval cannot leave."""
ASIDE = ("nominal", "cost", "within FLOPs", "halves", "best of 20")
"""Columns that the LaTeX file leaves out."""
QUINTILES = 5
RESAMPLES = 500


def also_shown() -> list[str]:
    """Every method of NAS-Bench-201: whatever has runs stands on the ladder."""
    return of_kind(lambda method: method.spaces is None or "nasbench201" in method.spaces)


def render_ladder(
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """Every method with finished runs by its last ranking and its pick, with the multiply-adds of its search.

    Truth, regret and sets of archs are those of table 3; `best_of_20` is the best true accuracy among the 20 archs that
    rank highest, which a second look at these could find; `tau_quintiles` the mean tau within fifths of equal FLOPs,
    where size alone says little. References come from the benchmark's trainings of the archs that are ranked
    (`ladder_references`).

    Args, raises: As `table3.render_table3`.
    """
    setting, queries = one_setting(records), accuracy_queries(truth)
    groups = by_method(records, methods, default_methods())
    rankings = {
        record.spec.run_id: final_rankings(scores(record)) for group in groups.values() for record in group
        if record.scores_sha256
    }  # fmt: skip
    column = primary_column(queries, setting["images"])
    whole = "full" if any("full" in sets for sets in rankings.values()) else "sample"
    truths = _Truth(truth, column, whole)
    rows = []
    for method, group in groups.items():
        runs = [_run(record, rankings.get(record.spec.run_id, {}).get(whole), truths) for record in group]
        rows.append(_row(method, runs, truths))
    archs = next((sorted(sets[whole].index) for sets in rankings.values() if whole in sets), [])
    proxies = _proxies(groups, rankings, whole, archs)
    rows += _reference_rows(references(truth, queries[column].dataset, archs, proxies), truths) if archs else []
    rows.sort(key=lambda row: (row["tau_mean"] is None, -(row["tau_mean"] or 0.0), row["regret_mean"]))
    seeds = [record.spec.seed for group in groups.values() for record in group]
    meta = {"title": TITLE, **setting_meta(setting, truth, seeds), "column": column, "set": whole}
    meta |= {"archs": len(archs), "rows": [{k: v for k, v in row.items() if k != "rankings"} for row in rows]}
    counts = [row["n"] for row in rows if row["kind"] == "method"]
    notes = {
        SETTING: setting_notes(meta, counts, [column]),
        COLUMNS: [*_cost_notes(rows), *_column_notes(meta)],
        RUNS: [*_choice_notes(rows), *_reference_notes(meta, list(proxies))],
    }
    return Table("ladder", _display(meta), notes, meta, aside=ASIDE)


@dataclass(frozen=True)
class _Truth:
    """What rankings are measured by: a column of the truth, and the set of archs."""

    table: GroundTruth
    column: str
    whole: str

    def accuracy(self, archs: Sequence[str]) -> np.ndarray:
        return np.asarray(self.table.accuracy(accuracy_queries(self.table)[self.column], list(archs)))

    def regret(self, arch: str) -> float:
        best = self.table.best(accuracy_queries(self.table)[self.column])[1]
        return float(best) - float(self.accuracy([arch])[0])


def _run(record: RunRecord, ranking: pd.Series | None, truths: _Truth) -> dict[str, Any]:
    run: dict[str, Any] = {"seed": record.spec.seed, **search_cost(record), **dict.fromkeys(MEASURES), "archs": None}
    run["halves"] = [None, None]
    if ranking is not None:
        run |= measured(list(ranking.index), ranking.to_numpy(), truths.accuracy(list(ranking.index)))
    return run | {"regret": truths.regret(record.pick), "ranking": ranking}


def measured(archs: Sequence[str], scores: np.ndarray, accuracy: np.ndarray) -> dict[str, Any]:
    """How well scores rank archs, by the names of `MEASURES` but regret; None where undefined.

    Args:
        archs: Arch strings. scores, accuracy: `(archs,)`; the latter in percent.
    """
    n, (fifths, halves) = len(archs), _parts(tuple(archs))
    taus = [_tau(scores[fifths == part], accuracy[fifths == part]) for part in range(QUINTILES)]
    known = [tau for tau in taus if tau is not None]
    return {
        "archs": n,
        "tau": _tau(scores, accuracy),
        "tau_top10": defined(correlation.top_tau(scores, accuracy)),
        "tau_quintiles": float(np.mean(known)) if known else None,
        "quintiles": taus,
        "halves": [_tau(scores[halves == half], accuracy[halves == half]) for half in range(2)],
        "precision_at_10": correlation.precision_at_k(scores, accuracy, 10) if n >= 10 else None,
        "best_of_20": correlation.best_at_k(scores, accuracy, min(20, n)),
    }


@functools.lru_cache(maxsize=4)
def _parts(archs: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """`(archs,)` the fifth by FLOPs and the half of the functions that each is in; most rankings are of one set."""
    return quintiles(archs), np.array([half_of(arch) for arch in map(tuple, archs_of(archs).tolist())])


def quintiles(archs: Sequence[str]) -> np.ndarray:
    """`(archs,)` 0 to 4, the fifth of their order by FLOPs that each is in; archs of equal FLOPs are in one."""
    from scipy.stats import rankdata

    rows = archs_of(archs)
    flops = nasbench201_cost(SKELETONS["cifar10"])(rows)["flops_m"]
    return (QUINTILES * (rankdata(flops) - 0.5) / len(rows)).astype(int)


def _tau(scores: np.ndarray, accuracy: np.ndarray) -> float | None:
    return defined(correlation.kendall_tau(scores, accuracy)) if len(scores) > 1 else None


def _row(name: str, runs: list[dict[str, Any]], truths: _Truth, kind: str = "method") -> dict[str, Any]:
    """Means over seeds; `<key>_low`, `<key>_high` bound the mean, over seeds or, of a sample's tau, over archs."""
    row: dict[str, Any] = {"method": name, "kind": kind, "n": len(runs)}
    row["tuned"] = kind == "method" and bool(facts_of(name).tuned or facts_of(name).saw)
    for key, limits in MEASURES.items():
        values = [run[key] for run in runs if run[key] is not None]
        summary = over_seeds(values) if values else None
        row |= {f"{key}_mean": summary.mean if summary else None, f"{key}_std": summary.std if summary else None}
        interval = np.clip(summary.interval, *limits).tolist() if summary and summary.interval else None
        row[f"{key}_low"], row[f"{key}_high"] = interval or (None, None)
    if truths.whole == "sample":
        row["tau_low"], row["tau_high"] = _over_archs([run["ranking"] for run in runs], truths) or (None, None)
    costs = {name: [run[name] for run in runs if run[name] is not None] for name in ("multiply_adds", "nominal")}
    for key, values in costs.items():
        row[f"{key}_mean"] = float(np.mean(values)) if values else None
    known = {run["known"] for run in runs}
    row["cost"] = EXPECTED if EXPECTED in known else next(iter(known))
    sizes = [run["archs"] for run in runs if run["archs"]]
    row |= {"archs_min": min(sizes, default=None), "archs_max": max(sizes, default=None)}
    for half in range(2):
        taus = [run["halves"][half] for run in runs if run["halves"][half] is not None]
        row[f"tau_half{half}_mean"] = float(np.mean(taus)) if taus else None
    return row | {"per_seed": [{key: value for key, value in run.items() if key != "ranking"} for run in runs]}


def _over_archs(rankings: Sequence[pd.Series | None], truths: _Truth) -> tuple[float, float] | None:
    """95% bootstrap interval over archs of the mean tau; None unless all seeds ranked the same archs."""
    first = rankings[0]
    if first is None or any(ranking is None or set(ranking.index) != set(first.index) for ranking in rankings):
        return None
    archs = sorted(first.index)
    columns = [ranking.loc[archs].to_numpy() for ranking in rankings if ranking is not None]
    return mean_tau_interval(columns, truths.accuracy(archs), np.random.default_rng(0), n_resamples=RESAMPLES)


def _reference_rows(found: Sequence[Reference], truths: _Truth) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        accuracy, price = truths.accuracy(one.archs), one.multiply_adds
        run = {"draw": one.seed, "multiply_adds": price, "nominal": price, "known": LOOKED_UP}
        run |= measured(one.archs, one.scores, accuracy)
        pick = one.archs[int(np.argmax(one.scores))]
        run |= {"regret": truths.regret(pick), "ranking": pd.Series(one.scores, index=list(one.archs))}
        groups.setdefault(one.name, []).append(run)
    return [_row(name, runs, truths, "reference") for name, runs in groups.items()]


def _proxies(
    groups: Mapping[str, Sequence[RunRecord]],
    rankings: Mapping[str, Mapping[str, pd.Series]],
    whole: str,
    archs: Sequence[str],
) -> dict[str, np.ndarray]:
    """By method that trains nothing but looks at images or weights, its ranking with its first seed, where it has
    all archs."""
    found = {}
    for method, (record, *_) in groups.items():
        ranking, work = rankings.get(record.spec.run_id, {}).get(whole), record.counters.get("search", {})
        free = not work.get("train_steps") and bool(work.get("multiply_adds") or work.get("forward_paths"))
        if free and ranking is not None and set(ranking.index) == set(archs):
            found[method] = ranking.loc[list(archs)].to_numpy()
    return found


def _column_notes(meta: Mapping[str, Any]) -> list[str]:
    whole = meta["set"]
    over = "seeds, none below 3" if whole == "full" else f"archs, none below {MIN_ARCHS}"
    return [
        f"tau: Kendall's tau-b of the last ranking ({whole}, n = {meta['archs']}) with {words(meta['column'])}; 95% "
        f"interval over {over}. {TOP_NOTE}",
        "Within FLOPs: the mean tau within fifths of the archs by FLOPs. Best of 20: best accuracy among the 20 archs "
        "that rank highest, percent. P@10: share of the ten archs ranked first that are among the ten truly best. "
        "Regret: best of the whole truth minus the pick, in points. Halves: tau within each of two halves of the "
        "functions, drawn once and for all.",
    ]


def _choice_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    methods = {row["method"] for row in rows if row["kind"] == "method"}
    ours = tuned(methods)
    notes = [f"† {', '.join(ours)}: chosen with CIFAR-10 truth in view."] if ours else []
    return notes + [f"† {line}" for line in saw_truth(methods)]


def _reference_notes(meta: Mapping[str, Any], proxies: Sequence[str]) -> list[str]:
    notes, names = [], {row["method"] for row in meta["rows"] if row["kind"] == "reference"}
    if "12 epochs each" in names:
        notes.append("12 epochs each: every arch ranked, trained in the benchmark, by validation accuracy.")
    if "200 epochs each" in names:
        notes.append(
            "200 epochs each: the same with one training seed of 200 epochs, n counts seeds that all archs have. On "
            "cifar10 it is another model than the truth's; elsewhere it is part of the mean that judges it."
        )
    else:
        notes.append(
            f"No row of another 200-epoch seed: {meta['ground_truth']} has no training seed of all archs ranked."
        )
    if any(name.startswith(("ridge", "trees")) for name in names):
        used = proxies and any("proxies" in name for name in names)
        more = f" Proxies: {', '.join(proxies)}, first seed." if used else ""
        notes.append(
            "ridge, trees: predictors of the percentile in validation accuracy, learned from so many trainings of so "
            f"many epochs, by operators, FLOPs and parameters; n counts {DRAWS} draws of these archs. Not tuned.{more}"
        )
    return notes


def _cost_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    said = {
        COUNTED: "by the run, a backward pass as two forward passes",
        EXPECTED: "mean cost of an arch for each path counted, where a record has no count of multiply-adds",
        LOOKED_UP: "trainings in the benchmark: epochs x its training images x 3 x FLOPs at C = 16, N = 5",
    }
    known = {row["cost"] for row in rows}
    kinds = "; ".join(f"{name}, {meaning}" for name, meaning in said.items() if name in known)
    return [
        f"Cost: multiply-adds of the search (docs/method.md 3.1). {kinds}. What choosing settings cost is left out."
    ]


def _display(meta: Mapping[str, Any]) -> pd.DataFrame:
    rows = meta["rows"]
    columns = {"method": [_name(row) for row in rows], "n": [str(row["n"]) for row in rows]}
    columns["multiply-adds"] = [scaled(row["multiply_adds_mean"]) for row in rows]
    columns["nominal"] = [scaled(row["nominal_mean"]) for row in rows]
    columns["cost"] = [row["cost"] or "–" for row in rows]
    columns["tau"] = [plus_minus(row, "tau", 3) for row in rows]
    columns["95% interval"] = [interval_cell(row, "tau") for row in rows]
    columns["tau top 10%"] = [plus_minus(row, "tau_top10", 3) for row in rows]
    columns["within FLOPs"] = [fixed(row["tau_quintiles_mean"], 3) for row in rows]
    halves = [[fixed(row[f"tau_half{half}_mean"], 3) for half in range(2)] for row in rows]
    columns["halves"] = ["–" if set(pair) == {"–"} else " / ".join(pair) for pair in halves]
    columns["P@10"] = [fixed(row["precision_at_10_mean"], 2) for row in rows]
    columns["best of 20"] = [plus_minus(row, "best_of_20", 2) for row in rows]
    columns["regret"] = [plus_minus(row, "regret", 2) for row in rows]
    sizes = [span([row["archs_min"], row["archs_max"]]) if row["archs_min"] else "–" for row in rows]
    if set(sizes) - {"–", str(meta["archs"])}:
        columns["archs"] = sizes
    return pd.DataFrame({name: cells for name, cells in columns.items() if set(cells) != {"–"}})


def _name(row: Mapping[str, Any]) -> str:
    label = shown_as(row["method"]) if row["kind"] == "method" else row["method"]
    return f"{label} †" if row["tuned"] else label


LADDER = Artefact(
    "ladder",
    TITLE,
    default_methods,
    render_ladder,
    draw_ladder,
    open=True,
    reads=only_primary,
    also=also_shown,
)
