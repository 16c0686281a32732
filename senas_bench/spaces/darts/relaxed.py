"""How the systems that learn logits beside the weights train: plain values, from which recipes are made.

[code] is the public code of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHARED = {"lr_horizon": 0, "nesterov": False, "weight_decay": 3e-4, "snapshots": 1}
"""SGD .9, clipped at 5, a cosine over all epochs."""
PAPERS: Mapping[str, Mapping[str, Any]] = {
    "darts": {"stage_epochs": (50,), "batch_size": 64, "lr": 0.025, "lr_min": 0.001},
    "gdas": {"stage_epochs": (250,), "batch_size": 64, "lr": 0.025, "lr_min": 0.001},
    "snas": {"stage_epochs": (150,), "batch_size": 64, "lr": 0.025, "lr_min": 0.001},
    "p-darts": {"stage_epochs": (75,), "batch_size": 96, "lr": 0.025, "lr_min": 0.0},
    "fair-darts": {"stage_epochs": (50,), "batch_size": 128, "lr": 0.005, "lr_min": 0.001},
    "pc-darts": {"stage_epochs": (50,), "batch_size": 256, "lr": 0.1, "lr_min": 0.0},
}
"""On CIFAR-10, by recipe [code]; GDAS as AutoDL-Projects has it on NAS-Bench-201. P-DARTS shares its epochs among
three stages."""
AFTER_DARTS = ("snas", "p-darts", "fair-darts", "pc-darts")
"""Of `PAPERS` those that NAS-Bench-201 did not study."""


def full_recipes(amp: bool) -> dict[str, dict[str, Any]]:
    """As in the papers."""
    return {name: {**SHARED, **own, "amp": amp} for name, own in PAPERS.items()}


def small_recipes(epochs: Mapping[str, int], batch_size: int, lr: float) -> dict[str, dict[str, Any]]:
    """Scaled to so many epochs each, with one batch and one rate at the start for all: short trainings of small
    networks need larger steps than Fair DARTS's and smaller batches than PC-DARTS's."""
    changed = {"batch_size": batch_size, "lr": lr}
    return {name: {**SHARED, **PAPERS[name], **changed, "stage_epochs": (count,)} for name, count in epochs.items()}
