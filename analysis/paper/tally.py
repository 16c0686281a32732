"""How verdicts fare, counted: in a sentence, and claim by claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from senas_bench.analysis.output.formats import Table, span
from senas_bench.analysis.paper.judges import FAILS, FIXED, HOLDS, NO_RUNS, UNDECIDED, WORDS
from senas_bench.analysis.style import in_order, shown_as

SAID = {
    HOLDS: "hold",
    FAILS: "fail",
    UNDECIDED: "cannot be told",
    FIXED: "are fixed by the preset",
    NO_RUNS: "lack runs",
}
"""What a count of each verdict is followed by."""


def tally(rows: Sequence[Mapping[str, Any]]) -> str:
    """`3 hold, 2 fail, 41 cannot be told from 3 seeds`; how many hold and fail is always said.

    Args:
        rows: Of `verdicts.verdicts(...).meta["rows"]`.
    """
    said, counts = [], dict(count_words(rows))
    for word, count in {HOLDS: 0, FAILS: 0, **counts}.items():
        sizes = [seeds_behind(row) for row in rows if row["verdict"] == word]
        seeds = span([size for size in sizes if size]) if word == UNDECIDED and any(sizes) else ""
        unit = "seed" if seeds == "1" else "seeds"
        said.append(f"{count} {SAID[word]}" + (f" from {seeds} {unit}" if seeds else ""))
    return ", ".join(said)


def count_words(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Each verdict that some row has, in the order of `WORDS`, and how many have it."""
    found = [row["verdict"] for row in rows]
    return [(word, found.count(word)) for word in WORDS if word in found]


def seeds_behind(row: Mapping[str, Any]) -> int:
    """Seeds that both sides of a row have; 0 where its values are not of seeds."""
    runs = [run for run in row["per_seed"] if "seed" in run]
    return sum(run["first"] is not None and run["second"] is not None for run in runs)


def summary(table: Table) -> list[str]:
    """A sentence on the claims as the paper makes them, and one on the methods of ours that are put to them."""
    own, ours = _sides(table)
    claims = len({row["id"] for row in own})
    lines = [f"Of {len(own)} readings of {claims} claims of the paper {tally(own)}."]
    if ours:
        names = ", ".join(map(shown_as, in_order({row["subject"] for row in ours})))
        lines.append(f"Put to methods of ours, of which the paper claims nothing ({names}): {tally(ours)}.")
    return lines


def line(table: Table) -> str:
    """The same in one line: of the claims as the paper makes them, then of ours."""
    own, ours = _sides(table)
    return tally(own) + (f"; of ours {tally(ours)}" if ours else "")


def _sides(table: Table) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Rows of the claims as the paper makes them, and those of ours."""
    rows = table.meta["rows"]
    return [row for row in rows if not row["ours"]], [row for row in rows if row["ours"]]


def by_claim(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The rows of each claim, in order."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["id"], []).append(row)
    return list(groups.values())
