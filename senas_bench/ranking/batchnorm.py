"""Batch norm at evaluation. It decides the ranking, so the mode is always explicit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

BN_MODES = ("batch", "recalibrate", "running")
UNCALIBRATED = "no calibration images to average batch norm statistics over"


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """All batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@contextmanager
def evaluation_mode(network: nn.Module, mode: str) -> Iterator[None]:
    """Put a network in evaluation with one of `BN_MODES`; restores it on leaving.

    - `batch`: statistics of the evaluated batch; running statistics are neither read nor written.
    - `recalibrate`: running statistics, which `recalibrate` sets for each arch.
    - `running`: the running statistics that training left, averaged over all paths.

    Raises:
        ValueError: Unknown mode.
    """
    if mode not in BN_MODES:
        raise ValueError(f"unknown BN mode {mode!r}; one of: {', '.join(BN_MODES)}")
    was_training = network.training
    norms = batch_norms(network)
    network.eval()
    try:
        if mode == "batch":
            for norm in norms:
                norm.train()
                norm.track_running_stats = False
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        network.train(was_training)


def recalibrate(network: nn.Module, path: Sequence, batches: Sequence[torch.Tensor]) -> None:
    """Set running statistics to the average over `batches` of inputs, for one path; in place."""
    if not batches:
        raise ValueError(UNCALIBRATED)
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    try:
        for count, x in enumerate(batches, start=1):
            for norm in norms:  # the cumulative average; None would have torch read the count from the device
                norm.momentum = 1 / count
            network(x, path)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
