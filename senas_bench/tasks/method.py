"""What a method is: a strategy, and what is true of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from senas_bench import proxies, ranking
from senas_bench.proxies import PROXIES
from senas_bench.ranking import ESTIMATORS, estimator_of, knows_size, saw
from senas_bench.spaces import SPACES
from senas_bench.strategies import fields_for, nested, no_instance, uncalled, unwritable
from senas_bench.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from senas_bench.spaces import SearchSpace
    from senas_bench.tasks.outputs import MethodOutput
    from senas_bench.tasks.task import Task

NB201_ONLY = ("nasbench201",)
CELLS = ("nasbench201", "darts", "darts-separate")
"""Spaces made of cells, whose networks run mixtures."""
UNIFORM = "uniform paths"
WITHIN = "paths within the limit"
FAIR = "strictly fair paths"
LEARNED = "what its logits choose"
"""What `Method.trains_on` may say; the first two can keep a limit that holds in training."""
LONGEST_NAME = 100
"""Letters of a name: files are called after it, with preset, images, seed and hash."""
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
        watched: It ranks a sample of archs while it trains (`Report.curve`), for figures 7 and 8.
        bilevel: It learns an architecture beside the weights, on images of its own: see `Loaders.bilevel`.
        trains_on: The paths of its supernet, in words: `UNIFORM`, those of `Task.uniform_paths`; `WITHIN`, within a
            limit always; any others keep to none, so that it is refused a limit that holds in training.
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
    bilevel: bool = False
    trains_on: str = UNIFORM
    shrinks_by: str | None = None

    @property
    def trains_within(self) -> bool:
        """Whether it can keep a limit while it trains; so can what trains nothing."""
        return not self.trains or self.trains_on in (UNIFORM, WITHIN)

    @property
    def tuned(self) -> bool:
        return self.trains and self.recipe == "tuned"

    @property
    def knows_size(self) -> bool:
        estimator = getattr(self, "estimator", None)
        return estimator is not None and knows_size(estimator)

    @property
    def saw(self) -> list[str]:
        """Whose truths were in view when its estimators were chosen; what `tuned` says of its recipe comes on top."""
        held = [value for part in (self, *nested(self)) for _, value in fields_for(part, "estimator")]
        return sorted({words for estimator in held if estimator is not None for words in saw(estimator)})

    def check_stages(self, space: SearchSpace, stages: tuple[int, ...]) -> None:
        """Refuse stages of so many epochs each that the method cannot train, before anything is computed.

        Raises:
            ValueError: It cannot.
        """

    def __call__(self, task: Task) -> MethodOutput:
        """Search: the pick, every ranking made on the way, and what happened."""
        raise NotImplementedError


def check_method(name: str, method: Any) -> None:
    """Refuse what cannot run as the method of this name, before anything is computed.

    Raises:
        ValueError: In one sentence, what is wrong and what to do.
    """
    for wrong in (_name, _kind, _call, _parts, _fields, _facts):
        if why := wrong(name, method):
            raise ValueError(f"method {name!r}: {why}")


def check_criterion(criterion: Any) -> None:
    """Refuse what cannot score operators, see `shrinking.criterion.Criterion`.

    Raises:
        ValueError: In a sentence.
    """
    kind = criterion if isinstance(criterion, type) else type(criterion)
    if kind.__module__ == "builtins":
        why: str | None = "give a frozen dataclass that is called with (trained, task), such as those in CRITERIA"
    else:
        why = no_instance(criterion) or uncalled(criterion, ("trained", "task"), "CriterionOutput")
        why = why or _parts("", criterion) or unwritable(kind.__name__, criterion)
    if why:
        raise ValueError(f"{criterion!r:.80} is no criterion: {why}")


def named_strategies(strategy: Any) -> dict[str, Any]:
    """Estimators and proxies that a strategy names, or one that it names or holds does, and that are not as the package
    ships them: by kind and name. A spec holds no more of the others than their name."""
    found: dict[str, Any] = {}
    for holder in (strategy, *nested(strategy)):
        for kind, known, shipped in (("estimator", ESTIMATORS, ranking.SHIPPED), ("proxy", PROXIES, proxies.SHIPPED)):
            for name in {value for _, value in fields_for(holder, kind) if isinstance(value, str) and value in known}:
                if known[name] != shipped.get(name):
                    found[f"{kind} {name}"] = known[name]
                found |= named_strategies(known[name])
    return found


def kinds(holders: Iterable[Any]) -> set[tuple[str, str]]:
    """The classes of strategies, and of those inside of them: name, and where each is defined."""
    parts = (part for holder in holders for part in (holder, *nested(holder)))
    return {(type(part).__name__, _home(part)) for part in parts}


def check_kinds(method: Any, known: Iterable[tuple[str, str]]) -> None:
    """Refuse strategies inside a method whose class has the name of another class: a spec holds the name alone.

    Args:
        known: `kinds` of all that there is.

    Raises:
        ValueError: Two have one name.
    """
    homes = {type(one).__name__: _home(one) for one in nested(method)}
    for name, home in known:
        if name in homes and home != homes[name]:
            one, other = sorted((homes[name], home))
            raise ValueError(f"{one} and {other} are two classes of one name, so that runs may share an id; rename one")


def _home(strategy: Any) -> str:
    return f"{type(strategy).__module__}.{type(strategy).__qualname__}"


def _name(name: str, method: Any) -> str | None:
    if name in RESERVED:
        return "the name means something else; choose another"
    if not re.fullmatch(r"[a-z0-9][a-z0-9+._-]*", name):
        return "a name is made of small letters, digits and + . _ -, for files are named after it"
    if len(name) > LONGEST_NAME:
        return f"a name has at most {LONGEST_NAME} letters, for files are named after it; this one has {len(name)}"
    return None


def _kind(name: str, method: Any) -> str | None:
    kind = method if isinstance(method, type) else type(method)
    if not issubclass(kind, Method):
        return f"{kind.__name__} is no Method; inherit senas_bench.tasks.method.Method"
    return no_instance(method)


def _call(name: str, method: Any) -> str | None:
    return uncalled(method, ("task",), "MethodOutput", Method)


def _fields(name: str, method: Any) -> str | None:
    return unwritable(type(method).__name__, method)


def _parts(name: str, method: Any) -> str | None:
    """What is wrong with the estimators and criteria that it names or holds."""
    for strategy in (method, *nested(method)):
        for kind, check in (("estimator", estimator_of), ("criterion", check_criterion)):
            for field_name, value in fields_for(strategy, kind):
                try:
                    if value is not None:
                        check(value)
                except ValueError as error:
                    return f"{type(strategy).__name__}.{field_name}: {error}"
    return None


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
    if not isinstance(method.trains_on, str) or not method.trains_on.strip():
        return f"{kind}.trains_on is {method.trains_on!r:.40}; say on what in words, such as {UNIFORM!r}"
    if isinstance(method.spaces, str) or not set(method.spaces or ()) <= SPACES.keys():
        return f"{kind}.spaces is {method.spaces!r:.60}; give a tuple of names among: {', '.join(SPACES)}"
    return None
