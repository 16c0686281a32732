"""What a table of searches says about how their supernets were trained: the protocol, and whether it is today's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from senas_bench.analysis.style import facts_of, in_order
from senas_bench.experiments.protocols import outdated, said
from senas_bench.experiments.spec import RunRecord
from senas_bench.tasks.method import LEARNED, UNIFORM, WITHIN


def protocol_notes(records: Sequence[RunRecord]) -> list[str]:
    """Notes on the learning rate, the paths of training and runs that stopped early; an older protocol comes first."""
    older = [record for record in records if outdated(record.spec)]
    notes = []
    if older:
        names = said(sorted({name for record in older for name in outdated(record.spec)}))
        count = "" if len(older) == len(records) else f"{len(older)} of {len(records)} runs: "
        notes.append(f"{count}An older protocol, which differs from today's in: {names}.")
    trained = [record for record in records if facts_of(record.spec.method).trains and _stages(record)]
    return notes + _rate_notes(trained) + _path_notes(trained) + _stop_notes(trained)


def _stages(record: RunRecord) -> Sequence[int]:
    return record.spec.settings.get("recipe", {}).get("stage_epochs", ())


def _rate_notes(records: Sequence[RunRecord]) -> list[str]:
    """Of methods whose recipe has stages, whether they train in stages or without."""
    staged = [record for record in records if len(_stages(record)) > 1]
    if any(record.spec.settings["recipe"].get("lr_restarts", True) for record in staged):
        return ["The learning rate starts again in each stage: methods with stages and without train unlike schedules."]
    groups: dict[int, list[RunRecord]] = {}
    for record in filter(_on_schedule, staged):
        groups.setdefault(sum(_stages(record)), []).append(record)
    notes = []
    for total, group in sorted(groups.items()):
        names, spaces = _methods(group), ", ".join(sorted({record.spec.space for record in group}))
        schedule = f"One schedule of the learning rate, with stages or without, over all {total} epochs"
        notes.append(f"{schedule}: {names} in {spaces}.")
    return notes


def _on_schedule(record: RunRecord) -> bool:
    """Whether a run trained the epochs of all its stages, or stopped on the way: FairNAS may train for a part only."""
    epochs = [line["epoch"] for line in record.history if "lr" in line and "phase" not in line]
    stopped = any(line.get("phase") == "stopped" for line in record.history)
    return stopped or max(epochs, default=0) == sum(_stages(record))


def _path_notes(records: Sequence[RunRecord]) -> list[str]:
    """Of supernets that train on paths, and of those whose logits learn beside the weights, which know no limit."""
    limited = [record for record in records if _limit(record)]
    learning = [record for record in limited if facts_of(record.spec.method).trains_on == LEARNED]
    notes = _supernet_notes([record for record in limited if record not in learning])
    if not learning:
        return notes
    best = "of all archs within it, the pick is the one their logits rate best"
    return [*notes, f"No limit in the search of {_methods(learning)}: {best}."]


def _supernet_notes(records: Sequence[RunRecord]) -> list[str]:
    """What supernets train on, by method where they differ."""
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(_paths(record), []).append(record)
    if not groups:
        return []
    each = [f"{paths} ({_methods(group)})" for paths, group in groups.items()] if len(groups) > 1 else [*groups]
    filters = "" if {*groups} == {WITHIN} else "; the limit filters what is scored and searched"
    return [f"Supernets train on {'; on '.join(each)}{filters}."]


def _paths(record: RunRecord) -> str:
    """What the supernet of a run under a limit trained on, in words."""
    paths = facts_of(record.spec.method).trains_on
    if paths != UNIFORM:
        return paths
    within = record.spec.settings["limit"].get("in_training", True)  # an older limit, which does not say, did
    return WITHIN if within else f"{UNIFORM} over all archs"


def _methods(records: Sequence[RunRecord]) -> str:
    return ", ".join(in_order({record.spec.method for record in records}))


def _limit(record: RunRecord) -> Mapping[str, Any] | None:
    return record.spec.settings.get("limit")


def _stop_notes(records: Sequence[RunRecord]) -> list[str]:
    notes = []
    for record in records:
        for line in record.history:
            if line.get("phase") == "stopped":
                where = f"{record.spec.method} in {record.spec.space}, seed {record.spec.seed}"
                stage, epoch = (f"{name} {line[name]} of {line[f'{name}s']}" for name in ("stage", "epoch"))
                left = f"{line['archs']:,} archs left"
                notes.append(f"{where}: stopped after {stage}, {left}, at {epoch} and a rate of {line['lr']:g}.")
    return notes
