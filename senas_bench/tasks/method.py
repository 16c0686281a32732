"""What a method is: a strategy, and what is true of it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from senas_bench.ranking.estimators import estimator_of
from senas_bench.spaces import SPACES
from senas_bench.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from senas_bench.spaces import SearchSpace
    from senas_bench.tasks.task import MethodOutput, Task

NB201_ONLY = ("nasbench201",)
RESERVED = ("all", "optimal")
"""Names that mean something else: every method, and the last row of table 3."""


def fact(default: Any) -> Any:
    """A field that says what is true of one entry of `METHODS`, and decides no result: no spec holds it."""
    return field(default=default, metadata={"fact": True})


class Method:
    """A search method: inherit it in a frozen dataclass of parameters, called with a task.

    The attributes below are facts, which decide where a method is run and shown. State those that differ, as a plain
    attribute of the class (`trains = False`), as a property, or, where two entries of `METHODS` differ in nothing else,
    as a field made by `fact`.

    Attributes:
        recipe: Name of the recipe of the preset that it trains with, usually a field; None for one without.
        recipes: Its own recipe, by name of the preset, under the name that `recipe` has. A preset that is not
            among them must have one of that name.
        trains: It trains a network.
        ranks: Its last ranking holds the archs of the report; without it, no table of rankings and no `rank`.
        only_ranked: It picks one of the archs that it ranked.
        needs_truth: It trains archs from scratch, looked up in a benchmark: the task has a `trainer`.
        spaces: Names of those it runs in; None for every one.
        watched: It ranks a sample of archs while it trains (`Task.curve`), for figures 7 and 8.
        shrinks_by: What decides which operators leave, in words; None where none does.
        tuned: Its settings were chosen with CIFAR-10 truth in view.
        knows_size: Its score contains the number of parameters of an arch.
    """

    recipe: str | None = None
    recipes: ClassVar[Mapping[str, TrainingRecipe]] = {}
    trains: bool = True
    ranks: bool = True
    only_ranked: bool = False
    needs_truth: bool = False
    spaces: tuple[str, ...] | None = None
    watched: bool = False
    shrinks_by: str | None = None

    @property
    def tuned(self) -> bool:
        return self.trains and self.recipe == "tuned"

    @property
    def knows_size(self) -> bool:
        estimator = getattr(self, "estimator", None)
        return estimator is not None and estimator_of(estimator).knows_size

    def check_stages(self, space: SearchSpace, stages: int) -> None:
        """Refuse stages that the method cannot train, before anything is computed.

        Raises:
            ValueError: It cannot.
        """

    def __call__(self, task: Task) -> MethodOutput:
        raise NotImplementedError


def check_method(name: str, method: Any) -> None:
    """Refuse what cannot run as the method of this name, before anything is computed.

    Raises:
        ValueError: In one sentence, what is wrong and what to do.
    """
    for wrong in (_name, _kind, _call, _fields, _facts):
        if why := wrong(name, method):
            raise ValueError(f"method {name!r}: {why}")


def _name(name: str, method: Any) -> str | None:
    if name in RESERVED:
        return "the name means something else; choose another"
    if not re.fullmatch(r"[a-z0-9][a-z0-9+._-]*", name):
        return "a name is made of small letters, digits and + . _ -, for files are named after it"
    return None


def _kind(name: str, method: Any) -> str | None:
    if isinstance(method, type):
        return f"{method.__name__} is a class; register an instance, {method.__name__}()"
    kind = type(method)
    if not isinstance(method, Method):
        return f"{kind.__name__} is no Method; inherit senas_bench.tasks.method.Method"
    return _unfrozen(kind)


def _unfrozen(kind: type) -> str | None:
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return f"{kind.__name__} is no frozen dataclass; write @dataclass(frozen=True) above it"
    return None


def _call(name: str, method: Any) -> str | None:
    kind = type(method)
    if kind.__call__ is not Method.__call__:
        try:
            inspect.signature(method).bind("task")
            return None
        except TypeError:
            pass
    return f"{kind.__name__} cannot be called with a task; define __call__(self, task) -> MethodOutput"


def _fields(name: str, method: Any) -> str | None:
    return _values(type(method).__name__, method)


def _values(where: str, strategy: Any) -> str | None:
    """What is wrong with the fields of a strategy or of one inside it."""
    for item in (item for item in fields(strategy) if not item.metadata.get("fact")):
        value, place = getattr(strategy, item.name), f"{where}.{item.name}"
        if is_dataclass(value) and not isinstance(value, type):
            if why := _unfrozen(type(value)) or _values(place, value):
                return why
        elif not _plain(value):
            kind = f"the class {value.__name__}" if isinstance(value, type) else f"{value!r:.40}"
            return f"{place} is {kind}, which no spec can hold; use a number, text, tuple of them, or frozen dataclass"
    return None


def _plain(value: Any, deep: bool = True) -> bool:
    if isinstance(value, tuple):
        return deep and all(_plain(item, deep=False) for item in value)
    if isinstance(value, float):
        return math.isfinite(value) and type(value) is float
    return value is None or type(value) in (bool, int, str)


def _facts(name: str, method: Any) -> str | None:
    kind = type(method).__name__
    if method.recipe is None and method.trains:
        return f'{kind} names no recipe; give it `recipe: str = "reference"`, or `trains = False` if it trains nothing'
    if method.recipe is not None and not isinstance(method.recipe, str):
        return f"{kind}.recipe is {method.recipe!r:.40}; give the name of a recipe"
    if method.recipes and method.recipe is None:
        return f"{kind} brings recipes, but `recipe` names none; give the name under which they are known"
    for preset, recipe in method.recipes.items():
        if not isinstance(recipe, TrainingRecipe):
            return f"{kind}.recipes[{preset!r}] is {recipe!r:.40}; give a TrainingRecipe"
    if isinstance(method.spaces, str) or not set(method.spaces or ()) <= SPACES.keys():
        return f"{kind}.spaces is {method.spaces!r:.60}; give a tuple of names among: {', '.join(SPACES)}"
    return None
