"""The command line. Everything heavy is imported inside the commands, so that `--help` is instant."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from analysis.artefacts import Artefact
    from analysis.formats import Table
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.spec import RunRecord, RunSpec
    from senas_bench.experiments.store import RunStore
    from senas_bench.groundtruth import GroundTruth

app = typer.Typer(
    name="senas-bench",
    help="Train, shrink and expand weight-sharing supernets; reproduce the tables of the SE-NAS paper.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
benchmark_app = typer.Typer(no_args_is_help=True, help="Benchmark tables: the ground truth.", rich_markup_mode=None)
data_app = typer.Typer(no_args_is_help=True, help="Image data sets.", rich_markup_mode=None)
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(data_app, name="data")

MAX_SEEDS = 10_000
"""Of a range: as many runs would never end, and a slip of a key should not fill the memory."""
OK, FAILED, USAGE, NO_DATA = 0, 1, 2, 3


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


PresetOption = Annotated[str, typer.Option(help="Size of the study: embedded, cpu or paper.")]
SeedsOption = Annotated[str, typer.Option(help="Seeds, such as 0-9 or 0,3,5.")]
DatasetOption = Annotated[
    str | None, typer.Option(help="Images: digits, cifar10, cifar100, imagenet16-120, imagenet; the preset's if none.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU when there is one.")]
JobsOption = Annotated[
    int, typer.Option(min=0, help="Runs at a time; 0 = one per CPU core (one on a GPU; with ray, what fits).")
]
ThreadsOption = Annotated[int, typer.Option(min=1, help="CPU threads per run; part of what makes results identical.")]
DataDirOption = Annotated[Path | None, typer.Option(help="Folder with the images.")]
TruthOption = Annotated[
    Path | None, typer.Option(help="Benchmark table (Parquet); by default the CIFAR-10 table of analog-nasbench.")
]
StageEpochsOption = Annotated[
    str | None, typer.Option(help="Epochs of the stages, such as 5,5,5; methods of one stage train their sum.")
]
RankArchsOption = Annotated[
    int | None, typer.Option(min=0, help="Archs that rankings cover, a fixed random sample; 0 = the whole space.")
]
CandidatesOption = Annotated[
    int | None, typer.Option(min=0, help="Archs that RSPS, SETN, ENAS score for a pick; 0 = as their papers.")
]
CurvePointsOption = Annotated[
    int | None, typer.Option(min=0, help="Rankings per stage while SPOS and SE-NAS train, for fig7; 0 = none.")
]
OfficialSplitOption = Annotated[
    bool,
    typer.Option(
        "--official-split", help="Validate as NAS-Bench-201: by its cifar-split.txt and the like, in the data folder."
    ),
]
AccumulateOption = Annotated[
    int | None,
    typer.Option(min=1, help="Parts of a batch, each with its own batch norm; under torchrun its processes."),
]
LatencyTableOption = Annotated[
    Path | None, typer.Option(help="Latency look-up table (JSON) for limits of latency; measured here if none.")
]
SeedTruthOption = Annotated[
    Path | None, typer.Option(help="Parquet table with the accuracy of single training seeds, for table1.")
]
TensorboardOption = Annotated[Path | None, typer.Option(help="Folder for curves of the losses, for TensorBoard.")]
ResultsOption = Annotated[Path, typer.Option(help="Results folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


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
) -> None:
    if debug:
        os.environ["SENAS_DEBUG"] = "1"


@app.command()
def reproduce(
    artefacts: Annotated[
        list[str], typer.Argument(help="table1, table3 to table6, fig1, fig6 to fig12; nasbench201, searches, or all.")
    ],
    preset: PresetOption = "embedded",
    seeds: SeedsOption = "0-2",
    methods: Annotated[str | None, typer.Option(help="Comma-separated methods; by default the artefact's.")] = None,
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
    rank_archs: RankArchsOption = None,
    candidates: CandidatesOption = None,
    curve_points: CurvePointsOption = None,
    official_split: OfficialSplitOption = False,
    accumulate: AccumulateOption = None,
    latency_table: LatencyTableOption = None,
    results: ResultsOption = Path("runs"),
    tensorboard: TensorboardOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set finished runs aside and compute them again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Leave machine-dependent columns out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make tables and figures of the paper: run what is missing, then render."""
    numbers, names = parse_seeds(seeds), _split(methods)
    options = _executor_options(executor, address, gpus_per_run)
    _check_tensorboard(tensorboard)
    changes = {"stage_epochs": stage_epochs, "rank_archs": rank_archs, "accumulate": accumulate}
    changes |= {"candidates": candidates, "curve_points": curve_points, "official_split": official_split}
    sizes = _sizes(preset, **changes)
    _check_images(sizes, dataset, data_dir)
    truth = _truth(ground_truth, seed_truth)
    # seconds of imports, after all that can be refused without them
    from analysis.artefacts import ARTEFACTS, GROUPS, is_search
    from senas_bench.experiments.store import RunStore
    from senas_bench.names import lookup

    wanted = [name for asked in artefacts for name in GROUPS.get(asked, [asked])]
    chosen = {name: lookup("artefact", name, ARTEFACTS) for name in wanted}
    of_artefact = _methods(chosen, names)
    where = _device(device, elsewhere=address is not None)
    if gpus_per_run is not None and where != "cuda":
        raise ValueError("--gpus-per-run is for runs on a GPU; add --device cuda")
    ranked = [group for name, group in of_artefact.items() if not chosen[name].searches]
    methods_in_order = list(dict.fromkeys(method for group in ranked for method in group))
    distinct = _specs(methods_in_order, numbers, preset, sizes, dataset, data_dir, where, threads, ground_truth)
    searching = {name: artefact for name, artefact in chosen.items() if artefact.searches and name in of_artefact}
    common = {"preset": preset, "dataset": dataset, "data_dir": data_dir, "device": where, "threads": threads}
    distinct += _search_specs(searching, of_artefact, numbers, changes, common, results, latency_table)
    store = RunStore(results)
    if dry_run:
        _print_plan(store, distinct)
        return
    store.prepare()
    if fresh:
        for spec in distinct:
            store.set_aside(spec)
    jobs_at_a_time = _jobs(jobs, where, executor)
    failed = _compute(store, distinct, results, data_dir, ground_truth, executor, jobs_at_a_time, tensorboard, options)
    finished = [store.load(spec) for spec in distinct if store.has(spec)]
    for name, methods_of_it in of_artefact.items():
        wanted_here = [record for record in finished if record.spec.method in methods_of_it]
        records = [r for r in wanted_here if bool(chosen[name].searches) == is_search(r)]
        essential = chosen[name].essential
        if essential not in (None, *(record.spec.method for record in records)):
            print(f"{name} is not made: it has no runs of {essential}", file=sys.stderr)
        elif records:
            _make(chosen[name], records, store, truth, results, no_timing, names and methods_of_it, as_json)
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def rank(
    out: Annotated[Path, typer.Option(help="Scores to write: .csv or .parquet with arch_str, score.")],
    method: Annotated[str, typer.Option(help="Method whose ranking is wanted.")] = "spos+",
    preset: PresetOption = "embedded",
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 0,
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

    if out.suffix not in (".csv", ".parquet"):
        raise ValueError(f"--out {out}: the name must end in .csv or .parquet")
    _check_output(out)
    sizes = _sizes(
        preset,
        stage_epochs=stage_epochs,
        accumulate=accumulate,
        rank_archs=rank_archs,
        candidates=candidates,
        curve_points=curve_points,
        official_split=official_split,
    )
    _check_images(sizes, dataset, data_dir)
    _check_ranks(method)
    specs = _specs([method], [seed], preset, sizes, dataset, data_dir, _device(device), threads)
    store = RunStore(results)
    store.prepare()
    if _compute(store, specs, results, data_dir, None, "serial", 1):
        raise typer.Exit(FAILED)
    from analysis.join import final_scores
    from senas_bench.files import atomic_file

    scores = final_scores(store.scores(store.load(specs[0])))
    with atomic_file(out) as file:
        scores.to_csv(file, index=False) if out.suffix == ".csv" else scores.to_parquet(file, index=False)
    print(f"{len(scores)} archs scored by {method}; best {scores['arch_str'].iloc[0]}; written: {out}")


@app.command()
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
    _check_tensorboard(tensorboard)
    sizes = _sizes(preset, space, stage_epochs=stage_epochs, accumulate=accumulate)
    _check_images(sizes, dataset, data_dir)
    where = _device(device)
    given = {"flops": max_flops, "params": max_params, "latency": max_latency}
    limit = _limit(given, at_least, space, sizes, dataset, where, threads, results, latency_table)
    asked = {"space": space, "limit": limit, "retrain": retrain}
    specs = _specs([method], numbers, preset, sizes, dataset, data_dir, where, threads, **asked)
    _finish_search(specs, results, data_dir, _jobs(jobs, where), out, as_json, tensorboard)


@app.command()
def retrain(
    arch: Annotated[str, typer.Argument(help="Arch string, or a file with one arch.")],
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
    _check_tensorboard(tensorboard)
    sizes = _sizes(preset, space, accumulate=accumulate)
    _check_images(sizes, dataset, data_dir)
    text = _one_arch(arch, space)
    where = _device(device)
    asked = {"space": space, "arch": text, "retrain": True}
    specs = _specs(["fixed"], numbers, preset, sizes, dataset, data_dir, where, threads, **asked)
    _finish_search(specs, results, data_dir, _jobs(jobs, where), None, as_json, tensorboard)


@app.command()
def latency(
    space: Annotated[str, typer.Option(help="Search space.")] = "mobilenet",
    preset: PresetOption = "embedded",
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 1,
    threads: ThreadsOption = 1,
    clock: Annotated[
        str | None, typer.Option(help="wall, cpu (computing time: other processes disturb it less) or cuda; by device.")
    ] = None,
    validate: Annotated[int, typer.Option(min=0, help="Random archs to measure whole beside the table's sums.")] = 0,
    results: ResultsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Measure every operator of a space here, once; check that sums of them predict the latency of whole networks."""
    sizes = _sizes(preset, space)
    from senas_bench.experiments.studies import skeleton_for

    skeleton = skeleton_for(space, sizes, dataset or sizes.dataset)
    where = _device(device)
    import numpy as np

    from senas_bench.networks import latency as measuring
    from senas_bench.spaces.latency import sample_archs

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
    _print(found, as_json)


@app.command()
def draw(
    file: Annotated[Path, typer.Argument(help="JSON or text file of archs.")],
    out: Annotated[Path, typer.Option(help="Picture to write: .png or .svg.")],
    space: Annotated[str | None, typer.Option(help="Space of archs for which the file names none.")] = None,
) -> None:
    """Draw archs, ours or yours: blocks of MobileNet-like networks, graphs of cells."""
    if out.suffix not in (".png", ".svg"):
        raise ValueError(f"--out {out}: the name must end in .png or .svg")
    from senas_bench.spaces.archfile import read_archs

    archs = read_archs(file, space)
    from analysis.drawings import draw as drawing
    from analysis.figures import to_bytes
    from senas_bench.files import atomic_write

    atomic_write(out, to_bytes(drawing(archs[0].space, archs), out.suffix[1:]))
    print(f"{len(archs)} archs of {archs[0].space}; written: {out}")


@app.command("evaluate-ranking")
def evaluate_ranking(
    scores: Annotated[Path, typer.Argument(help="CSV or Parquet with columns arch_str and score.")],
    dataset: Annotated[str, typer.Option(help="cifar10, cifar100 or imagenet16-120.")],
    split: Annotated[str, typer.Option(help="val or test.")],
    epochs: Annotated[int, typer.Option(help="12 or 200.")],
    ground_truth: TruthOption = None,
    k: Annotated[str, typer.Option(help="Sizes of the top for P@k and best-rank@k.")] = "10,100",
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Compare scores of archs with their ground-truth accuracy."""
    from analysis.evaluation import evaluate_ranking as evaluate
    from analysis.evaluation import read_scores
    from senas_bench.groundtruth import Query, load_ground_truth

    query = Query(dataset, split, epochs, "mean")
    table = read_scores(scores)
    truth = load_ground_truth(ground_truth)
    ks = [_whole(text, "--k") for text in k.split(",")]
    result = evaluate(table["arch_str"].tolist(), table["score"].to_numpy(), truth, query, ks=ks, n_resamples=resamples)
    _print(result, as_json)


@app.command()
def cost(
    arch: Annotated[str, typer.Argument(help="Arch string, or in nasbench201 an official index, 0 to 15,624.")],
    space: Annotated[str, typer.Option(help="Search space.")] = "nasbench201",
    dataset: Annotated[
        str | None, typer.Option(help="Whose network: cifar10 and others, or imagenet; the space's first by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """FLOPs (multiply-adds, millions) and parameters of a stand-alone network."""
    import numpy as np

    from senas_bench.names import lookup
    from senas_bench.spaces import KINDS

    kind = lookup("space", space, KINDS)
    choice = kind.from_str(_one_arch(arch, space))
    skeleton = lookup("dataset", dataset or next(iter(kind.skeletons)), kind.skeletons)
    costs = kind.cost(skeleton)(np.array([choice]))
    found = {"flops_m": float(costs["flops_m"][0]), "params": int(costs["params"][0])}
    if as_json:
        print(json.dumps(found))
    else:
        print(f"{kind.to_str(choice)}\n{found['flops_m']:.6f} MFLOPs, {found['params'] / 1e6:.6f} M parameters")


@app.command()
def status(results: ResultsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """What a results folder holds: finished and unfinished runs."""
    from senas_bench.experiments.store import RunStore

    store = RunStore(results)
    records = store.records()
    done = [{"run": r.spec.run_id, "pick": r.pick, "wall_seconds": r.timing.get("wall_seconds")} for r in records]
    unfinished = store.unfinished()
    if as_json:
        print(json.dumps({"finished": done, "unfinished": unfinished}, indent=1))
        return
    for line in done:
        print(f"done        {line['run']:58} {line['wall_seconds'] or 0:9.1f} s  {line['pick']}")
    for run_id in unfinished:
        print(f"unfinished  {run_id}")
    print(f"{len(done)} finished, {len(unfinished)} unfinished in {results}")


@app.command()
def report(
    results: ResultsOption = Path("runs"),
    ground_truth: TruthOption = None,
    seed_truth: SeedTruthOption = None,
    out: Annotated[Path | None, typer.Option(help="File to write; report.html in the results folder if none.")] = None,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Leave out what depends on the machine.")] = False,
) -> None:
    """All that finished runs allow: tables, figures, and one HTML page that judges the paper's claims."""
    from senas_bench.experiments.store import RunStore

    truth = _truth(ground_truth, seed_truth)
    store = RunStore(results)
    records = store.records()
    if not records:
        raise ValueError(f"no finished runs in {results}; run `senas-bench reproduce all` first")
    from analysis.artefacts import ARTEFACTS, render_all
    from analysis.formats import write
    from analysis.report import make_report
    from senas_bench.files import atomic_write

    tables = render_all(records, store.scores, truth, no_timing=no_timing)
    page, judged = make_report(tables, records, no_timing=no_timing)
    path = out or results / "report.html"
    atomic_write(path, page.encode())
    for table in (*tables.values(), judged):
        write(table, results)
    for name, table in tables.items():
        _save_figure(ARTEFACTS[name], table, results)
    counts = ", ".join(f"{count} {word}" for word, count in judged.meta["counts"].items() if count)
    print(f"claims of the paper: {counts}; written: {path}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Results folder.")],
    b: Annotated[Path, typer.Argument(help="Results folder.")],
    as_json: JsonOption = False,
) -> None:
    """Two results folders, method by method: B minus A, with a test."""
    from analysis.compare import compare as compared
    from analysis.formats import to_json, to_text

    table = compared(a, b)
    print(to_json(table) if as_json else to_text(table), end="")


@app.command()
def doctor(
    data_dir: DataDirOption = None, ground_truth: TruthOption = None, results: ResultsOption = Path("runs")
) -> None:
    """Check that this machine can run senas-bench, one line per thing."""
    import platform

    import torch

    from senas_bench import __version__
    from senas_bench.data import DATASETS, data_id
    from senas_bench.errors import DataError
    from senas_bench.experiments.provenance import cpu_cores
    from senas_bench.groundtruth import load_ground_truth

    problems = 0
    print(f"ok       senas-bench {__version__}, Python {platform.python_version()}, torch {torch.__version__}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(f"ok       {cpu_cores()} CPU cores, GPU: {gpu}")
    for name in DATASETS:
        try:
            print(f"ok       images {name}: {data_id(name, data_dir)}")
        except DataError as error:
            print(f"missing  images {name}: {error}")
    try:
        truth = load_ground_truth(ground_truth)
        print(f"ok       ground truth {truth.name}: {', '.join(map(str, truth.queries()))}")
    except (DataError, ValueError) as error:
        problems += 1
        print(f"problem  ground truth: {error}")
    place = results if results.exists() else results.resolve().parent
    if os.access(place, os.W_OK):
        print(f"ok       results go to {results}")
    else:
        problems += 1
        print(f"problem  results folder {results} cannot be written; name another with --results")
    if problems:
        raise typer.Exit(FAILED)


@benchmark_app.command("import")
def benchmark_import(
    source: Annotated[
        Path, typer.Argument(help="Parquet or CSV table, NAS-Bench-201-v1_*.pth, or a folder of NATS-Bench.")
    ],
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    costs: Annotated[Path | None, typer.Option(help="Parquet file whose costs join by arch: HW-NAS-Bench.")] = None,
) -> None:
    """Check a benchmark and write it as one Parquet table."""
    from senas_bench.groundtruth import import_table

    truth = import_table(source, out, costs)
    means = [query for query in truth.queries() if query.seeds == "mean"]
    others = f", {len(truth.queries()) - len(means)} of single seeds, {len(truth.costs)} costs"
    print(f"{len(truth.arch_strs)} archs, {', '.join(map(str, means))}{others}; written: {out}")


@benchmark_app.command("info")
def benchmark_info(ground_truth: TruthOption = None, as_json: JsonOption = False) -> None:
    """What a table holds."""
    from senas_bench.groundtruth import benchmark_info as info
    from senas_bench.groundtruth import load_ground_truth

    _print(info(load_ground_truth(ground_truth)), as_json)


@benchmark_app.command("query")
def benchmark_query(
    arch: Annotated[str, typer.Argument(help="Arch string or official index.")],
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Only this training length.")] = None,
    ground_truth: TruthOption = None,
    as_json: JsonOption = False,
) -> None:
    """The accuracies of one arch, percent."""
    from senas_bench.groundtruth import benchmark_query as query
    from senas_bench.groundtruth import load_ground_truth

    _print(query(load_ground_truth(ground_truth), arch, dataset=dataset, split=split, epochs=epochs), as_json)


@benchmark_app.command("verify")
def benchmark_verify(ground_truth: TruthOption = None) -> None:
    """Check schema, hash, values and known anchors of a table."""
    from senas_bench.groundtruth import benchmark_verify as verify

    problems = verify(ground_truth)
    for problem in problems:
        print(problem)
    print("ok" if not problems else f"{len(problems)} problems")
    if problems:
        raise typer.Exit(NO_DATA)


@data_app.command("list")
def data_list(data_dir: DataDirOption = None) -> None:
    """Which data sets are there."""
    from senas_bench.data import DATASETS, data_id
    from senas_bench.errors import DataError

    for name in DATASETS:
        try:
            print(f"{name:12} {data_id(name, data_dir)}")
        except DataError as error:
            print(f"{name:12} missing: {error}")


@data_app.command("download")
def data_download(
    name: Annotated[str, typer.Argument(help="cifar10 or cifar100.")], data_dir: DataDirOption = None
) -> None:
    """Fetch the official files of a data set."""
    from senas_bench.data import DATASETS
    from senas_bench.names import lookup

    images = lookup("dataset", name, DATASETS)(data_dir, True)
    print(f"{name}: {images.counts[0]} training images, {images.data_id}")


@data_app.command("verify")
def data_verify(name: Annotated[str, typer.Argument(help="Data set.")], data_dir: DataDirOption = None) -> None:
    """Read a data set whole, with its checksums; of imagenet, which has none, decode every image."""
    from senas_bench.data import DATASETS, StreamedImages
    from senas_bench.names import lookup

    images = lookup("dataset", name, DATASETS)(data_dir, False)
    if isinstance(images, StreamedImages):
        from senas_bench.data.streaming import decode_all

        for part in (images.train, images.test):
            decode_all(part, _workers(1))
    train, test = images.counts
    print(f"{name}: {train} training and {test} test images, {images.num_classes} classes, {images.data_id}")


def _one_arch(text: str, space: str) -> str:
    """The arch string that is given: itself, an official index of NAS-Bench-201, or the one arch of a file."""
    from senas_bench.spaces import KINDS
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
        return KINDS[space].to_str(archs[0].arch)
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
    from senas_bench.experiments.run import limit_settings

    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) > 1:
        raise ValueError("one limit at a time; give one of --max-flops, --max-params, --max-latency")
    if not asked:
        return None
    if not 0 <= at_least < 1:
        raise ValueError(f"--at-least {at_least} must be at least 0 and below 1")
    ((name, value),) = asked.items()
    if value <= 0:
        raise ValueError(f"--max-{name} {value} must be positive")
    if name == "latency":
        table = _latency(space, sizes, dataset, device, threads, results, latency_table)
        return limit_settings(name, high=value, low=at_least * value, table=table)
    return limit_settings(name, high=value * 1e6, low=at_least * value * 1e6)


def _latency(
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
    from senas_bench.spaces.latency import LatencyTable

    skeleton = skeleton_for(space, sizes, dataset or sizes.dataset)
    if path is not None:
        table = LatencyTable.load(path)
        table.check(space, skeleton)
        return table
    from senas_bench.networks.latency import saved_table

    table, kept = saved_table(results / "latency", space, skeleton, device, threads=threads)
    print(f"latency of {space}: {kept}", file=sys.stderr)
    return table


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
    from senas_bench.experiments.run import limit_settings, make_spec

    firsts: dict[str, RunSpec] = {}
    for name, artefact in artefacts.items():
        for row in artefact.searches:
            if row.method not in methods[name]:
                continue
            sizes = _sizes(common["preset"], **changes, space=row.space)
            table = None
            if row.cost == "latency":
                where = common["dataset"], common["device"], common["threads"]
                table = _latency(row.space, sizes, *where, results, latency_table)
            limit = limit_settings(row.cost, level=row.level, table=table)
            spec = make_spec(row.method, 0, sizes=sizes, space=row.space, limit=limit, retrain=True, **common)
            firsts[spec.run_id] = spec
    return [replace(spec, seed=seed) for seed in seeds for spec in firsts.values()]


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
    failed = _compute(store, specs, results, data_dir, None, "joblib", jobs, tensorboard)
    records = [store.load(spec) for spec in specs if store.has(spec)]
    found = [_found(record) for record in records]
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for line in found:
            words = [value if isinstance(value, str) else f"{name} {value:,}" for name, value in line.items()]
            print("  ".join(words))
    if out and records:
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
    from analysis.drawings import draw as drawing
    from analysis.figures import to_bytes
    from senas_bench.files import atomic_write
    from senas_bench.spaces import KINDS
    from senas_bench.spaces.archfile import NamedArch, write_archs

    out.mkdir(parents=True, exist_ok=True)
    archs = [
        NamedArch(r.spec.space, KINDS[r.spec.space].from_str(r.pick), f"{r.spec.method}, seed {r.spec.seed}")
        for r in records
    ]
    stem = out / f"{records[0].spec.method}-{records[0].spec.space}"
    write_archs(stem.with_suffix(".json"), archs)
    for suffix in ("png", "svg"):
        atomic_write(stem.with_suffix(f".{suffix}"), to_bytes(drawing(archs[0].space, archs), suffix))
    print(f"written: {stem}.json, .png, .svg", file=sys.stderr)


def _truth(ground_truth: Path | None, seed_truth: Path | None) -> GroundTruth:
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
    as_json: bool,
) -> None:
    """Render one artefact, write its files and print it."""
    from analysis.formats import to_json, to_text, write

    table = artefact.render(records, store.scores, truth, no_timing=no_timing, methods=methods)
    paths = write(table, results) + _save_figure(artefact, table, results)
    if as_json:
        print(to_json(table), end="")
    else:
        print(to_text(table))
        print(f"written: {', '.join(str(path) for path in paths)}")


def _save_figure(artefact: Artefact, table: Table, results: Path) -> list[Path]:
    from analysis.figures import save

    figure = artefact.figure(table)
    return save(figure, results, artefact.name) if figure else []


def _specs(
    methods: Sequence[str],
    seeds: Sequence[int],
    preset: str,
    sizes: Preset,
    dataset: str | None,
    data_dir: Path | None,
    device: str,
    threads: int,
    ground_truth: Path | None = None,
    **asked: Any,
) -> list[RunSpec]:
    """A spec per method and seed; `asked` as `make_spec` takes it: space, limit, arch, retrain."""
    from senas_bench.experiments.run import make_spec

    of_one_seed = [  # fingerprints the images: once per method, not once per run
        make_spec(
            method,
            0,
            preset,
            dataset=dataset,
            data_dir=data_dir,
            device=device,
            threads=threads,
            sizes=sizes,
            ground_truth=ground_truth,
            **asked,
        )
        for method in methods
    ]
    return [replace(spec, seed=seed) for seed in seeds for spec in of_one_seed]


def _sizes(
    preset: str,
    space: str = "nasbench201",
    *,
    stage_epochs: str | None = None,
    accumulate: int | None = None,
    **changes: Any,
) -> Preset:
    """The preset of a space as the options change it; `changes` as `resized` takes them."""
    from senas_bench.experiments.run import resized
    from senas_bench.experiments.studies import preset_of
    from senas_bench.experiments.torchrun import started

    if started() > 1 and (accumulate or 0) % started():
        raise ValueError(f"--accumulate {accumulate} must be a multiple of the {started()} processes of torchrun")
    shares = accumulate or (started() if started() > 1 else None)
    own = preset_of(space, preset)
    epochs = None if stage_epochs is None else tuple(_whole(e, "--stage-epochs") for e in stage_epochs.split(","))
    return resized(own, stage_epochs=epochs, accumulate=shares, **changes)


def _check_images(sizes: Preset, dataset: str | None, data_dir: Path | None) -> None:
    """Refuse missing images before anything slow is imported."""
    from senas_bench.data import data_id
    from senas_bench.errors import DataError

    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"--data-dir {data_dir} is not a folder; name the folder with the image files")
    data_id(dataset or sizes.dataset, data_dir, official_split=not sizes.held_out)


def _check_output(out: Path) -> None:
    """Prove that a file can be written before anything is computed for it."""
    from senas_bench.files import atomic_write

    if out.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file")
    probe = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        atomic_write(probe, b"room")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"--out {out}: cannot write in {out.absolute().parent}: {error.strerror}") from error


def _executor_options(executor: str, address: str | None, gpus_per_run: float | None) -> dict[str, Any]:
    """The options that only Ray has, where they are given; refuses bad ones before anything slow is imported."""
    from senas_bench.experiments.executors import EXECUTORS
    from senas_bench.names import lookup

    maker = lookup("executor", executor, EXECUTORS)
    given = {"address": address, "gpus_per_run": gpus_per_run}
    options = {name: value for name, value in given.items() if value is not None}
    if options and executor != "ray":
        raise ValueError(f"--{next(iter(options)).replace('_', '-')} is for --executor ray, not {executor}")
    maker(1, **options)
    return options


def _check_tensorboard(folder: Path | None) -> None:
    from importlib.util import find_spec

    from senas_bench.experiments.progress import NO_TENSORBOARD

    if folder is not None and find_spec("tensorboard") is None:
        raise ValueError(NO_TENSORBOARD)


def _check_ranks(method: str) -> None:
    from senas_bench.methods import METHODS
    from senas_bench.names import lookup

    if getattr(lookup("method", method, METHODS), "needs_truth", False):
        raise ValueError(f"method {method!r} trains archs from scratch and ranks none; use `reproduce`")


def _compute(
    store: RunStore,
    specs: list[RunSpec],
    results: Path,
    data_dir: Path | None,
    ground_truth: Path | None,
    executor: str,
    jobs: int,
    tensorboard: Path | None = None,
    options: dict[str, Any] | None = None,
) -> list[RunSpec]:
    """Run what is missing; the specs that failed. `options` of the executor beside `jobs`."""
    from contextlib import closing

    from senas_bench.experiments.executors import EXECUTORS
    from senas_bench.experiments.run import Runner
    from senas_bench.experiments.torchrun import TorchrunExecutor, started

    missing = store.missing(specs)
    print(f"{len(specs) - len(missing)} of {len(specs)} runs are finished, {len(missing)} to compute", file=sys.stderr)
    if not missing:
        return []
    jobs = min(jobs, len(missing)) if started() == 1 else 1
    pool = EXECUTORS[executor](jobs, **(options or {})) if started() == 1 else TorchrunExecutor()
    live = jobs == 1 and executor != "ray" and sys.stderr.isatty()
    said = "rich" if live else "plain"
    workers = _workers(jobs) if executor != "ray" else max(spec.threads for spec in missing)
    runner = Runner(results, data_dir, tuple(sys.argv[1:]), said, ground_truth, workers, tensorboard=tensorboard)
    failed, done = [], 0
    with closing(pool.map(runner, missing)) as outcomes:
        for done, (spec, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Exception):
                failed.append(spec)
                why = " ".join(str(outcome).split()) or type(outcome).__name__
                print(f"[{done}/{len(missing)}] {spec.run_id} FAILED: {why}", file=sys.stderr)
                if os.environ.get("SENAS_DEBUG"):
                    print("\n".join(getattr(outcome, "__notes__", [])), file=sys.stderr)
            else:
                seconds = outcome.timing["wall_seconds"]
                print(f"[{done}/{len(missing)}] {spec.run_id} done in {seconds:.1f} s", file=sys.stderr)
    if done < len(missing):
        print(f"{len(missing) - done} runs not begun: the processes of torchrun are out of step", file=sys.stderr)
    return failed


def _print_plan(store: RunStore, specs: list[RunSpec]) -> None:
    """What would run, run by run; then the core-hours of what is missing, by method and in all."""
    missing = store.missing(specs)
    ids = {spec.run_id for spec in missing}
    for spec in specs:
        print(f"{spec.run_id:60} {'to compute' if spec.run_id in ids else 'finished'}")
    known = _known_costs(store.records())
    total, unknown = 0.0, 0
    for method in dict.fromkeys(spec.method for spec in specs):
        of_method = [spec for spec in missing if spec.method == method]
        if not of_method:
            continue
        costs = known.get(_kind(of_method[0]))
        if costs is None:
            unknown += len(of_method)
            estimate = "no estimate: no finished run of it to go by"
        else:
            hours = sum(_core_hours(spec, costs) for spec in of_method)
            total += hours
            estimate = f"about {hours:.3f} core-hours, by {len(costs)} finished"
        print(f"{method:16} {len(of_method)} to compute: {estimate}")
    left = f", and {unknown} with no estimate" if unknown else ""
    print(f"total: {len(missing)} of {len(specs)} runs to compute: about {total:.3f} core-hours{left}")


def _kind(spec: RunSpec) -> tuple[str, ...]:
    """What runs must have in common for the one to say what the other costs."""
    return spec.method, spec.preset, spec.dataset, spec.device


def _known_costs(records: list[RunRecord]) -> dict[tuple[str, ...], list[tuple[float, int]]]:
    """Core-seconds and training epochs of finished runs, by kind."""
    known: dict[tuple[str, ...], list[tuple[float, int]]] = {}
    for record in records:
        cost = record.timing["wall_seconds"] * record.spec.threads, _epochs(record.spec)
        known.setdefault(_kind(record.spec), []).append(cost)
    return known


def _core_hours(spec: RunSpec, costs: list[tuple[float, int]]) -> float:
    """Median of the costs at hand, each scaled by training epochs: scoring is taken to grow alike."""
    from statistics import median

    return median(seconds * _epochs(spec) / epochs for seconds, epochs in costs) / 3600


def _epochs(spec: RunSpec) -> int:
    return sum(spec.settings["recipe"]["stage_epochs"])


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=1))
        return
    for key, value in result.items():
        rows = value if isinstance(value, list) and value and isinstance(value[0], dict) else None
        if rows is None:
            print(f"{key}: {value}")
        else:
            print(f"{key}:")
            for row in rows:
                print("  " + ", ".join(f"{name} {item}" for name, item in row.items()))


