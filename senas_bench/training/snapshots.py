"""Weight snapshots and their average (Eq. 4)."""

from __future__ import annotations

import torch
from torch import nn

State = dict[str, torch.Tensor]


class Snapshots:
    """K copies of a network's weights, or only their running mean.

    Args:
        keep: Keep each snapshot. Without it only the mean is held, which is what Eq. 4 needs and
            what an expanded network can afford.
    """

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self.count = 0
        self.mean: State = {}
        self.states: list[State] = []

    def add(self, network: nn.Module) -> None:
        """Take a snapshot of all weights and buffers."""
        self.count += 1
        state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        if self.keep:
            self.states.append(state)
        if self.count == 1:
            self.mean = {name: value.clone() for name, value in state.items()}
            return
        for name, value in state.items():
            if value.is_floating_point():
                self.mean[name] += (value - self.mean[name]) / self.count
            else:
                self.mean[name].copy_(value)

    def tensors(self) -> State:
        """Flat form for a checkpoint."""
        flat = {f"mean.{name}": value for name, value in self.mean.items()}
        for k, state in enumerate(self.states):
            flat.update({f"{k}.{name}": value for name, value in state.items()})
        return flat

    def load(self, flat: State, count: int) -> None:
        """Inverse of `tensors`."""
        self.count = count
        self.mean = {key.removeprefix("mean."): value for key, value in flat.items() if key.startswith("mean.")}
        self.states = [{} for _ in range(count if self.keep else 0)]
        for key, value in flat.items():
            head, _, name = key.partition(".")
            if self.keep and head != "mean":
                self.states[int(head)][name] = value
