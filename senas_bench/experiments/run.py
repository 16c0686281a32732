"""From a spec to a record: the one place where everything is put together."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from senas_bench.errors import RunError
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import RETRAIN, Preset
from senas_bench.experiments.provenance import provenance
from senas_bench.experiments.settings import named_settings, trainer_of
from senas_bench.experiments.spec import RunRecord, RunSpec, settings_of
from senas_bench.experiments.studies import method_of
from senas_bench.experiments.tasks import images_of, loading_of, make_task
from senas_bench.spaces import SPACES, Arch
from senas_bench.tasks.outputs import MethodOutput, ScoreTable


def run(spec: RunSpec, place: Place) -> tuple[RunRecord, Any]:
    """Run a method, on as many CPU threads as its spec says; what torch, BLAS and OpenMP had before is restored.

    Returns:
        The record, and its scores as a data frame in the store's schema.

    Raises:
        ValueError: The settings are not those of this version's method, or the benchmark table is not the spec's.
        DataError: The images are missing or are not those of the spec.
        RunError: Training failed, or the engine of the spec cannot be had.
    """
    from senas_bench.experiments.threads import limited_threads
    from senas_bench.kernels.engines import using
    from senas_bench.memory import keep_freed_memory, spare_collector

    keep_freed_memory()
    spare_collector()
    engine = spec.settings["preset"].get("engine")
    with limited_threads(spec.threads), using(engine, spec.device):
        return _computed(spec, place)


def _computed(spec: RunSpec, place: Place) -> tuple[RunRecord, Any]:
    """`run`, on the threads that are set."""
    method = method_of(spec.method, spec.space, spec.preset, spec.settings.get("estimator"))
    named = named_settings(spec.method, method).get("named")
    if settings_of(method) != spec.settings["method"] or named != spec.settings.get("named"):
        raise ValueError(f"the spec of {spec.run_id} has other settings of {spec.method!r} than this version")
    trainer = trainer_of(method, place.ground_truth, spec.dataset)
    if spec.settings.get("truth") != (None if trainer is None else trainer.identity):
        raise ValueError(f"the ground truth is not the one that {spec.run_id} names; give --ground-truth that table")
    started = provenance(list(place.command), spec.device)
    if place.processes.world > 1:
        started["processes"] = place.processes.world
    seed_everything(spec.seed, spec.device)
    task = make_task(spec, place, trainer)
    if task.recipe.half(spec.device) and spec.device == "cpu":
        _warn_of_bfloat16()
    begin = time.monotonic()
    output = _output_of(method, task)
    history = list(output.history)
    if spec.space != "nasbench201" or "retrain" in spec.settings:
        history.append(_describe_pick(task, output.pick))
    if "retrain" in spec.settings:
        history.append(_retrain(task, output.pick, spec, place))
    # the first process removes the work folder next, from which others may still be reading
    place.processes.agree("what they found", repr(output.pick).encode())
    wall = time.monotonic() - begin
    timing = {f"{purpose}_seconds": round(seconds, 3) for purpose, seconds in task.work.budget.seconds.items()}
    if spec.settings.get("limit", {}).get("cost") == "latency":
        timing["pick_latency_ms"] = _measured(task, spec, output.pick)
    to_str = SPACES[spec.space].to_str
    record = RunRecord(
        spec=spec,
        pick=to_str(output.pick),
        history=tuple(history),
        counters=task.work.budget.counts,
        scores_sha256=None,
        timing={**timing, "wall_seconds": round(wall, 3)},
        provenance={**started, **_engine(spec.device, task.work.budget.counts)},
    )
    return record, _frame(output.tables, to_str)


def _output_of(method: Any, task: Any) -> MethodOutput:
    """What a method finds.

    Raises:
        RunError: It returns something else.
    """
    kind = type(method).__name__
    try:
        output = method(task)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:  # a signal
            raise
        raise RunError(f"{kind} ended Python (SystemExit: {stop.code}); a method returns, or raises an error") from stop
    if not isinstance(output, MethodOutput):
        raise RunError(f"{kind} returned {type(output).__name__}; a method returns MethodOutput(pick, tables, history)")
    if not all(isinstance(table, ScoreTable) for table in output.tables):
        raise RunError(f"{kind} returned tables that are no ScoreTable; see docs/adding.md")
    _check_rankings(kind, output.tables, task.report)
    return output


def _check_rankings(kind: str, tables: Sequence[ScoreTable], report: Any) -> None:
    """Taus compare if all methods rank the same archs.

    Raises:
        RunError: A ranking for the report holds an arch twice or one that it has not asked for; or the last lacks one.
    """
    asked = {tuple(row) for row in report.archs.tolist()}
    rankings = [{tuple(row) for row in table.archs.tolist()} for table in tables if table.set == report.set]
    counts = [len(table.archs) for table in tables if table.set == report.set]
    twice = [count for found, count in zip(rankings, counts, strict=True) if len(found) < count]
    if len(asked) < len(report.archs) or twice or any(found - asked for found in rankings):
        raise RunError(
            f"{kind} ranked archs that are not those of task.report.archs, each once; rank these, as they are"
        )
    if rankings and rankings[-1] < asked:
        raise RunError(f"{kind} ranked {len(rankings[-1])} of the {len(asked)} archs of task.report.archs; rank all")


@functools.cache
def _warn_of_bfloat16() -> None:
    """Once in a process."""
    from senas_bench.kernels.processor import SLOW_BFLOAT16, multiplies_bfloat16

    if not multiplies_bfloat16():
        what = "precision bfloat16 is computed as it was asked for, but slowly"
        warnings.warn(f"{what}: {SLOW_BFLOAT16}", stacklevel=2)


def _engine(device: str, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """For the provenance: the CPU threads that are set, and whose kernels ran; `none` where no network did."""
    import torch

    from senas_bench.kernels import engines

    threads = torch.get_num_threads()
    if not any(value for work in counts.values() for value in work.values()):
        return {"threads": threads, "kernels": "none"}
    return {"threads": threads, "kernels": "compiled" if device == "cpu" and engines.available() else "torch"}


def _describe_pick(task: Any, pick: Arch) -> dict[str, Any]:
    """What the pick costs, on which network, and the limit that it meets."""
    archs = np.array([pick])
    line = {"phase": "pick", "skeleton": asdict(task.problem.skeleton)}
    line |= {name: value[0].item() for name, value in task.problem.cost(archs).items()}
    if (limit := task.problem.limit) is None:
        return line
    within = {"limited": limit.name, "limit_low": float(limit.low), "limit_high": float(limit.high)}
    return {**line, **within, "limited_cost": float(limit.cost(archs)[0])}


def _measured(task: Any, spec: RunSpec, pick: Arch) -> float:
    """Milliseconds that the pick takes on this machine, for as many images as the limit is of."""
    from senas_bench.latency.measure import latency_of

    batch = spec.settings["limit"].get("batch", 1)
    return round(latency_of(spec.space, task.problem.skeleton, pick, spec.device, batch, spec.threads), 4)


def _retrain(task: Any, pick: Arch, spec: RunSpec, place: Place) -> dict[str, Any]:
    """Train the pick from scratch and test it; the work is booked as `retrain`."""
    from senas_bench.methods.retrain import retrain

    sizes = Preset.from_settings({"preset": spec.settings["preset"], "recipe": spec.settings["retrain"]}, RETRAIN)
    recipe = sizes.recipes[RETRAIN]
    images = images_of(spec, sizes, place.data_dir)
    loading = replace(loading_of(sizes, recipe, images, place, task.work.device), resolution=task.loaders.resolution)
    line, work = retrain(task, pick, recipe, images.retraining(loading))
    task.work.budget.counts["retrain"] = work.counts["search"]
    task.work.budget.seconds["retrain"] = work.seconds["search"]
    return line


def seed_everything(seed: int, device: str = "cpu") -> None:
    """Seed the global generators. Nothing here draws from them on purpose; a library might."""
    import random

    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if device == "cuda":
        torch.backends.cudnn.benchmark = True


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
