"""Runs on the machines of a Ray cluster. Ray itself is imported when the first run starts."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import signal
import socket
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from senas_bench.errors import RunError
from senas_bench.experiments.executors import _call_pickled
from senas_bench.experiments.provenance import cpu_cores
from senas_bench.experiments.spec import RunSpec

R = TypeVar("R")

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_DEDUP_LOGS": "0",  # lines of progress that differ in a number are not the same line
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as Ray announces that it will be; spares its warning
}
"""Environment variables of Ray, set where the user has not."""


@dataclass(frozen=True)
class RayExecutor:
    """Runs on the machines of a Ray cluster, each of which has this version of senas-bench installed.

    A run takes `spec.threads` CPUs and, where its device is `cuda`, a share of a GPU. One whose worker or machine
    dies is started again elsewhere; one that raises is not.

    Args:
        jobs: Most runs at a time; 0 for as many as the cluster has room for.
        address: `auto` for the cluster that this machine is part of, `host:port`, or `ray://host:port` for Ray's client
            server; None starts Ray on this machine alone.
        gpus_per_run: Share of one GPU that a run on `cuda` takes.
        retries: How often a run is started again.

    Raises:
        ValueError: A value is out of range, or Ray is not installed.
    """

    jobs: int = 0
    address: str | None = None
    gpus_per_run: float = 1.0
    retries: int = 3

    def __post_init__(self) -> None:
        if self.jobs < 0:
            raise ValueError(f"jobs is {self.jobs}; it must be at least 1, or 0 for as many as there is room for")
        if not 0 < self.gpus_per_run <= 1:
            raise ValueError(f"--gpus-per-run {self.gpus_per_run} must be above 0 and at most 1, such as 0.25")
        if self.address is not None and not re.fullmatch(r"auto|(ray://)?[^\s/]+:\d{1,5}", self.address):
            raise ValueError(f"bad --address {self.address!r}; write auto, host:port or ray://host:port")
        if importlib.util.find_spec("ray") is None:
            raise ValueError("--executor ray needs Ray, which is not installed; pip install 'senas-bench[ray]'")

    def map(
        self, function: Callable[[RunSpec], R], specs: Iterable[RunSpec]
    ) -> Generator[tuple[RunSpec, R | Exception], None, None]:
        """See `Executor.map`.

        A function with a method `apart`, such as a `Runner`, is run in two parts: see there.

        Raises:
            RunError: No cluster answers at the address.
        """
        waiting = deque(_Flight(spec) for spec in specs)
        if not waiting:
            return
        away, home = function.apart() if hasattr(function, "apart") else (function, None)
        with _connected(self.address, max(flight.spec.threads for flight in waiting)) as ray:
            _warn_of_no_room(ray, {self._needs(flight.spec) for flight in waiting})
            flying: dict[Future, _Flight] = {}
            try:
                while waiting or flying:
                    while waiting and not 0 < self.jobs <= len(flying):
                        flight = waiting.popleft()
                        flight.ref = self._start(ray, away, flight.spec)
                        flying[flight.ref.future()] = flight
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        flight = flying.pop(future)
                        if not self._has_lost(ray, flight, future.exception()):
                            yield flight.spec, _outcome(flight.spec, future, home)
                        elif flight.losses <= self.retries:
                            waiting.appendleft(flight)
                        else:
                            yield flight.spec, _given_up(flight)
            finally:
                for flight in flying.values():
                    ray.cancel(flight.ref, force=True)

    def _needs(self, spec: RunSpec) -> tuple[int, float]:
        return spec.threads, self.gpus_per_run if spec.device == "cuda" else 0

    def _start(self, ray: Any, away: Callable[[RunSpec], Any], spec: RunSpec) -> Any:
        """Hand a run to Ray; the reference to its result."""
        cpus, gpus = self._needs(spec)
        # A worker that used a GPU ends with its run and so frees the memory. Ray's own retries stay off: they know no
        # bound for runs that are killed for their memory.
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1 if gpus else 0)(_call_pickled)
        return remote.options(name=spec.run_id).remote(away, 0, spec)

    def _has_lost(self, ray: Any, flight: _Flight, error: BaseException | None) -> bool:
        """Whether the run has now lost its worker or machine; if so it is counted, and said if it goes again."""
        if not isinstance(error, ray.exceptions.RayError) or isinstance(error, ray.exceptions.RayTaskError):
            return False
        flight.losses += 1
        if flight.losses <= self.retries:
            what = f"run {flight.spec.run_id} lost its worker ({type(error).__name__})"
            warnings.warn(f"{what} and is started again, {flight.losses} of {self.retries}", stacklevel=3)
        return True


@dataclass
class _Flight:
    """A run on its way: the reference to its result, and how often it lost its worker."""

    spec: RunSpec
    ref: Any = None
    losses: int = 0


def _given_up(flight: _Flight) -> RunError:
    what = f"{flight.spec.run_id} lost its worker {flight.losses} times, most likely out of memory"
    return RunError(f"{what}; use fewer --jobs, or more --gpus-per-run on a GPU, so that fewer runs share a machine")


def _outcome(spec: RunSpec, future: Future, home: Callable[[Any], R] | None) -> R | Exception:
    """What came back, after the part that is done here."""
    error = future.exception()
    if error is not None:  # the function itself is guarded: the worker cannot load it, or this process its result
        why = str(error).strip().splitlines() or [type(error).__name__]
        return RunError(f"the worker of {spec.run_id} failed: {why[-1]}; install this senas-bench on every machine")
    result = pickle.loads(future.result()[1])
    if home is None or isinstance(result, Exception):
        return result
    try:
        return home(result)
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error.with_traceback(None)


@contextmanager
def _connected(address: str | None, threads: int) -> Iterator[Any]:
    """The module `ray`, connected; as the caller has connected it, where he has.

    Raises:
        RunError: No cluster answers at the address.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {
        "num_cpus": max(cpu_cores() or 1, threads),
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address not in (None, "auto"):  # Ray itself would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        level: Any = "ERROR"  # a name does, whatever the annotation says
        ray.init(address or "local", logging_level=level, **({} if address else own))
    except Exception as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(f"no Ray cluster at {address or 'this machine'}: {why[0]}; see CLUSTER.md") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray put its own there
    try:
        yield ray
    finally:
        ray.shutdown()


def _warn_of_no_room(ray: Any, needs: set[tuple[int, float]]) -> None:
    """Say what no machine of the cluster has room for, now: it waits until one joins that has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for cpus, gpus in sorted(needs):
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            what = f"no machine of the cluster has {cpus} CPUs and {gpus} GPUs for a run"
            warnings.warn(f"{what}; such runs wait until one joins (see --threads, --gpus-per-run)", stacklevel=3)
