"""Several scores side by side; one alone is in artefacts/test_table3.py."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from senas_bench.analysis.evaluation import evaluate_ranking, evaluate_rankings, paired_difference
from senas_bench.groundtruth import Query

from .conftest import ARCHS, FakeTruth

QUERY = Query("cifar10", "test", 200, "mean")
TRUTH = FakeTruth({QUERY: np.arange(40.0) + 50})


def table(scores, first=0):
    return pd.DataFrame({"arch_str": ARCHS[first : first + len(scores)], "score": scores})


def noisy(seed, noise, n=40, first=0):
    scores = np.arange(first, first + n) + noise * np.random.default_rng(seed).standard_normal(n)
    return table(scores, first).sample(frac=1, random_state=seed)


def test_each_file_has_what_it_has_alone_and_each_two_a_pair():
    tables = {"x": noisy(0, 5), "y": noisy(1, 5), "z": noisy(2, 5)}
    found = evaluate_rankings(tables, TRUTH, QUERY, ks=(5,), n_resamples=20)
    assert json.loads(json.dumps(found, allow_nan=False)) and list(found["files"]) == ["x", "y", "z"]
    alone = tables["y"]
    assert found["files"]["y"].pop("standing")["rows"] == []
    assert found["files"]["y"] == evaluate_ranking(
        alone["arch_str"].tolist(), alone["score"].to_numpy(), TRUTH, QUERY, (5,), n_resamples=20
    )
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert evaluate_rankings({"x": tables["x"]}, TRUTH, QUERY, n_resamples=20)["pairs"] == []


def test_a_pair_is_judged_on_its_common_archs():
    """Tau by scipy on archs 10 to 29, whatever the order of the rows."""
    a, b = noisy(0, 10, 30), noisy(1, 2, 30, first=10)
    found = paired_difference(a, b, TRUTH, QUERY, n_resamples=200)
    common = ARCHS[10:30]
    of_a, of_b = (
        stats.kendalltau(side.set_index("arch_str")["score"][common], np.arange(20)).statistic for side in (a, b)
    )
    assert found["n"] == 20
    assert (found["tau_of_a"], found["tau_of_b"]) == (pytest.approx(of_a), pytest.approx(of_b))
    assert found["difference"] == pytest.approx(of_b - of_a)
    low, high = found["difference_ci95"]
    assert 0 < low < found["difference"] < high
    back = paired_difference(b, a, TRUTH, QUERY, n_resamples=200)
    assert back["difference"] == pytest.approx(-found["difference"])


def test_the_same_archs_are_drawn_for_both():
    """Equal rankings differ by nothing in every resample; unpaired ones would."""
    a = noisy(0, 10)
    assert paired_difference(a, a.assign(score=3 * a["score"]), TRUTH, QUERY)["difference_ci95"] == (0, 0)


def test_whole_scores_of_any_size_keep_their_order():
    large = table([2**60 + i for i in range(20)])
    assert paired_difference(large, large, TRUTH, QUERY, n_resamples=5)["tau_of_a"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("a", "b", "n", "defined"),
    [
        (table(range(5)), table(range(5), first=20), 0, ()),
        (table(range(5)), table(range(5), first=4), 1, ()),
        (table(range(9)), table(range(9)), 9, ("tau_of_a", "tau_of_b", "difference")),
        (table(range(20)), table([1.0] * 20), 20, ("tau_of_a",)),
    ],
)
def test_what_cannot_be_told_is_none(a, b, n, defined):
    found = paired_difference(a, b, TRUTH, QUERY, n_resamples=5)
    assert found.pop("n") == n
    assert {name for name, value in found.items() if value is not None} == set(defined)
