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


def multiplies_bfloat16() -> bool:
    """Whether it multiplies bfloat16 numbers by instructions of its own (AVX512_BF16, AMX, or those of ARM)."""
    return bool(flags() & {"avx512_bf16", "amx_bf16", "bf16"})


SLOW_BFLOAT16 = "this processor multiplies no bfloat16; a step takes 3 to 4 times as long as in torch's float32"
"""Measured on an EPYC (Zen 3), torch 2.14, one thread: 2.6 times at C=8 N=1 and 8x8, 4.0 at C=16 N=5 and 32x32."""


def recommend_precision() -> str:
    """Where bfloat16 wins, on this processor; docs/decisions.md has the figures."""
    if not multiplies_bfloat16():
        return f"not recommended: {SLOW_BFLOAT16}"
    share = {"amx": "half the time", "avx512": ".65 of the time"}.get(instructions(), "not measured here")
    return f"native; --precision bfloat16 wins on large networks (C=16 N=5, 32x32: {share}), not on small ones"


def lanes() -> int:
    """Single-precision numbers in a register, as oneDNN uses it; 16 where it is not known."""
    return 8 if instructions() == "avx2" else 16
