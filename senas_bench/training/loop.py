"""The one training loop: paths of a supernet, or the single path of a stand-alone network."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from torch import nn

from senas_bench.errors import RunError

from .bilevel import Architecture
from .checkpoint import read_checkpoint, write_checkpoint
from .recipe import TrainingRecipe, learning_rate, snapshot_steps
from .samplers import Path, path_evaluations
from .snapshots import Snapshots

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
        history: One mapping per epoch: `epoch`, `loss` (mean training cross-entropy), `lr`.
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
    """SGD over all weights. Weights without a gradient are left alone by the step: no decay, no momentum."""
    return torch.optim.SGD(
        network.parameters(),
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
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
    observe: Callable[[int], tuple[np.ndarray, Mapping[str, int]] | None] = lambda epoch: None,
) -> Training:
    """Train `network` in place for `epochs` epochs and take snapshots at the end.

    Each step runs the paths that `sample` draws on one batch and adds up their gradients; all other
    weights keep `grad = None`, so neither weight decay nor momentum moves them.

    Args:
        loader: `epoch(generator)` yields `(x, y)` batches; `len(loader)` steps an epoch.
        sample: Draws the paths of a step.
        rng: For the paths. generator: For the images. Both belong to this phase alone.
        architecture: Learns beside the weights; takes a step of its own before each of theirs.
        checkpoint: File to resume from and save to. A finished phase is only loaded.
        on_epoch: Told after each epoch: (epochs done, mean loss).
        observe: Asked after each epoch, with the epochs done, for scores to keep and the work they took, or None. It
            must leave the network and all generators as they are.

    Raises:
        RunError: The loss is not finite.
    """
    result = Training(optimizer or make_optimizer(network, recipe), Snapshots(keep_snapshots))
    done = _restore(checkpoint, network, result, rng, generator, architecture) if checkpoint else 0
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
        for step, (x, y) in enumerate(batches):
            rate = learning_rate(recipe, epoch + step / steps, epochs)
            for group in result.optimizer.param_groups:
                group["lr"] = rate
            if architecture:
                counts.update(architecture.step(network, (x, y), result.optimizer, rng))
            result.optimizer.zero_grad(set_to_none=True)
            for path in sample(rng):
                with torch.autocast(device.type, torch.bfloat16, enabled=recipe.amp and device.type == "cuda"):
                    loss = nn.functional.cross_entropy(network(x, path), y)
                loss.backward()
                total_loss += loss.detach()
                losses += 1
                passes = path_evaluations(path)
                counts.update(forward_paths=passes, backward_paths=passes)
            if recipe.clip:
                nn.utils.clip_grad_norm_(parameters, recipe.clip)
            result.optimizer.step()
            if epoch * steps + step + 1 in snapshot_at:
                result.snapshots.add(network)
        if architecture:
            counts.update(architecture.end_epoch(network, rng, generator))
        mean_loss = float(total_loss) / max(losses, 1)
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
            _save(checkpoint, network, result, rng, generator, architecture, epoch + 1)
            saved = time.monotonic()
    if not result.snapshots.count:
        result.snapshots.add(network)
    return result


def _save(
    path: FilePath,
    network: nn.Module,
    result: Training,
    rng: np.random.Generator,
    generator: torch.Generator,
    architecture: Architecture | None,
    done: int,
) -> None:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for name, weight in network.named_parameters():
        momentum = result.optimizer.state.get(weight, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum
    tensors.update({f"snapshots.{name}": value for name, value in result.snapshots.tensors().items()})
    if architecture:
        tensors.update({f"architecture.{name}": value for name, value in architecture.tensors().items()})
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
    }
    write_checkpoint(path, tensors, state)


def _restore(
    path: FilePath,
    network: nn.Module,
    result: Training,
    rng: np.random.Generator,
    generator: torch.Generator,
    architecture: Architecture | None,
) -> int:
    """Load what `_save` wrote; the number of epochs done, 0 when there is nothing."""
    device = next(network.parameters()).device
    read = read_checkpoint(path, device)
    if read is None:
        return 0
    tensors, state = read
    heads = ("network", "momentum", "snapshots", "architecture", "observed")
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
    generator.set_state(tensors["generator"].cpu())
    rng.bit_generator.state = state["rng"]
    result.history[:] = state["history"]
    result.counts.update(state["counts"])
    result.seconds = state["seconds"]
    for epoch, (counts, seconds) in state["observed"].items():
        result.observed[int(epoch)] = Observation(parts["observed"][epoch].cpu().numpy(), counts, seconds)
    return state["done"]
