"""From a spec to a record: the one place where everything is put together."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from senas_bench.data import DATASETS, data_id
from senas_bench.names import lookup
from senas_bench.spaces import SPACES, SearchSpace
from senas_bench.spaces.cost import Skeleton, cost_table
from senas_bench.spaces.nasbench201 import arch_to_str

from .presets import PRESETS, STAND_ALONE, Preset
from .progress import PlainProgress, Progress, SilentProgress
from .provenance import provenance
from .spec import RunRecord, RunSpec, settings_of
from .store import RunStore

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

    Raises:
        ValueError: Unknown name, or the table lacks what the method needs.
        DataError: The images are missing.
    """
    from senas_bench.methods import CURVES, METHODS

    chosen = lookup("method", method, METHODS)
    sizes = sizes or lookup("preset", preset, PRESETS)
    dataset = dataset or sizes.dataset
    settings = {"method": settings_of(chosen), **sizes.to_settings(chosen.recipe)}
    if method in CURVES and sizes.curve_points:
        settings["curve"] = {"points": sizes.curve_points, "images": sizes.curve_images}
    trainer = _trainer(chosen, ground_truth, dataset)
    if trainer is not None:
        settings["truth"] = trainer.identity
    return RunSpec(
        method=method,
        seed=seed,
        preset=preset,
        space="nasbench201",
        dataset=dataset,
        data_id=data_id(dataset, data_dir),
        device=device,
        threads=threads,
        settings=settings,
    )


