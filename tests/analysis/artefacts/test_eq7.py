"""What readings of Eq. 7 keep: on a truth whose operators add up, and on the benchmark."""

import numpy as np
import pandas as pd
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, make
from senas_bench.analysis.artefacts.eq7 import READINGS, importance_of, render_eq7
from senas_bench.groundtruth import Query, load_ground_truth
from senas_bench.spaces.nasbench201 import NB201, arch_to_str

QUERY = Query("cifar10", "test", 200, "mean")
WEIGHTS = 4.0 ** -np.arange(6)
"""What an edge counts for: the first four times as much as the second, and so on."""


@pytest.fixture(scope="module")
def whole(toy):
    """Accuracy is 50 plus the square of each operator's index times the weight of its edge, over all archs."""
    archs = [arch_to_str(arch) for arch in NB201]
    return toy.FakeTruth({QUERY: 50 + NB201.archs().astype(float) ** 2 @ WEIGHTS}, archs)


def row_of(table, reading, source="truth"):
    (row,) = [row for row in table.meta["rows"] if (row["reading"], row["source"]) == (reading, source)]
    return row


def test_importance_is_the_mean_of_the_archs_that_contain_an_operator():
    """Two archs are known of those that have operator 3 on the last edge, and one that has operator 0."""
    archs, performance = NB201.archs(), np.full(NB201.size, np.nan)
    performance[[3, 8, 5]] = 10.0, 20.0, 40.0  # the last digits in base 5: 3, 3, 0; of the edge before: 0, 1, 1
    found = importance_of(NB201, archs, performance)
    assert (found[5, 3], found[5, 0], found[4, 1], found[4, 0]) == (15.0, 40.0, 30.0, 10.0)
    assert found[5, 1] == -np.inf
    smaller = NB201.without(4, 1)
    assert importance_of(smaller, archs, performance)[5, 3] == 10.0


def test_where_operators_add_up_the_readings_keep_what_was_worked_out(whole):
    """SI of the five operators of an edge is a constant plus -6, -5, -2, 3, 10 times its weight.

    SI alone drops the first three operators of the first three edges and the first of the fourth; then, as the two left
    of an edge are at +-3.5 and the four at -6.5, -3.5, 1.5, 8.5: the worse of the first three, two, three and two. x /
    mean divides by the square of the weight: four of the first edge, of the second, and so on.
    """
    table = render_eq7([], None, whole, no_timing=True)
    assert {row["source"] for row in table.meta["rows"]} == {"truth"} and table.meta["seeds"] == []
    names = ("first_top_10_mean", "second_top_10_mean", "archs_mean", "space_best_mean")
    best = 50 + 16 * WEIGHTS.sum()
    assert [row_of(table, "SI alone")[name] for name in names] == [10, 7, 2 * 2 * 3, pytest.approx(best)]
    assert [row_of(table, "x / mean")[name] for name in names] == [8, 5, 5, pytest.approx(best)]
    mean = best - 16 * WEIGHTS[5] + 6 * WEIGHTS[5]
    assert row_of(table, "x / mean")["space_mean_mean"] == pytest.approx(mean)
    assert table.frame["n"].tolist() == ["–"] * 4


def test_the_benchmark_gives_the_ceilings_that_were_computed_beside_this_code(shared):
    """docs/method.md 2.1: kept of the top 10 and 21, of the top 10 after the second shrink, best arch left."""
    table = render_eq7([], None, load_ground_truth(shared / "nb201/nb201_accuracies.parquet"), no_timing=True)
    names = ("first_top_10_mean", "first_top_21_mean", "second_top_10_mean", "space_best_mean")
    found = {(row["source"], row["reading"]): [row[name] for name in names] for row in table.meta["rows"]}
    known = {
        "truth": [(8, 17, 7, 93.79), (6, 16, 6, 92.18), (10, 20, 8, 93.76), (10, 18, 9, 93.98)],
        "12 epochs": [(8, 17, 2, 93.61), (4, 15, 4, 91.98), (10, 20, 7, 94.37), (10, 19, 8, 94.37)],
    }
    for source, numbers in known.items():
        for reading, expected in zip(READINGS, numbers, strict=True):
            assert found[source, reading] == pytest.approx(expected, abs=0.006), (source, reading)
    quotient = row_of(table, "x / mean")
    assert (quotient["archs_mean"], quotient["space_mean_mean"]) == (9, pytest.approx(93.58, abs=0.005))
    assert quotient["fits_fig6"] and quotient["fits_table3"]
    assert (
        row_of(table, "minmax")["fits_table3"] is False and row_of(table, "x / mean", "12 epochs")["fits_fig6"] is False
    )


