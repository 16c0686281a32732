"""Who wins where: torch (channels-last; float32, bfloat16), the loops in C, and the loops without their convolutions.

    python -m benchmarks.ratios engines [--quick]

From this the table in `kernels/engines.py` is made for a processor. CPU seconds of one process, all ways by turns, and
medians of ratios, so that other work on the machine weighs on all alike.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch

from senas_bench.kernels import engines
from senas_bench.kernels.convolutions import Conv2d
from senas_bench.kernels.processor import instructions
from senas_bench.memory import keep_freed_memory
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network

SIZES = {"C=8 N=1 8x8 b64": (8, 1, 8, 64), "C=8 N=1 16x16 b64": (8, 1, 16, 64), "C=16 N=5 32x32 b128": (16, 5, 32, 128)}
"""Channels, cells, side, batch."""
ALWAYS = engines.ALWAYS
MIXED = "loops, convolutions by torch"
"""For scoring alone: what is trained by the loops has its convolutions there, too."""
BFLOAT16 = "torch, bfloat16"
WAYS: dict[str, engines.Limits | None] = {
    "torch": None,
    BFLOAT16: None,
    "loops": engines.Limits(ALWAYS, ALWAYS),
    MIXED: engines.Limits(ALWAYS, 0),
    "the table": engines.limits(),
}


@contextmanager
def way(name: str) -> Iterator[None]:
    """Compute in one of `WAYS`."""
    row, kept = WAYS[name], dict(engines.LIMITS)
    engines.LIMITS[instructions()] = row or engines.limits()
    try:
        with (
            engines.using("torch" if row is None else "compiled"),
            torch.autocast("cpu", torch.bfloat16, enabled=name == BFLOAT16),
        ):
            yield
    finally:
        engines.LIMITS.update(kept)


def compare(function: Callable[[int], Any], ways: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Per way the median seconds of `function(round)`, and the median of how many times faster than torch it is."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn, name in itertools.product(range(rounds + 1), ways):
        with way(name):
            started = time.process_time()
            function(turn)
            if turn:  # the first warms up
                seconds[name].append(time.process_time() - started)
    return {
        name: {
            "seconds": median(values),
            "ratio": median(t / v for t, v in zip(seconds["torch"], values, strict=True)),
        }
        for name, values in seconds.items()
    }


def passes(size: tuple[int, int, int, int], training: bool, rounds: int) -> dict[str, dict[str, float]]:
    """Random archs forward and back, or scored one after the other with what they share kept."""
    channels, cells, side, batch = size
    torch.manual_seed(0)
    network = NB201Network(NB201, channels, cells).to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    labels, count = torch.arange(batch) % 10, 2 if cells > 1 else 40

    def run(turn: int) -> None:
        rows = np.random.default_rng(turn).integers(0, 5, (count, 6)).tolist()
        cache: dict[Any, Any] = {}
        for arch in sorted(map(tuple, rows)):
            with torch.set_grad_enabled(training):
                loss = torch.nn.functional.cross_entropy(network(x, arch, cache), labels)
            if training:
                network.zero_grad(set_to_none=True)
                loss.backward()

    return compare(run, [name for name in WAYS if name != MIXED or not training], rounds)


def convolution(c_in: int, c_out: int, kernel: int, stride: int, side: int, batch: int) -> dict[str, dict[str, float]]:
    """One layer, forward and back."""
    layer = Conv2d(c_in, c_out, kernel, stride).to(memory_format=torch.channels_last)
    x = torch.randn(batch, c_in, side, side).contiguous(memory_format=torch.channels_last).requires_grad_(c_in > 3)
    back = torch.randn(layer(x).shape).contiguous(memory_format=torch.channels_last)
    calls = max(1, 2**20 // (batch * side * side * max(c_in, c_out)))

    def run(turn: int) -> None:
        for _ in range(calls):
            layer(x).backward(back)

    return compare(run, ["torch", "loops", "the table"], 7)


def convolutions(size: tuple[int, int, int, int]) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """Those of a network."""
    width, _, side, batch = size
    layers = [(3, width, 3, 1, side)]
    for stage in range(3):
        c, s = width * 2**stage, side // 2**stage
        layers += [(c, c, 3, 1, s), (c, c, 1, 1, s)]
        layers += [(c, 2 * c, 3, 2, s), (c, 2 * c, 1, 1, s // 2)] if stage < 2 else []
    for c_in, c_out, kernel, stride, s in layers:
        what = f"{c_in}->{c_out} {kernel}x{kernel} stride {stride} on {s}x{s} b{batch}"
        yield what, convolution(c_in, c_out, kernel, stride, s, batch)


def measure(quick: bool) -> dict[str, Any]:
    """All sizes, printed line by line; the ratio is the least of the table's."""
    keep_freed_memory()
    found: dict[str, Any] = {}
    print(f"instructions: {instructions()}")
    for name, size in SIZES.items():
        rows = [
            (f"{what}, {name}", passes(size, what == "training", 2 if quick else 9)) for what in ("training", "scoring")
        ]
        for what, row in itertools.chain(rows, () if quick else convolutions(size)):
            found[what] = row
            words = [f"{each} {r['seconds'] * 1e3:.1f} ms ({r['ratio']:.2f}x)" for each, r in row.items()]
            print(f"{what}: {', '.join(words)}", flush=True)
    least = min(row["the table"]["ratio"] for what, row in found.items() if "," in what)
    return {"what": "the default engine beside torch, least of three sizes", "ratio": least, "rows": found}
