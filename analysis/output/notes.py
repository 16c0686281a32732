"""Sentences below a table, and the headings that they stand under, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VERDICTS = "Verdicts"
SETTING = "Setting"
COLUMNS = "Columns"
RUNS = "Methods and runs"
PAPER = "The paper's numbers"

Notes = Mapping[str, Sequence[str]]
"""Sentences by heading; a heading without any is not shown."""
