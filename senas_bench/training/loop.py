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
from senas_bench.training.bilevel import Architecture
from senas_bench.training.checkpoint import read_checkpoint, write_checkpoint
from senas_bench.training.distributed import ALONE, Processes
from senas_bench.training.optimizer import descend
from senas_bench.training.recipe import TrainingRecipe, learning_rate, snapshot_steps
from senas_bench.training.samplers import Path, Sampler, path_evaluations
from senas_bench.training.snapshots import Snapshots

CHECKPOINT_SECONDS = 20.0
"""A phase is saved at the first end of an epoch after this many seconds, and when it is done."""


@dataclass(frozen=True)
class Observation:
    """What was looked up of a network at the end of an epoch, which its training does not notice.

    Args:
        scores: Float64, as the observer gave them.
        counts: Work done for it.
        seconds: Wall time.
    """

    scores: np.ndarray
    counts: Mapping[str, int]
    seconds: float


@dataclass
class Training:
    """What a training left behind.

    Args:
        optimizer: Holds the momentum, for a next stage to carry on.
        snapshots: The K snapshots of the last epochs; the initial weights when no step was taken.
        history: One mapping per epoch: `epoch`, `loss` (mean of what the steps minimised), `lr`.
        counts: `images_trained`, `train_steps`, `forward_paths`, `backward_paths`, and what else an
            architecture counts.
        seconds: Wall time of the steps.
        observed: By epoch, what `train` was asked to observe.
    """

    optimizer: torch.optim.Optimizer
    snapshots: Snapshots
    history: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("images_trained", "train_steps", "forward_paths", "backward_paths"), 0)
    )
    seconds: float = 0.0
    observed: dict[int, Observation] = field(default_factory=dict)


def make_optimizer(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.SGD:
    """SGD over all weights. Weights without a gradient are left alone by the step: no decay, no momentum.

    Where the recipe spares norms and biases, a second group holds them: everything that has but one axis.
    """
    groups: Any = network.parameters()
    if not recipe.decay_norm_and_bias:
        weights = list(network.parameters())
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
    )