def resized(
    preset: Preset,
    *,
    stage_epochs: tuple[int, ...] | None = None,
    rank_archs: int | None = None,
    candidates: int | None = None,
    curve_points: int | None = None,
) -> Preset:
    """`preset` with other sizes; None leaves one as it is.

    Args:
        stage_epochs: Of every recipe but that of stand-alone networks. One that has a single stage keeps it, and
            trains their sum.
    """
    recipes = preset.recipes
    if stage_epochs is not None:
        recipes = {
            name: replace(recipe, stage_epochs=stage_epochs if len(recipe.stage_epochs) > 1 else (sum(stage_epochs),))
            for name, recipe in recipes.items()
            if name != STAND_ALONE
        } | {name: recipe for name, recipe in recipes.items() if name == STAND_ALONE}
    return replace(
        preset,
        recipes=recipes,
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
    """

    root: Path
    data_dir: Path | None = None
    command: tuple[str, ...] = ()
    progress: str = "silent"
    ground_truth: Path | None = None

    def __call__(self, spec: RunSpec) -> RunRecord:
        """The record of `spec`: from the store, or computed, resuming what an earlier try left behind."""
        store = RunStore(self.root)
        with store.claim(spec) as finished:
            if finished is not None:
                return finished
            progress = _progress(self.progress, spec.run_id)
            with contextlib.closing(progress):
                record, tables = run(
                    spec, store.work_dir(spec), self.data_dir, progress, list(self.command), self.ground_truth
                )
            return store.save(record, tables)


def run(
    spec: RunSpec,
    work_dir: Path,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    command: list[str] | None = None,
    ground_truth: Path | None = None,
) -> tuple[RunRecord, Any]:
    """Run a method.

    Args:
        work_dir: Checkpoints; a run that finds its own there goes on from them.
        ground_truth: For a method that trains from scratch; must be the table that its spec names.

    Returns:
        The record, and its scores as a data frame in the store's schema.

    Raises:
        ValueError: The settings are not those of this version's method, or the benchmark table is not the spec's.
        DataError: The images are missing or are not those of the spec.
        RunError: Training failed.
    """
    import torch

    from senas_bench.methods import METHODS

    method = lookup("method", spec.method, METHODS)
    if settings_of(method) != spec.settings["method"]:
        raise ValueError(f"the spec of {spec.run_id} has other settings of {spec.method!r} than this version")
    trainer = _trainer(method, ground_truth, spec.dataset)
    if spec.settings.get("truth") != (None if trainer is None else trainer.identity):
        raise ValueError(f"the ground truth is not the one that {spec.run_id} names; give --ground-truth that table")
    started = provenance(command or [], spec.device)
    seed_everything(spec.seed)
    if spec.device == "cuda":
        torch.backends.cudnn.benchmark = True
    task = replace(make_task(spec, work_dir, data_dir, progress or SilentProgress()), trainer=trainer)
    begin = time.monotonic()
    output = method(task)
    wall = time.monotonic() - begin
    timing = {f"{purpose}_seconds": round(seconds, 3) for purpose, seconds in task.budget.seconds.items()}
    record = RunRecord(
        spec=spec,
        pick=arch_to_str(output.pick),
        history=tuple(output.history),
        counters=task.budget.counts,
        scores_sha256=None,
        timing={**timing, "wall_seconds": round(wall, 3)},
        provenance=started,
    )
    return record, _frame(output.tables)


def _trainer(method: Any, ground_truth: Path | None, images: str) -> Any:
    """The `BenchmarkTrainer` of a method that declares `needs_truth`; None for any other, without reading a table."""
    if not getattr(method, "needs_truth", False):
        return None
    from senas_bench.groundtruth.trainer import load_trainer

    return load_trainer(ground_truth, images)


def make_task(spec: RunSpec, work_dir: Path, data_dir: Path | None, progress: Progress) -> Any:
    """The task of a spec: images on the device, network builder, evaluation, archs to rank."""
    import torch

    from senas_bench.data.loader import prepare
    from senas_bench.methods import METHODS
    from senas_bench.methods.task import Budget, Task
    from senas_bench.networks import NETWORKS
    from senas_bench.ranking.score_archs import Evaluation

    kind = METHODS[spec.method].recipe
    sizes = Preset.from_settings(spec.settings, kind)
    space = lookup("space", spec.space, SPACES)
    recipe = sizes.recipes[kind]
    device = torch.device(spec.device)
    images = lookup("dataset", spec.dataset, DATASETS)(data_dir, False)
    resolution = sizes.resolution or images.train_x.shape[1]
    loaders = prepare(
        images,
        resolution,
        sizes.held_out,
        recipe.batch_size,
        sizes.score_batch,
        sizes.pad,
        sizes.flip,
        device,
        sizes.calibration_images,
    )
    skeleton = Skeleton(resolution, loaders.num_classes, loaders.in_channels, sizes.channels, sizes.cells)

    def network(over: SearchSpace, affine: bool) -> torch.nn.Module:
        built = NETWORKS[space.name](
            over, sizes.channels, sizes.cells, loaders.in_channels, loaders.num_classes, affine
        )
        return built.to(device, memory_format=torch.channels_last)

    evaluation = Evaluation(
        loaders.valid[: sizes.score_images // sizes.score_batch],
        sizes.bn_mode,
        [x for x, _ in loaders.calibration],
        recipe.amp,
    )
    archs = report_archs(space, sizes.rank_archs)
    return Task(
        space=space,
        seed=spec.seed,
        recipe=recipe,
        loaders=loaders,
        evaluation=evaluation,
        report_archs=archs,
        report_set="sample" if sizes.rank_archs else "full",
        network=network,
        cost=cost_table(space, skeleton),
        candidates=sizes.candidates,
        curve=_curve(spec, space, archs if sizes.rank_archs else report_archs(space, CURVE_ARCHS), evaluation),
        device=device,
        work_dir=work_dir,
        progress=progress,
        budget=Budget(),
    )


def _curve(spec: RunSpec, space: SearchSpace, archs: np.ndarray, evaluation: Any) -> Any:
    """The `Curve` that the spec asks for, or None."""
    from senas_bench.methods.task import Curve

    asked = spec.settings.get("curve")
    if asked is None:
        return None
    batches = asked["images"] // len(evaluation.batches[0][1])
    return Curve(archs, asked["points"], replace(evaluation, batches=evaluation.batches[:batches]))


def report_archs(space: SearchSpace, sample: int) -> np.ndarray:
    """`(n, edges)` archs that rankings cover: the whole space, or the same `sample` of it in every run."""
    return space.sample_distinct(np.random.default_rng(REPORT_SEED), sample) if sample else space.archs()


def seed_everything(seed: int) -> None:
    """Seed the global generators. Nothing here draws from them on purpose; a library might."""
    import random

    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _frame(tables: Any) -> Any:
    """The score tables of a run as one frame, best first within each ranking."""
    import pandas as pd

    parts = []
    for table in tables:
        tiers = np.zeros(len(table.archs), np.int8) if table.tiers is None else table.tiers
        scores = table.scores.astype(np.float32)
        names = np.array([arch_to_str(tuple(row)) for row in table.archs.tolist()], object)
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
        from .progress import RichProgress

        return RichProgress(label)
    return PlainProgress(sys.stderr, label) if kind == "plain" else SilentProgress()
