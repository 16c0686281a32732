"""Runs of an older protocol: which they are, and where theirs differs from today's. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from senas_bench.experiments.presets import RETRAIN
from senas_bench.experiments.settings import todays_settings
from senas_bench.experiments.spec import RunRecord, RunSpec, canonical_json

FIELDS: Mapping[str, tuple[str, ...]] = {
    "method": ("stop_at", "criterion.reset_after", "arch_lr", "tau_by_step"),
    "recipe": (
        "lr_restarts",
        "architecture_images",
        "label_smoothing",
        "lighting",
        "lr_min",
        "lr_horizon",
        "swing",
        "swings",
    ),
    "retrain": ("dropout", "clip", "schedule", "colour_jitter", "lighting"),
    "limit": ("in_training",),
    "preset": ("pad",),
}
"""By part of the settings, what was decided anew after runs were made (docs/method.md 3). A run that differs from
today's in nothing else is the same run of an older protocol."""
OPTIONS = (("limit", "in_training"),)
"""Of these, what a user may ask for too: by itself it makes no run old."""


def essence(spec: RunSpec) -> str:
    """What a spec asks for, whatever the protocol: two of them share it only if they differ in `FIELDS` alone."""
    settings = {part: _without(value, FIELDS.get(part, ())) for part, value in spec.settings.items()}
    return canonical_json({**asdict(spec), "settings": settings})


def of_older_protocol(specs: Iterable[RunSpec], records: Iterable[RunRecord]) -> list[RunRecord]:
    """The finished runs that are what the specs ask for, but of an older protocol; in the order of the specs."""
    asked = {essence(spec): spec for spec in specs}
    found: dict[str, RunRecord] = {}
    for record in records:
        key = essence(record.spec)
        if key in asked and record.spec.run_id != asked[key].run_id:
            found[key] = record
    return [found[key] for key in asked if key in found]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the `FIELDS` in which two settings differ, such as `recipe.lr_restarts`."""
    return [
        f"{part}.{name}"
        for part, names in FIELDS.items()
        for name in names
        if part in old and part in new and _value(old[part], name) != _value(new[part], name)
    ]


def outdated(spec: RunSpec) -> list[str]:
    """Names of the fields in which a run is of an older protocol than today's; none for a run of today's, or of a
    method, space or preset that is not known here."""
    try:
        today = todays_settings(spec)
    except ValueError:
        return []
    found = differences(spec.settings, today)
    chosen = {f"{part}.{name}" for part, name in OPTIONS}
    return found if set(found) - chosen else []


def said(names: Sequence[str]) -> str:
    """The fields in words, such as `lr_restarts of the supernet's recipe`."""
    where = {"method": "of the method", "recipe": "of the supernet's recipe", RETRAIN: "of the retraining"}
    where |= {"limit": "of the limit", "preset": "of the preset"}
    parts = (name.partition(".") for name in names)
    return ", ".join(f"{name} {where[part]}" for part, _, name in parts)


def _value(settings: Any, name: str) -> Any:
    """Of a setting, or of one within a strategy: `criterion.reset_after`."""
    for part in name.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def _without(value: Any, names: Sequence[str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    inner = {head: [rest] for head, dot, rest in (name.partition(".") for name in names) if dot}
    return {name: _without(own, inner.get(name, ())) for name, own in value.items() if name not in names}
