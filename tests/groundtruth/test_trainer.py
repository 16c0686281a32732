"""What a training from scratch is looked up as."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.errors import DataError
from senas_bench.groundtruth import load_ground_truth
from senas_bench.groundtruth.trainer import load_trainer
from senas_bench.spaces.nasbench201 import official_archs


def changed(table, folder, **columns):
    """A copy of the table with other columns; None drops one."""
    frame = pq.read_table(table)
    for name, values in columns.items():
        frame = frame.drop_columns([name])
        if values is not None:
            frame = frame.append_column(name, pa.array(values))
    path = folder / "changed.parquet"
    pq.write_table(frame, path)
    return path


@pytest.mark.parametrize(
    ("images", "dataset", "timed"),
    [
        ("cifar10", "cifar10", "cifar10-valid"),
        ("digits", "cifar10", "cifar10-valid"),
        ("cifar100", "cifar100", "cifar100"),
        ("imagenet16-120", "imagenet16-120", "imagenet16-120"),
    ],
)
def test_outcomes_are_the_cells_of_the_table(shared, images, dataset, timed):
    path = shared / "nb201" / "nb201_accuracies.parquet"
    trainer = load_trainer(path, images)
    accuracy, seconds = f"{dataset}_val_acc_12ep", f"{timed}_train_s_per_epoch"
    rows = pq.read_table(path, columns=["arch_index", accuracy, seconds]).to_pylist()
    assert trainer.identity["dataset"] == dataset
    for row in (rows[0], rows[1462], rows[-1]):
        outcome = trainer(official_archs()[row["arch_index"]])
        assert outcome == pytest.approx((row[accuracy], 12 * row[seconds]), abs=0)


def test_the_order_of_the_rows_is_nothing_to_it(benchmark_table, tmp_path):
    shuffled = pq.read_table(benchmark_table).take(np.random.default_rng(0).permutation(15625))
    pq.write_table(shuffled, tmp_path / "made-up.parquet")
    one, other = load_trainer(benchmark_table, "digits"), load_trainer(tmp_path / "made-up.parquet", "digits")
    assert one.identity == other.identity
    assert all(one(arch) == other(arch) for arch in official_archs()[::500])


def test_identity_covers_accuracies_and_seconds(benchmark_table, tmp_path):
    base = load_trainer(benchmark_table, "digits").identity
    assert base["name"] == "made-up" and base["sha256"] == load_ground_truth(benchmark_table).sha256
    table = pq.read_table(benchmark_table)
    column = "cifar10-valid_train_s_per_epoch"
    seconds = table[column].to_numpy()
    assert base["seconds_sha256"] == hashlib.sha256(seconds.astype("<f8").tobytes()).hexdigest()
    slower = load_trainer(changed(benchmark_table, tmp_path, **{column: seconds + 1}), "digits").identity
    assert slower["sha256"] == base["sha256"] and slower["seconds_sha256"] != base["seconds_sha256"]
    better = changed(benchmark_table, tmp_path, cifar10_val_acc_12ep=table["cifar10_val_acc_12ep"].to_numpy() - 1)
    assert load_trainer(better, "digits").identity["sha256"] != base["sha256"]


def test_nothing_but_the_short_training_is_in_reach(benchmark_table):
    trainer = load_trainer(benchmark_table, "digits")
    assert set(vars(trainer)) == {"identity", "outcomes"}
    assert {len(outcome) for outcome in trainer.outcomes.values()} == {2}


def test_a_table_without_short_trainings_is_refused_with_what_to_give():
    with pytest.raises(ValueError, match=r"'analog-nasbench' has no cifar10_val_acc_12ep; give --ground-truth .*") as e:
        load_trainer(None, "digits")
    assert "cifar10-valid_train_s_per_epoch" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("column", ["cifar10_val_acc_12ep", "cifar10-valid_train_s_per_epoch"])
def test_a_missing_column_is_named(benchmark_table, tmp_path, column):
    with pytest.raises(ValueError, match=f"has no {column}; give --ground-truth"):
        load_trainer(changed(benchmark_table, tmp_path, **{column: None}), "digits")


def test_a_table_of_another_data_set_is_refused(benchmark_table):
    with pytest.raises(ValueError, match="has no cifar100_val_acc_12ep"):
        load_trainer(benchmark_table, "cifar100")


def test_a_part_of_the_space_is_refused(benchmark_table, tmp_path):
    pq.write_table(pq.read_table(benchmark_table).slice(0, 15000), tmp_path / "part.parquet")
    with pytest.raises(ValueError, match="no result of 625 archs"):
        load_trainer(tmp_path / "part.parquet", "digits")


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), None])
def test_a_time_that_is_not_positive_is_refused(benchmark_table, tmp_path, bad):
    seconds = [bad, *[5.0] * 15624]
    with pytest.raises(ValueError, match="must be positive"):
        load_trainer(changed(benchmark_table, tmp_path, **{"cifar10-valid_train_s_per_epoch": seconds}), "digits")


def test_a_missing_file_is_missing_data(tmp_path):
    with pytest.raises(DataError):
        load_trainer(tmp_path / "none.parquet", "digits")
