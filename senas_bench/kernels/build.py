"""The loops of `loops.c`, compiled once per machine where a C compiler is found.

Without one torch computes, more slowly and with other roundings, and a warning says why.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from senas_bench.errors import DataError
from senas_bench.files import atomic_write, cache_home
from senas_bench.kernels.processor import flags

SOURCE = Path(__file__).with_name("loops.c")
DIGEST = hashlib.sha256().digest_size
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")


class Unavailable(Exception):
    """Why the compiled kernels cannot be had, in one line."""


class Forbidden(Unavailable):
    """They are not wanted."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where `SENAS_COMPILE=0` forbids them or, with a warning, they cannot be had."""
    try:
        return load()
    except Forbidden:
        return None
    except Unavailable as why:
        what = f"no loops in C: {why}; torch computes instead, more slowly and with other roundings"
        warnings.warn(f"{what} (SENAS_COMPILE=0 asks for that)", stacklevel=2)
        return None


def load() -> ctypes.CDLL:
    """The compiled kernels, from the cache or compiled into it; where it cannot be used, compiled for this process.

    Raises:
        Unavailable: There are none; see the message.
    """
    compiler = _compiler()
    try:
        path = cache_home() / "kernels" / f"{_key(compiler)}.so"
        return _with_types(_opened(path, compiler))
    except (
        OSError,
        AttributeError,
        RuntimeError,
        ValueError,
        DataError,
    ):  # unwritable, full, barred from code, nowhere
        return _temporary(compiler)


def _temporary(compiler: tuple[str, ...]) -> ctypes.CDLL:
    try:
        with tempfile.TemporaryDirectory(prefix="senas-bench-") as folder:  # what is loaded outlives its file
            return _with_types(_opened(Path(folder, "kernels.so"), compiler))
    except (OSError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise Unavailable(f"what `{shlex.join(compiler)}` compiled cannot be kept or loaded ({why})") from error


def _compiler() -> tuple[str, ...]:
    """The command of the C compiler: that of `CC`, else the first that is found."""
    if os.environ.get("SENAS_COMPILE") == "0":
        raise Forbidden("SENAS_COMPILE=0 forbids them")
    if platform.system() != "Linux":
        raise Unavailable(f"they need Linux, and this is {platform.system()}")
    try:
        command = tuple(shlex.split(os.environ.get("CC", "")))
    except ValueError as error:
        raise Unavailable(f"CC={os.environ['CC']} is no command ({error})") from error
    found = command or tuple(filter(shutil.which, ("cc", "gcc", "clang")))[:1]
    if not found:
        raise Unavailable("no C compiler is found; install gcc or clang, or name one with CC")
    return found


def _with_types(loaded: ctypes.CDLL) -> ctypes.CDLL:
    long, double, real, pointer = ctypes.c_long, ctypes.c_double, ctypes.c_float, ctypes.c_void_p
    loaded.statistics.argtypes = [pointer, long, long, double, pointer, pointer, double, *[pointer] * 3]
    loaded.combine.argtypes = [long, pointer, pointer, long, pointer, long, long, real, pointer, pointer]
    loaded.combine_backward.argtypes = [long, *[pointer] * 5, long, long, real, *[pointer] * 3]
    for pooled in (loaded.pool, loaded.pool_backward, loaded.halve, loaded.halve_backward):
        pooled.argtypes = [pointer, *[long] * 4, pointer]
    loaded.depthwise_backward.argtypes = [pointer, pointer, *[long] * 10, *[pointer] * 3]
    loaded.convolve.argtypes = [pointer, *[long] * 4, pointer, *[long] * 6, pointer]
    loaded.convolve_input.argtypes = [pointer, *[long] * 4, pointer, *[long] * 5, pointer]
    loaded.convolve_weights.argtypes = [pointer, pointer, *[long] * 8, pointer]
    loaded.go.argtypes = [pointer, long]
    loaded.go_back.argtypes = [pointer, *[long] * 3, pointer, long, pointer, pointer]
    return loaded


def _key(compiler: tuple[str, ...]) -> str:
    """Of the library that this compiler makes for this processor."""
    parts = (SOURCE.read_text(), FLAGS, shlex.join(compiler), platform.machine(), sorted(flags()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _opened(path: Path, compiler: tuple[str, ...]) -> ctypes.CDLL:
    """The library at `path`, compiled there unless it is whole. A damaged one could kill the process that loads it."""
    if not _whole(path):
        _compile(path, compiler)
    return ctypes.CDLL(str(path))


def _whole(path: Path) -> bool:
    """Whether the file ends in the hash of what is before."""
    data = path.read_bytes() if path.exists() else b""
    return hashlib.sha256(data[:-DIGEST]).digest() == data[-DIGEST:]


def _compile(path: Path, compiler: tuple[str, ...]) -> None:
    """The shared library of `loops.c`, and its hash behind it, where the loader does not look."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        target = Path(folder, "kernels.so")
        _call((*compiler, *FLAGS, str(SOURCE), "-o", str(target), "-lm"))
        data = target.read_bytes()
        atomic_write(path, data + hashlib.sha256(data).digest())


def _call(command: tuple[str, ...]) -> None:
    """Run a compiler.

    Raises:
        Unavailable: It did not come to a good end.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = error.strerror if isinstance(error, OSError) else "no end after 300 s"
        raise Unavailable(f"the C compiler {command[0]} cannot run ({why}); see CC") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        why = said[0].strip() if said else f"exit code {done.returncode}"
        raise Unavailable(f"the C compiler {command[0]} failed ({why}); see CC")


def call(name: str, *arguments: Any) -> None:
    """A function of `loops.c`; tensors, and lists of them, go by their place in memory."""
    getattr(library(), name)(*[value if type(value) in NUMBERS else _place(value) for value in arguments])


NUMBERS = frozenset((int, float, bool, type(None)))
"""Types of what goes to C as it is: asked for first, as most arguments are of these."""


def _place(value: Any) -> Any:
    """Of a tensor, or of several, in memory."""
    if isinstance(value, torch.Tensor):
        return value.data_ptr()
    return (ctypes.c_void_p * len(value))(*[tensor.data_ptr() for tensor in value])


def images(x: torch.Tensor) -> tuple[torch.Tensor, int, int, int, int]:
    """`x` `(B, C, H, W)` as the loops take it: with B, H, W and C."""
    batch, channels, height, width = x.shape
    return x, batch, height, width, channels
