"""Our proxies beside those that NASLib published, arch by arch: networks of full size on CIFAR-10.

    python -m benchmarks.published_proxies FILE --images DIR --out results/proxies

FILE is a table of published scores with a column `arch_str` and one for each proxy of `PUBLISHED`. Archs are scored in
a random order and kept as they come, in `seed-100.csv`: what is cut goes on. What is there is summed up in `table.md`.
Scores of the same archs with another `--seed`, in a file of their own, say how much a draw of the weights decides.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

PUBLISHED = {
    "synflow": "synflow",
    "l2-norm": "l2_norm",
    "snip": "snip",
    "grasp": "grasp",
    "fisher": "fisher",
    "grad-norm": "grad_norm",
    "plain": "plain",
    "jacob-cov": "jacov",
    "naswot": "nwot",
}
"""Column of the file, by our name of the proxy."""
OURS = ("synflow-bn",)
"""Scored on the same archs, though nobody published it."""
SEED = 100


def weights_of(images: Path, seed: int) -> tuple[Any, Any]:
    """What `TrainingFree` asks for: networks of the benchmark for CIFAR-10, and validation images, the first of which
    it takes."""
    from senas_bench.data import read_images
    from senas_bench.data.loading import Loading
    from senas_bench.ranking.fresh import Fresh
    from senas_bench.spaces import ImageShape
    from senas_bench.spaces.nasbench201 import NB201_SPACE, SKELETONS

    skeleton = SKELETONS["cifar10"]
    loading = Loading(resolution=32, valid=5000, batch_size=64, eval_batch=125, calibration=125)
    batches = read_images("cifar10", images).loaders(loading).valid[:8]

    def network(space: Any, affine: bool) -> Any:
        import torch

        made: Any = NB201_SPACE.network(space, skeleton, affine)
        return made.to(memory_format=torch.channels_last)

    fresh = Fresh(NB201_SPACE, network, NB201_SPACE.cost(skeleton), ImageShape(32, 10, 3), seed, lambda: batches)
    return SimpleNamespace(fresh=lambda size: fresh), SimpleNamespace(batches=batches)


def scored(archs: list[str], names: list[str], images: Path, seed: int, draws: int) -> Iterator[dict[str, Any]]:
    """Arch by arch our scores, and the seconds of each."""
    from senas_bench.ranking.training_free import TrainingFree
    from senas_bench.spaces.nasbench201 import arch_from_str

    weights, evaluation = weights_of(images, seed)
    for text in archs:
        row: dict[str, Any] = {"arch_str": text}
        for name in names:
            begin = time.process_time()
            estimator = TrainingFree(name, size="full", draws=draws)
            score, _ = estimator(weights, np.array([arch_from_str(text)]), evaluation, weights.fresh("full").cost)
            row |= {name: score[0], f"{name} seconds": round(time.process_time() - begin, 3)}
        yield row


def table(ours: pd.DataFrame, published: pd.DataFrame, truth: Any, again: pd.DataFrame | None = None) -> pd.DataFrame:
    """By proxy, over archs whose two scores are finite: Spearman between ours and the published, and between two draws
    of ours, tau of both with the truth, and the median of our seconds.

    Args:
        ours, published, again: By arch string; `again` with other weights, perhaps of fewer archs and proxies.
    """
    from scipy.stats import spearmanr

    from senas_bench.analysis.metrics.correlation import kendall_tau

    rows = []
    for name in [name for name in (*PUBLISHED, *OURS) if name in ours]:
        own, other = ours[name], published.loc[ours.index, PUBLISHED[name]] if name in PUBLISHED else None
        usable = np.isfinite(np.asarray(own))
        if other is not None:  # what NASLib could not score is -1e8 there
            usable &= np.isfinite(np.asarray(other)) & (np.asarray(other) > -1e7)
        at = own.index[usable]
        row: dict[str, Any] = {"proxy": name, "n": len(at)}
        row["spearman"] = np.nan if other is None else spearmanr(own[at], other[at])[0]
        row["spearman, two draws of ours"] = np.nan
        if again is not None and name in again:
            both = at.intersection(again.index[np.isfinite(np.asarray(again[name]))])
            row["spearman, two draws of ours"] = spearmanr(own[both], again.loc[both, name])[0]
        if truth is not None:
            tau = lambda scores: kendall_tau(np.asarray(scores), np.asarray(truth[scores.index]))  # noqa: E731
            row |= {"tau, ours": tau(own[at]), "tau, published": np.nan if other is None else tau(other[at])}
            row["tau, ours, cut-off archs too"] = tau(own)
        rows.append({**row, "CPU seconds an arch": ours[f"{name} seconds"].median()})
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(frame.columns) + " |", "|---" * len(frame.columns) + "|"]
    for row in frame.itertuples(index=False):
        cells = [
            cell if isinstance(cell, str) else f"{cell}" if isinstance(cell, int) else f"{cell:.3f}" for cell in row
        ]
        lines.append("| " + " | ".join(cells).replace("nan", "") + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=Path, help="folder of CIFAR-10")
    parser.add_argument("--truth", type=Path, help="benchmark table with arch_str and cifar10_test_acc_200ep")
    parser.add_argument("--out", type=Path, default=Path("results/proxies"))
    parser.add_argument("--archs", type=int, default=200, help="at most so many in all")
    parser.add_argument("--proxies", default=",".join([*PUBLISHED, *OURS]), help="names, with commas between")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--draws", type=int, default=1)
    asked = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    published = pd.read_parquet(asked.file).set_index("arch_str")
    order = np.random.default_rng(0).permutation(len(published))[: asked.archs]
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / f"seed-{asked.seed}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {row["arch_str"] for row in rows}
    wanted = [published.index[place] for place in order if published.index[place] not in done]
    for row in scored(wanted, asked.proxies.split(","), asked.images, asked.seed, asked.draws) if wanted else ():
        rows.append(row)
        pd.DataFrame(rows).to_csv(path, index=False)
    truth = None
    if asked.truth:
        truth = pd.read_parquet(asked.truth).set_index("arch_str")["cifar10_test_acc_200ep"]
    first, *others = sorted(asked.out.glob("seed-*.csv"))
    again = pd.read_csv(others[0]).set_index("arch_str") if others else None
    found = table(pd.read_csv(first).set_index("arch_str"), published, truth, again)
    (asked.out / "table.md").write_text(markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main()
