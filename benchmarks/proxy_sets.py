"""Which estimators rank best together, from runs: how the parts of `four-proxies` were chosen.

    python -m benchmarks.proxy_sets results/proxy-sets TRUTH.parquet > results/proxy-sets/table.md

The folder holds runs that ranked the same archs: `rank --method synflow --estimator X` for proxies, each seed a draw of
the untrained networks, and `spos-loglik`, each seed a supernet. Every set of up to five estimators with two draws is
ranked as `Aggregate` does, with and without the supernets' log-likelihood. Sets stand in the order of their tau on
one half of the functions (`functions.half_of`, half 0); their tau on the other half was not looked at for that.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.published_proxies import markdown
from senas_bench.analysis.join import final_scores
from senas_bench.analysis.metrics.correlation import kendall_tau, top_tau
from senas_bench.experiments.store import RunStore
from senas_bench.groundtruth import Query, load_ground_truth
from senas_bench.ranking.aggregate import percentiles
from senas_bench.spaces.nasbench201 import arch_from_str
from senas_bench.spaces.nasbench201.functions import half_of

SUPERNET = "snapshot-loglik"
LARGEST = 5
SHOWN = 5
Draws = Mapping[str, Sequence[np.ndarray]]
"""By estimator and draw `(archs,)` logarithms of percentiles."""


def shares_of(folder: Path) -> tuple[list[str], dict[str, list[np.ndarray]], pd.Series]:
    """The archs that all runs of a folder ranked, log-percentiles by estimator and seed, and seconds of a run each."""
    store, frames, seconds = RunStore(folder), {}, {}
    for record in sorted(store.records(), key=lambda record: record.spec.seed):
        name = record.spec.settings.get("estimator") or record.spec.settings["method"]["estimator"]
        frames.setdefault(name, []).append(final_scores(store.scores(record)).set_index("arch_str")["score"])
        seconds.setdefault(name, record.timing["search_seconds"])
    archs = sorted(set.intersection(*(set(one.index) for found in frames.values() for one in found)))
    shares = {name: [log_percentiles(one[archs].to_numpy(float)) for one in found] for name, found in frames.items()}
    return archs, shares, pd.Series(seconds)


def log_percentiles(scores: np.ndarray) -> np.ndarray:
    """`(archs,)` ln p, p the percentile among these archs, as in `Aggregate`."""
    return np.log(percentiles(scores, scores))


def best_sets(proxies: Draws, supernets: Sequence[np.ndarray], accuracy: np.ndarray, half: np.ndarray) -> pd.DataFrame:
    """Each set of up to `LARGEST` proxies, alone and beside a supernet, means over draws and supernets.

    Args:
        proxies: Each with the same number of draws.
        supernets: `(archs,)` log-percentiles.
        accuracy: `(archs,)` percent.
        half: `(archs,)` 0 or 1.

    Returns:
        `set`, `supernet`, `size`, `tau` on half 0, `other` half, `top`: tau within the truly best tenth.
    """
    draws, rows = min(map(len, proxies.values())), []
    nothing = [np.zeros(len(accuracy))]
    for size in range(1, LARGEST + 1):
        for names in combinations(proxies, size):
            sums = [sum(proxies[name][draw] for name in names) for draw in range(draws)]
            for beside in (nothing, supernets):
                taus = [_taus(one + other, accuracy, half) for one in sums for other in beside]
                rows.append([" + ".join(names), beside is supernets, size, *np.mean(taus, axis=0)])
    return pd.DataFrame(rows, columns=["set", "supernet", "size", "tau", "other", "top"])


def _taus(scores: np.ndarray, accuracy: np.ndarray, half: np.ndarray) -> list[float]:
    halves = [kendall_tau(scores[half == side], accuracy[half == side]) for side in range(2)]
    return [*halves, top_tau(scores, accuracy)]


def table(folder: Path, truth: Path) -> str:
    """Markdown: every estimator alone, and the best sets of each size."""
    archs, shares, seconds = shares_of(folder)
    accuracy = np.asarray(load_ground_truth(truth).accuracy(Query("cifar10", "test", 200, "mean"), archs))
    half = np.array([half_of(arch_from_str(arch)) for arch in archs])
    alone = pd.DataFrame(
        [
            [name, len(found), *np.mean([_taus(one, accuracy, half) for one in found], axis=0), seconds[name]]
            for name, found in shares.items()
        ],
        columns=["estimator", "draws", "tau, half 0", "tau, half 1", "tau top 10%", "seconds"],
    ).sort_values("tau, half 0", ascending=False)
    proxies = {name: found for name, found in shares.items() if name != SUPERNET and len(found) > 1}
    sets = best_sets(proxies, shares[SUPERNET], accuracy, half)
    lines = [f"{len(archs)} archs, CIFAR-10 test accuracy after 200 epochs.", "", markdown(alone.round(3))]
    for beside, title in ((False, "without a supernet"), (True, f"with a supernet, mean of {len(shares[SUPERNET])}")):
        best = sets[sets["supernet"] == beside].sort_values(["size", "tau"], ascending=[True, False])
        best = best.groupby("size").head(SHOWN).drop(columns=["supernet", "size"])
        best.columns = ["set", "tau, half 0", "tau, half 1", "tau top 10%"]
        lines += ["", f"Sets {title}:", "", markdown(best.round(3))]
    return "\n".join(line.rstrip("\n") for line in lines)


if __name__ == "__main__":
    print(table(*map(Path, sys.argv[1:])))
