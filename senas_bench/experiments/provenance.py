"""What a result was made with, without saying by whom or on which host."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from senas_bench import __version__

SOURCE = Path(__file__).resolve().parents[2]


def provenance(command: list[str], device: str | None = None) -> dict[str, Any]:
    """Versions, commit, hardware and start time, as JSON values.

    Args:
        command: The command line; absolute paths in it are cut to their last part.
        device: `cpu` or `cuda`, as in the spec; None means a GPU when there is one.
    """
    commit, dirty = _git_state(SOURCE)
    return {
        "senas_bench": __version__,
        "commit": commit,
        "dirty": dirty,
        "command": [_without_folder(argument) for argument in command],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": cpu_cores(),
        "device": _device_name(device),
    }


def _git_state(source: Path) -> tuple[str | None, bool | None]:
    """Commit of a source checkout, and whether its package differs from it; None where that is unknown."""
    if not (source / ".git").exists():  # an installed copy may lie inside somebody else's repository
        return None, None
    commit = _git(source, "rev-parse", "--verify", "HEAD")
    status = _git(source, "status", "--porcelain", "--", "senas_bench") if commit else None
    return commit, None if status is None else bool(status)


def _git(source: Path, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(source), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _without_folder(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return option + equals + (Path(value).name if os.path.isabs(os.path.expanduser(value)) else value)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_cores() -> int | None:
    """Logical cores that this process may use; None where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _device_name(device: str | None) -> str:
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name()
