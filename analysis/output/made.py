"""How the runs behind a page were made: commands, commits, versions, hardware."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from senas_bench.experiments.spec import RunRecord


def provenance_summary(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """How runs were made, one entry per command, commit, versions and hardware, the first started first.

    Returns:
        Dicts of `command`, `commit`, `versions`, `hardware`, `started` (first and last, UTC), `runs` (how many),
        `methods` and `seeds`; a fact that no record of the group states is `unknown`.
    """
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(_made(record.provenance), []).append(record)
    return sorted((_group(key, group) for key, group in groups.items()), key=lambda group: str(list(group.values())))


def _made(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Command, commit, versions and hardware of one run, in words."""
    words = facts.get("command")
    command = shlex.join(["senas-bench", *words]) if words else "unknown" if words is None else "a script or notebook"
    commit = f"{facts.get('commit') or 'unknown'}{' with local changes' if facts.get('dirty') else ''}"
    packages = [f"{name} {facts[name]}" for name in ("senas_bench", "python", "torch", "numpy") if facts.get(name)]
    cores = f"{facts['cores']} cores" if facts.get("cores") else None
    device = f"device {facts['device']}" if facts.get("device") else None
    hardware = [str(part) for part in (facts.get("cpu"), cores, device, facts.get("platform")) if part]
    return command, commit, ", ".join(packages) or "unknown", ", ".join(hardware) or "unknown"


def _group(made: tuple[str, ...], records: Sequence[RunRecord]) -> dict[str, Any]:
    started = sorted(str(record.provenance["started"]) for record in records if record.provenance.get("started"))
    value: dict[str, Any] = {"started": " to ".join(dict.fromkeys(started[:1] + started[-1:])) or "unknown"}
    value |= dict(zip(("command", "commit", "versions", "hardware"), made, strict=True)) | {"runs": len(records)}
    methods = sorted({record.spec.method for record in records})
    return value | {"methods": methods, "seeds": sorted({record.spec.seed for record in records})}
