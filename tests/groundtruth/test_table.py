"""Tables: typed queries, lookups that refuse to guess, and files that are checked on the way in."""

import itertools
import json
import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.errors import DataError
from senas_bench.groundtruth import (
    GroundTruth,
    Query,
    benchmark_info,
    benchmark_query,
    check_same_protocol,
    load_ground_truth,
    load_parquet,
    table,
)
from senas_bench.groundtruth.table import official_index
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

TEST = Query("cifar10", "test", 200, "mean")
SEED = Query("cifar10", "test", 200, 777)
VAL = Query("cifar100", "val", 12, "mean")
ARCHS = tuple(arch_to_str(arch) for arch in official_archs()[:4])


def small(**changes):
    fields = {
        "name": "small",
        "arch_strs": ARCHS,
        "columns": {TEST: np.array([85.0, 93.0, 93.0, 10.0]), SEED: np.array([85.5, np.nan, 92.0, 10.0])},
    }
    return GroundTruth(**{**fields, **changes})


def write(path, columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_query_names_its_column_and_back():
    grid = itertools.product(("cifar10", "cifar100", "imagenet16-120"), ("val", "test"), (12, 200), ("mean", 0, 777))
    queries = [Query(*fields) for fields in grid]
    assert [Query.from_column(str(query)) for query in queries] == queries
    assert str(TEST) == "cifar10_test_acc_200ep"
    assert str(SEED) == "cifar10_test_acc_200ep_seed777"


@pytest.mark.parametrize(
    "fields, message",
    [
        (("cifar-100", "test", 200, "mean"), "did you mean 'cifar100'"),
        (("cifar10", "valid", 200, "mean"), "one of: val, test"),
        (("cifar10", "test", 90, "mean"), "one of: 12, 200"),
        (("cifar10", "test", "200", "mean"), "one of: 12, 200"),
        (("cifar10", "test", 200, "median"), "'mean' or one training seed"),
        (("cifar10", "test", 200, -1), "'mean' or one training seed"),
        (("cifar10", "test", 200, True), "'mean' or one training seed"),
    ],
)
def test_query_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        Query(*fields)


@pytest.mark.parametrize(
    "name",
    ["cifar10_test_acc_90ep", "svhn_test_acc_200ep", "cifar100_valtest_acc_200", "cifar10_test_acc_12ep_seed007"],
)
def test_a_malformed_accuracy_column_is_an_error(tmp_path, name):
    path = write(tmp_path / "t.parquet", {"arch_str": ARCHS, str(TEST): [1.0] * 4, name: [1.0] * 4})
    with pytest.raises(DataError, match=rf"t\.parquet: column '{name}' is not"):
        load_parquet(path)


def test_official_strings_are_those_of_the_space():
    assert list(official_index()) == [arch_to_str(arch) for arch in official_archs()]
    assert list(official_index().values()) == list(range(15_625))


def test_rows_come_in_official_order_with_their_values():
    shuffled = small(arch_strs=[ARCHS[i] for i in (2, 0, 3, 1)], columns={TEST: [2.0, 0.0, 3.0, 1.0]})
    assert shuffled.arch_strs == ARCHS
    assert shuffled.accuracy(TEST).tolist() == [0, 1, 2, 3]
    assert shuffled.sha256 == small(columns={TEST: np.arange(4.0)}).sha256
    assert shuffled.sha256 != small(columns={TEST: [0.0, 1.0, 2.0, 3.0000001]}).sha256
    assert shuffled.sha256 != small(columns={VAL: np.arange(4.0)}).sha256


def test_accuracy_joins_by_arch():
    truth = small()
    assert truth.accuracy(TEST, [ARCHS[3], ARCHS[0], ARCHS[3]]).tolist() == [10, 85, 10]
    assert truth.accuracy(TEST, []).shape == (0,)
    assert truth.has(SEED) and not truth.has(VAL)
    assert truth.queries() == [TEST, SEED]
    with pytest.raises(ValueError, match="read-only"):
        truth.accuracy(TEST)[0] = 0


def test_accuracy_refuses_to_guess():
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


def test_best_ignores_what_was_not_measured_and_breaks_ties_by_index():
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
def test_table_refuses(changes, message):
    with pytest.raises(ValueError) as error:
        small(**changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_columns_of_single_seeds_and_of_both_splits():
    assert Query.from_column("cifar100_valtest_acc_200_seed1") == Query("cifar100", "valtest", 200, 1)
    assert Query.from_column("cifar100_valtest_acc_200ep_seed1") == Query("cifar100", "valtest", 200, 1)
    assert str(Query("cifar100", "valtest", 12, "mean")) == "cifar100_valtest_acc_12ep"


def test_the_two_models_of_cifar10_have_their_names():
    on_test = Query.from_column("cifar10-valid_test_acc_200ep_seed777")
    assert (
        on_test == Query("cifar10-valid", "test", 200, 777) and str(on_test) == "cifar10-valid_test_acc_200ep_seed777"
    )
    assert on_test.model == Query("cifar10", "val", 12, "mean").model == "cifar10-valid"
    assert TEST.model == "cifar10" and VAL.model == "cifar100"
    with pytest.raises(ValueError, match="its validation accuracy is dataset cifar10, split val"):
        Query("cifar10-valid", "val", 200, "mean")
    with pytest.raises(ValueError, match=r"no split valtest: val is the cifar10-valid model.*of no model"):
        Query("cifar10", "valtest", 200, "mean")
    with pytest.raises(ValueError, match="split valtest"):
        Query.from_column("cifar10_valtest_acc_200ep")


@pytest.mark.parametrize(
    "first, second, message",
    [
        (("cifar10", "val", 200, "mean"), ("cifar10", "test", 200, "mean"), "trained on 25,000 images, and test"),
        (("cifar10-valid", "test", 200, 777), ("cifar10", "test", 200, 777), "trained on 25,000 images, and test"),
        (("cifar100", "val", 12, "mean"), ("cifar100", "val", 200, "mean"), "12 and 200 epochs are two trainings"),
        (("cifar100", "val", 200, 777), ("cifar100", "val", 200, "mean"), "one seed has the noise of one training"),
        (("cifar10", "val", 12, 777), ("cifar10", "test", 200, "mean"), "on cifar10, val.*12 and 200.*one seed"),
    ],
)
def test_protocols_are_not_mixed(first, second, message):
    first, second = Query(*first), Query(*second)
    for pair in ((first, second), (second, first), (first, first, second)):
        with pytest.raises(ValueError, match=message) as error:
            check_same_protocol(*pair)
        assert str(first) in str(error.value) and "must not be mixed" in str(error.value)


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


def test_what_may_be_compared():
    check_same_protocol()
    check_same_protocol(TEST, TEST)
    check_same_protocol(Query("cifar10", "val", 200, 777), Query("cifar10-valid", "test", 200, 888))
    check_same_protocol(Query("cifar100", "val", 12, "mean"), Query("imagenet16-120", "test", 12, "mean"))


@pytest.mark.parametrize(
    "fields, why",
    [
        (("cifar10", "test", 12, "mean"), "two trainings"),
        (("cifar10", "test", 200, 888), None),  # another seed is as good a seed
        (("cifar10", "val", 200, "mean"), "trained on 25,000 images"),
        (("cifar10-valid", "test", 200, "mean"), "trained on 25,000 images"),
    ],
)
def test_a_column_that_is_not_there_has_no_substitute(fields, why):
    with pytest.raises(ValueError, match=r"has no .*; it has: ") as error:
        small().accuracy(Query(*fields))
    assert why is None or why in str(error.value)


def with_costs(**changes):
    costs = {"cifar10-valid_train_s_per_epoch": [3.0, 4, 5, np.nan], "cifar10_edgetpu_latency": [1.0, -1, 2, 3]}
    return small(costs=costs | changes)


def test_costs_go_with_their_archs(tmp_path):
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
def test_costs_are_checked(costs, message):
    with pytest.raises(ValueError) as error:
        small(costs=costs)
    assert message in str(error.value)


def test_edited_added_and_removed_costs_are_noticed(tmp_path):
    path = tmp_path / "t.parquet"
    with_costs().save(path)
    content = pq.read_table(path)
    name = "cifar10_edgetpu_latency"
    place = content.column_names.index(name)
    for edited in (
        content.set_column(place, name, pa.array([1.0, None, 2.0, 4.0])),
        content.remove_column(place),
        content.append_column("cifar100_params", pa.array([1.0, 2, 3, 4])),
    ):
        pq.write_table(edited, path)
        with pytest.raises(DataError, match="differ from the hash"):
            load_parquet(path)


def test_a_joined_table_has_the_costs_of_both():
    other = GroundTruth(
        "b", ARCHS[:2], {VAL: [1.0, 2]}, costs={"cifar10_params": [7.0, 8], "cifar10_edgetpu_latency": [9.0, 9]}
    )
    costs = with_costs().joined(other).costs
    np.testing.assert_array_equal(costs["cifar10_params"], [7, 8, np.nan, np.nan])
    np.testing.assert_array_equal(costs["cifar10_edgetpu_latency"], [1, np.nan, 2, 3])


def test_a_file_that_an_earlier_version_wrote_still_loads(tmp_path):
    """Schema 1 as it was before costs: dictionaries, and no word of costs in the metadata."""
    truth = small(source={"file": "a.csv", "sha256": "0" * 64})
    about = {
        "columns": [str(TEST), str(SEED)],
        "name": "small",
        "schema": 1,
        "sha256": truth.sha256,
        "source": dict(truth.source),
    }
    columns = {"arch_index": pa.array([0, 1, 2, 3], pa.int32()), "arch_str": ARCHS}
    columns |= {str(query): pa.array(values) for query, values in truth.columns.items()}
    metadata = {"senas_bench": json.dumps(about, sort_keys=True)}
    pq.write_table(pa.table(columns, metadata=metadata), tmp_path / "t.parquet", compression="zstd")
    again = load_parquet(tmp_path / "t.parquet")
    assert (again.sha256, again.source, again.costs) == (truth.sha256, truth.source, {})
    assert truth.sha256 == "7a25040f712840fade14dac03e769a55c0d48e1f80124f412092296c77d6d1e1"


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


def test_saved_table_comes_back(tmp_path):
    truth = small(source={"file": "a.csv", "sha256": "0" * 64})
    truth.save(tmp_path / "new" / "t.parquet")
    again = load_ground_truth(tmp_path / "new" / "t.parquet")
    assert (again.name, again.arch_strs, again.source) == (truth.name, truth.arch_strs, truth.source)
    assert again.queries() == truth.queries() and again.sha256 == truth.sha256
    np.testing.assert_array_equal(again.columns[SEED], truth.columns[SEED])
    assert pq.read_table(tmp_path / "new" / "t.parquet")["arch_index"].to_pylist() == [0, 1, 2, 3]


def test_save_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    small().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("power cut")))
    with pytest.raises(OSError, match="power cut"):
        small(columns={VAL: [1.0] * 4}).save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]
    assert path.read_bytes() == before