def carry_momentum(
    old: torch.optim.Optimizer, new: torch.optim.Optimizer, sources: dict[nn.Parameter, nn.Parameter]
) -> None:
    """Give each weight of `new` the momentum it had in `old`, or that of the weight it was copied from."""
    for group in new.param_groups:
        for weight in group["params"]:
            momentum = old.state.get(sources.get(weight, weight), {}).get("momentum_buffer")
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
    optimizer: torch.optim.Optimizer | None = None,
    architecture: Architecture | None = None,
    keep_snapshots: bool = True,
    checkpoint: FilePath | None = None,
    on_begin: Callable[[int], None] = lambda done: None,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
    observe: Callable[[int], tuple[np.ndarray, Mapping[str, int]] | None] = lambda epoch: None,
    observer: str = "",
    processes: Processes = ALONE,
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
        architecture: Learns beside the weights; takes a step of its own before each of theirs.
        checkpoint: File to resume from and save to. A finished phase is only loaded.
        on_begin: Told first how many epochs the checkpoint has done.
        on_epoch: Told after each epoch: (epochs done, mean loss).
        observe: Asked after each epoch, with the epochs done, for scores to keep and the work they took, or None. It
            must leave the network and all generators as they are.
        observer: Tells what is observed, where several look at one training: a checkpoint in which another looked at
            something else is not used by one that looks, and used without what was seen by one that does not.
        processes: That train this network together, each with its rows of a batch and all with the same generators.
            They go through the epochs in step and end with the same network; the first one saves.

    Raises:
        ValueError: The network or the loader cannot do what the recipe or the number of processes asks for.
        RunError: The loss is not finite, or another process is gone or does something else.
    """
    _check(network, recipe, architecture, processes)
    result = Training(optimizer or make_optimizer(network, recipe), Snapshots(keep_snapshots))
    memory = sample if isinstance(sample, Sampler) else None
    done = _restore(checkpoint, network, result, rng, generator, architecture, memory, observer) if checkpoint else 0
    on_begin(done)
    processes.agree("where the training stands", _position(done, rng, generator))
    processes.copy_first(network)
    parameters = list(network.parameters())
    device = parameters[0].device
    steps = len(loader)
    snapshot_at = snapshot_steps(recipe, epochs, steps)
    saved = time.monotonic()
    network.train()
    for epoch in range(done, epochs):
        started = time.monotonic()
        total_loss = torch.zeros((), device=device)
        losses = 0
        counts: Counter[str] = Counter()
        batches = loader.epoch(generator)
        if architecture:
            architecture.begin_epoch(epoch / epochs, generator)
        if memory:
            memory.begin_epoch(epoch, epochs)
        with _noise(network, recipe.drop_path * epoch / epochs, generator, epoch, processes.rank, device):
            for step, (x, y) in enumerate(batches):
                rate = learning_rate(recipe, epoch + step / steps, epochs)
                for group in result.optimizer.param_groups:
                    group["lr"] = rate
                if architecture:
                    counts.update(architecture.step(network, (x, y), result.optimizer, rng))
                result.optimizer.zero_grad(set_to_none=True)
                parts = _parts(x, y, recipe, processes.world)
                paths = list(sample(rng))
                of_paths: list[list[torch.Tensor]] = [[] for _ in paths]
                for path, of_path in zip(paths, of_paths, strict=True):
                    for part in parts:
                        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.amp and device.type == "cuda"):
                            loss = _loss(network, part, path, recipe)
                        (loss / recipe.accumulate).backward()
                        total_loss += loss.detach()
                        of_path.append(loss.detach())
                    losses += len(parts)
                    passes = path_evaluations(path)
                    counts.update(forward_paths=passes, backward_paths=passes)
                processes.sum_gradients(parameters)
                descend(result.optimizer, recipe.clip)
                if memory:
                    memory.after_step(paths, _means(of_paths, processes))
                if epoch * steps + step + 1 in snapshot_at:
                    processes.mean_buffers(network)
                    result.snapshots.add(network)
        processes.mean_buffers(network)
        if architecture:
            counts.update(architecture.end_epoch(network, rng, generator))
        if memory:
            counts.update(memory.end_epoch(network, rng, generator))
        mean_loss = processes.total(float(total_loss)) / max(losses * processes.world, 1)
        if not np.isfinite(mean_loss):
            raise RunError(
                f"training loss is {mean_loss} at epoch {epoch + 1}; a lower learning rate than {recipe.lr} may help"
            )
        result.history.append({"epoch": epoch + 1, "loss": round(mean_loss, 6), "lr": round(rate, 8)})
        counts.update(images_trained=steps * recipe.batch_size, train_steps=steps)
        for name, count in counts.items():
            result.counts[name] = result.counts.get(name, 0) + count
        result.seconds += time.monotonic() - started
        on_epoch(epoch + 1, mean_loss)
        started = time.monotonic()
        seen = observe(epoch + 1)
        if seen is not None:
            result.observed[epoch + 1] = Observation(*seen, time.monotonic() - started)
        if checkpoint and (epoch + 1 == epochs or time.monotonic() - saved > CHECKPOINT_SECONDS):
            if processes.first:
                _save(checkpoint, network, result, rng, generator, architecture, memory, epoch + 1, observer)
            saved = time.monotonic()
        # nobody is ahead of the file by more than an epoch, and nobody leaves before it is written
        processes.agree("the random numbers they draw", _position(epoch + 1, rng, generator))
    if not result.snapshots.count:
        result.snapshots.add(network)
    return result


def _check(network: nn.Module, recipe: TrainingRecipe, architecture: Architecture | None, processes: Processes) -> None:
    for name, attribute in (("drop_path", "drop_path_prob"), ("auxiliary_weight", "forward_with_auxiliary")):
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
    network: nn.Module, drop_path: float, generator: torch.Generator, epoch: int, rank: int, device: torch.device
) -> Iterator[None]:
    """Drop path at its strength of an epoch, and random numbers of the epoch and the process for it and for dropout.

    Both draw from torch's global generator. Seeded here, they are the same in a resumed training.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(zlib.crc32(f"{generator.initial_seed()} {epoch} {rank}".encode()))
        if drop_path:
            network.drop_path_prob = drop_path
        try:
            yield
        finally:
            if drop_path:
                network.drop_path_prob = 0.0


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


