"""What bfloat16 changes: the same weights scored both ways, and two trainings that differ in nothing else.

    python -m benchmarks.precision --images DIR --truth nb201_accuracies.parquet --out results/precision

A supernet of the paper's size (C=16, N=5, 32x32) is trained on CIFAR-10 over the same paths, once in float32 and once
in bfloat16, by torch. Random archs are scored by log-likelihood with the statistics of their batches: with the float32
weights in float32 and in bfloat16, and with the bfloat16 weights in bfloat16. Seed 100: tuning, not reporting.
Trainings and scores are kept as they come: what is cut goes on. The sum of it is `precision.md`.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.published_proxies import markdown

SEED = 100


class Size(NamedTuple):
    """Channels, cells a stage, side of the images; images of a training step and of a scoring batch."""

    channels: int
    cells: int
    side: int
    batch: int
    score_batch: int


PAPER = Size(16, 5, 32, 128, 100)
WAYS = {
    "trained and scored in float32": ("float32", False),
    "trained in float32, scored in bfloat16": ("float32", True),
    "trained and scored in bfloat16": ("bfloat16", True),
}
"""Precision of the training, and whether the scores are of bfloat16."""


def trained(size: Size, precision: str, epochs: int, loader: Any, checkpoint: Path) -> Any:
    """A network after `epochs` epochs of uniform paths; the same paths and images for every precision."""
    import torch

    from senas_bench.spaces.nasbench201 import NB201
    from senas_bench.spaces.nasbench201.network import NB201Network
    from senas_bench.training.loop import train
    from senas_bench.training.recipe import TrainingRecipe

    torch.manual_seed(SEED)
    network = NB201Network(NB201, size.channels, size.cells).to(memory_format=torch.channels_last)
    train(
        network,
        loader,
        TrainingRecipe((epochs,), size.batch, lr=0.05, lr_min=0.0, lr_horizon=0, precision=precision),
        lambda rng: [tuple(rng.integers(0, 5, 6).tolist())],
        epochs=epochs,
        rng=np.random.default_rng(SEED),
        generator=torch.Generator().manual_seed(SEED),
        keep_snapshots=False,
        checkpoint=checkpoint,
        on_epoch=lambda done, loss: print(f"{precision}, epoch {done}: loss {loss:.3f}", flush=True),
    )
    return network


def scored(network: Any, archs: np.ndarray, batches: list[Any], half: bool) -> np.ndarray:
    """Log-likelihoods of archs."""
    from senas_bench.ranking.score_archs import Evaluation, score_archs

    return score_archs(network, archs, Evaluation(batches, "batch", half=half))[1]


def table(scores: pd.DataFrame, truth: pd.Series) -> pd.DataFrame:
    """Tau of each way with the truth, and of each two ways with each other."""
    from senas_bench.analysis.metrics.correlation import kendall_tau

    known = truth[scores["arch_str"]].to_numpy()
    ways = [way for way in WAYS if way in scores]
    pairs = [("truth", way, known, scores[way]) for way in ways]
    pairs += [(one, other, scores[one], scores[other]) for one, other in itertools.combinations(ways, 2)]
    return pd.DataFrame(
        [{"one": one, "other": other, "tau": kendall_tau(np.asarray(a), np.asarray(b))} for one, other, a, b in pairs]
    )


def images(folder: Path, size: Size, score_images: int) -> Any:
    """Loaders of CIFAR-10."""
    from senas_bench.data import read_images
    from senas_bench.data.loading import Loading

    few = {"valid": score_images, "eval_batch": size.score_batch, "calibration": size.score_batch}
    loading = Loading(resolution=size.side, batch_size=size.batch, pad=4, flip=True, **few)
    return read_images("cifar10", folder).loaders(loading)


def measure(loaders: Any, names: list[str], epochs: int, out: Path, work: Path, size: Size = PAPER) -> pd.DataFrame:
    """Scores of each way, by the names of archs; kept in `precision.csv`."""
    from senas_bench.kernels.engines import using
    from senas_bench.spaces.nasbench201 import arch_from_str

    archs, path = np.array([arch_from_str(name) for name in names]), out / "precision.csv"
    scores = pd.read_csv(path) if path.exists() else pd.DataFrame({"arch_str": names})
    with using("torch"):
        for way, (precision, half) in WAYS.items():
            if way in scores:
                continue
            network = trained(size, precision, epochs, loaders.train, work / f"{precision}.pt")
            begin = time.process_time()
            scores[way] = scored(network, archs, loaders.valid, half)
            print(f"{way}: {(time.process_time() - begin) / len(archs):.3f} CPU seconds an arch", flush=True)
            scores.to_csv(path, index=False)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--truth", type=Path, required=True, help="table with arch_str and cifar10_test_acc_200ep")
    parser.add_argument("--out", type=Path, default=Path("results/precision"))
    parser.add_argument("--work", type=Path, help="folder of checkpoints; that of the results if not given")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--archs", type=int, default=200)
    parser.add_argument("--score-images", type=int, default=500)
    asked = parser.parse_args()

    import torch

    from senas_bench.memory import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    work = asked.work or asked.out
    for folder in (asked.out, work):
        folder.mkdir(parents=True, exist_ok=True)
    truth = pd.read_parquet(asked.truth).set_index("arch_str")["cifar10_test_acc_200ep"]
    names = truth.index[np.random.default_rng(SEED).permutation(len(truth))[: asked.archs]].tolist()
    loaders = images(asked.images, PAPER, asked.score_images)
    scores = measure(loaders, names, asked.epochs, asked.out, work)
    (asked.out / "precision.md").write_text(markdown(table(scores, truth)), encoding="utf-8")


if __name__ == "__main__":
    main()
