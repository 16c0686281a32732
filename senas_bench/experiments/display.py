"""The display of a study on a terminal: how many runs are done, and a bar for each that is at work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from senas_bench.progress import duration, worded

if TYPE_CHECKING:
    from rich.console import RenderableType

    from senas_bench.experiments.spec import RunSpec
    from senas_bench.experiments.watching import Watch

SHARE = 5
"""Of so many columns of the terminal one is for the bars."""
LONGEST = 32
"""Columns of a bar."""


def drawn(
    watch: Watch,
    active: Mapping[str, Mapping[str, Any]],
    specs: Mapping[str, RunSpec],
    left: float | None,
    width: int,
) -> RenderableType:
    """What the terminal shows.

    Args:
        active: What the runs at work say, see `progress.StatusFile`, by run id.
        specs: Theirs.
        left: Seconds; None where nobody knows.
        width: Columns of the terminal.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bar = min(LONGEST, width // SHARE)
    rows = Table.grid(padding=(0, 1))
    for least in (7, 7, bar, 3):
        rows.add_column(no_wrap=True, overflow="ellipsis", min_width=least)
    rows.add_column(no_wrap=True, overflow="ellipsis")
    labels = {run_id: label_of(spec) for run_id, spec in specs.items()}
    for run_id, label in labels.items():
        status = active[run_id]
        total, done = status["total"], status["done"]
        steps = ProgressBar(total=max(total, 1), completed=done if total else 0, width=bar)
        words = label, status["stage"] or "starts", f"{done}/{total}" if total else "", worded(status["numbers"])
        label, stage, count, numbers = map(Text, words)
        rows.add_row(label, stage, steps, count, numbers)
    whole = Table.grid(padding=(0, 1))
    whole.add_column(min_width=bar)
    whole.add_column(no_wrap=True, overflow="ellipsis")
    counted = f"{watch.done}/{len(watch.specs)} runs"
    counted += f", {len(watch.failed)} failed" if watch.failed else ""
    after = f"{duration(time.time() - watch.began)} so far"
    after += "" if left is None else f", about {duration(left)} left"
    whole.add_row(ProgressBar(total=len(watch.specs), completed=watch.done, width=bar), Text(f"{counted}; {after}"))
    return Group(whole, rows)


def label_of(spec: RunSpec) -> str:
    """What tells a run from the others of its study."""
    limit = spec.settings.get("limit")
    words = [spec.method, f"s{spec.seed}", *([spec.space] if spec.space != "nasbench201" else [])]
    if limit:
        words += [limit["cost"], f"{limit.get('level', limit.get('high')):g}"]
    return " ".join(words)
