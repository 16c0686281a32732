"""Figure 6: which operators survive each shrink, by the score that the ground truth gives them."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from senas_bench.experiments.spec import RunRecord
from senas_bench.spaces import NB201
from senas_bench.spaces.nasbench201 import arch_to_str

from .figures import grid
from .formats import Table, fixed, listed, plus_minus, span, words
from .join import accuracy_queries, by_method, one_setting, primary_column, setting_meta, setting_notes
from .statistics import over_seeds
from .tables import TUNED, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth

FIG6_METHODS = ("se-nas", "se-nas+", "si-shrink", "magnitude-shrink", "angle-shrink", "random-shrink")
DROPPED_BY = {
    "se-nas": "SI / SC",
    "se-nas+": "SI of log-likelihood and size",
    "si-shrink": "SI, accuracy-based",
    "magnitude-shrink": "magnitude",
    "angle-shrink": "angle",
    "random-shrink": "random scores",
    "pcnas": "SI, edge by edge",
    "fairnas+se-nas": "SI / SC, one per edge",
}
"""The criterion of a method, in words; docs/method.md 2.1."""
RANDOM = "random-shrink"
TOPS = (10, 21)
"""The top operators whose recall the paper speaks of (section 4.2)."""
LIMITS = {
    **{f"recall_{top}": (0, 1) for top in TOPS},
    "survivor_rank": (1, len(NB201.alive())),
    "space_best": (0, 100),
    "space_regret": (0, 100),
}
"""What is measured of the operators alive, and the range it cannot leave."""
DRAWS = 10_000
SHORT = {"none": "none", "skip_connect": "skip", "nor_conv_1x1": "1x1", "nor_conv_3x3": "3x3", "avg_pool_3x3": "pool"}
SHADES = ("#f1f1f1", "#c6d4e6", "#6f97c4", "#1f4e8c", "#0a2342")
"""From never alive to always alive: one hue, its lightness alone carries the rate."""
LINE = "#d55e00"


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
        methods: In order; default `FIG6_METHODS`.

    Raises:
        ValueError: No records, none that shrank, settings that may not share a table, a method and seed twice, or a
            truth that lacks 200-epoch accuracy or archs.
    """
    setting, wanted = one_setting(records), methods or FIG6_METHODS
    groups = by_method(records, wanted, ())
    column = primary_column(accuracy_queries(truth), setting["images"])
    operators = operator_truth(truth, column)
    runs = {method: _shrinks(group, operators) for method, group in groups.items()}
    rows = [_row(method, stage, seeds) for method, stages in runs.items() for stage, seeds in stages.items()]
    if not rows:
        raise ValueError(f"no run of {', '.join(groups)} shrank its space; give runs of: {', '.join(FIG6_METHODS)}")
    left = sorted({(row["stage"], row[key]) for row in rows for key in ("alive_min", "alive_max")})
    meta = {
        "title": "Figure 6: which operators survive",
        "column": column,
        **setting_meta(setting, truth, [run["seed"] for row in rows for run in row["per_seed"]]),
        "rows": rows,
        "operators": operators.named(),
        "random_reference": [{"stage": stage, **random_reference(operators, alive)} for stage, alive in left],
    }
    notes = setting_notes(meta, [row["n"] for row in rows], [column]) + _meaning_notes(meta, column)
    notes += [*_gap_notes(groups, runs, wanted, meta["seeds"]), *_verdicts(rows)]
    return Table("fig6", _display(meta), tuple(notes), meta)


