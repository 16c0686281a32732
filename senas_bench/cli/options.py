"""Options that commands share, and what their texts mean."""

from __future__ import annotations

import json
import math
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from senas_bench.cli.completion import one_of

"""Of a range: as many runs would never end, and a slip of a key should not fill the memory."""
OK, FAILED, USAGE, NO_DATA = 0, 1, 2, 3


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


WITH = "--with"
"""The option of all commands that stands before them."""
WHAT, SIZE, WHERE, OUTPUT = "What", "How large", "Where", "Output"
"""Panels of the help: see `Command.format_options`."""

PresetOption = Annotated[
    str,
    typer.Option(
        help="Size of the study: embedded, cpu or paper.", rich_help_panel=SIZE, autocompletion=one_of("PRESETS")
    ),
]
SeedsOption = Annotated[str, typer.Option(help="Seeds, such as 0-9 or 0,3,5.", rich_help_panel=WHAT)]
SpaceOption = Annotated[
    str,
    typer.Option(
        help="Search space, such as mobilenet; a wrong name lists them all.",
        rich_help_panel=WHAT,
        autocompletion=one_of("SPACES"),
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        help="Images: digits, cifar10, cifar100, imagenet16-120, imagenet; the preset's if none.",
        rich_help_panel=SIZE,
        autocompletion=one_of("DATASETS"),
    ),
]
DeviceOption = Annotated[
    Device, typer.Option(help="Where to compute; auto takes a GPU when there is one.", rich_help_panel=WHERE)
]
JobsOption = Annotated[
    int,
    typer.Option(
        min=0,
        help="Runs at a time; 0 = one per CPU core, or per --threads of them (one on a GPU; with ray, what fits).",
        rich_help_panel=WHERE,
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        min=1, max=1024, help="CPU threads per run; part of what makes results identical.", rich_help_panel=WHERE
    ),
]
DataDirOption = Annotated[Path | None, typer.Option(help="Folder with the images.", rich_help_panel=WHERE)]
TruthOption = Annotated[
    Path | None,
    typer.Option(
        help="Benchmark table (Parquet); by default the CIFAR-10 table of analog-nasbench.", rich_help_panel=WHERE
    ),
]
StageEpochsOption = Annotated[
    str | None,
    typer.Option(
        help="Epochs of the stages, such as 5,5,5; methods of one stage train their sum.", rich_help_panel=SIZE
    ),
]
AloneEpochsOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Epochs of each network that stand-alone trains, for table1 and fig1.", rich_help_panel=SIZE
    ),
]
RankArchsOption = Annotated[
    int | None,
    typer.Option(
        min=0, help="Archs that rankings cover, a fixed random sample; 0 = the whole space.", rich_help_panel=SIZE
    ),
]
ScoreImagesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Validation images that score an arch, in whole batches; preset's if none.",
        rich_help_panel=SIZE,
    ),
]
CandidatesOption = Annotated[
    int | None,
    typer.Option(
        min=0, help="Archs that RSPS, SETN, ENAS score for a pick; 0 = as their papers.", rich_help_panel=SIZE
    ),
]
CurvePointsOption = Annotated[
    int | None,
    typer.Option(
        min=0, help="Rankings per stage while SPOS and SE-NAS train, for fig7; 0 = none.", rich_help_panel=SIZE
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        help="Who computes: torch, or compiled (C, one CPU thread); without, compiled where it can be had.",
        rich_help_panel=WHERE,
        autocompletion=one_of("ENGINES"),
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        help="What networks compute in: float32, or bfloat16; see doctor. Without, the preset's.",
        rich_help_panel=WHERE,
        autocompletion=one_of("PRECISIONS"),
    ),
]
OfficialSplitOption = Annotated[
    bool,
    typer.Option(
        "--official-split",
        help="Validate as NAS-Bench-201: by its cifar-split.txt and the like, in the data folder.",
        rich_help_panel=SIZE,
    ),
]
AccumulateOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Parts of a batch, each with its own batch norm; under torchrun its processes.",
        rich_help_panel=SIZE,
    ),
]
LatencyTableOption = Annotated[
    Path | None,
    typer.Option(
        help="Latency look-up table (JSON) for limits of latency; measured here if none.", rich_help_panel=WHERE
    ),
]
SeedTruthOption = Annotated[
    Path | None,
    typer.Option(help="Parquet table with the accuracy of single training seeds, for table1.", rich_help_panel=WHERE),
]
KeepTrainedOption = Annotated[
    bool,
    typer.Option(
        "--keep-trained",
        help="Keep trainings that several runs share, in RESULTS/trained.",
        rich_help_panel=OUTPUT,
    ),
]
TrainWithinLimitOption = Annotated[
    bool,
    typer.Option(
        "--train-within-limit",
        help="Train supernets within the limit too, as SPOS's code; by default on all archs.",
        rich_help_panel=WHAT,
    ),
]
TensorboardOption = Annotated[
    Path | None, typer.Option(help="Folder for curves of the losses, for TensorBoard.", rich_help_panel=OUTPUT)
]
ResultsOption = Annotated[Path, typer.Option(help="Results folder.", rich_help_panel=OUTPUT)]
NoTimingOption = Annotated[
    bool, typer.Option("--no-timing", help="Leave out what depends on the machine.", rich_help_panel=OUTPUT)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
WithOption = Annotated[
    list[Path] | None,
    typer.Option(
        WITH,
        metavar="FILE.py",
        envvar="SENAS_BENCH_WITH",
        show_envvar=True,
        help="Python file that adds methods, criteria, proxies or spaces of yours; may be given several times.",
    ),
]


def split_names(text: str | None) -> list[str] | None:
    return None if text is None else list(dict.fromkeys(name.strip() for name in text.split(",")))


def parse_epochs(text: str | None) -> tuple[int, ...] | None:
    """Epochs of the stages from `5,5,5`."""
    return None if text is None else tuple(whole_number(part, "--stage-epochs") for part in text.split(","))


def whole_number(text: str, option: str) -> int:
    if not _WHOLE.fullmatch(text.strip()) or not int(text):
        raise ValueError(f"{option} {text!r:.60} must be a positive whole number, below 10**9")
    return int(text)


_WHOLE = re.compile(r"\d{1,9}")


def print_json(value: Any) -> None:
    """Print one JSON text that every reader and encoding takes: ASCII, and null for a number that is not finite."""
    print(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    for key, value in result.items():
        rows = value if isinstance(value, list) and value and isinstance(value[0], dict) else None
        if rows is None:
            print(f"{key}: {value}")
        else:
            print(f"{key}:")
            for row in rows:
                print("  " + ", ".join(f"{name} {item}" for name, item in row.items()))