def test_other_columns_types_and_gaps_are_read(tmp_path):
    columns = {
        "flops": ["x"] * 4,
        "arch_str": pa.array(ARCHS, pa.large_string()),
        str(TEST): pa.array([85, None, 93, 10], pa.int64()),
        str(VAL): pa.array([1.5, 2.5, 3.5, 4.5], pa.float32()),
    }
    truth = load_parquet(write(tmp_path / "mine.parquet", columns))
    assert truth.name == "mine" and truth.queries() == [TEST, VAL]
    np.testing.assert_array_equal(truth.columns[TEST], [85, np.nan, 93, 10])
    assert truth.accuracy(VAL).dtype == np.float64


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"arch": ARCHS, str(TEST): [1.0] * 4}, "no column 'arch_str'"),
        ({"arch_str": ARCHS, "flops": [1.0] * 4}, "no accuracies"),
        ({"arch_str": ARCHS, str(TEST): ["a"] * 4}, "holds string, not numbers"),
        ({"arch_str": [*ARCHS[:3], None], str(TEST): [1.0] * 4}, "None is missing"),
        (
            {"arch_str": ARCHS, "arch_index": [0, 1, 3, 2], str(TEST): [1.0] * 4},
            "2 rows is not official, first in row 2",
        ),
        ({"arch_str": ARCHS, str(TEST): [1.0, 2.0, 3.0, 400.0]}, "outside 0 to 100"),
    ],
)
def test_a_file_that_breaks_the_schema_is_a_data_error(tmp_path, columns, message):
    with pytest.raises(DataError, match=message) as error:
        load_parquet(write(tmp_path / "t.parquet", columns))
    assert "t.parquet" in str(error.value) and "\n" not in str(error.value)


