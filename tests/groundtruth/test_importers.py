"""Importers: the wheel's arch codes are proven from its values, and no pickle runs code."""

import itertools
import os
import pickle
import re
import shutil
import sys
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from scipy.stats import kendalltau

from senas_bench.errors import DataError
from senas_bench.groundtruth import (
    GroundTruth,
    Query,
    benchmark_verify,
    import_table,
    importers,
    load_ground_truth,
    unpickle,
)
from senas_bench.groundtruth.archs import official_index
from senas_bench.groundtruth.trainer import load_trainer
from senas_bench.spaces.nasbench201 import (
    CONV1,
    CONV3,
    EDGES,
    NB201,
    NONE,
    POOL,
    SKIP,
    arch_to_str,
    lexicographic_codes,
    official_archs,
    prune,
    unique_str,
)

TEST = importers.WHEEL_QUERY
WEIGHTS = 5 ** np.arange(5, -1, -1)
TRUE_ORDER = tuple(EDGES.index(edge) for edge in importers.WHEEL_EDGES)
"""NAS-Bench-201 edge of each position of the wheel's tuples."""
MIRROR_ORDER = (5, 4, 3, 2, 1, 0)
SPACE = NB201.archs()
ARCHS = tuple(arch_to_str(arch) for arch in official_archs()[:4])
OTHER = arch_to_str(official_archs()[4])


@pytest.fixture(scope="module")
def wheel_values():
    """`(15625,)` accuracy of the wheel, by its own codes in lexicographic order."""
    records = importers.read_wheel_pickle(importers._wheel_file().read_bytes())
    values = np.empty(len(records))
    values[lexicographic_codes(np.array(list(records)))] = [record.baseline_accuracy for record in records.values()]
    return values


def translated(operators, order):
    """`(15625,)` position in `SPACE` of the arch that each wheel tuple means under a mapping."""
    return np.array(operators)[SPACE] @ WEIGHTS[list(order)]


@pytest.fixture(scope="module")
def mappings(wheel_values):
    """All (operators, edge order) that put every arch at chance, and no other, on a disconnected one.

    Only the code of `none` matters for that, so 5 x 6! cases stand for the 5! x 6! mappings.
    """
    disconnected = (prune(SPACE) == NONE).all(axis=1)
    chance = wheel_values == 10.0
    assert chance.sum() == disconnected.sum() == 341
    tuples = SPACE[chance]
    fitting = []
    for code, order in itertools.product(range(5), itertools.permutations(range(6))):
        is_none = np.where(tuples == code, NONE, SKIP) @ WEIGHTS[list(order)]
        if disconnected[is_none].all():
            others = [c for c in range(5) if c != code]
            for rest in itertools.permutations((SKIP, CONV1, CONV3, POOL)):
                of_code = {code: NONE, **dict(zip(others, rest, strict=True))}
                fitting.append((tuple(of_code[c] for c in range(5)), order))
    return fitting


def test_chance_leaves_one_none_code_and_two_mirrored_edge_orders(mappings):
    assert {order for _, order in mappings} == {TRUE_ORDER, MIRROR_ORDER}
    assert {operators.index(NONE) for operators, _ in mappings} == {importers.WHEEL_OPERATORS.index(NONE)}
    assert len(mappings) == 48


def test_isomorphic_archs_decide_skip_and_direction(mappings, wheel_values):
    classes = np.unique([unique_str(arch) for arch in map(tuple, SPACE.tolist())], return_inverse=True)[1]

    def spread(operators, order):
        values = np.empty(len(SPACE))
        values[translated(operators, order)] = wheel_values
        mean = (np.bincount(classes, values) / np.bincount(classes))[classes]
        return np.sqrt(np.mean((values - mean) ** 2))

    spreads = {mapping: spread(*mapping) for mapping in mappings}
    true = [m for m in mappings if m[0].index(SKIP) == importers.WHEEL_OPERATORS.index(SKIP) and m[1] == TRUE_ORDER]
    mirrored = [(operators, MIRROR_ORDER) for operators, _ in true]
    others = spreads.keys() - {*true, *mirrored}
    assert len(true) == 6
    assert max(spreads[m] for m in true) < 0.94 * min(spreads[m] for m in mirrored)
    assert max(spreads[m] for m in mirrored) < 0.25 * min(spreads[m] for m in others)


