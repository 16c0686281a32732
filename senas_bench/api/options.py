"""What the functions of the face take by keyword, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypedDict

from senas_bench.experiments.study import Setting
from senas_bench.names import lookup


class Options(TypedDict, total=False):
    """The fields of `experiments.study.Setting`, which says what each means."""

    preset: str
    dataset: str | None
    data_dir: str | PathLike[str] | None
    ground_truth: str | PathLike[str] | None
    device: str
    threads: int
    results: str | PathLike[str]
    latency_table: str | PathLike[str] | None
    stage_epochs: Sequence[int] | None
    alone_epochs: int | None
    rank_archs: int | None
    score_images: int | None
    candidates: int | None
    curve_points: int | None
    accumulate: int | None
    official_split: bool
    engine: str | None
    precision: str | None
    jobs: int
    executor: str
    address: str | None
    gpus_per_run: float | None
    tensorboard: str | PathLike[str] | None
    keep_trained: bool
    train_within_limit: bool


def setting_of(options: Mapping[str, Any]) -> Setting:
    """`Options` as a `Setting`, which makes a `Path` of whatever names one.

    Raises:
        ValueError: An option that there is none of, or that is empty.
    """
    for name in options:
        lookup("option", name, Options.__annotations__)
        if options[name] == "" and isinstance(options[name], str):
            raise ValueError(f"option {name} is empty; give a value, or leave it out")
    return Setting(**options)
