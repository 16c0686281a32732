"""Costs against published FLOPs and sums by hand."""

import pytest

from senas_bench.analysis.artefacts.ladder_costs import search_cost, trainings_cost
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

MEAN = 9 * 8 * 64 + (1152 + 2304 + 128) * 16 + (4608 + 9216 + 512) * 4 + 32 * 10 + 10 + 18 * 10 * 8 * 8 * 64 // 5
"""Of a pass of a digit at preset embedded: stem, two reductions, ten classes, and on each of 18 edges a fifth of a 1x1
and a 3x3 of 8 channels at 8x8, or what costs as much."""


def a_record(counters=None, history=(), **settings):
    spec = RunSpec("spos", 0, "embedded", "nasbench201", "digits", "d1", settings=settings)
    return RunRecord(spec, "", tuple(history), {"search": counters or {}}, None, {}, {})


def test_a_training_costs_epochs_times_images_times_three_passes():
    """The benchmark's FLOPs of index 11, in millions, as its authors print them."""
    arch = arch_to_str(official_archs()[11])
    assert trainings_cost([arch], "cifar10-valid", 12) == pytest.approx(12 * 25_000 * 3 * 113.95137e6, rel=1e-9)
    assert trainings_cost([arch], "cifar100", 200) == pytest.approx(200 * 50_000 * 3 * 113.95722e6, rel=1e-9)
    assert trainings_cost([arch], "imagenet16-120", 1) == pytest.approx(151_700 * 3 * 28.49548e6, rel=1e-9)
    assert trainings_cost([arch, arch], "cifar10", 1) == 2 * trainings_cost([arch], "cifar10", 1)
    assert trainings_cost([], "cifar10", 1) == 0


def test_what_a_run_counted_is_taken():
    found = search_cost(a_record({"forward_paths": 5, "multiply_adds": 10, "nominal_multiply_adds": 30}))
    assert found == {"multiply_adds": 10, "nominal": 30, "known": "counted"}
    assert search_cost(a_record({"forward_paths": 0})) == {"multiply_adds": 0, "nominal": 0, "known": "counted"}


def test_an_older_record_has_the_mean_cost_for_each_path():
    """100 steps on 64 images, 20 rewards on as many, and 30 archs scored on 400 images in all."""
    settings = PRESETS["embedded"].to_settings("reference")
    counters = {"forward_paths": 150, "backward_paths": 100, "archs_scored": 30, "images_scored": 400}
    found = search_cost(a_record(counters, **settings))
    assert found == {"multiply_adds": MEAN * (3 * 6400 + 20 * 64 + 400), "nominal": None, "known": "expected"}
    assert search_cost(a_record(counters))["known"] is None


def test_a_search_from_scratch_pays_every_training_it_looked_up():
    """Twice the same arch, as its ledger has it; the last line is a sum."""
    arch = arch_to_str(official_archs()[11])
    history = [{"arch": arch, "accuracy_12ep": 90.0, "spent_seconds": 1.0}] * 2 + [{"trainings": 2}]
    found = search_cost(a_record({}, history, truth={"dataset": "cifar10"}))
    assert found["known"] == "looked up" and found["nominal"] == found["multiply_adds"]
    assert found["multiply_adds"] == pytest.approx(2 * 12 * 25_000 * 3 * 113.95137e6, rel=1e-9)
