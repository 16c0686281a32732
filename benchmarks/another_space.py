"""Do the scores that were chosen on NAS-Bench-201 rank in another space too?

    python -m benchmarks.another_space --images DIR --results results/another-space

Some archs of the fixed sample that rankings of the space cover are trained from scratch, one by one, with one seed or
several: their mean accuracy on the test images is the truth here. Methods that train nothing rank the same archs. Runs
are kept in the results folder: what is cut goes on. `table.md` there says what is finished.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

METHODS = ("four-proxies", "swap", "synflow-bn", "az-nas", "naswot", "zico", "gradsign")
RESAMPLES = 2000


def rankings(folder: Path, methods: Sequence[str]) -> pd.DataFrame:
    """The scores of the archs that all methods ranked: a column for each method, by arch string."""
    from senas_bench.analysis.join import final_scores
    from senas_bench.experiments.store import RunStore

    store = RunStore(folder)
    found = {record.spec.method: record for record in store.records() if record.spec.method in methods}
    columns = {m: final_scores(store.scores(found[m])).set_index("arch_str")["score"] for m in methods}
    return pd.DataFrame(columns).dropna().sort_index()


def trained(folder: Path) -> pd.DataFrame:
    """Of each training from scratch `arch`, `seed`, `top1`, test accuracy in percent, `params`, and `flops_m` in
    millions."""
    from senas_bench.experiments.store import RunStore

    rows = []
    for record in RunStore(folder).records():
        if record.spec.method == "fixed":
            phases = {line["phase"]: line for line in record.history if "phase" in line}
            costs = {name: phases["pick"][name] for name in ("params", "flops_m")}
            rows.append({"arch": record.pick, "seed": record.spec.seed, "top1": phases["retrain"]["top1"], **costs})
    return pd.DataFrame(rows)


def table(scores: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Tau of each method, and of size, with the mean accuracy of the archs that were trained with every seed; its 95%
    bootstrap interval over archs; and the accuracy of its pick among them. Where there are several seeds, the mean tau
    of one with another says how much of the truth is noise.

    Args:
        scores: As `rankings`.
        found: As `trained`; at least `MIN_ARCHS` archs.
    """
    from senas_bench.analysis.metrics.bootstrap import mean_tau_interval
    from senas_bench.analysis.metrics.correlation import kendall_tau

    runs = found.pivot(index="arch", columns="seed", values="top1").dropna()
    truth, sizes = runs.mean(axis=1).to_numpy(), found.groupby("arch")[["params", "flops_m"]].first()
    rows: list[dict[str, Any]] = []
    for method, column in scores.join(sizes).loc[runs.index].items():
        values = column.to_numpy(float)
        low, high = mean_tau_interval([values], truth, np.random.default_rng(0), n_resamples=RESAMPLES)
        picked = float(truth[values == values.max()].mean())
        tau = kendall_tau(values, truth)
        rows.append({"method": method, "n": len(truth), "tau": tau, "low": low, "high": high, "pick": picked})
    pairs = [kendall_tau(runs[a].to_numpy(), runs[b].to_numpy()) for a, b in combinations(runs.columns, 2)]
    if pairs:
        rows.append({"method": "another seed", "n": len(truth), "tau": float(np.mean(pairs))})
    return pd.DataFrame(rows).sort_values("tau", ascending=False, ignore_index=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, rank, and write what there is."""
    import senas_bench as sb
    from benchmarks.published_proxies import markdown

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder with the images")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--space", default="darts")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--archs", type=int, default=30, help="how many are trained")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    asked = parser.parse_args(arguments)
    options: Mapping[str, Any] = {"preset": asked.preset, "results": asked.results, "jobs": 1, "data_dir": asked.images}
    for method in asked.methods:
        sb.search(asked.space, method, **options)
    scores = rankings(asked.results, asked.methods)
    for arch in np.random.default_rng(0).permutation(scores.index)[: asked.archs]:
        sb.retrain(str(arch), asked.space, range(asked.seeds), **options)
    found = trained(asked.results)
    spread = f"{found['top1'].mean():.2f} ± {found['top1'].std():.2f} percent"
    text = f"Test accuracy of {len(found)} trainings: {spread}.\n\n{markdown(table(scores, found))}"
    (asked.results / "table.md").write_text(text)


if __name__ == "__main__":
    main()
