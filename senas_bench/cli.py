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

OK, FAILED, USAGE, NO_DATA = 0, 1, 2, 3


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


PresetOption = Annotated[str, typer.Option(help="Size of the study: embedded, cpu or paper.")]
SeedsOption = Annotated[str, typer.Option(help="Seeds, such as 0-9 or 0,3,5.")]
DatasetOption = Annotated[
    str | None, typer.Option(help="Images: digits, cifar10 or cifar100; the preset's by default.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU when there is one.")]
JobsOption = Annotated[int, typer.Option(min=0, help="Runs at a time; 0 = one per CPU core (one on a GPU).")]
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
SeedTruthOption = Annotated[
    Path | None, typer.Option(help="Parquet table with the accuracy of single training seeds, for table1.")
]
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
        list[str], typer.Argument(help="What to make: table1, table3, fig1, fig6, fig7, fig8, or all.")
    ],
    preset: PresetOption = "embedded",
    seeds: SeedsOption = "0-2",
    methods: Annotated[str | None, typer.Option(help="Comma-separated methods; by default the artefact's.")] = None,
    dataset: DatasetOption = None,
    device: DeviceOption = Device.auto,
    jobs: JobsOption = 0,
    threads: ThreadsOption = 1,
    executor: Annotated[str, typer.Option(help="serial or joblib.")] = "joblib",
    data_dir: DataDirOption = None,
    ground_truth: TruthOption = None,
    seed_truth: SeedTruthOption = None,
    stage_epochs: StageEpochsOption = None,
    rank_archs: RankArchsOption = None,
    candidates: CandidatesOption = None,
    curve_points: CurvePointsOption = None,
    results: ResultsOption = Path("runs"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Set finished runs aside and compute them again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run.")] = False,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Leave machine-dependent columns out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make tables and figures of the paper: run what is missing, then render."""
    numbers, names = parse_seeds(seeds), _split(methods)
    _check_executor(executor)
    sizes = _sizes(preset, stage_epochs, rank_archs, candidates, curve_points)
    _check_images(dataset or sizes.dataset, data_dir)
    truth = _truth(ground_truth, seed_truth)
    from analysis.artefacts import ARTEFACTS  # seconds of imports, after all that can be refused without them
    from senas_bench.experiments.store import RunStore
    from senas_bench.names import lookup

    wanted = list(ARTEFACTS) if artefacts == ["all"] else artefacts
    chosen = {name: lookup("artefact", name, ARTEFACTS) for name in wanted}
    of_artefact = _methods(chosen, names)
    where = _device(device)
    methods_in_order = list(dict.fromkeys(method for group in of_artefact.values() for method in group))
    distinct = _specs(methods_in_order, numbers, preset, sizes, dataset, data_dir, where, threads, ground_truth)
    store = RunStore(results)
    if dry_run:
        _print_plan(store, distinct)
        return
    store.prepare()
    if fresh:
        for spec in distinct:
            store.set_aside(spec)
    failed = _compute(store, distinct, results, data_dir, ground_truth, executor, _jobs(jobs, where))
    finished = [store.load(spec) for spec in distinct if store.has(spec)]
    for name, methods_of_it in of_artefact.items():
        records = [record for record in finished if record.spec.method in methods_of_it]
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
    results: ResultsOption = Path("runs"),
) -> None:
    """Run a method and write one score per arch of its widest final ranking."""
    from senas_bench.experiments.store import RunStore

    if out.suffix not in (".csv", ".parquet"):
        raise ValueError(f"--out {out}: the name must end in .csv or .parquet")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out {out}: folder {out.resolve().parent} does not exist; create it first")
    sizes = _sizes(preset, stage_epochs, rank_archs, candidates, curve_points)
    _check_images(dataset or sizes.dataset, data_dir)
    _check_ranks(method)
    specs = _specs([method], [seed], preset, sizes, dataset, data_dir, _device(device), threads)
    store = RunStore(results)
    store.prepare()
    if _compute(store, specs, results, data_dir, None, "serial", 1):
        raise typer.Exit(FAILED)
    from analysis.join import final_scores

    scores = final_scores(store.scores(store.load(specs[0])))
    if out.suffix == ".csv":
        scores.to_csv(out, index=False)
    else:
        scores.to_parquet(out, index=False)
    print(f"{len(scores)} archs scored by {method}; best {scores['arch_str'].iloc[0]}; written: {out}")


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
    arch: Annotated[str, typer.Argument(help="Arch string, or official index 0 to 15,624.")],
    space: Annotated[str, typer.Option(help="Search space.")] = "nasbench201",
    dataset: Annotated[str, typer.Option(help="cifar10, cifar100 or imagenet16-120.")] = "cifar10",
    as_json: JsonOption = False,
) -> None:
    """FLOPs (multiply-adds, millions) and parameters of a stand-alone network."""
    import numpy as np

    from senas_bench.names import lookup
    from senas_bench.spaces import SPACES
    from senas_bench.spaces.cost import SKELETONS, cost_table
    from senas_bench.spaces.nasbench201 import NB201, arch_from_str, arch_to_str, official_archs

    over = lookup("space", space, SPACES)
    if arch.strip().isdecimal():
        if int(arch) >= NB201.size:
            raise ValueError(f"arch index {arch} is out of range; 0 to {NB201.size - 1}")
        choice = official_archs()[int(arch)]
    else:
        choice = arch_from_str(arch)
    costs = cost_table(over, lookup("dataset", dataset, SKELETONS))(np.array([choice]))
    found = {"flops_m": float(costs["flops_m"][0]), "params": int(costs["params"][0])}
    if as_json:
        print(json.dumps(found))
    else:
        print(f"{arch_to_str(choice)}\n{found['flops_m']:.6f} MFLOPs, {found['params'] / 1e6:.6f} M parameters")


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
    source: Annotated[Path, typer.Argument(help="Parquet or CSV table in the documented schema.")],
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
) -> None:
    """Check a table of accuracies and write it in canonical form."""
    from senas_bench.groundtruth import import_table

    truth = import_table(source, out)
    print(f"{len(truth.arch_strs)} archs, {', '.join(map(str, truth.queries()))}; written: {out}")


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
    print(f"{name}: {len(images.train_x)} training images, {images.data_id}")


