"""A criterion from outside, of CONTRIBUTING.md, and the method made of it."""

from dataclasses import replace

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.methods import METHODS


@pytest.fixture
def few(added, monkeypatch):
    method = METHODS["best-arch-shrink"]
    monkeypatch.setitem(METHODS, "best-arch-shrink", replace(method, criterion=added.BestArch(per_operator=2)))


def test_a_method_made_of_it_shrinks(few, perform):
    record, scores = perform("best-arch-shrink")
    (shrink,) = [line for line in record.history if "dropped" in line]
    kept = {name: score for name, score in shrink["scores"].items() if name not in shrink["dropped"]}
    assert len(shrink["dropped"]) == 10 and len(shrink["scores"]) == 30
    worst = sorted(shrink["scores"].values())[:5]
    assert max(worst) <= min(kept.values()) or set(worst) & {shrink["scores"][name] for name in shrink["dropped"]}
    assert record.spec.settings["method"]["criterion"] == {
        "kind": "BestArch", "estimator": "weight-average", "per_operator": 2,
    }  # fmt: skip
    assert {"current", "sample"} <= set(scores["set"])


def test_it_stands_where_shrinking_is_shown(added):
    shown = [name for name, artefact in ARTEFACTS.items() if "best-arch-shrink" in artefact.methods]
    assert "fig6" in shown and "table3" in shown
    assert METHODS["best-arch-shrink"].shrinks_by == "best arch"
    assert METHODS["quick-shrink"].shrinks_by == "SelectionImportance"


def test_it_takes_an_estimator_from_outside_too(added, perform, monkeypatch):
    criterion = added.BestArch(estimator=added.Quick(batches=2), per_operator=1)
    monkeypatch.setitem(METHODS, "both", replace(METHODS["best-arch-shrink"], criterion=criterion))
    record, _ = perform("both")
    nested = record.spec.settings["method"]["criterion"]["estimator"]
    assert nested == {"kind": "Quick", "batches": 2}
