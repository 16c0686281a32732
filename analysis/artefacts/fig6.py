"""Figure 6: which operators survive each shrink, by the score that the ground truth gives them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.artefacts.table3 import verdict
from senas_bench.analysis.join import (
    accuracy_queries,
    by_method,
    one_setting,
    only_primary,
    primary_column,
    setting_meta,
    setting_notes,
)
from senas_bench.analysis.metrics.operators import (
    DRAWS,
    TOPS,
    OperatorTruth,
    operator_truth,
    random_reference,
    rate_interval,
    survivors,
)
from senas_bench.analysis.metrics.statistics import over_seeds
from senas_bench.analysis.output.figures import grid
from senas_bench.analysis.output.formats import Table, fixed, listed, plus_minus, span, words
from senas_bench.analysis.output.notes import COLUMNS, RUNS, SETTING, VERDICTS
from senas_bench.analysis.style import facts_of, fitting, of_kind, shown_as, style, tuned
from senas_bench.experiments.spec import RunRecord
from senas_bench.plotting import COLUMN
from senas_bench.spaces.nasbench201 import NB201

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth

RANDOM = "random-shrink"
LIMITS = {
    **{f"recall_{top}": (0, 1) for top in TOPS},
    "survivor_rank": (1, len(NB201.alive())),
    "space_best": (0, 100),
    "space_regret": (0, 100),
}
"""What is measured of the operators alive, and the range it cannot leave."""
SHORT = {"none": "none", "skip_connect": "skip", "nor_conv_1x1": "1x1", "nor_conv_3x3": "3x3", "avg_pool_3x3": "pool"}
SHADES = ("#f1f1f1", "#c6d4e6", "#6f97c4", "#1f4e8c", "#0a2342")
"""From never alive to always alive: one hue, its lightness alone carries the rate."""
LINE = "#d55e00"


def default_methods() -> list[str]:
    """Methods that shrink; first those that have a baseline to beat."""
    return sorted(fitting("fig6", lambda method: method.shrinks_by is not None), key=lambda m: not style(m).against)


def also_shown() -> list[str]:
    """Every method that shrinks."""
    return of_kind(lambda method: method.shrinks_by is not None)


def render_fig6(
    records: Sequence[RunRecord],
    scores: Callable[[RunRecord], pd.DataFrame],
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """Figure 6: how well each criterion keeps the operators that the ground truth ranks first.

    An operator's true score is the mean accuracy of all archs that contain it (docs/method.md 5), after 200 epochs
    on the images of the runs, see `primary_column`. Each row is a method after one of its shrinks.

    Args:
        records: Finished runs of one preset, space, set of images and device, in any order.
        scores: Not read: what is alive after a shrink stands in the history of a run.
        truth: Joined to the runs here; must hold all 15,625 archs.
        no_timing: Changes nothing: no row depends on the machine.
        methods: In order; default those of the artefact, then any other that shrinks and has runs.

    Raises:
        ValueError: No records, none that shrank, settings that may not share a table, a method and seed twice, or a
            truth that lacks 200-epoch accuracy or archs.
    """
    setting, ran = one_setting(records), {record.spec.method for record in records}
    wanted = methods or list(dict.fromkeys([*default_methods(), *(name for name in also_shown() if name in ran)]))
    groups = by_method(records, wanted, ())
    column = primary_column(accuracy_queries(truth), setting["images"])
    operators = operator_truth(truth, column)
    runs = {method: _shrinks(group, operators) for method, group in groups.items()}
    rows = [_row(method, stage, seeds) for method, stages in runs.items() for stage, seeds in stages.items()]
    if not rows:
        raise ValueError(
            f"no run of {', '.join(groups)} shrank its space; give runs of: {', '.join(default_methods())}"
        )
    left = sorted({(row["stage"], row[key]) for row in rows for key in ("alive_min", "alive_max")})
    meta = {
        "title": "Figure 6: which operators survive",
        "column": column,
        **setting_meta(setting, truth, [run["seed"] for row in rows for run in row["per_seed"]]),
        "rows": rows,
        "operators": operators.named(),
        "random_reference": [{"stage": stage, **random_reference(operators, alive)} for stage, alive in left],
    }
    notes = {
        VERDICTS: _verdicts(rows),
        SETTING: setting_notes(meta, [row["n"] for row in rows], [column]),
        COLUMNS: _meaning_notes(meta, column),
        RUNS: _run_notes(groups, runs, wanted, meta["seeds"]),
    }
    return Table("fig6", _display(meta), notes, meta, aside=("alive", "mean rank", "holds the best"))


def _shrinks(records: Sequence[RunRecord], operators: OperatorTruth) -> dict[int, list[dict[str, Any]]]:
    """By stage, what each run has alive after the shrink that ends it; empty for runs that never shrank."""
    stages: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        for line in record.history:
            if "candidates" in line:
                facts = {"seed": record.spec.seed, "epoch": line["epoch"], **survivors(line["candidates"], operators)}
                stages.setdefault(line["stage"], []).append(facts)
    return dict(sorted(stages.items()))


def _row(method: str, stage: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds of a method after one shrink; `<key>_low`, `<key>_high` bound the mean."""
    left = [len(run["alive"]) for run in runs]
    row = {"method": method, "stage": stage, "n": len(runs), "epoch": runs[0]["epoch"]}
    row |= {"alive_min": min(left), "alive_max": max(left)}
    for key, limits in LIMITS.items():
        summary = over_seeds([run[key] for run in runs])
        row[f"{key}_mean"], row[f"{key}_std"] = summary.mean, summary.std
        interval = np.clip(summary.interval, *limits).tolist() if summary.interval else (None, None)
        row[f"{key}_low"], row[f"{key}_high"] = interval
    row["holds_best_n"] = sum(run["holds_best"] for run in runs)
    counts = np.bincount([rank - 1 for run in runs for rank in run["alive"]], minlength=len(NB201.alive()))
    rates = [rate_interval(count, len(runs)) for count in counts.tolist()]
    row |= {"survival": (counts / len(runs)).tolist()}
    row |= {"survival_low": [low for low, _ in rates], "survival_high": [high for _, high in rates]}
    return row | {"per_seed": runs}


