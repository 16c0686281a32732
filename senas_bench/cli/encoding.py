"""Output in any encoding: what it lacks is spelled in ASCII, and no command ends for it."""

from __future__ import annotations

import codecs
import io
import sys

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


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end
