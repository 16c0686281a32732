"""What searches cost in multiply-adds (docs/method.md 3.1): counted, expected of older records, or looked up."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from senas_bench.experiments.presets import Preset
from senas_bench.experiments.spec import RunRecord, canonical_json
from senas_bench.experiments.studies import skeleton_for
from senas_bench.groundtruth.archs import official_index
from senas_bench.spaces.cost import multiply_adds
from senas_bench.spaces.nasbench201 import NB201, SKELETONS, nasbench201_cost, official_archs

COUNTED, EXPECTED, LOOKED_UP = "counted", "expected", "looked up"
"""How a cost is known: by the run, from the paths of an older record, or of trainings in a benchmark."""
STEP = 3
"""Forward passes that a training step costs: its backward pass counts as two."""
TRAINING_IMAGES = {"cifar10-valid": 25_000, "cifar10": 50_000, "cifar100": 50_000, "imagenet16-120": 151_700}
"""Of the benchmark's models."""


def trainings_cost(arch_strs: Sequence[str], model: str, epochs: int) -> int:
    """Multiply-adds of training archs alone, as the benchmark did: epochs x its training images x 3 x FLOPs.

    Args:
        arch_strs: One that is there twice is paid twice.
        model: Key of `TRAINING_IMAGES`.
    """
    if not len(arch_strs):
        return 0
    skeleton = SKELETONS[model.removesuffix("-valid")]
    each = multiply_adds(nasbench201_cost(skeleton), archs_of(arch_strs))
    return epochs * TRAINING_IMAGES[model] * STEP * int(each.sum())


def archs_of(arch_strs: Sequence[str]) -> np.ndarray:
    """`(n, edges)` operators of arch strings, repeats allowed."""
    index = official_index()
    return _official()[[index[text] for text in arch_strs]]


@functools.cache
def _official() -> np.ndarray:
    return np.array(list(official_archs()))


def search_cost(record: RunRecord) -> dict[str, Any]:
    """What the search of a run cost.

    Returns:
        `multiply_adds` of what was done; `nominal`, had no two equal archs been scored once; `known`, one of `COUNTED`,
        `EXPECTED`, `LOOKED_UP`. None where the spec does not say how large the networks were.
    """
    if "truth" in record.spec.settings:
        bought = [line["arch"] for line in record.history if "accuracy_12ep" in line]
        cost = trainings_cost(bought, _model(record.spec.settings["truth"]), 12)
        return {"multiply_adds": cost, "nominal": cost, "known": LOOKED_UP}
    work = record.counters.get("search", {})
    if "multiply_adds" in work:
        return {"multiply_adds": work["multiply_adds"], "nominal": work["nominal_multiply_adds"], "known": COUNTED}
    if not work.get("forward_paths"):
        return {"multiply_adds": 0, "nominal": 0, "known": COUNTED}
    if "preset" not in record.spec.settings:
        return {"multiply_adds": None, "nominal": None, "known": None}
    return {"multiply_adds": _expected(record, work), "nominal": None, "known": EXPECTED}


def _model(truth: Mapping[str, Any]) -> str:
    """Whose validation accuracy a search from scratch looks up."""
    return "cifar10-valid" if truth["dataset"] == "cifar10" else truth["dataset"]


def _expected(record: RunRecord, work: Mapping[str, int]) -> int:
    """The mean cost of the archs of the space for each path: backward paths are steps on a batch, forward paths that
    neither train nor score are rewards on one, and what is scored is counted in images."""
    batch = record.spec.settings.get("recipe", {}).get("batch_size", 0)
    trained, scored = work.get("backward_paths", 0), work.get("archs_scored", 0)
    rewards = max(work["forward_paths"] - trained - scored, 0)
    images = batch * (STEP * trained + rewards) + work.get("images_scored", 0)
    return round(images * _mean_cost(canonical_json(record.spec.settings["preset"]), record.spec.dataset))


@functools.cache
def _mean_cost(preset: str, dataset: str) -> float:
    """Mean multiply-adds of a pass of an image over all archs, at the sizes of a run, which are JSON."""
    sizes = Preset.from_settings({"preset": json.loads(preset)}, None)
    cost = nasbench201_cost(skeleton_for("nasbench201", sizes, dataset))
    return float(multiply_adds(cost, NB201.archs()).mean())
