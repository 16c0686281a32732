"""What a method is given and what it gives back."""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.progress import Progress
from senas_bench.ranking.estimators import EstimatorName, estimator_of
from senas_bench.ranking.partial import Partial
from senas_bench.ranking.snapshots import Watcher
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces import Arch, SearchSpace
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.regions import Region, within
from senas_bench.tasks.shared import SharedTrainings, array_identity, paths_identity, snapshots_fit
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.samplers import Path as SampledPath
from senas_bench.training.samplers import check_sampler

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.data.loader import Loaders, TrainLoader
    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.training.bilevel import Alphas, Architecture
    from senas_bench.training.distributed import Processes
    from senas_bench.training.result import Training
    from senas_bench.training.snapshots import Snapshots

COUNTERS = ("images_trained", "train_steps", "forward_paths", "backward_paths", "archs_scored", "images_scored")


@dataclass
class Budget:
    """Exact work and wall time, split by what it was for.

    Args:
        counts: `search` is what the pick needed, `report` what only the correlation tables needed.
        seconds: Wall time, split likewise.
    """

    counts: dict[str, dict[str, int]] = field(
        default_factory=lambda: {purpose: dict.fromkeys(COUNTERS, 0) for purpose in ("search", "report")}
    )
    seconds: dict[str, float] = field(default_factory=lambda: {"search": 0.0, "report": 0.0})

    def add(self, purpose: str, seconds: float, counts: Mapping[str, int]) -> None:
        """Book work."""
        self.seconds[purpose] += seconds
        for name, value in counts.items():
            self.counts[purpose][name] += value


@dataclass(frozen=True)
class Trained:
    """A trained supernet, as criteria and estimators see it.

    Args:
        phase: Name of the training phase, unique in the run.
        space: The space it was trained on.
        network: In its final state.
        training: Optimizer, snapshots and history.
        build: Makes a network over a space with fresh weights, the same at each call.
    """

    phase: str
    space: SearchSpace
    network: nn.Module
    training: Training
    build: Callable[[SearchSpace], nn.Module] | None = None

    @property
    def snapshots(self) -> Snapshots:
        """Of its weights: their mean, and each of them where the training kept them."""
        return self.training.snapshots

    def untrained(self, space: SearchSpace) -> nn.Module:
        """A network over `space` with fresh weights, such as the stand-alone one of `space.only(arch)`."""
        return self.build(space)


@dataclass(frozen=True)
class ScoreTable:
    """Scores of archs at one moment of a run.

    Args:
        archs: `(n, edges)`.
        scores: `(n,)`, higher is better.
        set: `full` (every arch of the space), `sample` (a fixed random sample of it), `current`
            (archs alive in the stage just trained), `candidates` (the few that a pick was made from), or, while a
            supernet trains, `curve` (a fixed sample of the whole space) and `curve-current` (archs alive then).
        stage, epoch: Stage from 1, and epochs trained so far.
        tiers: `(n,)` of a hierarchical ranking, 0 on top; None means all 0.
    """

    archs: np.ndarray
    scores: np.ndarray
    set: str
    stage: int
    epoch: int
    tiers: np.ndarray | None = None


