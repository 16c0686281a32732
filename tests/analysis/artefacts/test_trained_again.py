import pytest

from senas_bench.analysis.artefacts.artefact import Search
from senas_bench.analysis.artefacts.trained_again import Noise, noise_of, noise_said
from senas_bench.analysis.metrics.statistics import OneWay
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
    ("between", "within", "p", "tells"),
    [(2.0, 1.0, 0.01, True), (2.0, 1.0, 0.2, False), (1.0, 2.0, 0.01, False)],
)
def test_archs_are_told_apart_where_they_differ_by_more_and_not_by_chance(between, within, p, tells):
    noise = Noise("mobilenet", "latency", 22, OneWay(4, 12, between, within, 9.9, p))
    assert noise.tells is tells
    text = noise_said(noise)
    assert text.startswith("4 random archs of mobilenet at 22 ms, 12 trainings from scratch")
    assert ("Archs differ by more than seeds do." in text) is tells
    assert ("cannot tell the archs of that space apart" in text) is not tells


def test_what_was_not_measured_is_said():
    assert Noise("mobilenet", "latency", 22, None).tells is None
    assert "mobilenet at 22 ms differ by more than trainings of one arch was not measured" in noise_said(
        Noise("mobilenet", "latency", 22, None)
    )
