"""`reproduce` and `rank`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from senas_bench.cli.checks import check_ranks, makeable
from senas_bench.cli.options import (
    FAILED,
    AccumulateOption,
    AloneEpochsOption,
    CandidatesOption,
    CurvePointsOption,
    DataDirOption,
    DatasetOption,
    Device,
    DeviceOption,
    JobsOption,
    JsonOption,
    LatencyTableOption,
    OfficialSplitOption,
    PresetOption,
    RankArchsOption,
    ResultsOption,
    SeedsOption,
    SeedTruthOption,
    StageEpochsOption,
    TensorboardOption,
    ThreadsOption,
    TruthOption,
    device_of,
    jobs_of,
    parse_seeds,
    print_json,
    split_names,
)
from senas_bench.cli.plan import print_plan
from senas_bench.cli.runs import (
    check_images,
    check_output,
    check_tensorboard,
    compute,
    executor_options,
    make_specs,
    sizes_of,
)
from senas_bench.cli.searches import latency_table_for
from senas_bench.errors import DataError
from senas_bench.experiments.spec import SEEDS

if TYPE_CHECKING:
    from senas_bench.analysis.artefacts import Artefact
    from senas_bench.analysis.output.formats import Table
    from senas_bench.experiments.spec import RunRecord, RunSpec
    from senas_bench.experiments.store import RunStore
    from senas_bench.groundtruth import GroundTruth


def reproduce(
    artefacts: Annotated[
        list[str], typer.Argument(help="Names as `senas-bench artefacts` lists them; nasbench201, searches, or all.")
    ],
    preset: PresetOption = "embedded",
    seeds: SeedsOption = "0-2",
    methods: Annotated[
        str | None,
        typer.Option(help="Comma-separated, as `senas-bench methods` lists them; by default the artefact's."),
    ] = None,
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    jobs: JobsOption = 0,
    threads: ThreadsOption = 1,
    executor: Annotated[str, typer.Option(help="serial, joblib or ray; see CLUSTER.md.")] = "joblib",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto, host:port or ray://host:port; without, Ray starts here.")
    ] = None,
    gpus_per_run: Annotated[float | None, typer.Option(help="Share of a GPU that a run takes with ray.")] = None,
    data_dir: DataDirOption = None,
    ground_truth: TruthOption = None,
    seed_truth: SeedTruthOption = None,
    stage_epochs: StageEpochsOption = None,
    alone_epochs: AloneEpochsOption = None,
    rank_archs: RankArchsOption = None,
    candidates: CandidatesOption = None,
    curve_points: CurvePointsOption = None,
    official_split: OfficialSplitOption = False,
    accumulate: AccumulateOption = None,
    latency_table: LatencyTableOption = None,
    results: ResultsOption = Path("runs"),
    tensorboard: TensorboardOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set finished runs aside and compute them again.")] = False,
    only_finished: Annotated[
        bool, typer.Option("--finished", help="Run nothing: tables and figures of the runs that are finished.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Leave machine-dependent columns out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make tables and figures of the paper: run what is missing, then render."""
    numbers, names = parse_seeds(seeds), split_names(methods)
    options = executor_options(executor, address, gpus_per_run)
    check_tensorboard(tensorboard)
    if only_finished and fresh:
        raise ValueError("--finished runs nothing and --fresh runs everything anew; give one of them")
    changes = {"stage_epochs": stage_epochs, "alone_epochs": alone_epochs}
    changes |= {"rank_archs": rank_archs, "accumulate": accumulate}
    changes |= {"candidates": candidates, "curve_points": curve_points, "official_split": official_split}
    sizes = sizes_of(preset, **changes)
    check_images(sizes, dataset, data_dir)
    truth = load_truth(ground_truth, seed_truth)
    # seconds of imports, after all that can be refused without them
    from senas_bench.analysis.artefacts import ARTEFACTS, is_search, named
    from senas_bench.analysis.output.formats import to_json, to_text
    from senas_bench.experiments.store import RunStore

    chosen = {name: ARTEFACTS[name] for asked in artefacts for name in named(asked)}
    of_artefact = _methods(chosen, names)
    if not only_finished:
        of_artefact = makeable(chosen, of_artefact, sizes, truth, dataset or sizes.dataset)
    where = device_of(device, elsewhere=address is not None)
    if gpus_per_run is not None and where != "cuda":
        raise ValueError("--gpus-per-run is for runs on a GPU; add --device cuda")
    ranked = [group for name, group in of_artefact.items() if not chosen[name].searches]
    methods_in_order = list(dict.fromkeys(method for group in ranked for method in group))
    distinct = make_specs(methods_in_order, numbers, preset, sizes, dataset, data_dir, where, threads, ground_truth)
    searching = {name: artefact for name, artefact in chosen.items() if artefact.searches and name in of_artefact}
    common = {"preset": preset, "dataset": dataset, "data_dir": data_dir, "device": where, "threads": threads}
    distinct += _search_specs(searching, of_artefact, numbers, changes, common, results, latency_table)
    store = RunStore(results)
    if dry_run:
        print_plan(store, distinct)
        return
    store.prepare()
    if fresh:
        for spec in distinct:
            store.set_aside(spec)
    failed: list[RunSpec] = []
    if not only_finished:
        at_a_time = jobs_of(jobs, where, executor)
        failed = compute(store, distinct, results, data_dir, ground_truth, executor, at_a_time, tensorboard, options)
    finished = store.finished(distinct)
    if only_finished and not finished:
        raise DataError(f"none of the {len(distinct)} runs is finished in {results}; run them without --finished")
    tables, sound = [], True  # one artefact or method at fault takes no other away
    for name, methods_of_it in of_artefact.items():
        wanted_here = [record for record in finished if record.spec.method in methods_of_it]
        records = [r for r in wanted_here if bool(chosen[name].searches) == is_search(r)]
        essential = chosen[name].essential
        if essential not in (None, *(record.spec.method for record in records)):
            print(f"{name} is not made: it has no runs of {essential}", file=sys.stderr)
        elif records:
            try:
                table, paths, whole = _make(
                    chosen[name], records, store, truth, results, no_timing, names and methods_of_it
                )
            except (ValueError, OSError, DataError) as error:
                if len(of_artefact) == 1:
                    raise
                print(f"{name} is not made: {' '.join(str(error).split())}", file=sys.stderr)
                sound = False
                continue
            tables.append(table)
            sound = sound and whole
            if not as_json:
                print(f"{to_text(table)}\nwritten: {', '.join(map(str, paths))}")
    if as_json:
        found = [json.loads(to_json(table)) for table in tables]
        print_json(found if len(chosen) > 1 else next(iter(found), None))
    if failed or not sound:
        raise typer.Exit(FAILED)


