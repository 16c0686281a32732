"""What runs will take: by the finished runs of a folder, else by the committed timings. No torch here."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.timings import SOURCES, seconds_of

Known = Mapping[tuple[object, ...], Sequence[tuple[float, int]]]
"""Core-seconds and training epochs of finished runs, by kind."""


def known_costs(records: Iterable[RunRecord]) -> Known:
    """What finished runs took."""
    known: dict[tuple[object, ...], list[tuple[float, int]]] = {}
    for record in records:
        cost = record.timing["wall_seconds"] * record.spec.threads, _epochs(record.spec)
        known.setdefault(_kind(record.spec), []).append(cost)
    return known


def core_seconds(spec: RunSpec, known: Known) -> tuple[float | None, str]:
    """Of a run, and by what they are known.

    By the finished runs of the folder: the median of their costs, each scaled by training epochs; scoring is taken to
    grow alike. Else by the committed timings; None where these have nothing like it.
    """
    costs = known.get(_kind(spec))
    if costs:
        return median(seconds * _epochs(spec) / epochs for seconds, epochs in costs), f"by {len(costs)} finished"
    seconds = seconds_of(spec)
    return seconds, "no run like it was timed" if seconds is None else f"by {SOURCES[spec.preset]}"


def makespan(begun: Sequence[float], waiting: Sequence[float], workers: int) -> float:
    """Seconds until all runs are done.

    Args:
        begun: Seconds that each of the runs at work has left.
        waiting: Seconds of each of the others, in their order; each goes to the first worker that is free.
        workers: At least 1.

    >>> makespan([5.0, 1.0], [2.0, 6.0], 2)
    9.0
    """
    free = [*begun, *[0.0] * (workers - len(begun))]
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _kind(spec: RunSpec) -> tuple[object, ...]:
    """What runs must have in common for the one to say what the other costs."""
    ranked = spec.settings["preset"]["rank_archs"]
    how = "retrain" in spec.settings, spec.settings.get("recipe", {}).get("precision")
    return spec.method, spec.space, spec.preset, spec.dataset, spec.device, ranked, *how


def _epochs(spec: RunSpec) -> int:
    """Training epochs; 1 of a method that has no recipe, whose runs all cost alike."""
    return sum(spec.settings["recipe"]["stage_epochs"]) if "recipe" in spec.settings else 1
