"""Specs of runs: what is asked for, with every setting that decides its result written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.data import data_id
from senas_bench.experiments.presets import RETRAIN, STAND_ALONE, Preset
from senas_bench.experiments.spec import SEEDS, RunSpec, settings_of
from senas_bench.experiments.store import MAX_EPOCHS, MAX_STAGES
from senas_bench.experiments.studies import level_limit, method_of, preset_of
from senas_bench.methods import GIVEN, SHIPPED
from senas_bench.spaces import SPACES, space_named
from senas_bench.spaces.limits import Limit
from senas_bench.tasks.method import UNIFORM, named_strategies

if TYPE_CHECKING:
    from senas_bench.tasks.method import Method


def make_spec(
    method: str,
    seed: int,
    preset: str,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    device: str = "cpu",
    threads: int = 1,
    sizes: Preset | None = None,
    ground_truth: Path | None = None,
    space: str = "nasbench201",
    limit: Mapping[str, Any] | None = None,
    arch: str | None = None,
    retrain: bool = False,
    estimator: str | None = None,
    images_id: str | None = None,
) -> RunSpec:
    """The spec of one run, with every setting that decides its result written out.

    Args:
        method: Key of `METHODS`.
        preset: Key of `PRESETS`.
        dataset: Images; the preset's by default.
        data_dir: Where they lie.
        sizes: Replaces the preset's sizes; see `resized`.
        ground_truth: Benchmark table of a method that trains from scratch; its name and hashes are then settings.
        space: Key of `SPACES`.
        limit: What archs may cost, as `limit_settings` gives it; None for no limit.
        arch: Arch string for the method `fixed`.
        retrain: Train the pick from scratch at the end, and test it.
        estimator: Ranks in place of the method's own, see `method_of`; the run then stands in no table.
        images_id: Their fingerprint, see `data_id`, where somebody knows it already.

    Raises:
        ValueError: Unknown name, bad seed or arch, or what cannot run in the space, with stages, limit or table.
        DataError: The images are missing.
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"seed {seed} must be at least 0 and below 2**64")
    chosen = method_of(method, space, preset, estimator)
    sizes = sizes or preset_of(space, preset)
    dataset = sizes.dataset if dataset is None else dataset
    _check_training(method, chosen, space, sizes.recipe_of(chosen.recipe).stage_epochs, limit)
    settings = _settings(method, chosen, sizes.for_images(dataset), space, dataset, limit, arch, retrain)
    if estimator is not None and chosen != method_of(method, space, preset):
        settings["estimator"] = estimator
    if (trainer := trainer_of(chosen, ground_truth, dataset)) is not None:
        settings["truth"] = trainer.identity
    return RunSpec(
        method=method,
        seed=seed,
        preset=preset,
        space=space,
        dataset=dataset,
        data_id=images_id or data_id(dataset, data_dir, official_split=not sizes.held_out),
        device=device,
        threads=threads,
        settings=settings,
    )


def _settings(
    name: str,
    method: Method,
    sizes: Preset,
    space: str,
    dataset: str,
    limit: Mapping[str, Any] | None,
    arch: str | None,
    retrain: bool,
) -> dict[str, Any]:
    """The method, its recipe and the sizes, and of what is asked for as in `make_spec` that which is there."""
    settings: dict[str, Any] = {"method": settings_of(method), **sizes.to_settings(method.recipe)}
    settings |= named_settings(name, method)
    if method.bilevel and not sizes.held_out:  # the official split is the benchmark's: its second part is for this
        settings["recipe"]["architecture_images"] = "valid"
    if method.watched and sizes.curve_points and space == "nasbench201" and limit is None:
        settings["curve"] = {"points": sizes.curve_points, "images": sizes.curve_images}
    if limit is not None:
        settings["limit"] = dict(limit)
    if arch is not None:
        settings["arch"] = SPACES[space].to_str(SPACES[space].from_str(arch))
    if retrain:
        names = (f"{RETRAIN}-{dataset}", RETRAIN, STAND_ALONE)
        settings["retrain"] = sizes.to_settings(next(name for name in names if name in sizes.recipes))["recipe"]
    return settings


