"""`benchmark` and `data`: tables and images."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from senas_bench.cli.options import NO_DATA, DataDirOption, JsonOption, TruthOption, show

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth


def benchmark_import(
    source: Annotated[
        Path, typer.Argument(help="Parquet or CSV table, NAS-Bench-201-v1_*.pth, or a folder of NATS-Bench.")
    ],
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    costs: Annotated[
        Path | None, typer.Option(help="Parquet or CSV file whose costs join by arch: HW-NAS-Bench.")
    ] = None,
) -> None:
    """Check a benchmark and write it as one Parquet table."""
    from senas_bench.files import check_output

    check_output(out, (".parquet",), option="OUT", makes_folder=True)
    for given in (source, costs):
        if given is not None and given.exists() and out.exists() and given.samefile(out):
            raise ValueError(f"OUT {out} is the file that is read; name another, or what the schema lacks is lost")
    from senas_bench.groundtruth import import_table, left_out

    truth = import_table(source, out, costs)
    means = [query for query in truth.queries() if query.seeds == "mean"]
    others = f", {len(truth.queries()) - len(means)} of single seeds, {len(truth.costs)} costs{_measured(truth)}"
    print(f"{len(truth.arch_strs)} archs, {', '.join(map(str, means))}{others}; written: {out}")
    if unread := left_out(source):
        print(f"not of the schema, left out: {', '.join(unread)}", file=sys.stderr)


def _measured(truth: "GroundTruth") -> str:
    """Of how many archs there are costs, such as ` of 10,926 to 15,625 archs`."""
    from senas_bench.groundtruth import benchmark_info as info

    counts = sorted(set(info(truth)["costs"].values()))
    return f" of {' to '.join(f'{count:,}' for count in (counts[:1] + counts[1:][-1:]))} archs" if counts else ""


def benchmark_info(ground_truth: TruthOption = None, as_json: JsonOption = False) -> None:
    """What a table holds."""
    from senas_bench.groundtruth import benchmark_info as info
    from senas_bench.groundtruth import load_ground_truth

    show(info(load_ground_truth(ground_truth)), as_json)


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

    show(query(load_ground_truth(ground_truth), arch, dataset=dataset, split=split, epochs=epochs), as_json)


def benchmark_verify(ground_truth: TruthOption = None) -> None:
    """Check schema, hash, values and known anchors of a table."""
    from senas_bench.groundtruth import benchmark_verify as verify

    problems = verify(ground_truth)
    for problem in problems:
        print(problem)
    print("ok" if not problems else f"{len(problems)} problems")
    if problems:
        raise typer.Exit(NO_DATA)


def data_list(data_dir: DataDirOption = None) -> None:
    """Which data sets are there, and why those are refused that are there and cannot be used."""
    from senas_bench.data import DATASETS, data_id
    from senas_bench.errors import DataError, MissingData

    for name in DATASETS:
        try:
            print(f"{name:14} {data_id(name, data_dir)}")
        except MissingData as error:
            print(f"{name:14} missing: {error}")
        except DataError as error:
            print(f"{name:14} refused: {error}")


def data_download(
    name: Annotated[str, typer.Argument(help="cifar10 or cifar100.")], data_dir: DataDirOption = None
) -> None:
    """Fetch the official files of a data set."""
    from senas_bench.data import DATASETS
    from senas_bench.names import lookup

    images = lookup("dataset", name, DATASETS)(data_dir, True)
    print(f"{name}: {images.counts[0]} training images, {images.data_id}")


def data_verify(name: Annotated[str, typer.Argument(help="Data set.")], data_dir: DataDirOption = None) -> None:
    """Read a data set whole, with its checksums; of imagenet, which has none, decode every image."""
    from senas_bench.data import DATASETS, StreamedImages
    from senas_bench.names import lookup

    images = lookup("dataset", name, DATASETS)(data_dir, False)
    if isinstance(images, StreamedImages):
        from senas_bench.data.streaming import decode_all
        from senas_bench.experiments.machine import workers_of

        for part in (images.train, images.test):
            decode_all(part, workers_of(1))
    train, test = images.counts
    print(f"{name}: {train} training and {test} test images, {images.num_classes} classes, {images.data_id}")
