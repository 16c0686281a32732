import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks.proxy_sets import best_sets, log_percentiles, table
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.store import RunStore

RNG = np.random.default_rng(0)
ACCURACY, HALF = RNG.random(40), np.arange(40) % 2


def test_log_percentiles_by_hand():
    assert np.exp(log_percentiles(np.array([3.0, -1.0, 3.0, 9.0]))) == pytest.approx([0.5, 0.125, 0.5, 0.875])


def test_sets_by_brute_force():
    proxies = {name: [log_percentiles(RNG.random(40)) for _ in range(2)] for name in "abc"}
    supernets = [log_percentiles(RNG.random(40)) for _ in range(3)]
    found = best_sets(proxies, supernets, ACCURACY, HALF).set_index(["set", "supernet"])
    assert len(found) == 2 * 7 and found["size"].max() == 3
    for side, column in enumerate(("tau", "other")):
        own = side == HALF
        sums = [proxies["a"][draw] + proxies["c"][draw] for draw in range(2)]
        alone = [kendalltau(one[own], ACCURACY[own]).statistic for one in sums]
        assert found.loc[("a + c", False), column] == pytest.approx(np.mean(alone))
        beside = [kendalltau((one + net)[own], ACCURACY[own]).statistic for one in sums for net in supernets]
        assert found.loc[("a + c", True), column] == pytest.approx(np.mean(beside))


def test_a_set_of_all_signals_is_best():
    """Each of two knows one half of the order, and a third nothing."""
    order = np.argsort(np.argsort(ACCURACY))
    knows = [np.where(order < 20, order, 19.5), np.where(order >= 20, order, 19.5)]
    proxies = {"low": [log_percentiles(knows[0])], "high": [log_percentiles(knows[1])], "none": [np.zeros(40)]}
    found = best_sets(proxies, [np.zeros(40)], ACCURACY, HALF)
    best = found.loc[found["tau"].idxmax()]
    assert best["set"] == "low + high" and best["tau"] == best["other"] == 1.0


@pytest.mark.slow
def test_table_of_runs(tmp_path, benchmark_table):
    """Of two draws of two proxies and one small supernet."""
    sizes = resized(PRESETS["embedded"], stage_epochs=(1, 1, 1), rank_archs=30, curve_points=0)
    store = RunStore(tmp_path / "runs")
    for method, seed in [("synflow", 0), ("synflow", 1), ("snip", 0), ("snip", 1), ("spos-loglik", 0)]:
        (place := tmp_path / f"{method}-{seed}").mkdir()
        store.save(*run(make_spec(method, seed, "embedded", sizes=sizes), Place(place)))
    text = table(store.root, benchmark_table)
    assert "| snip + synflow | " in text and "| snapshot-loglik | 1 | " in text
