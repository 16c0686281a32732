"""Commands on single archs: `search`, `retrain`, `latency`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from senas_bench.cli.completion import one_of
from senas_bench.cli.options import (
    FAILED,
    OUTPUT,
    SIZE,
    WHAT,
    WHERE,
    AccumulateOption,
    DataDirOption,
    DatasetOption,
    Device,
    DeviceOption,
    EngineOption,
    JobsOption,
    JsonOption,
    KeepTrainedOption,
    LatencyTableOption,
    PrecisionOption,
    PresetOption,
    ResultsOption,
    SeedsOption,
    SpaceOption,
    StageEpochsOption,
    TensorboardOption,
    ThreadsOption,
    TrainWithinLimitOption,
    parse_epochs,
    print_json,
    show,
)

if TYPE_CHECKING:
    from senas_bench.api.searches import Found


def search(
    space: SpaceOption,
    method: Annotated[
        str, typer.Option(help="Search method.", rich_help_panel=WHAT, autocompletion=one_of("METHODS"))
    ] = "se-nas",
    preset: PresetOption = "embedded",
    seeds: SeedsOption = "0",
    dataset: DatasetOption = None,
    max_flops: Annotated[
        float | None,
        typer.Option(help="Millions of multiply-adds of the network that the preset builds.", rich_help_panel=WHAT),
    ] = None,
    max_params: Annotated[float | None, typer.Option(help="Millions of parameters.", rich_help_panel=WHAT)] = None,
    max_latency: Annotated[
        float | None, typer.Option(help="Milliseconds for a batch, by the latency table.", rich_help_panel=WHAT)
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option(help="Share of the limit that a network must use; .9 if none.", rich_help_panel=WHAT),
    ] = None,
    latency_table: LatencyTableOption = None,
    retrain: Annotated[
        bool,
        typer.Option("--retrain", help="Train the picks from scratch, and test them.", rich_help_panel=WHAT),
    ] = False,
    stage_epochs: StageEpochsOption = None,
    accumulate: AccumulateOption = None,
    device: DeviceOption = Device.auto,
    jobs: JobsOption = 0,
    threads: ThreadsOption = 1,
    data_dir: DataDirOption = None,
    results: ResultsOption = Path("runs"),
    tensorboard: TensorboardOption = None,
    keep_trained: KeepTrainedOption = False,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    train_within_limit: TrainWithinLimitOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the found archs and their picture.", rich_help_panel=OUTPUT)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search any space, under a limit or none; write what was found, and draw it."""
    from senas_bench.api import searches as api
    from senas_bench.experiments.seeds import parse_seeds
    from senas_bench.experiments.study import Setting

    setting = Setting(preset, dataset, data_dir, stage_epochs=parse_epochs(stage_epochs), accumulate=accumulate)
    setting = replace(setting, device=device, threads=threads, jobs=jobs, results=results, tensorboard=tensorboard)
    setting = replace(setting, keep_trained=keep_trained, engine=engine, precision=precision)
    setting = replace(setting, train_within_limit=train_within_limit)
    setting = replace(setting, latency_table=latency_table)
    limits = {"flops": max_flops, "params": max_params, "latency": max_latency}
    found = api.find(space, method, parse_seeds(seeds), limits, at_least, retrain, out, setting)
    _print_found(found, as_json)
    if out is not None:
        found.write(out)
    if found.failed:
        raise typer.Exit(FAILED)


def retrain(
    arch: Annotated[str, typer.Argument(help="Arch string, a file with one arch, or of DARTS a Genotype(...).")],
    space: SpaceOption = "nasbench201",
    preset: PresetOption = "embedded",
    seeds: SeedsOption = "0",
    dataset: DatasetOption = None,
    accumulate: AccumulateOption = None,
    device: DeviceOption = Device.auto,
    jobs: JobsOption = 0,
    threads: ThreadsOption = 1,
    data_dir: DataDirOption = None,
    results: ResultsOption = Path("runs"),
    tensorboard: TensorboardOption = None,
    keep_trained: KeepTrainedOption = False,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one arch from scratch, and test it."""
    from senas_bench.api import searches as api
    from senas_bench.experiments.seeds import parse_seeds
    from senas_bench.experiments.study import Setting

    setting = Setting(preset, dataset, data_dir, accumulate=accumulate, device=device, threads=threads)
    setting = replace(setting, jobs=jobs, results=results, tensorboard=tensorboard)
    setting = replace(setting, keep_trained=keep_trained, engine=engine, precision=precision)
    found = api.train_alone(arch, space, parse_seeds(seeds), setting)
    _print_found(found, as_json)
    if found.failed:
        raise typer.Exit(FAILED)


def _print_found(found: "Found", as_json: bool) -> None:
    if as_json:
        print_json(found.lines)
        return
    for line in found.lines:
        words = [value if isinstance(value, str) else f"{name} {value:,}" for name, value in line.items()]
        print("  ".join(words))


def latency(
    space: SpaceOption = "mobilenet",
    preset: PresetOption = "embedded",
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Images at a time.", rich_help_panel=SIZE)] = 1,
    threads: ThreadsOption = 1,
    clock: Annotated[
        str | None,
        typer.Option(
            help="wall, cpu (computing time: other processes disturb it less) or cuda; by device.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    validate: Annotated[
        int,
        typer.Option(
            min=0, max=10_000, help="Random archs to measure whole beside the table's sums.", rich_help_panel=SIZE
        ),
    ] = 0,
    results: ResultsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Measure every operator of a space here, once; check that sums of them predict the latency of whole networks."""
    from senas_bench.experiments.studies import skeleton_for
    from senas_bench.experiments.study import Setting

    setting = Setting(preset, dataset, device=device, threads=threads, results=results)
    sizes = setting.sizes(space)

    skeleton = skeleton_for(space, sizes, setting.images(sizes))
    where = setting.placed().device
    import numpy as np

    from senas_bench.latency import measure as measuring
    from senas_bench.latency.tables import sample_archs

    how = {"batch": batch, "threads": threads, "clock": clock}
    table, path = measuring.saved_table(results / "latency", space, skeleton, where, **how)
    found = {"table": str(path), "device": table.setting.device, "clock": table.setting.clock, "batch": batch}
    found |= {"threads": threads, "base_ms": round(table.base, 4)}
    if validate:
        archs = sample_archs(space, skeleton, validate, np.random.default_rng(0))
        checked = measuring.validate(table, archs, where)
        found |= {"archs": len(archs), "spearman": round(checked.spearman, 4)}
        found |= {"measured_over_predicted": round(checked.ratio, 4), "median_error_after": round(checked.error, 4)}
        found |= {"fastest_ms": round(checked.measured.min(), 4), "slowest_ms": round(checked.measured.max(), 4)}
    show(found, as_json)
