"""A criterion from outside, of docs/adding.md, and the method made of it."""

from dataclasses import replace

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.experiments.place import Place
from senas_bench.methods import METHODS
from senas_bench.progress import SilentProgress
from senas_bench.shrinking import CriterionOutput
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.training import loop


@pytest.fixture
def few(added, monkeypatch):
    method = METHODS["best-arch-shrink"]
    monkeypatch.setitem(METHODS, "best-arch-shrink", replace(method, criterion=added.BestArch(per_operator=2)))


@pytest.mark.slow
def test_a_method_made_of_it_shrinks(few, perform):
    """Of 30 operators the 10 with the lowest scores go, but for the last of an edge; of equal ones the first."""
    record, scores = perform("best-arch-shrink")
    (shrink,) = [line for line in record.history if "dropped" in line]
    assert len(shrink["dropped"]) == 10 and len(shrink["scores"]) == 30
    gone, left = [], dict.fromkeys(NB201.edges, 5)
    for name in sorted(shrink["scores"], key=shrink["scores"].__getitem__):
        edge = name.split(" ")[0]
        if len(gone) < 10 and left[edge] > 1:
            gone.append(name)
            left[edge] -= 1
    assert sorted(shrink["dropped"]) == sorted(gone)
    assert record.spec.settings["method"]["criterion"] == {
        "kind": "BestArch", "estimator": "weight-average", "per_operator": 2,
    }  # fmt: skip
    assert {"current", "sample"} <= set(scores["set"])


def test_it_stands_where_shrinking_is_shown(added):
    shown = [name for name, artefact in ARTEFACTS.items() if "best-arch-shrink" in artefact.methods]
    assert "fig6" in shown and "table3" in shown
    assert METHODS["best-arch-shrink"].shrinks_by == "best arch"
    assert METHODS["quick-shrink"].shrinks_by == "SelectionImportance"


@pytest.mark.slow
def test_it_takes_an_estimator_from_outside_too(added, perform, monkeypatch):
    criterion = added.BestArch(estimator=added.Quick(batches=2), per_operator=1)
    monkeypatch.setitem(METHODS, "both", replace(METHODS["best-arch-shrink"], criterion=criterion))
    record, _ = perform("both")
    nested = record.spec.settings["method"]["criterion"]["estimator"]
    assert nested == {"kind": "Quick", "batches": 2}


class Told(SilentProgress):
    """How many epochs of each phase were done when it began."""

    def __init__(self):
        self.done = {}

    def stage(self, name, total, done=0):
        self.done[name] = done


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda scores: CriterionOutput(dict(enumerate(scores.values()))), r"by \(edge, operator\), .* not by 0"),
        (lambda scores: scores, r"criterion BestArch gives a dict; give a CriterionOutput\(scores\), a score for each"),
        (lambda scores: CriterionOutput({(0, 0): 1.0}), r"no score for operators \(edge, op\): \[\(0, 1\), "),
    ],
)
def test_wrong_scores_are_one_sentence_and_no_training_is_lost(few, added, perform, monkeypatch, wrong, message):
    """They are known after the first stage only; the run goes on from there when the criterion is mended."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    progress, call = Told(), added.BestArch.__call__
    place = lambda work: Place(work, progress=progress)  # noqa: E731
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=message):
        patch.setattr(added.BestArch, "__call__", lambda self, *given: wrong(call(self, *given).scores))
        perform("best-arch-shrink", place=place)
    assert progress.done["stage-1"] == 0
    perform("best-arch-shrink", place=place)
    assert (progress.done["stage-1"], progress.done["stage-2"]) == (1, 0)
