"""Names of tables beside others of theirs."""

import json

import pytest

from senas_bench.analysis.output.formats import Table
from senas_bench.analysis.output.naming import beside


def a_table(column: str, sha256: str, *, columns: tuple[str, ...] = ()) -> Table:
    """As figure 6 has it, whose rows name no column of the truth, or with those of `columns`."""
    row = {"method": "spos", "per_seed": [{"seed": 0}], **{f"{name}_mean": 90.0 for name in columns}}
    meta = {"preset": "embedded", "images": "digits", "data_id": "d", "seeds": [0], "rows": [row]}
    return Table("fig6", [], {}, {**meta, "column": column, "ground_truth": "mine", "ground_truth_sha256": sha256})


@pytest.fixture
def written(tmp_path):
    """Write a table as rendering does."""

    def write(table):
        (tmp_path / "tables").mkdir(exist_ok=True)
        (tmp_path / f"tables/{table.name}.json").write_text(json.dumps(table.meta))

    return write


@pytest.mark.parametrize(("column", "sha256"), [("cifar100_test", "1"), ("cifar10_test", "2")])
def test_a_table_of_another_truth_is_not_replaced(column, sha256, written, tmp_path):
    written(a_table("cifar10_test", "1"))
    found, why = beside(a_table(column, sha256), tmp_path)
    assert found.name == "fig6-truth-mine"
    assert why == "kept tables/fig6.*, which also shows another truth (mine); the new table is tables/fig6-truth-mine.*"


def test_a_table_of_the_same_truth_or_of_one_with_more_columns_takes_the_place(written, tmp_path):
    written(a_table("cifar10_test", "1", columns=("cifar10_test",)))
    more = a_table("cifar10_test", "2", columns=("cifar10_test", "cifar100_test"))
    for table in (a_table("cifar10_test", "1", columns=("cifar10_test",)), more):
        assert beside(table, tmp_path) == (table, None)