def named_settings(name: str, method: Method) -> dict[str, Any]:
    """`named`: class and fields of what a method names and somebody added or replaced; the method's own class where the
    package ships none of it by that name. Empty where all is shipped."""
    parts = named_strategies(method)
    found = {part: {"kind": type(one).__name__, **settings_of(one)} for part, one in parts.items()}
    if type(method) is not type((SHIPPED | GIVEN).get(name)):
        found["method"] = {"kind": type(method).__name__}
    return {"named": found} if found else {}


def todays_settings(spec: RunSpec) -> dict[str, Any]:
    """The settings that a spec like this one would have now, at the sizes of its preset.

    Raises:
        ValueError: Its method, space or preset is not known, or has not what it asks for.
    """
    asked = spec.settings
    sizes = resized(preset_of(spec.space, spec.preset), official_split=not asked.get("preset", {}).get("held_out", 1))
    sizes = sizes.for_images(spec.dataset)
    method = method_of(spec.method, spec.space, spec.preset, asked.get("estimator"))
    limit = asked.get("limit")
    if limit is not None:
        limit = {**limit, "in_training": False}
    given = (limit, asked.get("arch"), "retrain" in asked)
    return _settings(spec.method, method, sizes, spec.space, spec.dataset, *given)


def _check_training(
    name: str, method: Any, space: str, stages: tuple[int, ...], limit: Mapping[str, Any] | None
) -> None:
    """Refuse stages, and a limit in training, that a method cannot have."""
    if limit is not None and limit.get("in_training", True):
        check_within({name: method})
    if len(stages) > MAX_STAGES or sum(stages) > MAX_EPOCHS:
        raise ValueError(
            f"{len(stages):,} stages of {sum(stages):,} epochs in all are more than a record holds; give at most "
            f"{MAX_STAGES} stages of {MAX_EPOCHS:,} epochs"
        )
    try:
        method.check_stages(space_named(space).whole, stages)
    except ValueError as error:
        raise ValueError(f"method {name!r}: {error}") from None


def check_within(methods: Mapping[str, Method]) -> None:
    """Refuse a limit that holds in training for methods whose paths keep to none.

    Raises:
        ValueError: There are such; it names them all.
    """
    deaf: dict[str, list[str]] = {}
    for name, method in methods.items():
        if not method.trains_within:
            deaf.setdefault(method.trains_on, []).append(name)
    if deaf:
        each = ", ".join(f"{', '.join(names)} ({paths})" for paths, names in deaf.items())
        raise ValueError(
            f"--train-within-limit restricts {UNIFORM}, and others train {each}; leave out the option, or these methods"
        )


def limit_settings(
    cost: str,
    *,
    high: float | None = None,
    low: float | None = None,
    level: float | None = None,
    table: Any = None,
    in_training: bool = False,
) -> dict[str, Any]:
    """A limit as it stands in a spec: `high`, or one of the paper's.

    Args:
        cost: `flops` (multiply-adds), `params`, or another name, whose `table` must then be given.
        low: `0.9 * high` by default.
        level: A limit of the paper, see `studies.level_limit`; then neither `high` nor `low` is given.
        table: `per_edge` and `base`, such as a latency look-up table; it becomes part of the spec.
        in_training: Whether it holds in training too; see `Limit`. A limit that does not say, of an older run, did.
    """
    if level is not None:
        limit = {"cost": cost, "level": level}
    else:
        assert high is not None
        limit = {"cost": cost, "low": 0.9 * high if low is None else low, "high": high}
    if table is not None:
        per_edge = [[None if np.isnan(value) else float(value) for value in row] for row in table.per_edge]
        limit |= {"base": float(table.base), "per_edge": per_edge}
        if table.setting.batch > 1:
            limit["batch"] = table.setting.batch
    return limit if in_training else {**limit, "in_training": False}


