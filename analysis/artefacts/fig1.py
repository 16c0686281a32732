"""Figure 1: ranks of single archs over repeats, alone and with shared weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy

from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.artefacts.table1 import ALONE, SUPERNET, alone_scores, largest_ranking
from senas_bench.analysis.join import (
    Scores,
    accuracy_queries,
    by_method,
    one_setting,
    only_primary,
    primary_column,
    setting_meta,
    setting_notes,
)
from senas_bench.analysis.metrics.statistics import movement
from senas_bench.analysis.output.figures import boxes, grid
from senas_bench.analysis.output.formats import Table, fixed, words
from senas_bench.analysis.output.notes import COLUMNS, RUNS, SETTING, VERDICTS
from senas_bench.analysis.style import style
from senas_bench.experiments.spec import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from senas_bench.groundtruth import GroundTruth
TITLE = "Figure 1: ranks of single archs over repeats"


def render_fig1(
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    *,
    no_timing: bool,
    methods: Sequence[str] | None = None,
) -> Table:
    """Fig. 1: the ranks that archs get over repeats, by one-shot and by stand-alone accuracy, in truth order.

    Args, raises: As `table3.render_table3`.

    Raises:
        ValueError: No stand-alone runs, they trained different archs, or a supernet did not rank them all.
    """
    setting, queries = one_setting(records), accuracy_queries(truth)
    column = primary_column(queries, setting["images"])
    groups = by_method(records, methods or (ALONE, SUPERNET), (ALONE, SUPERNET))
    if ALONE not in groups:
        raise ValueError(f"fig1 needs runs of {ALONE}; there are runs of: {', '.join(groups)}")
    alone = list(alone_scores(groups, scores).values())
    accuracy = pd.Series(truth.accuracy(queries[column], list(alone[0].index)), index=alone[0].index)
    accuracy = accuracy.sort_values(ascending=False, kind="stable")
    order = accuracy.index
    ranks = {"stand-alone": _ranks(alone, order)}
    rankings = [largest_ranking(scores(record)) for record in groups.get(SUPERNET, ())]
    shared = [ranking for ranking in rankings if ranking is not None and order.isin(ranking.index).all()]
    if len(shared) < len(rankings):
        raise ValueError(f"a run of {SUPERNET} did not rank all archs trained alone; give runs of one preset and size")
    if shared:
        ranks["supernet"] = _ranks(shared, order)
    rows = [_arch_row(place, *pair, ranks) for place, pair in enumerate(zip(order, accuracy, strict=True))]
    meta = {"title": TITLE}
    meta |= setting_meta(setting, truth, [record.spec.seed for group in groups.values() for record in group])
    meta |= {"column": column, "spread": {name: _spread(values) for name, values in ranks.items()}, "rows": rows}
    notes = {
        VERDICTS: _spread_notes(meta, groups),
        SETTING: setting_notes(meta, [len(group) for group in groups.values()], [column]),
        COLUMNS: [f"{len(rows)} random archs, ranked among themselves: 1 = best, ties at their mean rank."],
        RUNS: [] if SUPERNET in groups else [f"No runs of: {SUPERNET}."],
    }
    return Table("fig1", _fig1_display(rows, ranks), notes, meta, aside=("arch",))


def _ranks(runs: list[pd.Series], order: pd.Index) -> np.ndarray:
    """`(runs, archs)` ranks among these archs, 1 = best, ties at their mean rank, archs in truth order."""
    return np.stack([scipy.stats.rankdata(-series.loc[order].to_numpy()) for series in runs])


def _spread(ranks: np.ndarray) -> list[float]:
    """Per arch how far its rank moves between two repeats; 0 with one repeat."""
    return movement(ranks).tolist() if len(ranks) > 1 else [0.0] * ranks.shape[1]


def _arch_row(place: int, arch: str, accuracy: float, ranks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    row: dict[str, Any] = {"truth_rank": place + 1, "arch_str": arch, "accuracy": float(accuracy)}
    for name, values in ranks.items():
        key = name.replace("-", "_")
        low, median, high = np.quantile(values[:, place], [0.25, 0.5, 0.75])
        row |= {f"{key}_median": float(median), f"{key}_q25": float(low), f"{key}_q75": float(high)}
        row |= {f"{key}_min": float(values[:, place].min()), f"{key}_max": float(values[:, place].max())}
        row[f"{key}_ranks"] = values[:, place].tolist()
    return row


def _spread_notes(meta: Mapping[str, Any], groups: Mapping[str, list[RunRecord]]) -> list[str]:
    notes = []
    for name, values in meta["spread"].items():
        runs = len(groups[ALONE if name == "stand-alone" else SUPERNET])
        mean = f"the rank of an arch differs by {np.mean(values):.2f} between two repeats on average, of {runs}"
        notes.append(f"{name}: {mean if runs > 1 else 'one repeat, which has no spread'}.")
    return notes


def _fig1_display(rows: list[dict[str, Any]], ranks: Mapping[str, np.ndarray]) -> pd.DataFrame:
    columns = {"truth rank": [str(row["truth_rank"]) for row in rows], "arch": [row["arch_str"] for row in rows]}
    columns["accuracy"] = [fixed(row["accuracy"], 2) for row in rows]
    for name in ranks:
        key = name.replace("-", "_")
        columns[f"{name}: median rank"] = [fixed(row[f"{key}_median"], 1) for row in rows]
        columns[f"{name}: range"] = [f"{fixed(row[f'{key}_min'], 1)}-{fixed(row[f'{key}_max'], 1)}" for row in rows]
    return pd.DataFrame(columns)


def draw_fig1(table: Table) -> Figure:
    """A panel each for stand-alone and one-shot accuracy: per arch a box and its repeats, the best arch left. On the
    grey line a rank is that of the truth."""
    rows, names = table.meta["rows"], list(table.meta["spread"])
    figure, axes = grid(len(names), 1, width=5.2, height=2.3)
    for ax, name in zip(axes, names, strict=True):
        ranks = [row[f"{name.replace('-', '_')}_ranks"] for row in rows]
        tint = style(ALONE if name == "stand-alone" else SUPERNET).colour
        ax.plot([1, len(rows)], [1, len(rows)], color="#bbbbbb", linewidth=0.8, zorder=1)
        places = np.repeat(np.arange(1, len(rows) + 1), len(ranks[0]))
        boxes(ax, places, np.concatenate(ranks), tint, orient="v", size=2.2, color="black", linewidth=1.2)
        ax.set(xlabel="", ylabel=f"rank by {name}", ylim=(len(rows) + 0.7, 0.3), xlim=(0.3, len(rows) + 0.7))
        ticks = [1, *range(5, len(rows) + 1, 5)] if len(rows) > 5 else range(1, len(rows) + 1)
        ax.set_xticks(ticks, [str(place) for place in ticks])
        moves = (
            f": a rank differs by {np.mean(table.meta['spread'][name]):.1f} between two" if len(ranks[0]) > 1 else ""
        )
        ax.set_title(f"{name} accuracy, {len(ranks[0])} repeats{moves}")
    axes[-1].set_xlabel(f"archs by {words(table.meta['column'])} accuracy, best left; on the grey line both agree")
    return figure


FIG1 = Artefact("fig1", TITLE, (ALONE, SUPERNET), render_fig1, draw_fig1, essential=ALONE, reads=only_primary)
