"""From a spec to a record: the one place where everything is put together."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.data import Images, StreamedImages, data_id, read_images
from senas_bench.errors import DataError
from senas_bench.experiments.presets import RETRAIN, STAND_ALONE, Preset
from senas_bench.experiments.provenance import provenance
from senas_bench.experiments.spec import SEEDS, RunRecord, RunSpec, settings_of
from senas_bench.experiments.store import MAX_EPOCHS, MAX_STAGES, RunStore
from senas_bench.experiments.studies import level_limit, method_of, preset_of
from senas_bench.names import lookup
from senas_bench.progress import PlainProgress, Progress, SilentProgress, TensorBoardProgress
from senas_bench.spaces import SPACES, Arch, ImageShape, SearchSpace
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.regions import within

if TYPE_CHECKING:
    import torch

    from senas_bench.data.loader import Loaders
    from senas_bench.training.distributed import Processes
    from senas_bench.training.recipe import TrainingRecipe

REPORT_SEED = 2021
"""Seed of the fixed sample of archs that a preset ranks when it does not rank them all."""
CURVE_ARCHS = 500
"""Size of the fixed sample that is ranked while a supernet trains, where the preset itself ranks no sample."""


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
) -> RunSpec:
    """The spec of one run, with every setting that decides its result written out.

    Args:
        method: Key of `METHODS`.
        preset: Key of `PRESETS`.
        dataset: Images; the preset's by default.
        data_dir: Where they lie.
        sizes: Replaces the preset's sizes; see `resized`.
        ground_truth: Benchmark table that a method which trains from scratch looks its trainings up in; its name and
            hashes are then settings. Not touched for any other method.
        space: Key of `SPACES`.
        limit: What archs may cost, as `limit_settings` gives it; None for no limit.
        arch: Arch string for the method `fixed`.
        retrain: Train the pick from scratch at the end, and test it.

    Raises:
        ValueError: Unknown name, a seed that torch cannot take, a method that does not run in the space or with these
            stages, a bad arch string, or the table lacks what the method needs.
        DataError: The images are missing.
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"seed {seed} must be at least 0 and below 2**64")
    chosen = method_of(method, space, preset)
    sizes = sizes or preset_of(space, preset)
    dataset = sizes.dataset if dataset is None else dataset
    _check_stages(method, chosen, space, sizes.recipe_of(chosen.recipe).stage_epochs)
    settings = {"method": settings_of(chosen), **sizes.to_settings(chosen.recipe)}
    if chosen.watched and sizes.curve_points and space == "nasbench201" and limit is None:
        settings["curve"] = {"points": sizes.curve_points, "images": sizes.curve_images}
    trainer = _trainer(chosen, ground_truth, dataset)
    if trainer is not None:
        settings["truth"] = trainer.identity
    if limit is not None:
        settings["limit"] = dict(limit)
    if arch is not None:
        settings["arch"] = SPACES[space].to_str(SPACES[space].from_str(arch))
    if retrain:
        names = (f"{RETRAIN}-{dataset}", RETRAIN, STAND_ALONE)
        settings["retrain"] = sizes.to_settings(next(name for name in names if name in sizes.recipes))["recipe"]
    return RunSpec(
        method=method,
        seed=seed,
        preset=preset,
        space=space,
        dataset=dataset,
        data_id=data_id(dataset, data_dir, official_split=not sizes.held_out),
        device=device,
        threads=threads,
        settings=settings,
    )


def _check_stages(name: str, method: Any, space: str, stages: tuple[int, ...]) -> None:
    if len(stages) > MAX_STAGES or sum(stages) > MAX_EPOCHS:
        raise ValueError(
            f"{len(stages):,} stages of {sum(stages):,} epochs in all are more than a record holds; give at most "
            f"{MAX_STAGES} stages of {MAX_EPOCHS:,} epochs"
        )
    try:
        method.check_stages(lookup("space", space, SPACES).whole, len(stages))
    except ValueError as error:
        raise ValueError(f"method {name!r}: {error}") from None


