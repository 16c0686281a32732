"""Files of tables: what is read of them, and how they are checked on the way in."""

import cProfile
import json
import os
import pstats
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.errors import DataError
from senas_bench.groundtruth import GroundTruth, Query, load_ground_truth, load_parquet
from senas_bench.groundtruth.archs import official_index
from senas_bench.groundtruth.schema import METADATA
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

TEST = Query("cifar10", "test", 200, "mean")
SEED = Query("cifar10", "test", 200, 777)
VAL = Query("cifar100", "val", 12, "mean")
ARCHS = tuple(arch_to_str(arch) for arch in official_archs()[:4])


def write(path, columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "name",
    ["cifar10_test_acc_90ep", "svhn_test_acc_200ep", "cifar100_valtest_acc_200", "cifar10_test_acc_12ep_seed007"],
)
def test_a_malformed_accuracy_column_is_an_error(tmp_path, name):
    path = write(tmp_path / "t.parquet", {"arch_str": ARCHS, str(TEST): [1.0] * 4, name: [1.0] * 4})
    with pytest.raises(DataError, match=rf"t\.parquet: column '{name}' is not"):
        load_parquet(path)


def test_edited_added_and_removed_costs_are_noticed(tmp_path, with_costs):
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


def test_a_file_that_an_earlier_version_wrote_still_loads(tmp_path, small):
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


def test_unreadable_files_are_data_errors(tmp_path, small):
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


def test_an_edited_canonical_file_is_refused(tmp_path, small):
    path = tmp_path / "t.parquet"
    small().save(path)
    content = pq.read_table(path)
    edited = content.set_column(2, str(TEST), pa.array([85.0, 93.0, 93.0, 11.0]))
    pq.write_table(edited, path)
    with pytest.raises(DataError, match="differ from the hash"):
        load_parquet(path)
    newer = content.schema.metadata[METADATA].replace(b'"schema": 1', b'"schema": 2')
    pq.write_table(content.replace_schema_metadata({METADATA: newer}), path)
    with pytest.raises(DataError, match="not schema 1"):
        load_parquet(path)


def test_importing_and_loading_stay_cheap(tmp_path, small):
    """pandas alone takes 0.3 s to import, more than all the rest."""
    small().save(tmp_path / "t.parquet")
    code = f"""
import sys, pathlib, senas_bench.groundtruth as groundtruth
assert not {{"torch", "pandas", "pyarrow", "scipy"}} & set(sys.modules)
groundtruth.load_ground_truth(pathlib.Path({str(tmp_path / "t.parquet")!r}))
assert not {{"torch", "pandas", "pyarrow.compute"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


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


def test_official_table_loads_and_joins_in_hardly_more_calls_than_there_are_archs(shared):
    """How long it takes is a matter of `make bench`; here Python's calls are counted, once what they cache is there."""
    path = shared / "nb201" / "nb201_accuracies.parquet"
    load_ground_truth(path)
    with cProfile.Profile() as profile:
        truth = load_ground_truth(path)
        truth.accuracy(TEST, truth.arch_strs[::-1])
    assert pstats.Stats(profile).total_calls < 1.5 * len(truth.arch_strs)  # pyright: ignore[reportAttributeAccessIssue]


WHOLE = """
import sys
from pathlib import Path
from senas_bench.groundtruth import load_parquet

truth = load_parquet(Path(sys.argv[1]))
(line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(line.split()[1]) / 1024, len(truth.arch_strs), len(truth.columns), len(truth.costs))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
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
    megabytes, *shape = map(float, found.stdout.split())
    assert shape == [15_625, 56, 41]
    assert megabytes < 200