def resized(
    preset: Preset,
    *,
    stage_epochs: tuple[int, ...] | None = None,
    rank_archs: int | None = None,
    score_images: int | None = None,
    candidates: int | None = None,
    curve_points: int | None = None,
    official_split: bool = False,
    accumulate: int | None = None,
    alone_epochs: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
) -> Preset:
    """`preset` with other sizes; None leaves one as it is.

    Args:
        stage_epochs: Of every recipe but those of networks trained alone. One that has a single stage keeps it, and
            trains their sum.
        score_images: Validation images that score an arch; curves take no more.
        official_split: Validate on the images that NAS-Bench-201 validates on.
        accumulate: Of every recipe.
        alone_epochs: Of the networks that `stand-alone` trains.
        engine: Who computes.
        precision: Of every recipe.

    Raises:
        ValueError: `accumulate` does not divide the batch of a recipe, or `score_images` are no whole batches or more
            than are held out.
    """
    recipes = preset.recipes
    alone = [name for name in recipes if name.startswith((RETRAIN, STAND_ALONE))]
    if stage_epochs is not None:
        recipes = {
            name: replace(recipe, stage_epochs=stage_epochs if len(recipe.stage_epochs) > 1 else (sum(stage_epochs),))
            for name, recipe in recipes.items()
            if name not in alone
        } | {name: recipe for name, recipe in recipes.items() if name in alone}
    if alone_epochs is not None and STAND_ALONE in recipes:
        recipes = {**recipes, STAND_ALONE: replace(recipes[STAND_ALONE], stage_epochs=(alone_epochs,))}
    if accumulate is not None:
        recipes = {name: replace(recipe, accumulate=accumulate) for name, recipe in recipes.items()}
    if official_split:
        preset = replace(preset, held_out=0)
    if score_images is not None:
        images = _scored(preset, score_images)
        preset = replace(preset, score_images=images, curve_images=min(preset.curve_images, images))
    if precision is not None:
        recipes = {name: replace(recipe, precision=precision) for name, recipe in recipes.items()}
    return replace(
        preset,
        recipes=recipes,
        rank_archs=preset.rank_archs if rank_archs is None else rank_archs,
        candidates=preset.candidates if candidates is None else candidates,
        curve_points=preset.curve_points if curve_points is None else curve_points,
        engine=preset.engine if engine is None else engine,
    )


def _scored(preset: Preset, images: int) -> int:
    """Validation images that score an arch, checked."""
    most = min(preset.held_out or images, images)
    if images % preset.score_batch or most < images:
        raise ValueError(
            f"--score-images {images} must be a multiple of {preset.score_batch}, the batch that scores, and at most "
            f"{preset.held_out or 'all'} that are held out"
        )
    return images


def trainer_of(method: Any, ground_truth: Path | None, images: str) -> Any:
    """The `BenchmarkTrainer` of a method that declares `needs_truth`; None for any other, without reading a table."""
    if not method.needs_truth:
        return None
    from senas_bench.groundtruth.trainer import load_trainer

    return load_trainer(ground_truth, images)


def limit_of(space: str, settings: Mapping[str, Any] | None, skeleton: Any) -> Limit | None:
    """The limit that a spec asks for, see `limit_settings`, on the network that it builds."""
    if settings is None:
        return None
    return replace(_window(space, settings, skeleton), in_training=settings.get("in_training", True))


def _window(space: str, settings: Mapping[str, Any], skeleton: Any) -> Limit:
    if "level" in settings:
        return level_limit(space, skeleton, settings)
    low, high = settings["low"], settings["high"]
    if "per_edge" in settings:
        return Limit(np.array(settings["per_edge"], float), settings["base"], low, high, settings["cost"])
    return Limit.of(SPACES[space].cost(skeleton), settings["cost"], high, low)
