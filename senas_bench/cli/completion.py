"""Names that the shell completes, read from the source of the registries: importing them would take seconds."""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

HOMES = {
    "ARTEFACTS": "senas_bench.analysis.artefacts",
    "DATASETS": "senas_bench.data",
    "ENGINES": "senas_bench.kernels",
    "ESTIMATORS": "senas_bench.ranking",
    "EXECUTORS": "senas_bench.experiments.executors",
    "GROUPS": "senas_bench.analysis.artefacts",
    "METHODS": "senas_bench.methods",
    "PRECISIONS": "senas_bench.training.recipe",
    "PRESETS": "senas_bench.experiments.presets",
    "PROXIES": "senas_bench.proxies",
    "SPACES": "senas_bench.spaces",
}
"""Modules of the registries, whose names are literal there."""


def names_of(registry: str) -> list[str]:
    """The names in a registry that its source spells out, in its order: keys of a dictionary, or items of a tuple.

    >>> names_of("PRESETS")
    ['embedded', 'cpu', 'paper']
    """
    spec = find_spec(HOMES[registry])
    assert spec is not None and spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == registry for target in targets):
            value = getattr(node, "value", None)
            items = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [])
            return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return []


def one_of(*registries: str) -> Callable[[str], list[str]]:
    """Completes one name."""

    def complete(incomplete: str) -> list[str]:
        names = [name for registry in registries for name in names_of(registry)]
        return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]

    return complete


def several_of(*registries: str) -> Callable[[str], list[str]]:
    """Completes the last of some names with commas between them."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{name}" for name in one_of(*registries)(last) if name not in taken]

    return complete
