import numpy as np
import pandas as pd
import pytest

from benchmarks.another_space import rankings, table, trained
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.store import RunStore

ARCHS = [f"arch-{i:02}" for i in range(12)]


def runs(accuracy):
    """Trainings of all archs: `accuracy` by seed."""
    rows = []
    for seed, values in enumerate(accuracy):
        for place, (arch, top1) in enumerate(zip(ARCHS, values, strict=True)):
            rows.append({"arch": arch, "seed": seed, "top1": top1, "params": 100 - place, "flops_m": 1.0 + place})
    return pd.DataFrame(rows)


def test_the_truth_is_the_mean_over_seeds_of_archs_that_have_all():
    steps = np.arange(12.0)
    found = runs([steps, steps + np.where(steps == 11, -8, 0)])  # in the mean the last falls behind three, to a fourth
    scores = pd.DataFrame({"up": steps, "down": -steps}, index=ARCHS)
    shown = table(scores, found).set_index("method")
    pairs = 12 * 11 / 2
    norm = (pairs * (pairs - 1)) ** 0.5  # one pair is tied
    assert shown.loc["up", "tau"] == pytest.approx((pairs - 1 - 2 * 3) / norm)
    assert shown.loc["down", "tau"] == shown.loc["params", "tau"] == pytest.approx(-shown.loc["up", "tau"])
    assert shown.loc["flops_m", "tau"] == shown.loc["up", "tau"]
    assert shown.loc["up", "pick"] == 7 and shown.loc["down", "pick"] == 0
    assert shown.loc["another seed", "tau"] == pytest.approx((pairs - 1 - 2 * 7) / norm)
    assert shown.loc["up", "low"] < shown.loc["up", "tau"] < shown.loc["up", "high"]
    few = table(scores, found.drop(index=23))  # the first arch of all has one seed alone
    assert set(few.loc[few["method"] != "another seed", "n"]) == {11}


def test_what_is_trained_is_read_from_the_records(tmp_path):
    store = RunStore(tmp_path)
    store.prepare()
    lines = ({"phase": "pick", "params": 7, "flops_m": 0.5}, {"phase": "retrain", "top1": 61.25, "split": "test"})
    for method, seed in (("fixed", 1), ("spos", 0)):
        spec = RunSpec(method, seed, "cpu", "darts", "toy", "d1")
        store.save(RunRecord(spec, "pick", lines, {}, None, {}, {}), None)
    assert trained(tmp_path).to_dict("records") == [
        {"arch": "pick", "seed": 1, "top1": 61.25, "params": 7, "flops_m": 0.5}
    ]
    with pytest.raises(KeyError, match="swap"):
        rankings(tmp_path, ["swap"])
