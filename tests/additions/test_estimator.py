"""An estimator from outside, of docs/adding.md, scores for whatever scores archs."""

from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.settings import make_spec
from senas_bench.methods import METHODS
from senas_bench.methods.spos import Spos
from senas_bench.proxies import PROXIES
from senas_bench.ranking import ESTIMATORS
from senas_bench.ranking.aggregate import Aggregate
from senas_bench.searching.evolution import Evolution

BATCH = 50


@pytest.fixture
def asked(added, monkeypatch):
    """By how many archs the toy was asked about, in order."""
    seen, own = [], added.Quick.__call__

    def asking(self, trained, archs, *rest):
        seen.append(len(archs))
        return own(self, trained, archs, *rest)

    monkeypatch.setattr(added.Quick, "__call__", asking)
    return seen


def images_per_arch(counts) -> float:
    return counts["images_scored"] / counts["archs_scored"]


def test_a_method_a_curve_and_the_record(asked, perform):
    """It scores the ranking and the curve, on one batch of the two; its work is that batch's."""
    record, scores = perform("spos-quick")
    assert asked == [12, 12]  # the curve's archs, then those of the report
    assert record.spec.settings["method"]["estimator"] == "quick"
    search, report = record.counters["search"], record.counters["report"]
    assert search["archs_scored"] and images_per_arch(search) == BATCH and images_per_arch(report) == BATCH
    assert set(scores["set"]) == {"sample", "curve"}


def test_what_a_name_stands_for_decides_the_id(added, monkeypatch):
    """Of one that was added, also inside of another; of one that was replaced; of a proxy. A shipped name is a name."""
    assert "named" not in make_spec("spos", 0, "embedded").settings
    first = make_spec("spos-quick", 0, "embedded")
    quick = {"kind": "Quick", "batches": ESTIMATORS["quick"].batches}
    assert first.settings["named"] == {"estimator quick": quick, "method": {"kind": "Spos"}}
    monkeypatch.setitem(ESTIMATORS, "quick", added.Quick(batches=7))
    changed = make_spec("spos-quick", 0, "embedded")
    assert changed.settings["named"]["estimator quick"]["batches"] == 7 and changed.run_id != first.run_id
    monkeypatch.setitem(METHODS, "both", Spos(estimator=Aggregate(("quick", "params"))))
    assert set(make_spec("both", 0, "embedded").settings["named"]) == {"estimator quick", "method"}
    shipped = make_spec("spos", 0, "embedded", estimator="naswot")
    monkeypatch.setitem(PROXIES, "naswot", replace(PROXIES["naswot"], dead=False))
    other = make_spec("spos", 0, "embedded", estimator="naswot")
    assert set(other.settings["named"]) == {"proxy naswot"} and other.run_id != shipped.run_id


@pytest.mark.slow
def test_nested_with_parameters_it_has_an_id_of_its_own(added, perform, monkeypatch):
    record, _ = perform("spos-two")
    assert images_per_arch(record.counters["search"]) == 2 * BATCH
    one, two = make_spec("spos-quick", 0, "embedded"), make_spec("spos-two", 0, "embedded")
    assert two.settings["method"]["estimator"] == {"kind": "Quick", "batches": 2}
    monkeypatch.setitem(METHODS, "spos-two", Spos(estimator=added.Quick(batches=3)))
    ids = {two.run_id, make_spec("spos-two", 0, "embedded").run_id, replace(one, method="spos-two").run_id}
    assert len(ids) == 3


@pytest.mark.slow
def test_evolution(asked, added, perform, monkeypatch):
    evolution = Evolution(population=4, parents=2, generations=1)
    monkeypatch.setitem(METHODS, "evolved", Spos(estimator="quick", search="evolution", evolution=evolution))
    record, scores = perform("evolved")
    assert len(asked) == 2 and images_per_arch(record.counters["search"]) == BATCH
    assert record.pick in set(scores[scores["set"] == "candidates"].arch_str)


@pytest.mark.slow
def test_a_criterion(asked, added, perform, monkeypatch):
    shrink = METHODS["quick-shrink"]
    monkeypatch.setitem(METHODS, "quick-shrink", replace(shrink, criterion=replace(shrink.criterion, per_operator=2)))
    record, _ = perform("quick-shrink")
    assert len(asked) == 3  # two rankings and the criterion between
    assert all(images_per_arch(record.counters[purpose]) == BATCH for purpose in ("search", "report"))


def test_rank_and_the_face(asked, tmp_path):
    import senas_bench as sb

    small = {"rank_archs": 8, "stage_epochs": (1,), "curve_points": 0, "executor": "serial"}
    scores = sb.rank("spos-quick", results=tmp_path, **small)
    assert len(scores) == 8 and asked == [8] and sb.ESTIMATORS["quick"] is ESTIMATORS["quick"]
    assert np.isfinite(scores.score).all()


def test_a_wrong_name_names_it(added, monkeypatch):
    monkeypatch.setitem(METHODS, "slow", Spos(estimator="quik"))
    with pytest.raises(ValueError, match=r"unknown estimator 'quik'; did you mean 'quick'\?"):
        make_spec("slow", 0, "embedded")


@pytest.mark.slow
def test_rank_takes_an_estimator_in_place_of_the_methods_own(added, call, tmp_path, monkeypatch, benchmark_table):
    """What is trained is the same; the run has an id of its own, and stands in no table."""
    from senas_bench.analysis.artefacts import make
    from senas_bench.experiments.store import RunStore

    monkeypatch.chdir(tmp_path)
    asked = ["rank", "--method", "spos", "--rank-archs", "8", "--stage-epochs", "1", "--curve-points", "0"]
    assert "8 archs scored by spos;" in call(*asked, "--out", "own.csv")
    assert "8 archs scored by spos with quick;" in call(*asked, "--estimator", "quick", "--out", "quick.csv")
    call(*asked, "--estimator", "weight-average", "--out", "same.csv")  # its own, by name: nothing is computed
    assert (tmp_path / "same.csv").read_bytes() == (tmp_path / "own.csv").read_bytes()
    records = {record.spec.settings.get("estimator"): record for record in RunStore(tmp_path / "runs").records()}
    assert records.keys() == {None, "quick"} and len({record.spec.run_id for record in records.values()}) == 2
    own, quick = (record.counters["search"] for record in (records[None], records["quick"]))
    assert quick["images_trained"] == own["images_trained"] and images_per_arch(quick) == images_per_arch(own) / 2
    table = make("table3", tmp_path / "runs", benchmark_table)
    assert table.frame["method"].tolist() == ["spos", "optimal"]


@pytest.mark.parametrize(
    ("method", "estimator", "message"),
    [
        ("rsps", "quick", r"method 'rsps' ranks by no estimator, so that none can take its place; one of: untrained, "),
        ("spos", "quik", r"unknown estimator 'quik'; did you mean 'quick'\?"),
    ],
)
def test_an_estimator_that_cannot_take_the_place(added, method, estimator, message):
    with pytest.raises(ValueError, match=message):
        make_spec(method, 0, "embedded", estimator=estimator)
