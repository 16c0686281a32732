"""What a result was made with, without saying by whom or on which host."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from senas_bench import __version__
from senas_bench.experiments.additions import fingerprints

SOURCE = Path(__file__).resolve().parents[2]


def provenance(command: list[str], device: str | None = None) -> dict[str, Any]:
    """Versions, commit, hardware and start time, as JSON values.

    Args:
        command: The command line; absolute paths in it are cut to their last part.
        device: `cpu` or `cuda`, as in the spec; None means a GPU when there is one.
    """
    from importlib.metadata import version  # here, for it brings the e-mail parser along

    commit, dirty = _git_state(SOURCE)
    return {
        "senas_bench": __version__,
        "commit": commit,
        "dirty": dirty,
        "command": [without_folder(argument) for argument in command],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": cpu_cores(),
        "device": _device_name(device),
        **({"additions": dict(files)} if (files := fingerprints()) else {}),
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


def without_folder(argument: str) -> str:
    """A word of a command line, whose absolute path is cut to its last part.

    >>> without_folder("--data-dir=/home/me/images"), without_folder("../images")
    ('--data-dir=images', '../images')
    """
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
    """Logical cores that this process may use; None where the system does not say.

    Where a container has a quota of computing time, they are as many as it pays for, rounded up.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cpu_quota()
    return cores if quota is None or cores is None else min(cores, math.ceil(quota))


def cpu_quota(proc: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Seconds of computing per second that the control groups of this process allow; None for no limit.

    Args:
        proc: The groups that the process is in, a line `id:controllers:path` each; version 2 names no controllers.
        mounted: Where they are mounted. In a container the path may be that of the host, and only the root is there.
    """
    quotas = []
    for line in _lines(proc):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        for root in (mounted / controllers, mounted / "cpu") if controllers else (mounted, mounted / "unified"):
            group = root / path.lstrip("/")
            quotas += [_quota(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(group: Path) -> float | None:
    """Of one group: `cpu.max` of version 2, or the two files of version 1; -1 and `max` are no limit."""
    words = " ".join(_lines(group / "cpu.max")).split()
    words = words or [*_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.isdecimal() and int(word) for word in words):
        return None
    return int(words[0]) / int(words[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _device_name(device: str | None) -> str:
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name()
