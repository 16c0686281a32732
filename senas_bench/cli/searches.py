"""Commands on single archs: `search`, `retrain`, `latency`, `draw`, `cost`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from senas_bench.api import searches as api
from senas_bench.cli.options import (
    FAILED,
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
    StageEpochsOption,
    TensorboardOption,
    ThreadsOption,
    TrainWithinLimitOption,
    parse_epochs,
    parse_seeds,
    print_json,
    show,
)
from senas_bench.experiments.study import Setting
from senas_bench.files import check_output


def search(
    space: Annotated[str, typer.Option(help="Search space, such as mobilenet; a wrong name lists them all.")],
    method: Annotated[str, typer.Option(help="Search method.")] = "se-nas",
    preset: PresetOption = "embedded",
    seeds: SeedsOption = "0",
    dataset: DatasetOption = None,
    max_flops: Annotated[float | None, typer.Option(help="Millions of multiply-adds of the network built.")] = None,
    max_params: Annotated[float | None, typer.Option(help="Millions of parameters.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Milliseconds for a batch, by the latency table.")] = None,
    at_least: Annotated[float, typer.Option(help="Share of the limit that a network must use.")] = 0.9,
    latency_table: LatencyTableOption = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train the picks from scratch, and test them.")] = False,
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
    out: Annotated[Path | None, typer.Option(help="Folder for the found archs and their picture.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search any space, under a limit or none; write what was found, and draw it."""
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
    space: Annotated[str, typer.Option(help="Search space.")] = "nasbench201",
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
    setting = Setting(preset, dataset, data_dir, accumulate=accumulate, device=device, threads=threads)
    setting = replace(setting, jobs=jobs, results=results, tensorboard=tensorboard)
    setting = replace(setting, keep_trained=keep_trained, engine=engine, precision=precision)
    found = api.train_alone(arch, space, parse_seeds(seeds), setting)
    _print_found(found, as_json)
    if found.failed:
        raise typer.Exit(FAILED)


def _print_found(found: api.Found, as_json: bool) -> None:
    if as_json:
        print_json(found.lines)
        return
    for line in found.lines:
        words = [value if isinstance(value, str) else f"{name} {value:,}" for name, value in line.items()]
        print("  ".join(words))


def latency(
    space: Annotated[str, typer.Option(help="Search space.")] = "mobilenet",
    preset: PresetOption = "embedded",
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Images at a time.")] = 1,
    threads: ThreadsOption = 1,
    clock: Annotated[
        str | None, typer.Option(help="wall, cpu (computing time: other processes disturb it less) or cuda; by device.")
    ] = None,
    validate: Annotated[
        int, typer.Option(min=0, max=10_000, help="Random archs to measure whole beside the table's sums.")
    ] = 0,
    results: ResultsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Measure every operator of a space here, once; check that sums of them predict the latency of whole networks."""
    setting = Setting(preset, dataset, device=device, threads=threads, results=results)
    sizes = setting.sizes(space)
    from senas_bench.experiments.studies import skeleton_for

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
        found |= {"measured_over_predicted": round(checked.ratio, 4), "median_error": round(checked.error, 4)}
        found |= {"fastest_ms": round(checked.measured.min(), 4), "slowest_ms": round(checked.measured.max(), 4)}
    show(found, as_json)


def draw(
    file: Annotated[Path, typer.Argument(help="JSON or text file of archs.")],
    out: Annotated[Path, typer.Option(help="Picture to write: .png or .svg.")],
    space: Annotated[str | None, typer.Option(help="Space of archs for which the file names none.")] = None,
) -> None:
    """Draw archs, ours or yours: blocks of MobileNet-like networks, graphs of cells."""
    check_output(out, (".png", ".svg"))
    from senas_bench.spaces.archfile import read_archs

    archs = read_archs(file, space)
    from senas_bench.analysis.output.figures import to_bytes
    from senas_bench.files import atomic_write
    from senas_bench.spaces.drawing import draw as drawing

    atomic_write(out, to_bytes(drawing(archs[0].space, archs), out.suffix[1:]))
    print(f"{len(archs)} archs of {archs[0].space}; written: {out}")


def cost(
    arch: Annotated[
        str,
        typer.Argument(
            help="Arch string, file with one, index in nasbench201 (0 to 15,624), or Genotype(...) of DARTS."
        ),
    ],
    space: Annotated[str, typer.Option(help="Search space.")] = "nasbench201",
    dataset: Annotated[
        str | None, typer.Option(help="Whose network: cifar10 and others, or imagenet; the space's first by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """FLOPs (multiply-adds, millions) and parameters of a stand-alone network."""
    import numpy as np

    from senas_bench.names import lookup
    from senas_bench.spaces import space_named

    kind = space_named(space)
    choice = kind.from_str(api.one_arch(arch, space))
    skeleton = lookup("dataset", dataset or next(iter(kind.skeletons)), kind.skeletons)
    costs = kind.cost(skeleton)(np.array([choice]))
    found = {"flops_m": float(costs["flops_m"][0]), "params": int(costs["params"][0])}
    if as_json:
        print_json(found)
    else:
        print(f"{kind.to_str(choice)}\n{found['flops_m']:.6f} MFLOPs, {found['params'] / 1e6:.6f} M parameters")
