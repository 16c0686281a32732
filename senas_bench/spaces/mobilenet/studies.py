"""How the MobileNet-like spaces are studied at each preset.

The sizes of `embedded` and `cpu` were chosen by what a laptop can afford; nothing was tuned on a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from senas_bench.spaces.space import STOP_AT, Study

RESET_AFTER = 50
"""Drops after which AngleNAS measures angles from new weights [code, its `modify_initial_model_threshold`]."""


STEPS = {"fbnet": 6.8, "proxylessnas": 1.0, "greedynas": 1.65}
"""What an epoch of a method costs in epochs of single paths, about: all seven operators of a layer run on both halves
of the images; one path runs on one half and two on half of the other; ten paths are evaluated for five that are
trained."""
FEW_STEPS = {"embedded": (2, 0.1), "cpu": (2, 0.01)}
"""Steps of the weights for each of the logits of ProxylessNAS, and the rate of the logits of it and of FBNet. Logits
that take a hundred thousand steps of 0.001 in the paper have tens or hundreds here: at that rate the pick would be that
of their random start. Every logit of ProxylessNAS-R takes a step for two of the weights too, and FBNet's temperature
falls step by step."""


def _recipes(
    stages: tuple[int, ...], batch: int, lr: float, retrain: int, amp: bool, lighting: float = 0.0
) -> Mapping[str, Any]:
    """docs/method.md 3, scaled in length, batch and rate. One line over the epochs of all stages (paper 4.3).

    Methods whose steps cost more or less than one path train for fewer or more epochs, so that all rows of a table are
    given about as many multiply-adds, as far as whole epochs allow.
    """
    supernet: dict[str, Any] = {
        "stage_epochs": stages,
        "batch_size": batch,
        "lr": lr,
        "lr_min": 0.0,
        "lr_horizon": 0,
        "lr_restarts": False,
        "weight_decay": 4e-5,
        "nesterov": False,
        "clip": 0.0,
        "amp": amp,
        "schedule": "linear",
        "decay_norm_and_bias": False,
        "label_smoothing": 0.1,
        "lighting": lighting,
    }
    alone = {**supernet, "stage_epochs": (retrain,), "lr_restarts": True, "snapshots": 1, "dropout": 0.2, "clip": 5.0}
    own = {name: _shorter(supernet, price) for name, price in STEPS.items()}
    return {"reference": supernet, "tuned": supernet, "retrain": alone, **own}


def _shorter(recipe: Mapping[str, Any], times: float) -> dict[str, Any]:
    """A recipe of one stage whose epochs are fewer by a factor, but one at least."""
    return {**recipe, "stage_epochs": (max(1, round(sum(recipe["stage_epochs"]) / times)),), "lr_restarts": True}


STUDIES = {
    "embedded": Study(
        {"width": 0.125, "rank_archs": 30, "score_images": 100, "score_batch": 100},
        _recipes((2, 1, 1), 64, 0.1, 4, False),
        {
            "drop": 40,
            "per_operator": 3,
            "reset_after": RESET_AFTER,
            "stop_at": STOP_AT,
            "search": "evolution",
            "evolution": {"population": 12, "generations": 4, "parents": 4},
            "every": FEW_STEPS["embedded"][0],
            "arch_lr": FEW_STEPS["embedded"][1],
            "tau_by_step": True,
            "filter_images": 64,
            "pool_size": 30,
            "partials": 2,
            "completions": 1,
        },
    ),
    "cpu": Study(
        {"width": 0.125, "rank_archs": 50, "score_images": 500},
        _recipes((2, 1, 1), 128, 0.1, 3, False),
        {
            "drop": 40,
            "per_operator": 10,
            "reset_after": RESET_AFTER,
            "stop_at": STOP_AT,
            "search": "evolution",
            "evolution": {"population": 20, "generations": 5, "parents": 5},
            "every": FEW_STEPS["cpu"][0],
            "arch_lr": FEW_STEPS["cpu"][1],
            "tau_by_step": True,
            "filter_images": 125,
            "pool_size": 100,
            "partials": 2,
            "completions": 2,
        },
    ),
    "paper": Study(
        {"dataset": "imagenet", "resolution": 224, "rank_archs": 100, "held_out": 50_000, "score_batch": 500},
        _recipes((100,) + (5,) * 10, 1024, 0.5, 240, True, lighting=0.1),
        {"drop": 10, "per_operator": 1000, "reset_after": RESET_AFTER, "stop_at": STOP_AT, "search": "evolution"},
    ),
}
"""By preset."""

FAIR_STUDIES = {preset: replace(study, method={**study.method, "even": True}) for preset, study in STUDIES.items()}
"""Of the space of FairNAS, whose steps train six paths: its epochs are divided by them."""
