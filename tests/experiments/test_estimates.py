"""What runs will take."""

from dataclasses import replace

import pytest

from senas_bench.experiments.estimates import core_seconds, known_costs, makespan
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.timings import seconds_of


@pytest.mark.parametrize(
    ("begun", "waiting", "workers", "seconds"),
    [
        ([], [], 2, 0.0),
        ([3.0], [], 2, 3.0),
        ([], [4.0, 3.0, 2.0], 1, 9.0),
        ([], [4.0, 3.0, 2.0], 2, 5.0),  # 4 | 3, 2
        ([1.0, 6.0], [2.0, 2.0], 2, 6.0),  # 1, 2, 2 | 6
        ([5.0], [1.0, 1.0, 9.0], 2, 11.0),  # 5 | 1, 1, 9
    ],
)
def test_each_run_goes_to_the_first_free_worker(begun, waiting, workers, seconds):
    assert makespan(begun, waiting, workers) == seconds


def test_finished_runs_say_it_before_the_committed_timings():
    spec = make_spec("spos", 0, "embedded")
    assert core_seconds(spec, {}) == (seconds_of(spec), "by results/embedded")
    record = RunRecord(replace(spec, seed=5, threads=3), "", (), {}, None, {"wall_seconds": 7.0}, {})
    assert core_seconds(spec, known_costs([record])) == (21.0, "by 1 finished")
    assert core_seconds(replace(spec, device="cuda"), {}) == (None, "no run like it was timed")


def timed(spec, **seconds) -> RunRecord:
    return RunRecord(spec, "", (), {}, None, seconds, {})


def test_what_was_shared_or_done_before_counts():
    """A run that found its training done, or went on behind it, has little wall time: its phases say what it takes."""
    spec = make_spec("spos", 0, "embedded")
    known = known_costs([timed(spec, wall_seconds=1.4, search_seconds=300.0, report_seconds=20.0)])
    assert core_seconds(replace(spec, seed=1), known) == (320.0, "by 1 finished")


@pytest.mark.parametrize(("method", "least", "most"), [("untrained", 1.0, 1.0), ("spos", 0.05, 0.6)])
def test_a_trial_of_few_epochs_says_what_a_study_takes(method, least, most):
    """What trains nothing takes as long with any number of epochs; of the others the part that trains grows."""
    whole, trial = (make_spec(method, 0, "embedded", sizes=resized(PRESETS["embedded"], **given)) for given in
                    ({}, {"stage_epochs": (1, 1, 1)}))  # fmt: skip
    found, why = core_seconds(whole, known_costs([timed(trial, wall_seconds=100.0 * seconds_of(trial))]))
    assert (found, why) == (pytest.approx(100.0 * seconds_of(whole)), "by 1 finished")
    assert least <= seconds_of(trial) / seconds_of(whole) <= most


def test_where_nothing_was_timed_epochs_scale_what_trains():
    sizes = resized(PRESETS["paper"], stage_epochs=(2, 2, 2))
    trial, whole = (
        make_spec("spos", 0, "paper", sizes=own, data_dir=None, dataset="digits") for own in (sizes, PRESETS["paper"])
    )
    assert core_seconds(whole, known_costs([timed(trial, wall_seconds=5.0)])) == (50.0, "by 1 finished")


def test_the_official_split_scores_on_as_many_images_as_it_holds_out():
    """25,000 of CIFAR-10, not the 5,000 that the preset holds out itself."""
    sizes = resized(PRESETS["paper"], score_images=25_000, official_split=True)
    assert (sizes.held_out, sizes.score_images) == (0, 25_000)
    with pytest.raises(ValueError, match="at most 5000 that are held out"):
        resized(PRESETS["paper"], score_images=25_000)
