"""What `--dry-run` knows of the cost of runs, against the records that it was taken from."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.studies import preset_of
from senas_bench.experiments.timings import TIMINGS, seconds_of

RESULTS = Path(__file__).parents[2] / "results"
FOLDERS = ("embedded", "cpu-cifar10", "cpu-cifar10-short", "cpu-tables4-6", "paper-cifar10")


def committed(folder: str) -> dict[tuple[str, str], list[RunRecord]]:
    records = defaultdict(list)
    for path in sorted((RESULTS / folder / "runs").glob("*.json")):
        record = RunRecord.from_json(path.read_text())
        records[record.spec.space, record.spec.method].append(record)
    return records


def alone(record: RunRecord) -> float:
    """Seconds of a run, with what it shared with others: that is counted in its parts, and not in its wall time."""
    timing = record.timing
    parts = ("search_seconds", "report_seconds", "retrain_seconds")
    return max(timing["wall_seconds"], sum(timing.get(part, 0.0) for part in parts))


@pytest.mark.parametrize("folder", FOLDERS)
def test_estimates_are_those_of_the_committed_runs_within_a_factor_of_two(folder):
    found = committed(folder)
    assert found
    for method, records in found.items():
        took, estimate = median(map(alone, records)), seconds_of(records[0].spec)
        assert estimate is not None, method
        assert took < 1 > estimate or took / 2 < estimate < 2 * took, (method, took, estimate)


def test_more_epochs_and_archs_cost_more():
    sizes = preset_of("nasbench201", "embedded")
    few, more = (resized(sizes, stage_epochs=(n, n, n), rank_archs=archs) for n, archs in ((1, 100), (100, 0)))
    cheap, dear = (seconds_of(make_spec("spos", 0, "embedded", sizes=own)) for own in (few, more))
    timing = TIMINGS["nasbench201", "embedded"]["spos"]
    assert cheap == pytest.approx(3 * timing.epoch + 76 * timing.function + timing.other)
    assert dear == pytest.approx(300 * timing.epoch + 7548 * timing.function + timing.other)


def test_the_papers_size_was_timed_in_bfloat16():
    sizes = preset_of("nasbench201", "paper")
    specs = [
        make_spec("spos", 0, "paper", dataset="digits", sizes=resized(sizes, precision=precision))
        for precision in (None, "float32", "bfloat16")
    ]
    timing = TIMINGS["nasbench201", "paper"]["spos"]
    specs = [replace(spec, dataset="cifar10") for spec in specs]
    assert [seconds_of(spec) for spec in specs[:2]] == [None, None]
    assert seconds_of(specs[2]) == pytest.approx(60 * timing.epoch + 5 * 7548 * timing.function)


@pytest.mark.parametrize(
    "change",
    [{"device": "cuda"}, {"threads": 2}, {"dataset": "imagenet16-120"}, {"preset": "paper"}, {"method": "pcnas"}],
)
def test_of_what_was_not_timed_nothing_is_known(change):
    assert seconds_of(replace(make_spec("spos", 0, "embedded"), **change)) is None


def test_other_sizes_were_not_timed():
    assert (
        seconds_of(make_spec("spos", 0, "embedded", sizes=replace(preset_of("nasbench201", "embedded"), cells=5)))
        is None
    )


def at_cpu(method: str, **given) -> RunSpec:
    sizes = resized(preset_of("nasbench201", "cpu"), **given)
    return replace(make_spec(method, 0, "cpu", dataset="digits", sizes=sizes), dataset="cifar10")


def test_more_images_take_longer_to_score_and_another_engine_was_not_timed():
    assert seconds_of(at_cpu("untrained", score_images=5000)) == pytest.approx(5 * seconds_of(at_cpu("untrained")))
    assert seconds_of(at_cpu("untrained", engine="torch")) is None


def test_a_proxy_looks_at_images_of_its_own():
    assert seconds_of(at_cpu("synflow", score_images=5000)) == seconds_of(at_cpu("synflow"))
