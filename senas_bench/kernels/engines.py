"""Who computes: torch, or the loops where they win.

`torch` is torch alone. `compiled` is the loops on one CPU thread, for the shapes in `LIMITS`, and torch for all else.
The table is fixed: one setting gives the same bytes on one processor, however busy that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch

from senas_bench.errors import RunError
from senas_bench.kernels import build
from senas_bench.kernels.processor import instructions


class Limits(NamedTuple):
    """Largest shapes for which the loops win, in floats of an image `(C, H, W)`.

    Args:
        passes: Of the stem's output, for a pass that is trained.
        convolutions: Of what a convolution reads.
    """

    passes: int
    convolutions: int


ALWAYS = 2**62
LIMITS = {
    "avx2": Limits(ALWAYS, ALWAYS),
    "avx512": Limits(2048, 2048),
    "amx": Limits(2048, 2048),
    "other": Limits(ALWAYS, ALWAYS),
}
"""By the widest instructions of the processor; docs/decisions.md says what was measured."""

_engine: ContextVar[str | None] = ContextVar("engine", default=None)


@contextmanager
def using(engine: str | None, device: str = "cpu") -> Iterator[None]:
    """Compute with that engine; with None, with `compiled` where it can be had and else with `torch`.

    Raises:
        RunError: `compiled` cannot be had.
    """
    if engine == "compiled":
        why = _missing(device)
        if why:
            raise RunError(f"engine compiled cannot be had: {why}; use --engine torch")
    token = _engine.set(engine)
    try:
        yield
    finally:
        _engine.reset(token)


def chosen() -> str | None:
    """The engine that `using` was given."""
    return _engine.get()


def _missing(device: str) -> str:
    threads = torch.get_num_threads()
    if device != "cpu" or threads != 1:
        return f"it runs on one CPU thread, not on {device} with {threads}"
    try:
        build.load()
    except build.Unavailable as why:
        return str(why)
    return ""


def available() -> bool:
    """Whether what runs on the CPU now runs by the loops: asked for or not forbidden, on one thread, and compiled."""
    return _engine.get() != "torch" and torch.get_num_threads() == 1 and build.library() is not None


def usable(x: torch.Tensor) -> bool:
    """Whether the loops can take over from `x` on: one thread, float32 in channels-last on a CPU.

    Not where torch looks on, to count FLOPs, trace or transform, say: it would not see them.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch._C._len_torch_dispatch_stack()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage] as torch documents it
        and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore[reportAttributeAccessIssue] not in its stubs
        and available()
    )


def limits() -> Limits:
    """Of this processor."""
    return LIMITS[instructions()]


def recommend() -> str:
    """For whom the loops are, on this processor."""
    name, most = instructions(), limits().passes
    if most == ALWAYS:
        return f"which wins at every size ({name})"
    return f"which wins on small images and leaves the training of others to torch ({name})"
