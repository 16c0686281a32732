"""How time grows with archs, width, cells, images and seeds: `benchmarks/curves.csv` and `.png`.

    python -m benchmarks.curves

CPU seconds of one thread, the least of three, of whole runs the first; nothing is larger than it must be to show the
growth. A slope is that of log time over log size: 1 is linear. Channels count once in a tensor and twice in the work of
a convolution, so for the width the size is channels squared.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.ratios import Ranking, Steps, cpu_seconds, some_archs
from senas_bench.memory import keep_freed_memory
from senas_bench.ranking.score_archs import distinct_functions
from senas_bench.spaces.nasbench201 import NB201

HERE = Path(__file__).parent
BASE = {"channels": 8, "cells": 1, "side": 16}
Point = tuple[str, str, int, Callable[[], object]]
"""Curve, what its size is, size, and what is timed."""


def points() -> Iterator[Point]:
    """Everything that is timed."""
    ranking = Ranking(batch=64, **BASE)
    distinct = distinct_functions(ranking.network, NB201.archs())[0]
    for count in (50, 100, 200, 400):  # spread over the space: its first archs are its smallest
        spread = [distinct[place] for place in np.linspace(0, len(distinct) - 1, count).astype(int)]
        yield "ranking", "archs", count, lambda spread=spread: ranking.ours(spread)
    for images in (32, 64, 128, 256):
        side = Ranking(batch=images, **BASE)
        yield "ranking", "images", images, lambda side=side: side.ours(distinct[:50])
    archs = some_archs(4, seed=0)
    for channels in (8, 16, 32):
        side = Steps(32, 4, **{**BASE, "channels": channels})
        yield "training", "channels squared", channels**2, lambda side=side: side.ours(archs)
    for cells in (1, 2, 4, 8):
        side = Steps(32, 4, **{**BASE, "cells": cells})
        yield "training", "cells", cells, lambda side=side: side.ours(archs)
    for images in (64, 128, 256, 512):
        side = Steps(32, images // 32, **BASE)
        yield "training", "images", images, lambda side=side, n=images // 32: side.ours(some_archs(n, seed=0))
    for seeds in (1, 2, 4):
        yield "runs", "seeds", seeds, lambda seeds=seeds: _runs(seeds)


def _runs(seeds: int) -> None:
    """Whole runs of `spos`, an epoch a stage, one after the other in a process that is started for them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from senas_bench.cli import main; main()", "reproduce", "table3"]
        command += ["--methods", "spos", "--seeds", f"0-{seeds - 1}", "--stage-epochs", "1,1,1", "--rank-archs", "100"]
        command += ["--curve-points", "0", "--executor", "serial", "--device", "cpu", "--results", folder]
        subprocess.run(command, check=True, capture_output=True, cwd=HERE.parent)


def slopes(rows: list[tuple[str, str, int, float]]) -> dict[tuple[str, str], float]:
    """Per curve the slope of log seconds over log size."""
    curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for name, what, size, seconds in rows:
        curves.setdefault((name, what), []).append((size, seconds))
    return {key: float(np.polyfit(*np.log(np.array(values)).T, 1)[0]) for key, values in curves.items()}


def draw(rows: list[tuple[str, str, int, float]], path: Path) -> None:
    """One panel a curve, with a dashed line through its first point that grows linearly."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    growth = slopes(rows)
    figure, axes = plt.subplots(2, -(-len(growth) // 2), figsize=(11, 5.5), layout="constrained")
    for axis, (key, slope) in zip(axes.flat, growth.items(), strict=False):
        sizes, seconds = np.array([row[2:] for row in rows if row[:2] == key]).T
        axis.loglog(sizes, seconds, "o-")
        axis.loglog(sizes, seconds[0] * sizes / sizes[0], "--", color="gray", label="linear")
        axis.legend(frameon=False)
        axis.set(title=f"{key[0]} by {key[1]}: slope {slope:.2f}", xlabel=key[1], ylabel="CPU seconds")
        axis.set_xticks(sizes, [f"{int(size):,}" for size in sizes])  # minor ticks of a decade would overlap
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for side in (axis.xaxis, axis.yaxis):
            side.set_minor_formatter(NullFormatter())
    for axis in axes.flat[len(growth) :]:
        axis.remove()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    """Measure, write, draw."""
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for name, what, size, call in points():
        whole = name == "runs"
        if not whole:
            call()
        rows.append((name, what, size, min(cpu_seconds(call) for _ in range(1 if whole else 3))))
        print(f"{name} {what} {size}: {rows[-1][3]:.3f} s", flush=True)
    with (HERE / "curves.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("curve", "size_of", "size", "cpu_seconds"), *rows])
    draw(rows, HERE / "curves.png")
    for (name, what), slope in slopes(rows).items():
        print(f"{name} over {what}: slope {slope:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
