"""Commands that compute no runs: `report`, `compare`, `doctor`."""

import json
import os
from pathlib import Path
from typing import Annotated

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
    from senas_bench.api.reports import write_report

    path, studies = write_report(results, ground_truth, seed_truth, out, no_timing)
    for label, counts in studies.items():
        print(
            f"{label}, claims of the paper: {counts}"
            if len(studies) > 1
            else f"claims of the paper: {counts}; written: {path}"
        )
    if len(studies) > 1:
        print(f"{len(studies)} studies; written: {path}")


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
