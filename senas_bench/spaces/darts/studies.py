"""How the DARTS spaces are studied at each preset.

The sizes of `embedded` and `cpu` were chosen by what a laptop can afford; nothing was tuned on a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from senas_bench.spaces.darts.relaxed import full_recipes, small_recipes
from senas_bench.spaces.space import STOP_AT, Study


def _recipes(
    stages: tuple[int, ...], batch: int, retrain: int, retrain_batch: int, retrain_lr: float, amp: bool
) -> Mapping[str, Mapping[str, Any]]:
    """docs/method.md 3: DARTS's supernet settings with one cosine over all stages, and for retraining those of DARTS on
    CIFAR, scaled in length; without its cutout, drop path and auxiliary head, which only preset `paper` has."""
    supernet = {
        "stage_epochs": stages,
        "batch_size": batch,
        "lr": 0.025,
        "lr_min": 0.001,
        "lr_horizon": 0,
        "lr_restarts": False,
        "weight_decay": 3e-4,
        "nesterov": False,
        "amp": amp,
    }
    alone = {"stage_epochs": (retrain,), "batch_size": retrain_batch, "lr": retrain_lr, "lr_min": 0.0, "snapshots": 1}
    return {"reference": supernet, "tuned": supernet, "retrain": {**supernet, **alone, "lr_restarts": True}}


def _paper_recipes() -> Mapping[str, Mapping[str, Any]]:
    """docs/method.md 3 at full length, with what regularizes retraining on CIFAR; on ImageNet P-DARTS's setting. Other
    images may be too small for an auxiliary head.

    Of the range for drop path, .2 to .3, its lower end, DARTS's: our stack is narrower than those it was chosen for.
    """
    recipes = _recipes((200,) + (5,) * 5, 64, 600, 96, 0.025, True)
    imagenet = {
        "stage_epochs": (250,),
        "batch_size": 1024,
        "lr": 0.5,
        "lr_min": 0.0,
        "lr_horizon": 0,
        "nesterov": False,
        "weight_decay": 3e-5,
        "snapshots": 1,
        "amp": True,
        "schedule": "p-darts",
        "warmup_epochs": 5,
        "label_smoothing": 0.1,
        "colour_jitter": (0.4, 0.4, 0.4, 0.2),
        "auxiliary_weight": 0.4,
    }
    cifar = {**recipes["retrain"], "drop_path": 0.2, "auxiliary_weight": 0.4, "cutout": 16}
    return {
        **recipes,
        **full_recipes(amp=True),
        "retrain-cifar10": cifar,
        "retrain-cifar100": cifar,
        "retrain-imagenet": imagenet,
    }


EPOCHS = {"darts": 2, "gdas": 12, "snas": 2, "p-darts": 3, "fair-darts": 2, "pc-darts": 10}
"""Of the systems that learn logits, by recipe, at `embedded` and `cpu`: about as many multiply-adds each. P-DARTS,
whose stages have an epoch at least, takes 1.8 times as many, by which operators it keeps, and DARTS of second order
2.5 times."""
ARCH_LR = {"embedded": 0.1, "cpu": 0.01}
"""Rate of all logits, as in the MobileNet-like spaces: chosen by the number of steps alone. Adam moves a logit by about
its rate in a step. DARTS takes 20,000 steps of 0.0003 in its paper, and 20 or 350 here: at that rate its mixtures stay
even."""
STUDIES = {
    "embedded": Study(
        {"channels": 4, "rank_archs": 30, "score_images": 100, "score_batch": 100},
        {
            **_recipes((2, 1, 1), 64, 4, 64, 0.025, False),
            **small_recipes(EPOCHS, 64, 0.025),
        },
        {
            "drop": 30,
            "max_per_edge": 3,
            "per_operator": 2,
            "stop_at": STOP_AT,
            "search": "evolution",
            "evolution": {"population": 12, "generations": 4, "parents": 4},
            "arch_lr": ARCH_LR["embedded"],
        },
    ),
    "cpu": Study(
        {"channels": 4, "rank_archs": 50, "score_images": 500},
        {
            **_recipes((4, 1, 1), 128, 6, 96, 0.025, False),
            **small_recipes(EPOCHS, 128, 0.05),
        },
        {
            "drop": 30,
            "max_per_edge": 3,
            "per_operator": 4,
            "stop_at": STOP_AT,
            "search": "evolution",
            "evolution": {"population": 20, "generations": 5, "parents": 5},
            "arch_lr": ARCH_LR["cpu"],
        },
    ),
    "paper": Study(
        {"cells": 4, "rank_archs": 100},
        _paper_recipes(),
        {"drop": 10, "max_per_edge": 1, "per_operator": 100, "stop_at": STOP_AT, "search": "evolution"},
    ),
}
"""By preset."""
