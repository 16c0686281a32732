import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.experiments.spec import settings_of
from senas_bench.training.recipe import TrainingRecipe, learning_rate, snapshot_steps

REFERENCE = TrainingRecipe(lr=0.1, lr_min=0.004, lr_horizon=250)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0, 0.1),
        (125, 0.052),  # cos(pi / 2) = 0: halfway
        (250 / 3, 0.004 + 0.096 * 0.75),  # cos(pi / 3) = 1/2
        (500 / 3, 0.004 + 0.096 * 0.25),
        (250, 0.004),
        (300, 0.004),  # stays at the end of the cosine
        (20, 0.1 - 0.048 * (1 - 0.9685831611286311)),  # cos(0.08 pi): a stage of 20 epochs hardly decays
    ],
)
def test_cosine_over_the_horizon(progress, expected):
    assert learning_rate(REFERENCE, progress, epochs=20) == pytest.approx(expected, rel=1e-12)


def test_horizon_zero_is_the_length_of_the_stage():
    recipe = replace(REFERENCE, lr_horizon=0)
    rates = [learning_rate(recipe, progress, epochs=40) for progress in (0, 10, 20, 40)]
    assert rates == pytest.approx([0.1, 0.052 + 0.048 * math.sqrt(0.5), 0.052, 0.004])


SWING = replace(REFERENCE, lr=0.05, lr_min=0.0005, lr_horizon=10, swing=True)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0, 0.05),
        (5, 0.02525),  # halfway down
        (10, 0.0005),
        (15, 0.02525),  # and up again
        (20, 0.05),
        (40 / 3, 0.0005 + 0.0495 * 0.25),  # cos(4 pi / 3) = -1/2
        (30, 0.0005),
    ],
)
def test_swinging_cosine_goes_back_up(progress, expected):
    """ENAS: T_max = 10 epochs, whatever the length of the training."""
    assert learning_rate(SWING, progress, epochs=250) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("progress", [0, 3.3, 9.9, 10])
def test_up_to_its_horizon_a_swing_is_the_plain_cosine(progress):
    assert learning_rate(SWING, progress, 60) == learning_rate(replace(SWING, swing=False), progress, 60)


SWINGS = replace(REFERENCE, lr=0.05, lr_min=0.0005, lr_horizon=0, swings=25)


@pytest.mark.parametrize("epochs", [3, 15, 48, 60, 250])
def test_swings_are_as_many_in_every_length_and_end_at_the_lower_rate(epochs):
    """25 half periods, as in 250 epochs of which 10 are one."""
    shares = np.linspace(0, 1, 101)
    rates = [learning_rate(replace(SWINGS, stage_epochs=(epochs,)), epochs * share, epochs) for share in shares]
    assert rates == pytest.approx([learning_rate(SWING, 250 * share, 250) for share in shares], rel=1e-9)
    assert rates[-1] == pytest.approx(0.0005) and max(rates) == pytest.approx(0.05)


def test_equal_ends_are_a_constant_rate():
    recipe = replace(REFERENCE, lr=0.2, lr_min=0.2)
    assert [learning_rate(recipe, progress, epochs=3) for progress in (0, 1.7, 3)] == pytest.approx([0.2] * 3)


LINEAR = TrainingRecipe(lr=0.5, lr_min=0.0, lr_horizon=0, schedule="linear")