@dataclass(frozen=True)
class OperatorTruth:
    """What the truth says of the operators, and of the archs made of them.

    Args:
        pairs: `(edge, operator)`, best first: `pairs[0]` has rank 1.
        scores: `(operators,)` mean accuracy of all archs that contain the operator, percent, in that order.
        archs: `(archs, edges)` all archs, best first, as positions in `pairs`.
        accuracy: `(archs,)` percent, in that order.
    """

    pairs: tuple[tuple[int, int], ...]
    scores: np.ndarray
    archs: np.ndarray
    accuracy: np.ndarray

    @functools.cached_property
    def _members(self) -> np.ndarray:
        """`(archs,)` the operators of each arch as the bits of an integer."""
        return (1 << self.archs.astype(np.int64)).sum(axis=1)

    def best_left(self, alive: np.ndarray) -> np.ndarray:
        """Best accuracy of an arch made of alive operators only.

        Args:
            alive: `(spaces, operators)` bool, in the order of `pairs`.

        Returns:
            `(spaces,)` percent.
        """
        spaces = alive @ (1 << np.arange(len(self.pairs)))
        return self.accuracy[[np.argmax(self._members & space == self._members) for space in spaces]]

    def named(self) -> list[dict[str, Any]]:
        """`operator`, such as `0->3 nor_conv_3x3`, and `score`, in rank order."""
        names = [f"{NB201.edges[edge]} {NB201.operators[op]}" for edge, op in self.pairs]
        return [{"operator": name, "score": score} for name, score in zip(names, self.scores.tolist(), strict=True)]


def operator_truth(truth: GroundTruth, column: str | None = None) -> OperatorTruth:
    """Rank the operators of the space by the mean accuracy of all archs that contain them (paper section 4.2).

    Of equal operators the one on the earlier edge comes first.

    Args:
        column: Of `accuracy_queries`; by default the one for runs on cifar10.

    Raises:
        ValueError: The truth has no mean 200-epoch accuracy, or not that of every arch.
    """
    archs, pairs, accuracy = NB201.archs(), NB201.alive(), _whole_space(truth, column)
    means = np.array([accuracy[archs[:, edge] == op].mean() for edge, op in pairs])
    ranked, best_first = np.argsort(-means, kind="stable"), np.argsort(-accuracy, kind="stable")
    position = np.argsort(ranked).reshape(len(NB201.edges), -1)
    return OperatorTruth(
        pairs=tuple(pairs[index] for index in ranked),
        scores=means[ranked],
        archs=position[np.arange(len(NB201.edges)), archs[best_first]],
        accuracy=accuracy[best_first],
    )


def _whole_space(truth: GroundTruth, column: str | None) -> np.ndarray:
    """`(archs,)` accuracy of the space in lexicographic order, percent."""
    queries = accuracy_queries(truth)
    query, count = queries[column or primary_column(queries, "cifar10")], len(truth.arch_strs)
    need = f"an operator's score is a mean over all {NB201.size:,} archs of the space; give a table of all"
    if count != NB201.size:
        raise ValueError(f"ground truth {truth.name} holds {count:,} archs; {need}")
    try:
        return np.asarray(truth.accuracy(query, list(map(arch_to_str, NB201))))
    except ValueError:
        raise ValueError(f"ground truth {truth.name} lacks {query} of some archs; {need}") from None


def random_survivors(edges: np.ndarray, alive: int, rng: np.random.Generator, draws: int) -> np.ndarray:
    """`(draws, operators)` bool: what is left when random scores decide which operators go, by the rule of `shrink`.

    The lowest go first and no edge loses its last operator. New scores at each shrink make no difference: the next
    operator to go is always uniform among those that may.

    Args:
        edges: `(operators,)` the edge of each operator.
        alive: Operators left, at least one per edge.
    """
    order = rng.permuted(np.tile(np.arange(len(edges)), (draws, 1)), axis=1)
    left, on_edge = np.ones(order.shape, bool), np.tile(np.bincount(edges), (draws, 1))
    rows = np.arange(draws)
    for operator in order.T:
        edge = edges[operator]
        goes = (on_edge[rows, edge] > 1) & (left.sum(axis=1) > alive)
        left[rows[goes], operator[goes]] = False
        on_edge[rows[goes], edge[goes]] -= 1
    return left