@pytest.mark.parametrize(
    ("query", "said", "fits"),
    [
        (Query("cifar100", "test", 200, "mean"), "71.91 ± 0.19 (cifar100 test)", True),
        (Query("cifar10", "test", 200, "mean"), "93.47 ± 0.14 (cifar10 test)", False),
        (Query("cifar100", "valtest", 200, "mean"), "the paper has no such column", None),
    ],
)
def test_the_papers_number_is_that_of_the_column(toy, query, said, fits):
    """All archs have 72.0: as good as the paper's pick on CIFAR-100, far below it on CIFAR-10."""
    table = render_eq7(
        [], None, toy.FakeTruth({query: np.full(NB201.size, 72.0)}, [*map(arch_to_str, NB201)]), no_timing=True
    )
    assert row_of(table, "x / mean")["fits_table3"] is fits
    assert any(said in note for note in table.notes)


def test_a_supernets_own_ranking_gives_si(toy, whole):
    """A run that ranks as the truth does keeps what the truth keeps; a sample knows the first shrink alone."""
    archs, accuracy = list(whole.arch_strs), whole.accuracy(QUERY)
    runs = toy.Runs()
    settings = {"settings": {"method": {"estimator": "snapshot-loglik"}}}
    runs.add("spos", 0, archs[0], toy.score_rows("full", archs, np.log(accuracy / 100)), **settings)
    runs.add("spos", 1, archs[0], toy.score_rows("full", archs, np.log(accuracy / 100)), **settings)
    early = toy.score_rows("sample", archs[::7], accuracy[::7], 20)
    runs.add("se-nas", 0, archs[0], pd.concat([early, toy.score_rows("current", archs[:9], np.ones(9))]))
    runs.add("fairnas", 0, archs[0])
    parts = {"estimator": {"kind": "Aggregate", "parts": ["snapshot-loglik", "synflow-bn"]}}  # logarithms too
    hybrid = {"settings": {"method": parts}}
    runs.add("spos+synflow-bn", 0, archs[0], toy.score_rows("full", archs, np.log(accuracy / 100)), **hybrid)
    table = render_eq7(runs.records, runs.scores, whole, no_timing=True)
    for reading in ("x / mean", "SI alone"):  # the others tie, and so go by the rounding of scores
        own, best = row_of(table, reading, "spos"), row_of(table, reading)
        assert own["n"] == 2 and [run["seed"] for run in own["per_seed"]] == [0, 1]
        for row in (own, row_of(table, reading, "spos+synflow-bn")):
            assert row["first_top_21_mean"] == best["first_top_21_mean"] and row["archs_mean"] == best["archs_mean"]
        sampled = row_of(table, reading, "se-nas")
        assert sampled["first_top_21_mean"] is not None and sampled["second_top_10_mean"] is None
    assert "No such ranking: fairnas." in table.notes
    assert table.meta["seeds"] == [0, 1]


def test_it_needs_no_runs_and_never_asks_for_any(tmp_path, shared):
    artefact = ARTEFACTS["eq7"]
    assert artefact.methods == () and {"spos", "se-nas", "fairnas"} <= set(artefact.also())
    assert not {"gdas", "params", "untrained", "stand-alone"} & set(artefact.also())
    table = make("eq7", tmp_path, shared / "nb201/nb201_accuracies.parquet")
    assert len(table.frame) == 8 and table.paper.empty
    assert artefact.of([]) == []
