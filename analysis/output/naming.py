"""Under which name a table is written: none replaces one that shows more, or other runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from senas_bench.analysis.output.formats import Table

SETTING = ("preset", "images", "data_id", "device")
TRUTH = ("column", "ground_truth_sha256")
"""By what a table judges."""
WHO = ("method", "ranking", "search", "level", "subject")
"""What a row is about, where it says so."""
LONGEST = 60
"""Letters of a part of a name, before a hash takes its place."""


def setting_label(preset: str, images: str, device: str, changed_sizes: Mapping[str, Sequence[str]]) -> str:
    """A study as a part of a file name, such as `cpu-cifar10-stage_epochs-1-1-1`."""
    sizes = [f"{name}-{'-'.join(values)}" for name, values in changed_sizes.items()]
    return "-".join(
        [preset, images, *([] if device == "cpu" else [device]), *([_short("-".join(sizes))] if sizes else [])]
    )


def _short(text: str) -> str:
    text = re.sub(r"[^\w+.]+", "-", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def beside(table: Table, folder: Path) -> tuple[Table, str | None]:
    """The table under a name of its own where the one of its name shows more, or is of another study.

    Args:
        folder: Results folder.

    Returns:
        The table, and if it was renamed one line about why.
    """
    parts: dict[str, str] = {}
    why = None
    renamed = table
    while (old := _written(folder, renamed.name)) is not None:
        lost = {kind: said for kind, said in _lost(old, table.meta).items() if kind not in parts}
        if not lost:
            break
        parts |= {kind: _own(kind, table.meta) for kind in lost}
        why = why or f"kept tables/{table.name}.*, which also shows {', '.join(lost.values())}"
        renamed = replace(table, name="-".join([table.name, *parts.values()]))
    return renamed, why and f"{why}; the new table is tables/{renamed.name}.*"


def _written(folder: Path, name: str) -> Mapping[str, Any] | None:
    """What a rendered table of the folder holds; None where there is none, or none that can be read."""
    try:
        found = json.loads((Path(folder) / "tables" / f"{name}.json").read_bytes())
    except (OSError, ValueError):
        return None
    rows = found.get("rows") if isinstance(found, dict) else None
    return found if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


def _lost(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What the old table has and the new one has not, by kind and in words."""
    differs = [old[key] != new[key] for key in SETTING if key in old and key in new]
    if any(differs) or not _same_sizes(old.get("changed_sizes", {}), new.get("changed_sizes", {})):
        return {"setting": f"other runs ({setting_label(*_setting(old))})"}
    before, now = _shown(old), _shown(new)
    lost: dict[str, str] = {}
    for kind in ("methods", "seeds", "columns"):
        if gone := sorted(before[kind] - now[kind]):
            lost[kind] = f"{kind} {', '.join(map(str, gone))}"
    truth = [old[key] != new[key] for key in TRUTH if key in old and key in new]
    if any(truth) and "columns" not in lost and not before["columns"] < now["columns"]:
        lost["columns"] = f"another truth ({old.get('ground_truth')})"
    if not lost and before["cells"] - now["cells"]:
        lost["cells"] = "more runs"
    return lost


def _shown(meta: Mapping[str, Any]) -> dict[str, set[Any]]:
    """Methods, seeds and columns of the truth that a table shows, and which of them together."""
    shown: dict[str, set[Any]] = {
        "methods": set(),
        "seeds": set(meta.get("seeds", ())),
        "columns": set(),
        "cells": set(),
    }
    for row in meta["rows"]:
        who = tuple(str(row[key]) for key in WHO if key in row)
        seeds = [run["seed"] for run in row.get("per_seed", ()) if isinstance(run, Mapping) and "seed" in run]
        columns = [name.removesuffix("_mean") for name, value in row.items() if value is not None and _is_truth(name)]
        columns += [row["column"]] if row.get("column") else []
        shown["methods"] |= {who[0]} if who and seeds else set()
        shown["columns"] |= set(columns)
        shown["cells"] |= {(*who, part) for part in (*seeds, *columns)}
    return shown


def _is_truth(name: str) -> bool:
    return name.endswith(("_test_mean", "_val_mean", "_valtest_mean"))


def _same_sizes(old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]) -> bool:
    """Whether sizes that are not the preset's are those of one study; some methods have fewer of them than all."""
    pairs = [(set(old[name]), set(new[name])) for name in old.keys() & new.keys()]
    return old.keys() == new.keys() and all(one <= other or other <= one for one, other in pairs)


def _setting(meta: Mapping[str, Any]) -> tuple[str, str, str, Mapping[str, Sequence[str]]]:
    return meta["preset"], meta["images"], meta.get("device", "cpu"), meta.get("changed_sizes", {})


def _own(kind: str, meta: Mapping[str, Any]) -> str:
    """The part of a name that says what a table is of."""
    if kind == "setting":
        return setting_label(*_setting(meta))
    if kind == "methods":
        return _short("-".join(dict.fromkeys(str(row[k]) for row in meta["rows"] for k in WHO[:3] if _counts(row, k))))
    if kind == "seeds":
        return _short("seeds-" + "-".join(map(str, sorted(_shown(meta)["seeds"]))))
    return _short(f"truth-{meta.get('ground_truth', 'none')}") if kind == "columns" else "partial"


def _counts(row: Mapping[str, Any], key: str) -> bool:
    return key in row and bool(row.get("per_seed"))
