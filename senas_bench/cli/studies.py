"""`reproduce` and `rank`."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from senas_bench.cli.completion import one_of, several_of
from senas_bench.cli.lists import artefact_rows, print_lines
from senas_bench.cli.options import (
    FAILED,
    OUTPUT,
    USAGE,
    WHAT,
    WHERE,
    AccumulateOption,
    AloneEpochsOption,
    CandidatesOption,
    CurvePointsOption,
    DataDirOption,
    DatasetOption,
    Device,
    DeviceOption,
    EngineOption,
    JobsOption,
    JsonOption,
    KeepTrainedOption,
    LatencyTableOption,
    NoTimingOption,
    OfficialSplitOption,
    PrecisionOption,
    PresetOption,
    RankArchsOption,
    ResultsOption,
    ScoreImagesOption,
    SeedsOption,
    SeedTruthOption,
    StageEpochsOption,
    TensorboardOption,
    ThreadsOption,
    TrainWithinLimitOption,
    TruthOption,
    parse_epochs,
    print_json,
    split_names,
)
from senas_bench.cli.plan import show_plan

if TYPE_CHECKING:
    from senas_bench.api.studies import Study

MethodsOption = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated, as `senas-bench methods` lists them, or all; by default the artefact's.",
        rich_help_panel=WHAT,
        autocompletion=several_of("METHODS"),
    ),
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        help="serial, joblib or ray; see CLUSTER.md.", rich_help_panel=WHERE, autocompletion=one_of("EXECUTORS")
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster: auto, host:port or ray://host:port; without, Ray starts here.", rich_help_panel=WHERE
    ),
]
GpusOption = Annotated[
    float | None, typer.Option(help="Share of a GPU that a run takes with ray.", rich_help_panel=WHERE)
]
FreshOption = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Set finished runs aside and compute them again, from trainings that were kept if there are any.",
        rich_help_panel=WHAT,
    ),
]
FinishedOption = Annotated[
    bool,
    typer.Option(
        "--finished",
        help="Run nothing: tables and figures of the runs that are finished.",
        rich_help_panel=WHAT,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would run, and what it costs.", rich_help_panel=WHAT)
]


def reproduce(
    artefacts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names as `senas-bench artefacts` lists them; nasbench201, searches, or all.",
            autocompletion=one_of("ARTEFACTS", "GROUPS"),
            show_default=False,
        ),
    ] = None,
    preset: PresetOption = "embedded",
    seeds: SeedsOption = "0-2",
    methods: MethodsOption = None,
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    jobs: JobsOption = 0,
    threads: ThreadsOption = 1,
    executor: ExecutorOption = "joblib",
    address: AddressOption = None,
    gpus_per_run: GpusOption = None,
    data_dir: DataDirOption = None,
    ground_truth: TruthOption = None,
    seed_truth: SeedTruthOption = None,
    stage_epochs: StageEpochsOption = None,
    alone_epochs: AloneEpochsOption = None,
    rank_archs: RankArchsOption = None,
    score_images: ScoreImagesOption = None,
    candidates: CandidatesOption = None,
    curve_points: CurvePointsOption = None,
    official_split: OfficialSplitOption = False,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    accumulate: AccumulateOption = None,
    latency_table: LatencyTableOption = None,
    results: ResultsOption = Path("runs"),
    tensorboard: TensorboardOption = None,
    keep_trained: KeepTrainedOption = False,
    train_within_limit: TrainWithinLimitOption = False,
    fresh: FreshOption = False,
    only_finished: FinishedOption = False,
    dry_run: DryRunOption = False,
    no_timing: NoTimingOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make tables and figures of the paper: run what is missing, then render."""
    if not artefacts:
        _say_what_can_be_made()
    from senas_bench.api.studies import Setting, prepare

    setting = Setting(preset, dataset, data_dir, ground_truth, device, threads, results, latency_table)
    setting = replace(setting, stage_epochs=parse_epochs(stage_epochs), alone_epochs=alone_epochs, jobs=jobs)
    setting = replace(setting, rank_archs=rank_archs, candidates=candidates, curve_points=curve_points, engine=engine)
    setting = replace(setting, official_split=official_split, accumulate=accumulate, tensorboard=tensorboard)
    setting = replace(setting, keep_trained=keep_trained, executor=executor, address=address, gpus_per_run=gpus_per_run)
    setting = replace(setting, train_within_limit=train_within_limit, score_images=score_images, precision=precision)
    how = {"finished": only_finished, "fresh": fresh, "seed_truth": seed_truth, "dry": dry_run}
    study = prepare(artefacts, seeds, split_names(methods), setting, **how)
    if dry_run:
        show_plan(study.store, study.specs, as_json, fresh)
    elif not _finish(study, no_timing, as_json):
        raise typer.Exit(FAILED)


