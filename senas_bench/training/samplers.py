"""What a path is, what it counts as, and samplers that remember. Single paths are drawn by `spaces.paths`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from senas_bench.networks.mixture import Mixture
from senas_bench.spaces import Arch
from senas_bench.strategies import uncalled

if TYPE_CHECKING:
    import torch
    from torch import nn

Path = Union[Arch, tuple[Arch, ...], Mixture, "torch.Tensor"]
"""One arch for all cells, one per cell, or operator weights `(edges, operators)` for all cells: a `Mixture`, or a
tensor, which the network must read first to see what runs."""


def path_evaluations(path: Path) -> int:
    """What a pass over `path` counts as: 1, or for operator weights the most that are not 0 on one edge.

    A mixture of all five operators costs what their five paths cost together, `none` among them in both.
    """
    if isinstance(path, tuple):
        return 1
    return (path if isinstance(path, Mixture) else Mixture.of(path)).passes


def check_sampler(sample: Any) -> None:
    """Refuse what cannot draw the paths of a training, before it begins.

    Raises:
        ValueError: In a sentence.
    """
    kind = sample if isinstance(sample, type) else type(sample)
    if isinstance(sample, type):
        why: str | None = "it is a class; give an instance"
    else:
        why = uncalled(sample, ("rng",), "paths", Sampler if isinstance(sample, Sampler) else None)
    if not why and isinstance(sample, Sampler) and (kind.tensors is Sampler.tensors) != (kind.load is Sampler.load):
        why = "its memory is saved by tensors() and resumed by load(tensors); define both"
    if why:
        raise ValueError(f"path sampler {kind.__name__}: {why}")


class Sampler:
    """Base of a path sampler with a memory, such as a pool of good paths or a controller.

    A sampler without one is any `(rng) -> paths`. Inherit this to be told how the training goes; a subclass defines
    `__call__` and those of the other methods that it needs. All its randomness comes from `rng`, and `tensors` holds
    all its state, so that a resumed training goes on as if it had not stopped. Runs do not share such trainings.

    With several processes each has a sampler of its own; all are told the same, so all draw the same.
    """

    def __call__(self, rng: np.random.Generator) -> Iterable[Path]:
        """The paths of one step."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """An epoch begins, counted from 0, of `epochs` in this phase."""

    def after_step(self, paths: Sequence[Path], losses: Sequence[float]) -> None:
        """The weights took a step on `paths`; `losses` are theirs before it, nats, the mean over the batch."""

    def end_epoch(self, network: nn.Module, rng: np.random.Generator, generator: torch.Generator) -> Mapping[str, int]:
        """An epoch is over. Returns work that the sampler did in it, by names of `tasks.task.COUNTERS`.

        The network must be left as it is. `rng` draws paths, `generator` orders images.
        """
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        """All state, for a checkpoint; it is saved at ends of epochs."""
        return {}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `tensors`, which may now lie on the device of the network."""
        if tensors:
            raise NotImplementedError(f"{type(self).__name__} keeps tensors; define load(self, tensors) too")
