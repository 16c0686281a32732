"""What each claim of the paper compares: values of rendered artefacts, side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from senas_bench.analysis.output.formats import Table, fixed, span, words
from senas_bench.analysis.paper.judges import Measured
from senas_bench.analysis.style import baselines

RIVALS = ("rsps", "darts-v1", "darts-v2", "setn", "enas")
NEAR = {"cifar10_test": 1.0, "cifar100_test": 2.0, "imagenet16-120_test": 2.0}
"""Points to the best arch that count as close, by column; the paper's own rows are 0.90, 1.60 and 1.65 away."""
DATASETS = ("cifar10", "cifar100", "imagenet16-120")
"""Images that a truth may be of."""
GAP = 0.3
"""How much lower the tau of a plain supernet is."""
WORK = {
    "images trained": ("images_trained",),
    "images trained and scored": ("images_trained", "images_scored"),
    "paths evaluated forward": ("path_evaluations",),
    "paths evaluated forward and backward": ("path_evaluations", "backward_paths"),
}
"""What a search costs, as sums of counts of Table 3; left out where its rows lack one."""
READINGS = {
    "as the paper reads it, archs alive {when} against {whole} of the baseline": ("current", "whole"),
    "both on the archs alive {when}": ("current", "same"),
    "both on {whole}": ("whole", "whole"),
}
"""Sets of the method and of its baseline that a tau may be read on (docs/method.md 2.3); `whole` is what was ranked of
the whole space."""
WHOLE = {"full": "the whole space", "sample": "the sample"}


def _end_taus(table: Table, subject: str, judge: str) -> Iterator[Measured]:
    """Fig. 8: tau at the end, in each reading."""
    baseline = baselines()[subject]
    for column in _columns(table):
        for reading, sets in READINGS.items():
            yield _taus(table, column, (subject, baseline), sets, reading, "at the end", judge)


def _first_stage_taus(table: Table, subject: str) -> Iterator[Measured]:
    """Fig. 7: tau just before the second shrink."""
    readings = {reading: sets for reading, sets in READINGS.items() if "same" not in sets}  # it holds some archs only
    for epoch, column in itertools.product(table.meta["shrinks"][1:2], _columns(table)):
        for reading, sets in readings.items():
            reading, names = f"epoch {epoch}, {reading}", (subject, baselines()[subject])
            yield _taus(table, column, names, sets, reading, "then", epoch=epoch)


def _taus(
    table: Table,
    column: str,
    names: tuple[str, str],
    sets: tuple[str, str],
    reading: str,
    when: str,
    judge: str = "higher",
    **where: Any,
) -> Measured:
    """Two rows of taus; `whole` is the full space where all sides that need it ranked it, else the fixed sample."""
    wide = [name for name, wanted in zip(names, sets, strict=True) if wanted == "whole"]
    full = all(_find(table, method=name, set="full", column=column, **where) for name in wide)
    whole = "full" if full else "sample"
    chosen = [whole if wanted == "whole" else wanted for wanted in sets]
    rows = [_find(table, method=name, set=one, column=column, **where) for name, one in zip(names, chosen, strict=True)]
    archs = [_archs(row) if row else "no" for row in rows]
    remark = f"{archs[0]} archs" if archs[0] == archs[1] else f"{archs[0]} archs against {archs[1]}"
    remark += f"{_functions(rows[0])}.{_saw(table, column)}"
    why = ""
    if judge == "steadier" and archs[0] != archs[1]:
        why = "Not tested: over fewer archs a tau spreads more by itself."
    reading = reading.format(when=when, whole=WHOLE[whole])
    return Measured(reading, column, names, _by_seed(rows[0]), _by_seed(rows[1]), judge, remark, undecidable=why)


def _saw(table: Table, column: str) -> str:
    """What the networks were trained on, where the truth is of other images."""
    images = table.meta["images"]
    if column.startswith(f"{images}_") or images not in DATASETS:
        return ""
    return f" The networks trained here saw {images}; the paper trains on each data set."


def _functions(row: Mapping[str, Any] | None) -> str:
    """How many functions the archs of a row are, and with how many seeds they are but one."""
    if not row or "functions_min" not in row:
        return ""
    single = sum(run["functions"] == 1 for run in row["per_seed"])
    said = f", {span([row['functions_min'], row['functions_max']])} functions"
    return said + (
        f"; one function with {single} of {len(row['per_seed'])} seeds, where nothing is ranked" if single else ""
    )


