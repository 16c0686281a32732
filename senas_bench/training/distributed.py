"""Several processes that train one network, as `torchrun` starts them: who does what, and sums over all of them.

Each process holds the whole network, draws the same paths and the same order of images, and trains on its rows of
every batch. After the backward pass the gradients of the path that ran are added up in one all-reduce. That is less
than `DistributedDataParallel(find_unused_parameters=True)` does, which sends zeros for all weights off the path,
holds a second copy of the gradients, and would have to be built anew after each expansion; and it leaves `grad = None`
where no path ran, on which the loop relies.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from senas_bench.errors import RunError
from senas_bench.training.place import ADVICE, place

TIMEOUT_SECONDS = 600.0
"""How long a process waits for the others before it gives up."""
SAYING_SECONDS = 10.0
"""After which it is said that a process waits for the others to come."""
_MET: list[Store] = []
"""Where the processes met: one store in each process. Where the first one serves it, a second would wait for the others
to connect again."""

_GROUPS = itertools.count()
"""Numbers of the groups that this process has joined: a second one must not find the addresses of the first."""


class LostProcess(RunError):
    """Another process died or does not answer: what went wrong did so there."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together. Alone, every method returns at once.

    Args:
        rank: 0 to `world - 1`; process 0 writes the files.
        world: Number of processes.
        timeout: Seconds that one waits for another.
    """

    rank: int = 0
    world: int = 1
    timeout: float = TIMEOUT_SECONDS

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, loader: Any) -> Any:
        """A loader of this process's rows of each batch of `loader`; `loader` itself where there is no other.

        A loader with a method `share(rank, world)` makes it, so that nobody decodes the rows of others.
        """
        if self.world == 1:
            return loader
        own = getattr(loader, "share", None)
        return own(self.rank, self.world) if own else Share(loader, self.rank, self.world)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up over the processes the gradients that are there, the same ones in each."""
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        if self.world > 1 and gradients:
            _put_back(self._sum(_flat(gradients)), gradients)

    def mean_buffers(self, network: nn.Module) -> None:
        """Give all processes the mean of their batch norm statistics, each of which has seen other images."""
        if self.world == 1:
            return
        if buffers := [buffer for buffer in network.buffers() if buffer.is_floating_point()]:
            _put_back(self._sum(_flat(buffers)) / self.world, buffers)

    def copy_first(self, network: nn.Module) -> None:
        """Give all processes the weights and buffers of the first."""
        tensors = [value for value in network.state_dict().values() if value.is_floating_point()]
        if self.world > 1 and tensors:
            flat = _flat(tensors)
            with self._together():
                torch.distributed.broadcast(flat, src=0)
            _put_back(flat, tensors)

    def total(self, value: float) -> float:
        """The sum of a number over the processes."""
        return value if self.world == 1 else float(self._sum(torch.tensor([value], dtype=torch.float64)))

    def from_first(self, values: np.ndarray) -> np.ndarray:
        """The first process's `values`, which all have in the same shape and type: what is decided by them, all decide
        alike, though the last digits may differ from one GPU to another."""
        if self.world == 1:
            return values
        shared = torch.from_numpy(np.ascontiguousarray(values).copy())
        with self._together():
            torch.distributed.broadcast(shared, src=0)
        return shared.numpy()

    def agree(self, what: str, value: bytes = b"") -> None:
        """Wait for the others, and see that all have the same `value`.

        Raises:
            RunError: They have not.
            LostProcess: One is gone.
        """
        if self.world == 1:
            return
        digest = zlib.crc32(value)
        ends = torch.tensor([digest, -digest], dtype=torch.int64)
        with self._together():
            torch.distributed.all_reduce(ends, torch.distributed.ReduceOp.MAX)
        if int(ends.sum()):
            raise RunError(
                f"the {self.world} processes differ in {what}; they must run the same command and share one results "
                "folder"
            )

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        with self._together():
            torch.distributed.all_reduce(tensor)
        return tensor

    @contextmanager
    def _together(self) -> Iterator[None]:
        """One line for whatever the backend says when another process does not take part."""
        try:
            yield
        except RuntimeError as error:
            why = str(error).splitlines()[0].partition(". ")[0]  # what follows is advice, and of no use here
            raise LostProcess(
                f"process {self.rank} of {self.world}: another process died or did not answer within "
                f"{self.timeout:g} s ({why}); see what it said, then start the same command again: it goes on from the "
                "last checkpoint"
            ) from error


ALONE = Processes()
"""One process."""


@dataclass(frozen=True)
class Share:
    """The rows of each batch that are one process's: the `rank`-th of `world` equal parts, in their order.

    Args:
        loader: Gives whole batches, the same ones in each process.
        rank, world: As in `Processes`.
    """

    loader: Any
    rank: int
    world: int

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self.loader)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """See `data.loader.TrainLoader.epoch`."""
        batches = self.loader.epoch(generator)  # draws here, at the call
        return ((self._rows(x), self._rows(y)) for x, y in batches)

    def _rows(self, batch: torch.Tensor) -> torch.Tensor:
        size = len(batch) // self.world
        return batch[self.rank * size : (self.rank + 1) * size]


def meet(timeout: float = TIMEOUT_SECONDS) -> Store:
    """The key-value store at which the processes that torchrun started meet.

    Args:
        timeout: Seconds to wait for the others, at the first call.

    Raises:
        ValueError: Some of `VARIABLES` are missing.
        LostProcess: The others did not come.
    """
    rank, world, _ = place()
    if not _MET:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        said = f"process {rank} of {world} waits for the others at {where}, as RANK and WORLD_SIZE say; {ADVICE}"
        saying = threading.Timer(SAYING_SECONDS, print, (said,), {"file": sys.stderr})
        saying.daemon = True
        saying.start()
        try:
            _MET.append(next(rendezvous("env://", rank, world, timeout=timedelta(seconds=timeout)))[0])
        except RuntimeError as error:
            why = str(error).splitlines()[0].partition(". ")[0]
            raise LostProcess(
                f"process {rank} of {world}: the others did not come to {where} within {timeout:g} s ({why}); {ADVICE}"
            ) from error
        finally:
            saying.cancel()
    return _MET[0]


@contextmanager
def join(device: str, timeout: float = TIMEOUT_SECONDS) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, by the variables it sets; alone where it did not.

    Tensors on the CPU travel by gloo, those on a GPU by NCCL.

    Args:
        device: `cpu`, or `cuda` for the GPU of this process's local rank.
        timeout: Seconds that a process waits for another.

    Yields:
        This process among the others, and its device.

    Raises:
        ValueError: Some of `VARIABLES` are missing, or the machine has fewer GPUs than processes.
        LostProcess: Another process did not come.
    """
    rank, world, local = place()
    if device == "cuda" and world > 1:
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"no GPU for process {local} of this machine, which has {torch.cuda.device_count()}; "
                f"start at most that many with --nproc-per-node"
            )
        torch.cuda.set_device(local)
    if world == 1:
        yield ALONE, torch.device(device)
        return
    processes = Processes(rank, world, timeout)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    store = PrefixStore(f"group {next(_GROUPS)}", meet())
    limit = timedelta(seconds=timeout)
    with processes._together():
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)
    yield processes, torch.device(device, local) if device == "cuda" else torch.device(device)
    # Not after an error: it would wait for processes that are gone, and this one ends anyway.
    torch.distributed.destroy_process_group()


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _put_back(flat: torch.Tensor, tensors: list[torch.Tensor]) -> None:
    """Inverse of `_flat`, in place."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    with torch.no_grad():
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))
