"""Where files go and how they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def cache_home() -> Path:
    """Folder of downloads and of what can be made again, such as imported tables and compiled code: `SENAS_HOME`, else
    `senas-bench` in the XDG cache folder.

    Raises:
        NoHomeError: None is named, and the user has no home folder, as in a container under a bare user id.
    """
    try:
        if home := os.environ.get("SENAS_HOME"):
            return Path(home).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "senas-bench"
    except RuntimeError as error:  # of pathlib, where neither HOME nor the system's list of users says
        raise NoHomeError(errno.ENOENT, "this user has no home folder") from error


class NoHomeError(OSError):
    """There is no folder for what can be made again: whoever can do without it goes on, as where one is read-only."""

    def __str__(self) -> str:
        return f"{self.strerror}; set SENAS_HOME to a folder that can be written"


def offline() -> bool:
    """Whether `SENAS_OFFLINE` forbids the network: set to anything but empty or 0."""
    return os.environ.get("SENAS_OFFLINE", "0") not in ("", "0")


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, a spent quota, a file larger than the limit."""


@contextmanager
def room_named(path: Path) -> Iterator[None]:
    """Where the block finds no room on the disk, an error that names `path`, the free space and what to do.

    The system's own error names neither when it strikes a write or an fsync. Other errors pass as they are.

    Raises:
        OSError: No room, with `path` as its `filename`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        folder = next(place for place in Path(path).absolute().parents if place.is_dir())
        free = shutil.disk_usage(folder).free / 1e6
        what = f"{os.strerror(error.errno)}, {free:.1f} MB free; make room and run the same command again"
        raise OSError(error.errno, what, str(path)) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` when the block ends: even after a crash, `path` holds the
    old bytes or all of the new ones.

    Raises:
        OSError: The folder is missing or unwritable, or the disk is full (see `room_named`); `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with room_named(path):
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def prove_room(folder: Path) -> None:
    """Write a few bytes in `folder`, in a file that has no name: a process killed meanwhile leaves nothing behind.

    Raises:
        OSError: The folder is missing or unwritable, or the disk is full (see `room_named`).
    """
    with room_named(folder / "probe"), tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"room")
        probe.flush()
        os.fsync(probe.fileno())


def atomic_write(path: Path, data: bytes) -> None:
    """Write bytes through `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def check_output(out: Path, suffixes: Sequence[str] = (), *, option: str = "--out", makes_folder: bool = False) -> None:
    """Prove that a file can be written before anything is computed for it.

    Args:
        out: The file.
        suffixes: How its name may end: what is written is what the name says.
        option: What the user calls it.
        makes_folder: Whether the command makes folders that are missing.

    Raises:
        ValueError: It cannot.
    """
    if suffixes and out.suffix not in suffixes:
        raise ValueError(f"{option} {out}: the name must end in {' or '.join(suffixes)}")
    if out.is_dir():
        raise ValueError(f"{option} {out} is a folder; name a file")
    probe = out.with_name(f".{out.name}.{os.getpid()}")
    folder = out.absolute().parent
    try:
        if makes_folder and not folder.exists():
            prove_room(_first_that_is_there(folder))
            return
        atomic_write(probe, b"room")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"{option} {out}: cannot write in {folder}: {error.strerror}; name another place") from error


def check_folder(out: Path, option: str = "--out") -> None:
    """Prove that files can be written to a folder, which may be missing, before anything is computed for it.

    Raises:
        ValueError: They cannot.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{option} {out} is a file; name a folder")
    try:
        prove_room(_first_that_is_there(out.absolute()))
    except OSError as error:
        raise ValueError(f"{option} {out}: cannot write there: {error.strerror}; name another place") from error


def _first_that_is_there(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