def test_operator_means_decide_convolutions_and_pooling(wheel_values):
    ranked = [importers.WHEEL_OPERATORS.index(op) for op in (CONV3, CONV1, POOL)]
    for position in range(6):
        means = [wheel_values[SPACE[:, position] == code].mean() for code in ranked]
        assert means == sorted(means, reverse=True)


def test_official_accuracies_pick_the_same_mapping(shared, mappings, wheel_values):
    official = load_ground_truth(shared / "nb201" / "nb201_accuracies.parquet").accuracy(TEST)
    by_code = np.empty(len(SPACE))
    by_code[lexicographic_codes(np.array(official_archs()))] = official
    tau = {mapping: kendalltau(wheel_values, by_code[translated(*mapping)]).statistic for mapping in mappings}
    first, second = sorted(tau, key=tau.get, reverse=True)[:2]
    assert first == (importers.WHEEL_OPERATORS, TRUE_ORDER)
    assert tau[first] == pytest.approx(0.9257, abs=5e-4)
    assert second == (importers.WHEEL_OPERATORS, MIRROR_ORDER) and tau[second] < 0.86
    assert kendalltau(load_ground_truth().accuracy(TEST), official).statistic == pytest.approx(tau[first])


def test_wheel_arch_by_hand():
    # positions 0->1, 0->2, 0->3, 1->2, 1->3, 2->3; codes skip, none, 3x3, 1x1, pool
    assert arch_to_str(importers.wheel_arch((2, 0, 1, 3, 4, 2))) == (
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    )


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_default_table_covers_the_space_without_importing_the_wheel():
    truth = load_ground_truth()
    assert truth.queries() == [Query("cifar10", "test", 200, "mean")]
    assert truth.arch_strs == tuple(official_index())
    archs = np.array(official_archs())
    np.testing.assert_array_equal(truth.accuracy(TEST) == 10.0, (prune(archs) == NONE).all(axis=1))
    assert official_index()[truth.best(TEST)[0]] == 13_714
    assert "analognasbench" not in sys.modules
    assert benchmark_verify() == []