def _keeps_most(table: Table, subject: str, stage: int, top: int) -> Iterator[Measured]:
    """Fig. 6: is more than half of the top operators alive after a shrink?"""
    key = f"recall_{top}"
    kept = _by_seed(_find(table, method=subject, stage=stage), key)
    expected = [value[key] for value in table.meta["random_reference"] if value["stage"] == stage]
    remark = f"Dropping at random keeps {_mean_span(expected)} on average." if expected else ""
    reading = f"recall of the top {top} after shrink {stage}"
    yield Measured(reading, _primary(table), (subject, "half"), kept, dict.fromkeys(kept, 0.5), remark=remark)


def _mean_span(values: Sequence[float]) -> str:
    """`0.333` or `0.300 to 0.333`."""
    return " to ".join(dict.fromkeys(fixed(value, 3) for value in (min(values), max(values))))


def _keeps_more(table: Table, subject: str) -> Iterator[Measured]:
    """Fig. 6: the top 10 after the second shrink, against two other ways to drop."""
    kept = _by_seed(_find(table, method=subject, stage=2), "recall_10")
    for rival in ("random-shrink", "magnitude-shrink"):
        theirs = _by_seed(_find(table, method=rival, stage=2), "recall_10")
        yield Measured(f"against {rival}", _primary(table), (subject, rival), kept, theirs)


def _near_optimal(table: Table, subject: str) -> Iterator[Measured]:
    """Table 3: is the pick closer to the best arch than `NEAR`?"""
    best = _find(table, method="optimal") or {}
    for column in _columns(table):
        picks = _by_seed(_find(table, method=subject), column)
        level: float = best[f"{column}_mean"] - NEAR[column]
        limit = dict.fromkeys(picks, level)
        reading, names = f"within {NEAR[column]:g} of the best arch", (subject, f"the best arch less {NEAR[column]:g}")
        yield Measured(reading, column, names, picks, limit, digits=2)


def _picks(table: Table, subject: str, rivals: Sequence[str], judge: str) -> Iterator[Measured]:
    """Table 3: the test accuracy of the pick against those of other methods."""
    for column in _columns(table):
        for rival in rivals:
            ours, theirs = (_by_seed(_find(table, method=name), column) for name in (subject, rival))
            yield Measured(f"against {rival.upper()}", column, (subject, rival), ours, theirs, judge, digits=2)


def _cost(table: Table, subject: str) -> Iterator[Measured]:
    """Table 3: what a search costs, next to GDAS, in units that no machine changes."""
    rows = [_find(table, method=name) for name in (subject, "gdas")]
    runs = [run for row in rows if row for run in row["per_seed"]]
    preset = table.meta["preset"]
    why = f"Preset {preset} fixes how long each method trains: this is about the preset." * (preset != "paper")
    for name, counts in WORK.items():
        if all(run.get(count) is not None for run in runs for count in counts):
            ours, theirs = (
                {run["seed"]: sum(run[count] for count in counts) for run in row["per_seed"]} if row else {}
                for row in rows
            )
            yield Measured(name, None, (subject, "gdas"), ours, theirs, "cheaper", digits=0, undecidable=why)


def _supernet_gap(table: Table, _: str) -> Iterator[Measured]:
    """Table 1: stand-alone tau less `GAP` against supernet tau."""
    names = (f"stand-alone less {GAP}", "supernet")
    for column in _columns(table):
        rows = [
            _find(table, ranking=name, column=column) for name in ("stand-alone", "supernet, same archs", "supernet")
        ]
        alone, same, whole = map(_by_seed, rows)
        here = {seed: tau - GAP for seed, tau in alone.items()}
        saw = _saw(table, column).strip()
        yield Measured("stand-alone trained here, both on the same archs", column, names, here, same, remark=saw)
        splits = [column.replace("_test", split) for split in ("_test", "_valtest", "_val")]  # what single seeds have
        rows_of_benchmark = (_find(table, ranking=BENCHMARK, column=split) for split in splits)
        given = next((row for row in rows_of_benchmark if row and row["tau_mean"] is not None), None)
        level = {seed: given["tau_mean"] - GAP for seed in whole} if given else {}
        remark = f"{_TAKEN}{_saw(table, column)}"
        if given and rows[2]:
            remark += (
                f" It is of {_archs(given)} archs and {words(given['column'])}, the supernet's of {_archs(rows[2])}."
            )
        yield Measured("stand-alone as in the benchmark", column, names, level, whole, remark=remark)


def _archs(row: Mapping[str, Any]) -> str:
    """How many archs are behind a row of taus."""
    return span([row["archs_min"], row["archs_max"]])


BENCHMARK = "stand-alone, benchmark"
_TAKEN = "The tau of the benchmark's own trainings is taken as given; only the seeds of the supernet vary."


