"""What this processor can do."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def flags() -> frozenset[str]:
    """Names of its abilities, as Linux has them; none where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    known = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))]
    return frozenset(known[0] if known else ())


@functools.cache
def instructions() -> str:
    """The widest instructions that a table of ours tells apart: `amx`, `avx512`, `avx2` or `other`."""
    for name, flag in (("amx", "amx_tile"), ("avx512", "avx512f"), ("avx2", "avx2")):
        if flag in flags():
            return name
    return "other"


def lanes() -> int:
    """Single-precision numbers in a register, as oneDNN uses it; 16 where it is not known."""
    return 8 if instructions() == "avx2" else 16
