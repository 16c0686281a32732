import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from senas_bench.analysis.evaluation import evaluate_rankings
from senas_bench.analysis.output.ranking import figure, text
from senas_bench.groundtruth import Query
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

ARCHS = [arch_to_str(arch) for arch in official_archs()[:40]]
QUERY = Query("cifar10", "test", 200, "mean")


class Truth:
    """Arch i has accuracy 50 + i."""

    name, sha256 = "toy", "ab" * 32

    def accuracy(self, query, archs):
        return np.array([50.0 + ARCHS.index(arch) for arch in archs])

    def best(self, query):
        return ARCHS[39], 89.0


def table(scores):
    return pd.DataFrame({"arch_str": ARCHS[: len(scores)], "score": scores})


def shown(**tables):
    return text(evaluate_rankings(tables, Truth(), QUERY, ks=(5, 100), n_resamples=50)).splitlines()


def test_numbers_are_rounded_and_say_what_they_mean():
    lines = shown(mine=table(np.arange(30.0)))
    assert lines[:2] == [
        "mine: 30 archs",
        "truth: cifar10 test accuracy after 200 epochs, mean over training seeds (toy)",
    ]
    rows = {line[:17].strip(): line[18:].split() for line in lines[2:] if line.startswith("  ")}
    assert rows["tau"][:4] == ["1.000", "[1.000,", "1.000]", "Kendall's"]
    assert rows["tau top 10%"][0] == rows["precision@100"][0] == rows["best rank@100"][0] == "–"
    assert (rows["precision@5"][0], rows["best rank@5"][0]) == ("1.00", "1")
    assert rows["pick"][:2] == ["79.00%", ARCHS[29]]
    assert (rows["regret"][0], rows[""][0]) == ("0.00", "10.00")
    assert lines[-2].startswith("note: intervals: bootstrap over archs")
    assert lines[-1].startswith("not shown beside the methods of results/: the ladder's truth is cifar10 test")


def test_ties_at_the_top_are_said():
    assert any("the first of 12 with the highest score" in line for line in shown(mine=table([1.0] * 12)))


def test_scores_stand_between_the_methods_of_the_ladder():
    found = evaluate_rankings({"mine": table(np.arange(30.0))}, Truth(), QUERY, n_resamples=20)
    row = {"folder": "f", "images": "digits", "seeds": 3, "tau_std": 0.1}
    rows = [row | {"tau_mean": 0.9, "method": "over"}, row | {"tau_mean": 0.4, "method": "under", "tau_std": None}]
    found["files"]["mine"] |= {"tau_b": 0.8, "tau_b_ci95": (0.7, 0.95), "standing": {"rows": rows, "reason": None}}
    assert text(found).splitlines()[-4:-1] == [
        "   0.900 ± 0.100 ~ over (f, digits, 3 seeds)",
        "   0.800         > these scores",
        "   0.400           under (f, digits, 3 seeds)",
    ]
    found["files"]["mine"]["tau_b"] = 0.1
    assert text(found).splitlines()[-2] == "   0.100         > these scores"


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (-np.arange(30), np.arange(30), "n = 30: +2.000 (A -1.000, B 1.000) [+2.000, +2.000]: B ranks better"),
        (np.arange(30), -np.arange(30), "A ranks better"),
        (np.arange(30), np.arange(30), "+0.000 (A 1.000, B 1.000) [+0.000, +0.000]: not told apart"),
        (np.arange(9), np.arange(9), "too few archs for an interval"),
        (np.arange(30), np.ones(30), "no defined difference; scores or truth are constant there"),
    ],
)
def test_a_pair_says_who_ranks_better(a, b, words):
    assert words in shown(x=table(a), y=table(b))[-1]


def test_archs_that_no_other_file_has():
    other = pd.DataFrame({"arch_str": ARCHS[20:], "score": range(20)})
    assert "fewer than 2 archs are in both" in shown(x=table(range(20)), y=other)[-1]


def panels(*tables) -> list[Axes]:
    return figure({f"folder/{i}.csv": table for i, table in enumerate(tables)}, Truth(), QUERY).axes


def test_ranks_are_drawn_with_the_best_first_and_ties_in_the_middle():
    (ax,) = panels(table([3.0, 7.0, 7.0, 1.0]))
    points = ax.collections[0].get_offsets()
    assert np.asarray(points).tolist() == [[3, 4], [1.5, 3], [1.5, 2], [4, 1]]
    assert ax.get_title() == "0.csv" and "n = 4, tau -0.183" in ax.get_xlabel()
    assert ax.get_xlim()[0] > ax.get_xlim()[1] and ax.get_ylim()[0] > ax.get_ylim()[1]


def test_a_panel_per_file_and_large_scores():
    first, second = panels(table([2**60, 2**60 + 1]), table([1.0, 1.0]))
    assert np.asarray(first.collections[0].get_offsets()).tolist() == [[2, 2], [1, 1]]
    assert "tau –" in second.get_xlabel()