def _meaning_notes(meta: Mapping[str, Any], column: str) -> list[str]:
    count = len(meta["operators"])
    best, worst = meta["operators"][0], meta["operators"][-1]
    ends = [f"rank {rank} is {end['operator']} ({fixed(end['score'], 2)})" for rank, end in ((1, best), (count, worst))]
    notes = [
        f"The {count} operators are ranked by the mean {words(column)} accuracy of all archs that contain them, "
        f"{NB201.size // len(NB201.operators):,} each: {', '.join(ends)}.",
        f"Recall is the fraction of the {' or '.join(map(str, TOPS))} best operators that are alive after a shrink; "
        "mean rank is that of the operators alive, lower is better. Their 95% interval over seeds is Student's, none "
        "below 3 seeds or where all seeds agree; that of each operator's survival rate is Wilson's score interval.",
        f"Best arch left is the best {words(column)} accuracy among the archs that can still be made; regret is what "
        "it lacks to the best of all, in points: no search of that space can do better.",
    ]
    for value in meta["random_reference"]:
        limits = [
            f"top {top}: expected {fixed(value[f'recall_{top}'], 3)}, 95% of runs "
            f"{fixed(value[f'recall_{top}_low'], 3)} to {fixed(value[f'recall_{top}_high'], 3)}, at most "
            f"{fixed(value[f'recall_{top}_possible'], 3)} for any criterion that keeps an operator per edge"
            for top in TOPS
        ]
        where = f"Random dropping, {value['alive']} operators left after shrink {value['stage']}"
        notes.append(f"{where} ({DRAWS:,} draws), recall of the {'; '.join(limits)}.")
    return notes


