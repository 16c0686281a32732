"""What table 3 says about how its methods were run, and about runs whose end means little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from senas_bench.analysis.output.formats import listed
from senas_bench.experiments.spec import RunRecord


def function_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Runs that end with archs which are all one function."""
    notes = []
    for row in rows:
        if seeds := [run["seed"] for run in row["per_seed"] if run["n_functions"] == 1]:
            which = f"with seeds {listed(seeds)} ({len(seeds)} of {row['n']})"
            notes.append(f"{row['method']}: all archs alive at the end are one function {which}: nothing is ranked.")
    return notes


def stage_notes(groups: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Which methods could not shrink: they drop operators between stages, and had but one."""
    settings = {method: group[0].spec.settings for method, group in groups.items()}
    named = [
        method
        for method, values in settings.items()
        if "drop" in values.get("method", {}) and len(values["recipe"]["stage_epochs"]) == 1
    ]
    return [f"Trained in one stage, so nothing was dropped: {', '.join(named)}."] if named else []