def random_reference(operators: OperatorTruth, alive: int) -> dict[str, Any]:
    """What a run that drops at random leaves when `alive` operators are left.

    As all edges have equally many operators, each survives equally often: the expected recall is exactly
    alive / operators and the expected rank the mean rank. The best arch left is a mean over `DRAWS` draws, of which
    95% lie between `<key>_low` and `<key>_high`. `<recall>_possible` is the most that any criterion reaches that
    keeps an operator on each edge.
    """
    edges = np.array([edge for edge, _ in operators.pairs])
    left = random_survivors(edges, alive, np.random.default_rng(0), DRAWS)
    ranks = np.arange(1, len(edges) + 1)
    drawn = {f"recall_{top}": left[:, :top].mean(axis=1) for top in TOPS}
    drawn["survivor_rank"] = left @ ranks / left.sum(axis=1)
    drawn["space_best"] = operators.best_left(left)
    drawn["space_regret"] = operators.accuracy[0] - drawn["space_best"]
    value = {"alive": alive, "draws": DRAWS, "holds_best": float((drawn["space_regret"] == 0).mean())}
    for key, values in drawn.items():
        value[key] = float(values.mean())
        value[f"{key}_low"], value[f"{key}_high"] = np.quantile(values, [0.025, 0.975]).tolist()
    for top in TOPS:
        others = len(set(edges)) - len(set(edges[:top]))
        value[f"recall_{top}"] = alive / len(edges)
        value[f"recall_{top}_possible"] = min(top, alive - others) / top
    return value | {"survivor_rank": float(ranks.mean())}


def _shrinks(records: Sequence[RunRecord], operators: OperatorTruth) -> dict[int, list[dict[str, Any]]]:
    """By stage, what each run has alive after the shrink that ends it; empty for runs that never shrank."""
    stages: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        for line in record.history:
            if "candidates" in line:
                facts = {"seed": record.spec.seed, "epoch": line["epoch"], **survivors(line["candidates"], operators)}
                stages.setdefault(line["stage"], []).append(facts)
    return dict(sorted(stages.items()))


def survivors(candidates: Sequence[Sequence[int]], operators: OperatorTruth) -> dict[str, Any]:
    """The truth about the operators that a run has left.

    Args:
        candidates: Per edge the operators alive.

    Returns:
        `alive`, their ranks from 1; `recall_<top>`, the fraction of the top operators among them; `survivor_rank`, the
        mean of the ranks; `space_best`, the best accuracy of an arch made of them, percent; `space_regret`, what it
        lacks to the best of all, in points; `holds_best`, whether that is nothing.
    """
    pairs = {(edge, op) for edge, alive in enumerate(candidates) for op in alive}
    alive = np.array([pair in pairs for pair in operators.pairs])
    ranks, best = np.flatnonzero(alive) + 1, float(operators.best_left(alive[None])[0])
    regret = float(operators.accuracy[0]) - best
    return {
        "alive": ranks.tolist(),
        **{f"recall_{top}": float(alive[:top].mean()) for top in TOPS},
        "survivor_rank": float(ranks.mean()),
        "space_best": best,
        "space_regret": regret,
        "holds_best": regret == 0,
    }


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


