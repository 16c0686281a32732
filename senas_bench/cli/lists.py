"""What there is: `methods`, `artefacts`, `presets`."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import groupby
from typing import Any, TextIO

from senas_bench.cli.options import JsonOption, print_json

PAPERS = "the paper's sizes"


def methods(as_json: JsonOption = False) -> None:
    """Search methods, by what they train: what each does, and where it comes from."""
    from senas_bench.methods import all_methods
    from senas_bench.methods.about import group_of

    rows: list[dict[str, Any]] = [
        {"name": name, "what": _what(name, method), "group": group_of(name)} for name, method in all_methods().items()
    ]
    if not as_json:
        print_lines(rows)
        return
    from senas_bench.analysis.artefacts import ARTEFACTS

    for row, method in zip(rows, all_methods().values(), strict=True):
        row |= {"settings": _settings(method), "recipe": method.recipe}
        row["spaces"] = list(method.spaces) if method.spaces is not None else ["every space"]
        row["artefacts"] = [artefact.name for artefact in ARTEFACTS.values() if row["name"] in artefact.methods]
    print_json(rows)


def artefacts(as_json: JsonOption = False) -> None:
    """Tables and figures that `reproduce` makes, and groups of them."""
    rows = artefact_rows()
    print_json(rows) if as_json else print_lines(rows)


def presets(as_json: JsonOption = False) -> None:
    """Sizes of the study."""
    from senas_bench.experiments.presets import PRESETS
    from senas_bench.experiments.studies import preset_of

    rows = []
    for name in PRESETS:
        own = preset_of("nasbench201", name)
        epochs = "+".join(map(str, own.recipes["reference"].stage_epochs))
        what = f"images {own.dataset}, C={own.channels} N={own.cells}, {epochs} epochs"
        rows.append({"name": name, "what": f"{what}; {own.note or PAPERS}", "recipes": list(own.recipes)})
    print_json(rows) if as_json else print_lines(rows)


def artefact_rows() -> list[dict[str, Any]]:
    """The artefacts, with the methods that each shows unless told otherwise, and the groups."""
    from senas_bench.analysis.artefacts import ARTEFACTS, GROUPS, named

    rows: list[dict[str, Any]] = [
        {"name": artefact.name, "what": artefact.title, "methods": list(artefact.methods)}
        for artefact in ARTEFACTS.values()
    ]
    return rows + [{"name": group, "what": "all of: " + ", ".join(named(group))} for group in GROUPS]


def print_lines(rows: list[dict[str, Any]], stream: TextIO | None = None) -> None:
    """A line per row, with its name and what it is, under its group if it has one; cut to the width of a terminal."""
    where = stream or sys.stdout
    width = max(len(row["name"]) for row in rows)
    room = shutil.get_terminal_size().columns if where.isatty() else None
    for group, own in groupby(rows, key=lambda row: row.get("group")):
        if group:
            print(f"{group}:", file=where)
        for row in own:
            print(f"{'  ' * bool(group)}{row['name']:{width}}  {row['what']}"[:room], file=where)


def _what(name: str, method: Any) -> str:
    """The line about a method; of one that is not the package's the first sentence, and settings that are not those of
    its class."""
    from senas_bench.methods.about import ABOUT

    if (line := ABOUT.get(name)) is not None:
        return line
    own = _settings(method)
    return f"{_sentence(method)} ({own})" if own else _sentence(method)


def _settings(method: Any) -> str:
    """Its settings where they are not those of its class."""
    return ", ".join(
        f"{item.name} {_named(getattr(method, item.name))}" for item in fields(method) if _differs(method, item)
    )


def _sentence(strategy: Any) -> str:
    """The first about its class."""
    words = " ".join((type(strategy).__doc__ or type(strategy).__name__).split())
    return re.split(r"\.(?: |$)", words)[0]


def _differs(method: Any, item: Field[Any]) -> bool:
    """Whether a setting, and no fact about the method, is another than that of its class."""
    if item.metadata.get("fact"):
        return False
    usual = item.default if item.default_factory is MISSING else item.default_factory()
    return getattr(method, item.name) != usual


def _named(value: Any) -> str:
    """A setting in a word or two."""
    parts = getattr(value, "parts", None)
    if parts:
        return " with ".join(map(str, parts))
    return type(value).__name__ if is_dataclass(value) else str(value)