def _loss(
    network: nn.Module, part: tuple[torch.Tensor, torch.Tensor], path: Path, recipe: TrainingRecipe
) -> torch.Tensor:
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
    """Of each path, over the parts of a batch and all processes."""
    return [processes.total(sum(map(float, parts)) / len(parts)) / processes.world for parts in losses]


def _save(
    path: FilePath,
    network: nn.Module,
    result: Training,
    rng: np.random.Generator,
    generator: torch.Generator,
    architecture: Architecture | None,
    memory: Sampler | None,
    done: int,
    observer: str,
) -> None:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for name, weight in network.named_parameters():
        momentum = result.optimizer.state.get(weight, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum
    tensors.update({f"snapshots.{name}": value for name, value in result.snapshots.tensors().items()})
    if architecture:
        tensors.update({f"architecture.{name}": value for name, value in architecture.tensors().items()})
    if memory:
        tensors.update({f"sampler.{name}": value for name, value in memory.tensors().items()})
    tensors.update({f"observed.{epoch}": torch.from_numpy(seen.scores) for epoch, seen in result.observed.items()})
    tensors["generator"] = generator.get_state()
    state = {
        "done": done,
        "rng": rng.bit_generator.state,
        "snapshots": result.snapshots.count,
        "history": result.history,
        "counts": result.counts,
        "seconds": result.seconds,
        "observed": {epoch: [dict(seen.counts), seen.seconds] for epoch, seen in result.observed.items()},
        "observer": observer,
    }
    write_checkpoint(path, tensors, state)


def _restore(
    path: FilePath,
    network: nn.Module,
    result: Training,
    rng: np.random.Generator,
    generator: torch.Generator,
    architecture: Architecture | None,
    memory: Sampler | None,
    observer: str,
) -> int:
    """Load what `_save` wrote; the number of epochs done, 0 when there is nothing that serves this observer."""
    device = next(network.parameters()).device
    read = read_checkpoint(path, device)
    if read is None:
        return 0
    tensors, state = read
    looked = state.get("observer", observer)  # checkpoints of earlier versions have one observer only, their run's
    if observer not in ("", looked):
        return 0
    heads = ("network", "momentum", "snapshots", "architecture", "sampler", "observed")
    parts: dict[str, dict[str, torch.Tensor]] = {head: {} for head in heads}
    for key, value in tensors.items():
        head, _, name = key.partition(".")
        if name:
            parts[head][name] = value
    network.load_state_dict(parts["network"])
    weights = dict(network.named_parameters())
    for name, momentum in parts["momentum"].items():
        weight = weights[name]
        result.optimizer.state[weight]["momentum_buffer"] = torch.empty_like(weight).copy_(momentum)
    result.snapshots.load(parts["snapshots"], state["snapshots"])
    if architecture:
        architecture.load(parts["architecture"])
    if memory:
        memory.load(parts["sampler"])
    generator.set_state(tensors["generator"].cpu())
    rng.bit_generator.state = state["rng"]
    result.history[:] = state["history"]
    result.counts.update(state["counts"])
    result.seconds = state["seconds"]
    for epoch, (counts, seconds) in state["observed"].items() if looked == observer else ():
        result.observed[int(epoch)] = Observation(parts["observed"][epoch].cpu().numpy(), counts, seconds)
    return state["done"]
