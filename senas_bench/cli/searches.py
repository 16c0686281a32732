"""Commands on single archs: `search`, `retrain`, `latency`, `draw`, `cost`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from senas_bench.cli.checks import check_limit
from senas_bench.cli.options import (
    FAILED,
    AccumulateOption,
    DataDirOption,
    DatasetOption,
    Device,
    DeviceOption,
    JobsOption,
    JsonOption,
    LatencyTableOption,
    PresetOption,
    ResultsOption,
    SeedsOption,
    StageEpochsOption,
    TensorboardOption,
    ThreadsOption,
    device_of,
    jobs_of,
    parse_seeds,
    print_json,
    show,
)
from senas_bench.cli.runs import (
    check_folder,
    check_images,
    check_output,
    check_tensorboard,
    compute,
    make_specs,
    sizes_of,
)

if TYPE_CHECKING:
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.spec import RunRecord, RunSpec


def search(
    space: Annotated[str, typer.Option(help="mobilenet, mobilenet-g2, darts, darts-separate or nasbench201.")],
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
    out: Annotated[Path | None, typer.Option(help="Folder for the found archs and their picture.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search any space, under a limit or none; write what was found, and draw it."""
    numbers = parse_seeds(seeds)
    check_tensorboard(tensorboard)
    if out is not None:
        check_folder(out)
    sizes = sizes_of(preset, space, stage_epochs=stage_epochs, accumulate=accumulate)
    check_images(sizes, dataset, data_dir)
    where = device_of(device)
    given = {"flops": max_flops, "params": max_params, "latency": max_latency}
    limit = _limit(given, at_least, space, sizes, dataset, where, threads, results, latency_table)
    if limit is not None:
        option = next(f"--max-{name} {value:g}" for name, value in given.items() if value is not None)
        check_limit(option, space, limit, sizes, dataset or sizes.dataset)
    asked = {"space": space, "limit": limit, "retrain": retrain}
    specs = make_specs([method], numbers, preset, sizes, dataset, data_dir, where, threads, **asked)
    _finish_search(specs, results, data_dir, jobs_of(jobs, where), out, as_json, tensorboard)


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
    as_json: JsonOption = False,
) -> None:
    """Train one arch from scratch, and test it."""
    numbers = parse_seeds(seeds)
    check_tensorboard(tensorboard)
    sizes = sizes_of(preset, space, accumulate=accumulate)
    check_images(sizes, dataset, data_dir)
    text = _one_arch(arch, space)
    where = device_of(device)
    asked = {"space": space, "arch": text, "retrain": True}
    specs = make_specs(["fixed"], numbers, preset, sizes, dataset, data_dir, where, threads, **asked)
    _finish_search(specs, results, data_dir, jobs_of(jobs, where), None, as_json, tensorboard)


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
    sizes = sizes_of(preset, space)
    from senas_bench.experiments.studies import skeleton_for

    skeleton = skeleton_for(space, sizes, dataset or sizes.dataset)
    where = device_of(device)
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
    from senas_bench.spaces import SPACES

    kind = lookup("space", space, SPACES)
    choice = kind.from_str(_one_arch(arch, space))
    skeleton = lookup("dataset", dataset or next(iter(kind.skeletons)), kind.skeletons)
    costs = kind.cost(skeleton)(np.array([choice]))
    found = {"flops_m": float(costs["flops_m"][0]), "params": int(costs["params"][0])}
    if as_json:
        print_json(found)
    else:
        print(f"{kind.to_str(choice)}\n{found['flops_m']:.6f} MFLOPs, {found['params'] / 1e6:.6f} M parameters")


def _one_arch(text: str, space: str) -> str:
    """The arch string that is given: itself, an official index of NAS-Bench-201, or the one arch of a file."""
    from senas_bench.spaces import SPACES
    from senas_bench.spaces.nasbench201 import NB201, arch_to_str, official_archs

    if space == "nasbench201" and text.strip().isdecimal():
        if int(text) >= NB201.size:
            raise ValueError(f"arch index {text} is out of range; 0 to {NB201.size - 1}")
        return arch_to_str(official_archs()[int(text)])
    if text.endswith((".json", ".txt")):
        from senas_bench.spaces.archfile import read_archs

        archs = read_archs(Path(text), space)
        if len(archs) != 1 or archs[0].space != space:
            raise ValueError(f"{text} holds {len(archs)} archs of {archs[0].space}; one of {space} is needed")
        return SPACES[space].to_str(archs[0].arch)
    return text


