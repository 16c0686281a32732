"""What there is: `methods`, `artefacts`, `presets`."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TextIO

from senas_bench.cli.options import JsonOption, print_json

PAPERS = "the paper's sizes"


def methods(as_json: JsonOption = False) -> None:
    """Search methods: what each does, and how it differs from the others of its kind."""
    from senas_bench.methods import all_methods

    rows: list[dict[str, Any]] = [{"name": name, "what": _what(method)} for name, method in all_methods().items()]
    if not as_json:
        print_lines(rows)
        return
    from senas_bench.analysis.artefacts import ARTEFACTS

    for row, method in zip(rows, all_methods().values(), strict=True):
        row["recipe"] = method.recipe
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
    """A line per row, with its name and what it is; cut to the width of a terminal."""
    where = stream or sys.stdout
    width = max(len(row["name"]) for row in rows)
    room = shutil.get_terminal_size().columns if where.isatty() else None
    for row in rows:
        print(f"{row['name']:{width}}  {row['what']}"[:room], file=where)


def _what(method: Any) -> str:
    """The first sentence about a method, and its settings where they are not those of its class."""
    proxy = _proxy(method)
    if proxy is not None:
        return f"Training-free: {_sentence(proxy)}"
    about = _sentence(method)
    own = [f"{item.name} {_named(getattr(method, item.name))}" for item in fields(method) if _differs(method, item)]
    return f"{about} ({', '.join(own)})" if own else about


def _proxy(method: Any) -> Any:
    """What a method that trains nothing scores untrained networks by, where that is one proxy."""
    from senas_bench.methods.training_free import ByProxy
    from senas_bench.proxies import PROXIES
    from senas_bench.ranking import estimator_of

    found = getattr(estimator_of(method.estimator), "proxy", None) if type(method) is ByProxy else None
    return PROXIES[found] if isinstance(found, str) else found


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
