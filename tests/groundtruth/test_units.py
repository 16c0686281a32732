"""Fractions and error rates among accuracies: refused where they are, and no true accuracies are."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.errors import DataError
from senas_bench.groundtruth import Query, benchmark_verify, import_table, load_ground_truth, units
from senas_bench.groundtruth.importers import WHEEL_QUERY
from senas_bench.spaces.nasbench201 import NONE, arch_to_str, official_archs, prune


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """One for all: the embedded table is read from its pickle once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENAS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def test_archs_that_compute_a_constant():
    """By going back from the output: node 3 has edges 3, 4, 5 from nodes 0, 1, 2; node 2 edges 1, 2; node 1 edge 0."""

    def reaches(arch):
        one = arch[0] != NONE
        two = arch[1] != NONE or (one and arch[2] != NONE)
        return arch[3] != NONE or (one and arch[4] != NONE) or (two and arch[5] != NONE)

    lost = {arch_to_str(arch) for arch in official_archs() if not reaches(arch)}
    assert units.disconnected() == lost and len(lost) == 341


@pytest.fixture(scope="module")
def official(shared):
    return load_ground_truth(shared / "nb201" / "nb201_accuracies.parquet")


FRACTION, ERROR, ERROR_FRACTION = (lambda v: v / 100), (lambda v: 100 - v), (lambda v: 1 - v / 100)
DISCONNECTED = np.array([(prune(np.array([arch], np.int8)) == NONE).all() for arch in official_archs()])


@pytest.mark.parametrize("column", ["cifar10_test_acc_200ep", "cifar100_val_acc_12ep", "imagenet16-120_test_acc_200ep"])
@pytest.mark.parametrize(
    "unit, rows, message",
    [
        (FRACTION, "random", "no value is above 1, the highest is 0."),
        (FRACTION, "best", "no value is above 1, the highest is 0."),
        (FRACTION, "constant", "no value is above 1, the highest is 0."),
        (ERROR_FRACTION, "random", "no value is above 1, the highest is 0."),
        (ERROR, "random", "as of error rates"),
        (ERROR, "connected", "200 archs are in the opposite order of what is known of them (rank correlation -0."),
        (ERROR, "constant", "archs that compute a constant have 9"),
    ],
)
def test_other_units_than_percent_are_refused(tmp_path, official, column, unit, rows, message):
    query, rng = Query.from_column(column), np.random.default_rng(0)
    values = official.columns[query]
    chosen = {
        "random": lambda: rng.choice(15_625, 200, replace=False),
        "best": lambda: np.argsort(values)[-5:],
        "connected": lambda: rng.choice(np.flatnonzero(~DISCONNECTED), 200, replace=False),
        "constant": lambda: np.flatnonzero(DISCONNECTED)[:5],
    }[rows]()
    archs = [official.arch_strs[row] for row in chosen]
    pq.write_table(pa.table({"arch_str": archs, column: unit(values[chosen])}), tmp_path / "t.parquet")
    with pytest.raises(DataError) as raised:
        import_table(tmp_path / "t.parquet", tmp_path / "out.parquet")
    said = str(raised.value)
    assert f"column {column}: " in said and message in said and "\n" not in said
    assert said.endswith("multiply fractions by 100, and give 100 - error for an error rate")
    assert not (tmp_path / "out.parquet").exists()
    assert benchmark_verify(tmp_path / "t.parquet")[0].endswith(said.partition(": ")[2])


@pytest.mark.parametrize("seed", range(3))
def test_true_accuracies_of_any_archs_are_never_other_units(official, seed):
    """Best, worst and random archs of every column; at ImageNet16-120 the worst are all at chance, below 1."""
    rng = np.random.default_rng(seed)
    known = load_ground_truth().accuracy(WHEEL_QUERY)
    for query, values in official.columns.items():
        order = np.argsort(values)
        groups = [rng.choice(15_625, size, replace=False) for size in (1, 2, 11, 20, 100)]
        groups += [order[-size:] for size in (1, 11, 20, 50)] + [order[:size] for size in (1, 20, 341, 361)]
        for rows in groups:
            assert units.why_not_percent(query.dataset, values[rows], DISCONNECTED[rows]) is None
            assert units.why_opposite(values[rows], known[rows]) is None
