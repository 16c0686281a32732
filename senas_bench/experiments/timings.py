"""What runs took, for `--dry-run`: core-seconds from the committed results. No torch here.

Medians over the seeds of `results/embedded`, `results/cpu-cifar10-short` (`cpu-cifar10` gave the same within a factor
of two): one thread on an AMD EPYC, most of them beside other work, so they are rather too high; what runs share
counts in each. What ran on a newer EPYC (Zen 4), the proxies of `results/cpu-proxies`, `enas`, `snas` to
`pcnas-pool`, the hybrids with `synflow-bn` and `se-nas-within-edge`, has 1.5 to 2 times its seconds there. A scored
image took as long as in the runs of `untrained`, and training took what was left. Searches in the MobileNet-like and
DARTS spaces have their seconds on the newer one, beside other work (`results/cpu-tables4-6`), as have those of
preset `paper`, in bfloat16, which that processor has instructions for (`results/paper-cifar10`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from senas_bench.experiments.spec import RunSpec

WHOLE_SPACE, SHARE = 7548, 0.76
"""Functions to evaluate for a ranking of all 15,625 archs, and per arch of a sample: equal ones are scored once."""


@dataclass(frozen=True)
class Timing:
    """Core-seconds of a method.

    Args:
        epoch: Per epoch of its recipe.
        function: Per function that a ranking evaluates.
        other: Whatever the epochs and the ranking: scoring operators and candidates, curves.
        retrain: Per epoch of training the pick from scratch.
    """

    epoch: float = 0.0
    function: float = 0.0
    other: float = 0.0
    retrain: float = 0.0


_UNTRAINED = dict.fromkeys(("random", "params", "flops", "random-search", "regularized-evolution"), Timing())
TIMINGS: dict[tuple[str, str], Mapping[str, Timing]] = {
    ("nasbench201", "embedded"): {
        **_UNTRAINED,
        "untrained": Timing(0.0, 0.008),
        "synflow": Timing(0.0, 0.011),
        "synflow-bn": Timing(0.0, 0.015),
        "az-nas": Timing(0.0, 0.045),
        "rsps": Timing(0.19, 0.008, 0.4),
        "darts-v1": Timing(0.4),
        "darts-v2": Timing(0.93),
        "gdas": Timing(0.19),
        "setn": Timing(0.22),
        "enas": Timing(0.17, 0.0, 0.4),
        "fairnas": Timing(0.67, 0.007),
        "spos": Timing(0.18, 0.008, 3.3),
        "spos+": Timing(0.14, 0.024, 3.7),
        "spos+synflow-bn": Timing(0.2, 0.04),
        "stand-alone": Timing(12.0),
        "random-shrink": Timing(0.29, 0.011, 0.7),
        "si-shrink": Timing(0.4, 0.008, 9.0),
        "magnitude-shrink": Timing(0.46, 0.007, 0.4),
        "angle-shrink": Timing(0.21, 0.009, 0.4),
        "se-nas": Timing(0.19, 0.008, 10.0),
        "se-nas+": Timing(0.3, 0.024, 21.0),
        "se-nas+synflow-bn": Timing(0.25, 0.04, 42.0),
    },
    ("nasbench201", "cpu"): {
        **_UNTRAINED,
        "untrained": Timing(0.0, 0.062),
        "synflow": Timing(0.0, 0.013),
        "synflow-bn": Timing(0.0, 0.017),
        "snip": Timing(0.0, 0.022),
        "grasp": Timing(0.0, 0.077),
        "fisher": Timing(0.0, 0.024),
        "grad-norm": Timing(0.0, 0.024),
        "jacob-cov": Timing(0.0, 0.02),
        "naswot": Timing(0.0, 0.047),
        "zen": Timing(0.0, 0.02),
        "zico": Timing(0.0, 0.05),
        "gradsign": Timing(0.0, 0.04),
        "swap": Timing(0.0, 0.032),
        "az-nas": Timing(0.0, 0.06),
        "te-nas": Timing(0.0, 0.06),
        "four-proxies": Timing(0.0, 0.09),
        "rsps": Timing(19.0, 0.062, 26.0),
        "darts-v1": Timing(86.0),
        "darts-v2": Timing(160.0),
        "gdas": Timing(27.0),
        "setn": Timing(110.0, 0.0, 20.0),
        "enas": Timing(12.0, 0.0, 30.0),
        "snas": Timing(32.0),
        "p-darts": Timing(45.0),
        "fair-darts": Timing(28.0),
        "pc-darts": Timing(48.0),
        "fbnet": Timing(28.0),
        "proxylessnas": Timing(6.5),
        "proxylessnas-r": Timing(6.5),
        "greedynas": Timing(41.0),
        "pcnas-pool": Timing(7.0, 0.0, 50.0),
        "fairnas": Timing(128.0, 0.062),
        "spos": Timing(23.0, 0.062, 118.0),
        "spos+": Timing(23.0, 0.062, 118.0),
        "spos+synflow-bn": Timing(9.0, 0.062, 20.0),
        "spos+four-proxies": Timing(23.0, 0.3, 100.0),
        "stand-alone": Timing(610.0),
        "random-shrink": Timing(14.0, 0.062, 4.0),
        "si-shrink": Timing(13.0, 0.062, 50.0),
        "magnitude-shrink": Timing(48.0, 0.062, 4.0),
        "angle-shrink": Timing(22.0, 0.062, 4.0),
        "se-nas": Timing(21.0, 0.062, 151.0),
        "se-nas-within-edge": Timing(9.0, 0.062, 60.0),
        "se-nas+": Timing(26.0, 0.062, 102.0),
        "se-nas+synflow-bn": Timing(9.0, 0.062, 190.0),
    },
    ("nasbench201", "paper"): {
        **_UNTRAINED,
        "synflow-bn": Timing(0.0, 0.12),
        "az-nas": Timing(0.0, 0.7),
        "four-proxies": Timing(0.0, 0.8),
        "spos": Timing(160.0, 1.1),
        "se-nas": Timing(140.0, 1.1, 2300.0),
    },
    ("mobilenet", "cpu"): {
        "fixed": Timing(retrain=49.0),
        "random": Timing(retrain=65.0),
        "spos": Timing(110.0, retrain=55.0),
        "si-shrink": Timing(90.0, retrain=52.0),
        "se-nas-shrink": Timing(110.0, retrain=58.0),
        "se-nas": Timing(95.0, retrain=50.0),
        "proxylessnas": Timing(57.0, retrain=80.0),
        "proxylessnas-r": Timing(52.0, retrain=36.0),
        "fbnet": Timing(450.0, retrain=28.0),
        "greedynas": Timing(50.0, retrain=37.0),
    },
    ("mobilenet-fair", "cpu"): {"fairnas": Timing(100.0, retrain=50.0)},
    ("mobilenet-g2", "cpu"): {
        "se-nas": Timing(134.0, retrain=100.0),
        "pcnas-pool": Timing(90.0, retrain=200.0),
    },
    ("darts-separate", "cpu"): {
        "fixed": Timing(retrain=60.0),
        "se-nas": Timing(60.0, retrain=52.0),
        "darts-v1": Timing(300.0, retrain=52.0),
        "darts-v2": Timing(600.0, retrain=42.0),
        "snas": Timing(300.0, retrain=36.0),
        "fair-darts": Timing(230.0, retrain=40.0),
        "gdas": Timing(40.0, retrain=45.0),
        "p-darts": Timing(450.0, retrain=70.0),
        "pc-darts": Timing(350.0, retrain=42.0),
    },
}
SIZES = {
    "embedded": {"resolution": 8, "channels": 8, "cells": 1, "score_images": 400, "bn_mode": "batch"},
    "cpu": {"resolution": 16, "cells": 1, "bn_mode": "batch"},
    "paper": {"resolution": 0, "cells": 5, "bn_mode": "batch"},
}
"""Sizes of the presets that were timed; of others nothing is known."""
SCORED = {"embedded": 400, "cpu": 1000, "paper": 1000}
"""Images that scored an arch there."""
IMAGES = {"embedded": ("digits",), "cpu": ("cifar10", "cifar100"), "paper": ("cifar10", "cifar100")}
"""Data sets of the size of the one that was timed."""
PRECISION = {"embedded": "float32", "cpu": "float32", "paper": "bfloat16"}
"""In which training was timed."""
SOURCES = {"embedded": "results/embedded", "cpu": "results/cpu-*", "paper": "results/paper-cifar10"}


def seconds_of(spec: RunSpec) -> float | None:
    """About how many core-seconds a run takes; None where nothing like it was timed: on a GPU, with several threads, at
    other sizes or precision, on other images."""
    timing = TIMINGS.get((spec.space, spec.preset), {}).get(spec.method)
    sizes = spec.settings["preset"]
    like = spec.device == "cpu" and spec.threads == 1 and spec.dataset in IMAGES.get(spec.preset, ())
    if timing is None or not like:
        return None
    trained = spec.settings.get("recipe", {})
    if (timing.epoch or timing.retrain) and trained.get("precision", "float32") != PRECISION[spec.preset]:
        return None
    if sizes.get("engine") == "torch":
        return None
    if any(sizes[name] != value for name, value in SIZES[spec.preset].items()):
        return None
    sample = sizes["rank_archs"]
    functions = min(SHARE * sample, WHOLE_SPACE) if sample else WHOLE_SPACE
    retrained = _epochs(spec.settings.get("retrain"))
    epochs = _epochs(spec.settings.get("recipe"))
    scored = timing.function * functions + timing.other
    if "recipe" in spec.settings:  # what has none, a proxy, looks at a batch of its own
        scored *= sizes["score_images"] / SCORED[spec.preset]
    return timing.epoch * epochs + scored + timing.retrain * retrained


def _epochs(recipe: Mapping[str, Any] | None) -> int:
    return sum(recipe["stage_epochs"]) if recipe else 0