def _supernet_unsteady(table: Table, _: str) -> Iterator[Measured]:
    """Fig. 1: how far the rank of each arch moves between two repeats."""
    names = ("supernet", "stand-alone")
    rows, spreads = table.meta["rows"], table.meta["spread"]
    ranks = [np.array([row.get(f"{name.replace('-', '_')}_ranks", ()) for row in rows]).T for name in names]
    first, second = (dict(enumerate(spreads.get(name) or ())) for name in names)
    reading = "mean difference of an arch's rank between two repeats"
    column = _primary(table)
    yield Measured(reading, column, names, first, second, "moves", digits=1, ranks=(ranks[0], ranks[1]))


def _within_limit(table: Table, subject: str) -> Iterator[Measured]:
    """Tables 4 and 5: the pick against those of others under the same limit, among the same kind of network."""
    rows = table.meta["rows"]
    for ours in (row for row in rows if row["method"] == subject):
        for theirs in rows:
            if _limited(theirs) == _limited(ours) and theirs["method"] != subject:
                yield _against(table, ours, theirs)


def _limited(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["cost"], row["level"], row["space"].startswith("darts")


PARTS = ("spos", "si-shrink", "se-nas-shrink", "se-nas")
"""Methods of Table 6, each with one part more than the one before it."""


def _parts(table: Table, subject: str) -> Iterator[Measured]:
    """Table 6: each row against that which lacks one part. What all parts add to SPOS is a row of Table 4."""
    for lacking, having in itertools.pairwise(PARTS):
        ours, theirs = (_find(table, method=name) for name in (having, lacking))
        if ours and theirs:
            yield _against(table, ours, theirs)
        else:
            yield Measured(f"{having} against {lacking}", None, (having, lacking), {}, {})


def _against(table: Table, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Measured:
    sides = [{run["seed"]: run["top1"] for run in row["per_seed"] if run["top1"] is not None} for row in (ours, theirs)]
    unit = {"flops": "M", "latency": "ms"}[ours["cost"]]
    reading = f"{ours['search']} against {theirs['search']}, {ours['level']:g} {unit} in the paper"
    column = f"top-1_{table.meta['images']}_{ours['split']}"
    limits: list[float] = [row["limit_mean"] for row in (ours, theirs) if row.get("limit_mean") is not None]
    why = ""
    if len(limits) == 2 and not np.isclose(limits[0], limits[1]):
        here = " and ".join(f"{limit / 1e6:.2f} M" if unit == "M" else f"{limit:.3f} ms" for limit in limits)
        why = f"Not tested: their limits here are {here}."
    names = ours["search"], theirs["search"]
    return Measured(reading, column, names, sides[0], sides[1], digits=2, undecidable=why)


RULES = {
    "supernet-gap": _supernet_gap,
    "supernet-unsteady": _supernet_unsteady,
    "keeps-top-21": lambda table, subject: _keeps_most(table, subject, 1, 21),
    "keeps-top-10": lambda table, subject: _keeps_most(table, subject, 2, 10),
    "keeps-more": _keeps_more,
    "tau-first-stage": _first_stage_taus,
    "tau-higher": lambda table, subject: _end_taus(table, subject, "higher"),
    "tau-steadier": lambda table, subject: _end_taus(table, subject, "steadier"),
    "near-optimal": _near_optimal,
    "beats-rivals": lambda table, subject: _picks(table, subject, RIVALS, "higher"),
    "matches-gdas": lambda table, subject: _picks(table, subject, ("gdas",), "alike"),
    "third-of-cost": _cost,
    "better-within-flops": _within_limit,
    "better-within-latency": _within_limit,
    "each-part-adds": _parts,
}
"""What a claim compares: `(*tables it needs, subject) -> rows`."""


def _find(table: Table, **where: Any) -> Mapping[str, Any] | None:
    """The row with these values."""
    return next((row for row in table.meta["rows"] if all(row.get(key) == value for key, value in where.items())), None)


def _by_seed(row: Mapping[str, Any] | None, key: str = "tau") -> dict[int, float]:
    """The values of a row by seed, without undefined ones."""
    runs = row["per_seed"] if row else ()
    return {run["seed"]: run[key] for run in runs if run.get(key) is not None}


def _columns(table: Table) -> list[str]:
    """Test columns that the truth of a table has, in the paper's order."""
    rows = table.meta["rows"]
    return [c for c in NEAR if any(row.get("column") == c or row.get(f"{c}_mean") is not None for row in rows)]


def _primary(table: Table) -> str:
    """The column of an artefact that has one."""
    return table.meta.get("column", "cifar10_test")