def test_unreadable_files_are_data_errors(tmp_path):
    with pytest.raises(DataError, match="no ground-truth table at"):
        load_ground_truth(tmp_path / "absent.parquet")
    small().save(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    for damaged in (b"", b"arch_str,score\n", content[:-9], content[: len(content) // 2]):
        (tmp_path / "t.parquet").write_bytes(damaged)
        with pytest.raises(DataError, match="is not a readable Parquet file") as error:
            load_ground_truth(tmp_path / "t.parquet")
        assert "\n" not in str(error.value)
    with pytest.raises(DataError):
        load_ground_truth(tmp_path)


def test_an_edited_canonical_file_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    small().save(path)
    content = pq.read_table(path)
    edited = content.set_column(2, str(TEST), pa.array([85.0, 93.0, 93.0, 11.0]))
    pq.write_table(edited, path)
    with pytest.raises(DataError, match="differ from the hash"):
        load_parquet(path)
    newer = content.schema.metadata[table._METADATA].replace(b'"schema": 1', b'"schema": 2')
    pq.write_table(content.replace_schema_metadata({table._METADATA: newer}), path)
    with pytest.raises(DataError, match="not schema 1"):
        load_parquet(path)


def test_importing_and_loading_stay_cheap(tmp_path):
    """pandas alone takes 0.3 s to import, more than all the rest."""
    small().save(tmp_path / "t.parquet")
    code = f"""
import sys, pathlib, senas_bench.groundtruth as groundtruth
assert not {{"torch", "pandas", "pyarrow", "scipy"}} & set(sys.modules)
groundtruth.load_ground_truth(pathlib.Path({str(tmp_path / "t.parquet")!r}))
assert not {{"torch", "pandas", "pyarrow.compute"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_info_and_query_are_plain_values():
    info = benchmark_info(small())
    assert (info["archs"], info["full_space"], len(info["queries"])) == (4, False, 2)
    assert info["queries"][1] == {
        "column": "cifar10_test_acc_200ep_seed777",
        "dataset": "cifar10",
        "split": "test",
        "epochs": 200,
        "seeds": 777,
        "measured": 3,
        "best_arch": ARCHS[2],
        "best_index": 2,
        "best_accuracy": 92.0,
    }
    assert benchmark_info(small(columns={VAL: [np.nan] * 4}))["queries"][0]["best_index"] is None
    answer = {"arch_index": 1, "arch_str": ARCHS[1], "accuracy": {str(TEST): 93.0, str(SEED): None}}
    assert benchmark_query(small(), ARCHS[1]) == benchmark_query(small(), "1") == benchmark_query(small(), 1) == answer
    assert benchmark_query(small(), 1, seeds="mean")["accuracy"] == {str(TEST): 93.0}
    for arch, fields, message in (
        (15_625, {}, "0 to 15624"),
        ("-1", {}, "0 to 15624"),
        (9, {}, "no row for"),
        ("|conv~0|", {}, "bad arch string"),
        (1, {"dataset": "cifar100"}, "no column with dataset cifar100; it has: cifar10_test"),
        (1, {"epochs": 90}, "one of: 12, 200"),
    ):
        with pytest.raises(ValueError, match=message):
            benchmark_query(small(), arch, **fields)


def test_official_table(shared):
    truth = load_ground_truth(shared / "nb201" / "nb201_accuracies.parquet")
    assert len(truth.queries()) == 12 and len(truth.arch_strs) == 15_625
    for dataset, index, accuracy in (
        ("cifar10", 6111, 94.3733),
        ("cifar100", 9930, 73.5133),
        ("imagenet16-120", 857, 47.3111),
    ):
        arch, best = truth.best(Query(dataset, "test", 200, "mean"))
        assert (official_index()[arch], round(best, 4)) == (index, accuracy)
    assert truth.accuracy(TEST, [ARCHS[0]])[0] == pytest.approx((85.62 + 86.18 + 85.79) / 3)


def test_official_table_loads_and_joins_within_a_tenth_of_a_second(shared):
    seconds = []
    for _ in range(5):
        official_index.cache_clear()
        official_archs.cache_clear()
        start = time.process_time()
        truth = load_ground_truth(shared / "nb201" / "nb201_accuracies.parquet")
        truth.accuracy(TEST, truth.arch_strs[::-1])
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1


WHOLE = """
import sys, time
from pathlib import Path
from senas_bench.groundtruth import load_parquet

seconds = []
for _ in range(5):
    start = time.process_time()
    truth = load_parquet(Path(sys.argv[1]))
    seconds.append(time.process_time() - start)
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(min(seconds), int(line.split()[1]) / 1024, len(truth.arch_strs), len(truth.columns), len(truth.costs))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.slow
def test_the_whole_benchmark_with_every_seed_and_cost_is_light(tmp_path):
    """As an import of the official file with HW-NAS-Bench leaves it: 56 accuracies, 41 costs."""
    rng, names = np.random.default_rng(0), tuple(official_index())
    queries = [
        Query(dataset, split, epochs, seed)
        for dataset, split in (
            ("cifar10", "val"), ("cifar10", "test"), ("cifar10-valid", "test"),
            *((dataset, split) for dataset in ("cifar100", "imagenet16-120") for split in ("val", "test", "valtest")),
        )
        for epochs, seeds in ((12, ("mean", 111)), (200, ("mean", 777, 888, 999)))
        for seed in seeds
    ]  # fmt: skip
    queries += [Query(dataset, split, 12, 777) for dataset, split in (("cifar10", "val"), ("cifar10-valid", "test"))]
    costs = [f"cifar10_device{number}_latency" for number in range(41)]
    columns = {query: rng.uniform(0, 100, len(names)).round(2) for query in queries}
    truth = GroundTruth("whole", names, columns, {}, {cost: rng.uniform(1, 9, len(names)) for cost in costs})
    truth.save(tmp_path / "t.parquet")
    command = [sys.executable, "-c", WHOLE, str(tmp_path / "t.parquet")]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    seconds, megabytes, *shape = map(float, found.stdout.split())
    assert shape == [15_625, 56, 41]
    assert seconds < 0.1 and megabytes < 200
