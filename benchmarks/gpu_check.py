"""What only a machine with a GPU can tell: tests, speed, and one SE-NAS search of preset `paper` on CIFAR-10.

    make gpu-check DATA_DIR=folder with CIFAR-10          # or, on a machine with PyTorch and without a .venv:
    python -m benchmarks.gpu_check --data-dir DIR --out results/gpu

Takes at most 15 minutes: three for tests and determinism, four for the speed of steps and rankings, and the rest for
the search. A part writes PART.json to `--out` when it ends. Run again, the command leaves out what is done and goes on
with the search where it was cut. docs/gpu.md has the targets.

Exit code: 0, all parts went well, or the search alone ran out of time; 1, one did not; 2, there is no GPU here; 3,
CIFAR-10 is not in `--data-dir`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FAILED, NO_GPU, NO_DATA = 1, 2, 3
CUT = 124
LIMITS = {"tests": 130, "determinism": 50, "steps": 120, "ranking": 120, "search": 450}
"""Seconds; with what lies between them 15 minutes in all."""
ENDLESS = "search"
"""May run out of time, and goes on when the command is given again."""


def main(arguments: list[str] | None = None) -> int:
    """Check that there is a GPU and data, then run the parts one after the other."""
    options = _options(arguments)
    if reason := _no_gpu(options.device):
        print(f"error: no GPU: {reason}; this check needs one", file=sys.stderr)
        return NO_GPU
    if options.device == "cuda" and ENDLESS in options.parts and (reason := _no_images(options.data_dir)):
        print(f"error: no CIFAR-10: {reason}; name its folder with --data-dir or DATA_DIR", file=sys.stderr)
        return NO_DATA
    options.out.mkdir(parents=True, exist_ok=True)
    about = _about(options.device)
    if options.fresh and ENDLESS in options.parts:
        shutil.rmtree(_search_folder(options, about), ignore_errors=True)
    return max((_part(part, options, about) for part in options.parts), default=0)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu-check")
    data = os.environ.get("DATA_DIR") or None
    parser.add_argument("--data-dir", type=Path, default=data, help="Folder with CIFAR-10.")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu tries the command, tiny.")
    parser.add_argument("--parts", default=",".join(LIMITS))
    parser.add_argument("--fresh", action="store_true", help="Do again what is done.")
    options = parser.parse_args(arguments)
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(LIMITS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; one or more of: {', '.join(LIMITS)}")
    return options


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


def _no_images(folder: Path | None) -> str:
    """Why CIFAR-10 cannot be read; empty if it can."""
    from senas_bench.data import data_id
    from senas_bench.errors import DataError

    if folder is None:
        return "no folder is named"
    try:
        data_id("cifar10", folder)
    except (DataError, OSError) as error:
        return str(error)
    return ""


def _search_folder(options: argparse.Namespace, about: dict[str, Any]) -> Path:
    """Where the search keeps its run, to go on with it: of this commit on this hardware alone."""
    of = "-".join(str(about.get(name) or about.get("cpu") or "") for name in ("commit", "gpu"))
    return options.out.resolve() / f"search-{re.sub(r'[^A-Za-z0-9]+', '-', of)}"


def _about(device: str) -> dict[str, Any]:
    """Hardware, software and commit."""
    import torch

    from benchmarks.ratios import where

    if device == "cpu":
        return where()
    properties = torch.cuda.get_device_properties(0)
    gpu = {"gpu": properties.name, "memory_gb": round(properties.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return {**where(), **gpu}


def _part(part: str, options: argparse.Namespace, about: dict[str, Any]) -> int:
    """Run one part, unless it is done, and keep its record; the exit code that it asks for."""
    path = options.out / f"{part}.json"
    if path.exists() and not options.fresh and _same(record := json.loads(path.read_text()), about):
        print(f"{part}: done before (--fresh does it again): {json.dumps(record['found'])}", flush=True)
        return 0
    found = _run(part, _command(part, options, about), options.out, _search_folder(options, about))
    path.write_text(json.dumps({"part": part, **found, "limit_s": LIMITS[part], "about": about}, indent=2) + "\n")
    print(f"{part}: exit {found['exit']} after {found['seconds']} s: {json.dumps(found['found'])}", flush=True)
    if part == ENDLESS and found["exit"] == CUT:
        print(f"{part}: cut after {LIMITS[part]} s; give the command again to go on", flush=True)
        return 0
    return FAILED if found["exit"] else 0


def _same(record: dict[str, Any], about: dict[str, Any]) -> bool:
    """Whether a record is of a part that ended well, of this commit on this hardware."""
    return record["exit"] == 0 and all(
        record["about"].get(name) == about.get(name) for name in ("commit", "gpu", "torch")
    )


def _command(part: str, options: argparse.Namespace, about: dict[str, Any]) -> list[str]:
    python, gpu = sys.executable, options.device == "cuda"
    if part == "tests":
        tests = [
            "tests/test_cuda.py",
            *(["tests/test_fake_cuda.py", "tests/ranking/test_score_archs.py"] if gpu else []),
        ]
        plain = ["-q", "-p", "no:nbmake", "-o", "addopts=--import-mode=importlib", "-m", "not slow"]
        return [python, "-m", "pytest", *plain, *tests]
    if part != ENDLESS:
        return [python, "-c", f"from benchmarks import gpu_parts; gpu_parts.{part}({options.device!r})"]
    command = [python, "-c", "from senas_bench.cli import main; main()", "search", "--space", "nasbench201"]
    command += ["--preset", "paper" if gpu else "embedded", "--device", options.device, "--jobs", "1", "--json"]
    command += ["--results", str(_search_folder(options, about))] + ([] if gpu else ["--stage-epochs", "1,1,1"])
    return command + (["--data-dir", str(options.data_dir)] if gpu else [])


def _run(part: str, command: list[str], out: Path, search: Path) -> dict[str, Any]:
    """Exit code, seconds, log and figures of one part; `CUT` if it took too long."""
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
            code = CUT
    took = round(time.monotonic() - started, 1)
    return {"exit": code, "seconds": took, "log": log.name, "found": _found(part, log, search)}


def _found(part: str, log: Path, search: Path) -> Any:
    """The last line that a part printed: its figures, if it is JSON. Of a search that ended the seconds of its run."""
    if records := sorted(search.glob("runs/*.json")) if part == ENDLESS else []:
        run = json.loads(records[-1].read_text())
        return {"pick": run["pick"], "timing": run["timing"], "target_s": {"search_seconds": 300}}
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
