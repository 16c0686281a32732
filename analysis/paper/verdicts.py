"""Do the paper's claims hold in these runs? One row per claim, reading and dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.table3 import ALPHA
from senas_bench.analysis.metrics.statistics import MIN_PAIRS, holm
from senas_bench.analysis.output.formats import Table, words
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.paper.judges import ALIKE, FAILS, HOLDS, JUDGES, NO_RUNS, WORDS, Measured
from senas_bench.analysis.paper.rules import RULES
from senas_bench.analysis.style import STYLES, baselines, facts_of, in_order, tuned

PAPERS = "se-nas"
"""The method that the claims are about; ours are those tuned ones that have a baseline, as it has."""
SETTING = ("preset", "images", "ground_truth")
OURS = "ours, tuned with CIFAR-10 truth in view"
ALONE = ("supernet-gap", "supernet-unsteady", "better-within-flops", "better-within-latency", "each-part-adds")
"""Claims about a plain supernet or about searches under a limit, to which no method of ours is put."""


def verdicts(tables: Mapping[str, Table]) -> Table:
    """Decide every claim of `paper.CLAIMS` by the runs behind some rendered artefacts.

    A claim over seeds holds, or does not, when a two-sided test over at least 8 paired seeds gives a Holm-adjusted
    p <= 0.05 and the claimed side, or the other, is ahead; else it is undecided. A family is all tested rows of one
    dataset: the same claim on three datasets is the same runs looked at three times. Methods of ours have families of
    their own. Equivalence goes by the 95% interval of the difference, cost by exact counts.

    Args:
        tables: By name, as this version renders them: table1, fig1, fig6, fig7, fig8, table3 to table6. Any may be
            absent; those that no claim needs decide nothing here. Where there are tables of searches under a limit
            alone, or of NAS-Bench-201 alone, the claims about the other are left out, and counted in a note.

    Returns:
        `verdicts`. `meta["rows"]` holds the numbers behind each verdict (accuracies in percent, differences in points
        or tau, `per_seed` values), `meta["counts"]` how often each verdict came up, `meta["families"]` the families
        and their number of tests.
    """
    needed = {name for claim in paper.CLAIMS for name in claim.needs}
    tables = {name: table for name, table in tables.items() if name in needed}
    claims = [claim for claim in paper.CLAIMS if not tables or _is_about(claim, tables)]
    rows = [row for claim in claims for row in _claim_rows(claim, tables)]
    families = _adjust(rows)
    found = [row["verdict"] for row in rows]
    meta = {
        "title": "Does the claim hold?",
        **{key: _joined(table.meta.get(key, "") for table in tables.values()) for key in SETTING},
        "seeds": sorted({seed for table in tables.values() for seed in table.meta["seeds"]}),
        "counts": {word: found.count(word) for word in WORDS},
        "families": families,
        "rows": rows,
    }
    columns = ["claim", "reading", "where", "verdict", "numbers", "preset"]
    frame = pd.DataFrame([[row[name] for name in columns] for row in rows], columns=columns)
    left_out = len(paper.CLAIMS) - len(claims)
    return Table("verdicts", frame, {"Notes": _notes(meta, tables, left_out)}, meta, aside=("where", "preset"))


def _joined(values: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, values))) or "–"


def _is_about(claim: paper.Claim, tables: Mapping[str, Table]) -> bool:
    """Whether some table is of what a claim is about: searches under a limit, or NAS-Bench-201."""
    return any((name in paper.SEARCHES) == (claim.needs[0] in paper.SEARCHES) for name in tables)


def _claim_rows(claim: paper.Claim, tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """The rows of a claim, tests not yet adjusted; of ours only those that have runs."""
    missing = [name for name in claim.needs if name not in tables]
    if missing:
        return [_row(claim) | {"numbers": f"run `senas-bench reproduce {' '.join(missing)}` first"}]
    given, rows = [tables[name] for name in claim.needs], []
    gaps: dict[str, list[Measured]] = {}
    for subject in (PAPERS,) if claim.id in ALONE else (PAPERS, *tuned(baselines())):
        for measured in RULES[claim.id](*given, subject):
            if facts := JUDGES[measured.judge](measured):
                rows.append(_row(claim, measured, subject) | facts | {"preset": given[0].meta["preset"]})
            elif subject == PAPERS:
                gaps.setdefault(measured.reading, []).append(measured)
    rows += [_gap(claim, group) for group in gaps.values()]
    return rows or [_row(claim) | {"numbers": f"{given[0].name} holds nothing that this claim compares"}]


def _gap(claim: paper.Claim, group: Sequence[Measured]) -> dict[str, Any]:
    """One row for what no seed has, whatever the number of datasets."""
    columns = ", ".join(words(measured.column) for measured in group if measured.column)
    row = _row(claim, replace(group[0], column=None, reading=f"{columns}: {group[0].reading}".removeprefix(": ")))
    return row | {"numbers": f"no seed has both sides: {' / '.join(group[0].names)}"}


def _row(claim: paper.Claim, measured: Measured | None = None, subject: str = "") -> dict[str, Any]:
    """A row with every key, and no numbers yet."""
    ours = facts_of(subject).tuned
    reading = measured.reading if measured else "–"
    reading = f"{words(measured.column)}: {reading}" if measured and measured.column else reading
    row = {"id": claim.id, "claim": claim.text, "reading": f"{reading} ({OURS})" if ours else reading}
    row |= {"where": claim.where, "verdict": NO_RUNS, "numbers": "", "preset": "–"}
    row |= {"subject": subject or None, "column": measured.column if measured else None, "ours": ours, "tested": False}
    numbers = ("n", "first", "second", "difference", "low", "high", "ratio", "effect", "improvement")
    return row | dict.fromkeys((*numbers, "p", "smallest_p", "family", "p_holm")) | {"per_seed": []}


def _adjust(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Decide the tested rows, family by family, and finish the sentences of all; returns the size of each family."""
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["tested"]:
            families.setdefault(words(row["column"]) + (f" ({OURS})" if row["ours"] else ""), []).append(row)
    for family, group in families.items():
        for row, p in zip(group, holm([row["p"] for row in group]).tolist(), strict=True):
            row |= {"family": family, "p_holm": p}
            row["numbers"] += f"; Holm-adjusted over {len(group)} tests p = {p:.3g}"
            if p <= ALPHA and row["ahead"]:
                row["verdict"] = HOLDS if row["ahead"] > 0 else FAILS
    for row in rows:
        row.pop("ahead", None)
        untested = row["p"] is not None and not row["tested"] and (row["n"] or 0) < MIN_PAIRS
        row["numbers"] += f"; not tested below {MIN_PAIRS} seeds" * untested + row.pop("after", "")
    return {family: len(group) for family, group in families.items()}


