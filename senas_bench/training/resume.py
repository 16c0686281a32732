"""A training saved between epochs, and taken up where it stood."""

from __future__ import annotations

from pathlib import Path as FilePath

import numpy as np
import torch
from torch import nn

from senas_bench.training.bilevel import Architecture
from senas_bench.training.checkpoint import read_checkpoint, write_checkpoint
from senas_bench.training.result import Observation, Training
from senas_bench.training.samplers import Sampler


def save(
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
    """Write all that goes on after `done` epochs, and who observed them, for `restore` to load."""
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


def restore(
    path: FilePath,
    network: nn.Module,
    result: Training,
    rng: np.random.Generator,
    generator: torch.Generator,
    architecture: Architecture | None,
    memory: Sampler | None,
    observer: str,
) -> int:
    """Load what `save` wrote; the number of epochs done, 0 when there is nothing that serves this observer."""
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
