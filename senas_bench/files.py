"""Where files go and how they are written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def cache_home() -> Path:
    """Folder of downloads and imported tables: `SENAS_HOME`, else `senas-bench` in the XDG cache folder."""
    if home := os.environ.get("SENAS_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "senas-bench"


def offline() -> bool:
    """Whether `SENAS_OFFLINE` forbids the network: set to anything but empty or 0."""
    return os.environ.get("SENAS_OFFLINE", "0") not in ("", "0")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` when the block ends: even after a crash, `path` holds the
    old bytes or all of the new ones.

    Raises:
        OSError: The folder is missing or unwritable, or the disk is full; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def atomic_write(path: Path, data: bytes) -> None:
    """Write bytes through `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)
