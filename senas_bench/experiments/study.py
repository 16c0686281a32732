"""A study: from what is asked to specs, and from specs to finished runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senas_bench.experiments.machine import device_of, jobs_of, workers_of
from senas_bench.experiments.seeds import whole
from senas_bench.kernels import ENGINES
from senas_bench.names import lookup
from senas_bench.training.recipe import PRECISIONS

if TYPE_CHECKING:
    from senas_bench.experiments.failures import Failure
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.spec import RunSpec
    from senas_bench.experiments.store import RunStore

LEAST = {"threads": 1, "jobs": 0, "alone_epochs": 1, "rank_archs": 0, "candidates": 0, "curve_points": 0}
LEAST |= {"accumulate": 1, "score_images": 1}
"""Of the whole numbers in a `Setting`."""
MOST_THREADS = 1024
PATHS = ("data_dir", "ground_truth", "latency_table", "results", "tensorboard")


@dataclass(frozen=True)
class Setting:
    """What all runs of a study share, as the options of the command line of these names.

    Args:
        preset: Key of `PRESETS`.
        dataset: Images; None for the preset's.
        data_dir: Folder with them.
        ground_truth: Benchmark table; None for the embedded one.
        device: `auto`, `cpu` or `cuda`.
        threads: Per run.
        results: Folder.
        latency_table: For limits of latency; measured here if None.
        stage_epochs, alone_epochs, rank_archs, score_images, candidates, curve_points, accumulate: Sizes; None for the
            preset's.
        official_split: Validate on the images that NAS-Bench-201 validates on.
        engine: Who computes, `torch` or `compiled`; None for `compiled` where it can be had and else `torch`.
        precision: What networks compute in, `float32` or `bfloat16`; None for the preset's: float32, and for `paper`
            bfloat16 on a GPU.
        jobs: Runs at a time; 0 for what fits.
        executor: Key of `EXECUTORS`; `address` and `gpus_per_run` are Ray's.
        tensorboard: Folder for curves.
        keep_trained: Keep trainings that several runs share; otherwise they go when all runs are finished.
        train_within_limit: Supernets train within a limit too; otherwise it filters what is scored and searched.

    Raises:
        ValueError: A number out of range, an unknown engine or precision, or two that do not go together.
    """

    preset: str = "embedded"
    dataset: str | None = None
    data_dir: Path | None = None
    ground_truth: Path | None = None
    device: str = "auto"
    threads: int = 1
    results: Path = field(default_factory=lambda: Path("runs"))
    latency_table: Path | None = None
    stage_epochs: Sequence[int] | None = None
    alone_epochs: int | None = None
    rank_archs: int | None = None
    score_images: int | None = None
    candidates: int | None = None
    curve_points: int | None = None
    accumulate: int | None = None
    official_split: bool = False
    engine: str | None = None
    precision: str | None = None
    jobs: int = 0
    executor: str = "joblib"
    address: str | None = None
    gpus_per_run: float | None = None
    tensorboard: Path | None = None
    keep_trained: bool = False
    train_within_limit: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "_images_ids", {})
        for name in PATHS:
            path = getattr(self, name)
            object.__setattr__(self, name, None if path is None else Path(path).expanduser())
        for name, least in LEAST.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(name, getattr(self, name), least))
        if self.threads > MOST_THREADS:
            raise ValueError(f"threads {self.threads} must be at most {MOST_THREADS:,}")
        if self.stage_epochs is not None:
            object.__setattr__(self, "stage_epochs", _stages(self.stage_epochs))
        if self.engine is not None:
            lookup("engine", self.engine, dict.fromkeys(ENGINES))
        if self.precision is not None:
            lookup("precision", self.precision, dict.fromkeys(PRECISIONS))
        if (self.engine, self.precision) == ("compiled", "bfloat16"):
            raise ValueError("--engine compiled computes in float32; leave --precision bfloat16 to --engine torch")

    def images(self, sizes: Preset) -> str:
        """The data set."""
        return self.dataset or sizes.dataset

    def sizes(self, space: str = "nasbench201") -> Preset:
        """The preset of a space as this setting changes it."""
        from senas_bench.experiments.settings import resized
        from senas_bench.experiments.studies import preset_of
        from senas_bench.experiments.torchrun import started
        from senas_bench.spaces import space_named

        if self.rank_archs and self.rank_archs > (most := space_named(space).whole.size):
            raise ValueError(f"--rank-archs {self.rank_archs:,}: {space} has {most:,} archs; 0 ranks them all")
        shares = self.accumulate
        if started() > 1 and (shares or 0) % started():
            raise ValueError(f"--accumulate {shares} must be a multiple of the {started()} processes of torchrun")
        return resized(
            preset_of(space, self.preset),
            stage_epochs=None if self.stage_epochs is None else tuple(self.stage_epochs),
            accumulate=shares or (started() if started() > 1 else None),
            alone_epochs=self.alone_epochs,
            rank_archs=self.rank_archs,
            score_images=self.score_images,
            candidates=self.candidates,
            curve_points=self.curve_points,
            official_split=self.official_split,
            engine=self.engine,
            precision=self.precision,
        )

    def check_tools(self) -> None:
        """Refuse an executor, its options or curves that cannot be, before anything slow is imported."""
        self.executor_options()
        check_tensorboard(self.tensorboard)

    def executor_options(self) -> dict[str, Any]:
        """The options that only Ray has, where they are given."""
        from senas_bench.experiments.executors import EXECUTORS

        maker = lookup("executor", self.executor, EXECUTORS)
        given = {"address": self.address, "gpus_per_run": self.gpus_per_run}
        options = {name: value for name, value in given.items() if value is not None}
        if options and self.executor != "ray":
            option = next(iter(options)).replace("_", "-")
            raise ValueError(f"--{option} is for --executor ray, not {self.executor}")
        if self.executor == "serial" and self.jobs > 1:
            raise ValueError(f"--executor serial has one run at a time, not --jobs {self.jobs}; give one of them")
        maker(1, **options)
        return options

    def check_images(self, sizes: Preset) -> None:
        """Refuse missing images before anything slow is imported."""
        from senas_bench.errors import DataError

        if self.data_dir is not None and not self.data_dir.is_dir():
            raise DataError(f"--data-dir {self.data_dir} is not a folder; name the folder with the image files")
        self.images_id(sizes)

    def images_id(self, sizes: Preset) -> str:
        """The fingerprint of the images. Their files are read once, whatever number of specs ask: 178 MB of CIFAR-10,
        and a study has a hundred methods."""
        from senas_bench.data import data_id

        known, key = vars(self)["_images_ids"], (self.images(sizes), not sizes.held_out)
        if key not in known:
            known[key] = data_id(key[0], self.data_dir, official_split=key[1])
        return known[key]

    def placed(self) -> Setting:
        """With `cpu` or `cuda` as the device."""
        device = device_of(self.device, elsewhere=self.address is not None)
        if self.gpus_per_run is not None and device != "cuda":
            raise ValueError("--gpus-per-run is for runs on a GPU; add --device cuda")
        if self.engine == "compiled" and (device, self.threads) != ("cpu", 1):
            raise ValueError("--engine compiled runs on one CPU thread; add --device cpu --threads 1")
        placed = replace(self, device=device)
        vars(placed)["_images_ids"].update(vars(self)["_images_ids"])
        return placed

    def spec(self, method: str, sizes: Preset, **asked: Any) -> RunSpec:
        """The spec of seed 0 at a device that is settled; `asked` as `make_spec` takes it, such as space and limit."""
        from senas_bench.experiments.settings import make_spec

        shared = ("dataset", "data_dir", "ground_truth", "device", "threads")
        own = {name: getattr(self, name) for name in shared}
        return make_spec(method, 0, self.preset, sizes=sizes, images_id=self.images_id(sizes), **own, **asked)

    def compute(self, store: RunStore, specs: Sequence[RunSpec]) -> list[Failure]:
        """Run what is missing; what failed."""
        from contextlib import closing

        from senas_bench.experiments.active import forget_status
        from senas_bench.experiments.additions import changed_since, used
        from senas_bench.experiments.estimates import known_costs
        from senas_bench.experiments.executors import EXECUTORS
        from senas_bench.experiments.runner import Runner
        from senas_bench.experiments.torchrun import TorchrunExecutor, started
        from senas_bench.experiments.watching import is_live, watching

        missing = store.missing(specs)
        done = len(specs) - len(missing)
        print(f"{done} of {len(specs)} runs are finished, {len(missing)} to compute", file=sys.stderr)
        for name, ids in changed_since(store.finished(specs) if used() else []).items():
            what = f"{len(ids)} of them {'was' if len(ids) == 1 else 'were'} made"
            print(f"{name} has changed since {what}, such as {ids[0]}; --fresh makes them anew", file=sys.stderr)
        if not missing:
            return []
        alone = started() > 1 or self.executor == "serial"
        jobs = 1 if alone else min(jobs_of(self.jobs, self.device, self.executor, self.threads), len(missing))
        pool = TorchrunExecutor() if started() > 1 else EXECUTORS[self.executor](jobs, **self.executor_options())
        workers = workers_of(jobs) if self.executor != "ray" else max(spec.threads for spec in missing)
        if jobs > 1 or self.executor == "ray":
            check_known_to_workers(missing)
        if jobs > 1:
            missing = in_order(missing, jobs)
        live = is_live()
        runner = Runner(
            self.results,
            self.data_dir,
            tuple(sys.argv[1:]) if "senas_bench.cli.app" in sys.modules else (),  # else it is a script's
            "live" if live else "plain",
            self.ground_truth,
            workers,
            tensorboard=self.tensorboard,
            share=True,
            keep_trained=self.keep_trained,
            additions=used(),
        )
        forget_status(store.root)
        with (
            watching(store, missing, jobs, known_costs(store.records()), live) as watch,
            closing(pool.map(runner, missing)) as outcomes,
        ):
            failed = watch.follow(outcomes)
        if not failed:
            store.forget_trainings()
        return failed


def check_known_to_workers(specs: Sequence[RunSpec]) -> None:
    """Refuse what other processes could not run.

    Raises:
        ValueError: A method was added or replaced in this process.
    """
    from senas_bench.experiments.additions import known_to_workers
    from senas_bench.methods import METHODS

    known, asked = known_to_workers(), dict.fromkeys(spec.method for spec in specs)
    if own := [name for name in asked if name in METHODS and METHODS[name] is not known.get(name)]:
        who = ", ".join(f"{name} as it was replaced" if name in known else name for name in own)
        names = f"{who} is known to this process alone, and workers are others"
        raise ValueError(f"{names}; give executor='serial', or a file that adds it: --with FILE.py, use('FILE.py')")


def in_order(specs: Sequence[RunSpec], jobs: int) -> list[RunSpec]:
    """The order in which several workers begin runs: a seed after the other.

    Costly methods come last in the order of tables: begun early, they leave no worker idle at last. Methods beside each
    other there often share a training, for which one would wait: so those begun together lie apart. What trains nothing
    is not told apart by the order, and comes first.
    """
    from senas_bench.methods import method_named

    seeds = sorted({spec.seed for spec in specs})
    order: list[RunSpec] = []
    for seed in seeds:
        some = [spec for spec in reversed(specs) if spec.seed == seed]
        untrained = [spec for spec in some if not method_named(spec.method).trains]
        trained = [spec for spec in some if spec not in untrained]
        order += [*untrained, *(spec for start in range(jobs) for spec in trained[start::jobs])]
    return order


def _whole(name: str, value: Any, least: int) -> int:
    number = whole(value)
    if number is None or number < least:
        raise ValueError(f"{name} {value!r:.60} must be a whole number of at least {least}")
    return number


def _stages(epochs: Any) -> tuple[int, ...]:
    if isinstance(epochs, str) or not isinstance(epochs, Iterable):
        raise ValueError(f"stage_epochs {epochs!r:.60} must be a number for each stage, such as (5, 5, 5)")
    stages = tuple(_whole("stage_epochs", one, 1) for one in epochs)
    if not stages:
        raise ValueError("stage_epochs are empty; give the epochs of at least one stage, such as (5, 5, 5)")
    return stages


def at_seeds(specs: Sequence[RunSpec], seeds: Sequence[int]) -> list[RunSpec]:
    """The specs at every seed."""
    return [replace(spec, seed=seed) for seed in seeds for spec in specs]


def check_tensorboard(folder: Path | None) -> None:
    """Refuse curves where nothing can write them."""
    from importlib.util import find_spec

    from senas_bench.progress import NO_TENSORBOARD

    if folder is not None and find_spec("tensorboard") is None:
        raise ValueError(NO_TENSORBOARD)


def check_ranks(method: str, rank_archs: int) -> None:
    """Refuse a method that ends without a ranking, and a ranking of one arch."""
    from senas_bench.methods import all_methods, method_named

    if not method_named(method).ranks:
        ranking = ", ".join(name for name, other in all_methods().items() if other.ranks)
        raise ValueError(
            f"method {method!r} ranks none of the archs of the report; one of: {ranking}; or use `reproduce`"
        )
    if rank_archs == 1:
        raise ValueError("--rank-archs 1: a ranking needs at least 2 archs; 0 ranks the whole space")
