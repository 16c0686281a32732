"""Searches under a limit, their picks trained from scratch: Tables 4 to 6, Figures 9 to 12."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from senas_bench.analysis.artefacts.artefact import Artefact, Search, key_of
from senas_bench.analysis.artefacts.collapse import collapse_notes, lead_notes
from senas_bench.analysis.artefacts.protocols import protocol_notes
from senas_bench.analysis.artefacts.trained_again import noise_of, noise_said
from senas_bench.analysis.join import one_setting
from senas_bench.analysis.output.figures import PERCENT, bars, grid, say_below
from senas_bench.analysis.output.formats import Table, count_cell, fixed, listed, plus_minus, scaled, span
from senas_bench.analysis.output.notes import PAPER, RUNS, SETTING, VERDICTS
from senas_bench.analysis.paper import networks
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.style import style
from senas_bench.experiments.spec import RunRecord, canonical_json
from senas_bench.spaces import SPACES
from senas_bench.spaces.darts.drawing import draw_darts
from senas_bench.spaces.mobilenet import MobileSkeleton
from senas_bench.spaces.mobilenet.drawing import draw_mobilenets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from senas_bench.analysis.join import Scores
    from senas_bench.groundtruth import GroundTruth


DARTS_ROWS = (
    Search("DARTS, 1st order", "darts-v1", "darts-separate", "flops", 590),
    Search("DARTS, 2nd order", "darts-v2", "darts-separate", "flops", 590),
    Search("GDAS", "gdas", "darts-separate", "flops", 590),
    Search("SNAS", "snas", "darts-separate", "flops", 590),
    Search("P-DARTS", "p-darts", "darts-separate", "flops", 590),
    Search("Fair DARTS", "fair-darts", "darts-separate", "flops", 590),
    Search("PC-DARTS", "pc-darts", "darts-separate", "flops", 590),
)
"""Systems that learn logits. The paper prints the first four; the others are those that it discusses beside them."""
AGAIN = Search("Random archs trained again", "fixed", "mobilenet", "flops", 470, archs=4)
AGAIN_IN_DARTS = replace(AGAIN, space="darts-separate", level=590)
TABLE4_ROWS = (
    Search("SE-NAS-A", "se-nas", "mobilenet", "flops", 250),
    Search("SE-NAS-B", "se-nas", "mobilenet", "flops", 320),
    Search("Random", "random", "mobilenet", "flops", 470),
    Search("SPOS", "spos", "mobilenet", "flops", 470),
    Search("SE-NAS-C", "se-nas", "mobilenet", "flops", 470),
    Search("SE-NAS-D", "se-nas", "mobilenet-g2", "flops", 590),
    *DARTS_ROWS,
    Search("SE-NAS-E", "se-nas", "darts-separate", "flops", 590),
    Search("FBNet", "fbnet", "mobilenet", "flops", 250),
    Search("ProxylessNAS-R", "proxylessnas-r", "mobilenet", "flops", 320),
    Search("FairNAS", "fairnas", "mobilenet-fair", "flops", 320),
    Search("GreedyNAS", "greedynas", "mobilenet", "flops", 320),
    Search("ProxylessNAS", "proxylessnas", "mobilenet", "flops", 470),
    Search("PCNAS", "pcnas-pool", "mobilenet-g2", "flops", 590),
    AGAIN,
    AGAIN_IN_DARTS,
)
TABLE5_ROWS = (
    Search("SPOS", "spos", "mobilenet", "latency", 17),
    Search("SE-NAS-F", "se-nas", "mobilenet", "latency", 17),
    Search("SPOS", "spos", "mobilenet", "latency", 22),
    Search("SE-NAS-G", "se-nas", "mobilenet", "latency", 22),
    Search("ProxylessNAS-R", "proxylessnas-r", "mobilenet", "latency", 17),
    Search("ProxylessNAS", "proxylessnas", "mobilenet", "latency", 22),
    AGAIN,
)
TABLE6_ROWS = (
    Search("SPOS", "spos", "mobilenet", "flops", 470),
    Search("SPOS + shrinking (SI)", "si-shrink", "mobilenet", "flops", 470),
    Search("SPOS + shrinking (SI + SC)", "se-nas-shrink", "mobilenet", "flops", 470),
    Search("SPOS + shrinking (SI + SC) + expanding", "se-nas", "mobilenet", "flops", 470),
    AGAIN,
)
FIG9_ROWS = tuple(search for search in TABLE4_ROWS if search.label in ("SE-NAS-A", "SE-NAS-B", "SE-NAS-C", "SE-NAS-D"))
FIG10_ROWS = tuple(search for search in TABLE5_ROWS if search.method == "se-nas")
CELL_ROWS = tuple(search for search in TABLE4_ROWS if search.label == "SE-NAS-E")

ASIDE = ("space", "method", "paper's limit", "images", "scored", "retrained")
"""Columns that the LaTeX file leaves out."""
TITLES = {
    "table4": "Table 4: searches under a limit of FLOPs",
    "table5": "Table 5: searches under a limit of latency",
    "table6": "Table 6: what each part of SE-NAS adds",
    "fig9": "Figure 9: networks found under a limit of FLOPs",
    "fig10": "Figure 10: networks found under a limit of latency",
    "fig11": "Figure 11: the normal cell found in the DARTS space",
    "fig12": "Figure 12: the reduction cell found in the DARTS space",
}


def render(
    name: str,
    searches: Sequence[Search],
    records: Sequence[RunRecord],
    *,
    no_timing: bool,
) -> Table:
    """One of Tables 4 to 6, or the table behind one of Figures 9 to 12.

    Args:
        name: Key of `TITLES`.
        searches: Its rows; those without runs are left out, and named.
        records: Finished runs of one preset, set of images and device, in any order.
        no_timing: Leave out seconds, so that the table does not depend on the machine.

    Raises:
        ValueError: No runs, or runs that may not share a table.
    """
    groups = {search: _runs(search, records) for search in searches}
    again = {search: groups.pop(search) for search in searches if search.archs}
    shown = {search: group for search, group in groups.items() if group}
    if not shown:
        raise ValueError(f"no finished runs for {name}; run `senas-bench reproduce {name}` first")
    every = [record for group in shown.values() for record in group]
    setting = one_setting([*every, *(record for group in again.values() for record in group)], across_spaces=True)
    noise = [noise_of(search, group) for search, group in again.items()]
    rows = [_row(search, group, no_timing) for search, group in shown.items()]
    meta = {
        "title": TITLES[name],
        **setting,
        "seeds": sorted({record.spec.seed for record in every}),
        "rows": rows,
        "noise": [asdict(found) for found in noise],
    }
    named = {f"{search.label} ({search.level:g})": group for search, group in shown.items()}
    notes = {
        VERDICTS: [noise_said(found) for found in noise],
        SETTING: _notes(meta, rows),
        RUNS: [
            *protocol_notes(every),
            *collapse_notes(named),
            *lead_notes(named),
            *(f"No runs of: {s.label} ({s.level:g})." for s, group in groups.items() if not group),
        ],
        PAPER: networks.NOTES if name == "table4" else (),
    }
    numbers = _paper_rows(name)
    return Table(name, _display(rows, no_timing), notes, meta, numbers, _paper_display(numbers), ASIDE)


def _runs(search: Search, records: Sequence[RunRecord]) -> list[RunRecord]:
    own = sorted((r for r in records if key_of(r) == search.key), key=lambda record: (record.spec.seed, record.pick))
    asked = [{**record.spec.settings, "arch": None} for record in own]
    given = [record.pick if search.archs else "" for record in own]
    if len({(record.spec.seed, arch) for record, arch in zip(own, given, strict=True)}) < len(own):
        raise ValueError(f"{search.label} at {search.level:g} has two runs of one seed; give the runs of one setting")
    if len(set(map(canonical_json, asked))) > 1:
        raise ValueError(f"{search.label} at {search.level:g} has runs with different settings; give those of one")
    return own


def _row(search: Search, group: Sequence[RunRecord], no_timing: bool) -> dict[str, Any]:
    runs = [_facts(record, no_timing) for record in group]
    row: dict[str, Any] = {"search": search.label, "method": search.method, "space": search.space}
    row |= {"cost": search.cost, "level": search.level, "n": len(runs)}
    for key in [key for key in runs[0] if key not in ("seed", "pick", "split", "skeleton")]:
        values: Any = pd.Series([run[key] for run in runs if run[key] is not None], dtype=float)
        row[f"{key}_mean"] = float(values.mean()) if len(values) else None
        row[f"{key}_std"] = float(values.std(ddof=1)) if len(values) > 1 else None
    return row | {"split": runs[0]["split"], "per_seed": runs}


def _facts(record: RunRecord, no_timing: bool) -> dict[str, Any]:
    """Every number of one run; None where it has none."""
    phases = {line["phase"]: line for line in record.history if "phase" in line}
    pick, retrained = phases.get("pick", {}), phases.get("retrain", {})
    work, later = record.counters["search"], record.counters.get("retrain", {})
    facts = {"seed": record.spec.seed, "pick": record.pick, "split": retrained.get("split")}
    facts["skeleton"] = pick.get("skeleton")
    facts |= {"flops_m": pick.get("flops_m"), "params_m": pick["params"] / 1e6 if "params" in pick else None}
    facts |= {"limit": pick.get("limit_high"), "cost": pick.get("limited_cost")}
    facts |= {name: retrained.get(name) for name in ("top1", "top5")}
    facts |= {"images_trained": work["images_trained"], "images_scored": work["images_scored"]}
    facts["multiply_adds"] = work.get("multiply_adds")
    facts["images_retrained"] = later.get("images_trained", 0)
    if not no_timing:
        facts["search_seconds"] = record.timing.get("search_seconds")
        facts["measured_ms"] = record.timing.get("pick_latency_ms")
    return facts


def _notes(meta: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    splits = {row["split"] for row in rows if row["split"]}
    notes = [
        f"Preset {meta['preset']}, images {meta['images']}, device {meta['device']}.",
        f"n = {span([row['n'] for row in rows])} seeds ({listed(meta['seeds'])}); ± is the standard deviation over "
        "seeds (ddof = 1). Each pick is trained from scratch once.",
        f"Accuracy is of the {' and '.join(sorted(splits)) or 'no'} images, percent.",
    ]
    if "valid" in splits:
        notes.append("These images have no test split: accuracy is of the validation images, which scored the search.")
    if meta["preset"] != "paper":
        notes.append(
            f"A proxy: preset {meta['preset']} searches and trains small networks on {meta['images']}. The limits are "
            "not the paper's, but bind as much: they lie at the same share of the range from the cheapest to the "
            "dearest network; for latency, where networks with the FLOPs of the paper's lie. Compare rows with each "
            "other, not with the paper's numbers."
        )
    if meta["changed_sizes"]:
        changed = ", ".join(f"{key} {' or '.join(values)}" for key, values in meta["changed_sizes"].items())
        notes.insert(0, f"Not the sizes of preset {meta['preset']}: {changed}.")
    return notes


def _display(rows: Sequence[Mapping[str, Any]], no_timing: bool) -> pd.DataFrame:
    columns = {
        "search": [row["search"] for row in rows],
        "space": [row["space"] for row in rows],
        "method": [row["method"] for row in rows],
        "paper's limit": [f"{row['level']:g} {'M' if row['cost'] == 'flops' else 'ms'}" for row in rows],
        "limit here": [_limit_cell(row) for row in rows],
        "n": [str(row["n"]) for row in rows],
        "FLOPs (M)": [plus_minus(row, "flops_m", 2) for row in rows],
        "params (M)": [plus_minus(row, "params_m", 3) for row in rows],
        "predicted (ms)": [_predicted_cell(row) for row in rows],
        "measured (ms)": [plus_minus(row, "measured_ms", 3) if row.get("measured_ms_mean") else "–" for row in rows],
        "top-1": [plus_minus(row, "top1", 2) for row in rows],
        "top-5": [plus_minus(row, "top5", 2) for row in rows],
        "images": [count_cell(row["images_trained_mean"]) for row in rows],
        "scored": [count_cell(row["images_scored_mean"]) for row in rows],
        "multiply-adds": [scaled(row["multiply_adds_mean"]) if row["multiply_adds_mean"] else "–" for row in rows],
        "retrained": [count_cell(row["images_retrained_mean"]) for row in rows],
    }
    if not no_timing:
        columns["search s"] = [fixed(row["search_seconds_mean"], 1) for row in rows]
    return pd.DataFrame({name: cells for name, cells in columns.items() if set(cells) != {"–"}})


def _limit_cell(row: Mapping[str, Any]) -> str:
    if row["limit_mean"] is None:
        return "–"
    return f"{row['limit_mean'] / 1e6:.2f} M" if row["cost"] == "flops" else f"{row['limit_mean']:.3f} ms"


def _predicted_cell(row: Mapping[str, Any]) -> str:
    return "–" if row["cost"] == "flops" or row["cost_mean"] is None else plus_minus(row, "cost", 3)


def _paper_rows(name: str) -> pd.DataFrame:
    if name == "table4":
        return pd.DataFrame(networks.table4())
    if name == "table5":
        return pd.DataFrame(networks.table5())
    return pd.DataFrame(paper.TABLE6) if name == "table6" else pd.DataFrame()


def _paper_display(numbers: pd.DataFrame) -> pd.DataFrame:
    """What the paper prints, and beside it our count of the networks whose arch is public."""
    heads = {
        "name": "network",
        "search": "search",
        "space": "space",
        "published_flops_m": "FLOPs (M)",
        "flops_m": "counted here (M)",
        "published_latency_ms": "latency (ms)",
        "published_params_m": "params (M)",
        "params_m": "counted here, params (M)",
        "published_top1": "top-1",
        "published_top5": "top-5",
        "published_gpu_days": "GPU-days",
    }
    rows = numbers.astype(object).where(numbers.notna(), None).to_dict("records")
    return pd.DataFrame({head: [_cell(row, key) for row in rows] for key, head in heads.items() if key in numbers})


def _cell(row: Mapping[str, Any], key: str) -> str:
    value, std = row[key], row.get(f"{key}_std")
    if value is None or isinstance(value, str):
        return value or "–"
    text = f"{value:.2f}" if key in ("flops_m", "params_m") else f"{value:g}"
    return text if std is None else f"{text} ± {std:g}"


def draw_table(table: Table) -> Figure:
    """Top-1 accuracy of the retrained picks: means over seeds, bars one standard deviation, and the seeds.

    A panel for each kind of network, with its own scale: they train for unlike lengths, and only rows of one compare.
    """
    rows = table.meta["rows"]
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault("DARTS" if row["space"].startswith("darts") else "MobileNet-like", []).append(row)
    heights = [len(group) + 1.5 for group in panels.values()]
    figure, axes = grid(
        len(panels), 1, width=4.4, height=0.3 * sum(heights) / len(panels) + 0.35, height_ratios=heights
    )
    for ax, (kind, group) in zip(axes, panels.items(), strict=True):
        for place, row in enumerate(group):
            if row["top1_mean"] is not None:
                _draw_row(ax, place, row)
        ax.set_yticks(range(len(group)), [_row_label(row) for row in group], fontsize=7)
        lengths = " or ".join(sorted({count_cell(row["images_retrained_mean"]) for row in group}))
        ax.set_title(f"{kind}, picks trained on {lengths} images", loc="right")
        ax.set_ylim(len(group) - 0.5, -0.5)
    split = next((row["split"] for row in rows if row["split"]), "")
    axes[-1].set_xlabel(f"top-1 accuracy, percent ({table.meta['images']} {split})")
    say_below(figure, "mean and standard deviation over seeds (how many); small dots: each seed")
    return figure


def _draw_row(ax: Axes, place: int, row: Mapping[str, Any]) -> None:
    tint, seeds = style(row["method"]).colour, [run["top1"] for run in row["per_seed"] if run["top1"] is not None]
    reach = bars(row["top1_mean"], row["top1_std"] or 0.0, PERCENT)
    ax.errorbar(row["top1_mean"], place, xerr=reach, color=tint, marker="o", capsize=2, linewidth=1.0)
    ax.scatter(seeds, [place] * len(seeds), s=6, color=tint, alpha=0.5, linewidth=0)


def _row_label(row: Mapping[str, Any]) -> str:
    unit = {"flops": "M", "latency": "ms"}[row["cost"]]
    here = "" if row["limit_mean"] is None else f", here {_limit_cell(row)}"
    return f"{row['search']} ({row['n']})\npaper's {row['level']:g} {unit}{here}"


def draw_archs(table: Table) -> Figure:
    """The pick of the first seed of each row, over the skeleton that it was searched with."""
    shown = {}
    for row in table.meta["rows"]:
        first = row["per_seed"][0]
        label = f"{row['search']}, seed {first['seed']}, preset {table.meta['preset']}"
        sizes: dict[str, Any] = first["skeleton"]
        sizes = {name: tuple(size) if isinstance(size, list) else size for name, size in sizes.items()}
        shown[label] = SPACES[row["space"]].from_str(first["pick"]), MobileSkeleton(**sizes)
    return draw_mobilenets(shown)


def draw_cell(which: str, table: Table) -> Figure:
    """The `normal` or the `reduce` cell of the pick of the first seed."""
    row = table.meta["rows"][0]
    first = row["per_seed"][0]
    title = f"{row['search']}, seed {first['seed']}, preset {table.meta['preset']}"
    return draw_darts(SPACES["darts-separate"].from_str(first["pick"]), title, cell=which)


def renderer(name: str, searches: Sequence[Search]) -> Any:
    """`render` with the arguments of an artefact; no ground truth is joined, for there is none."""

    def rendered(
        records: Sequence[RunRecord],
        scores: Scores,
        truth: GroundTruth,
        *,
        no_timing: bool,
        methods: Sequence[str] | None = None,
    ) -> Table:
        chosen = [search for search in searches if methods is None or search.method in methods]
        return render(name, chosen, records, no_timing=no_timing)

    return rendered


def _artefact(name: str, rows: tuple[Search, ...], draw: Callable[[Table], Figure] = draw_table) -> Artefact:
    methods = tuple(dict.fromkeys(search.method for search in rows))
    return Artefact(name, TITLES[name], methods, renderer(name, rows), draw, searches=rows)


TABLE4 = _artefact("table4", TABLE4_ROWS)
TABLE5 = _artefact("table5", TABLE5_ROWS)
TABLE6 = _artefact("table6", TABLE6_ROWS)
FIG9 = _artefact("fig9", FIG9_ROWS, draw_archs)
FIG10 = _artefact("fig10", FIG10_ROWS, draw_archs)
FIG11 = _artefact("fig11", CELL_ROWS, partial(draw_cell, "normal"))
FIG12 = _artefact("fig12", CELL_ROWS, partial(draw_cell, "reduce"))
