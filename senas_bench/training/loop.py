"""The one training loop: paths of a supernet, or the single path of a stand-alone network."""

from __future__ import annotations

import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from torch import nn

from senas_bench.errors import RunError
from senas_bench.spaces.cost import CostTable
from senas_bench.training.bilevel import Architecture
from senas_bench.training.distributed import ALONE, Processes
from senas_bench.training.price import STEP, passes_price
from senas_bench.training.recipe import TrainingRecipe, learning_rate, snapshot_steps
from senas_bench.training.result import Observation, Training
from senas_bench.training.resume import restore, save
from senas_bench.training.samplers import Path, Sampler, path_evaluations
from senas_bench.training.snapshots import Snapshots

CHECKPOINT_SECONDS = 20.0
"""A phase is saved at the first end of an epoch after this many seconds, and when it is done."""


def make_optimizer(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.SGD:
    """SGD over all weights, fused where torch has that. `descend` takes its steps.

    Where the recipe spares norms and biases, a second group holds them: everything that has but one axis.
    """
    weights = list(network.parameters())
    groups: Any = weights
    if not recipe.decay_norm_and_bias:
        groups = [
            {"params": [weight for weight in weights if weight.ndim > 1]},
            {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
        ]
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
        fused=all(weight.device.type in ("cpu", "cuda") for weight in weights),
    )


def descend(optimizer: torch.optim.Optimizer, clip: float = 0.0) -> None:
    """A step of the weights that have a gradient. The others are left alone: no decay, no momentum.

    Args:
        clip: Largest length of all gradients as one vector; 0 leaves them as they are.
    """
    weights = [(weight, group) for group in optimizer.param_groups for weight in group["params"]]
    weights = [(weight, group) for weight, group in weights if weight.grad is not None]
    if clip:
        nn.utils.clip_grad_norm_([weight for weight, _ in weights], clip)
    for weight, group in weights:
        # a path has weights that moved before beside others that did not: torch's fused step takes all or none
        if group.get("momentum") and "momentum_buffer" not in optimizer.state[weight]:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    optimizer.step()
    for weight, _ in weights:
        torch.autograd.graph.increment_version(weight)  # or autograd would not see what a fused step changed


def carry_momentum(
    old: torch.optim.Optimizer, new: torch.optim.Optimizer, sources: dict[nn.Parameter, nn.Parameter]
) -> None:
    """Give each weight of `new` the momentum it had in `old`, or that of the weight it was copied from."""
    for group in new.param_groups:
        for weight in group["params"]:
            origin: Any = sources.get(weight, weight)
            momentum = old.state.get(origin, {}).get("momentum_buffer")
            if momentum is not None:
                new.state[weight]["momentum_buffer"] = momentum.clone()


def train(
    network: nn.Module,
    loader: Any,
    recipe: TrainingRecipe,
    sample: Callable[[np.random.Generator], Iterable[Path]],
    *,
    epochs: int,
    rng: np.random.Generator,
    generator: torch.Generator,
    before: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    architecture: Architecture | None = None,
    keep_snapshots: bool = True,
    checkpoint: FilePath | None = None,
    on_begin: Callable[[int], None] = lambda done: None,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
    observe: Callable[[int], tuple[np.ndarray, Mapping[str, int]] | None] = lambda epoch: None,
    observer: str = "",
    processes: Processes = ALONE,
    cost: CostTable | None = None,
) -> Training:
    """Train `network` in place for `epochs` epochs and take snapshots at the end.

    Each step runs the paths that `sample` draws on one batch and adds up their gradients; all other
    weights keep `grad = None`, so neither weight decay nor momentum moves them.

    Args:
        loader: `epoch(generator)` yields `(x, y)` batches, or this process's rows of each; `len(loader)` steps an
            epoch.
        sample: Draws the paths of a step. One that remembers inherits `samplers.Sampler`, and its memory is part of
            the checkpoint.
        rng: For the paths. generator: For the images. Both belong to this phase alone.
        before: Epochs that the network was trained in earlier calls; see `recipe.learning_rate`.
        architecture: Learns beside the weights; takes a step of its own before each of theirs. Where it has an
            attribute `finished` that is true at the end of an epoch, the training is over; any epoch may then be the
            last, so that snapshots are of the last one alone.
        checkpoint: File to resume from and save to. A finished phase is only loaded.
        on_begin: Told first how many epochs the checkpoint has done.
        on_epoch: Told after each epoch: (epochs done, mean loss).
        observe: Asked after each epoch, with the epochs done, for scores to keep and the work they took, or None. It
            must leave the network and all generators as they are.
        observer: Tells what is observed, where several look at one training: a checkpoint in which another looked at
            something else is not used by one that looks, and used without what was seen by one that does not.
        processes: That train this network together, each with its rows of a batch and all with the same generators.
            They go through the epochs in step and end with the same network; the first one saves.
        cost: Of archs at this size; the counts then have `multiply_adds`, unless the architecture or the sampler runs
            paths and does not say what they cost, or an epoch of the checkpoint was not priced.

    Raises:
        ValueError: The network or the loader cannot do what the recipe or the number of processes asks for.
        RunError: The loss is not finite, or another process is gone or does something else.
    """
    _check(network, recipe, architecture, processes)
    result = Training(optimizer or make_optimizer(network, recipe), Snapshots(keep_snapshots))
    phase = _Phase(
        network, loader, recipe, sample, epochs, rng, generator, architecture, processes, result, before, cost
    )
    phase.run(checkpoint, on_begin, on_epoch, observe, observer)
    return result


@dataclass
class _Tally:
    """What the steps of an epoch add up.

    Args:
        loss: Sum of the losses.
        losses: How many they are.
        counts: Work done.
        aside: Of it what the architecture and the sampler did.
        paths: Of the steps of the weights.
    """

    loss: torch.Tensor
    losses: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    aside: Counter[str] = field(default_factory=Counter)
    paths: list[Path] = field(default_factory=list)


@dataclass
class _Phase:
    """The epochs of one call of `train`, whose arguments these are; `result` grows with them."""

    network: nn.Module
    loader: Any
    recipe: TrainingRecipe
    sample: Callable[[np.random.Generator], Iterable[Path]]
    epochs: int
    rng: np.random.Generator
    generator: torch.Generator
    architecture: Architecture | None
    processes: Processes
    result: Training
    before: int
    cost: CostTable | None

    def __post_init__(self) -> None:
        self.memory = self.sample if isinstance(self.sample, Sampler) else None
        self.parameters = list(self.network.parameters())
        self.device = self.parameters[0].device
        self.steps = len(self.loader)
        self.may_end = hasattr(self.architecture, "finished")
        self.snapshot_at = snapshot_steps(self.recipe, 1 if self.may_end else self.epochs, self.steps)

    def run(
        self,
        checkpoint: FilePath | None,
        on_begin: Callable[[int], None],
        on_epoch: Callable[[int, float], None],
        observe: Callable[[int], tuple[np.ndarray, Mapping[str, int]] | None],
        observer: str,
    ) -> None:
        """Go through the epochs that the checkpoint lacks; arguments as those of `train`."""
        result, processes = self.result, self.processes
        held = (self.network, result, self.rng, self.generator, self.architecture, self.memory)
        done = restore(checkpoint, *held, observer) if checkpoint else 0
        on_begin(done)
        processes.agree("where the training stands", _position(done, self.rng, self.generator))
        processes.copy_first(self.network)
        saved = time.monotonic()
        self.network.train()
        for epoch in range(done, self.epochs):
            if self._finished:
                break
            started = time.monotonic()
            mean_loss = self._epoch(epoch)
            result.seconds += time.monotonic() - started
            on_epoch(epoch + 1, mean_loss)
            started = time.monotonic()
            seen = observe(epoch + 1)
            if seen is not None:
                result.observed[epoch + 1] = Observation(*seen, time.monotonic() - started)
            last = epoch + 1 == self.epochs or self._finished
            if checkpoint and (last or time.monotonic() - saved > CHECKPOINT_SECONDS):
                if processes.first:
                    save(checkpoint, *held, epoch + 1, observer)
                saved = time.monotonic()
            # nobody is ahead of the file by more than an epoch, and nobody leaves before it is written
            processes.agree("the random numbers they draw", _position(epoch + 1, self.rng, self.generator))
        if not result.snapshots.count:
            result.snapshots.add(self.network)

    @property
    def _finished(self) -> bool:
        return getattr(self.architecture, "finished", False)

    def _epoch(self, epoch: int) -> float:
        """Train for one epoch and write it down; its mean loss."""
        tally = _Tally(torch.zeros((), device=self.device))
        batches = self.loader.epoch(self.generator)
        if self.architecture:
            self.architecture.begin_epoch(epoch / self.epochs, self.generator)
        if self.memory:
            self.memory.begin_epoch(epoch, self.epochs)
        if self.may_end:
            self.result.snapshots = Snapshots(self.result.snapshots.keep)
        before = 0 if self.may_end else epoch * self.steps
        drop_path = self.recipe.drop_path * epoch / self.epochs
        with _noise(
            self.network, drop_path, self.recipe.dropout, self.generator, epoch, self.processes.rank, self.device
        ):
            for step, (x, y) in enumerate(batches):
                rate = learning_rate(self.recipe, epoch + step / self.steps, self.epochs, self.before)
                self._step(x, y, rate, tally)
                if before + step + 1 in self.snapshot_at:
                    self.processes.mean_buffers(self.network)
                    self.result.snapshots.add(self.network)
        self.processes.mean_buffers(self.network)
        if self.architecture:
            tally.aside.update(self.architecture.end_epoch(self.network, self.rng, self.generator))
        if self.memory:
            tally.aside.update(self.memory.end_epoch(self.network, self.rng, self.generator))
        mean_loss = self.processes.total(float(tally.loss)) / max(tally.losses * self.processes.world, 1)
        if not np.isfinite(mean_loss):
            less = f"a lower learning rate than {self.recipe.lr} may help"
            raise RunError(f"training loss is {mean_loss} at epoch {epoch + 1}; {less}")
        self.result.history.append({"epoch": epoch + 1, "loss": round(mean_loss, 6), "lr": round(rate, 8)})
        tally.counts.update(images_trained=self.steps * self.recipe.batch_size, train_steps=self.steps)
        self._count(epoch, tally)
        return mean_loss

    def _count(self, epoch: int, tally: _Tally) -> None:
        """Add the work of an epoch, and what it cost where that is known of all epochs so far."""
        counts, price = self.result.counts, "multiply_adds"
        known = self.cost is not None and (price in tally.aside or not tally.aside["forward_paths"])
        if known and self.cost is not None:
            tally.counts[price] = STEP * self.recipe.batch_size * passes_price(self.cost, tally.paths)
        tally.counts.update(tally.aside)
        if not known or (epoch and price not in counts):
            tally.counts.pop(price, None)
            counts.pop(price, None)
        for name, count in tally.counts.items():
            counts[name] = counts.get(name, 0) + count

    def _step(self, x: torch.Tensor, y: torch.Tensor, rate: float, tally: _Tally) -> None:
        """One step down: the gradients of all paths on all parts of a batch, added up."""
        recipe, optimizer = self.recipe, self.result.optimizer
        for group in optimizer.param_groups:
            group["lr"] = rate
        if self.architecture:
            tally.aside.update(self.architecture.step(self.network, (x, y), optimizer, self.rng))
        optimizer.zero_grad(set_to_none=True)
        parts = _parts(x, y, recipe, self.processes.world)
        half = recipe.half(self.device.type)
        paths = list(self.sample(self.rng))
        tally.paths += paths
        of_paths: list[list[torch.Tensor]] = [[] for _ in paths]
        for path, of_path in zip(paths, of_paths, strict=True):
            for part in parts:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                    loss = _loss(self.network, part, path, recipe)
                (loss / recipe.accumulate).backward()
                tally.loss += loss.detach()
                of_path.append(loss.detach())
            tally.losses += len(parts)
            passes = path_evaluations(path)
            tally.counts.update(forward_paths=passes, backward_paths=passes)
        self.processes.sum_gradients(self.parameters)
        descend(optimizer, recipe.clip)
        if self.memory and type(self.memory).after_step is not Sampler.after_step:
            self.memory.after_step(paths, _means(of_paths, self.processes))


def _check(network: nn.Module, recipe: TrainingRecipe, architecture: Architecture | None, processes: Processes) -> None:
    needs = {"drop_path": "drop_path_prob", "dropout": "dropout", "auxiliary_weight": "forward_with_auxiliary"}
    for name, attribute in needs.items():
        if getattr(recipe, name) and not hasattr(network, attribute):
            raise ValueError(f"{type(network).__name__} has no {attribute}; set {name} of the recipe to 0")
    if recipe.accumulate % processes.world:
        raise ValueError(
            f"{processes.world} processes cannot share the {recipe.accumulate} parts of a batch; "
            f"set accumulate of the recipe to a multiple of {processes.world}"
        )
    if architecture and processes.world > 1:
        raise ValueError("an architecture that learns beside the weights trains in one process; start without torchrun")


def _position(done: int, rng: np.random.Generator, generator: torch.Generator) -> bytes:
    """Where a training stands, as what all processes must have in common."""
    return json.dumps([done, rng.bit_generator.state]).encode() + generator.get_state().numpy().tobytes()


@contextmanager
def _noise(
    network: Any,
    drop_path: float,
    dropout: float,
    generator: torch.Generator,
    epoch: int,
    rank: int,
    device: torch.device,
) -> Iterator[None]:
    """Drop path at its strength of an epoch, dropout, and for both random numbers of the epoch and the process.

    Both draw from torch's global generator. Seeded here, they are the same in a resumed training.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(zlib.crc32(f"{generator.initial_seed()} {epoch} {rank}".encode()))
        if drop_path:
            network.drop_path_prob = drop_path
        if dropout:
            network.dropout.p = dropout
        try:
            yield
        finally:
            if drop_path:
                network.drop_path_prob = 0.0
            if dropout:
                network.dropout.p = 0.0


def _parts(
    x: torch.Tensor, y: torch.Tensor, recipe: TrainingRecipe, world: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """This process's parts of a batch, in order."""
    if world > 1 and len(y) * world != recipe.batch_size:
        raise ValueError(
            f"{len(y)} images a process make no batch of {recipe.batch_size}; give `processes.share(loader)`"
        )
    if recipe.accumulate == 1:
        return [(x, y)]
    size, ragged = divmod(len(y) * world, recipe.accumulate)
    if ragged:
        raise ValueError(f"a batch of {len(y)} images has no {recipe.accumulate} equal parts; change batch_size")
    return list(zip(x.split(size), y.split(size), strict=True))


def _loss(network: Any, part: tuple[torch.Tensor, torch.Tensor], path: Path, recipe: TrainingRecipe) -> torch.Tensor:
    """What a step goes down: cross-entropy, with that of the auxiliary head where the recipe weighs it."""
    x, y = part
    if not recipe.auxiliary_weight:
        return nn.functional.cross_entropy(network(x, path), y, label_smoothing=recipe.label_smoothing)
    main, auxiliary = (
        nn.functional.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
        for logits in network.forward_with_auxiliary(x, path)
    )
    return main + recipe.auxiliary_weight * auxiliary


def _means(losses: list[list[torch.Tensor]], processes: Processes) -> list[float]:
    """Of each path, over the parts of a batch and all processes. The device is waited for once."""
    found = torch.stack([torch.stack(parts) for parts in losses]).tolist() if losses else []
    return [processes.total(sum(parts) / len(parts)) / processes.world for parts in found]