def _notes(meta: Mapping[str, Any], tables: Mapping[str, Table], left_out: int) -> list[str]:
    notes = []
    settings: dict[tuple[str, ...], list[str]] = {}
    for name, table in sorted(tables.items()):
        settings.setdefault(tuple(table.meta.get(key, "") for key in SETTING), []).append(name)
    for (preset, images, truth), names in settings.items():
        proxy = "" if preset == "paper" else "a proxy of the paper's setting: its verdicts are about this preset only; "
        by = f"truth {truth}" if truth else "picks trained here"
        notes.append(f"At preset {preset} ({proxy}images {images}, {by}): {', '.join(names)}.")
    if left_out:
        other = "NAS-Bench-201" if any(name in paper.SEARCHES for name in tables) else "searches under a limit"
        notes.append(f"{left_out} claims about {other} are left out: no runs here are of any.")
    notes += [
        f"A claim over seeds is decided on at least {MIN_PAIRS} paired seeds by a two-sided test at Holm-adjusted p <= "
        f"{ALPHA}: the sign-flip test of the differences; for spread the same on absolute deviations from the median, "
        "where p is approximate. Undecided says nothing about which side is right.",
        f"Comparable is decided by the 95% interval of the difference: inside ±{ALIKE} points it holds, wholly outside "
        "it does not. Cost is decided by exact counts, at preset paper alone: the others fix it; seconds do not enter.",
        "d_z is the mean paired difference over its standard deviation, without small-sample bias; P(higher) the "
        "probability that a random seed of the first side exceeds one of the second.",
    ]
    for family, size in meta["families"].items():
        least = int(np.ceil(1 + np.log2(size / ALPHA)))
        notes.append(
            f"Family {family}: {size} tests. Where each has fewer than {max(least, MIN_PAIRS)} paired seeds, none can "
            f"reach an adjusted p <= {ALPHA}."
        )
    if ours := {row["subject"] for row in meta["rows"] if row["ours"]}:
        names = ", ".join(in_order(ours | {STYLES[name].against or name for name in ours}))
        notes.append(f"Extra rows: {names} are {OURS}. The paper makes no claim about them.")
    return notes
