"""One process at a time: lock files that say who holds them, on any file system.

A lock is held while its file exists; making the file is what only one process can do. So it needs no `flock`, which
some network file systems lack and others know on each machine for itself. The file names its holder: a dead process of
this machine is seen at once, one of another machine by the file's time, which a living holder renews. What the dead
have left is taken over.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from senas_bench.errors import RunError
from senas_bench.files import room_named

BEAT = 10.0
"""Seconds after which a holder renews the time of its file."""
SILENCE = 60.0
"""Seconds without that after which a holder counts as dead whose process cannot be seen from here."""
NAMELESS = 5.0
"""The same for a file that names nobody: its maker died before it wrote, or an earlier version left it."""
SAYING = 10.0
"""Seconds of waiting after which it is said for whom."""
POLL = 1.0
"""Most seconds between two looks at a lock."""


class LockHeld(RunError):
    """A lock was held for longer than one waits: by whom, since when, and what to do."""


@contextmanager
def held(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock `path`, whose folder exists; the file is gone afterwards. Threads exclude each other too.

    Args:
        path: The lock file.
        patience: Seconds to wait for a holder that lives.

    Raises:
        LockHeld: It did not let go.
        OSError: The folder cannot be written.
    """
    mine = _acquire(path, patience)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, ended), daemon=True)
    try:
        beating.start()
        yield
    finally:
        ended.set()
        if _look(path, mine) is not None:
            path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock `path`; of one that cannot be seen from here, whether it renewed it."""
    seen = _look(path)
    if seen is None:
        return False
    lives = None if seen.holder is None else seen.holder.lives()
    return time.time() - seen.renewed / 1e9 < SILENCE if lives is None else lives


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Args:
        host: Name of the machine.
        pid: Process id.
        since: When it took the lock, in UTC.
        place: The machine since it was started, and the name space of process ids: where both are the same, `pid` means
            the same process, if it lives. Empty where the system does not tell.
        born: When the process began, in the kernel's ticks, since ids are used again; None where it does not tell.
        token: Tells two locks of a process apart.
    """

    host: str
    pid: int
    since: str
    place: str
    born: int | None
    token: str

    @classmethod
    def here(cls) -> Holder:
        """This process, from now on."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        born = (_state(os.getpid()) or (None, None))[1]
        return cls(socket.gethostname(), os.getpid(), since, _place(), born, secrets.token_hex(8))

    def lives(self) -> bool | None:
        """Whether the process lives; None where it cannot be seen from here."""
        if (self.host, self.place) != (socket.gethostname(), _place()):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is there, and someone else's
        state = _state(self.pid)
        if state is None or self.born is None:
            return None
        return state[0] not in "ZX" and state[1] == self.born


class _Seen(NamedTuple):
    """A lock file: what it holds and when that was last renewed, in nanoseconds."""

    text: str
    renewed: int

    @property
    def holder(self) -> Holder | None:
        """None: it is just being made, or an earlier version left it."""
        try:
            return Holder(**json.loads(self.text))
        except (ValueError, TypeError):
            return None


class _Watch:
    """Looks at a lock that another holds, until that one counts as dead."""

    def __init__(self) -> None:
        self.seen, self.silence, self.looked = None, 0.0, time.monotonic()

    def is_dead(self, seen: _Seen) -> bool:
        # Time in which nobody looked, because this machine slept or the file system hung, is no silence of the holder.
        passed = min(time.monotonic() - self.looked, 2 * POLL)
        self.silence = self.silence + passed if seen == self.seen else 0.0
        self.seen, self.looked = seen, time.monotonic()
        if seen.holder is None:
            return max(self.silence, time.time() - seen.renewed / 1e9) > NAMELESS
        lives = seen.holder.lives()
        return self.silence > SILENCE if lives is None else not lives


def _acquire(path: Path, patience: float) -> str:
    """Wait for the lock and take it: what its file now holds."""
    watch, began, said = _Watch(), time.monotonic(), False
    while True:
        mine = json.dumps(asdict(Holder.here()))
        if _make(path, mine):
            return mine
        seen = _look(path)
        if seen is not None and watch.is_dead(seen):
            _remove(path, seen, patience)
            continue
        waited = time.monotonic() - began
        if waited > patience:
            raise LockHeld(
                f"{_who(path, seen)}; gave up after {waited:.0f} s: wait for that process or end it, then run the "
                "same command again; if you know that it is gone, delete the file"
            )
        if waited > SAYING and not said:
            said = True
            print(f"waiting: {_who(path, seen)}; this goes on when that process is done or gone", file=sys.stderr)
        time.sleep(min(POLL, 0.01 + waited / 20))


def _make(path: Path, mine: str) -> bool:
    """Make the file, unless there is one: whether it is ours."""
    with room_named(path):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            with open(descriptor, "w") as file:
                file.write(mine)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    # A process that was stopped for long between the two is taken for dead.
    return _look(path, mine) is not None


def _look(path: Path, mine: str | None = None) -> _Seen | None:
    """What is there, None for nothing or, with `mine`, for another's."""
    try:
        with open(path, errors="replace") as file:  # opened each time: only then a network file system asks the server
            seen = _Seen(file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None
    return seen if mine in (None, seen.text) else None


def _remove(path: Path, dead: _Seen, patience: float) -> None:
    """Remove what a dead holder left. Only one who found it dead may: the next would remove the lock of the first."""
    with held(path.with_name(f"{path.name}.break"), patience):
        if _look(path) == dead:
            path.unlink(missing_ok=True)


def _beat(path: Path, mine: str, ended: threading.Event) -> None:
    """Renew the time of the file until the lock is let go."""
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            if _look(path, mine) is not None:
                os.utime(path)


def _who(path: Path, seen: _Seen | None) -> str:
    if seen is None:
        return f"{path} can be neither made nor read"
    holder = seen.holder
    if holder is None:
        since = datetime.fromtimestamp(seen.renewed / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{path} is held since {since} by a process that it does not name"
    return f"process {holder.pid} on {holder.host} holds {path} since {holder.since}"


@functools.cache
def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _state(pid: int) -> tuple[str, int] | None:
    """Of a process of this machine: the letter of its state, and when it began; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
