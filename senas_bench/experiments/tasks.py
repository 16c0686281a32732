"""From a spec to the task of its method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.data import Images, StreamedImages, read_images
from senas_bench.data.loading import Loading
from senas_bench.errors import DataError
from senas_bench.experiments.full_size import full_size
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import Preset
from senas_bench.experiments.spec import RunSpec
from senas_bench.experiments.studies import method_of
from senas_bench.spaces import Arch, ImageShape, SearchSpace, Space, space_named
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.regions import within

if TYPE_CHECKING:
    import torch

    from senas_bench.spaces.cost import CostTable
    from senas_bench.tasks.shared import SharedTrainings
    from senas_bench.tasks.task import Task
    from senas_bench.training.recipe import TrainingRecipe
from senas_bench.experiments.settings import limit_of

REPORT_SEED = 2021
"""Seed of the fixed sample of archs that a preset ranks when it does not rank them all."""
CURVE_ARCHS = 500
"""Size of the fixed sample that is ranked while a supernet trains, where the preset itself ranks no sample."""


def loading_of(
    sizes: Preset, recipe: TrainingRecipe, images: Images | StreamedImages, place: Place, device: torch.device
) -> Loading:
    """How a run of these sizes wants its images."""
    return Loading(
        resolution=sizes.resolution or images.resolution,
        valid=sizes.held_out,
        batch_size=recipe.batch_size,
        eval_batch=sizes.score_batch,
        pad=sizes.pad,
        flip=sizes.flip,
        cutout=recipe.cutout,
        colour_jitter=recipe.colour_jitter,
        lighting=recipe.lighting,
        calibration=sizes.calibration_images,
        score_images=sizes.score_images,
        learn_from_valid=recipe.architecture_images == "valid",
        workers=place.workers,
        device=device,
    )


def make_task(spec: RunSpec, place: Place, trainer: Callable[[Arch], tuple[float, float]] | None = None) -> Task:
    """The task of a spec: images on the device, network builder, evaluation, archs to rank.

    Args:
        trainer: As for `Problem`, where the method trains archs from scratch.
    """
    import torch

    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.tasks.problem import Problem
    from senas_bench.tasks.report import Report
    from senas_bench.tasks.task import Task
    from senas_bench.tasks.work import Work

    kind = method_of(spec.method, spec.space, spec.preset).recipe
    sizes = Preset.from_settings(spec.settings, kind)
    space = space_named(spec.space)
    recipe = sizes.recipe_of(kind)
    device = torch.device(spec.device)
    reading = partial(images_of, spec, sizes, place.data_dir)
    images = reading()
    loading = loading_of(sizes, recipe, images, place, device)
    loaders = images.loaders(loading)
    validating = sum(len(x) for x, _ in loaders.valid)
    if not sizes.held_out and validating < sizes.score_images:  # of an official split nobody knew before
        raise DataError(f"--score-images {sizes.score_images} are more than the {validating} of the official split")
    shape = ImageShape(loaders.resolution, loaders.num_classes, loaders.in_channels)
    skeleton = space.skeleton(shape, sizes)
    limit = limit_of(spec.space, spec.settings.get("limit"), skeleton)
    rebuild = partial(_networks, space, device)
    evaluation = Evaluation(
        loaders.valid[: sizes.score_images // sizes.score_batch],
        sizes.bn_mode,
        [x for x, _ in loaders.calibration],
        recipe.half(device.type),
    )
    archs = report_archs(space.whole, sizes.rank_archs, limit)
    arch = space.from_str(spec.settings["arch"]) if "arch" in spec.settings else None
    full = full_size(spec, shape._replace(resolution=images.resolution), loading, reading)
    curve_archs = archs if sizes.rank_archs else report_archs(space.whole, CURVE_ARCHS)
    return Task(
        seed=spec.seed,
        recipe=recipe,
        problem=Problem(space.whole, *rebuild(skeleton), skeleton, limit, arch, trainer, full, rebuild),
        loaders=loaders,
        evaluation=evaluation,
        report=Report(archs, "sample" if sizes.rank_archs or limit else "full", _curve(spec, curve_archs, evaluation)),
        work=Work(
            device,
            place.work_dir,
            place.progress,
            shared=_shared(spec, sizes, skeleton, place),
            processes=place.processes,
        ),
        candidates=sizes.candidates,
    )


def _networks(space: Space, device: torch.device, skeleton: Any) -> tuple[Callable[..., torch.nn.Module], CostTable]:
    """What builds networks over a skeleton, on the device, and what archs cost there."""
    import torch

    def network(over: SearchSpace, affine: bool, **head: bool) -> torch.nn.Module:
        made: Any = space.network(over, skeleton, affine, **head)  # torch's `to` is typed without memory_format
        return made.to(device, memory_format=torch.channels_last)

    return network, space.cost(skeleton)


def _shared(spec: RunSpec, sizes: Preset, skeleton: Any, place: Place) -> SharedTrainings | None:
    """Where the run's trainings are shared, and what decides them beside their recipe and paths."""
    if place.trainings is None:
        return None
    import torch

    from senas_bench.experiments.additions import code_of
    from senas_bench.kernels import engines
    from senas_bench.tasks.shared import SharedTrainings

    about = {
        "space": spec.space,
        "skeleton": asdict(skeleton),
        "images": [spec.dataset, spec.data_id, sizes.resolution, sizes.held_out, sizes.pad, sizes.flip],
        "device": spec.device,
        "threads": torch.get_num_threads(),
        "kernels": spec.device == "cpu" and engines.available(),
        "torch": torch.__version__,
    }
    return SharedTrainings(place.trainings, about, place.kept_trainings, code_of(spec))


def images_of(spec: RunSpec, sizes: Preset, data_dir: Path | None) -> Images | StreamedImages:
    """The images of a spec.

    Raises:
        DataError: They are missing, or are others than the spec's.
    """
    images = read_images(spec.dataset, data_dir, official_split=not sizes.held_out)
    if images.data_id != spec.data_id:
        raise DataError(
            f"the images of {spec.dataset} are {images.data_id}, those of {spec.run_id} were {spec.data_id}; name the "
            "folder of those with --data-dir"
        )
    return images


def _curve(spec: RunSpec, archs: np.ndarray, evaluation: Any) -> Any:
    """The `Curve` that the spec asks for, or None."""
    from senas_bench.tasks.report import Curve

    asked = spec.settings.get("curve")
    if asked is None:
        return None
    batches = asked["images"] // len(evaluation.batches[0][1])
    return Curve(archs, asked["points"], replace(evaluation, batches=evaluation.batches[:batches]))


def report_archs(space: SearchSpace, sample: int, limit: Limit | None = None) -> np.ndarray:
    """`(n, edges)` archs that rankings cover: the whole space, or the same `sample` of it in every run.

    Args:
        limit: That they must meet.
    """
    region = within(space, limit)
    return region.sample_distinct(np.random.default_rng(REPORT_SEED), sample) if sample else region.archs()
