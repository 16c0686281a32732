"""Ranking correlation while a supernet trains and at its end: Figs. 7 and 8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.experiments.spec import RunRecord

from . import correlation
from .figures import COLUMN, MARKERS, colour, grid
from .formats import Table, fixed, interval_cell, listed, plus_minus, span, words
from .join import (
    Scores,
    accuracy_queries,
    by_method,
    final_rankings,
    one_setting,
    primary_column,
    run_key,
    setting_meta,
    setting_notes,
)
from .statistics import MIN_ARCHS, defined, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth, Query

METHODS = ("spos", "se-nas", "spos+", "se-nas+")
BASELINES = {"se-nas": "spos", "se-nas+": "spos+"}
"""The same training without shrinking and expanding."""
SETS = {"full": "whole space", "sample": "sample", "current": "archs alive", "same": "the same archs"}


@dataclass(frozen=True)
class _Point:
    """Rankings of one run at one epoch, by set, each indexed by arch string, higher is better."""

    method: str
    seed: int
    epoch: int
    rankings: Mapping[str, pd.Series]


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

    Args, raises: As `tables.render_table3`.
    """
    return _render(
        "fig7",
        "Figure 7: ranking correlation over epochs",
        records,
        scores,
        truth,
        methods,
        [point for record in _scored(records, methods) for point in _points(record, scores(record))],
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

    Args, raises: As `tables.render_table3`.
    """
    points = []
    for record in _scored(records, methods):
        last = _points(record, scores(record))[-1]
        wanted = {"full", "current"} if "full" in last.rankings else {"sample", "current"}
        rankings = {name: ranking for name, ranking in last.rankings.items() if name in wanted}
        points.append(_Point(last.method, last.seed, last.epoch, rankings))
    title = "Figure 8: ranking correlation at the end, over seeds"
    return _render("fig8", title, records, scores, truth, methods, points, _FIG8_NOTES)


_FIG7_NOTES = (
    "A point before the last scores with the weights of that moment; the last is the method's own final ranking.",
)
_FIG8_NOTES = ("The paper's figure compares current of SE-NAS with the whole space of SPOS.",)
_CURVES = {"curve": "sample", "curve-current": "current"}


def _scored(records: Sequence[RunRecord], methods: Sequence[str] | None) -> list[RunRecord]:
    groups = by_method(records, methods or METHODS, METHODS)
    return [record for group in groups.values() for record in group if record.scores_sha256]


def _points(record: RunRecord, table: pd.DataFrame) -> list[_Point]:
    """The rankings of a run by epoch, the final one last."""
    method, seed = run_key(record)
    seen: dict[int, dict[str, pd.Series]] = {}
    for (name, epoch), group in table[table["set"].isin(_CURVES)].groupby(["set", "epoch"], observed=True):
        if len(group) > 1:
            ranks = correlation.tiered(group["tier"].to_numpy(), group["score"].to_numpy())
            seen.setdefault(int(epoch), {})[_CURVES[name]] = pd.Series(ranks, index=group["arch_str"].to_numpy())
    last = int(table["epoch"].max())
    final = {name: ranking for name, ranking in final_rankings(table).items() if name in SETS}
    seen[last] = seen.get(last, {}) | final
    if not any("current" in rankings for epoch, rankings in seen.items() if epoch == last):
        seen = {epoch: {k: v for k, v in rankings.items() if k != "current"} for epoch, rankings in seen.items()}
    return [_Point(method, seed, epoch, seen[epoch]) for epoch in sorted(seen)]


def _render(
    name: str,
    title: str,
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    methods: Sequence[str] | None,
    points: list[_Point],
    remarks: Iterable[str],
) -> Table:
    setting, queries = one_setting(records), accuracy_queries(truth)
    columns = [column for column in queries if column.endswith("_test")] or [primary_column(queries)]
    points = [*points, *_same_sets(points, _Whole(records, scores))]
    rows = []
    for column in columns:
        rows += _rows(points, column, _lookup(truth, queries[column]))
    if not rows:
        raise ValueError(f"none of the runs ranks archs; {name} needs runs of {', '.join(METHODS)}")
    meta = {
        "title": title,
        **setting_meta(setting, truth, [point.seed for point in points]),
        "shrinks": _shrinks(records),
        "rows": rows,
    }
    notes = [*setting_notes(meta, [row["n"] for row in rows], columns), *_set_notes(rows, setting["images"])]
    notes += [*remarks, *_gap_notes(records, rows, methods)]
    return Table(name, _display(rows, name == "fig7"), tuple(notes), meta)


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
        baseline, alive = BASELINES.get(point.method), point.rankings.get("current")
        other = by_key.get((baseline, point.seed, point.epoch))
        if alive is None or other is None:
            continue
        at_end = last[baseline, point.seed] == point.epoch
        ranking = whole(baseline, point.seed) if at_end else other.rankings.get("sample")
        if ranking is None:
            continue
        shared = ranking.index.intersection(alive.index)
        if len(shared) == len(alive) or (not at_end and len(shared) >= MIN_ARCHS):
            found.append(_Point(baseline, point.seed, point.epoch, {"same": ranking.loc[shared]}))
    return found


def _lookup(truth: GroundTruth, query: Query) -> Callable[[pd.Index], np.ndarray]:
    accuracy = dict(zip(truth.arch_strs, truth.accuracy(query), strict=True))
    return lambda archs: np.array([accuracy[arch] for arch in archs])


def _rows(points: list[_Point], column: str, accuracy: Callable[[pd.Index], np.ndarray]) -> list[dict[str, Any]]:
    """One row per method, set and epoch: mean over seeds; no interval below 10 archs or 3 seeds."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for point in points:
        for name, ranking in point.rankings.items():
            tau = defined(correlation.kendall_tau(ranking.to_numpy(), accuracy(ranking.index)))
            run = {"seed": point.seed, "archs": len(ranking), "tau": tau}
            groups.setdefault((point.method, name, point.epoch), []).append(run)
    known = [*METHODS, *sorted({method for method, _, _ in groups} - set(METHODS))]
    order = sorted(groups, key=lambda key: (known.index(key[0]), list(SETS).index(key[1]), key[2]))
    return [
        {"method": method, "set": name, "column": column, "epoch": epoch, **tau_summary(groups[method, name, epoch])}
        for method, name, epoch in order
    ]


def tau_summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean tau over the runs that have one.

    Args:
        runs: Each with `seed`, `archs` (its number of archs) and `tau`, None where undefined.

    Returns:
        `n` runs with a tau, `archs_min`, `archs_max`, `tau_mean`, `tau_std` (ddof = 1), `tau_low`, `tau_high`
        (Student's 95% interval of the mean over seeds, cut to -1..1; None below 3 seeds or 10 archs), and the runs as
        `per_seed`.
    """
    taus = [run["tau"] for run in runs if run["tau"] is not None]
    sizes = [run["archs"] for run in runs]
    summary = over_seeds(taus) if taus else None
    interval = summary.interval if summary and min(sizes) >= MIN_ARCHS else None
    low, high = np.clip(interval, -1, 1).tolist() if interval else (None, None)
    return {
        "n": len(taus),
        "archs_min": min(sizes),
        "archs_max": max(sizes),
        "tau_mean": summary.mean if summary else None,
        "tau_std": summary.std if summary else None,
        "tau_low": low,
        "tau_high": high,
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
        "current": "current: the archs alive, whose number shrinks; a tau on 5 to 16 archs is not comparable with full",
        "same": "same: the baseline of the same seed on the archs alive in SE-NAS; before the end, on those it scored",
    }
    notes = ["Kendall's tau-b; 95% interval over seeds, none below 3 seeds or 10 archs."]
    notes += [f"{meaning}." for name, meaning in meanings.items() if name in sets]
    transferred = [words(row["column"]) for row in rows if not row["column"].startswith(f"{images}_")]
    if transferred:
        columns = ", ".join(dict.fromkeys(transferred))
        notes.append(f"{columns}: the supernets saw {images}; the paper trains one per data set.")
    return notes


def _gap_notes(records: Sequence[RunRecord], rows: list[dict], methods: Sequence[str] | None) -> list[str]:
    present = {record.spec.method for record in records}
    absent = [method for method in methods or METHODS if method not in present]
    notes = [f"No runs of: {', '.join(absent)}."] if absent else []
    undefined = {(row["method"], run["seed"]) for row in rows for run in row["per_seed"] if run["tau"] is None}
    for method in sorted({method for method, _ in undefined}):
        seeds = listed({seed for name, seed in undefined if name == method})
        notes.append(f"{method} scored some set of archs alike with seeds {seeds}; those have no tau.")
    if any(row["method"] in BASELINES and row["set"] == "current" for row in rows) and not any(
        row["set"] == "same" for row in rows
    ):
        notes.append("No baseline scored all of the archs alive at the end, so there is no tau on the same set.")
    return notes


def _display(rows: list[dict[str, Any]], epochs: bool) -> pd.DataFrame:
    columns = {"method": [row["method"] for row in rows], "set": [row["set"] for row in rows]}
    columns["truth"] = [words(row["column"]) for row in rows]
    if epochs:
        columns["epoch"] = [str(row["epoch"]) for row in rows]
    columns["n"] = [str(row["n"]) for row in rows]
    columns["archs"] = [span([row["archs_min"], row["archs_max"]]) for row in rows]
    columns["tau"] = [plus_minus(row, "tau", 3) for row in rows]
    columns["95% interval"] = [interval_cell(row, "tau") for row in rows]
    if not epochs:
        columns["seeds"] = [" ".join(fixed(run["tau"], 3) for run in row["per_seed"]) for row in rows]
    return pd.DataFrame(columns)


VIEWS = {"archs alive": ("current", "same"), "sample": ("sample",)}


def draw_fig7(table: Table) -> Figure:
    """Above, the archs alive, and the baseline on them; below, the fixed sample; a column per truth.

    Lines are means over seeds, bands ± one standard deviation, dotted lines shrinks, numbers the archs of a point.
    """
    rows, shrinks = table.meta["rows"], table.meta["shrinks"]
    columns = list(dict.fromkeys(row["column"] for row in rows))
    figure, axes = grid(len(VIEWS), len(columns), width=COLUMN * 0.85, height=2.2)
    handles: dict[str, Any] = {}
    for index, (view, sets) in enumerate(VIEWS.items()):
        for place, column in enumerate(columns):
            ax = axes[index * len(columns) + place]
            shown = [row for row in rows if row["column"] == column and row["set"] in sets]
            for epoch in shrinks:
                ax.axvline(epoch, color="#999999", linestyle=":", linewidth=0.8)
            for kind in dict.fromkeys((row["method"], row["set"]) for row in shown):
                line = _line(ax, [row for row in shown if (row["method"], row["set"]) == kind and row["n"]])
                handles |= {line.get_label(): line} if line else {}
            _write_sizes(ax, shown, shrinks)
            ax.set(title=f"{words(column)}, {view}", ylim=_limits(shown), xlim=(0, None))
            ax.set_xlabel("epoch" if index else "")
            ax.set_ylabel("" if place else "Kendall's tau")
    if handles:
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 2 * len(columns)))
    return figure


def _line(ax: Axes, rows: list[dict[str, Any]]) -> Any:
    """Mean and band of one method on one set over epochs; None without a point."""
    if not rows:
        return None
    method, name = rows[0]["method"], rows[0]["set"]
    epochs, means = [row["epoch"] for row in rows], np.array([row["tau_mean"] for row in rows])
    stds = np.array([row["tau_std"] or 0.0 for row in rows])
    label = f"{method}{', same archs' if name == 'same' else ''} ({span([row['n'] for row in rows])} seeds)"
    style = {"color": colour(method), "marker": MARKERS.get(method, "o"), "linestyle": "--" if name == "same" else "-"}
    ax.fill_between(epochs, means - stds, means + stds, color=colour(method), alpha=0.12, linewidth=0)
    return ax.plot(epochs, means, label=label, **style)[0]


def _write_sizes(ax: Axes, rows: list[dict[str, Any]], shrinks: list[int]) -> None:
    """The numbers of archs behind the points of each stage, at the top of it."""
    last = max((row["epoch"] for row in rows), default=0)
    for start, end in zip([0, *shrinks], [*shrinks, max([last, *shrinks])], strict=True):
        stage = [row for row in rows if start < row["epoch"] <= end and row["n"] and row["set"] != "same"]
        if stage:
            sizes = span([min(row["archs_min"] for row in stage), max(row["archs_max"] for row in stage)])
            ax.text((start + end) / 2, 0.99, f"{sizes} archs", transform=ax.get_xaxis_transform(), **_SIZE_TEXT)


_SIZE_TEXT = {"ha": "center", "va": "top", "fontsize": 6.5, "color": "#666666"}


def _limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    known = [row for row in rows if row["n"]]
    lows = [row["tau_mean"] - (row["tau_std"] or 0.0) for row in known]
    highs = [row["tau_mean"] + (row["tau_std"] or 0.0) for row in known]
    return max(-1.1, min([*lows, 0.0]) - 0.05), min(1.15, max([*highs, 0.1]) + 0.15)


def draw_fig8(table: Table) -> Figure:
    """One panel per truth column: a box and the seeds themselves for each method and set."""
    rows = table.meta["rows"]
    columns = list(dict.fromkeys(row["column"] for row in rows))
    kinds = list(dict.fromkeys((row["method"], row["set"]) for row in rows if row["n"]))
    figure, axes = grid(1, len(columns), width=COLUMN * 0.85, height=0.8 + 0.34 * len(kinds))
    for index, (ax, column) in enumerate(zip(axes, columns, strict=True)):
        by_kind = {(row["method"], row["set"]): row for row in rows if row["column"] == column}
        ax.axvline(0, color="#999999", linewidth=0.8)
        for place, kind in enumerate(kinds):
            _box(ax, place, by_kind[kind])
        labels = [_kind_label(by_kind[kind]) for kind in kinds] if index == 0 else [""] * len(kinds)
        ax.set_yticks(range(len(kinds)), labels)
        ax.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="Kendall's tau")
        ax.set_title(words(column))
    return figure


def _box(ax: Axes, place: int, row: Mapping[str, Any]) -> None:
    """Quartiles, range and the seeds."""
    taus = [run["tau"] for run in row["per_seed"] if run["tau"] is not None]
    line = {"color": colour(row["method"]), "linewidth": 1.0}
    if len(taus) > 1:
        ax.boxplot(
            taus, positions=[place], widths=0.6, orientation="horizontal", whis=(0, 100), manage_ticks=False,
            boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 2.0},
        )  # fmt: skip
    ax.scatter(taus, [place] * len(taus), s=10, color=line["color"], alpha=0.7, linewidth=0, zorder=3)


def _kind_label(row: Mapping[str, Any]) -> str:
    size = span([row["archs_min"], row["archs_max"]])
    return f"{row['method']}, {SETS[row['set']]}\n{size} archs, {row['n']} seeds"
