"""Table 3: what each method costs, what it picks, and how well it ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.artefacts.table3_notes import (
    choice_notes,
    cost_notes,
    ranking_notes,
    run_notes,
)
from senas_bench.analysis.join import (
    accuracy_queries,
    by_method,
    distinct_functions,
    every_column,
    final_rankings,
    first_stage_ranking,
    one_setting,
    primary_column,
    run_key,
    setting_meta,
    setting_notes,
)
from senas_bench.analysis.metrics import correlation
from senas_bench.analysis.metrics.bootstrap import MIN_ARCHS, defined, mean_tau_interval
from senas_bench.analysis.metrics.statistics import MIN_PAIRS, over_seeds, sign_flip
from senas_bench.analysis.output.figures import PERCENT, TAU, bars, grid, say_below
from senas_bench.analysis.output.formats import (
    Table,
    count_cell,
    fixed,
    heading,
    interval_cell,
    listed,
    plus_minus,
    span,
    words,
)
from senas_bench.analysis.output.notes import COLUMNS, PAPER, RUNS, SETTING, VERDICTS
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.style import baselines, fitting, in_order, shown_as, style
from senas_bench.experiments.spec import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth, Query

RANKINGS = (
    "tau_full",
    "tau_top10",
    "stage_1_tau",
    "spearman_full",
    "precision_at_10",
    "best_rank_at_10",
    "tau_current",
    "tau_spos_same_set",
)
COUNTS = ("n_full", "n_current", "n_functions")
"""Of a run: archs of the space that it ranked, archs alive at its end, and functions among these."""
ASIDE = (
    *("images", "scored", "paths", "cifar10 val", "cifar100 val", "IN16-120 val"),
    *("tau top 10%", "after stage 1", "tau current", "spos, same set"),
)
"""Columns that the LaTeX file leaves out."""
ALPHA = 0.05
SAMPLE_RESAMPLES = 500


def default_methods() -> list[str]:
    """Every method that ranks, but for those that a table of weight sharing does without."""
    return fitting("table3", lambda method: method.ranks and not method.needs_truth)


def render_table3(
    records: Sequence[RunRecord],
    scores: Callable[[RunRecord], pd.DataFrame],
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """Table 3: what each method costs, the truth of what it picks, and how well it ranks.

    Accuracies are means over training seeds after 200 epochs. Regret and correlations refer to the test accuracy on the
    images of the runs, see `primary_column`. `full` ranks the whole space, hierarchically; `sample` stands in where no
    run ranked it. The interval is over seeds for `full`, over archs for a `sample`. `current` ranks the archs alive
    at the end.

    Args:
        records: Finished runs of one preset, space, set of images and device, in any order.
        scores: Reads the score table of a record that has one.
        truth: Joined to the runs here.
        no_timing: Leave out seconds, so that the table does not depend on the machine.
        methods: Rows in order; default those of the artefact, then any other as `STYLES` has them.

    Raises:
        ValueError: No records, settings that may not share a table, a method and seed twice, or a truth without
            200-epoch accuracy.
    """
    setting = one_setting(records)
    groups = by_method(records, methods, default_methods())
    scored = [record for group in groups.values() for record in group if record.scores_sha256]
    tables = {run_key(record): scores(record) for record in scored}
    rankings = {key: final_rankings(table) for key, table in tables.items()}
    whole = "full" if any("full" in sets for sets in rankings.values()) else "sample"
    firsts = {key: first_stage_ranking(table, whole) for key, table in tables.items()}
    join = _Join(truth, setting["images"], accuracy_queries(truth), whole, rankings, firsts)
    runs = {method: [_facts(record, join, no_timing) for record in group] for method, group in groups.items()}
    rows = [_row(method, facts, join) for method, facts in runs.items()]
    meta = {
        "title": "Table 3: searching on NAS-Bench-201",
        **setting_meta(setting, truth, [run["seed"] for facts in runs.values() for run in facts]),
        "column": join.primary,
        "rows": [*rows, _optimal(join, rows[0])],
    }
    notes = {
        VERDICTS: _verdicts(runs, join),
        SETTING: setting_notes(meta, [row["n"] for row in rows], [join.primary]),
        COLUMNS: [*cost_notes(no_timing), *_meaning_notes(join), *ranking_notes(rows, join.whole)],
        RUNS: [
            *run_notes(groups, rows),
            *_gap_notes(runs, meta["seeds"], methods, join),
            *choice_notes(runs),
        ],
        PAPER: paper.TABLE3_NOTES,
    }
    numbers = paper.table3()
    return Table(
        "table3", _display(meta["rows"], join, no_timing), notes, meta, numbers, _paper_display(numbers), ASIDE
    )


@dataclass(frozen=True)
class _Join:
    """The truth, its 200-epoch queries by column, and the final rankings of each (method, seed) by set.

    `whole` is the set of the whole-space ranking, one for all rows; `firsts` its rankings before the first shrink.
    """

    truth: GroundTruth
    images: str
    queries: Mapping[str, Query]
    whole: str
    rankings: Mapping[tuple[str, int], Mapping[str, pd.Series]]
    firsts: Mapping[tuple[str, int], pd.Series | None]

    @property
    def primary(self) -> str:
        """The column that regret and correlations refer to."""
        return primary_column(self.queries, self.images)

    def accuracy(self, archs: Iterable[str]) -> np.ndarray:
        return np.asarray(self.truth.accuracy(self.queries[self.primary], list(archs)))


def _facts(record: RunRecord, join: _Join, no_timing: bool) -> dict[str, Any]:
    """Every number of one run; None where it has none."""
    work = record.counters.get("search", {})
    facts: dict[str, Any] = {"seed": record.spec.seed, "pick": record.pick}
    if not no_timing:
        facts["search_seconds"] = record.timing.get("search_seconds")
    facts |= {name: work.get(name, 0) for name in ("images_trained", "images_scored")}
    facts["path_evaluations"] = work.get("forward_paths", 0)
    facts["backward_paths"] = work.get("backward_paths", 0)
    facts |= {column: float(join.truth.accuracy(query, [record.pick])[0]) for column, query in join.queries.items()}
    facts["regret"] = float(join.truth.best(join.queries[join.primary])[1]) - facts[join.primary]
    facts |= dict.fromkeys((*COUNTS, *RANKINGS))
    rankings = join.rankings.get(run_key(record), {})
    if (ranking := rankings.get(join.whole)) is not None:
        ranks, accuracy = ranking.to_numpy(), join.accuracy(ranking.index)
        facts |= {"n_full": len(ranks), "tau_full": correlation.kendall_tau(ranks, accuracy)}
        facts["tau_top10"] = correlation.top_tau(ranks, accuracy)
        facts["spearman_full"] = correlation.spearman(ranks, accuracy)
        if len(ranks) >= 10:
            facts["precision_at_10"] = correlation.precision_at_k(ranks, accuracy, 10)
            facts["best_rank_at_10"] = correlation.best_rank_at_k(ranks, accuracy, 10)[0]
    if (ranking := join.firsts.get(run_key(record))) is not None:
        facts["stage_1_tau"] = correlation.kendall_tau(ranking.to_numpy(), join.accuracy(ranking.index))
    if (ranking := rankings.get("current")) is not None:
        accuracy = join.accuracy(ranking.index)
        facts |= {"n_current": len(ranking), "n_functions": distinct_functions(ranking.index)}
        baseline = join.rankings.get((style(record.spec.method).against or "", record.spec.seed), {}).get(join.whole)
        if facts["n_functions"] > 1:
            facts["tau_current"] = correlation.kendall_tau(ranking.to_numpy(), accuracy)
            if baseline is not None and ranking.index.isin(baseline.index).all():
                facts["tau_spos_same_set"] = correlation.kendall_tau(baseline.loc[ranking.index].to_numpy(), accuracy)
    return {key: defined(value) for key, value in facts.items()}


def _row(method: str, runs: list[dict[str, Any]], join: _Join) -> dict[str, Any]:
    """Mean and std over the seeds that have a number; `<tau>_low`, `<tau>_high` bound the mean of a tau."""
    row: dict[str, Any] = {"method": method, "n": len(runs)}
    sizes = sorted({run["n_full"] for run in runs if run["n_full"]})
    alive, functions = ([run[name] for run in runs if run[name]] for name in COUNTS[1:])
    if len(sizes) > 1:
        raise ValueError(f"method {method} ranked {join.whole} sets of {sizes} archs; a mean needs sets of one size")
    for key in [key for key in runs[0] if key not in ("seed", "pick", *COUNTS)]:
        values = [run[key] for run in runs if run[key] is not None]
        summary = over_seeds(values) if values else None
        row[f"{key}_mean"], row[f"{key}_std"] = (summary.mean, summary.std) if summary else (None, None)
        if key.startswith("tau"):
            whole = key in ("tau_full", "tau_top10")
            interval = summary.interval if summary and min(sizes if whole else alive) >= MIN_ARCHS else None
            if whole and join.whole == "sample":
                rankings = [join.rankings.get((method, run["seed"]), {}) for run in runs if summary]
                interval = _sample_interval(rankings, join, only_top=key == "tau_top10")
            # Student's interval of few seeds can leave the range of tau
            row[f"{key}_low"], row[f"{key}_high"] = np.clip(interval, -1, 1).tolist() if interval else (None, None)
            row[f"{key}_seeds"] = len(values)
    row |= {"tau_full_set": join.whole if sizes else None, "tau_full_n": sizes[0] if sizes else None}
    row |= {"tau_current_n_min": min(alive, default=None), "tau_current_n_max": max(alive, default=None)}
    row |= {
        "functions_current_min": min(functions, default=None),
        "functions_current_max": max(functions, default=None),
    }
    return row | {"per_seed": runs}


def _sample_interval(
    rankings: list[Mapping[str, pd.Series]], join: _Join, only_top: bool
) -> tuple[float, float] | None:
    """95% bootstrap interval over archs of the mean tau over seeds; None unless all seeds ranked the same archs."""
    archs = sorted(rankings[0].get("sample", pd.Series()).index) if rankings else []
    if not archs or any(sorted(sets.get("sample", pd.Series()).index) != archs for sets in rankings):
        return None
    accuracy, columns = join.accuracy(archs), [sets["sample"].loc[archs].to_numpy() for sets in rankings]
    if only_top:
        best = correlation.top(accuracy)
        accuracy, columns = accuracy[best], [column[best] for column in columns]
    return mean_tau_interval(columns, accuracy, np.random.default_rng(0), n_resamples=SAMPLE_RESAMPLES)


def _optimal(join: _Join, like: Mapping[str, Any]) -> dict[str, Any]:
    """The upper limit of each column, from the truth alone: never a run, hence n = 0."""
    row = dict.fromkeys(like) | {"method": "optimal", "n": 0, "regret_mean": 0.0, "per_seed": []}
    return row | {f"{column}_mean": float(join.truth.best(query)[1]) for column, query in join.queries.items()}


def _meaning_notes(join: _Join) -> list[str]:
    notes = [
        f"Regret, tau and P@10 refer to {words(join.primary)}. Regret: the best truth minus the pick's, in points. "
        "P@10: share of the ten archs ranked first that are among the ten truly best.",
        "Optimal: read from the truth, column by column; it is not a run.",
    ]
    missing = [words(column) for column in paper.COLUMNS if column not in join.queries]
    if missing:
        notes.append(f"No truth for: {', '.join(missing)} in {join.truth.name}; those columns are left out.")
    return notes


def _gap_notes(
    runs: Mapping[str, list[dict]], seeds: list[int], methods: Sequence[str] | None, join: _Join
) -> list[str]:
    absent = [method for method in methods or default_methods() if method not in runs]
    notes = [f"No runs of: {', '.join(absent)}."] if absent else []
    for method, facts in runs.items():
        ranked = {run["seed"]: run["tau_full"] for run in facts if run["n_full"]}
        present = {run["seed"] for run in facts}
        gaps = {
            "has no run": set(seeds) - present,
            f"has no {join.whole} ranking": present - set(ranked) if join.rankings else (),
            "scored every arch alike, so tau is undefined,": [seed for seed, tau in ranked.items() if tau is None],
        }
        notes += [f"{method} {what} with seeds {listed(gap)}." for what, gap in gaps.items() if gap]
    return notes


def _verdicts(runs: Mapping[str, list[dict]], join: _Join) -> list[str]:
    lines = []
    for method, baseline in baselines().items():
        if method not in runs or baseline not in runs:
            continue
        others = {run["seed"]: run for run in runs[baseline]}
        pairs = [(run, others[run["seed"]]) for run in runs[method] if run["seed"] in others]
        same_set = [(run["tau_current"], run["tau_spos_same_set"]) for run, _ in pairs]
        one = sum(run["n_functions"] == 1 for run, _ in pairs)
        which = f" (one function with {one} of {len(pairs)} seeds)" if one else ""
        questions = {f"tau on the same archs, those alive at the end{which}": same_set}
        for question, key in ((f"tau {join.whole}", "tau_full"), (f"{words(join.primary)} of the pick", join.primary)):
            questions[question] = [(run[key], other[key]) for run, other in pairs]
        for question, values in questions.items():
            differences = [ours - theirs for ours, theirs in values if ours is not None and theirs is not None]
            lines.append(f"{method.upper()} vs {baseline.upper()}, {question}: {verdict(differences)}")
    return lines


def verdict(differences: Sequence[float]) -> str:
    """One plain phrase on paired differences, one per seed: `undecided` below 8 seeds, whichever side leads."""
    if not differences:
        return "undecided, no seed has both."
    test = sign_flip(differences, np.random.default_rng(0))
    side = "equal" if test.difference == 0 else "higher" if test.difference > 0 else "lower"
    if test.n < MIN_PAIRS:
        word = f"undecided (a verdict needs {MIN_PAIRS} seeds)"
    else:
        word = side.upper() if test.p <= ALPHA else f"no difference shown at p <= {ALPHA}"
    return (
        f"{word}; mean difference {test.difference:+.3f} ({side}), n = {test.n} seeds, sign-flip p = {test.p:.4g}, "
        f"smallest attainable p = {test.smallest_p:.4g}."
    )


def _display(rows: list[dict[str, Any]], join: _Join, no_timing: bool) -> pd.DataFrame:
    sizes = {row["tau_full_n"] for row in rows if row["tau_full_n"]}
    tau = f"tau {join.whole} (n={sizes.pop()})" if len(sizes) == 1 else f"tau {join.whole}"
    columns = {"method": [shown_as(row["method"]) for row in rows], "n": [str(row["n"] or "–") for row in rows]}
    if not no_timing:
        columns["search s"] = [fixed(row["search_seconds_mean"], 1) for row in rows]
    columns["images"] = [count_cell(row["images_trained_mean"]) for row in rows]
    columns["scored"] = [count_cell(row["images_scored_mean"]) for row in rows]
    columns["paths"] = [count_cell(row["path_evaluations_mean"]) for row in rows]
    columns |= {heading(column): [plus_minus(row, column, 2) for row in rows] for column in join.queries}
    columns["regret"] = [fixed(row["regret_mean"], 2) for row in rows]
    columns[tau] = [plus_minus(row, "tau_full", 3) for row in rows]
    columns["95% interval"] = [interval_cell(row, "tau_full") for row in rows]
    columns["tau top 10%"] = [plus_minus(row, "tau_top10", 3) for row in rows]
    columns["after stage 1"] = [plus_minus(row, "stage_1_tau", 3) for row in rows]
    columns["P@10"] = [fixed(row["precision_at_10_mean"], 2) for row in rows]
    columns["tau current"] = [_current(row) for row in rows]
    columns["spos, same set"] = [plus_minus(row, "tau_spos_same_set", 3) for row in rows]
    return pd.DataFrame({name: cells for name, cells in columns.items() if set(cells) != {"–"}})


def _current(row: Mapping[str, Any]) -> str:
    if row["tau_current_n_min"] is None:
        return "–"
    cells = [plus_minus(row, "tau_current", 3), interval_cell(row, "tau_current")]
    alive, functions = (
        span([row[f"{name}_min"], row[f"{name}_max"]]) for name in ("tau_current_n", "functions_current")
    )
    return " ".join([cell for cell in cells if cell != "–"] + [f"({alive}; {functions} functions)"])


def _paper_display(frame: pd.DataFrame) -> pd.DataFrame:
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    columns = {"method": [row["method"] for row in records]}
    columns["time s"] = [fixed(row["search_seconds"], 1) for row in records]
    columns |= {heading(name): [plus_minus(row, name, 2) for row in records] for name in paper.COLUMNS}
    return pd.DataFrame(columns)


def draw_table3(table: Table) -> Figure:
    """What each method picks, and how well it ranks: means over seeds, bars one standard deviation, and the seeds."""
    *rows, optimal = table.meta["rows"]
    order = in_order(row["method"] for row in rows)
    rows = sorted(rows, key=lambda row: order.index(row["method"]))
    column = table.meta["column"]
    panels = {column: f"{words(column)} of the pick, percent", "tau_full": f"Kendall's tau with {words(column)}"}
    panels = {key: label for key, label in panels.items() if any(row[f"{key}_mean"] is not None for row in rows)}
    figure, axes = grid(1, len(panels), height=0.7 + 0.19 * len(rows))
    best = optimal[f"{column}_mean"]
    for index, (ax, (key, label)) in enumerate(zip(axes, panels.items(), strict=True)):
        for place, row in enumerate(rows):
            _dots(ax, place, row, key, (PERCENT[0], best) if key == column else TAU)
        if key == column:
            ax.axvline(best, color="#000000", linestyle="--", linewidth=0.8)
            head = {"xytext": (0, 2), "textcoords": "offset points", "ha": "right", "va": "bottom", "fontsize": 7}
            ax.annotate(f"the best arch, {fixed(best, 2)}", (best, 1), xycoords=("data", "axes fraction"), **head)
        ax.set_yticks(
            range(len(rows)), [f"{shown_as(row['method'])} ({row['n']})" if index == 0 else "" for row in rows]
        )
        ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel=label)
    said = "mean and standard deviation over seeds (how many), cut at what is possible; small dots: each seed"
    say_below(figure, said)
    return figure


def _dots(ax: Axes, place: int, row: Mapping[str, Any], key: str, limits: tuple[float, float]) -> None:
    mean, std = row[f"{key}_mean"], row[f"{key}_std"]
    if mean is None:
        return
    tint, seeds = style(row["method"]).colour, [run[key] for run in row["per_seed"] if run[key] is not None]
    ax.errorbar(mean, place, xerr=bars(mean, std or 0.0, limits), color=tint, marker="o", capsize=2, linewidth=1.0)
    ax.scatter(seeds, [place] * len(seeds), s=6, color=tint, alpha=0.5, linewidth=0)


TABLE3 = Artefact(
    "table3",
    "Table 3: searching on NAS-Bench-201",
    default_methods,
    render_table3,
    draw_table3,
    open=True,
    reads=every_column,
)
