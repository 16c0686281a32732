"""The shipped ladder is what results/ says, and is shown beside the same archs and truth only."""

import json
from pathlib import Path

import pandas as pd
import pytest

from senas_bench.analysis.standing import FOLDERS, LADDER, QUERY, folder_rows, standing
from senas_bench.groundtruth import Query, load_ground_truth
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

from .conftest import FakeTruth

RESULTS = Path(__file__).parents[2] / "results"
SHIPPED = pd.read_csv(LADDER)


@pytest.fixture(scope="module")
def truth():
    return load_ground_truth()


@pytest.fixture(scope="module")
def whole():
    return [arch_to_str(arch) for arch in official_archs()]


def test_the_rows_of_the_embedded_study_are_those_of_its_table():
    """Same archs, same truth: `results/embedded/tables/ladder.json`, made by another path."""
    table = json.loads((RESULTS / "embedded/tables/ladder.json").read_text())
    rows = {row["method"]: row for row in table["rows"] if row["tau_mean"] is not None}
    shipped = SHIPPED[SHIPPED["folder"] == "embedded"].set_index("method")
    assert set(shipped.index) == set(rows)
    assert set(shipped["truth"]) == {table["ground_truth_sha256"][:16]} and set(shipped["n"]) == {table["archs"]}
    for method, row in shipped.iterrows():
        assert (row["seeds"], row["images"]) == (rows[method]["n"], table["images"])
        assert row["tau_mean"] == pytest.approx(rows[method]["tau_mean"], abs=1e-6)
        assert row["tau_std"] == pytest.approx(rows[method]["tau_std"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_it_is_made_again_from_the_runs(folder, truth):
    shipped = SHIPPED[SHIPPED["folder"] == folder].reset_index(drop=True)
    pd.testing.assert_frame_equal(folder_rows(RESULTS / folder, truth), shipped, atol=1e-6, check_dtype=False)


def test_the_whole_space_in_any_order_has_rows_best_first(truth, whole):
    found = standing(whole[::-1], truth, QUERY)
    assert found["reason"] is None and json.dumps(found, allow_nan=False)
    assert {row["n"] for row in found["rows"]} == {15625}
    taus = [row["tau_mean"] for row in found["rows"]]
    assert taus == sorted(taus, reverse=True) and len(taus) == (SHIPPED["n"] == 15625).sum() > 0
    assert all(row["tau_std"] is None for row in found["rows"] if row["seeds"] == 1)


@pytest.mark.parametrize("count", [15624, 500, 2])
def test_other_archs_are_not_shown(truth, whole, count):
    found = standing(whole[:count], truth, QUERY)
    assert found["rows"] == [] and f"these are {count:,} others" in found["reason"]


def test_another_truth_is_not_shown(truth, whole):
    other = FakeTruth({QUERY: truth.accuracy(QUERY, whole)}, whole)
    for table, query in ((other, QUERY), (truth, Query("cifar10", "test", 12, "mean"))):
        found = standing(whole, table, query)
        assert found["rows"] == [] and "the ladder's truth is cifar10 test accuracy" in found["reason"]