@dataclass(frozen=True)
class Curve:
    """Rankings of a supernet while it trains, for plots of tau over epochs. They are report, no part of a search.

    Args:
        archs: `(n, edges)` of the whole space, the same in every run, and among the archs that the report ranks.
        points: Per stage, evenly spaced; its end is one.
        evaluation: Images that score a point.
    """

    archs: np.ndarray
    points: int
    evaluation: Evaluation

    def epochs(self, stage_epochs: Sequence[int]) -> list[int]:
        """Epochs since the start after which to look. The last of all is not one: the final ranking has it."""
        ends = np.cumsum([0, *stage_epochs])
        looked = {
            int(start) - (-length * point // self.points)
            for start, length in zip(ends, stage_epochs, strict=False)
            for point in range(1, self.points + 1)
        }
        return sorted(looked - {0, int(ends[-1])})


@dataclass(frozen=True)
class MethodOutput:
    """The pick, every ranking that was made, and what happened on the way."""

    pick: Arch
    tables: tuple[ScoreTable, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()


def _alone() -> Processes:
    from senas_bench.training.distributed import ALONE

    return ALONE


@dataclass(frozen=True)
class Task:
    """Everything a method may use. No ground truth is in reach.

    Args:
        space: The whole space.
        seed: Of the run.
        recipe: The method's recipe.
        loaders: Images on the device.
        evaluation: How archs are scored.
        report_archs: `(n, edges)` that rankings cover.
        report_set: Their name in a `ScoreTable`.
        network: Builds a network: `(space, affine) -> network` on the device; where the recipe weighs an auxiliary
            head, it is asked for one with `auxiliary=True`.
        candidates: Archs that RSPS, SETN and ENAS score for a pick, on all scoring images; 0 leaves both to the method.
        cost: `(n, edges)` archs to `(n,)` named costs: `flops_m`, `params`.
        device: Where everything lives.
        work_dir: Checkpoints and kept results of this run.
        progress: Sink.
        budget: Work done so far.
        curve: Rankings to make while a supernet trains; None for none.
        limit: What archs may cost, in scoring and search, and where it says so in training; None for no limit.
        skeleton: What surrounds the choices in the networks of this task.
        arch: The arch that the spec gives to the method `fixed`.
        trainer: Trains an arch from scratch: `(arch) -> (12-epoch validation accuracy in percent, training seconds)`.
            None for every weight-sharing method; see `experiments.tasks` for those that declare `needs_truth`.
        shared: Trainings that this run has in common with others; None keeps its own to itself.
        processes: That work on this task together. They train in step, and where one scores archs all do, but what the
            first one found counts: so each takes the same decisions. It alone writes files.
    """

    space: SearchSpace
    seed: int
    recipe: TrainingRecipe
    loaders: Loaders
    evaluation: Evaluation
    report_archs: np.ndarray
    report_set: str
    network: Callable[..., nn.Module]
    cost: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    device: torch.device
    work_dir: Path
    progress: Progress
    budget: Budget
    candidates: int = 0
    curve: Curve | None = None
    limit: Limit | None = None
    skeleton: Any = None
    arch: Arch | None = None
    trainer: Callable[[Arch], tuple[float, float]] | None = None
    shared: SharedTrainings | None = None
    processes: Processes = field(default_factory=_alone)

    def rng(self, phase: str) -> np.random.Generator:
        """Random numbers of one phase, independent of what other phases drew: a resumed run that skips
        finished phases goes on as if it had not."""
        return np.random.default_rng([self.seed, zlib.crc32(phase.encode())])

    def generator(self, phase: str) -> torch.Generator:
        """As `rng`, for torch."""
        import torch

        return torch.Generator().manual_seed(int(self.rng(phase).integers(2**62)))

    def build(self, space: SearchSpace, affine: bool = False) -> nn.Module:
        """A network over `space` with fresh weights; the same ones at each call of a run."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.rng("weights").integers(2**62)))
            return self.network(space, affine, **({"auxiliary": True} if self.recipe.auxiliary_weight else {}))

    def within(self, space: SearchSpace) -> Region:
        """The archs of `space` that meet the task's limit; the space itself if it has none."""
        return within(space, self.limit)

    def uniform_paths(
        self, space: SearchSpace, network: nn.Module
    ) -> Callable[[np.random.Generator], list[SampledPath]]:
        """Single paths drawn over `space`, within the limit where it holds in training, tied or per cell as the recipe
        says; see `Region.paths`."""
        limited = self.limit is not None and self.limit.in_training
        return (self.within(space) if limited else space).paths(self.cells(network))

    def cells(self, network: nn.Module) -> int:
        """Cells that draw an arch of their own, as path samplers take it; 0 where the recipe ties them."""
        return network.choice_cells if self.recipe.sampling == "per_cell" else 0

    def alphas(
        self, space: SearchSpace, phase: str, *, lr: float, betas: tuple[float, float], weight_decay: float
    ) -> tuple[Alphas, TrainLoader]:
        """Fresh logits over `space` with images of their own, and those for the weights, see `Loaders.bilevel`.

        Args:
            phase: Names the random numbers of their start.
            lr, betas, weight_decay: Of their Adam.
        """
        from senas_bench.training.bilevel import Alphas

        first, second = self.loaders.bilevel()
        generator = self.generator(phase)
        settings = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "device": self.device}
        return Alphas(space, second, generator, **settings), first

    def train(
        self,
        network: nn.Module,
        space: SearchSpace,
        sample: Callable[[np.random.Generator], list[SampledPath]],
        *,
        phase: str,
        epochs: int,
        before: int = 0,
        optimizer: torch.optim.Optimizer | None = None,
        architecture: Architecture | None = None,
        loader: Any = None,
        keep_snapshots: bool = True,
        watch: tuple[Collection[int], np.ndarray, EstimatorName] | None = None,
    ) -> Trained:
        """Train in place for one phase; resumes, and counts as search work.

        Args:
            before: Epochs trained in the stages before; see `training.recipe.learning_rate`.
            architecture: Learns beside the weights, and is changed in place too.
            loader: Images in place of the whole training split, such as one of its halves.
            watch: Epochs of the phase after which to score archs with the weights as they are then, those archs
                `(n, edges)`, and the estimator. The scores are in `training.observed`; the task must have a `curve`.
        """
        from senas_bench.training.loop import train

        check_sampler(sample)
        self.processes.agree("the space they train", repr((phase, space.candidates, space.groups)).encode())
        fresh = optimizer is None and architecture is None and loader is None
        keep_snapshots = keep_snapshots or (
            fresh and self.shared is not None and snapshots_fit(network, self.recipe.snapshots)
        )
        with self._checkpoint(network, sample, phase, epochs, keep_snapshots, fresh) as checkpoint:
            training = train(
                network,
                self.processes.share(loader or self.loaders.train),
                self.recipe,
                sample,
                epochs=epochs,
                rng=self.rng(f"{phase}-paths"),
                generator=self.generator(f"{phase}-images"),
                before=before,
                optimizer=optimizer,
                architecture=architecture,
                keep_snapshots=keep_snapshots,
                checkpoint=checkpoint,
                on_begin=lambda done: self.progress.stage(phase, epochs, done),
                on_epoch=lambda epoch, loss: self.progress.step(epoch, epoch=epoch, loss=loss),
                observe=lambda epoch: self._look(network, watch and (*watch, phase), epoch),
                observer=self._observer(watch),
                processes=self.processes,
            )
        self.budget.add("search", training.seconds, training.counts)
        for seen in training.observed.values():
            self.budget.add("report", seen.seconds, seen.counts)
        return Trained(phase, space, network, training, self.build)

    @contextmanager
    def _checkpoint(
        self, network: nn.Module, sample: Any, phase: str, epochs: int, snapshots: bool, fresh: bool
    ) -> Iterator[Path]:
        """Where a training is saved: in the run's own work folder, or where runs share it, held meanwhile."""
        paths = paths_identity(sample)
        if self.shared is None or not fresh or paths is None or self.processes.world > 1:
            yield self.work_dir / f"{phase}.safetensors"
            return
        place = self.shared.place(
            network, self.recipe, paths, phase=phase, epochs=epochs, snapshots=snapshots, seed=self.seed
        )
        with self.shared.hold(place):
            yield place

    def _observer(self, watch: tuple[Collection[int], np.ndarray, EstimatorName] | None) -> str:
        """Tells what a training's watch looks at; see `training.loop.train`."""
        if not watch or not watch[0]:
            return ""
        epochs, archs, estimator = watch
        images = [array_identity(part.cpu().numpy()) for batch in self.curve.evaluation.batches for part in batch]
        about = [sorted(epochs), array_identity(archs), repr(estimator), self.curve.evaluation.bn_mode, images]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    def _look(
        self, network: nn.Module, watch: tuple[Collection[int], np.ndarray, EstimatorName, str] | None, epoch: int
    ) -> tuple[np.ndarray, Mapping[str, int]] | None:
        """Scores of the watched archs at an epoch of the watch, see `train`, which names its phase; and the work."""
        if watch is None or epoch not in watch[0]:
            return None
        from senas_bench.training.snapshots import Snapshots

        _, archs, estimator, phase = watch
        now = Snapshots()
        now.add(network)
        watcher = Watcher(partial=Partial(self.work_dir / f"{phase}-watch.arrays", self.processes.first))
        seen = _Seen(network, now, self.build)
        return estimator_of(estimator)(seen, archs, self.curve.evaluation, self.cost, watcher)

    def evolve(
        self, trained: Trained, evolution: Evolution, estimator: EstimatorName, stage: int, epoch: int
    ) -> tuple[Arch, ScoreTable]:
        """The best arch that evolution finds in the trained space within the limit, and all that it scored, the set
        `candidates`."""
        rounds = itertools.count()
        pick, archs, scores = evolution(
            self.within(trained.space),
            lambda batch: self.estimate(trained, batch, estimator, f"evolution-{next(rounds)}", purpose="search"),
            self.rng(f"{trained.phase}-evolution"),
        )
        return pick, ScoreTable(archs, scores, "candidates", stage, epoch)

    def pick(
        self, trained: Trained, archs: np.ndarray, estimator: EstimatorName = "weight-average"
    ) -> tuple[Arch, ScoreTable]:
        """The best of a few archs, as RSPS, SETN, ENAS and FairNAS choose; and their ranking, the set `candidates`.

        Args:
            archs: `(n, edges)`, n = `self.candidates` or the method's own number. In the latter case each is
                scored on one validation batch, as the methods' code does, though the same one for all.
        """
        batches = None if self.candidates else 1
        scores = self.estimate(trained, archs, estimator, "candidates", purpose="search", batches=batches)
        epoch = len(trained.training.history)
        table = ScoreTable(archs, scores, "candidates", stage=1, epoch=epoch)
        return tuple(archs[int(np.argmax(scores))].tolist()), table

    def estimate(
        self,
        trained: Trained,
        archs: np.ndarray,
        estimator: EstimatorName,
        label: str,
        *,
        purpose: str,
        batches: int | None = None,
    ) -> np.ndarray:
        """`(n,)` estimated performance of archs; kept, so that a resumed run need not repeat it, while it is made too.

        Args:
            estimator: A key of `ranking.estimators.ESTIMATORS`, or a strategy.
            label: Unique among the estimates of this phase.
            purpose: `search` or `report`.
            batches: Score on the first few validation batches only.
        """
        from senas_bench.training.checkpoint import read_arrays, write_arrays

        name, many = f"{trained.phase} {label}", len(archs)
        path = self.work_dir / f"{trained.phase}-{label}.arrays"
        kept = read_arrays(path)
        if kept is not None and "scores" in kept:
            self.progress.stage(name, many, many)
        else:
            partial = Partial(path, self.processes.first)
            watcher = Watcher(
                began=lambda share: self.progress.stage(name, many, int(share * many)),
                tick=lambda share: self.progress.step(int(share * many)),
                partial=partial,
            )
            evaluation = replace(self.evaluation, batches=self.evaluation.batches[:batches])
            scores, work = estimator_of(estimator)(trained, archs, evaluation, self.cost, watcher)
            self.progress.step(many)
            kept = {"scores": scores, "seconds": np.array(partial.seconds())}
            kept |= {name: np.array(count) for name, count in work.items()}
            if self.processes.first:
                write_arrays(path, kept)
        counts = {name: int(kept[name]) for name in COUNTERS if name in kept}
        self.budget.add(purpose, float(kept["seconds"]), counts)
        return self.processes.from_first(kept["scores"])


@dataclass(frozen=True)
class _Seen:
    """A network as it is in the middle of its training, for an estimator."""

    network: nn.Module
    snapshots: Snapshots
    untrained: Callable[[SearchSpace], nn.Module]


def rows_of(archs: np.ndarray, among: np.ndarray) -> np.ndarray:
    """`(n,)` rows of `among` that hold `archs` `(n, edges)`, each of which must be there."""
    place = {bytes(row): index for index, row in enumerate(among)}
    return np.array([place[bytes(row)] for row in archs])
