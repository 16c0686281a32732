"""Whether a `Space` is one, before anything is computed in it. No torch here."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from senas_bench.spaces.space import SearchSpace, Space, Study

FUNCTIONS = ("to_str", "from_str", "cost", "skeleton", "network", "draw")


def check_space(name: str, space: Any) -> None:
    """Refuse what cannot be the search space of this name.

    Raises:
        ValueError: In one sentence, what is wrong and what to do.
    """
    for wrong in (_kind, _parts, _strings, _cost):
        if why := wrong(name, space):
            raise ValueError(f"space {name!r}: {why}")


def _kind(name: str, space: Any) -> str | None:
    if isinstance(space, type):
        return f"{space.__name__} is a class; register a Space(...)"
    if isinstance(space, SearchSpace):
        return "a SearchSpace is all archs alone; register a Space, whose `whole` it is"
    if not isinstance(space, Space):
        return f"{type(space).__name__} is no Space; end its folder with a senas_bench.spaces.space.Space(...)"
    if not re.fullmatch(r"[a-z0-9][a-z0-9+._-]*", name):
        return "a name is made of small letters, digits and + . _ -, for files are named after it"
    return None


def _parts(name: str, space: Space) -> str | None:
    if not isinstance(space.whole, SearchSpace):
        return f"whole is {space.whole!r:.60}; give a SearchSpace of all archs"
    if space.whole.name != name:
        return f"its archs are said to be of {space.whole.name!r}; register it so, or name its SearchSpace {name!r}"
    for part in FUNCTIONS:
        if not callable(getattr(space, part)):
            return f"{part} is {getattr(space, part)!r:.60}; give a function"
    if not space.skeletons:
        return "it has no skeleton; give at least one, by data set"
    for dataset, skeleton in space.skeletons.items():
        if isinstance(skeleton, type) or not is_dataclass(skeleton):
            return f"skeletons[{dataset!r}] is {skeleton!r:.60}; give an instance of a frozen dataclass"
    for preset, study in space.studies.items():
        if not isinstance(study, Study):
            return f"studies[{preset!r}] is {study!r:.60}; give a Study({', '.join(f.name for f in fields(Study))})"
    return None


def _strings(name: str, space: Space) -> str | None:
    arch = space.whole.sample(np.random.default_rng(0))
    try:
        back = space.from_str(space.to_str(arch))
    except Exception as error:
        return f"an arch as text and back fails: {_said(error)}"
    if back != arch:
        return f"from_str(to_str({arch})) is {back!r:.60}; give back the same tuple"
    return None


def _cost(name: str, space: Space) -> str | None:
    dataset, skeleton = next(iter(space.skeletons.items()))
    try:
        whole = space.over(skeleton) if space.over else space.whole
        costs = space.cost(skeleton)(np.array([whole.sample(np.random.default_rng(0))]))
    except Exception as error:
        return f"the cost of an arch over skeletons[{dataset!r}] fails: {_said(error)}"
    if not {"flops_m", "params"} <= set(costs) or any(np.shape(value) != (1,) for value in costs.values()):
        return "cost must give flops_m and params, a number for each arch; return a CostTable(base, per_edge)"
    return None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.100}"