@pytest.mark.slow
def test_second_load_reads_the_copy_and_a_damaged_copy_is_rebuilt(home, monkeypatch):
    first = load_ground_truth()
    (copy,) = (home / "tables").iterdir()
    assert first.source["sha256"] in copy.name
    with monkeypatch.context() as patch:
        patch.setattr(importers, "read_wheel_pickle", lambda _: pytest.fail("unpickled although a copy lies there"))
        assert load_ground_truth().sha256 == first.sha256
    good = copy.read_bytes()
    copy.write_bytes(good[: len(good) // 2])
    assert load_ground_truth().sha256 == first.sha256
    assert copy.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path):
    (tmp_path / "home").write_text("a file where a folder is needed")
    with pytest.warns(UserWarning, match="set SENAS_HOME"):
        assert len(load_ground_truth().arch_strs) == 15_625


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("payload", ["system", "open", "disguised"])
def test_hostile_pickles_are_refused_and_nothing_runs(tmp_path, monkeypatch, payload, protocol):
    canary = tmp_path / "canary"
    if payload == "disguised":  # a name inside the allowed module that leads elsewhere
        module = types.ModuleType("analognasbench.data")
        module.os = os
        monkeypatch.setitem(sys.modules, "analognasbench", types.ModuleType("analognasbench"))
        monkeypatch.setitem(sys.modules, "analognasbench.data", module)
        content = f"canalognasbench.data\nos.system\n(Vtouch {canary}\ntR.".encode()
    else:
        call = Hostile(os.system, f"touch {canary}") if payload == "system" else Hostile(open, str(canary), "w")
        content = pickle.dumps({(0,) * 6: call}, protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        importers.read_wheel_pickle(content)
    (tmp_path / "data.anb").write_bytes(content)
    with pytest.raises(DataError, match="refused"):
        importers.load_analog_nasbench(tmp_path / "data.anb", tmp_path / "cache")
    assert not canary.exists() and not (tmp_path / "cache").exists()


def fake_wheel(monkeypatch, path, accuracy):
    """A file in the wheel's format: its classes are looked up by name only, so stand-ins do."""

    class Architecture:
        pass

    Architecture.__module__, Architecture.__qualname__ = "analognasbench.data", "Architecture"
    module = types.ModuleType("analognasbench.data")
    module.Architecture = Architecture
    records = {}
    for codes, value in accuracy.items():
        records[codes] = Architecture()
        records[codes].baseline_accuracy = value
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "analognasbench", types.ModuleType("analognasbench"))
        patch.setitem(sys.modules, "analognasbench.data", module)
        path.write_bytes(pickle.dumps(records))
    return path


@pytest.mark.slow
def test_a_wheel_that_changed_is_refused(tmp_path, monkeypatch, wheel_values):
    accuracy = dict(zip(map(tuple, SPACE.tolist()), wheel_values.tolist(), strict=True))
    load = importers.load_analog_nasbench
    path = fake_wheel(monkeypatch, tmp_path / "data.anb", accuracy)
    assert load(path).sha256 == load_ground_truth().sha256
    recoded = {tuple((code + 1) % 5 for code in codes): value for codes, value in accuracy.items()}
    with pytest.raises(DataError, match="operator codes are unknown"):
        load(fake_wheel(monkeypatch, path, recoded))
    with pytest.raises(DataError, match="outside 0 to 100"):
        load(fake_wheel(monkeypatch, path, {**accuracy, (0,) * 6: 6078.0}))
    del accuracy[0, 0, 0, 0, 0, 0]
    with pytest.raises(DataError, match="15624 archs that are not the space's 15,625"):
        load(fake_wheel(monkeypatch, path, accuracy))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="is not the data of analog-nasbench"):
        load(path)
    with pytest.raises(DataError, match="cannot read"):
        load(tmp_path / "absent.anb")


