"""What `--dry-run` says: what would run, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from senas_bench.experiments.spec import RunRecord, RunSpec
    from senas_bench.experiments.store import RunStore

Known = dict[tuple[object, ...], list[tuple[float, int]]]


def print_plan(store: RunStore, specs: Sequence[RunSpec]) -> None:
    """What would run, and the core-hours of it: a line per method, and where they search, per space and limit."""
    missing = store.missing(specs)
    known = _known_costs(store.records())
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(_label(spec), []).append(spec)
    width, ids = max(map(len, groups), default=0), {spec.run_id for spec in missing}
    total, unknown = 0.0, 0
    for label, group in groups.items():
        left = [spec for spec in group if spec.run_id in ids]
        hours, why = _core_hours(left, known)
        total, unknown = total + (hours or 0.0), unknown + (len(left) if hours is None else 0)
        finished = f", {len(group) - len(left)} finished" if len(left) < len(group) else ""
        cost = f": {_about(hours)} {why}" if left else ""
        print(
            f"{label:{width}}  seeds {_ranges([spec.seed for spec in group])}: {len(left)} to compute{finished}{cost}"
        )
    print(f"total: {len(missing)} of {len(specs)} runs to compute{_sum(total, unknown, len(missing))}")


def _sum(hours: float, unknown: int, missing: int) -> str:
    if not missing:
        return ""
    if unknown == missing:
        return ": core-hours unknown"
    return f": {_about(hours)}" + (f", and {unknown} runs of unknown cost" if unknown else "")


def _about(hours: float | None) -> str:
    return "unknown," if hours is None else f"about {hours:.3f} core-hours"


def _label(spec: RunSpec) -> str:
    """What the runs of a line have in common, as their ids begin."""
    limit = spec.settings.get("limit")
    words = [f"{spec.method}-{spec.preset}-{spec.dataset}", *([spec.space] if spec.space != "nasbench201" else [])]
    if limit:
        words += [limit["cost"], str(limit.get("level", limit.get("high")))]
    return " ".join(words)


def _ranges(seeds: Sequence[int]) -> str:
    """Seeds as `--seeds` takes them: 0-2,5."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _kind(spec: RunSpec) -> tuple[object, ...]:
    """What runs must have in common for the one to say what the other costs."""
    ranked = spec.settings["preset"]["rank_archs"]
    how = "retrain" in spec.settings, spec.settings.get("recipe", {}).get("precision")
    return spec.method, spec.space, spec.preset, spec.dataset, spec.device, ranked, *how


def _known_costs(records: list[RunRecord]) -> Known:
    """Core-seconds and training epochs of finished runs, by kind."""
    known: Known = {}
    for record in records:
        cost = record.timing["wall_seconds"] * record.spec.threads, _epochs(record.spec)
        known.setdefault(_kind(record.spec), []).append(cost)
    return known


def _core_hours(specs: Sequence[RunSpec], known: Known) -> tuple[float | None, str]:
    """Core-hours of runs that differ in their seeds alone, and by what they are known.

    By the finished runs of the folder: the median of their costs, each scaled by training epochs; scoring is taken to
    grow alike. Else by the committed timings; None where these have nothing like it.
    """
    from statistics import median

    from senas_bench.experiments.timings import SOURCES, seconds_of

    if not specs:
        return 0.0, ""
    spec = specs[0]
    costs = known.get(_kind(spec))
    if costs:
        seconds = median(seconds * _epochs(spec) / epochs for seconds, epochs in costs)
        return len(specs) * seconds / 3600, f"by {len(costs)} finished"
    seconds = seconds_of(spec)
    if seconds is None:
        return None, "no run like it was timed"
    return len(specs) * seconds / 3600, f"by {SOURCES[spec.preset]}"


def _epochs(spec: RunSpec) -> int:
    """Training epochs; 1 of a method that has no recipe, whose runs all cost alike."""
    return sum(spec.settings["recipe"]["stage_epochs"]) if "recipe" in spec.settings else 1
