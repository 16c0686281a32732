"""What only a machine with a GPU can tell: tests, speed, and one run each of SE-NAS and SPOS at preset `paper`.

    make gpu-check                                        # or, on a machine with PyTorch and without a .venv:
    python -m benchmarks.gpu_check --data-dir DIR --out results/gpu

Takes at most ten minutes: stages have one epoch each and 300 archs are ranked, which the records say. Each part writes
its output to a file in `--out`, and `check.json` says what came of it. Exit code: 0, all parts went well; 1, one did
not; 2, there is no GPU here; 3, CIFAR-10 is not in `--data-dir`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
FAILED, NO_GPU, NO_DATA = 1, 2, 3
LIMITS = {"tests": 150, "speed": 90, "runs": 330}
"""Seconds; ten minutes in all with what lies between them."""


def main(arguments: list[str] | None = None) -> int:
    """Check that there is a GPU and data, then run the parts one after the other."""
    parser = argparse.ArgumentParser(prog="gpu-check")
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("DATA_DIR") or None, help="Folder with CIFAR-10."
    )
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu tries the command itself.")
    parser.add_argument("--parts", default="tests,speed,runs")
    parser.add_argument("--preset", default="paper")
    options = parser.parse_args(arguments)
    parts = options.parts.split(",")
    if unknown := set(parts) - set(LIMITS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; one or more of: {', '.join(LIMITS)}")
    if reason := _no_gpu(options.device):
        print(f"error: no GPU: {reason}; this check needs one", file=sys.stderr)
        return NO_GPU
    if "runs" in parts and options.preset == "paper" and (options.data_dir is None or not options.data_dir.is_dir()):
        print("error: no CIFAR-10; name its folder with --data-dir or DATA_DIR", file=sys.stderr)
        return NO_DATA
    options.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"device": _device(options.device), "parts": {}}
    for part in parts:
        report["parts"][part] = _run(part, _command(part, options), options.out)
        (options.out / "check.json").write_text(json.dumps(report, indent=2) + "\n")
        print(f"{part}: {json.dumps(report['parts'][part])}", flush=True)
    return FAILED if any(part["exit"] for part in report["parts"].values()) else 0


def _no_gpu(device: str) -> str:
    """Why this machine cannot be checked; empty if it can."""
    if device == "cpu":
        return ""
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    return "" if torch.cuda.is_available() else "torch.cuda.is_available() is False"


def _device(device: str) -> dict[str, Any]:
    import torch

    from benchmarks.ratios import where

    if device == "cpu":
        return where()
    properties = torch.cuda.get_device_properties(0)
    gpu = {"gpu": properties.name, "memory_gb": round(properties.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return {**where(), **gpu}


def _command(part: str, options: argparse.Namespace) -> list[str]:
    python = [sys.executable, "-m"]
    if part == "tests":
        tests = ["tests/test_cuda.py", "tests/networks", "tests/ranking"]
        return [*python, "pytest", "-q", "-p", "no:nbmake", "-o", "addopts=--import-mode=importlib", *tests]
    if part == "speed":
        return [sys.executable, "-c", f"from benchmarks import gpu_check as g; g.speed({options.device!r})"]
    command = [sys.executable, "-c", "from senas_bench.cli import main; main()", "reproduce", "table3"]
    command += ["--preset", options.preset, "--methods", "se-nas,spos", "--seeds", "0", "--device", options.device]
    command += ["--stage-epochs", "1,1,1", "--rank-archs", "300", "--curve-points", "0"]
    command += ["--executor", "serial", "--results", str(options.out)]
    return command + (["--data-dir", str(options.data_dir)] if options.data_dir else [])


def _run(part: str, command: list[str], out: Path) -> dict[str, Any]:
    """Exit code, seconds and log of one part; 124 if it took too long."""
    log, started = out / f"{part}.log", time.monotonic()
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with log.open("w") as file:
        try:
            done = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, timeout=LIMITS[part], cwd=HERE.parent, env=environment
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = 124
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return {"exit": code, "seconds": round(time.monotonic() - started, 1), "log": log.name, "last_line": last}


def speed(device: str, rounds: int = 10) -> None:
    """A training step and the ranking of an arch at full size, ours and the plain way; prints JSON as its last line."""
    import torch

    from benchmarks.plain import like, plain_optimizer
    from benchmarks.ratios import LARGE, SMALL, a_network, some_archs
    from senas_bench.training.loop import make_optimizer
    from senas_bench.training.recipe import TrainingRecipe

    size, batch = (LARGE, 256) if device == "cuda" else (SMALL, 16)
    network = a_network(size["channels"], size["cells"])
    other = like(network, size["channels"]).to(device)
    network = network.to(device)
    recipe = TrainingRecipe((1,), batch_size=batch, lr=0.025, lr_min=0.025)
    sides = {"ours": (network, make_optimizer(network, recipe)), "plain": (other, plain_optimizer(other))}
    x = torch.randn(batch, 3, size["side"], size["side"], device=device)
    y = torch.randint(0, 10, (batch,), device=device)
    seconds: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        arch = some_archs(1, seed=turn)[0]
        for name, (net, optimizer) in sides.items():
            images = x.contiguous(memory_format=torch.channels_last) if name == "ours" else x
            calls = {"step": partial(_step, net, optimizer, images, y, arch), "rank": partial(_look, net, images, arch)}
            for what, call in calls.items():
                spent = _seconds(call, device)
                if turn:  # the first warms up
                    seconds.setdefault(f"{what} {name}", []).append(spent)
    medians = {name: median(values) for name, values in seconds.items()}
    ratios = {what: medians[f"{what} plain"] / medians[f"{what} ours"] for what in ("step", "rank")}
    print(json.dumps({"median_seconds": medians, "ratio": ratios, "batch": batch, **size}))


def _step(network: Any, optimizer: Any, x: Any, y: Any, arch: tuple[int, ...]) -> None:
    import torch

    from senas_bench.training.loop import descend

    network.train()
    optimizer.zero_grad(set_to_none=True)
    torch.nn.functional.cross_entropy(network(x, arch), y).backward()
    descend(optimizer, 5)


def _look(network: Any, x: Any, arch: tuple[int, ...]) -> None:
    import torch

    with torch.inference_mode():
        network(x, arch)


def _seconds(call: Any, device: str) -> float:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
