"""The command line: all commands, and how they end.

Everything heavy is imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from typing import Annotated, Any

import typer

from senas_bench.cli import archs, files, lists, rankings, readers, runs, searches, studies
from senas_bench.cli.command import Command
from senas_bench.cli.encoding import spell_out, stand_in
from senas_bench.cli.options import FAILED, NO_DATA, OK, USAGE, DebugOption, WithOption

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="senas-bench",
    help="Train, shrink and expand weight-sharing supernets; reproduce the tables of the SE-NAS paper.",
    no_args_is_help=True,
    context_settings=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command, what in {
    studies.reproduce: "Tables and figures of the paper: run, then render.",
    studies.rank: "One method's ranking of archs, as a file.",
    searches.search: "Search any space, under a limit or none.",
    searches.retrain: "Train one arch from scratch, and test it.",
    searches.latency: "Measure every operator of a space here, once.",
    archs.draw: "Draw archs, ours or yours.",
    rankings.evaluate_ranking: "Scores of archs, yours too, against the truth.",
    archs.cost: "FLOPs and parameters of archs.",
    runs.status: "What a results folder holds, and what is at work.",
    readers.report: "One HTML page of all that finished runs show.",
    readers.compare: "Two results folders, method by method.",
    readers.doctor: "What this machine has, and what is missing.",
    lists.methods: "The search methods there are.",
    lists.artefacts: "The tables and figures there are.",
    lists.presets: "The sizes of a study there are.",
}.items():
    app.command(cls=Command, short_help=what)(command)
benchmark_app = typer.Typer(no_args_is_help=True, help="Benchmark tables: the ground truth.", rich_markup_mode=None)
for command in (files.benchmark_import, files.benchmark_info, files.benchmark_query, files.benchmark_verify):
    benchmark_app.command(command.__name__.removeprefix("benchmark_"), cls=Command)(command)
data_app = typer.Typer(no_args_is_help=True, help="Image data sets.", rich_markup_mode=None)
for command, what in {
    files.data_list: "Which data sets are there, and what others lack.",
    files.data_download: "Fetch the official files of a data set.",
    files.data_verify: "Read a data set whole, with its checksums.",
}.items():
    data_app.command(command.__name__.removeprefix("data_"), cls=Command, short_help=what)(command)
runs_app = typer.Typer(no_args_is_help=True, help="Runs of a results folder.", rich_markup_mode=None)
for command, what in {
    runs.runs_rm: "Remove the runs of a method.",
    runs.runs_pack: "One archive of all that is to be shared.",
}.items():
    runs_app.command(command.__name__.removeprefix("runs_"), cls=Command, short_help=what)(command)
app.add_typer(runs_app, name="runs")
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        from senas_bench import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    debug: DebugOption = False,
    version: Annotated[  # by a callback, which acts before the parser misses a command
        bool, typer.Option("--version", callback=_print_version, help="Print the version.")
    ] = False,
    with_files: WithOption = None,
) -> None:
    if debug:
        os.environ["SENAS_DEBUG"] = "1"
    if with_files:
        from senas_bench.experiments.additions import use

        use(*with_files)


def _resume_command() -> str:
    import shlex

    return shlex.join(["senas-bench", *(a for a in sys.argv[1:] if a != "--fresh")])


def _interrupt(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)


_FORMATTED = warnings.formatwarning


def _warned(message: Warning | str, category: type[Warning], *where: Any) -> str:
    """A warning of ours is a line; others, such as of what is deprecated, say where they come from."""
    return f"warning: {message}\n" if category is UserWarning else _FORMATTED(message, category, *where)


COLLECT = (50_000, 20, 50)
"""How many new objects make Python look for circles of dead ones, and how seldom it looks among older ones too. Imports
make a million objects that stay: to go through them again and again is a sixth of the time a command takes to start."""


def main() -> None:
    """Entry point: errors become one line and an exit code (0 ok, 1 a run failed, 2 usage, 3 data)."""
    from senas_bench.errors import DataError, RunError
    from senas_bench.experiments.torchrun import dismiss, follow, helps, joins

    stand_in()
    spell_out()
    warnings.formatwarning = _warned
    gc.set_threshold(*COLLECT)
    signal.signal(signal.SIGTERM, _interrupt)
    together = helping = False
    try:
        together = joins(sys.argv[1:])
        helping = together and helps()
        if helping:
            sys.exit(follow())
        returned = app(standalone_mode=False)  # the exit code of `typer.Exit`, else what the command returned: None
        code = returned if isinstance(returned, int) else OK
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else USAGE
    except Exception as error:
        if os.environ.get("SENAS_DEBUG"):
            raise
        code = _report(error, DataError, RunError)
    if code in (130, 143) and not helping:
        why = "interrupted, or another process failed" if together else "interrupted"
        again = "the same torchrun command" if together else _resume_command()
        print(f"{why}; what is finished is kept. Go on with: {again}", file=sys.stderr)
    if together:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torchrun may send another, while Python shuts down
        if not helping:
            dismiss()
    sys.exit(code)


def _report(error: Exception, data_error: type[Exception], run_error: type[Exception]) -> int:
    """Print one line about an error; the exit code."""
    said = getattr(error, "format_message", None)
    if said is not None:  # a usage error of the command line parser
        text = said()
        help_asked = text.startswith("Usage:")  # a group of commands that was given none
        print(text if help_asked else f"error: {' '.join(text.split())}", file=sys.stderr)
        return USAGE
    known = isinstance(error, (data_error, run_error, ValueError, OSError))
    prefix = "error" if known else f"error: {type(error).__name__}"
    hint = "" if known else " (this is a bug; --debug shows where)"
    print(f"{prefix}: {' '.join(str(error).split())}{hint}", file=sys.stderr)
    if isinstance(error, (data_error, FileNotFoundError)):
        return NO_DATA
    return USAGE if isinstance(error, ValueError) else FAILED