def _say_what_can_be_made() -> NoReturn:
    print("Usage: senas-bench reproduce NAME...; name what to make, one or several of:", file=sys.stderr)
    print_lines(artefact_rows(), sys.stderr)
    print("such as: senas-bench reproduce table3 --dry-run, which says what would run", file=sys.stderr)
    raise typer.Exit(USAGE)


def _finish(study: "Study", no_timing: bool, as_json: bool) -> bool:
    """Run, render and print; whether nothing was at fault."""
    from senas_bench.analysis.output.formats import to_json, to_text

    failed, tables = study.run(), []
    for made in study.render(no_timing=no_timing):
        tables.append(made.table)
        if not as_json:
            written = f"\nwritten: {', '.join(map(str, made.paths))}" if made.paths else ""
            print(f"{to_text(made.table)}{written}")
    if as_json:
        found = [json.loads(to_json(table)) for table in tables]
        print_json(found if len(study.artefacts) > 1 else next(iter(found), None))
    return study.sound and not failed


def _seed(value: int) -> int:
    from senas_bench.experiments.spec import SEEDS

    if not 0 <= value < SEEDS:
        raise typer.BadParameter(f"{value} must be at least 0 and below 2**64")
    return value


def rank(
    out: Annotated[
        Path,
        typer.Option(help="File: .csv or .parquet with arch_str, score (a rank), estimate.", rich_help_panel=OUTPUT),
    ],
    method: Annotated[
        str,
        typer.Option(help="Method whose ranking is wanted.", rich_help_panel=WHAT, autocompletion=one_of("METHODS")),
    ] = "spos+",
    estimator: Annotated[
        str | None,
        typer.Option(
            help="Ranks in place of the method's own estimator.",
            rich_help_panel=WHAT,
            autocompletion=one_of("ESTIMATORS", "PROXIES"),
        ),
    ] = None,
    preset: PresetOption = "embedded",
    seed: Annotated[int, typer.Option(callback=_seed, help="Seed.", rich_help_panel=WHAT)] = 0,
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    threads: ThreadsOption = 1,
    data_dir: DataDirOption = None,
    stage_epochs: StageEpochsOption = None,
    rank_archs: RankArchsOption = None,
    score_images: ScoreImagesOption = None,
    candidates: CandidatesOption = None,
    curve_points: CurvePointsOption = None,
    official_split: OfficialSplitOption = False,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    accumulate: AccumulateOption = None,
    results: ResultsOption = Path("runs"),
) -> None:
    """Run one method and write its ranking: arch_str, score (a rank, higher is better) and what it measured."""
    from senas_bench.files import atomic_file, check_output

    check_output(out, (".csv", ".parquet"))
    from senas_bench.api.rankings import rank as ranked
    from senas_bench.experiments.failures import RunsFailed

    options = {"dataset": dataset, "device": device, "threads": threads, "data_dir": data_dir, "results": results}
    options |= {"stage_epochs": parse_epochs(stage_epochs), "rank_archs": rank_archs, "candidates": candidates}
    options |= {"curve_points": curve_points, "official_split": official_split, "accumulate": accumulate}
    options |= {"engine": engine, "precision": precision, "score_images": score_images}
    try:
        scores = ranked(method, seed, estimator=estimator, preset=preset, **options)
    except RunsFailed as error:  # which was said when it did
        raise typer.Exit(FAILED) from error
    with atomic_file(out) as file:
        scores.to_csv(file, index=False) if out.suffix == ".csv" else scores.to_parquet(file, index=False)
    by = f"{method} with {estimator}" if estimator else method
    print(f"{len(scores)} archs scored by {by}; best {scores['arch_str'].iloc[0]}; written: {out}")
