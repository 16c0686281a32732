"""How runs are spread over processes: one interface, in completion order, failures handed back."""

from __future__ import annotations

import atexit
import contextlib
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from senas_bench.errors import RunError
from senas_bench.experiments.spec import RunSpec

R = TypeVar("R")
FEEDER = "QueueFeederThread"
"""What loky, like multiprocessing, calls the thread that feeds the workers."""
FEEDER_SECONDS = 5.0
"""Most seconds that the end of this process waits for it."""


class Executor(Protocol):
    """Runs a function on specs."""

    def map(
        self, function: Callable[[RunSpec], R], specs: Iterable[RunSpec]
    ) -> Generator[tuple[RunSpec, R | Exception], None, None]:
        """Each spec with its result, in completion order.

        A run that fails gives its exception in place of a result, with the traceback as the last of
        its `__notes__`, and the others go on. Threads are the function's own affair; `run` sets those of its spec.
        Wrap the iterator in `contextlib.closing`: an interrupt that strikes between two results then ends the workers
        too.
        """
        ...


@dataclass(frozen=True)
class SerialExecutor:
    """One run after the other, in this process."""

    def map(
        self, function: Callable[[RunSpec], R], specs: Iterable[RunSpec]
    ) -> Generator[tuple[RunSpec, R | Exception], None, None]:
        """See `Executor.map`."""
        for spec in specs:
            yield spec, _call(function, spec)


@dataclass(frozen=True)
class JoblibExecutor:
    """Runs in `jobs` processes (joblib, loky).

    A worker that dies (out of memory, a crash) takes its whole pool along. The runs that were then in
    the air are repeated alone, one by one, and only those that kill a worker again are reported failed.

    Args:
        jobs: Number of worker processes, at least 1; 1 stays in this process.

    Raises:
        ValueError: `jobs` is below 1.
    """

    jobs: int

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs is {self.jobs}; it must be at least 1")

    def map(
        self, function: Callable[[RunSpec], R], specs: Iterable[RunSpec]
    ) -> Generator[tuple[RunSpec, R | Exception], None, None]:
        """See `Executor.map`."""
        waiting = deque(enumerate(specs))
        while waiting:
            flying: dict[int, RunSpec] = {}
            try:
                yield from _run_pool(self.jobs, function, waiting, flying)
            except BrokenProcessPool:
                for index, spec in flying.items():
                    yield spec, _run_alone(function, index, spec)


def _ray(jobs: int, **options: Any) -> Executor:
    from senas_bench.experiments.ray_executor import RayExecutor

    return RayExecutor(jobs, **options)


EXECUTORS: Mapping[str, Callable[..., Executor]] = {
    "serial": lambda jobs: SerialExecutor(),
    "joblib": JoblibExecutor,
    "ray": _ray,
}
"""Makers of executors, each given the number of jobs; `ray` takes the other fields of `RayExecutor` too."""


def _run_pool(
    jobs: int,
    function: Callable[[RunSpec], R],
    waiting: deque[tuple[int, RunSpec]],
    flying: dict[int, RunSpec],
) -> Iterator[tuple[RunSpec, R | Exception]]:
    """Drain `waiting` through one pool; `flying` holds what was taken from it and has not come back."""
    import joblib

    def tasks() -> Iterator:
        while waiting:
            index, spec = waiting.popleft()
            flying[index] = spec
            yield joblib.delayed(_call_pickled)(function, index, spec)

    kind: dict[str, Any] = {
        "backend": "loky",
        "return_as": "generator_unordered",
        "pre_dispatch": jobs,
        "batch_size": 1,
    }
    pool: Any = joblib.Parallel(n_jobs=jobs, **kind)
    before = set(threading.enumerate())
    try:
        with _without_interrupts():
            results = pool(tasks())  # starts the workers
        for index, data in results:
            yield flying.pop(index), pickle.loads(data)
    finally:
        # loky does not wait for the thread that feeds its workers. Where this process ends while that thread gives its
        # semaphores back, the resource tracker says after our last word that they leaked.
        for thread in set(threading.enumerate()) - before:
            if thread.name == FEEDER:
                atexit.register(thread.join, FEEDER_SECONDS)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes begun meanwhile take no Ctrl-C of the terminal, which would end them with a traceback each: this
    process ends them. One that strikes here is noticed afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which lets interrupts through when it has begun its process, so before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_alone(function: Callable[[RunSpec], R], index: int, spec: RunSpec) -> R | Exception:
    """Run in a pool of its own, of two, because a pool of one would be this process."""
    try:
        ((_, result),) = _run_pool(2, function, deque([(index, spec)]), {})
    except BrokenProcessPool:
        return RunError(f"the worker of {spec.run_id} died, most likely out of memory; use fewer --jobs")
    return result


def _call_pickled(function: Callable[[RunSpec], R], index: int, spec: RunSpec) -> tuple[int, bytes]:
    """The call in a worker. What cannot travel becomes a `RunError` here, where it cannot break the pool."""
    result = _call(function, spec)
    try:
        data = pickle.dumps(result)
        pickle.loads(data)
    except Exception as error:
        wrapped = RunError(f"{type(result).__name__}: {result}" if isinstance(result, Exception) else str(error))
        wrapped.add_note(getattr(result, "__notes__", [traceback.format_exc()])[-1])
        data = pickle.dumps(wrapped)
    return index, data


def _call(function: Callable[[RunSpec], R], spec: RunSpec) -> R | Exception:
    try:
        return function(spec)
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error.with_traceback(None)  # its frames would keep the run's tensors alive
