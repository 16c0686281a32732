"""Table 1: shared weights against networks trained alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.artefacts.convergence import tau_summary, taus_of
from senas_bench.analysis.join import (
    EPOCHS,
    TOP_NOTE,
    Scores,
    accuracy_queries,
    by_method,
    final_rankings,
    one_setting,
    setting_meta,
    setting_notes,
    tested_columns,
)
from senas_bench.analysis.metrics import correlation
from senas_bench.analysis.metrics.bootstrap import defined
from senas_bench.analysis.output.figures import TAU, bars, grid, panel_width, say_below
from senas_bench.analysis.output.formats import Table, fixed, interval_cell, listed, plus_minus, span, words
from senas_bench.analysis.output.notes import COLUMNS, RUNS, SETTING
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.style import style
from senas_bench.experiments.spec import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth, Query

TITLE = "Table 1: shared weights against stand-alone training"
METHODS = ("stand-alone", "spos", "untrained", "params", "flops")
SUPERNET, ALONE = "spos", "stand-alone"
RANKINGS = {SUPERNET: "supernet", "untrained": "untrained", "params": "params", "flops": "flops"}
SAME, BENCHMARK = "supernet, same archs", "stand-alone, benchmark"


def render_table1(
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """Table 1: mean tau with the ground truth of one-shot and of stand-alone accuracy.

    One-shot accuracy is that of SPOS, on all archs that the preset ranks and on those few that were also trained
    alone. Stand-alone accuracy is measured twice: by networks trained here, at the size of the preset, and, where the
    truth has the accuracy of single training seeds, by one full training against another.

    Args, raises: As `table3.render_table3`.

    Raises:
        ValueError: No run ranks archs, or the stand-alone runs trained different ones.
    """
    setting, queries = one_setting(records), accuracy_queries(truth)
    groups = by_method(records, methods or METHODS, METHODS)
    columns = tested_columns(queries, setting["images"])
    rankings = _rankings(groups, scores)
    if not rankings:
        raise ValueError(f"none of the runs ranks archs; table1 needs runs of {', '.join(METHODS)}")
    rows = []
    for name, runs in rankings.items():
        for column in columns:
            taus = [_tau(seed, ranking, truth, queries[column]) for seed, ranking in runs.items()]
            rows.append({"ranking": name, "column": column, **tau_summary(taus)})
    rows = sorted(rows + _benchmark_rows(truth), key=lambda row: list(ORDER).index(row["ranking"]))
    seeds = [record.spec.seed for group in groups.values() for record in group]
    meta = {"title": TITLE}
    meta |= {**setting_meta(setting, truth, seeds), "rows": rows}
    counts = [row["n"] for row in rows if row["ranking"] != BENCHMARK]
    absent = [method for method in methods or METHODS if method not in groups]
    notes = {
        SETTING: setting_notes(meta, counts, columns),
        COLUMNS: _meanings(rows, groups, setting["images"]),
        RUNS: [f"No runs of: {', '.join(absent)}."] * bool(absent) + _gap_notes(rows, groups, rankings),
    }
    return Table("table1", _display(rows), notes, meta, paper.table1(), _paper_display())


ORDER = ("supernet", SAME, "stand-alone", BENCHMARK, "params", "flops", "untrained")


def _rankings(groups: Mapping[str, list[RunRecord]], scores: Scores) -> dict[str, dict[int, pd.Series]]:
    """By name and seed, rankings indexed by arch string."""
    found: dict[str, dict[int, pd.Series]] = {}
    for method, records in groups.items():
        for record in records if method in RANKINGS else ():
            widest = largest_ranking(scores(record)) if record.scores_sha256 else None
            if widest is not None:
                found.setdefault(RANKINGS[method], {})[record.spec.seed] = widest
    if alone := alone_scores(groups, scores):
        found[ALONE] = alone
        archs = next(iter(alone.values())).index
        wide = found.get("supernet", {})
        same = {seed: ranking.loc[archs] for seed, ranking in wide.items() if archs.isin(ranking.index).all()}
        found |= {SAME: same} if same else {}
    return found


def alone_scores(groups: Mapping[str, list[RunRecord]], scores: Scores) -> dict[int, pd.Series]:
    """Stand-alone accuracy by seed, percent, indexed by arch string in the order of the strings."""
    tables = {record.spec.seed: scores(record) for record in groups.get(ALONE, ())}
    alone: dict[int, Any] = {seed: table.set_index("arch_str")["score"].sort_index() for seed, table in tables.items()}
    if any(not series.index.equals(next(iter(alone.values())).index) for series in alone.values()):
        raise ValueError("the stand-alone runs trained different archs; give the runs of one version")
    return alone


def _tau(seed: int, ranking: pd.Series, truth: GroundTruth, query: Query) -> dict[str, Any]:
    return {"seed": seed, **taus_of(ranking, truth, query)}


def _benchmark_rows(truth: GroundTruth) -> list[dict[str, Any]]:
    """One full training against another, for every two training seeds of a data set that the truth has."""
    by_dataset: dict[str, list[Any]] = {}
    for query in truth.queries():
        if query.epochs == EPOCHS and query.seeds != "mean":
            by_dataset.setdefault(f"{query.dataset}_{query.split}", []).append(query)
    rows = []
    for column, seeds in by_dataset.items():
        pairs = []
        for one, other in combinations(sorted(seeds, key=lambda query: query.seeds), 2):
            both = truth.comparable(one, other)
            many = both.shape[1] > 1
            tau, best = (defined(f(*both)) if many else None for f in (correlation.kendall_tau, correlation.top_tau))
            pairs.append({"seed": f"{one.seeds}-{other.seeds}", "archs": both.shape[1], "tau": tau, "tau_top10": best})
        if pairs:
            rows.append({"ranking": BENCHMARK, "column": column, **tau_summary(pairs)})
            rows[-1] |= {"tau_low": None, "tau_high": None}
    return rows


def _meanings(rows: list[dict[str, Any]], groups: Mapping[str, list[RunRecord]], images: str) -> list[str]:
    notes = ["Kendall's tau-b with the truth; 95% interval over seeds, none below 3 seeds or 10 archs."]
    notes += [TOP_NOTE] if any(row["tau_top10_mean"] is not None for row in rows) else []
    present = {row["ranking"] for row in rows}
    if "stand-alone" in present:
        epochs = sum(groups[ALONE][0].spec.settings["recipe"]["stage_epochs"])
        notes.append(f"stand-alone: networks of this preset trained from scratch on {images} for {epochs} epochs.")
    if BENCHMARK in present:
        notes.append(
            "stand-alone, benchmark: the accuracy of one full training against that of another seed, over all archs "
            "that have both; n counts pairs of seeds, which share seeds: no interval. valtest: mean of val and test."
        )
    else:
        notes.append("No row of full stand-alone training: the truth has no single training seeds.")
    trained = [row["column"] for row in rows if row["ranking"] in ("supernet", "stand-alone")]
    if others := [column for column in trained if not column.startswith(f"{images}_")]:
        names = ", ".join(words(column) for column in dict.fromkeys(others))
        notes.append(f"{names}: the networks trained here saw {images}; the paper trains on each data set.")
    return notes


def _gap_notes(
    rows: list[dict[str, Any]], groups: Mapping[str, list[RunRecord]], rankings: Mapping[str, Mapping[int, pd.Series]]
) -> list[str]:
    """What has no tau."""
    notes = []
    for method, name in RANKINGS.items():
        if seeds := {record.spec.seed for record in groups.get(method, ())} - set(rankings.get(name, ())):
            notes.append(f"{method} ranks no archs with seeds {listed(seeds)}.")
    if ALONE in rankings and (seeds := set(rankings.get("supernet", ())) - set(rankings.get(SAME, ()))):
        notes.append(f"{SUPERNET} did not rank all archs trained alone with seeds {listed(seeds)}.")
    for name in rankings:
        runs = [run for row in rows if row["ranking"] == name for run in row["per_seed"]]
        if seeds := {run["seed"] for run in runs if run["tau"] is None}:
            notes.append(f"{name} scored all archs alike with seeds {listed(seeds)}; those have no tau.")
    return notes


def _display(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = {
        "ranking by": [row["ranking"] for row in rows],
        "truth": [words(row["column"]) for row in rows],
        "n": [str(row["n"]) for row in rows],
        "archs": [span([row["archs_min"], row["archs_max"]]) for row in rows],
        "tau": [plus_minus(row, "tau", 3) for row in rows],
        "95% interval": [interval_cell(row, "tau") for row in rows],
    }
    if any(row["tau_top10_mean"] is not None for row in rows):
        columns["tau top 10%"] = [plus_minus(row, "tau_top10", 3) for row in rows]
    return pd.DataFrame(columns)


def _paper_display() -> pd.DataFrame:
    numbers = paper.table1()
    cells = {"ranking by": numbers["ranking"].tolist()}
    return pd.DataFrame(cells | {name: [fixed(tau, 3) for tau in numbers[name]] for name in numbers.columns[1:]})


def draw_table1(table: Table) -> Figure:
    """Mean tau and one standard deviation by ranking and data set; hollow diamonds are the paper's numbers."""
    rows = table.meta["rows"]
    datasets = list(dict.fromkeys(row["column"].rpartition("_")[0] for row in rows))
    names = [name for name in ORDER if any(row["ranking"] == name for row in rows)]
    width = panel_width(1) if len(datasets) == 1 else 2.4
    figure, axes = grid(1, len(datasets), width=width, height=0.95 + 0.31 * len(names), sharex=True)
    published = table.paper.set_index("ranking")
    for index, (ax, dataset) in enumerate(zip(axes, datasets, strict=True)):
        for row in rows:
            if row["column"].rpartition("_")[0] == dataset and row["tau_mean"] is not None:
                tint = style(SUPERNET if row["ranking"] in ("supernet", SAME) else row["ranking"].split(",")[0]).colour
                place = names.index(row["ranking"])
                reach = bars(row["tau_mean"], row["tau_std"] or 0.0, TAU)
                ax.errorbar(row["tau_mean"], place, xerr=reach, color=tint, marker="o", capsize=2)
        for name, label in (("supernet", "supernet accuracy (paper)"), (BENCHMARK, "standalone accuracy (paper)")):
            if dataset in published and name in names:
                tau = published[dataset][label]
                ax.plot(tau, names.index(name), "D", color="#444444", markerfacecolor="none")
                above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "va": "bottom"}
                ax.annotate("paper", (tau, names.index(name)), fontsize=6, color="#444444", **above)
        labels = [f"{name}\n{_counts(rows, name)}" if index == 0 else "" for name in names]
        ax.set_yticks(range(len(names)), labels, fontsize=7)
        ax.set(ylim=(len(names) - 0.5, -0.7), xlabel="Kendall's tau", title=dataset)
    low = min([0.0, *(row["tau_mean"] - (row["tau_std"] or 0.0) for row in rows if row["tau_mean"] is not None)])
    axes[0].set_xlim(max(TAU[0], low) - 0.03, TAU[1])
    say_below(figure, "bars: std over seeds, cut at what is possible; rows of unlike archs do not compare")
    return figure


def _counts(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    own = [row for row in rows if row["ranking"] == name]
    seeds, archs = (
        span([row["n"] for row in own]),
        span([row[key] for row in own for key in ("archs_min", "archs_max")]),
    )
    return f"{seeds} {'pairs' if name == BENCHMARK else 'seeds'}, {archs} archs"


def largest_ranking(table: pd.DataFrame) -> pd.Series | None:
    """The final ranking of the whole space, or of the sample, by arch string."""
    final = final_rankings(table)
    return final.get("full", final.get("sample"))


TABLE1 = Artefact("table1", TITLE, METHODS, render_table1, draw_table1)
