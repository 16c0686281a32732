"""What `--dry-run` says: what would run, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from senas_bench.cli.options import print_json

if TYPE_CHECKING:
    from senas_bench.experiments.spec import RunSpec
    from senas_bench.experiments.store import RunStore


def plan_of(store: RunStore, specs: Sequence[RunSpec], fresh: bool = False) -> dict[str, Any]:
    """What would run, and the core-hours of it, as JSON values: a row per method, and where they search, per space and
    limit. Core-hours are None where no run like it was timed; those of the whole leave such runs out.

    Args:
        fresh: Finished runs are computed again.
    """
    from senas_bench.experiments.estimates import core_seconds, known_costs

    known = known_costs(store.records())
    missing = {spec.run_id for spec in (specs if fresh else store.missing(specs))}
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(_label(spec), []).append(spec)
    rows = []
    for label, group in groups.items():
        left = sum(spec.run_id in missing for spec in group)
        seconds, why = core_seconds(group[0], known)  # they differ in seed or given arch alone
        hours = 0.0 if not left else None if seconds is None else left * seconds / 3600
        row = {"runs": label, "seeds": [spec.seed for spec in group], "to_compute": left}
        rows.append({**row, "finished": len(group) - left, "core_hours": hours, "known": why if left else ""})
    unknown = sum(row["to_compute"] for row in rows if row["core_hours"] is None)
    hours = sum(row["core_hours"] or 0.0 for row in rows)
    total = {"runs": len(specs), "to_compute": len(missing), "core_hours": hours, "of_unknown_cost": unknown}
    return {"rows": rows, "total": total}


def show_plan(store: RunStore, specs: Sequence[RunSpec], as_json: bool = False, fresh: bool = False) -> None:
    """Print what `plan_of` finds, and whether this machine is good at bfloat16."""
    from senas_bench.kernels.processor import recommend_precision

    plan = {**plan_of(store, specs, fresh), "bfloat16_on_the_cpu": recommend_precision()}
    if as_json:
        print_json(plan)
        return
    rows, total = plan["rows"], plan["total"]
    width = max((len(row["runs"]) for row in rows), default=0)
    for row in rows:
        finished = f", {row['finished']} finished" if row["finished"] else ""
        cost = f": {_about(row['core_hours'])} {row['known']}" if row["to_compute"] else ""
        print(f"{row['runs']:{width}}  seeds {_ranges(row['seeds'])}: {row['to_compute']} to compute{finished}{cost}")
    print(f"total: {total['to_compute']} of {total['runs']} runs to compute{_sum(total)}")
    print(f"bfloat16 on the CPU: {plan['bfloat16_on_the_cpu']}")


def _sum(total: dict[str, Any]) -> str:
    unknown, missing = total["of_unknown_cost"], total["to_compute"]
    if not missing:
        return ""
    if unknown == missing:
        return ": core-hours unknown"
    return f": {_about(total['core_hours'])}" + (f", and {unknown} runs of unknown cost" if unknown else "")


def _about(hours: float | None) -> str:
    """In the unit that has few digits.

    >>> _about(0.01), _about(0.5), _about(1.25)
    ('about 36 core-seconds', 'about 30 core-minutes', 'about 1.2 core-hours')
    """
    if hours is None:
        return "unknown,"
    for unit, each in (("hours", 1.0), ("minutes", 60.0)):
        if hours * each >= 1:
            return f"about {hours * each:.{int(unit == 'hours')}f} core-{unit}"
    return f"about {hours * 3600:.0f} core-seconds"


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
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