@functools.cache
def rate_interval(count: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of the rate `count / n` (JASA 1927), which few seeds leave wide."""
    interval = stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _meaning_notes(meta: Mapping[str, Any], column: str) -> list[str]:
    count, tuned = len(meta["operators"]), {row["method"] for row in meta["rows"]} & set(TUNED)
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
    return notes + ([f"Tuned with CIFAR-10 truth in view: {', '.join(sorted(tuned))}."] if tuned else [])


def _gap_notes(
    groups: Mapping[str, list[RunRecord]], runs: Mapping[str, dict], wanted: Sequence[str], seeds: list[int]
) -> list[str]:
    absent = [method for method in wanted if method not in groups]
    still = [method for method, stages in runs.items() if not stages]
    notes = [f"No runs of: {', '.join(absent)}."] if absent else []
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
            row["method"],
            DROPPED_BY.get(row["method"], "–"),
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
    """One panel per method: a row per shrink, a column per operator in true order, darker where more seeds keep it."""
    rows = table.meta["rows"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    columns, most = min(2, len(methods)), max(row["stage"] for row in rows)
    depth = -(-len(methods) // columns)
    figure, axes = grid(depth, columns, height=0.45 + 0.18 * most + 1.35 / depth)
    labels = [_label(entry["operator"]) for entry in table.meta["operators"]]
    for nth, (axis, method) in enumerate(zip(axes, methods, strict=False)):
        named = labels if nth >= len(methods) - columns else [""] * len(labels)
        mesh = _panel(axis, [row for row in rows if row["method"] == method], named)
    for axis in axes[len(methods) :]:
        axis.set_axis_off()
    bar = figure.colorbar(
        mesh, ax=axes, location="bottom", aspect=30 * columns, shrink=0.6, pad=0.02, ticks=[0, 0.5, 1]
    )
    bar.set_label(textwrap.fill(_caption(table.meta), 68 * columns), fontsize=6.5)
    bar.ax.tick_params(labelsize=6.5, length=2)
    bar.outline.set_visible(False)
    return figure


def _panel(axis: Axes, rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> QuadMesh:
    """The rates of one method; lines close the top 10 and 21, whose recall stands at the right."""
    from matplotlib.colors import LinearSegmentedColormap

    shades, count = LinearSegmentedColormap.from_list("survival", SHADES), len(labels)
    edges = np.arange(count + 1) + 0.5
    rates = np.array([row["survival"] for row in rows])
    cells = {"cmap": shades, "vmin": 0, "vmax": 1, "edgecolors": "white", "linewidth": 0.6}
    mesh = axis.pcolormesh(edges, np.arange(len(rows) + 1), rates, **cells)
    axis.invert_yaxis()
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, pad=1.5)
    axis.set_xticks(range(1, count + 1), labels, fontsize=5.2, rotation=90)
    left = [f"shrink {row['stage']}: {span([row['alive_min'], row['alive_max']])} left" for row in rows]
    axis.set_yticks(np.arange(len(rows)) + 0.5, left, fontsize=6.5)
    method, counts = rows[0]["method"], span([row["n"] for row in rows])
    criterion = f": {DROPPED_BY[method]}" if method in DROPPED_BY else ""
    axis.set_title(f"{method}{criterion} (n = {counts})", loc="left", fontsize=7.5, pad=11)
    above = {"xytext": (0, 2), "textcoords": "offset points", "fontsize": 6, "va": "bottom", "annotation_clip": False}
    for top, place in zip(TOPS, (count + 2.7, count + 7.3), strict=True):
        axis.axvline(top + 0.5, ymax=1.12, color=LINE, linewidth=1.2, clip_on=False)
        axis.annotate(f"top {top}", (top + 0.2, 0), ha="right", **above)
        axis.annotate(f"top {top}", (place, 0), ha="center", **above)
        for line, row in enumerate(rows):
            axis.text(place, line + 0.5, fixed(row[f"recall_{top}_mean"], 2), fontsize=6.5, ha="center", va="center")
    return mesh


def _label(operator: str) -> str:
    edge, name = operator.split()
    return f"{edge} {SHORT[name]}".replace("->", "→")


def _caption(meta: Mapping[str, Any]) -> str:
    several = max(row["n"] for row in meta["rows"]) > 1
    shade = "Share of seeds in which an operator is alive" if several else "Dark: alive, light: dropped, in one seed"
    expected = [f"{fixed(value['recall_10'], 2)} with {value['alive']} left" for value in meta["random_reference"]]
    return (
        f"{shade}; from left to right the operators from truly best to worst. At the right the recall of the top 10 "
        f"and top 21: random dropping keeps {', '.join(expected)} on average."
    )
