import pytest

from senas_bench.analysis.artefacts.artefact import Search
from senas_bench.analysis.artefacts.trained_again import Noise, noise_of, noise_said
from senas_bench.analysis.metrics.variance import OneWay
from senas_bench.experiments.spec import RunRecord, RunSpec

SEARCH = Search("again", "fixed", "mobilenet", "latency", 22, archs=4)


def trained(arch: str, top1: float | None) -> RunRecord:
    """A run that trained an arch; None for one that did not."""
    history = () if top1 is None else ({"phase": "pick"}, {"phase": "retrain", "top1": top1})
    spec = RunSpec("fixed", 0, "cpu", "mobilenet", "cifar10", "d")
    return RunRecord(spec, arch, history, {}, None, {}, {})


def test_archs_with_two_trainings_are_compared():
    """Means 2 and 6, and each training 1 away from its mean; c has one training, d none that was trained."""
    records = [trained("a", 1), trained("b", 5), trained("a", 3), trained("b", 7), trained("c", 9), trained("d", None)]
    found = noise_of(SEARCH, records).found
    assert found is not None
    assert (found.groups, found.values, found.f) == (2, 4, 8)
    assert found.between == pytest.approx(7**0.5) and found.within == pytest.approx(2**0.5)
    assert noise_of(SEARCH, records[:2]) == Noise("mobilenet", "latency", 22, None)


@pytest.mark.parametrize(
    ("p", "low", "said"),
    [
        (0.01, 1.2, "Archs differ by more than trainings of one arch do."),
        (0.01, 0.9, "Archs differ; whether by more than trainings of one arch do is not told."),
        (0.2, 0.0, "So this table cannot tell the archs of that space apart, whichever row is ahead."),
    ],
)
def test_a_table_says_more_only_where_the_interval_does(p, low, said):
    noise = Noise("mobilenet", "latency", 22, OneWay(4, 12, 2.0, 1.0, 9.9, p, (low, 7.0)))
    text = noise_said(noise)
    assert text.startswith("4 random archs of mobilenet at 22 ms, 12 trainings from scratch")
    assert f"their ratio is {low:.1f} to 7.0, 90% interval" in text
    assert text.endswith(said)


def test_what_was_not_measured_is_said():
    assert "mobilenet at 22 ms differ by more than trainings of one arch was not measured" in noise_said(
        Noise("mobilenet", "latency", 22, None)
    )