def rank(
    out: Annotated[Path, typer.Option(help="Scores to write: .csv or .parquet with arch_str, score.")],
    method: Annotated[str, typer.Option(help="Method whose ranking is wanted.")] = "spos+",
    preset: PresetOption = "embedded",
    seed: Annotated[int, typer.Option(min=0, max=SEEDS - 1, help="Seed.")] = 0,
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = 1,
    data_dir: DataDirOption = None,
    stage_epochs: StageEpochsOption = None,
    rank_archs: RankArchsOption = None,
    candidates: CandidatesOption = None,
    curve_points: CurvePointsOption = None,
    official_split: OfficialSplitOption = False,
    accumulate: AccumulateOption = None,
    results: ResultsOption = Path("runs"),
) -> None:
    """Run a method and write one score per arch of its widest final ranking."""
    from senas_bench.experiments.store import RunStore

    check_output(out, (".csv", ".parquet"))
    sizes = sizes_of(
        preset,
        stage_epochs=stage_epochs,
        accumulate=accumulate,
        rank_archs=rank_archs,
        candidates=candidates,
        curve_points=curve_points,
        official_split=official_split,
    )
    check_images(sizes, dataset, data_dir)
    check_ranks(method, sizes.rank_archs)
    specs = make_specs([method], [seed], preset, sizes, dataset, data_dir, device_of(device), threads)
    store = RunStore(results)
    store.prepare()
    if compute(store, specs, results, data_dir, None, "serial", 1):
        raise typer.Exit(FAILED)
    from senas_bench.analysis.join import final_scores
    from senas_bench.files import atomic_file

    scores = final_scores(store.scores(store.load(specs[0])))
    with atomic_file(out) as file:
        scores.to_csv(file, index=False) if out.suffix == ".csv" else scores.to_parquet(file, index=False)
    print(f"{len(scores)} archs scored by {method}; best {scores['arch_str'].iloc[0]}; written: {out}")


