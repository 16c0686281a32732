"""Commands that compute no runs: `report`, `compare`, `doctor`."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from senas_bench.cli.options import (
    FAILED,
    OUTPUT,
    DataDirOption,
    JsonOption,
    NoTimingOption,
    ResultsOption,
    SeedTruthOption,
    TruthOption,
    print_json,
)

if TYPE_CHECKING:
    from senas_bench.analysis.output.report import Part


def report(
    results: ResultsOption = Path("runs"),
    ground_truth: TruthOption = None,
    seed_truth: SeedTruthOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; report.html in the results folder if none.", rich_help_panel=OUTPUT),
    ] = None,
    no_timing: NoTimingOption = False,
) -> None:
    """All that finished runs allow: tables, figures, and one HTML page that judges the paper's claims."""
    from senas_bench.files import atomic_write, check_output

    if out is not None:
        check_output(out, (".html", ".htm"))
    from senas_bench.api.studies import load_truth
    from senas_bench.experiments.store import RunStore

    truth = load_truth(ground_truth, seed_truth)
    store = RunStore(results)
    records = store.records()
    if not records:
        raise ValueError(f"no finished runs in {results}; run `senas-bench reproduce all` first")
    from senas_bench.analysis.artefacts import NO_RUNS, render_each
    from senas_bench.analysis.output.report import make_part, page_html
    from senas_bench.analysis.output.sections import sections

    parts = []
    for section in sections(records):
        tables, missing = render_each(section.records, store.scores, truth, no_timing=no_timing)
        parts.append((section.label, make_part(section.title, tables, section.records, missing)))
    reasons = [
        f"{label}: {name} is not shown: {reason}"
        for label, part in parts
        for name, reason in part.missing.items()
        if reason != NO_RUNS
    ]
    if reasons and not any(part.tables for _, part in parts):
        raise ValueError(f"nothing of {results} can be shown; {'; '.join(reasons)}")
    print(*reasons, sep="\n", end="\n" * bool(reasons), file=sys.stderr)
    page = page_html([part for _, part in parts], no_timing=no_timing)
    path = out or results / "report.html"
    atomic_write(path, page.encode())
    for label, part in parts:
        counts = _write_part(part, f"-{label}" if len(parts) > 1 else "", results)
        print(f"{label}: {counts}" if len(parts) > 1 else f"claims of the paper: {counts}; written: {path}")
    if len(parts) > 1:
        print(f"{len(parts)} studies; written: {path}")


def _write_part(part: "Part", suffix: str, results: Path) -> str:
    """Write what a page shows of one study; how its claims fare, in words."""
    from senas_bench.analysis.artefacts import ARTEFACTS
    from senas_bench.analysis.paper.tally import line
    from senas_bench.api.studies import write_beside

    for name, table in part.tables.items():
        renamed = replace(table, name=f"{name}{suffix}")
        write_beside(renamed, results, ARTEFACTS[name] if name in part.figures else None)
    if not part.tables:
        return "nothing to show"
    write_beside(replace(part.verdict_table, name=f"verdicts{suffix}"), results, None)
    return line(part.verdict_table)


def compare(
    a: Annotated[Path, typer.Argument(help="Results folder.")],
    b: Annotated[Path, typer.Argument(help="Results folder.")],
    as_json: JsonOption = False,
) -> None:
    """Two results folders, method by method: B minus A, with a test."""
    from senas_bench.analysis.compare import compare as compared
    from senas_bench.analysis.output.formats import to_json, to_text

    table = compared(a, b)
    if as_json:
        print_json(json.loads(to_json(table)))
    else:
        print(to_text(table), end="")


def doctor(
    data_dir: DataDirOption = None, ground_truth: TruthOption = None, results: ResultsOption = Path("runs")
) -> None:
    """Check that this machine can run senas-bench, one line per thing."""
    import platform

    import torch

    from senas_bench import __version__
    from senas_bench.data import DATASETS, data_id
    from senas_bench.errors import DataError, MissingData
    from senas_bench.experiments.provenance import cpu_cores
    from senas_bench.groundtruth import load_ground_truth
    from senas_bench.kernels import build, engines, processor

    problems = 0
    print(f"ok       senas-bench {__version__}, Python {platform.python_version()}, torch {torch.__version__}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(f"ok       {cpu_cores()} CPU cores, GPU: {gpu}")
    try:
        build.load()
        print(f"ok       loops in C: compiled; recommended on one CPU thread: --engine compiled, {engines.recommend()}")
    except build.Unavailable as why:
        print(f"missing  loops in C: {why}; torch does without, more slowly; recommended: --engine torch")
    print(f"ok       bfloat16 on the CPU: {processor.recommend_precision()}")
    for name in DATASETS:
        try:
            print(f"ok       images {name}: {data_id(name, data_dir)}")
        except MissingData as error:
            print(f"missing  images {name}: {error}")
        except DataError as error:
            print(f"refused  images {name}: {error}")
    try:
        truth = load_ground_truth(ground_truth)
        print(f"ok       ground truth {truth.name}: {', '.join(map(str, truth.queries()))}")
    except (DataError, ValueError) as error:
        problems += 1
        print(f"problem  ground truth: {error}")
    if why := no_results(results):
        problems += 1
        print(f"problem  results folder {results} {why}; name another with --results")
    else:
        print(f"ok       results go to {results}")
    if problems:
        raise typer.Exit(FAILED)


def no_results(results: Path) -> str:
    """Why a results folder cannot be used, which runs would create with all folders above it; empty if it can."""
    from senas_bench.experiments.store import OUTPUTS
    from senas_bench.files import prove_room

    folders = (results.absolute(), *(results.absolute() / name for name in ("runs", "work", *OUTPUTS)))
    for place in dict.fromkeys(map(_there, folders)):
        if not place.is_dir():
            return f"cannot be made: {place} is no folder"
        try:
            prove_room(place)
        except OSError as error:
            return f"cannot be written: {error.strerror}"
    return ""


def _there(path: Path) -> Path:
    """The path, or of the folders above it the nearest that is there."""
    return path if os.path.lexists(path) else _there(path.parent)
