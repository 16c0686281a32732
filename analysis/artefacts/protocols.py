"""What a table of searches says about how their supernets were trained: the protocol, and whether it is today's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from senas_bench.analysis.artefacts.collapse import learns_logits
from senas_bench.analysis.output.formats import listed
from senas_bench.analysis.style import in_order
from senas_bench.experiments.protocols import outdated, said
from senas_bench.experiments.spec import RunRecord


def protocol_notes(records: Sequence[RunRecord]) -> list[str]:
    """Notes on the learning rate, the paths of training and runs that stopped early; an older protocol comes first."""
    older = [record for record in records if outdated(record.spec)]
    notes = []
    if older:
        names = said(sorted({name for record in older for name in outdated(record.spec)}))
        count = "" if len(older) == len(records) else f"{len(older)} of {len(records)} runs: "
        notes.append(f"{count}An older protocol, which differs from today's in: {names}.")
    trained = [record for record in records if record.spec.settings.get("recipe", {}).get("stage_epochs")]
    return notes + _rate_notes(trained) + _path_notes(trained) + _stop_notes(trained)


def _rate_notes(records: Sequence[RunRecord]) -> list[str]:
    recipes = [record.spec.settings["recipe"] for record in records]
    staged = [recipe for recipe in recipes if len(recipe["stage_epochs"]) > 1]
    if not staged:
        return []
    if any(recipe.get("lr_restarts", True) for recipe in staged):
        return ["The learning rate starts again in each stage: methods with stages and without train unlike schedules."]
    totals = sorted({sum(recipe["stage_epochs"]) for recipe in staged})
    return [f"One schedule of the learning rate, with stages or without, over all {listed(totals)} epochs."]


def _path_notes(records: Sequence[RunRecord]) -> list[str]:
    """Of supernets that train on paths, and of those whose logits learn beside the weights, which know no limit."""
    learning = [record for record in records if learns_logits(record)]
    notes = _uniform_notes([record for record in records if record not in learning])
    if not any(map(_limit, learning)):
        return notes
    own = ", ".join(in_order({record.spec.method for record in learning}))
    best = "of all archs within it, the pick is the one their logits rate best"
    return [*notes, f"No limit in the search of {own}: {best}."]


def _uniform_notes(records: Sequence[RunRecord]) -> list[str]:
    kinds = {record.spec.settings["limit"].get("in_training", True) for record in records if _limit(record)}
    if not kinds:
        return []
    if len(kinds) > 1:
        return ["Some supernets train on paths within the limit, others on uniform paths over all archs."]
    if True in kinds:
        return ["Supernets train on paths within the limit."]
    return ["Supernets train on uniform paths over all archs; the limit filters what is scored and searched."]


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
