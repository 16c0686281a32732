"""What there is: `methods`, `artefacts`, `presets`."""

from __future__ import annotations

import json
from typing import Any

from senas_bench.cli.options import JsonOption


def methods(as_json: JsonOption = False) -> None:
    """Search methods: what they are, where they run, and the artefacts that show them unless told otherwise."""
    from senas_bench.analysis.artefacts import ARTEFACTS
    from senas_bench.methods import all_methods

    rows = []
    for name, method in all_methods().items():
        shown = [artefact.name for artefact in ARTEFACTS.values() if name in artefact.methods]
        what = (type(method).__doc__ or type(method).__name__).strip().splitlines()[0]
        spaces = list(method.spaces) if method.spaces is not None else ["every space"]
        rows.append({"name": name, "what": what, "recipe": method.recipe, "spaces": spaces, "artefacts": shown})
    _print(rows, as_json)


def artefacts(as_json: JsonOption = False) -> None:
    """Tables and figures that `reproduce` makes, the methods that each shows unless told otherwise; groups."""
    from senas_bench.analysis.artefacts import ARTEFACTS, GROUPS, named

    rows: list[dict[str, Any]] = [
        {"name": artefact.name, "what": artefact.title, "methods": list(artefact.methods)}
        for artefact in ARTEFACTS.values()
    ]
    rows += [{"name": group, "what": "all of: " + ", ".join(named(group))} for group in GROUPS]
    _print(rows, as_json)


def presets(as_json: JsonOption = False) -> None:
    """Sizes of the study, and the recipes that each has."""
    from senas_bench.experiments.presets import PRESETS
    from senas_bench.experiments.studies import preset_of

    found = {name: preset_of("nasbench201", name) for name in PRESETS}
    _print(
        [
            {"name": name, "what": own.note or f"images {own.dataset}", "recipes": list(own.recipes)}
            for name, own in found.items()
        ],
        as_json,
    )


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:{width}}  {row['what']}")
        for key, value in row.items():
            if key not in ("name", "what") and value:
                print(f"{'':{width}}  {key}: {', '.join(value) if isinstance(value, list) else value}")
