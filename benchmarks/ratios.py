"""Our training step, ranking, parallel runs and ground truth beside the plain way, as ratios of one run.

    python -m benchmarks.ratios [training-small training ranking-small ranking-large engines jobs table] [--quick]

Prints a line for each and keeps all figures in `benchmarks/ratios-X.json`, where X is the widest instructions of the
processor, as `kernels/engines.py` tells them apart. What runs on one thread is measured in CPU seconds, both ways by
turns, so that other work on the machine weighs on both alike; the rest in wall seconds.
Each way has a process of its own for the whole of a measurement: ours has glibc keep freed memory, which would
speed the plain way up too.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import engines
from benchmarks.plain import CIFAR_MEAN, CIFAR_STD, like, plain_loader, plain_optimizer, plain_ranking, plain_training
from senas_bench.data.loader import TrainLoader
from senas_bench.kernels.processor import instructions
from senas_bench.memory import keep_freed_memory
from senas_bench.ranking.score_archs import Evaluation, distinct_functions, score_archs
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.loop import make_optimizer, train
from senas_bench.training.recipe import TrainingRecipe

HERE = Path(__file__).parent
LARGE = {"channels": 16, "cells": 5, "side": 32}
SMALL = {"channels": 8, "cells": 1, "side": 16}
HEAVIEST = (3, 3, 3, 3, 3, 3)


def a_network(channels: int, cells: int) -> NB201Network:
    """The same weights at every call."""
    torch.manual_seed(0)
    return NB201Network(NB201, channels, cells).to(memory_format=torch.channels_last)


def cpu_seconds(function: Callable[[], Any]) -> float:
    """User and system time of this process and those it waits for, page faults and all."""
    started = _used()
    function()
    return _used() - started


def _used() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def some_archs(count: int, seed: int) -> list[tuple[int, ...]]:
    """Drawn uniformly from the whole space, as in training."""
    return [tuple(row) for row in np.random.default_rng(seed).integers(0, 5, (count, 6)).tolist()]


class Steps:
    """The same paths on both sides, at the optimizer settings of the benchmark's paper.

    Args:
        steps: Of one call of `ours` or `plain`.
    """

    def __init__(self, batch: int, steps: int, channels: int, cells: int, side: int) -> None:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (batch * steps, side, side, 3), dtype=np.uint8)
        labels = rng.integers(0, 10, batch * steps)
        self.network = a_network(channels, cells)
        self.other = like(self.network, channels)
        self.recipe = TrainingRecipe((1,), batch_size=batch, lr=0.025, lr_min=0.025)
        self.optimizers = make_optimizer(self.network, self.recipe), plain_optimizer(self.other)
        self.loader = TrainLoader(images, labels, batch, pad=4, flip=True, mean=CIFAR_MEAN, std=CIFAR_STD)
        self.other_loader = plain_loader(images, labels, batch)

    def ours(self, archs: list[tuple[int, ...]]) -> None:
        paths = iter(archs)
        train(
            self.network,
            self.loader,
            self.recipe,
            lambda rng: [next(paths)],
            epochs=1,
            rng=np.random.default_rng(0),
            generator=torch.Generator().manual_seed(0),
            optimizer=self.optimizers[0],
            keep_snapshots=False,
        )

    def plain(self, archs: list[tuple[int, ...]]) -> None:
        paths = iter(archs)
        plain_training(self.other, self.other_loader, self.optimizers[1], lambda: next(paths))


class Ranking:
    """One batch of images and equal weights on both sides; each call gives the log-likelihoods of archs."""

    def __init__(self, batch: int, channels: int, cells: int, side: int) -> None:
        self.network = a_network(channels, cells)
        self.other = like(self.network, channels)
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(batch, 3, side, side, generator=generator)
        self.y = torch.randint(0, 10, (batch,), generator=generator)
        images = self.x.contiguous(memory_format=torch.channels_last)
        self.evaluation = Evaluation([(images, self.y)], "batch")

    def ours(self, archs: list[tuple[int, ...]]) -> np.ndarray:
        return score_archs(self.network, np.array(archs), self.evaluation)[1]

    def plain(self, archs: list[tuple[int, ...]]) -> np.ndarray:
        return plain_ranking(self.other, [(self.x, self.y)], archs)[1]


class Sides:
    """A process for each way, which make what they are asked to by turns."""

    def __init__(self, make: Callable[..., Any], **arguments: Any) -> None:
        context = get_context("spawn")
        self.pools = {
            name: ProcessPoolExecutor(1, context, _begin, (name, make, arguments)) for name in ("ours", "plain")
        }

    def __call__(self, name: str, archs: list[tuple[int, ...]]) -> tuple[float, Any]:
        """CPU seconds and result of one way."""
        return self.pools[name].submit(_timed, name, archs).result()

    def close(self) -> None:
        for pool in self.pools.values():
            pool.shutdown()


_side: Any = None


def _begin(name: str, make: Callable[..., Any], arguments: dict[str, Any]) -> None:
    global _side
    torch.set_num_threads(1)
    if name == "ours":
        keep_freed_memory()
    _side = make(**arguments)


def _timed(name: str, archs: list[tuple[int, ...]]) -> tuple[float, Any]:
    results = []
    seconds = cpu_seconds(lambda: results.append(getattr(_side, name)(archs)))
    return seconds, results[0]


def training(quick: bool, what: str, batch: int, rounds: int, steps: int, **skeleton: int) -> dict[str, Any]:
    """A step over random paths.

    Args:
        rounds: Turns of each way. steps: In a turn. `quick` takes 2 and 1 instead.
    """
    rounds, steps = (2, 1) if quick else (rounds, steps)
    sides = Sides(Steps, batch=batch, steps=steps, **skeleton)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(rounds + 1):
        archs = some_archs(steps, seed=turn)
        for name in seconds:
            spent, _ = sides(name, archs)
            if turn:  # the first warms up
                seconds[name].append(spent / steps)
    sides.close()
    return {
        "what": what,
        "seconds": {name: median(values) for name, values in seconds.items()},
        "ratio": sum(seconds["plain"]) / sum(seconds["ours"]),
        "ratio_of_rounds": sorted(p / o for p, o in zip(seconds["plain"], seconds["ours"], strict=True)),
        "n": rounds * steps,
    }


def training_small(quick: bool) -> dict[str, Any]:
    """Preset `cpu`'s network."""
    return training(quick, "training step, C=8 N=1, 16x16, batch 64", batch=64, rounds=10, steps=100, **SMALL)


