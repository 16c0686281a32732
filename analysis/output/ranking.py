"""What `evaluate-ranking` shows: rounded numbers with what they mean, and a picture of ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from senas_bench.analysis.metrics.bootstrap import defined
from senas_bench.analysis.metrics.correlation import kendall_tau
from senas_bench.analysis.output.figures import grid
from senas_bench.plotting import house_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth, Query

CORRELATIONS = (
    ("tau_b", "tau", "Kendall's tau-b: 1 is the true order, 0 is chance, -1 upside down"),
    ("spearman", "Spearman's rho", "correlation of the ranks"),
    ("weighted_tau", "weighted tau", "the top of the ranking counts more"),
    ("tau_top10", "tau top 10%", "among the truly best tenth of these archs"),
)
NONE = "–"


def text(found: Mapping[str, Any]) -> str:
    """All that `analysis.evaluation.evaluate_rankings` found, for readers; JSON has the full precision."""
    blocks = ["\n".join(_file_lines(name, result)) for name, result in found["files"].items()]
    if found["pairs"]:
        lines = ["B minus A in tau, on the archs of both; [95% interval over archs]"]
        blocks.append("\n".join([*lines, *map(_pair_line, found["pairs"])]))
    return "\n\n".join(blocks)


def _file_lines(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    n = result["n"]
    yield f"{name}: {n:,} archs"
    yield f"truth: {_truth(result)} ({result['ground_truth']})"
    rows = [_correlation(result, *row) for row in CORRELATIONS]
    for k in (key.removeprefix("precision@") for key in result if key.startswith("precision@")):
        precision, rank = result[f"precision@{k}"], result[f"best_rank@{k}"]
        rows.append((f"precision@{k}", _number(precision, 2), f"share of the {k} scored best that is truly best {k}"))
        rows.append(
            (
                f"best rank@{k}",
                NONE if rank is None else f"{round(rank, 1):g}",
                f"true place of the best among the {k} scored best, of {n:,}",
            )
        )
    ties = result["pick_ties"]
    tied = f"the first of {ties:,} with the highest score, accuracy their mean" if ties > 1 else "has the highest score"
    rows.append(("pick", f"{result['pick_accuracy']:.2f}%", f"{result['pick']} {tied}"))
    rows.append(("regret", _number(result["regret"], 2), "points that the pick lacks to the best of these archs"))
    rows.append(("", _number(result["regret_to_optimum"], 2), "points that it lacks to the best of the whole truth"))
    width = max(len(value) for _, value, _ in rows)
    yield from (f"  {label:<15} {value:<{width}}  {meaning}" for label, value, meaning in rows)
    yield from (f"note: {note}" for note in result["notes"])
    yield from _standing_lines(result)


def _standing_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """These scores among the methods of the ladder, by tau."""
    rows, tau, interval = result["standing"]["rows"], result["tau_b"], result["tau_b_ci95"]
    if not rows or tau is None:
        yield f"not shown beside the methods of results/: {result['standing']['reason'] or 'tau is undefined'}"
        return
    yield "beside the methods of results/, same archs and truth; mean tau ± standard deviation over seeds:"
    mine = f"{tau:6.3f}         > these scores"
    for row in rows:
        if mine and tau >= row["tau_mean"]:
            yield f"  {mine}"
            mine = ""
        spread = "" if row["tau_std"] is None else f"± {row['tau_std']:.3f}"
        inside = interval and interval[0] <= row["tau_mean"] <= interval[1]
        seeds = f"{row['seeds']} seed{'s' * (row['seeds'] > 1)}"
        of = f"{row['folder']}, {row['images']}, {seeds}"
        yield f"  {row['tau_mean']:6.3f} {spread:<7} {'~' if inside else ' '} {row['method']} ({of})"
    if mine:
        yield f"  {mine}"
    yield "~ is in the interval of these scores; for an interval of the difference: `senas-bench rank`, then both files"


def _truth(result: Mapping[str, Any]) -> str:
    seeds = "mean over training seeds" if result["seeds"] == "mean" else f"training seeds {result['seeds']}"
    return f"{result['dataset']} {result['split']} accuracy after {result['epochs']} epochs, {seeds}"


def _correlation(result: Mapping[str, Any], key: str, label: str, meaning: str) -> tuple[str, str, str]:
    interval = result.get(f"{key}_ci95")
    reach = f" {_interval(interval)}" if interval else ""
    return label, f"{_number(result[key], 3)}{reach}", f"{meaning}{'; [95% interval]' if interval else ''}"


def _pair_line(pair: Mapping[str, Any]) -> str:
    """One comparison in a line."""
    names = f"A {pair['a']}, B {pair['b']}, n = {pair['n']:,}"
    if pair["difference"] is None:
        return f"  {names}: {'no' if pair['n'] < 2 else 'no defined'} difference; " + (
            "fewer than 2 archs are in both" if pair["n"] < 2 else "scores or truth are constant there"
        )
    difference = f"{pair['difference']:+.3f} (A {_number(pair['tau_of_a'], 3)}, B {_number(pair['tau_of_b'], 3)})"
    if pair["difference_ci95"] is None:
        return f"  {names}: {difference}; too few archs for an interval"
    low, high = pair["difference_ci95"]
    verdict = "B ranks better" if low > 0 else "A ranks better" if high < 0 else "not told apart"
    return f"  {names}: {difference} [{low:+.3f}, {high:+.3f}]: {verdict}"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _interval(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def figure(tables: Mapping[str, pd.DataFrame], truth: GroundTruth, query: Query) -> Figure:
    """Score rank against true rank, a panel per table; 1 is best, ties have their mean.

    Args:
        tables: Columns `arch_str` and `score`, by a name.
        truth, query: Where the accuracy is looked up.
    """
    with house_style():
        drawn, axes = grid(1, len(tables), height=3.0)
        for ax, (name, table) in zip(axes, tables.items(), strict=True):
            accuracy = np.asarray(truth.accuracy(query, table["arch_str"].tolist()), np.float64)
            _panel(ax, _places(table["score"]), _places(accuracy))
            ax.set_title(PurePath(name).name)
        axes[0].set_ylabel(f"true rank, {query.dataset} {query.split} {query.epochs} epochs (1 = best)")
    return drawn


def _panel(ax: Axes, by_score: np.ndarray, by_truth: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    n = len(by_score)
    tau = defined(kendall_tau(by_score, by_truth))
    size = float(np.clip(3000 / n, 0.6, 14))
    ax.plot([1, n], [1, n], color="#999999", linewidth=0.8)
    ax.scatter(by_score, by_truth, s=size, alpha=0.35 if n > 2000 else 0.6, linewidths=0, rasterized=n > 2000)
    ax.set_xlabel(f"rank by score (1 = best); n = {n:,}, tau {_number(tau, 3)}")
    round_ones = [int(tick) for tick in MaxNLocator(5, integer=True).tick_values(1, n) if 1 < tick <= n]
    ticks = [1, *round_ones]
    limits = (n + 0.02 * n, 1 - 0.02 * n)
    ax.set(xlim=limits, ylim=limits, xticks=ticks, yticks=ticks, box_aspect=1)


def _places(values: Any) -> np.ndarray:
    """`(n,)` ranks from 1, the largest first; whole numbers of any size keep their order."""
    return scipy.stats.rankdata(-np.unique(np.asarray(values), return_inverse=True)[1])