@pytest.mark.parametrize(
    ("change", "progress", "expected"),
    [
        ({}, 0, 0.5),
        ({}, 60, 0.375),  # docs/method.md 3: .5 (1 - t / T), T = 240
        ({}, 239.5, 0.5 / 480),
        ({}, 240, 0.0),
        ({}, 300, 0.0),
        ({"lr_min": 0.1}, 120, 0.3),
        ({"lr_horizon": 100}, 25, 0.375),
        ({"warmup_epochs": 5}, 0, 0.0),
        ({"warmup_epochs": 5}, 2, 0.2),
        ({"warmup_epochs": 5}, 5, 0.5),
        ({"warmup_epochs": 5}, 122.5, 0.25),  # halfway through the 235 epochs that are left
        ({"warmup_epochs": 5}, 240, 0.0),
        ({"warmup_epochs": 40, "schedule": "cosine"}, 20, 0.25),
        ({"warmup_epochs": 40, "schedule": "cosine"}, 140, 0.25),  # cos(pi / 2) = 0
        ({"warmup_epochs": 40, "schedule": "cosine", "lr_min": 0.1}, 240, 0.1),
    ],
)
def test_linear_schedule_and_warm_up(change, progress, expected):
    assert learning_rate(replace(LINEAR, **change), progress, epochs=240) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        ("linear", lambda t: 0.5 * (1 - t / 1100)),  # paper 4.3, e / T
        ("cosine", lambda t: 0.5 * (1 + math.cos(math.pi * t / 1100)) / 2),
    ],
)
def test_one_schedule_over_all_stages(schedule, reference):
    """Step by step: 100 epochs, then 5 and 5, of 10 steps each; T is their sum, whatever a stage trains."""
    recipe = replace(LINEAR, stage_epochs=(100, 5, 5), lr_restarts=False, schedule=schedule)
    rates = [
        learning_rate(recipe, epoch + step / 10, epochs, before)
        for before, epochs in ((0, 100), (100, 5), (105, 5))
        for epoch in range(epochs)
        for step in range(10)
    ]
    assert rates == pytest.approx([reference(t) for t in range(1100)], rel=1e-12)
    whole = [learning_rate(recipe, t / 10, 110) for t in range(1100)]  # SPOS, without a break
    assert whole == pytest.approx(rates, rel=1e-12)


def test_p_darts_rate_is_that_of_its_code():
    """`adjust_lr` and the warm-up of chenxin061/pdarts, train_imagenet.py, epoch by epoch."""

    def reference(epoch, epochs=250, learning_rate=0.5):
        if epochs - epoch > 5:
            lr = learning_rate * (epochs - 5 - epoch) / (epochs - 5)
        else:
            lr = learning_rate * (epochs - epoch) / ((epochs - 5) * 5)
        return lr * (epoch + 1) / 5.0 if epoch < 5 else lr

    recipe = replace(LINEAR, stage_epochs=(250,), schedule="p-darts", warmup_epochs=5)
    for epoch in range(250):
        assert learning_rate(recipe, epoch, 250) == pytest.approx(reference(epoch), rel=1e-12)
        assert learning_rate(recipe, epoch + 0.99, 250) == learning_rate(recipe, epoch, 250)  # whole epochs
    with pytest.raises(ValueError, match="needs more than 5 epochs, not 5, and ends at lr_min 0"):
        learning_rate(recipe, 0, 5)


def test_before_does_not_count_where_the_rate_restarts():
    assert learning_rate(LINEAR, 1, epochs=5, before=100) == learning_rate(LINEAR, 1, epochs=5)


def test_a_warm_up_as_long_as_the_schedule_is_refused():
    with pytest.raises(ValueError, match="warmup_epochs 5 must be fewer than the 5 of the schedule"):
        learning_rate(replace(LINEAR, warmup_epochs=5), 1, epochs=5)


def test_fields_that_came_later_are_no_settings_of_older_recipes():
    """The ids of finished runs hash these settings."""
    first = {
        "stage_epochs", "batch_size", "lr", "lr_min", "lr_horizon", "momentum", "nesterov", "weight_decay", "clip",
        "sampling", "snapshots", "snapshot_epochs", "amp",
    }  # fmt: skip
    assert settings_of(TrainingRecipe()).keys() == first
    later = {
        "schedule": "linear", "warmup_epochs": 5, "decay_norm_and_bias": False, "label_smoothing": 0.1,
        "accumulate": 4, "drop_path": 0.2, "auxiliary_weight": 0.4, "cutout": 16, "lr_restarts": False,
        "architecture_images": "valid", "dropout": 0.2, "colour_jitter": [0.4, 0.4, 0.4, 0.2], "lighting": 0.1,
        "precision": "bfloat16",
    }  # fmt: skip
    settings = settings_of(TrainingRecipe(**later))
    assert settings.keys() == first | later.keys()
    assert later.items() <= settings.items()
    assert settings_of(TrainingRecipe(lr_horizon=0, swings=25)).keys() == first | {"swings"}


