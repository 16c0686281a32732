"""One HTML page of all that the finished runs of a folder show."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from senas_bench.api.keeping import write_beside
from senas_bench.api.studies import load_truth
from senas_bench.errors import DataError
from senas_bench.files import atomic_write, check_output

if TYPE_CHECKING:
    from senas_bench.analysis.output.report import Part


class Reported(NamedTuple):
    """The page, and by the label of each of its studies how the claims of the paper fare there, in words."""

    path: Path
    studies: dict[str, str]


def report(
    results: str | Path = "runs",
    *,
    ground_truth: Path | None = None,
    seed_truth: Path | None = None,
    out: str | Path | None = None,
    no_timing: bool = False,
) -> Path:
    """All that finished runs allow: tables, figures, and one HTML page that judges the paper's claims.

    Methods that this process added are known to it alone: a report that shows them as what they are is made here, not
    by the command.

    Args:
        results: Folder; tables and figures go there.
        ground_truth: Benchmark table; None for the embedded one.
        seed_truth: Parquet table with the accuracy of single training seeds, for table1.
        out: File to write; None for `report.html` in the results folder.
        no_timing: Leave machine-dependent columns out.

    Returns:
        The page.

    Raises:
        ValueError: Nothing of the folder can be shown.
        DataError: No run is finished, or a table cannot be read.
    """
    where = None if out is None else Path(out)
    return write_report(Path(results).expanduser(), ground_truth, seed_truth, where, no_timing).path


def write_report(
    results: Path, ground_truth: Path | None, seed_truth: Path | None, out: Path | None, no_timing: bool
) -> Reported:
    """`report`, with what it says of each study."""
    if out is not None:
        check_output(out, (".html", ".htm"))
    from senas_bench.experiments.store import RunStore

    truth = load_truth(ground_truth, seed_truth)
    store = RunStore(results)
    records = store.records()
    if not records:
        raise DataError(
            f"no finished runs in {results}; run `senas-bench reproduce table3` first, or name another folder"
        )
    path = out or results / "report.html"
    check_output(path)
    from senas_bench.analysis.artefacts import NO_RUNS, render_each
    from senas_bench.analysis.output.report import make_part, page_html
    from senas_bench.analysis.output.sections import sections

    parts = {}
    for section in sections(records):
        tables, missing = render_each(section.records, store.scores, truth, no_timing=no_timing)
        parts[section.label] = make_part(section.title, tables, section.records, missing)
    reasons = [
        f"{label}: {name} is {'shown' if ' without ' in name else 'not shown'}: {reason}"
        for label, part in parts.items()
        for name, reason in part.missing.items()
        if reason != NO_RUNS
    ]
    if reasons and not any(part.tables for part in parts.values()):
        raise ValueError(f"nothing of {results} can be shown; {'; '.join(reasons)}")
    print(*reasons, sep="\n", end="\n" * bool(reasons), file=sys.stderr)
    atomic_write(path, page_html(list(parts.values()), no_timing=no_timing).encode())
    several = len(parts) > 1
    return Reported(path, {name: _write(part, f"-{name}" if several else "", results) for name, part in parts.items()})


def _write(part: Part, suffix: str, results: Path) -> str:
    """Write what a page shows of one study; how its claims fare, in words."""
    from senas_bench.analysis.artefacts import ARTEFACTS
    from senas_bench.analysis.paper.tally import line

    for name, table in part.tables.items():
        renamed = replace(table, name=f"{name}{suffix}")
        write_beside(renamed, results, ARTEFACTS[name] if name in part.figures else None)
    if not part.tables:
        return "nothing to show"
    write_beside(replace(part.verdict_table, name=f"verdicts{suffix}"), results, None)
    return line(part.verdict_table)