def parse_seeds(text: str) -> list[int]:
    """Seeds from `0-9`, `3` or `0,2,5-7`.

    Raises:
        ValueError: Anything else, or a range of more than `MAX_SEEDS`.
    """
    seeds: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and (not high.isdecimal() or int(high) < int(low))):
            raise ValueError(f"bad seeds {text!r}; write 0-9, 3 or 0,2,5-7")
        if int(high or low) - int(low) >= MAX_SEEDS:
            raise ValueError(f"bad seeds {text!r}: more than {MAX_SEEDS:,} at once")
        seeds += range(int(low), int(high or low) + 1)
    return list(dict.fromkeys(seeds))


def _split(text: str | None) -> list[str] | None:
    return list(dict.fromkeys(name.strip() for name in text.split(","))) if text else None


def _whole(text: str, option: str) -> int:
    if not text.strip().isdecimal() or not int(text):
        raise ValueError(f"{option} {text!r} must be a positive whole number")
    return int(text)


def _device(device: Device, elsewhere: bool = False) -> str:
    """`cpu` or `cuda`. Of machines `elsewhere` it believes what is asked; `auto` is as this one."""
    if device is Device.cpu or (device is Device.cuda and elsewhere):
        return device.value
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device is Device.cuda:
        raise ValueError("--device cuda: this machine has no usable CUDA GPU; use --device cpu or auto")
    return "cpu"


