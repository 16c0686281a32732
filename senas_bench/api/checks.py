"""What is refused before anything is computed, though only the end of a study would need it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from senas_bench.analysis.artefacts import Artefact
    from senas_bench.experiments.presets import Preset
    from senas_bench.groundtruth import GroundTruth


def makeable(
    artefacts: Mapping[str, Artefact],
    methods: Mapping[str, Sequence[str]],
    sizes: Preset,
    truth: GroundTruth,
    images: str,
) -> dict[str, Sequence[str]]:
    """The methods of those artefacts that can be made; of each other it prints why not.

    Raises:
        ValueError: None can.
    """
    found = {name: _why_not(artefacts[name], group, sizes, truth, images) for name, group in methods.items()}
    faults = {name: why for name, why in found.items() if why}
    if faults and len(faults) == len(methods):
        raise ValueError("; ".join(f"{name} cannot be made: {why}" for name, why in faults.items()))
    for name, why in faults.items():
        print(f"{name} is not made: {why}", file=sys.stderr)
    return {name: group for name, group in methods.items() if name not in faults}


def note_stages(preset: str, sizes: Preset, methods: Iterable[str]) -> None:
    """Say where `--stage-epochs` leaves methods more or fewer shrinks than the preset has."""
    from senas_bench.experiments.presets import PRESETS
    from senas_bench.methods import method_named

    count, usual = (len(one.recipes["reference"].stage_epochs) for one in (sizes, PRESETS[preset]))
    own = dict.fromkeys(name for name in methods if method_named(name).shrinks_by)
    if own and count != usual:
        print(
            f"stages: {count}, so {count - 1} shrinks of {', '.join(own)}; preset {preset} has {usual} stages, "
            f"{usual - 1} shrinks",
            file=sys.stderr,
        )


def _why_not(artefact: Artefact, methods: Sequence[str], sizes: Preset, truth: GroundTruth, images: str) -> str | None:
    """What an artefact of these methods would lack when all its runs are finished."""
    from senas_bench.analysis.join import accuracy_queries
    from senas_bench.methods import method_named

    if artefact.searches:
        return None
    if artefact.essential not in (None, *methods):
        return f"it has no runs of {artefact.essential}"
    chosen = {name: method_named(name) for name in methods}
    shrinking = [method for method in chosen.values() if method.shrinks_by]
    if artefact.shrinks and not any(len(sizes.recipe_of(method.recipe).stage_epochs) > 1 for method in shrinking):
        return "it shows shrinks; give it methods that shrink, and at least two stages"
    try:
        queries = accuracy_queries(truth)
    except ValueError as error:
        return str(error)
    anywhere = [name for name, method in chosen.items() if not method.only_ranked]
    archs = _archs(sizes, every=artefact.every_arch or bool(anywhere))
    for column in artefact.reads(queries, images):
        if why := _unmeasured(truth, queries[column], archs):
            free = bool(anywhere) and not artefact.every_arch
            return why + (f", or leave out {', '.join(anywhere)}, which may pick any arch" if free else "")
    return None


def _archs(sizes: Preset, every: bool) -> Sequence[str]:
    """The arch strings that the runs rank, or every one of the space."""
    from senas_bench.experiments.tasks import report_archs
    from senas_bench.groundtruth.archs import official_index
    from senas_bench.spaces.nasbench201 import NB201, arch_to_str

    if every or not sizes.rank_archs:
        return list(official_index())
    return [arch_to_str(tuple(row)) for row in report_archs(NB201, sizes.rank_archs).tolist()]


def _unmeasured(truth: GroundTruth, query: Any, archs: Sequence[str]) -> str | None:
    from senas_bench.analysis.join import unmeasured

    missing = unmeasured(truth, query, archs)
    if not missing:
        return None
    return (
        f"ground truth {truth.name} has no {query} of {len(missing):,} of the {len(archs):,} archs that its runs may "
        f"rank or pick, first {missing[0]}; give a table that has"
    )