def _limit(
    given: dict[str, float | None],
    at_least: float,
    space: str,
    sizes: Preset,
    dataset: str | None,
    device: str,
    threads: int,
    results: Path,
    latency_table: Path | None,
) -> dict[str, Any] | None:
    """The limit that the options ask for, as it stands in a spec."""
    from senas_bench.experiments.settings import limit_settings

    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) > 1:
        raise ValueError("one limit at a time; give one of --max-flops, --max-params, --max-latency")
    if not asked:
        return None
    if not 0 <= at_least < 1:
        raise ValueError(f"--at-least {at_least} must be at least 0 and below 1")
    ((name, value),) = asked.items()
    if not 0 < value * 1e6 < math.inf:
        raise ValueError(f"--max-{name} {value} must be positive, and below 1e302")
    if name == "latency":
        table = latency_table_for(space, sizes, dataset, device, threads, results, latency_table)
        return limit_settings(name, high=value, low=at_least * value, table=table)
    return limit_settings(name, high=value * 1e6, low=at_least * value * 1e6)


def latency_table_for(
    space: str,
    sizes: Preset,
    dataset: str | None,
    device: str,
    threads: int,
    results: Path,
    path: Path | None,
) -> Any:
    """The latency table of a space at these sizes: the file given, or the one that the results folder keeps."""
    from senas_bench.experiments.studies import skeleton_for
    from senas_bench.latency.tables import LatencyTable

    skeleton = skeleton_for(space, sizes, dataset or sizes.dataset)
    if path is not None:
        table = LatencyTable.load(path)
        table.check(space, skeleton)
        return table
    from senas_bench.latency.measure import saved_table

    table, kept = saved_table(results / "latency", space, skeleton, device, threads=threads)
    print(f"latency of {space}: {kept}", file=sys.stderr)
    return table


def _finish_search(
    specs: list[RunSpec],
    results: Path,
    data_dir: Path | None,
    jobs: int,
    out: Path | None,
    as_json: bool,
    tensorboard: Path | None,
) -> None:
    """Run what is missing, print what was found, and write it to a folder if one is named."""
    from senas_bench.experiments.store import RunStore

    store = RunStore(results)
    store.prepare()
    failed = compute(store, specs, results, data_dir, None, "joblib", jobs, tensorboard)
    records = store.finished(specs)
    found = [_found(record) for record in records]
    if as_json:
        print_json(found)
    else:
        for line in found:
            words = [value if isinstance(value, str) else f"{name} {value:,}" for name, value in line.items()]
            print("  ".join(words))
    if out is not None and records:
        _write_found(records, out)
    if failed:
        raise typer.Exit(FAILED)


def _found(record: RunRecord) -> dict[str, Any]:
    phases = {line["phase"]: line for line in record.history if "phase" in line}
    line: dict[str, Any] = {"pick": record.pick, "seed": record.spec.seed}
    line |= {name: round(phases["pick"][name], 6) for name in ("flops_m", "params") if name in phases.get("pick", {})}
    if phases.get("pick", {}).get("limited") == "latency":
        line["latency_ms"] = round(phases["pick"]["limited_cost"], 4)
    if "retrain" in phases:
        line |= {name: round(phases["retrain"][name], 2) for name in ("top1", "top5")}
        line["tested_on"] = f"{record.spec.dataset} {phases['retrain']['split']}"
    return line


def _write_found(records: list[RunRecord], out: Path) -> None:
    from senas_bench.analysis.output.figures import to_bytes
    from senas_bench.files import atomic_write
    from senas_bench.spaces import SPACES
    from senas_bench.spaces.archfile import NamedArch, write_archs
    from senas_bench.spaces.drawing import draw as drawing

    out.mkdir(parents=True, exist_ok=True)
    archs = [
        NamedArch(r.spec.space, SPACES[r.spec.space].from_str(r.pick), f"{r.spec.method}, seed {r.spec.seed}")
        for r in records
    ]
    stem = out / f"{records[0].spec.method}-{records[0].spec.space}"
    write_archs(stem.with_suffix(".json"), archs)
    for suffix in ("png", "svg"):
        atomic_write(stem.with_suffix(f".{suffix}"), to_bytes(drawing(archs[0].space, archs), suffix))
    print(f"written: {stem}.json, .png, .svg", file=sys.stderr)