def training_large(quick: bool) -> dict[str, Any]:
    """And the most memory of a process that trains the heaviest path."""
    result = training(quick, "training step, C=16 N=5, 32x32, batch 128", batch=128, rounds=10, steps=4, **LARGE)
    return {**result, "peak_mb": {name: peak_memory(name) for name in result["seconds"]}}


def peak_memory(side: str) -> float:
    """Megabytes, of a process of its own that takes three steps of the heaviest arch."""
    code = (
        "import resource; from benchmarks import ratios as r; "
        f"r._begin({side!r}, r.Steps, dict(batch=128, steps=3, **r.LARGE)); r._timed({side!r}, [r.HEAVIEST] * 3); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=HERE.parent)
    return float(output.stdout)


def ranking(
    channels: int, cells: int, side: int, batch: int, blocks: int, block: int | None, others: int | None
) -> dict[str, Any]:
    """Time to rank the whole space, from `blocks` runs of `block` neighbours and `others` random archs the plain way.

    Where these are None the whole space is ranked both ways, in `blocks` turns. Ours takes 7,548 evaluations, the plain
    way 15,625. Scores are compared on archs that both evaluate, two of each turn.
    """
    distinct = distinct_functions(a_network(channels, cells), NB201.archs())[0]
    everything = [tuple(row) for row in NB201.archs().tolist()]
    if block is None:
        edges = np.linspace(0, len(distinct), blocks + 1).astype(int).tolist()
        ours_in = [distinct[start:end] for start, end in itertools.pairwise(edges)]
    else:
        starts = np.linspace(0, len(distinct) - block, blocks).astype(int).tolist()
        ours_in = [distinct[start : start + block] for start in starts]
    if others is None:
        plain_in = [everything[turn::blocks] for turn in range(blocks)]
    else:
        plain_in = [some_archs(others // blocks, seed=100 + turn) for turn in range(blocks)]
    sides = Sides(Ranking, batch=batch, channels=channels, cells=cells, side=side)
    sides("ours", distinct[:5]), sides("plain", distinct[:2])
    spent = {"ours": 0.0, "plain": 0.0}
    difference = 0.0
    for mine, theirs in zip(ours_in, plain_in, strict=True):
        seconds, scores = sides("ours", mine)
        spent["ours"] += seconds
        spent["plain"] += sides("plain", theirs)[0]
        difference = max(difference, float(np.abs(sides("plain", mine[:2])[1] - scores[:2]).max()))
    sides.close()
    n = {"ours": sum(map(len, ours_in)), "plain": sum(map(len, plain_in))}
    total = {
        "ours": spent["ours"] / n["ours"] * len(distinct),
        "plain": spent["plain"] / n["plain"] * len(everything),
    }
    return {
        "what": f"ranking of 15,625 archs, C={channels} N={cells}, {side}x{side}, {batch} images",
        "seconds": total,
        "ratio": total["plain"] / total["ours"],
        "largest_difference": difference,
        "n": n,
    }


def ranking_small(quick: bool) -> dict[str, Any]:
    sizes = {"blocks": 4, "block": 50, "others": 40} if quick else {"blocks": 50, "block": None, "others": None}
    return ranking(**SMALL, batch=125, **sizes)


def ranking_large(quick: bool) -> dict[str, Any]:
    return ranking(**LARGE, batch=64, blocks=1 if quick else 6, block=10 if quick else 40, others=5 if quick else 120)


def jobs(quick: bool) -> dict[str, Any]:
    """Ten seeds of a short run on two cores: two at a time on one thread each, and one at a time on two."""
    seconds = {}
    for name, options in (
        ("two at a time", ["--jobs", "2", "--threads", "1"]),
        ("one", ["--jobs", "1", "--threads", "2"]),
    ):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", "from senas_bench.cli import main; main()", "reproduce", "table3"]
            command += ["--methods", "spos", "--seeds", "0-1" if quick else "0-9", "--stage-epochs", "4,4,4"]
            command += ["--curve-points", "0", "--rank-archs", "200", "--results", folder, *options]
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, cwd=HERE.parent, env=_free_threads())
            seconds[name] = time.perf_counter() - started
    ratio = seconds["one"] / seconds["two at a time"]
    return {"what": "runs of 10 seeds, two at a time against one on two threads", "seconds": seconds, "ratio": ratio}


def _free_threads() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


def table(quick: bool) -> dict[str, Any]:
    """Open a table of 15,625 rows and join all, against the official package with a file of the official shape.

    The official package reads as many records as there are here; for 15,625 its time is extrapolated.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from senas_bench.groundtruth import load_ground_truth
    from senas_bench.groundtruth.query import Query
    from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

    archs, query = (10 if quick else 100), Query("cifar10", "test", 200, "mean")
    names = [arch_to_str(arch) for arch in official_archs()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        accuracy = np.random.default_rng(0).random((2, len(names))) * 100
        columns = dict(zip(("cifar10_test_acc_200ep", "cifar100_test_acc_200ep"), accuracy, strict=True))
        pq.write_table(pa.table({"arch_str": names, **columns}), path)

        def ours() -> None:
            load_ground_truth(path).accuracy(query, names)

        ours()
        mine = median(cpu_seconds(ours) for _ in range(5))
        theirs = _official(Path(folder), archs) / archs * len(names)
    return {
        "what": f"opening and joining a table of 15,625 archs (theirs from {archs})",
        "seconds": {"ours": mine, "plain": theirs},
        "ratio": theirs / mine,
    }


def _official(folder: Path, archs: int) -> float:
    """CPU seconds that `nas-bench-201` needs to open a file of `archs` records and read one accuracy of each.

    It is given what `torch.load` reads: it no longer opens its file itself, as `weights_only` is now the default.
    """
    from nas_201_api import NASBench201API

    source = spec_from_file_location("official_files", HERE.parent / "tests" / "groundtruth" / "conftest.py")
    files = module_from_spec(source)
    source.loader.exec_module(files)
    path = files.write_pth(folder / "NAS-Bench-201-v1_1-096897.pth", archs)

    def read() -> None:
        api = NASBench201API(torch.load(path, weights_only=False), verbose=False)
        for index in api.evaluated_indexes:
            api.get_more_info(index, "cifar10", None, hp="200", is_random=False)

    return cpu_seconds(read)


MEASURES: dict[str, Callable[[bool], dict[str, Any]]] = {
    "training-small": training_small,
    "training": training_large,
    "ranking-small": ranking_small,
    "ranking-large": ranking_large,
    "engines": engines.measure,
    "jobs": jobs,
    "table": table,
}


def where() -> dict[str, Any]:
    """Hardware, software and commit, for a reader of the figures."""
    cpu = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return {
        "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),
        "cpu": cpu.partition(":")[2].strip() or cpu,
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main(arguments: list[str]) -> int:
    """Measure what is named, everything by default."""
    quick = "--quick" in arguments
    names = [argument for argument in arguments if argument != "--quick"] or list(MEASURES)
    if unknown := set(names) - set(MEASURES):
        print(f"error: unknown {', '.join(unknown)}; one or more of: {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    path = HERE / f"ratios-{instructions()}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    for name in names:
        result = {**MEASURES[name](quick), "where": where()}
        print(f"{result['what']}: {result['ratio']:.2f}x", flush=True)
        if not quick:
            kept[name] = result
            path.write_text(json.dumps(kept, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
