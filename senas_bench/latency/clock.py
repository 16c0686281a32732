"""Clocks, and the time of a call: warm-up, repeats, medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from senas_bench.names import lookup


@dataclass(frozen=True)
class Clock:
    """How time is taken.

    Args:
        name: As `Setting.clock`.
        stamp: Marks a moment.
        elapsed: Milliseconds from one stamp to a later one, once `wait` has returned.
        wait: Until all work that was given to the device is done.
    """

    name: str
    stamp: Callable[[], Any]
    elapsed: Callable[[Any, Any], float]
    wait: Callable[[], object] = lambda: None


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _milliseconds(start: int, end: int) -> float:
    return (end - start) / 1e6


CLOCKS = {
    "wall": Clock("wall", time.perf_counter_ns, _milliseconds),
    "cpu": Clock("cpu", time.thread_time_ns, _milliseconds),
    "cuda": Clock("cuda", _event, lambda start, end: start.elapsed_time(end), lambda: torch.cuda.synchronize()),
}
"""`cpu` is the time that the calling thread computed: with one thread, about the wall time of an idle machine."""


@dataclass(frozen=True)
class Measurement:
    """Repeated measurements of one thing.

    Args:
        median: Milliseconds.
        spread: Interquartile range, milliseconds.
        n: Repeats.
    """

    median: float
    spread: float
    n: int


def measure(
    network: Callable[[torch.Tensor], object],
    x: torch.Tensor,
    warmup: int = 3,
    repeats: int = 20,
    clock: Clock | None = None,
) -> Measurement:
    """Latency of a network, or of anything else that is called with a batch, on the device of `x`.

    A module runs in evaluation mode and is left in the mode it was in. The number of threads is torch's own.

    Args:
        x: On the device where the network is.
        warmup: Calls that are not measured.
        clock: By default events on a GPU, the wall clock on a CPU.

    Raises:
        ValueError: No repeats are asked for, or a negative warm-up.
    """
    clock = clock or clock_of(x.device.type, None)
    modules = list(network.modules()) if isinstance(network, nn.Module) else []
    training = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.inference_mode():
            times = interleaved([partial(network, x)], warmup, repeats, clock)[:, 0]
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.training = mode
    return Measurement(float(np.median(times)), float(interquartile(times)), repeats)


def interleaved(calls: Sequence[Callable[[], object]], warmup: int, repeats: int, clock: Clock) -> np.ndarray:
    """`(repeats, calls)` milliseconds. All calls are measured once, then all again, and so on.

    What disturbs the machine for a while so disturbs a few repeats of all calls, not all repeats of a few.

    Raises:
        ValueError: No repeats are asked for, or a negative warm-up.
    """
    check_rounds(warmup, repeats)
    for _ in range(warmup):
        for call in calls:
            call()
    times = np.empty((repeats, len(calls)))
    for row in times:
        for i, call in enumerate(calls):
            clock.wait()
            start = clock.stamp()
            call()
            end = clock.stamp()
            clock.wait()
            row[i] = clock.elapsed(start, end)
    return times


def interquartile(times: np.ndarray | list[float]) -> np.ndarray:
    """Interquartile range over the first axis."""
    return np.subtract(*np.quantile(times, (0.75, 0.25), axis=0))


def check_rounds(warmup: int, repeats: int) -> None:
    if repeats < 1 or warmup < 0:
        raise ValueError(f"{repeats} repeats after {warmup} to warm up; at least 1 and 0 are needed")


def clock_of(device: str, clock: str | Clock | None) -> Clock:
    """The clock of that name; a clock is taken as it is."""
    if isinstance(clock, Clock):
        return clock
    on_gpu = torch.device(device).type == "cuda"
    found = lookup("clock", clock or ("cuda" if on_gpu else "wall"), CLOCKS)
    if (found.name == "cuda") != on_gpu:
        raise ValueError(f"clock {found.name} cannot time device {device}; cuda times a GPU, wall and cpu a CPU")
    return found


@contextmanager
def quiet(threads: int) -> Iterator[None]:
    """No gradients, and so many threads, within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
