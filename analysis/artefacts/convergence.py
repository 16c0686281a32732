"""Ranking correlation while a supernet trains and at its end: Figs. 7 and 8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.join import (
    Scores,
    accuracy_queries,
    by_method,
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
from senas_bench.analysis.output.figures import grid
from senas_bench.analysis.output.formats import Table, fixed, interval_cell, listed, plus_minus, span, words
from senas_bench.analysis.style import by_baseline, fitting, in_order, shown_as, style, tuned
from senas_bench.experiments.spec import RunRecord
from senas_bench.plotting import COLUMN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth, Query

TITLES = {
    "fig7": "Figure 7: ranking correlation over epochs",
    "fig8": "Figure 8: ranking correlation at the end, over seeds",
}
SETS = {"full": "whole space", "sample": "sample", "current": "archs alive", "same": "the same archs"}


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
_CURVES = {"curve": "sample", "curve-current": "current"}


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
    notes = [*setting_notes(meta, [row["n"] for row in rows], columns), *_set_notes(rows, setting["images"])]
    notes += [*remarks, *_gap_notes(shown, rows, methods)]
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
        baseline, alive = style(point.method).against, point.rankings.get("current")
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


def _rows(
    points: list[_Point], column: str, truth: GroundTruth, query: Query, first: list[str]
) -> list[dict[str, Any]]:
    """One row per method, set and epoch: mean over seeds; no interval below 10 archs or 3 seeds."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for point in points:
        for name, ranking in point.rankings.items():
            tau = defined(correlation.kendall_tau(ranking.to_numpy(), truth.accuracy(query, list(ranking.index))))
            run = {"seed": point.seed, "archs": len(ranking), "tau": tau}
            groups.setdefault((point.method, name, point.epoch), []).append(run)
    known = [*first, *in_order({method for method, _, _ in groups}.difference(first))]
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


def _gap_notes(shown: Sequence[RunRecord], rows: list[dict], methods: Sequence[str]) -> list[str]:
    present = {record.spec.method for record in shown}
    absent = [method for method in methods if method not in present]
    ours = tuned(present)
    notes = [f"Tuned with CIFAR-10 truth in view: {', '.join(ours)}."] if ours else []
    notes += [f"No runs of: {', '.join(absent)}."] if absent else []
    ranked = {(row["method"], run["seed"]) for row in rows for run in row["per_seed"]}
    undefined = {(row["method"], run["seed"]) for row in rows for run in row["per_seed"] if run["tau"] is None}
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
    last = max((row["epoch"] for row in rows if row["method"] == method), default=0)
    own = [row for row in rows if (row["method"], row["set"], row["epoch"]) == (method, name, last)]
    return {run["seed"] for row in own for run in row["per_seed"]}


def _display(rows: list[dict[str, Any]], epochs: bool) -> pd.DataFrame:
    columns = {"method": [shown_as(row["method"]) for row in rows], "set": [row["set"] for row in rows]}
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


VIEWS = {"archs alive": ("current", "same"), "whole space": ("sample", "full")}
_STYLES = {
    "current": {"linestyle": "-"},
    "same": {"linestyle": "--"},
    "sample": {"linestyle": "-"},
    "full": {"linestyle": "none", "markerfacecolor": "white", "markersize": 5},
}


def draw_fig7(table: Table) -> Figure:
    """Above, the archs alive, and the baseline on them; below, the fixed sample and all archs; a column per truth.

    Lines are means over seeds, bands and bars ± one standard deviation, dotted lines shrinks, numbers the archs of a
    point. What has but one epoch is drawn side by side around it. A view that no run has is left out.
    """
    rows, shrinks = [row for row in table.meta["rows"] if row["n"]], table.meta["shrinks"]
    columns = list(dict.fromkeys(row["column"] for row in table.meta["rows"]))
    views = {name: sets for name, sets in VIEWS.items() if any(row["set"] in sets for row in rows)} or VIEWS
    end = max([1, *shrinks, *(row["epoch"] for row in table.meta["rows"])])
    figure, axes = grid(len(views), len(columns), width=panel_width(len(columns)), height=2.2)
    places = [(view, column) for view in views for column in columns]
    for ax, (view, column) in zip(axes, places, strict=True):
        shown = [row for row in rows if row["column"] == column and row["set"] in views[view]]
        for epoch in shrinks:
            ax.axvline(epoch, color="#999999", linestyle=":", linewidth=0.8)
        kinds = list(dict.fromkeys((row["method"], row["set"]) for row in shown))
        for number, kind in enumerate(kinds):
            line = [row for row in shown if (row["method"], row["set"]) == kind]
            _line(ax, line, aside=(number - (len(kinds) - 1) / 2) * 0.015 * end)
        _write_sizes(ax, shown, shrinks)
        ax.set(title=f"{words(column)}, {view}", ylim=_limits(shown), xlim=(0, 1.05 * end))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("epoch" if view == list(views)[-1] else "")
        ax.set_ylabel("Kendall's tau" if column == columns[0] else "")
    handles = _legend(rows)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2 * len(columns), handlelength=2.4)
    return figure


