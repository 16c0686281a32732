"""Freed memory stays with the process: tensors of megabytes come and go thousands of times a second."""

from __future__ import annotations

import ctypes
import functools

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`."""


@functools.cache
def keep_freed_memory() -> bool:
    """Have glibc serve large tensors from the heap and never shrink it; whether that worked.

    By default each tensor of some megabytes is mapped afresh from the system, which clears it page by page: a fifth of
    the time of a ranking with networks of full size. Elsewhere than on glibc nothing changes.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