def test_without_the_wheel_the_message_says_what_to_do(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(DataError, match="pip install analog-nasbench"):
        load_ground_truth()
    assert "pip install" in benchmark_verify()[0]


def test_only_importers_unpickles():
    folder = Path(importers.__file__).parent
    library = re.compile(r"^ *(import|from) pickle\b|torch\.load\(|allow_pickle=True|read_pickle\(", re.MULTILINE)
    assert [path.name for path in folder.glob("*.py") if library.search(path.read_text())] == ["importers.py"]
    # and what interprets pickles itself calls nothing but its own functions
    assert {function.__module__ for function in unpickle.ALLOWED.values()} == {unpickle.__name__}


def test_csv_and_parquet_import_to_the_same_table(tmp_path):
    seed = Query("imagenet16-120", "val", 12, 888)
    truth = GroundTruth("mine", ARCHS, {TEST: [85.25, 93, 93, 10], seed: [30, np.nan, 31, 0.83]})
    lines = [
        f"{arch},{a},note,{'' if np.isnan(b) else b}" for arch, a, b in zip(ARCHS, *truth.columns.values(), strict=True)
    ]
    header = f"arch_str,{TEST},comment,{seed}"
    (tmp_path / "mine.csv").write_text("\n".join([header, *reversed(lines)]) + "\n")
    imported = import_table(tmp_path / "mine.csv", tmp_path / "out" / "a.parquet")
    assert imported.sha256 == truth.sha256 and imported.name == "mine"
    assert imported.source["file"] == "mine.csv" and len(imported.source["sha256"]) == 64
    again = import_table(tmp_path / "out" / "a.parquet", tmp_path / "out" / "b.parquet")
    assert again.source == imported.source
    assert (tmp_path / "out" / "a.parquet").read_bytes() == (tmp_path / "out" / "b.parquet").read_bytes()


@pytest.mark.slow
def test_import_keeps_costs_and_joins_those_of_another_file(tmp_path, shared):
    truth = import_table(shared / "nb201" / "nb201_accuracies.parquet", tmp_path / "a.parquet")
    assert truth.sha256 == load_ground_truth(shared / "nb201" / "nb201_accuracies.parquet").sha256
    trained = load_trainer(tmp_path / "a.parquet", "cifar100")
    assert trained.identity == {
        **load_trainer(shared / "nb201" / "nb201_accuracies.parquet", "cifar100").identity,
        "name": truth.name,
    }
    joined = import_table(tmp_path / "a.parquet", tmp_path / "b.parquet", shared / "nb201" / "hw_nas_bench.parquet")
    again = load_ground_truth(tmp_path / "b.parquet")
    assert again.sha256 == truth.sha256 and again.costs_sha256 == joined.costs_sha256 != truth.costs_sha256
    assert (len(truth.costs), len(again.costs)) == (9, 39)
    assert again.costs["cifar10_edgegpu_latency"][0] == pytest.approx(5.807418537139893)
    edge_tpu = again.costs["cifar10_edgetpu_latency"]
    assert np.isnan(edge_tpu).sum() == 4699 and np.nanmin(edge_tpu) > 0
    assert benchmark_verify(tmp_path / "b.parquet") == []


@pytest.mark.parametrize(
    "columns, error, message",
    [
        ({"arch_str": ARCHS[:2], "cifar10_test_acc_200ep": [1.0, 2]}, ValueError, "has no cost columns"),
        ({"arch_str": ARCHS[:2], "cifar10_pixel3_latency": [1.0, -3]}, ValueError, "no cost, first -3"),
        ({"arch_str": ARCHS[:2], "cifar10_pixel3_latency": ["a", "b"]}, DataError, "holds string, not numbers"),
        ({"arch_str": [ARCHS[0]] * 2, "cifar10_pixel3_latency": [1.0, 2]}, DataError, "duplicate arch strings"),
        ({"arch": ARCHS[:2], "cifar10_pixel3_latency": [1.0, 2]}, DataError, "no column 'arch_str'"),
        (
            {"arch_str": ["|x~0|"], "arch_index": [0], "cifar10_pixel3_latency": [1.0]},
            DataError,
            "bad arch string",
        ),
        ({"arch_str": ARCHS[:1], "arch_index": [5], "cifar10_pixel3_latency": [1.0]}, DataError, "is not official"),
    ],
)
def test_costs_that_do_not_fit_are_refused(tmp_path, columns, error, message):
    GroundTruth("mine", ARCHS, {TEST: [85.25, 93, 93, 10]}).save(tmp_path / "t.parquet")
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    with pytest.raises(error, match=message) as raised:
        import_table(tmp_path / "t.parquet", tmp_path / "o.parquet", tmp_path / "c.parquet")
    assert "\n" not in str(raised.value) and not (tmp_path / "o.parquet").exists()


SPACED = [f"{ARCHS[0]} ", f" {ARCHS[1]}"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    "columns, message",
    [
        ({"arch_str": SPACED, "cifar10_edgegpu_latency": [1.0, 2]}, f"{SPACED[0]!r} must be written {ARCHS[0]!r}"),
        ({"arch_str": [3, 4], "cifar10_edgegpu_latency": [1.0, 2]}, "arch string 3 is missing or no text"),
        ({"arch_str": [ARCHS[0], None], "cifar10_edgegpu_latency": [1.0, 2]}, "is missing or no text"),
        ({"arch_str": [ARCHS[0]] * 2, "cifar10_edgegpu_latency": [1.0, 2]}, "1 duplicate arch strings"),
        ({"arch_str": ARCHS[:2], "cifar10_edgegpu_latency_ms": [1.0, 2]}, "has no cost columns"),
        (
            {"arch_str": ARCHS[:2], "cifar10_edgegpu_latency": [1.0, 2], "cifar10_edgegpu_latency_ms": [1, 2]},
            "no costs of the schema: cifar10_edgegpu_latency_ms; rename",
        ),
        (
            {"arch_str": ARCHS[:2], "cifar10_edgegpu_latency": [1.0, 2], "macs": [1, 2], "energy": [0.5, 1]},
            "no costs of the schema: macs, energy; rename",
        ),
        ({"arch_str": [OTHER], "cifar10_edgegpu_latency": [1.0]}, "has none of the 4 archs of table 'mine'"),
    ],
)
def test_costs_are_joined_or_refused(tmp_path, columns, message, suffix):
    """Nothing of a file of costs is left out without a word."""
    path = tmp_path / f"c{suffix}"
    pq.write_table(pa.table(columns), path) if suffix == ".parquet" else csv.write_csv(pa.table(columns), path)
    GroundTruth("mine", ARCHS, {TEST: [85.25, 93, 93, 10]}).save(tmp_path / "t.parquet")
    with pytest.raises((ValueError, DataError)) as raised:
        import_table(tmp_path / "t.parquet", tmp_path / "o.parquet", path)
    assert message in str(raised.value) and str(path) in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "o.parquet").exists()


