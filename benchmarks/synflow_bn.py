"""What in `synflow-bn` ranks: its images, the draw of the weights, which batch norms divide, the size of the network.

    python -m benchmarks.synflow_bn --images DIR --truth nb201_accuracies.parquet --out results/proxies

Random archs of one half of the functions (`functions.half_of`), seeds 100 and 101, CIFAR-10, so that what is chosen
here can be judged on the other half. Scores are kept as they come, in `synflow-bn-<seed>-<size>.csv`: what is cut goes
on. What is there is summed up in `synflow-bn.md`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.published_proxies import markdown

SIZES = {"c8-n1-16px": (8, 1, 16), "c8-n3-16px": (8, 3, 16), "c16-n1-16px": (16, 1, 16), "c8-n1-32px": (8, 1, 32)}
"""Channels, cells a stage and side of the images; the first is that of preset `cpu`."""
SEEDS = (100, 101)
HALF = 0


@dataclass(frozen=True)
class Way:
    """A way to score.

    Args:
        images: That batch norms see.
        noise: From a normal distribution, in place of real ones.
        draw: Of the weights.
        divide: Of a batch norm, by the name of its module: whether it divides. The others hand on what they read.
        logs: The mean over layers of the logarithm of their flow, in place of the logarithm of the sum.
    """

    images: int = 32
    noise: bool = False
    draw: int = 0
    divide: Callable[[str], bool] = lambda name: True
    logs: bool = False


def in_cells(name: str) -> bool:
    return ".choices." in name


WAYS = {
    "synflow-bn": Way(),
    "8 images": Way(images=8),
    "128 images": Way(images=128),
    "noise for images": Way(noise=True),
    "another draw": Way(draw=1),
    "norms of cells alone": Way(divide=in_cells),
    "norms outside of cells alone": Way(divide=lambda name: not in_cells(name)),
    "no norms: synflow": Way(divide=lambda name: False),
    "mean of logarithms of layers": Way(logs=True),
}


def score(network: Any, way: Way, images: Any) -> float:
    """Of one network with fresh weights, an `Alone`; see `Way`."""
    import torch

    from senas_bench.proxies.synflow import calibrate

    calibrate(network, images[: way.images])
    with torch.no_grad():
        for name, norm in network.network.named_modules():
            if isinstance(norm, torch.nn.BatchNorm2d) and norm.running_mean is not None:
                norm.running_mean.zero_()
                if not way.divide(name):
                    norm.running_var.fill_(1 - norm.eps)
    network.network.eval()
    found = flows(network, images)
    total = sum(found)
    if not total:
        return -math.inf
    return float(np.mean([math.log(flow) for flow in found if flow])) if way.logs else math.log(total)


def flows(network: Any, images: Any) -> list[float]:
    """Of each layer the sum of |w dR/dw|, see `proxies.synflow`, by a way back; the network is left absolute and in
    float64."""
    import torch

    network.network.double()
    with torch.no_grad():
        for parameter in network.network.parameters():
            parameter.abs_()
    weights = network.weights
    ones = torch.ones((1, *images.shape[1:]), dtype=torch.float64, device=images.device)
    ones = ones.contiguous(memory_format=torch.channels_last)
    gradients = network.gradients(network(ones).sum(), weights)
    found = [(weight.detach() * gradient).abs().sum() for weight, gradient in zip(weights, gradients, strict=True)]
    return torch.stack(found).tolist()


def scored(archs: list[str], size: str, seed: int, data: Path) -> Iterator[dict[str, Any]]:
    """Arch by arch the score of each way, what the arch counts, and CPU seconds of `synflow-bn`."""
    import torch

    from senas_bench.data import read_images
    from senas_bench.data.loading import Loading
    from senas_bench.kernels.engines import using
    from senas_bench.proxies.alone import Alone
    from senas_bench.ranking.fresh import Fresh
    from senas_bench.spaces import ImageShape
    from senas_bench.spaces.nasbench201 import NB201_SPACE, Skeleton, arch_from_str

    channels, cells, side = SIZES[size]
    skeleton = Skeleton(side, 10, channels=channels, cells=cells)
    loading = Loading(resolution=side, valid=5000, batch_size=64, eval_batch=128, calibration=128)
    real = read_images("cifar10", data).loaders(loading).valid[0][0]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(seed))

    def made(space: Any, affine: bool) -> Any:
        network: Any = NB201_SPACE.network(space, skeleton, affine)
        return network.to(memory_format=torch.channels_last)

    fresh = Fresh(NB201_SPACE, made, NB201_SPACE.cost(skeleton), ImageShape(side, 10, 3), seed)
    for text in archs:
        arch = arch_from_str(text)
        row: dict[str, Any] = {"arch_str": text, "params": fresh.cost(np.array([arch]))["params"][0]}
        for name, way in WAYS.items():
            begin = time.process_time()
            images = (noise if way.noise else real).contiguous(memory_format=torch.channels_last)
            with using("torch"):
                row[name] = score(Alone(fresh.build(arch, way.draw), arch), way, images)
            row.setdefault("CPU seconds", round(time.process_time() - begin, 4))
        yield row


def drawn(truth: pd.Series, seed: int, count: int) -> list[str]:
    """Arch strings whose functions are in the half, one for each function."""
    from senas_bench.spaces.nasbench201 import arch_from_str
    from senas_bench.spaces.nasbench201.functions import function_arch, half_of

    archs = [(str(text), arch_from_str(str(text))) for text in truth.index]
    own = [text for text, arch in archs if arch == function_arch(arch) and half_of(arch) == HALF]
    return [own[place] for place in np.random.default_rng(seed).permutation(len(own))[:count]]


def table(rows: dict[tuple[str, int], pd.DataFrame], truth: pd.Series) -> pd.DataFrame:
    """By way and size: tau with the truth, each seed; by size the CPU seconds of an arch."""
    from senas_bench.analysis.metrics.correlation import kendall_tau

    found = []
    for name in ("params", *WAYS):
        row: dict[str, Any] = {"score": name}
        for (size, seed), frame in rows.items():
            row[f"{size}, seed {seed}"] = kendall_tau(frame[name].to_numpy(), truth[frame["arch_str"]].to_numpy())
        found.append(row)
    seconds = {f"{size}, seed {seed}": frame["CPU seconds"].median() for (size, seed), frame in rows.items()}
    return pd.DataFrame([*found, {"score": "CPU seconds an arch", **seconds}])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--truth", type=Path, required=True, help="table with arch_str and cifar10_test_acc_200ep")
    parser.add_argument("--out", type=Path, default=Path("results/proxies"))
    parser.add_argument("--archs", type=int, default=300)
    asked = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    truth = pd.read_parquet(asked.truth).set_index("arch_str")["cifar10_test_acc_200ep"]
    asked.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for size in SIZES:
        for seed in SEEDS:
            path = asked.out / f"synflow-bn-{seed}-{size}.csv"
            rows = pd.read_csv(path).to_dict("records") if path.exists() else []
            archs = drawn(truth, seed, asked.archs)[len(rows) :]
            for row in scored(archs, size, seed, asked.images) if archs else ():
                rows.append(row)
                pd.DataFrame(rows).to_csv(path, index=False)
            found[size, seed] = pd.DataFrame(rows)
    (asked.out / "synflow-bn.md").write_text(markdown(table(found, truth)), encoding="utf-8")


if __name__ == "__main__":
    main()
