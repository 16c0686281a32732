"""What this machine offers to runs: its GPU, and its cores."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from senas_bench.experiments import provenance
from senas_bench.experiments.torchrun import started
from senas_bench.names import lookup

DEVICES = {"auto": None, "cpu": "cpu", "cuda": "cuda"}
"""Names of `--device`, and where they lead whatever the machine has."""


def device_of(device: str, elsewhere: bool = False) -> str:
    """`cpu` or `cuda`. Of machines `elsewhere` it believes what is asked; `auto` is as this one.

    Raises:
        ValueError: Another name, or `cuda` where there is none.
    """
    lookup("device", device, DEVICES)
    if device == "cpu" or (device == "cuda" and elsewhere):
        return str(device)
    if _driver():
        import torch

        if torch.cuda.is_available():
            return "cuda"
    if device == "cuda":
        raise ValueError("--device cuda: this machine has no usable CUDA GPU; use --device cpu or auto")
    return "cpu"


def _driver() -> bool:
    """Whether torch, which takes seconds to import, could find a GPU: the library of NVIDIA or the device of AMD."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def jobs_of(jobs: int, device: str, executor: str = "joblib", threads: int = 1) -> int:
    """Runs at a time; 0 of `ray` means what fits, and elsewhere as many of so many threads as there are cores for, or
    one on a GPU."""
    if executor == "ray":  # which knows how much room there is
        return jobs
    return jobs or (1 if device == "cuda" else max(1, (provenance.cpu_cores() or 1) // threads))


def workers_of(jobs: int) -> int:
    """Processes that decode images for each run: its share of the cores."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "") if started() > 1 else ""
    return (provenance.cpu_cores() or 1) // (jobs * (int(here) if here.isdigit() and int(here) else 1))
