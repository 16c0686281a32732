"""What runs will take: by the finished runs of a folder, else by the committed timings. No torch here."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.timings import SOURCES, seconds_of

PURPOSES = ("search", "report", "retrain")
"""Of the phases that a record times."""
Known = Mapping[tuple[object, ...], Sequence[tuple[float, RunSpec]]]
"""Core-seconds of finished runs, and what they were, by kind."""


def known_costs(records: Iterable[RunRecord]) -> Known:
    """What finished runs took: their phases, in which what was shared or done before an interruption counts too."""
    known: dict[tuple[object, ...], list[tuple[float, RunSpec]]] = {}
    for record in records:
        phases = sum(record.timing.get(f"{purpose}_seconds", 0.0) for purpose in PURPOSES)
        seconds = max(record.timing["wall_seconds"], phases) * record.spec.threads
        known.setdefault(_kind(record.spec), []).append((seconds, record.spec))
    return known


def core_seconds(spec: RunSpec, known: Known) -> tuple[float | None, str]:
    """Of a run, and by what they are known.

    By the finished runs of the folder: the median of their costs, each scaled as the committed timings scale between
    the two; where these have nothing like them, by training epochs, as if scoring grew alike. Else by the committed
    timings alone; None where these have nothing like it.
    """
    seconds, costs = seconds_of(spec), known.get(_kind(spec))
    if costs:
        return median(took * _ratio(spec, other, seconds) for took, other in costs), f"by {len(costs)} finished"
    return seconds, "no run like it was timed" if seconds is None else f"by {SOURCES[spec.preset]}"


def _ratio(spec: RunSpec, other: RunSpec, seconds: float | None) -> float:
    """What a run costs, its timing given, in units of what another does."""
    if spec.settings == other.settings:
        return 1.0
    if seconds and (theirs := seconds_of(other)):
        return seconds / theirs
    return _epochs(spec) / _epochs(other)


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
    sizes = spec.settings["preset"]
    how = "retrain" in spec.settings, spec.settings.get("recipe", {}).get("precision"), sizes.get("engine")
    ranked = sizes["rank_archs"], sizes["score_images"]
    return spec.method, spec.space, spec.preset, spec.dataset, spec.device, *ranked, *how


def _epochs(spec: RunSpec) -> int:
    """Training epochs; 1 of a method that trains nothing, whose runs all cost alike."""
    from senas_bench.methods import all_methods

    method = all_methods().get(spec.method)
    trains = method is None or method.trains
    return sum(spec.settings["recipe"]["stage_epochs"]) if trains and "recipe" in spec.settings else 1