def _run_notes(
    groups: Mapping[str, list[RunRecord]], runs: Mapping[str, dict], wanted: Sequence[str], seeds: list[int]
) -> list[str]:
    absent = [method for method in wanted if method not in groups]
    still = [method for method, stages in runs.items() if not stages]
    notes = [f"Tuned with CIFAR-10 truth in view: {', '.join(ours)}."] if (ours := tuned(runs)) else []
    notes += [f"No runs of: {', '.join(absent)}."] if absent else []
    notes += [f"Runs that never shrank, left out: {', '.join(still)}."] if still else []
    for method, stages in runs.items():
        for stage, shrunk in stages.items():
            gap = set(seeds) - {run["seed"] for run in shrunk}
            notes += [f"{method} has no shrink {stage} with seeds {listed(gap)}."] if gap else []
    return notes


def _verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """For each method the two claims of the paper: the top 21 after the first shrink, the top 10 after the last."""
    lines = []
    chance = {row["stage"]: {run["seed"]: run for run in row["per_seed"]} for row in rows if row["method"] == RANDOM}
    for method in dict.fromkeys(row["method"] for row in rows if row["method"] != RANDOM):
        own = [row for row in rows if row["method"] == method]
        for top, row in ((21, own[0]), (10, own[-1])):
            versus, differences = _against_random(row, f"recall_{top}", chance.get(row["stage"], {}))
            question = f"recall of the top {top} after shrink {row['stage']}"
            lines.append(f"{method.upper()} vs {versus}, {question}: {verdict(differences)}")
    return lines


def _against_random(row: Mapping[str, Any], key: str, chance: Mapping[int, dict]) -> tuple[str, list[float]]:
    """Differences by seed to the random run that left as many operators; to the expectation where there is none."""
    pairs = [(run, chance[run["seed"]]) for run in row["per_seed"] if run["seed"] in chance]
    pairs = [(ours, other) for ours, other in pairs if len(ours["alive"]) == len(other["alive"])]
    if pairs:
        return RANDOM.upper(), [ours[key] - other[key] for ours, other in pairs]
    count = len(NB201.alive())
    differences = [run[key] - len(run["alive"]) / count for run in row["per_seed"]]
    return "what random dropping leaves on average", differences


def _display(meta: Mapping[str, Any]) -> pd.DataFrame:
    """Rows for readers: those of the methods, then what random dropping leaves."""
    cells = [
        [
            shown_as(row["method"]),
            facts_of(row["method"]).shrinks_by or "–",
            str(row["stage"]),
            str(row["n"]),
            span([row["alive_min"], row["alive_max"]]),
            *[plus_minus(row, f"recall_{top}", 3) for top in TOPS],
            plus_minus(row, "survivor_rank", 1),
            plus_minus(row, "space_best", 2),
            fixed(row["space_regret_mean"], 2),
            f"{row['holds_best_n']} of {row['n']}",
        ]
        for row in meta["rows"]
    ]
    for value in meta["random_reference"]:
        recalls = [fixed(value[f"recall_{top}"], 3) for top in TOPS]
        best = [fixed(value["space_best"], 2), fixed(value["space_regret"], 2), f"{100 * value['holds_best']:.0f}%"]
        rank = fixed(value["survivor_rank"], 1)
        who = ["random, expected", f"{DRAWS:,} draws", str(value["stage"]), "–", str(value["alive"])]
        cells.append([*who, *recalls, rank, *best])
    names = ["method", "dropped by", "shrink", "n", "alive", *[f"recall top {top}" for top in TOPS], "mean rank"]
    return pd.DataFrame(cells, columns=[*names, "best arch left", "regret", "holds the best"])