def _search_specs(
    artefacts: dict[str, Artefact],
    methods: dict[str, Sequence[str]],
    seeds: Sequence[int],
    changes: dict[str, Any],
    common: dict[str, Any],
    results: Path,
    latency_table: Path | None,
) -> list[RunSpec]:
    """The runs of artefacts that show searches under the paper's limits, each once; the picks are retrained."""
    from senas_bench.experiments.settings import limit_settings, make_spec

    firsts: dict[str, RunSpec] = {}
    for name, artefact in artefacts.items():
        for row in artefact.searches:
            if row.method not in methods[name]:
                continue
            sizes = sizes_of(common["preset"], **changes, space=row.space)
            table = None
            if row.cost == "latency":
                where = common["dataset"], common["device"], common["threads"]
                table = latency_table_for(row.space, sizes, *where, results, latency_table)
            limit = limit_settings(row.cost, level=row.level, table=table)
            spec = make_spec(row.method, 0, sizes=sizes, space=row.space, limit=limit, retrain=True, **common)
            firsts[spec.run_id] = spec
    return [replace(spec, seed=seed) for seed in seeds for spec in firsts.values()]


def load_truth(ground_truth: Path | None, seed_truth: Path | None) -> GroundTruth:
    from senas_bench.groundtruth import load_ground_truth

    truth = load_ground_truth(ground_truth)
    return truth.joined(load_ground_truth(seed_truth)) if seed_truth else truth


def _methods(artefacts: dict[str, Artefact], names: list[str] | None) -> dict[str, Sequence[str]]:
    """The methods of each artefact: its own, or those asked for. Of several artefacts, each takes those it knows.

    Raises:
        ValueError: A method that was asked for is of none of the artefacts.
    """
    if names is None:
        return {name: artefact.methods for name, artefact in artefacts.items()}
    if len(artefacts) == 1 and not next(iter(artefacts.values())).searches:
        return dict.fromkeys(artefacts, names)
    known = {name: [method for method in names if method in artefact.methods] for name, artefact in artefacts.items()}
    unused = [method for method in names if not any(method in group for group in known.values())]
    if unused:
        raise ValueError(f"--methods {', '.join(unused)}: none of {', '.join(artefacts)} shows it; leave it out")
    return {name: group for name, group in known.items() if group}


def _make(
    artefact: Artefact,
    records: list[RunRecord],
    store: RunStore,
    truth: GroundTruth,
    results: Path,
    no_timing: bool,
    methods: Sequence[str] | None,
) -> tuple[Table, list[Path], bool]:
    """Render one artefact and write its files; and whether all methods are in it."""
    from senas_bench.analysis.artefacts import render_sound

    table, faults = render_sound(artefact, records, store.scores, truth, no_timing=no_timing, methods=methods)
    for method, why in faults.items():
        print(f"{artefact.name} is made without {method}: {why}", file=sys.stderr)
    return *write_beside(table, results, artefact), not faults


def write_beside(table: Table, results: Path, artefact: Artefact | None) -> tuple[Table, list[Path]]:
    """Write a table and the figure of its artefact, under a name of their own where the folder has more by theirs.

    Returns:
        The table as it is named, and the files.
    """
    from senas_bench.analysis.output.formats import write
    from senas_bench.analysis.output.naming import beside

    table, why = beside(table, results)
    if why:
        print(why, file=sys.stderr)
    return table, write(table, results) + (save_figure(artefact, table, results) if artefact else [])


def save_figure(artefact: Artefact, table: Table, results: Path) -> list[Path]:
    """Write the figure of a rendered table, if it has one; files that show it already stay as they are."""
    if artefact.draw is None:
        return []
    from senas_bench.analysis.output.figures import save_once
    from senas_bench.analysis.output.formats import to_json

    return save_once(lambda: artefact.figure(table), to_json(table), results, table.name)