def panel_width(columns: int) -> float:
    """Inches of each of some panels side by side: one is as wide as a column of a paper."""
    return COLUMN if columns == 1 else COLUMN * 0.85


def _line(ax: Axes, rows: list[dict[str, Any]], aside: float) -> None:
    """Mean and band of one method on one set over epochs; of one epoch a bar, that far from it."""
    method = rows[0]["method"]
    epochs, means = np.array([row["epoch"] for row in rows], float), np.array([row["tau_mean"] for row in rows])
    stds = np.array([row["tau_std"] or 0.0 for row in rows])
    look = {"color": style(method).colour, "marker": style(method).marker, **_STYLES[rows[0]["set"]]}
    if len(rows) == 1:
        ax.errorbar(epochs + aside, means, yerr=stds, elinewidth=0.8, capsize=1.5, **look)
    else:
        ax.fill_between(epochs, means - stds, means + stds, color=style(method).colour, alpha=0.12, linewidth=0)
        ax.plot(epochs, means, **look)


def _legend(rows: list[dict[str, Any]]) -> list[Any]:
    """A colour per method, and what the kinds of line say."""
    from matplotlib.lines import Line2D

    sets = {row["set"] for row in rows}
    handles = []
    for method in dict.fromkeys(row["method"] for row in rows):
        seeds = span([row["n"] for row in rows if row["method"] == method])
        look = {"color": style(method).colour, "marker": style(method).marker}
        handles.append(Line2D([], [], **look, label=f"{shown_as(method)} (n = {seeds})"))
    for name, marker, text in (("same", None, "baseline on archs alive"), ("full", "o", "all archs, at the end")):
        if name in sets:
            handles.append(Line2D([], [], color="#666666", marker=marker, label=text, **_STYLES[name]))
    return handles


def _write_sizes(ax: Axes, rows: list[dict[str, Any]], shrinks: list[int]) -> None:
    """The numbers of archs behind the points, at the top: once for stages in a row that have the same."""
    rows = [row for row in rows if row["set"] != "same"]
    if {row["set"] for row in rows} > {"full"}:
        rows = [row for row in rows if row["set"] != "full"]  # a point at the end, which the legend explains
    last = max((row["epoch"] for row in rows), default=0)
    written: list[tuple[str, float, float]] = []
    for start, end in zip([0, *shrinks], [*shrinks, max([last, *shrinks])], strict=True):
        stage = [row for row in rows if start < row["epoch"] <= end]
        if stage:
            sizes = span([min(row["archs_min"] for row in stage), max(row["archs_max"] for row in stage)])
            sizes = f"{sizes} archs{', a sample' if stage[0]['set'] == 'sample' else ''}"
            if written and written[-1][0] == sizes:
                start = written.pop()[1]
            written.append((sizes, start, end))
    for sizes, start, end in written:
        ax.text((start + end) / 2, 0.99, sizes, transform=ax.get_xaxis_transform(), **_SIZE_TEXT)


_SIZE_TEXT = {"ha": "center", "va": "top", "fontsize": 6.5, "color": "#666666"}
_SIZE_TEXT |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}  # over the line of a shrink


def _limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    lows = [row["tau_mean"] - (row["tau_std"] or 0.0) for row in rows]
    highs = [row["tau_mean"] + (row["tau_std"] or 0.0) for row in rows]
    low, high = min([*lows, 0.0]), max([*highs, 0.1])
    room = 0.05 * (high - low)
    return low - room, high + 3 * room


def draw_fig8(table: Table) -> Figure:
    """One panel per truth column: a box and the seeds themselves for each method and set."""
    rows = table.meta["rows"]
    columns = list(dict.fromkeys(row["column"] for row in rows))
    kinds = list(dict.fromkeys((row["method"], row["set"]) for row in rows))
    figure, axes = grid(1, len(columns), width=panel_width(len(columns)), height=0.8 + 0.34 * len(kinds))
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
    line = {"color": style(row["method"]).colour, "linewidth": 1.0}
    if len(taus) > 1:
        ax.boxplot(
            taus, positions=[place], widths=0.6, orientation="horizontal", whis=(0, 100), manage_ticks=False,
            boxprops=line, whiskerprops=line, capprops=line, medianprops={**line, "linewidth": 2.0},
        )  # fmt: skip
    ax.scatter(taus, [place] * len(taus), s=10, color=line["color"], alpha=0.7, linewidth=0, zorder=3)


def _kind_label(row: Mapping[str, Any]) -> str:
    size = span([row["archs_min"], row["archs_max"]])
    return f"{shown_as(row['method'])}, {SETS[row['set']]}\n{size} archs, n = {row['n']}"


FIG7 = Artefact("fig7", TITLES["fig7"], partial(default_methods, "fig7"), render_fig7, draw_fig7)
FIG8 = Artefact("fig8", TITLES["fig8"], partial(default_methods, "fig8"), render_fig8, draw_fig8)
