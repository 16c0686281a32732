"""Runs that failed, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from senas_bench.errors import DataError, RunError
from senas_bench.experiments.spec import RunSpec

SPOKEN = (RunError, DataError, ValueError, OSError)
"""Errors that say in a sentence what is wrong; others need the place in the code where they were raised."""
_PLACE = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)


class Failure(NamedTuple):
    """A run, and the error that an executor gave in place of its result, with the traceback as its last note."""

    spec: RunSpec
    error: Exception

    @property
    def traceback(self) -> str:
        """Empty where none is known."""
        notes: list[str] = getattr(self.error, "__notes__", [])
        return notes[-1] if notes else ""

    @property
    def why(self) -> str:
        """In a line."""
        words = " ".join(str(self.error).split()) or type(self.error).__name__
        places = [place for place in _PLACE.finditer(self.traceback) if "site-packages" not in place["file"]]
        if isinstance(self.error, SPOKEN) or not places:
            return words
        return f"{type(self.error).__name__}: {words} ({Path(places[-1]['file']).name}, line {places[-1]['line']})"


class RunsFailed(RunError):
    """Runs of a study failed; the others are kept. The traceback of the first is its note."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        names = ", ".join(failure.spec.run_id for failure in failures)
        first = failures[0]
        kept = "the others are kept, finished=True shows them"
        super().__init__(f"{len(failures)} runs failed: {names}; {kept}. The first: {first.why}")
        self.specs = [failure.spec for failure in failures]
        if first.traceback:
            self.add_note(first.traceback)
