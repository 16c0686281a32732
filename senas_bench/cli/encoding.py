"""Output in any encoding and to any end: what an encoding lacks is spelled in ASCII, what cannot be written is not."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any

SPELLED = {"±": "+-", "–": "-", "—": "-", "−": "-", "×": "x", "→": "->", "…": "..."}
"""What our tables and messages hold beside ASCII."""
_NAME = "senas-bench"


def spell_out() -> None:
    """Let standard output and standard error spell what their encoding lacks, where they would raise otherwise.

    A character that is none of `SPELLED`, such as of a file name, becomes its escape: `\\xfc`.
    """
    codecs.register_error(_NAME, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "replace":
            stream.reconfigure(errors=_NAME)


def stand_in() -> None:
    """Let no command end for standard error that cannot be written, as where its terminal is gone or its disk full, nor
    for a stream that was closed before it began, nor for a reader of its output that has read enough, such as `head`:
    the files that it makes are still made. What else standard output cannot take is an error, as it should be."""
    for name, errors in (("stdout", BrokenPipeError), ("stderr", OSError)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  it stays open
            continue
        ours = stream is getattr(sys, f"__{name}__")  # which keeps its file open
        buffer = getattr(stream, "buffer", None) if ours else None
        raw = getattr(buffer, "raw", buffer)  # Python may be told not to buffer
        if isinstance(raw, io.FileIO):
            lines = stream.line_buffering or stream.write_through or name == "stderr"
            buffer = io.BufferedWriter(_Unfailing(raw, errors))
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=lines))


class _Unfailing(io.RawIOBase):
    """A file some of whose errors of writing are passed over."""

    def __init__(self, file: io.FileIO, errors: type[OSError]) -> None:
        self.file, self.name, self.errors = file, file.name, errors

    def write(self, data: Any) -> int | None:
        with suppress(self.errors):
            return self.file.write(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.file.fileno()

    def isatty(self) -> bool:
        return self.file.isatty()


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end