def limit_settings(
    cost: str, *, high: float | None = None, low: float | None = None, level: float | None = None, table: Any = None
) -> dict[str, Any]:
    """A limit as it stands in a spec: `high`, or one of the paper's.

    Args:
        cost: `flops` (multiply-adds), `params`, or another name, whose `table` must then be given.
        low: `0.9 * high` by default.
        level: A limit of the paper, see `studies.level_limit`; then neither `high` nor `low` is given.
        table: `per_edge` and `base`, such as a latency look-up table; it becomes part of the spec.
    """
    if level is not None:
        limit = {"cost": cost, "level": level}
    else:
        limit = {"cost": cost, "low": 0.9 * high if low is None else low, "high": high}
    if table is not None:
        per_edge = [[None if np.isnan(value) else float(value) for value in row] for row in table.per_edge]
        limit |= {"base": float(table.base), "per_edge": per_edge}
    return limit


def resized(
    preset: Preset,
    *,
    stage_epochs: tuple[int, ...] | None = None,
    rank_archs: int | None = None,
    candidates: int | None = None,
    curve_points: int | None = None,
    official_split: bool = False,
    accumulate: int | None = None,
    alone_epochs: int | None = None,
) -> Preset:
    """`preset` with other sizes; None leaves one as it is.

    Args:
        stage_epochs: Of every recipe but those of networks trained alone. One that has a single stage keeps it, and
            trains their sum.
        official_split: Validate on the images that NAS-Bench-201 validates on.
        accumulate: Of every recipe.
        alone_epochs: Of the networks that `stand-alone` trains.

    Raises:
        ValueError: `accumulate` does not divide the batch of a recipe.
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
    return replace(
        preset,
        recipes=recipes,
        held_out=0 if official_split else preset.held_out,
        rank_archs=preset.rank_archs if rank_archs is None else rank_archs,
        candidates=preset.candidates if candidates is None else candidates,
        curve_points=preset.curve_points if curve_points is None else curve_points,
    )


@dataclass(frozen=True)
class Runner:
    """Runs specs and keeps their records; travels to worker processes.

    Args:
        root: Results folder.
        data_dir: Where the images lie.
        command: For the provenance.
        progress: `silent`, `plain` or `rich`.
        ground_truth: For methods that train from scratch; see `make_spec`.
        workers: Processes that decode the images of each run which memory does not hold; 0 for none beside its own.
            They change no result.
        processes: That compute each run together, see `Task`, each with a runner of its own; None for this one alone.
        tensorboard: Folder for the curves of each run, in a folder of its id; None for none.
    """

    root: Path
    data_dir: Path | None = None
    command: tuple[str, ...] = ()
    progress: str = "silent"
    ground_truth: Path | None = None
    workers: int = 0
    processes: Processes | None = None
    tensorboard: Path | None = None

    def __call__(self, spec: RunSpec) -> RunRecord | None:
        """The record of `spec`: from the store, or computed, resuming what an earlier try left behind.

        None in a process that is not the first, which helps to compute it and leaves the store alone.
        """
        store = RunStore(self.root)
        if self.processes is not None and not self.processes.first:
            if self._goes_on(True):
                self._run(spec, store.work_dir(spec), SilentProgress())
            return None
        with store.claim(spec) as finished:
            if finished is not None:
                self._goes_on(False)
                return finished
            work_dir = store.work_dir(spec)
            self._goes_on(True)
            try:
                done = self.run_in(work_dir, spec)
            except Exception:
                with contextlib.suppress(OSError):  # refused before it kept anything, it is not unfinished
                    work_dir.rmdir()
                raise
            return store.save(*done)

    def run_in(self, work_dir: Path, spec: RunSpec) -> tuple[RunRecord, Any]:
        """As `run`, kept nowhere."""
        progress = _progress(self.progress, spec.run_id)
        if self.tensorboard is not None:
            progress = TensorBoardProgress(Path(self.tensorboard) / spec.run_id, progress)
        with contextlib.closing(progress):
            return self._run(spec, work_dir, progress)

    def apart(self) -> tuple[DistantRunner, Callable[[tuple[RunRecord, Any]], RunRecord]]:
        """The same in two parts, for workers that may not see this machine's files: theirs, and what is then done here.

        Raises:
            ValueError: The results folder cannot be written.
        """
        paths = {name: getattr(self, name) for name in ("root", "data_dir", "ground_truth", "tensorboard")}
        here = replace(self, **{name: path and Path(path).absolute() for name, path in paths.items()})
        store = RunStore(here.root)
        store.prepare()
        return DistantRunner(here, store.identity()), here._keep

    def _keep(self, finished: tuple[RunRecord, Any]) -> RunRecord:
        record, tables = finished
        store = RunStore(self.root)
        return store.load(record.spec) if store.has(record.spec) else store.save(record, tables)

    def _goes_on(self, mine: bool) -> bool:
        """Whether the run is to be computed, as the first process has it."""
        return mine if self.processes is None else bool(self.processes.from_first(np.array([int(mine)]))[0])

    def _run(self, spec: RunSpec, work_dir: Path, progress: Progress) -> tuple[RunRecord, Any]:
        places = self.data_dir, progress, list(self.command), self.ground_truth
        return run(spec, work_dir, *places, self.workers, self.processes)


@dataclass(frozen=True)
class DistantRunner:
    """The part of a `Runner` that is done on a machine which may or may not see its results folder.

    Where it does, a run is claimed, resumed and saved as by the runner itself. Where not, it works in a temporary
    folder. Either way the record and its scores travel back.

    Args:
        runner: With absolute paths.
        identity: Of its results folder.
    """

    runner: Runner
    identity: str

    def __call__(self, spec: RunSpec) -> tuple[RunRecord, Any]:
        """The record and its scores; see `run`."""
        store = RunStore(self.runner.root)
        if store.is_identical(self.identity):
            record = self.runner(spec)
            return record, None if record.scores_sha256 is None else store.scores(record)
        with tempfile.TemporaryDirectory(prefix="senas-bench-") as folder:
            return self.runner.run_in(Path(folder), spec)


def run(
    spec: RunSpec,
    work_dir: Path,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    command: list[str] | None = None,
    ground_truth: Path | None = None,
    workers: int = 0,
    processes: Processes | None = None,
) -> tuple[RunRecord, Any]:
    """Run a method, on as many CPU threads as its spec says; what torch, BLAS and OpenMP had before is restored.

    Args:
        work_dir: Checkpoints; a run that finds its own there goes on from them.
        ground_truth: For a method that trains from scratch; must be the table that its spec names.
        workers: See `Runner`.
        processes: That make this call together, see `Task`; None for this one alone.

    Returns:
        The record, and its scores as a data frame in the store's schema.

    Raises:
        ValueError: The settings are not those of this version's method, or the benchmark table is not the spec's.
        DataError: The images are missing or are not those of the spec.
        RunError: Training failed.
    """
    from senas_bench.experiments.threads import limited_threads
    from senas_bench.memory import keep_freed_memory
    from senas_bench.training.distributed import ALONE

    keep_freed_memory()
    places = data_dir, progress or SilentProgress(), command or [], ground_truth
    with limited_threads(spec.threads):
        return _computed(spec, work_dir, *places, workers, processes or ALONE)


def _computed(
    spec: RunSpec,
    work_dir: Path,
    data_dir: Path | None,
    progress: Progress,
    command: list[str],
    ground_truth: Path | None,
    workers: int,
    processes: Processes,
) -> tuple[RunRecord, Any]:
    """`run`, on the threads that are set."""
    import torch

    method = method_of(spec.method, spec.space, spec.preset)
    if settings_of(method) != spec.settings["method"]:
        raise ValueError(f"the spec of {spec.run_id} has other settings of {spec.method!r} than this version")
    trainer = _trainer(method, ground_truth, spec.dataset)
    if spec.settings.get("truth") != (None if trainer is None else trainer.identity):
        raise ValueError(f"the ground truth is not the one that {spec.run_id} names; give --ground-truth that table")
    started = provenance(command, spec.device)
    if processes.world > 1:
        started["processes"] = processes.world
    seed_everything(spec.seed)
    if spec.device == "cuda":
        torch.backends.cudnn.benchmark = True
    task = make_task(spec, work_dir, data_dir, progress, workers)
    task = replace(task, trainer=trainer, processes=processes)
    begin = time.monotonic()
    output = method(task)
    history = list(output.history)
    if spec.space != "nasbench201" or "retrain" in spec.settings:
        history.append(_describe_pick(task, output.pick))
    if "retrain" in spec.settings:
        history.append(_retrain(task, output.pick, spec, data_dir, workers))
    # the first process removes the work folder next, from which others may still be reading
    processes.agree("what they found", repr(output.pick).encode())
    wall = time.monotonic() - begin
    timing = {f"{purpose}_seconds": round(seconds, 3) for purpose, seconds in task.budget.seconds.items()}
    to_str = SPACES[spec.space].to_str
    record = RunRecord(
        spec=spec,
        pick=to_str(output.pick),
        history=tuple(history),
        counters=task.budget.counts,
        scores_sha256=None,
        timing={**timing, "wall_seconds": round(wall, 3)},
        provenance={**started, **_engine(spec.device, task.budget.counts)},
    )
    return record, _frame(output.tables, to_str)


def _engine(device: str, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """For the provenance: the CPU threads that are set, and whose kernels ran; `none` where no network did."""
    import torch

    from senas_bench.networks import kernels

    threads = torch.get_num_threads()
    if not any(value for work in counts.values() for value in work.values()):
        return {"threads": threads, "kernels": "none"}
    return {"threads": threads, "kernels": "compiled" if device == "cpu" and kernels.available() else "torch"}


def _describe_pick(task: Any, pick: Arch) -> dict[str, Any]:
    """What the pick costs, on which network, and the limit that it meets."""
    archs = np.array([pick])
    line = {"phase": "pick", "skeleton": asdict(task.skeleton)}
    line |= {name: value[0].item() for name, value in task.cost(archs).items()}
    if task.limit is None:
        return line
    limit = {"limited": task.limit.name, "limit_low": float(task.limit.low), "limit_high": float(task.limit.high)}
    return {**line, **limit, "limited_cost": float(task.limit.cost(archs)[0])}


def _retrain(task: Any, pick: Arch, spec: RunSpec, data_dir: Path | None, workers: int) -> dict[str, Any]:
    """Train the pick from scratch and test it; the work is booked as `retrain`."""
    from senas_bench.methods.retrain import Retraining, retrain

    sizes = Preset.from_settings({"preset": spec.settings["preset"], "recipe": spec.settings["retrain"]}, RETRAIN)
    recipe = sizes.recipes[RETRAIN]
    images = _images(spec, sizes, data_dir)
    loaders = _retraining_loaders(images, sizes, recipe, task.loaders.resolution, task.device, workers)
    line, work = retrain(task, pick, Retraining(recipe, *loaders))
    task.budget.counts["retrain"] = work.counts["search"]
    task.budget.seconds["retrain"] = work.seconds["search"]
    return line


def _loaders(images: Any, sizes: Preset, recipe: TrainingRecipe, device: torch.device, workers: int) -> Loaders:
    """What a method trains and scores with, of images that are in memory or are not."""
    resolution = sizes.resolution or images.resolution
    if isinstance(images, StreamedImages):
        from senas_bench.data.streaming import prepare_streaming

        _check_streamed(images, recipe)
        return prepare_streaming(
            images.train,
            resolution,
            sizes.held_out,
            recipe.batch_size,
            sizes.score_batch,
            device,
            sizes.calibration_images,
            sizes.score_images,
            workers,
            flip=sizes.flip,
        )
    from senas_bench.data.loader import prepare

    return prepare(
        images,
        resolution,
        sizes.held_out,
        recipe.batch_size,
        sizes.score_batch,
        sizes.pad,
        sizes.flip,
        device,
        sizes.calibration_images,
        recipe.cutout,
    )


def _retraining_loaders(
    images: Any, sizes: Preset, recipe: TrainingRecipe, resolution: int, device: torch.device, workers: int
) -> tuple[Any, Any, str]:
    """What trains from scratch and tests: loader, batches, and the name of their split."""
    sides = resolution, sizes.held_out, recipe.batch_size, sizes.score_batch, sizes.pad, sizes.flip
    if not isinstance(images, StreamedImages):
        from senas_bench.data.loader import prepare_retraining

        return prepare_retraining(images, *sides, device, recipe.cutout)
    from senas_bench.data.streaming import prepare_streaming_retraining

    _check_streamed(images, recipe)
    batches = recipe.batch_size, sizes.score_batch
    return prepare_streaming_retraining(images.train, images.test, resolution, *batches, device, workers, sizes.flip)


def _check_streamed(images: StreamedImages, recipe: TrainingRecipe) -> None:
    if recipe.cutout:
        raise ValueError(f"images of {images.name} are not cut out; set cutout of the recipe to 0")


def _trainer(method: Any, ground_truth: Path | None, images: str) -> Any:
    """The `BenchmarkTrainer` of a method that declares `needs_truth`; None for any other, without reading a table."""
    if not method.needs_truth:
        return None
    from senas_bench.groundtruth.trainer import load_trainer

    return load_trainer(ground_truth, images)


def make_task(spec: RunSpec, work_dir: Path, data_dir: Path | None, progress: Progress, workers: int = 0) -> Any:
    """The task of a spec: images on the device, network builder, evaluation, archs to rank."""
    import torch

    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.tasks.task import Budget, Task

    kind = method_of(spec.method, spec.space, spec.preset).recipe
    sizes = Preset.from_settings(spec.settings, kind)
    space = lookup("space", spec.space, SPACES)
    recipe = sizes.recipe_of(kind)
    device = torch.device(spec.device)
    images = _images(spec, sizes, data_dir)
    loaders = _loaders(images, sizes, recipe, device, workers)
    skeleton = space.skeleton(ImageShape(loaders.resolution, loaders.num_classes, loaders.in_channels), sizes)
    cost = space.cost(skeleton)
    limit = limit_of(spec.space, spec.settings.get("limit"), skeleton)

    def network(over: SearchSpace, affine: bool, **head: bool) -> torch.nn.Module:
        return space.network(over, skeleton, affine, **head).to(device, memory_format=torch.channels_last)

    evaluation = Evaluation(
        loaders.valid[: sizes.score_images // sizes.score_batch],
        sizes.bn_mode,
        [x for x, _ in loaders.calibration],
        recipe.amp,
    )
    archs = report_archs(space.whole, sizes.rank_archs, limit)
    arch = spec.settings.get("arch")
    return Task(
        space=space.whole,
        seed=spec.seed,
        recipe=recipe,
        loaders=loaders,
        evaluation=evaluation,
        report_archs=archs,
        report_set="sample" if sizes.rank_archs or limit else "full",
        network=network,
        cost=cost,
        candidates=sizes.candidates,
        curve=_curve(spec, archs if sizes.rank_archs else report_archs(space.whole, CURVE_ARCHS), evaluation),
        limit=limit,
        skeleton=skeleton,
        arch=None if arch is None else space.from_str(arch),
        device=device,
        work_dir=work_dir,
        progress=progress,
        budget=Budget(),
    )


def _images(spec: RunSpec, sizes: Preset, data_dir: Path | None) -> Images | StreamedImages:
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


def limit_of(space: str, settings: Mapping[str, Any] | None, skeleton: Any) -> Limit | None:
    """The limit that a spec asks for, see `limit_settings`, on the network that it builds."""
    if settings is None:
        return None
    if "level" in settings:
        return level_limit(space, skeleton, settings)
    low, high = settings["low"], settings["high"]
    if "per_edge" in settings:
        return Limit(np.array(settings["per_edge"], float), settings["base"], low, high, settings["cost"])
    return Limit.of(SPACES[space].cost(skeleton), settings["cost"], high, low)


def _curve(spec: RunSpec, archs: np.ndarray, evaluation: Any) -> Any:
    """The `Curve` that the spec asks for, or None."""
    from senas_bench.tasks.task import Curve

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


def seed_everything(seed: int) -> None:
    """Seed the global generators. Nothing here draws from them on purpose; a library might."""
    import random

    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _frame(tables: Any, to_str: Callable[[Arch], str]) -> Any:
    """The score tables of a run as one frame, best first within each ranking."""
    import pandas as pd

    parts = []
    for table in tables:
        tiers = np.zeros(len(table.archs), np.int8) if table.tiers is None else table.tiers
        scores = table.scores.astype(np.float32)
        names = np.array([to_str(tuple(row)) for row in table.archs.tolist()], object)
        order = np.lexsort((np.arange(len(names)), -scores, tiers))  # ties as np.argmax breaks them: the first
        parts.append(
            pd.DataFrame(
                {
                    "set": table.set,
                    "stage": np.int8(table.stage),
                    "epoch": np.int16(table.epoch),
                    "arch_str": names[order],
                    "tier": tiers[order],
                    "score": scores[order],
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else None


def _progress(kind: str, label: str) -> Progress:
    if kind == "rich":
        from senas_bench.progress import RichProgress

        return RichProgress(label)
    return PlainProgress(sys.stderr, label) if kind == "plain" else SilentProgress()
