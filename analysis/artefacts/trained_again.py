"""Whether archs differ by more than trainings of one arch do: random archs, each trained from scratch at every seed.

A search found better archs than another only where the training of its picks can tell archs apart. Tables 4 to 6 say
whether it can, by the analysis of variance with one factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from senas_bench.analysis.artefacts.artefact import Search
from senas_bench.analysis.metrics.variance import OneWay, one_way
from senas_bench.experiments.spec import RunRecord

LEVEL = 0.05
"""Largest p of the F test with which archs are said to differ at all."""
UNITS = {"flops": "M FLOPs", "latency": " ms"}


@dataclass(frozen=True)
class Noise:
    """Of random archs of a space within one of the paper's limits.

    Args:
        space, cost, level: Of the `Search`.
        found: Percent top-1; None where fewer than two archs have two trainings.
    """

    space: str
    cost: str
    level: float
    found: OneWay | None


def noise_of(search: Search, records: Sequence[RunRecord]) -> Noise:
    """What runs of the method `fixed`, each trained from scratch, tell: the archs that have two trainings or more."""
    by_arch: dict[str, list[float]] = {}
    for record in records:
        top1 = next((line["top1"] for line in record.history if line.get("phase") == "retrain"), None)
        if top1 is not None:
            by_arch.setdefault(record.pick, []).append(top1)
    groups = [values for values in by_arch.values() if len(values) > 1]
    return Noise(search.space, search.cost, search.level, one_way(groups) if len(groups) > 1 else None)


def noise_said(noise: Noise) -> str:
    """One sentence or two for people."""
    where = f"{noise.space} at {noise.level:g}{UNITS[noise.cost]}"
    if noise.found is None:
        return (
            f"Whether picks in {where} differ by more than trainings of one arch was not measured: that takes two "
            "seeds or more of the random archs that `reproduce` trains again (method fixed)."
        )
    found = noise.found
    low, high = found.ratio_interval
    measured = (
        f"{found.groups} random archs of {where}, {found.values} trainings from scratch: top-1 of archs differs by "
        f"{found.between:.2f} points (standard deviation, trainings taken out), that of trainings of one arch by "
        f"{found.within:.2f} (F = {found.f:.1f}, p = {found.p:.2g}; their ratio is {low:.1f} to {high:.1f}, 90% "
        "interval)."
    )
    if found.p >= LEVEL:
        return f"{measured} So this table cannot tell the archs of that space apart, whichever row is ahead."
    if low > 1:
        return f"{measured} Archs differ by more than trainings of one arch do."
    return f"{measured} Archs differ; whether by more than trainings of one arch do is not told."
