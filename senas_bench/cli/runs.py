"""Commands on the runs of a results folder: `status`, `runs rm`, `runs pack`."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from senas_bench.cli.completion import one_of
from senas_bench.cli.options import FAILED, WHAT, JsonOption, ResultsOption, TruthOption, print_json


def status(
    results: ResultsOption = Path("runs"),
    table: Annotated[
        bool, typer.Option("--table", help="The tables of the runs that are finished so far.", rich_help_panel=WHAT)
    ] = False,
    ground_truth: TruthOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a results folder holds: finished runs, those at work and what they are at, unfinished ones."""
    if table:
        _print_tables(results, ground_truth, as_json)
        return
    from senas_bench.experiments.active import active_runs
    from senas_bench.experiments.store import RunStore

    store = RunStore(results)
    records, active = store.records(), active_runs(results)
    done = [{"run": r.spec.run_id, "pick": r.pick, "wall_seconds": r.timing.get("wall_seconds")} for r in records]
    finished = {line["run"] for line in done}
    unfinished = [run_id for run_id in store.unfinished() if run_id not in active and run_id not in finished]
    if as_json:
        said = [{"run": run_id, **status} for run_id, status in active.items()]
        print_json({"finished": done, "active": said, "unfinished": unfinished})
        return
    for line in done:
        print(f"done        {line['run']:58} {line['wall_seconds'] or 0:9.1f} s  {line['pick']}")
    for run_id in unfinished:
        print(f"unfinished  {run_id}")
    for run_id, said in active.items():
        print(f"at work     {run_id:58} {_at(said)}")
    at_work = f"{len(active)} at work, " if active else ""
    missing = "" if results.is_dir() else ", which is not there"
    print(f"{len(done)} finished, {at_work}{len(unfinished)} unfinished in {results}{missing}")


def _at(said: Mapping[str, Any]) -> str:
    """What a run is at, in words."""
    from senas_bench.progress import duration, worded

    stage = f"{said['stage']} {said['done']}/{said['total']}" if said["stage"] else "starts"
    since = f"for {duration(time.time() - said['began'])}"
    return " ".join(filter(None, (stage, worded(said["numbers"]), since)))


def _print_tables(results: Path, ground_truth: Path | None, as_json: bool) -> None:
    import json

    from senas_bench.analysis.output.formats import to_json, to_text
    from senas_bench.api.runs import tables_so_far

    found = list(tables_so_far(results, ground_truth))
    if as_json:
        print_json([json.loads(to_json(table)) for _, table in found])
        return
    for title, table in found:
        print(f"{title}\n\n{to_text(table)}")


def runs_rm(
    methods: Annotated[list[str], typer.Argument(help="Methods whose runs go.", autocompletion=one_of("METHODS"))],
    results: ResultsOption = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=WHAT)] = False,
) -> None:
    """Remove the runs of a method from a results folder, finished or not; it names them and asks."""
    from senas_bench.api.runs import removal_of

    removal = removal_of(results, list(dict.fromkeys(methods)))
    for run_id in removal.finished:
        print(f"finished    {run_id}")
    for run_id in removal.unfinished:
        print(f"unfinished  {run_id}")
    count = len(removal.finished) + len(removal.unfinished)
    if not yes and not _agreed(f"remove these {count} runs from {results}?"):
        print("nothing is removed")
        raise typer.Exit(FAILED)
    removal.remove()
    print(f"{count} runs removed; tables and figures that show them stay until they are made again")


def _agreed(question: str) -> bool:
    try:
        return typer.confirm(question)
    except typer.Abort:  # nobody is there to answer
        print()
        return False


def runs_pack(
    out: Annotated[Path, typer.Argument(help="Archive to write: .zip.")] = Path("runs.zip"),
    results: ResultsOption = Path("runs"),
) -> None:
    """One archive of records, scores, tables (of latency too), figures and report: a results folder once unpacked."""
    from senas_bench.api.runs import pack
    from senas_bench.files import check_output

    check_output(out, (".zip",), option="OUT")
    names = pack(results, out)
    records = sum(name.endswith(".json") and name.startswith("runs/") for name in names)
    print(f"{records} runs, {len(names)} files; written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