def _jobs(jobs: int, device: str, executor: str = "joblib") -> int:
    from senas_bench.experiments.provenance import cpu_cores

    if executor == "ray":  # which knows how much room there is
        return jobs
    return jobs or (1 if device == "cuda" else cpu_cores() or 1)


def _workers(jobs: int) -> int:
    """Processes that decode images for each run: its share of the cores."""
    from senas_bench.experiments.provenance import cpu_cores

    return (cpu_cores() or 1) // (jobs * int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _resume_command() -> str:
    import shlex

    from senas_bench.experiments.torchrun import started

    if started() > 1:
        return "the same torchrun command"
    return shlex.join(["senas-bench", *(a for a in sys.argv[1:] if a != "--fresh")])


def _interrupt(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)


def main() -> None:
    """Entry point: errors become one line and an exit code (0 ok, 1 a run failed, 2 usage, 3 data)."""
    from senas_bench.errors import DataError, RunError
    from senas_bench.experiments.torchrun import dismiss, follow, helps, started

    signal.signal(signal.SIGTERM, _interrupt)
    helping = helps()
    try:
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
        why = "interrupted" if started() == 1 else "interrupted, or another process failed"
        print(f"{why}; what is finished is kept. Go on with: {_resume_command()}", file=sys.stderr)
    if started() > 1:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torchrun may send another, while Python shuts down
        if not helping:
            dismiss()
    sys.exit(code)


def _report(error: Exception, data_error: type[Exception], run_error: type[Exception]) -> int:
    """Print one line about an error; the exit code."""
    if hasattr(error, "format_message"):  # a usage error of the command line parser
        text = error.format_message()
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


if __name__ == "__main__":
    main()
