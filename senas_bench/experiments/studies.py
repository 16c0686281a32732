"""How each search space is studied at each preset: what differs from NAS-Bench-201. No torch here.

The sizes of `embedded` and `cpu` were chosen by what a laptop can afford; nothing was tuned on a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from senas_bench.data import DATASETS
from senas_bench.names import lookup
from senas_bench.search.constraints import Limit, within
from senas_bench.search.evolution import Evolution
from senas_bench.spaces import KINDS, SPACES, darts, mobilenet
from senas_bench.spaces.cost import Skeleton
from senas_bench.spaces.darts import DartsSkeleton
from senas_bench.training.recipe import TrainingRecipe

from .presets import PRESETS, RETRAIN, Preset

METHODS_EVERYWHERE = (
    "random",
    "untrained",
    "spos",
    "si-shrink",
    "angle-shrink",
    "random-shrink",
    "se-nas-shrink",
    "se-nas",
)
"""Methods that run in every space; where a study says so they search by evolution. The others pick as their papers do
on NAS-Bench-201, and run there alone."""


@dataclass(frozen=True)
class Study:
    """A space at a preset.

    Args:
        sizes: Fields of the `Preset` that differ.
        method: Fields of methods and of their criteria that differ, for those that have them.
    """

    sizes: Mapping[str, Any] = field(default_factory=dict)
    method: Mapping[str, Any] = field(default_factory=dict)


def _mobile_recipes(stages: tuple[int, ...], batch: int, lr: float, retrain: int, amp: bool) -> dict[str, Any]:
    """docs/method.md 3, scaled in length, batch and rate. The linear decay spans each stage."""
    supernet = TrainingRecipe(
        stages,
        batch_size=batch,
        lr=lr,
        lr_min=0.0,
        lr_horizon=0,
        weight_decay=4e-5,
        nesterov=False,
        clip=0.0,
        amp=amp,
        schedule="linear",
        decay_norm_and_bias=False,
    )
    alone = replace(supernet, stage_epochs=(retrain,), snapshots=1, label_smoothing=0.1)
    return {"reference": supernet, "tuned": supernet, RETRAIN: alone}


def _darts_recipes(
    stages: tuple[int, ...], batch: int, retrain: int, retrain_batch: int, retrain_lr: float, amp: bool
) -> dict[str, Any]:
    """docs/method.md 3: DARTS's supernet settings, and for retraining those of DARTS on CIFAR, scaled in
    length; without its cutout, drop path and auxiliary head, which only preset `paper` has."""
    supernet = TrainingRecipe(
        stages, batch_size=batch, lr=0.025, lr_min=0.001, lr_horizon=0, weight_decay=3e-4, nesterov=False, amp=amp
    )
    alone = replace(supernet, stage_epochs=(retrain,), batch_size=retrain_batch, lr=retrain_lr, lr_min=0.0, snapshots=1)
    return {"reference": supernet, "tuned": supernet, RETRAIN: alone}


def _darts_paper_recipes() -> dict[str, Any]:
    """docs/method.md 3 at full length, with what regularizes retraining on CIFAR; on ImageNet P-DARTS's setting. Other
    images may be too small for an auxiliary head.

    Of the range for drop path, .2 to .3, its lower end, DARTS's: our stack is narrower than those it was chosen for.
    """
    recipes = _darts_recipes((200,) + (5,) * 5, 64, 600, 96, 0.025, True)
    imagenet = TrainingRecipe(
        (250,),
        batch_size=1024,
        lr=0.5,
        lr_min=0.0,
        lr_horizon=0,
        nesterov=False,
        weight_decay=3e-5,
        snapshots=1,
        amp=True,
        schedule="linear",
        warmup_epochs=5,
        label_smoothing=0.1,
        auxiliary_weight=0.4,
    )
    cifar = replace(recipes[RETRAIN], drop_path=0.2, auxiliary_weight=0.4, cutout=16)
    own = {"cifar10": cifar, "cifar100": cifar, "imagenet": imagenet}
    return recipes | {f"{RETRAIN}-{dataset}": recipe for dataset, recipe in own.items()}


_TINY_SEARCH = Evolution(population=12, generations=4, parents=4)
_SMALL_SEARCH = Evolution(population=20, generations=5, parents=5)
_MOBILE = {
    "embedded": Study(
        {
            "width": 0.125,
            "rank_archs": 30,
            "score_images": 100,
            "score_batch": 100,
            "recipes": _mobile_recipes((2, 1, 1), 64, 0.1, 4, False),
        },
        {"drop": 40, "per_operator": 3, "search": "evolution", "evolution": _TINY_SEARCH},
    ),
    "cpu": Study(
        {
            "width": 0.125,
            "rank_archs": 50,
            "score_images": 500,
            "recipes": _mobile_recipes((2, 1, 1), 128, 0.1, 3, False),
        },
        {"drop": 40, "per_operator": 10, "search": "evolution", "evolution": _SMALL_SEARCH},
    ),
    "paper": Study(
        {"dataset": "imagenet", "resolution": 224, "rank_archs": 100, "held_out": 50_000, "score_batch": 500}
        | {"recipes": _mobile_recipes((100,) + (5,) * 10, 1024, 0.5, 240, True)},
        {"drop": 10, "per_operator": 1000, "search": "evolution"},
    ),
}
_DARTS = {
    "embedded": Study(
        {
            "channels": 4,
            "rank_archs": 30,
            "score_images": 100,
            "score_batch": 100,
            "recipes": _darts_recipes((2, 1, 1), 64, 4, 64, 0.025, False),
        },
        {"drop": 30, "max_per_edge": 3, "per_operator": 2, "search": "evolution", "evolution": _TINY_SEARCH},
    ),
    "cpu": Study(
        {
            "channels": 4,
            "rank_archs": 50,
            "score_images": 500,
            "recipes": _darts_recipes((4, 1, 1), 128, 6, 96, 0.025, False),
        },
        {"drop": 30, "max_per_edge": 3, "per_operator": 4, "search": "evolution", "evolution": _SMALL_SEARCH},
    ),
    "paper": Study(
        {"cells": 4, "rank_archs": 100, "recipes": _darts_paper_recipes()},
        {"drop": 10, "max_per_edge": 1, "per_operator": 100, "search": "evolution"},
    ),
}
STUDIES: dict[str, dict[str, Study]] = {
    "nasbench201": {name: Study() for name in PRESETS},
    "mobilenet": _MOBILE,
    "mobilenet-g2": _MOBILE,
    "darts": _DARTS,
    "darts-separate": _DARTS,
}


def preset_of(space: str, preset: str) -> Preset:
    """The preset as it is for a space.

    Raises:
        ValueError: Unknown name.
    """
    own = lookup("preset", preset, PRESETS)
    return replace(own, **lookup("space", space, STUDIES)[preset].sizes)


def method_of(name: str, space: str, preset: str) -> Any:
    """The method as it is for a space at a preset.

    Raises:
        ValueError: Unknown name, or the method does not run in that space.
    """
    from senas_bench.methods import GIVEN, METHODS

    if name in GIVEN:
        return GIVEN[name]
    method = lookup("method", name, METHODS)
    if space == "nasbench201":
        return method
    if name not in METHODS_EVERYWHERE:
        raise ValueError(f"method {name!r} runs in nasbench201 only; in {space}: {', '.join(METHODS_EVERYWHERE)}")
    return _fitted(method, lookup("space", space, STUDIES)[preset].method)


def _fitted(strategy: Any, changes: Mapping[str, Any]) -> Any:
    """`strategy` with those changes that it, or a strategy inside it, has a field for."""
    own = {}
    for item in fields(strategy):
        value = getattr(strategy, item.name)
        if item.name in changes:
            own[item.name] = changes[item.name]
        elif is_dataclass(value):
            own[item.name] = _fitted(value, changes)
    return replace(strategy, **own)


def skeleton_of(space: str, sizes: Preset, resolution: int, num_classes: int, in_channels: int) -> Any:
    """What surrounds the choices at these sizes and images.

    A large MobileNet-like network keeps the paper's strides; small images take fewer, see `mobilenet.small_image`.
    Images as large as ImageNet's get the stack in which found DARTS cells are trained on it, whatever the sizes.
    """
    if space == "nasbench201":
        return Skeleton(resolution, num_classes, in_channels, sizes.channels, sizes.cells)
    data = {"resolution": resolution, "num_classes": num_classes, "in_channels": in_channels}
    if space.startswith("darts") and resolution >= darts.SKELETONS["imagenet"].resolution:
        return replace(darts.SKELETONS["imagenet"], **data)
    if space.startswith("darts"):
        return DartsSkeleton(resolution, num_classes, in_channels, sizes.channels, 3 * sizes.cells + 2)
    if resolution >= mobilenet.TABLE2.resolution:
        return replace(mobilenet.TABLE2, **data)
    return mobilenet.small_image(resolution, num_classes, in_channels, sizes.width)


def skeleton_for(space: str, sizes: Preset, dataset: str) -> Any:
    """`skeleton_of` for a data set, without reading an image.

    Raises:
        ValueError: The preset keeps the images as they are, so that their resolution is not known yet.
    """
    images = lookup("dataset", dataset, DATASETS)
    resolution = sizes.resolution or getattr(images, "resolution", 0)
    if not resolution:
        raise ValueError(f"the resolution of {dataset} is not fixed by the preset; choose another preset")
    channels = 1 if dataset == "digits" else 3
    return skeleton_of(space, sizes, resolution, getattr(images, "num_classes", 10), channels)


REFERENCES = {"mobilenet": mobilenet.TABLE2, "mobilenet-g2": mobilenet.TABLE2} | dict.fromkeys(
    ("darts", "darts-separate"), darts.SKELETONS["imagenet"]
)
"""The networks on ImageNet to which the paper's limits apply, by space."""
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
    reference = lookup("space with limits of the paper", space, REFERENCES)
    table, level = KINDS[space].cost(skeleton), settings["level"]
    if settings["cost"] != "latency":
        return Limit.of(table, settings["cost"], scaled_limit(space, skeleton, reference, level * 1e6))
    if level not in LATENCY_LEVELS:
        raise ValueError(f"no FLOPs are known for {level} ms; one of: {', '.join(map(str, LATENCY_LEVELS))}")
    like = Limit.of(table, "flops", scaled_limit(space, skeleton, reference, LATENCY_LEVELS[level]))
    archs = within(SPACES[space], like).sample_distinct(np.random.default_rng(0), 1000)
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
    table, alive = KINDS[space].cost(skeleton), SPACES[space].candidates
    costs = [table.per_edge[edge, list(ops), 0] for edge, ops in enumerate(alive)]
    base = float(table.base[0])
    return base + sum(float(c.min()) for c in costs), base + sum(float(c.max()) for c in costs)
