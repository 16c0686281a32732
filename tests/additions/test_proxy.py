"""A training-free proxy from outside, of docs/adding.md, ranks and picks."""

import numpy as np
import pytest

from senas_bench.ranking import ESTIMATORS
from senas_bench.ranking.training_free import TrainingFree


@pytest.mark.slow
def test_a_method_of_it_ranks(added, perform):
    record, scores = perform("slope")
    assert record.pick == scores.arch_str[0] and scores.score.nunique() > 1
    search = record.counters["search"]
    assert search["images_trained"] == 0 and search["images_scored"] == 16 * search["archs_scored"]
    assert search["backward_paths"] == search["forward_paths"] == search["archs_scored"]
    assert record.spec.settings["method"]["estimator"] == "slope"


def test_with_fields_it_has_another_id(added):
    assert ESTIMATORS["slope"] != TrainingFree(added.Slope(), draws=2)


def test_in_a_space_from_outside(added, perform):
    """Whose archs each stand for themselves."""
    record, scores = perform("slope", space="chain")
    assert len(scores) == record.counters["search"]["archs_scored"] == 12 and np.isfinite(scores.score).all()
