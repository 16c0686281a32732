"""What `--dry-run` says: what would run, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from senas_bench.experiments.spec import RunRecord, RunSpec
    from senas_bench.experiments.store import RunStore


def print_plan(store: RunStore, specs: list[RunSpec]) -> None:
    """What would run, run by run; then the core-hours of what is missing, by method and in all."""
    missing = store.missing(specs)
    ids = {spec.run_id for spec in missing}
    for spec in specs:
        print(f"{spec.run_id:60} {'to compute' if spec.run_id in ids else 'finished'}")
    known = _known_costs(store.records())
    total, unknown = 0.0, 0
    for method in dict.fromkeys(spec.method for spec in specs):
        of_method = [spec for spec in missing if spec.method == method]
        if not of_method:
            continue
        costs = known.get(_kind(of_method[0]))
        if costs is None:
            unknown += len(of_method)
            estimate = "no estimate: no finished run of it to go by"
        else:
            hours = sum(_core_hours(spec, costs) for spec in of_method)
            total += hours
            estimate = f"about {hours:.3f} core-hours, by {len(costs)} finished"
        print(f"{method:16} {len(of_method)} to compute: {estimate}")
    left = f", and {unknown} with no estimate" if unknown else ""
    print(f"total: {len(missing)} of {len(specs)} runs to compute: about {total:.3f} core-hours{left}")


def _kind(spec: RunSpec) -> tuple[str, ...]:
    """What runs must have in common for the one to say what the other costs."""
    return spec.method, spec.preset, spec.dataset, spec.device


def _known_costs(records: list[RunRecord]) -> dict[tuple[str, ...], list[tuple[float, int]]]:
    """Core-seconds and training epochs of finished runs, by kind."""
    known: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    for record in records:
        cost = record.timing["wall_seconds"] * record.spec.threads, _epochs(record.spec)
        known.setdefault(_kind(record.spec), []).append(cost)
    return known


def _core_hours(spec: RunSpec, costs: list[tuple[float, int]]) -> float:
    """Median of the costs at hand, each scaled by training epochs: scoring is taken to grow alike."""
    from statistics import median

    return median(seconds * _epochs(spec) / epochs for seconds, epochs in costs) / 3600


def _epochs(spec: RunSpec) -> int:
    """Training epochs; 1 of a method that has no recipe, whose runs all cost alike."""
    return sum(spec.settings["recipe"]["stage_epochs"]) if "recipe" in spec.settings else 1
