"""How each search space is studied at each preset: what differs from NAS-Bench-201. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.data import DATASETS
from senas_bench.experiments.presets import PRESETS, Preset
from senas_bench.names import lookup
from senas_bench.ranking import estimator_of
from senas_bench.spaces import SPACES, ImageShape, Study, space_named
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.regions import within
from senas_bench.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from senas_bench.tasks.method import Method


def study_of(space: str, preset: str) -> Study:
    """What differs from the preset in a space.

    Raises:
        ValueError: Unknown space.
    """
    return space_named(space).studies.get(preset, Study())


def preset_of(space: str, preset: str) -> Preset:
    """The preset as it is for a space, and the recipes that methods bring along.

    Raises:
        ValueError: Unknown name, or a recipe that a method brings has the name of another.
    """
    own = lookup("preset", preset, PRESETS)
    study = study_of(space, preset)
    recipes = own.recipes
    if study.recipes is not None:
        recipes = {name: TrainingRecipe(**fields) for name, fields in study.recipes.items()}
    return replace(own, recipes=_with_brought(recipes, preset), **study.sizes)


def _with_brought(recipes: Mapping[str, TrainingRecipe], preset: str) -> Mapping[str, TrainingRecipe]:
    """The recipes of a preset and those of methods that bring their own."""
    from senas_bench.methods import METHODS

    brought: dict[str, TrainingRecipe] = {}
    for name, method in METHODS.items():
        if preset not in getattr(method, "recipes", ()):
            continue
        recipe, key = method.recipes[preset], str(method.recipe)
        if key in recipes or brought.setdefault(key, recipe) != recipe:
            raise ValueError(f"method {name!r} brings a recipe {key!r}, which preset {preset} has already; rename it")
    return {**recipes, **brought}


def method_of(name: str, space: str, preset: str, estimator: str | None = None) -> Method:
    """The method as it is for a space at a preset.

    Args:
        estimator: Key of `ESTIMATORS` that ranks in place of the method's own. A criterion keeps its own.

    Raises:
        ValueError: Unknown name, the method does not run in that space, or it ranks by no estimator.
    """
    from senas_bench.methods import GIVEN, all_methods, method_named

    method: Any = method_named(name)
    if method.spaces is not None and space not in method.spaces:
        others = ", ".join(other for other, own in all_methods().items() if own.spaces is None or space in own.spaces)
        raise ValueError(f"method {name!r} runs in {', '.join(method.spaces)} only; in {space}: {others}")
    if space != "nasbench201" and name not in GIVEN:
        method = _fitted(method, study_of(space, preset).method)
    if estimator is None:
        return method
    if not hasattr(method, "estimator"):
        those = ", ".join(other for other, own in all_methods().items() if hasattr(own, "estimator"))
        raise ValueError(f"method {name!r} ranks by no estimator, so that none can take its place; one of: {those}")
    estimator_of(estimator)
    return replace(method, **{"estimator": estimator})


def _fitted(strategy: Any, changes: Mapping[str, Any]) -> Any:
    """`strategy` with those changes that it, or a strategy inside it, has a field for."""
    own = {}
    for item in fields(strategy):
        value, change = getattr(strategy, item.name), changes.get(item.name)
        if isinstance(change, Mapping):
            own[item.name] = replace(value, **change)
        elif item.name in changes:
            own[item.name] = change
        elif is_dataclass(value):
            own[item.name] = _fitted(value, changes)
    return replace(strategy, **own)


def skeleton_for(space: str, sizes: Preset, dataset: str) -> Any:
    """What surrounds the choices at these sizes, for a data set, without reading an image.

    Raises:
        ValueError: The preset keeps the images as they are, so that their resolution is not known yet.
    """
    images = lookup("dataset", dataset, DATASETS)
    resolution = sizes.resolution or getattr(images, "resolution", 0)
    if not resolution:
        raise ValueError(f"the resolution of {dataset} is not fixed by the preset; choose another preset")
    channels = 1 if dataset == "digits" else 3
    shape = ImageShape(resolution, getattr(images, "num_classes", 10), channels)
    return space_named(space).skeleton(shape, sizes)


LATENCY_LEVELS = {17: 320e6, 22: 465e6}
"""Multiply-adds of the networks that have the paper's latencies, by milliseconds (its Tables 4 and 5: the two found by
ProxylessNAS)."""


def level_limit(space: str, skeleton: Any, settings: Mapping[str, Any]) -> Limit:
    """A limit of the paper, on a network of another size.

    For FLOPs see `scaled_limit`. A latency becomes the median one, by the table in `settings`, of 1,000 archs that have
    the FLOPs of the paper's networks of that latency.

    Args:
        settings: `cost`, `level` (millions of multiply-adds, or milliseconds), and for `latency` its table, `base` and
            `per_edge`.

    Raises:
        ValueError: A space or a latency that the paper has no limit for.
    """
    limited = {name: own.reference for name, own in SPACES.items() if own.reference is not None}
    reference = lookup("space with limits of the paper", space, limited)
    table, level = SPACES[space].cost(skeleton), settings["level"]
    if settings["cost"] != "latency":
        return Limit.of(table, settings["cost"], scaled_limit(space, skeleton, reference, level * 1e6))
    if level not in LATENCY_LEVELS:
        raise ValueError(f"no FLOPs are known for {level} ms; one of: {', '.join(map(str, LATENCY_LEVELS))}")
    like = Limit.of(table, "flops", scaled_limit(space, skeleton, reference, LATENCY_LEVELS[level]))
    archs = within(SPACES[space].whole, like).sample_distinct(np.random.default_rng(0), 1000)
    unlimited = Limit(np.array(settings["per_edge"], float), settings["base"], -np.inf, np.inf, "latency")
    high = float(np.median(unlimited.cost(archs)))
    return replace(unlimited, low=0.9 * high, high=high)


def scaled_limit(space: str, skeleton: Any, reference: Any, flops: float) -> float:
    """The FLOPs at which `skeleton` is as constrained as `reference` is by `flops`.

    A limit lies somewhere between the cheapest and the dearest choices of every layer; it is put at the same share of
    that range in the smaller network.
    """
    low, high = _range(space, reference)
    least, most = _range(space, skeleton)
    return least + (flops - low) / (high - low) * (most - least)


def _range(space: str, skeleton: Any) -> tuple[float, float]:
    """FLOPs of all the cheapest and all the dearest alive operators."""
    table, alive = SPACES[space].cost(skeleton), SPACES[space].whole.candidates
    costs = [table.per_edge[edge, list(ops), 0] for edge, ops in enumerate(alive)]
    base = float(table.base[0])
    return base + sum(float(c.min()) for c in costs), base + sum(float(c.max()) for c in costs)
