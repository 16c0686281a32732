"""From options to specs, and from specs to finished runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senas_bench.cli.options import whole_number, workers_of

if TYPE_CHECKING:
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.spec import RunSpec
    from senas_bench.experiments.store import RunStore


def make_specs(
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
    from senas_bench.experiments.settings import make_spec

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


def sizes_of(
    preset: str,
    space: str = "nasbench201",
    *,
    stage_epochs: str | None = None,
    accumulate: int | None = None,
    **changes: Any,
) -> Preset:
    """The preset of a space as the options change it; `changes` as `resized` takes them."""
    from senas_bench.experiments.settings import resized
    from senas_bench.experiments.studies import preset_of
    from senas_bench.experiments.torchrun import started

    if started() > 1 and (accumulate or 0) % started():
        raise ValueError(f"--accumulate {accumulate} must be a multiple of the {started()} processes of torchrun")
    shares = accumulate or (started() if started() > 1 else None)
    own = preset_of(space, preset)
    epochs = None if stage_epochs is None else tuple(whole_number(e, "--stage-epochs") for e in stage_epochs.split(","))
    return resized(own, stage_epochs=epochs, accumulate=shares, **changes)


def check_images(sizes: Preset, dataset: str | None, data_dir: Path | None) -> None:
    """Refuse missing images before anything slow is imported."""
    from senas_bench.data import data_id
    from senas_bench.errors import DataError

    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"--data-dir {data_dir} is not a folder; name the folder with the image files")
    data_id(dataset or sizes.dataset, data_dir, official_split=not sizes.held_out)


def check_output(out: Path, suffixes: Sequence[str] = (), *, option: str = "--out", makes_folder: bool = False) -> None:
    """Prove that a file can be written before anything is computed for it.

    Args:
        out: The file.
        suffixes: How its name may end: what is written is what the name says.
        option: What the user calls it.
        makes_folder: Whether the command makes folders that are missing.

    Raises:
        ValueError: It cannot.
    """
    from senas_bench.files import atomic_write, prove_room

    if suffixes and out.suffix not in suffixes:
        raise ValueError(f"{option} {out}: the name must end in {' or '.join(suffixes)}")
    if out.is_dir():
        raise ValueError(f"{option} {out} is a folder; name a file")
    probe = out.with_name(f".{out.name}.{os.getpid()}")
    folder = out.absolute().parent
    try:
        if makes_folder and not folder.exists():
            prove_room(_first_that_is_there(folder))
            return
        atomic_write(probe, b"room")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"{option} {out}: cannot write in {folder}: {error.strerror}; name another place") from error


def check_folder(out: Path, option: str = "--out") -> None:
    """Prove that files can be written to a folder, which may be missing, before anything is computed for it.

    Raises:
        ValueError: They cannot.
    """
    from senas_bench.files import prove_room

    if out.exists() and not out.is_dir():
        raise ValueError(f"{option} {out} is a file; name a folder")
    try:
        prove_room(_first_that_is_there(out.absolute()))
    except OSError as error:
        raise ValueError(f"{option} {out}: cannot write there: {error.strerror}; name another place") from error


def _first_that_is_there(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def executor_options(executor: str, address: str | None, gpus_per_run: float | None) -> dict[str, Any]:
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


def check_tensorboard(folder: Path | None) -> None:
    from importlib.util import find_spec

    from senas_bench.progress import NO_TENSORBOARD

    if folder is not None and find_spec("tensorboard") is None:
        raise ValueError(NO_TENSORBOARD)


def compute(
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
    from senas_bench.experiments.runner import Runner
    from senas_bench.experiments.torchrun import TorchrunExecutor, started

    missing = store.missing(specs)
    print(f"{len(specs) - len(missing)} of {len(specs)} runs are finished, {len(missing)} to compute", file=sys.stderr)
    if not missing:
        return []
    jobs = min(jobs, len(missing)) if started() == 1 and executor != "serial" else 1
    pool = EXECUTORS[executor](jobs, **(options or {})) if started() == 1 else TorchrunExecutor()
    live = jobs == 1 and executor != "ray" and sys.stderr.isatty()
    said = "rich" if live else "plain"
    workers = workers_of(jobs) if executor != "ray" else max(spec.threads for spec in missing)
    if jobs > 1:  # costly methods come last in the order of tables: begun first, they leave no worker idle at the end
        missing = sorted(reversed(missing), key=lambda spec: spec.seed)
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
