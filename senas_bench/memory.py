"""Freed memory stays with the process: tensors of megabytes come and go thousands of times a second. And the collector
of garbage leaves alone what is there for good."""

from __future__ import annotations

import ctypes
import functools
import gc

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


@functools.cache
def spare_collector() -> None:
    """Have Python's collector of garbage pass over all that is loaded now.

    A step makes so many small objects that it went through those of torch and all other modules again and again: some
    5% of the time of a ranking of small images.
    """
    gc.collect()
    gc.freeze()
