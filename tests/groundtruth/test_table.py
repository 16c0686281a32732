"""Tables: lookups that refuse to guess, joins, costs, and files that come back."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from senas_bench.groundtruth import GroundTruth, Query, benchmark_info, benchmark_query, load_ground_truth, load_parquet
from senas_bench.groundtruth.archs import official_index
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

TEST = Query("cifar10", "test", 200, "mean")
SEED = Query("cifar10", "test", 200, 777)
VAL = Query("cifar100", "val", 12, "mean")
ARCHS = tuple(arch_to_str(arch) for arch in official_archs()[:4])


def test_rows_come_in_official_order_with_their_values(small):
    shuffled = small(arch_strs=[ARCHS[i] for i in (2, 0, 3, 1)], columns={TEST: [2.0, 0.0, 3.0, 1.0]})
    assert shuffled.arch_strs == ARCHS
    assert shuffled.accuracy(TEST).tolist() == [0, 1, 2, 3]
    assert shuffled.sha256 == small(columns={TEST: np.arange(4.0)}).sha256
    assert shuffled.sha256 != small(columns={TEST: [0.0, 1.0, 2.0, 3.0000001]}).sha256
    assert shuffled.sha256 != small(columns={VAL: np.arange(4.0)}).sha256


def test_one_nan_is_as_good_as_another(small):
    """They differ in their sign bit, which files of other programs may have set."""
    first, second = ([85.5, nan, 92.0, 10.0] for nan in (np.nan, -np.nan))
    assert np.array(first).tobytes() != np.array(second).tobytes()
    assert small(columns={SEED: first}).sha256 == small(columns={SEED: second}).sha256


def test_accuracy_joins_by_arch(small):
    truth = small()
    assert truth.accuracy(TEST, [ARCHS[3], ARCHS[0], ARCHS[3]]).tolist() == [10, 85, 10]
    assert truth.accuracy(TEST, []).shape == (0,)
    assert truth.has(SEED) and not truth.has(VAL)
    assert truth.queries() == [TEST, SEED]
    with pytest.raises(ValueError, match="read-only"):
        truth.accuracy(TEST)[0] = 0


def test_accuracy_refuses_to_guess(small):
    truth = small()
    with pytest.raises(ValueError, match="has no cifar100_val_acc_12ep; it has: cifar10_test_acc_200ep, cifar10_test_"):
        truth.accuracy(VAL)
    with pytest.raises(ValueError, match="table 'small' of 4 archs lacks 1 of 2 archs: no row for"):
        truth.accuracy(TEST, [ARCHS[0], arch_to_str(official_archs()[9])])
    with pytest.raises(ValueError, match="unknown operator 'conv'"):
        truth.accuracy(TEST, [ARCHS[0].replace("avg_pool_3x3", "conv")])
    with pytest.raises(ValueError, match="1 of 4 archs have no cifar10_test_acc_200ep_seed777"):
        truth.accuracy(SEED)
    assert truth.accuracy(SEED, [ARCHS[0], ARCHS[2]]).tolist() == [85.5, 92]


def test_best_ignores_what_was_not_measured_and_breaks_ties_by_index(small):
    assert small().best(TEST) == (ARCHS[1], 93.0)
    assert small().best(SEED) == (ARCHS[2], 92.0)
    with pytest.raises(ValueError, match="none of 4 archs"):
        small(columns={VAL: [np.nan] * 4}).best(VAL)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"arch_strs": (*ARCHS[:3], ARCHS[0])}, "1 duplicate arch strings, first '|avg_pool_3x3~0|"),
        ({"arch_strs": (*ARCHS[:3], "|none~0|")}, "1 nodes where 3 are needed"),
        ({"arch_strs": (*ARCHS[:3], f" {ARCHS[3]}")}, "must be written '|"),
        ({"arch_strs": (*ARCHS[:3], None)}, "None is missing"),
        ({"columns": {TEST: [1, 2, 3, 100.5]}}, "1 values outside 0 to 100 percent, first 100.5"),
        ({"columns": {TEST: [1, 2, -1, np.inf]}}, "2 values outside"),
        ({"columns": {TEST: [1, 2, 3]}}, r"shape (3,) for 4 archs"),
        ({"columns": {}}, "no accuracies"),
        ({"arch_strs": (), "columns": {TEST: []}}, "no accuracies"),
    ],
)
def test_table_refuses(changes, message, small):
    with pytest.raises(ValueError) as error:
        small(**changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_columns_that_are_compared_keep_to_one_protocol():
    one, other, mean = (Query("cifar100", "val", 200, seeds) for seeds in (777, 888, "mean"))
    archs = [arch_to_str(arch) for arch in official_archs()[:4]]
    columns = {one: [1.0, np.nan, 3.0, 4.0], other: [5.0, 6.0, np.nan, 8.0], mean: [9.0] * 4}
    truth = GroundTruth("made up", tuple(archs), {query: np.array(values) for query, values in columns.items()})
    assert truth.comparable(one, other).tolist() == [[1.0, 4.0], [5.0, 8.0]]
    with pytest.raises(ValueError, match="one seed has the noise of one training"):
        truth.comparable(one, mean)
    with pytest.raises(ValueError, match=r"made up.* has no cifar100_val_acc_200ep_seed999"):
        truth.comparable(one, Query("cifar100", "val", 200, 999))


@pytest.mark.parametrize(
    "fields, why",
    [
        (("cifar10", "test", 12, "mean"), "two trainings"),
        (("cifar10", "test", 200, 888), None),  # another seed is as good a seed
        (("cifar10", "val", 200, "mean"), "trained on 25,000 images"),
        (("cifar10-valid", "test", 200, "mean"), "trained on 25,000 images"),
    ],
)
def test_a_column_that_is_not_there_has_no_substitute(fields, why, small):
    with pytest.raises(ValueError, match=r"has no .*; it has: ") as error:
        small().accuracy(Query(*fields))
    assert why is None or why in str(error.value)


def test_costs_go_with_their_archs(tmp_path, small, with_costs):
    backwards = small(arch_strs=ARCHS[::-1], columns={TEST: [10.0, 93, 93, 85]}, costs={"cifar10_params": [4, 3, 2, 1]})
    assert backwards.costs["cifar10_params"].tolist() == [1, 2, 3, 4]
    truth = with_costs()
    np.testing.assert_array_equal(truth.costs["cifar10_edgetpu_latency"], [1, np.nan, 2, 3])
    assert truth.sha256 == small().sha256  # runs name a table by its accuracies
    truth.save(tmp_path / "t.parquet")
    again = load_parquet(tmp_path / "t.parquet")
    assert again.costs_sha256 == truth.costs_sha256 != small().costs_sha256
    for name, values in truth.costs.items():
        np.testing.assert_array_equal(again.costs[name], values)
    with pytest.raises(ValueError, match="read-only"):
        again.costs["cifar10_edgetpu_latency"][0] = 0
    info = benchmark_info(again)
    assert info["costs"] == {"cifar10-valid_train_s_per_epoch": 3, "cifar10_edgetpu_latency": 3}
    answer = benchmark_query(again, 1, dataset="cifar10")
    assert answer["costs"] == {"cifar10-valid_train_s_per_epoch": 4.0, "cifar10_edgetpu_latency": None}


@pytest.mark.parametrize(
    "costs, message",
    [
        ({"cifar10_size": [1] * 4}, "cost column 'cifar10_size' is not one of the schema"),
        ({"cifar10_params": [1] * 3}, r"shape (3,) for 4 archs"),
        ({"cifar10_params": [1, 2, -5, np.inf]}, "cifar10_params: 2 values that are no cost, first -5"),
    ],
)
def test_costs_are_checked(costs, message, small):
    with pytest.raises(ValueError) as error:
        small(costs=costs)
    assert message in str(error.value)


def test_a_joined_table_has_the_costs_of_both(with_costs):
    other = GroundTruth(
        "b", ARCHS[:2], {VAL: [1.0, 2]}, costs={"cifar10_params": [7.0, 8], "cifar10_edgetpu_latency": [9.0, 9]}
    )
    costs = with_costs().joined(other).costs
    np.testing.assert_array_equal(costs["cifar10_params"], [7, 8, np.nan, np.nan])
    np.testing.assert_array_equal(costs["cifar10_edgetpu_latency"], [1, np.nan, 2, 3])


def test_tables_are_joined_by_arch():
    names = list(official_index())[:3]
    mean, seed = Query("cifar10", "val", 200, "mean"), Query("cifar10", "val", 200, 1)
    first = GroundTruth("a", tuple(names), {mean: np.array([1.0, 2, 3])})
    second = GroundTruth("b", (names[2], names[0]), {seed: np.array([30.0, 10])})
    joined = first.joined(second)
    assert (joined.name, joined.arch_strs, joined.queries()) == ("a and b", tuple(names), [mean, seed])
    assert joined.columns[mean].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(joined.columns[seed], [10, np.nan, 30])
    with pytest.raises(ValueError, match="tables 'a' and 'a' both have cifar10_val_acc_200ep; give it in one"):
        first.joined(first)


def test_saved_table_comes_back(tmp_path, small):
    truth = small(source={"file": "a.csv", "sha256": "0" * 64})
    truth.save(tmp_path / "new" / "t.parquet")
    again = load_ground_truth(tmp_path / "new" / "t.parquet")
    assert (again.name, again.arch_strs, again.source) == (truth.name, truth.arch_strs, truth.source)
    assert again.queries() == truth.queries() and again.sha256 == truth.sha256
    np.testing.assert_array_equal(again.columns[SEED], truth.columns[SEED])
    assert pq.read_table(tmp_path / "new" / "t.parquet")["arch_index"].to_pylist() == [0, 1, 2, 3]


def test_save_is_all_or_nothing(tmp_path, monkeypatch, small):
    path = tmp_path / "t.parquet"
    small().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("power cut")))
    with pytest.raises(OSError, match="power cut"):
        small(columns={VAL: [1.0] * 4}).save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]
    assert path.read_bytes() == before