def draw_fig6(table: Table) -> Figure:
    """A heat map per method: a row per shrink, a column per operator in true order, darker where more seeds keep it."""
    rows = table.meta["rows"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    groups = [[row for row in rows if row["method"] == method] for method in methods]
    figure, axes = grid(
        len(methods), 1, width=2 * COLUMN, height=0.33 + (0.19 * len(rows) + 1.25) / len(methods),
        height_ratios=[len(group) for group in groups],
    )  # fmt: skip
    for axis, group in zip(axes, groups, strict=True):
        mesh = _panel(axis, group, first=axis is axes[0])
    labels = [_label(entry["operator"]) for entry in table.meta["operators"]]
    axes[-1].set_xticks(np.arange(len(labels)) + 0.5, labels, fontsize=6.2, rotation=90)
    bar = figure.colorbar(mesh, ax=axes, location="bottom", aspect=60, shrink=0.5, pad=0.015, ticks=[0, 0.5, 1])
    bar.set_label(textwrap.fill(_caption(table.meta), 130), fontsize=6.5)
    bar.ax.tick_params(labelsize=6.5, length=2)
    bar.outline.set_visible(False)
    return figure


def _panel(axis: Axes, rows: Sequence[Mapping[str, Any]], first: bool) -> QuadMesh:
    """The rates of one method; lines close the top 10 and 21, whose recall stands at the right, the first named."""
    import seaborn
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("survival", SHADES)
    rates = np.array([row["survival"] for row in rows])
    seaborn.heatmap(
        rates, ax=axis, cmap=shades, vmin=0, vmax=1, linewidths=0.6, linecolor="white", cbar=False, xticklabels=False,
        yticklabels=False,
    )  # fmt: skip
    axis.grid(False)
    axis.tick_params(length=0, pad=1.5)
    left = [f"shrink {row['stage']}: {span([row['alive_min'], row['alive_max']])} left" for row in rows]
    axis.set_yticks(np.arange(len(rows)) + 0.5, left, fontsize=6.5, rotation=0)
    method, counts = rows[0]["method"], span([row["n"] for row in rows])
    criterion = f": {words_of}" if (words_of := facts_of(method).shrinks_by) else ""
    axis.set_title(f"{shown_as(method)}{criterion} (n = {counts})", loc="left", fontsize=7.5, pad=11 if first else 3)
    above = {"xytext": (0, 2), "textcoords": "offset points", "fontsize": 6, "va": "bottom", "annotation_clip": False}
    count = rates.shape[1]
    for top, place in zip(TOPS, (count + 1.2, count + 3.1), strict=True):
        axis.axvline(top, color=LINE, linewidth=1.2, clip_on=False)
        if first:
            axis.annotate(f"top {top}", (top - 0.2, 0), ha="right", **above)
            axis.annotate(f"top {top}", (place, 0), ha="center", **above)
        for line, row in enumerate(rows):
            axis.text(place, line + 0.5, fixed(row[f"recall_{top}_mean"], 2), fontsize=6.5, ha="center", va="center")
    mesh: Any = axis.collections[0]
    return mesh


def _label(operator: str) -> str:
    edge, name = operator.split()
    return f"{edge} {SHORT[name]}".replace("->", "→")


def _caption(meta: Mapping[str, Any]) -> str:
    several = max(row["n"] for row in meta["rows"]) > 1
    shade = "Share of seeds in which an operator is alive" if several else "1: alive, 0: dropped, in one seed"
    expected = [f"{fixed(value['recall_10'], 2)} with {value['alive']} left" for value in meta["random_reference"]]
    return (
        f"{shade}; from left to right the operators from truly best to worst. At the right the recall of the top 10 "
        f"and top 21: random dropping keeps {', '.join(expected)} on average."
    )


FIG6 = Artefact(
    "fig6",
    "Figure 6: which operators survive",
    default_methods,
    render_fig6,
    draw_fig6,
    reads=only_primary,
    every_arch=True,
    shrinks=True,
    also=also_shown,
)
