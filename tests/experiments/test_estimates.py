"""What runs will take."""

from dataclasses import replace

import pytest

from senas_bench.experiments.estimates import core_seconds, known_costs, makespan
from senas_bench.experiments.settings import make_spec
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