@pytest.mark.parametrize(
    ("precision", "amp", "cpu", "cuda"),
    [
        ("", False, False, False),
        ("", True, False, True),  # as runs were before there was a choice
        ("float32", True, False, False),
        ("bfloat16", False, True, True),
    ],
)
def test_where_bfloat16_computes(precision, amp, cpu, cuda):
    recipe = TrainingRecipe(precision=precision, amp=amp)
    assert (recipe.half("cpu"), recipe.half("cuda")) == (cpu, cuda)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision 'float16'; one of: , float32, bfloat16"):
        TrainingRecipe(precision="float16")


@pytest.mark.parametrize(
    ("count", "span", "epochs", "steps", "expected"),
    [
        (10, 1, 20, 100, range(1910, 2001, 10)),  # docs/method.md 2.1: ten, evenly over the last epoch
        (10, 2, 20, 100, range(1820, 2001, 20)),
        (1, 1, 3, 5, [15]),
        (10, 1, 2, 4, [5, 6, 7, 8]),  # fewer steps than snapshots
        (4, 5, 2, 4, [2, 4, 6, 8]),  # fewer epochs than the span
        (3, 1, 1, 7, [2, 4, 7]),
        (5, 1, 0, 9, []),
    ],
)
def test_snapshot_steps(count, span, epochs, steps, expected):
    recipe = TrainingRecipe(snapshots=count, snapshot_epochs=span)
    assert snapshot_steps(recipe, epochs, steps) == set(expected)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 6), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_snapshots_are_evenly_spaced_and_end_with_the_stage(count, span, epochs, steps):
    taken = sorted(snapshot_steps(TrainingRecipe(snapshots=count, snapshot_epochs=span), epochs, steps))
    window = min(span, epochs) * steps
    start = epochs * steps - window
    assert len(taken) == min(count, window)
    assert taken[-1] == epochs * steps
    gaps = [after - before for before, after in zip([start, *taken], taken, strict=False)]
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="sampling 'both'; one of: tied, per_cell"):
        TrainingRecipe(sampling="both")
    for field in ("snapshots", "snapshot_epochs"):
        with pytest.raises(ValueError, match="at least 1"):
            TrainingRecipe(**{field: 0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "step"}, "schedule 'step'; one of: cosine, linear, p-darts"),
        ({"schedule": "linear", "swing": True}, "only the cosine swings"),
        ({"swings": 25}, "swings 25 must be odd, of a cosine over all epochs: set lr_horizon to 0"),
        ({"swings": 24, "lr_horizon": 0}, "swings 24 must be odd"),
        ({"swings": 25, "lr_horizon": 0, "schedule": "linear"}, "swings 25 must be odd, of a cosine"),
        ({"accumulate": 0}, "accumulate 0 must divide the batch_size, which is 256"),
        ({"accumulate": 3}, "accumulate 3 must divide the batch_size, which is 256"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0 must be at least 0 and below 1"),
        ({"drop_path": -0.1}, "drop_path -0.1 must be at least 0 and below 1"),
        ({"warmup_epochs": -1}, "warmup_epochs -1 must not be negative"),
        ({"auxiliary_weight": -0.4}, "auxiliary_weight -0.4 must not be negative"),
        ({"cutout": -1}, "cutout -1 must not be negative"),
        ({"lighting": -0.1}, "lighting -0.1 must not be negative"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
        ({"colour_jitter": [0.4]}, "needs brightness, contrast, saturation and hue"),
        ({"architecture_images": "test"}, "architecture_images 'test'; one of: half, valid"),
    ],
)
def test_bad_values_of_later_fields_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingRecipe(**change)
