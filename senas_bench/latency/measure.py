"""Latency measured on a device: of whole networks, and of their operators for a look-up table."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from senas_bench.files import room_named
from senas_bench.latency.clock import Clock, check_rounds, clock_of, interleaved, interquartile, quiet
from senas_bench.latency.tables import (
    AnySkeleton,
    LatencyTable,
    Setting,
    Validation,
    check_skeleton,
    space_over,
    table_path,
)
from senas_bench.locks import held
from senas_bench.networks.choice import ChoiceEdge
from senas_bench.spaces import SPACES
from senas_bench.spaces.space import SearchSpace, balanced_sample

PATIENCE = 3600.0
"""Seconds to wait for a process that measures the same table."""


def build_table(
    space: str,
    skeleton: AnySkeleton,
    device: str = "cpu",
    *,
    batch: int = 1,
    threads: int = 1,
    clock: str | Clock | None = None,
    warmup: int = 1,
    repeats: int = 20,
    quantile: float = 0.25,
    seed: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> LatencyTable:
    """Measure all operators of a space at work in random networks.

    An operator alone, called again and again, is faster than in a network, where caches hold what others left and
    memory is given back and asked for anew: on a CPU up to a factor of two, and not for all operators. So it is timed
    where it stands, while whole networks run. Operators of equal kind, input and output share their measurements,
    wherever they stand; an entry of the table is the sum over all cells that have the edge. What a network takes
    besides its operators is the table's base.

    Networks are stand-alone ones: float32, affine batch norm, in evaluation mode and not folded into convolutions.

    Args:
        space: A name in `SPACES`.
        skeleton: Of the networks.
        device: `cpu` or `cuda`.
        batch: Images at a time.
        threads: torch's, while this runs.
        clock: A name in `CLOCKS`, or a clock; by default `cuda` on a GPU and `wall` on a CPU.
        warmup, repeats: Measurements of each kind of operator that are dropped, and that are kept: at least so many.
        quantile: Of an operator's measurements, taken as its latency. By default the lower quartile, which other
            processes disturb less than the median.
        seed: Of the networks.
        progress: Called with the measurements done, and in all, of each kind.

    Raises:
        ValueError: Unknown space, device or clock, a skeleton of another space, or a number out of its range.
    """
    check_skeleton(space, skeleton)
    check_rounds(warmup, repeats)
    clock = clock_of(device, clock)
    setting = here(device, batch, threads, clock.name, repeats, quantile)
    network = _network(space, skeleton, device)
    whole, rng = space_over(space, skeleton), np.random.default_rng(seed)
    with quiet(threads), _Watch(network, clock) as watch:
        x = _images(skeleton, batch, device)
        for done in range(warmup + repeats):
            if done == warmup:
                watch.forget()
            wanted = done + 1 if done < warmup else done + 1 - warmup
            for arch in balanced_sample(whole, 1, rng).tolist():  # has every operator of every edge
                if watch.fewest(arch) < wanted:
                    watch.run(x, tuple(arch))
            progress(done + 1, warmup + repeats)
    latency = _add_up(whole, watch, lambda times: np.quantile(times, quantile))
    spread = _add_up(whole, watch, interquartile)
    return LatencyTable(space, skeleton, setting, *latency, *spread)


def saved_table(
    folder: Path,
    space: str,
    skeleton: AnySkeleton,
    device: str = "cpu",
    tell: Callable[[Path], None] = lambda path: None,
    **how: Any,
) -> tuple[LatencyTable, Path]:
    """The table that was saved for this space, skeleton, device and setting, and its file; measured where none was, by
    one process alone: limits by two tables would be of two studies.

    Args:
        folder: Made if it is missing.
        tell: Given the file of a table that is about to be measured.
        how: Other arguments of `build_table`. Rounds and quantile do not tell tables apart: a saved one is taken.

    Raises:
        ValueError: As `build_table`.
        OSError: The folder cannot be written.
        DataError: The saved table is damaged.
        LockHeld: Another process measures it and does not end.
    """
    check_skeleton(space, skeleton)
    setting = _setting(device, how)
    path = table_path(folder, space, skeleton, setting)
    if not path.exists():
        with room_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with held(path.with_suffix(".lock"), PATIENCE):
            if not path.exists():
                tell(path)
                build_table(space, skeleton, device, **how).save(path)
    table = LatencyTable.load(path)
    table.check(space, skeleton)
    table.check_machine(setting)
    return table, path


def is_saved(folder: Path, space: str, skeleton: AnySkeleton, device: str = "cpu", **how: Any) -> bool:
    """Whether `saved_table` would find its table, and measure nothing; arguments and errors as there."""
    return table_path(folder, space, skeleton, _setting(device, how)).exists()


def _setting(device: str, how: Mapping[str, Any]) -> Setting:
    """What must be the same for a saved table to be taken."""
    clock = clock_of(device, how.get("clock"))
    return here(device, how.get("batch", 1), how.get("threads", 1), clock.name)


def validate(
    table: LatencyTable,
    archs: np.ndarray,
    device: str = "cpu",
    *,
    warmup: int = 1,
    repeats: int = 10,
    clock: Clock | None = None,
) -> Validation:
    """Measure whole stand-alone networks, and set them beside what the table predicts.

    Batch, threads, clock and quantile are the table's. All archs are measured once, then all again.

    Args:
        archs: `(n, edges)`, of the table's space.
        device: `cpu` or `cuda`.
        clock: In place of the one that the table names.

    Raises:
        ValueError: The table was measured on another machine, or an arch is none of its space.
    """
    setting = table.setting
    clock = clock_of(device, clock or setting.clock)
    table.check_machine(here(device, setting.batch, setting.threads, clock.name))
    if not (inside := table.whole_space.contains_rows(archs)).all():
        raise ValueError(f"arch {archs[~inside][0].tolist()} is not in space {table.space}")
    times = _whole(table.space, table.skeleton, archs, setting, device, warmup, repeats, clock)
    return Validation(table(archs), np.quantile(times, setting.quantile, axis=0), interquartile(times))


def latency_of(space: str, skeleton: AnySkeleton, arch: Sequence[int], device: str, batch: int, threads: int) -> float:
    """Milliseconds per batch of one whole stand-alone network here: the lower quartile of 20 calls after a first one.

    On a CPU it is the time that the thread computes. A call takes as long as several turns on a shared core: on the
    wall clock other work would be part of most, where the operators of a table mostly slip through.

    Raises:
        ValueError: Unknown space or device, or a skeleton of another space.
    """
    check_skeleton(space, skeleton)
    clock = clock_of(device, "cpu" if device == "cpu" else None)
    setting = here(device, batch, threads, clock.name, 20, 0.25)
    times = _whole(space, skeleton, np.array([arch]), setting, device, 1, setting.repeats, clock)
    return float(np.quantile(times, setting.quantile))


def _whole(
    space: str,
    skeleton: AnySkeleton,
    archs: np.ndarray,
    setting: Setting,
    device: str,
    warmup: int,
    repeats: int,
    clock: Clock,
) -> np.ndarray:
    """`(repeats, archs)` milliseconds of whole networks. All archs are measured once, then all again."""
    network = _network(space, skeleton, device)
    with quiet(setting.threads):
        x = _images(skeleton, setting.batch, device)
        return interleaved([partial(network, x, tuple(arch)) for arch in archs.tolist()], warmup, repeats, clock)


def here(
    device: str, batch: int = 1, threads: int = 1, clock: str = "wall", repeats: int = 1, quantile: float = 0.5
) -> Setting:
    """The setting of a measurement by this process.

    Raises:
        ValueError: A number is out of its range, or there is no such device.
    """
    version = torch.__version__.partition("+")[0]
    return Setting(device_name(device), version, threads, batch, clock, repeats, quantile)


def device_name(device: str) -> str:
    """Model of the processor or the GPU.

    Raises:
        ValueError: There is no such device.
    """
    if torch.device(device).type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device {device}: this machine has no usable CUDA GPU; use cpu")
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


class Place(NamedTuple):
    """The module that runs in one cell where an edge has an operator."""

    module: nn.Module
    edge: int
    operator: int


def operator_places(network: nn.Module) -> Iterator[Place]:
    """Every module that a choice can run, once per cell and edge. What has none, like identity, costs nothing.

    Operators with weights are in a `ChoiceEdge`; a cell that runs others says which: `weightless_operators()`.
    """
    for part in network.modules():
        if isinstance(part, ChoiceEdge):
            yield from (Place(module, part.edge, int(op)) for op, module in part.copies.items())
        elif (weightless := getattr(part, "weightless_operators", None)) is not None:
            yield from (Place(module, edge, op) for edge, op, module in weightless())


class _Watch:
    """Times the operators of an unexpanded network while it runs; a context manager.

    Args:
        network: Takes `(x, arch)`.
        clock: Read when an operator begins and when it ends.
    """

    def __init__(self, network: nn.Module, clock: Clock) -> None:
        self.network, self.clock = network, clock
        self.places = list(operator_places(network))
        self.keys: dict[nn.Module, tuple[Any, ...]] = {}
        self.forget()

    def forget(self) -> None:
        """Drop all measurements so far."""
        self.times: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        self.rest: list[float] = []

    def __enter__(self) -> _Watch:
        self._stamps: list[tuple[nn.Module, Any]] = []
        self._hooks = []
        for module, operator in {place.module: place.operator for place in self.places}.items():
            self._hooks.append(module.register_forward_pre_hook(self._begin))
            self._hooks.append(module.register_forward_hook(partial(self._end, operator)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def fewest(self, arch: Sequence[int]) -> int:
        """Measurements so far of the kind of operator in `arch` that has the fewest."""
        modules = (place.module for place in self.places if arch[place.edge] == place.operator)
        return min((len(self.times.get(self.keys.get(module, ()), ())) for module in modules), default=len(self.rest))

    def run(self, x: torch.Tensor, arch: tuple[int, ...]) -> None:
        """Run one arch, and keep what each operator took and what all else did."""
        self._stamps.clear()
        self.clock.wait()
        start = self.clock.stamp()
        self.network(x, arch)
        end = self.clock.stamp()
        self.clock.wait()
        rest = self.clock.elapsed(start, end)
        for (module, begun), (_, ended) in zip(self._stamps[::2], self._stamps[1::2], strict=True):
            took = self.clock.elapsed(begun, ended)
            self.times[self.keys[module]].append(took)
            rest -= took
        self.rest.append(rest)

    def _begin(self, module: nn.Module, _: tuple[torch.Tensor]) -> None:
        self._stamps.append((module, self.clock.stamp()))

    def _end(self, operator: int, module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        self._stamps.append((module, self.clock.stamp()))
        self.keys[module] = (operator, inputs[0].shape, output.shape)


def _network(space: str, skeleton: AnySkeleton, device: str) -> nn.Module:
    """All stand-alone networks of a space in one, in evaluation mode: an arch runs exactly the modules it would have.

    Weights are as they start: signals stay far from denormal numbers, with which a CPU is slow.
    """
    return SPACES[space].network(space_over(space, skeleton), skeleton, True).eval().to(device)


def _images(skeleton: AnySkeleton, batch: int, device: str) -> torch.Tensor:
    return torch.randn(batch, skeleton.in_channels, skeleton.resolution, skeleton.resolution, device=device)


def _add_up(
    space: SearchSpace, watch: _Watch, statistic: Callable[[list[float]], np.floating | np.ndarray]
) -> tuple[np.ndarray, float]:
    """Per edge and operator the sum over the cells, NaN for an operator that an edge does not have; and all else."""
    known = {key: statistic(times) for key, times in watch.times.items()}
    per_edge = np.full((len(space.edges), len(space.operators)), np.nan)
    for edge, alive in enumerate(space.candidates):
        per_edge[edge, list(alive)] = 0
    for module, edge, op in watch.places:
        per_edge[edge, op] += known[watch.keys[module]]
    return per_edge, max(0.0, float(statistic(watch.rest)))