def test_costs_may_be_csv_or_have_text_and_what_pandas_adds(tmp_path):
    GroundTruth("mine", ARCHS, {TEST: [85.25, 93, 93, 10]}).save(tmp_path / "t.parquet")
    table = pa.table({"arch_str": ARCHS[:2], "note": ["a", "b"], "cifar10_pixel3_latency": [3.0, -1]})
    csv.write_csv(table, tmp_path / "c.csv")
    pq.write_table(table.append_column("__index_level_0__", pa.array([0, 1])), tmp_path / "c.parquet")
    for name in ("c.csv", "c.parquet"):
        truth = import_table(tmp_path / "t.parquet", tmp_path / "o.parquet", tmp_path / name)
        np.testing.assert_array_equal(truth.costs["cifar10_pixel3_latency"], [3, np.nan, np.nan, np.nan])
        assert truth.source["costs_file"] == name
    with pytest.raises(DataError, match=r"no costs at .*none\.csv; give a Parquet or CSV file"):
        import_table(tmp_path / "t.parquet", tmp_path / "o.parquet", tmp_path / "none.csv")


def test_costs_join_by_arch_and_only_once(tmp_path):
    GroundTruth("mine", ARCHS, {TEST: [85.25, 93, 93, 10]}).save(tmp_path / "t.parquet")
    pq.write_table(pa.table({"arch_str": ARCHS[2:0:-1], "cifar10_pixel3_latency": [3.0, 2]}), tmp_path / "c.parquet")
    found = import_table(tmp_path / "t.parquet", tmp_path / "o.parquet", tmp_path / "c.parquet").costs
    np.testing.assert_array_equal(found["cifar10_pixel3_latency"], [np.nan, 2, 3, np.nan])
    with pytest.raises(ValueError, match="costs that table 'mine' already has: cifar10_pixel3_latency"):
        import_table(tmp_path / "o.parquet", tmp_path / "p.parquet", tmp_path / "c.parquet")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is not a readable CSV file"),
        (f"arch_str,{TEST}\n", "no accuracies"),
        (f"arch_str,{TEST}\n{ARCHS[0]},85,1\n", "is not a readable CSV file"),
        (f"arch_str,{TEST}\n{ARCHS[0]},high\n", "holds string, not numbers"),
        (f"arch_str,{TEST},{TEST}\n{ARCHS[0]},1,2\n", "same name"),
        (f"arch_str,{TEST}\n{ARCHS[0]},1\n{ARCHS[0]},2\n", "duplicate arch strings"),
    ],
)
def test_a_bad_csv_is_a_data_error_and_writes_nothing(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        import_table(tmp_path / "t.csv", tmp_path / "out.parquet")
    assert "t.csv" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.parquet").exists()


def test_import_refuses_other_files(tmp_path):
    with pytest.raises(ValueError, match=r"'t.xlsx'.*\.parquet or \.csv"):
        import_table(tmp_path / "t.xlsx", tmp_path / "out.parquet")
    with pytest.raises(DataError, match="no ground-truth table at"):
        import_table(tmp_path / "t.csv", tmp_path / "out.parquet")


def test_verify_compares_seeds_and_halves(tmp_path):
    def problems(**changes):
        values = {"200ep": 50.0, "200ep_seed777": 49.0, "200ep_seed888": 51.0, **changes}
        columns = {Query.from_column(f"cifar100_test_acc_{name}"): [value, 60.0] for name, value in values.items()}
        columns[Query("cifar100", "val", 200, "mean")] = [52.0, np.nan]
        columns[Query("cifar100", "valtest", 200, "mean")] = [51.0, 60.0]
        GroundTruth("t", ARCHS[:2], columns).save(tmp_path / "t.parquet")
        return benchmark_verify(tmp_path / "t.parquet")

    assert problems() == []
    (between,) = problems(**{"200ep_seed777": 50.5})
    assert between.startswith("cifar100_test_acc_200ep: 1 archs are not between cifar100_test_acc_200ep_seed777 and")
    (halves,) = problems(**{"200ep": 51.5, "200ep_seed888": 54.0})
    assert halves.startswith("cifar100_valtest_acc_200ep: 1 archs are not between cifar100_val_acc_200ep and")


def test_verify_says_what_is_below_chance_above_the_best_or_empty(tmp_path):
    def problems(*values):
        GroundTruth("t", ARCHS, {TEST: values}).save(tmp_path / "t.parquet")
        return benchmark_verify(tmp_path / "t.parquet")

    assert problems(85.25, 93, 93, 95) == []
    (low,) = problems(85.25, 0.93, 0, 90)
    assert low.startswith("cifar10_test_acc_200ep: 2 connected archs are below chance (10)")
    (high,) = problems(85.25, 93, 93, 97)
    assert high == "cifar10_test_acc_200ep: best is 97.0000, above the known 94.3733 of index 6111"
    assert problems(*[np.nan] * 4) == ["cifar10_test_acc_200ep: no arch was measured"]


def test_verify_takes_the_best_arch_to_the_hundredth(tmp_path):
    """That of index 6111 has 94.3733 where all digits are kept."""
    archs = (*ARCHS, arch_to_str(official_archs()[6111]))

    def problems(best):
        GroundTruth("t", archs, {TEST: [85.25, 93, 93, 90, best]}).save(tmp_path / "t.parquet")
        return benchmark_verify(tmp_path / "t.parquet")

    assert problems(94.37) == []
    (off,) = problems(94.3933)
    assert off == "cifar10_test_acc_200ep: index 6111 has 94.3933 where 94.3733 is known"


@pytest.mark.slow
def test_verify_finds_wrong_values(tmp_path, shared):
    official = shared / "nb201" / "nb201_accuracies.parquet"
    assert benchmark_verify(official) == []
    truth = load_ground_truth(official)

    def problems(change):
        values = truth.accuracy(TEST).copy()
        change(values)
        GroundTruth("edited", truth.arch_strs, {TEST: values}).save(tmp_path / "t.parquet")
        return benchmark_verify(tmp_path / "t.parquet")

    assert problems(lambda values: None) == []
    (moved, best) = problems(lambda values: np.multiply(values, 0.8, out=values))
    assert "341 of 341 disconnected archs are not at chance" in moved and "75.4987 where 94.3733" in best
    (above,) = problems(lambda values: values.__setitem__(0, 99.0))
    assert "best is 99.0000, above the known 94.3733" in above
    (rolled, _) = problems(lambda values: values.__setitem__(slice(None), np.roll(values, 1)))
    assert "not at chance" in rolled
    shutil.copy(__file__, tmp_path / "t.parquet")
    (corrupt,) = benchmark_verify(tmp_path / "t.parquet")
    assert "not a readable Parquet file" in corrupt