@data_app.command("verify")
def data_verify(name: Annotated[str, typer.Argument(help="Data set.")], data_dir: DataDirOption = None) -> None:
    """Read a data set whole, with its checksums."""
    from senas_bench.data import DATASETS
    from senas_bench.names import lookup

    images = lookup("dataset", name, DATASETS)(data_dir, False)
    test = 0 if images.test_x is None else len(images.test_x)
    print(
        f"{name}: {len(images.train_x)} training and {test} test images, {images.num_classes} classes, {images.data_id}"
    )


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
    if len(artefacts) == 1:
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
) -> list[RunSpec]:
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
        )
        for method in methods
    ]
    return [replace(spec, seed=seed) for seed in seeds for spec in of_one_seed]


def _sizes(
    preset: str,
    stage_epochs: str | None,
    rank_archs: int | None,
    candidates: int | None,
    curve_points: int | None,
) -> Preset:
    """The preset as the options change it."""
    from senas_bench.experiments.presets import PRESETS
    from senas_bench.experiments.run import resized
    from senas_bench.names import lookup

    own = lookup("preset", preset, PRESETS)
    epochs = None if stage_epochs is None else tuple(_whole(e, "--stage-epochs") for e in stage_epochs.split(","))
    return resized(own, stage_epochs=epochs, rank_archs=rank_archs, candidates=candidates, curve_points=curve_points)


def _check_images(dataset: str, data_dir: Path | None) -> None:
    """Refuse missing images before anything slow is imported."""
    from senas_bench.data import data_id
    from senas_bench.errors import DataError

    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"--data-dir {data_dir} is not a folder; name the folder with the image files")
    data_id(dataset, data_dir)


def _check_executor(executor: str) -> None:
    from senas_bench.experiments.executors import EXECUTORS
    from senas_bench.names import lookup

    lookup("executor", executor, EXECUTORS)


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
) -> list[RunSpec]:
    """Run what is missing; the specs that failed."""
    from contextlib import closing

    from senas_bench.experiments.executors import EXECUTORS
    from senas_bench.experiments.run import Runner

    missing = store.missing(specs)
    print(f"{len(specs) - len(missing)} of {len(specs)} runs are finished, {len(missing)} to compute", file=sys.stderr)
    if not missing:
        return []
    jobs = min(jobs, len(missing))
    live = jobs == 1 and sys.stderr.isatty()
    runner = Runner(results, data_dir, tuple(sys.argv[1:]), "rich" if live else "plain", ground_truth)
    failed = []
    with closing(EXECUTORS[executor](jobs).map(runner, missing)) as outcomes:
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
        ValueError: Anything else.
    """
    seeds: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and (not high.isdecimal() or int(high) < int(low))):
            raise ValueError(f"bad seeds {text!r}; write 0-9, 3 or 0,2,5-7")
        seeds += range(int(low), int(high or low) + 1)
    return list(dict.fromkeys(seeds))


def _split(text: str | None) -> list[str] | None:
    return list(dict.fromkeys(name.strip() for name in text.split(","))) if text else None


def _whole(text: str, option: str) -> int:
    if not text.strip().isdecimal() or not int(text):
        raise ValueError(f"{option} {text!r} must be a positive whole number")
    return int(text)


def _device(device: Device) -> str:
    if device is Device.cpu:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device is Device.cuda:
        raise ValueError("--device cuda: this machine has no usable CUDA GPU; use --device cpu or auto")
    return "cpu"


def _jobs(jobs: int, device: str) -> int:
    from senas_bench.experiments.provenance import cpu_cores

    return jobs or (1 if device == "cuda" else cpu_cores() or 1)


def _resume_command() -> str:
    import shlex

    return shlex.join(["senas-bench", *(a for a in sys.argv[1:] if a != "--fresh")])


def _interrupt(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)


def main() -> None:
    """Entry point: errors become one line and an exit code (0 ok, 1 a run failed, 2 usage, 3 data)."""
    from senas_bench.errors import DataError, RunError

    signal.signal(signal.SIGTERM, _interrupt)
    try:
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
    if code in (130, 143):
        print(f"interrupted; what is finished is kept. Go on with: {_resume_command()}", file=sys.stderr)
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
