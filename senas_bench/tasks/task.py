"""What a method is given and what it gives back."""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.ranking import estimator_of
from senas_bench.ranking.estimator import Estimator, EstimatorName, Reference
from senas_bench.ranking.fresh import Fresh
from senas_bench.ranking.kept import kept_scores
from senas_bench.ranking.snapshots import Watcher
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces import Arch, ImageShape, SearchSpace, space_named
from senas_bench.spaces.regions import Region
from senas_bench.tasks.outputs import ScoreTable, Trained
from senas_bench.tasks.problem import Problem
from senas_bench.tasks.report import Report, Watch, reference_archs
from senas_bench.tasks.shared import array_identity, paths_identity, snapshots_fit
from senas_bench.tasks.work import COUNTERS, Work
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.samplers import Path as SampledPath
from senas_bench.training.samplers import check_sampler

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.data.loader import AnyLoader, Loaders
    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.training.bilevel import Alphas, Architecture


@dataclass(frozen=True)
class Task:
    """Everything a method may use. No ground truth is in reach.

    Args:
        seed: Of the run.
        recipe: The method's recipe.
        problem: The space and the networks over it, what archs cost and may cost.
        loaders: Images on the device.
        evaluation: How archs are scored.
        report: What tables and figures want ranked.
        work: Device, folder, progress, budget.
        candidates: Archs that RSPS, SETN and ENAS score for a pick, on all scoring images; 0 leaves both to the method.
    """

    seed: int
    recipe: TrainingRecipe
    problem: Problem
    loaders: Loaders
    evaluation: Evaluation
    report: Report
    work: Work
    candidates: int = 0

    @property
    def space(self) -> SearchSpace:
        """The whole space, that of the problem."""
        return self.problem.space

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
            return self.problem.network(space, affine, **({"auxiliary": True} if self.recipe.auxiliary_weight else {}))

    def fresh(self, size: str = "preset") -> Fresh:
        """Stand-alone networks with fresh weights, of one of `ranking.fresh.SIZES`.

        Raises:
            ValueError: Nobody said how to build networks of full size.
        """
        if size != "full":
            loaders, problem = self.loaders, self.problem
            shape = ImageShape(loaders.resolution, loaders.num_classes, loaders.in_channels)
            found = Fresh(space_named(self.space.name), problem.network, problem.cost, shape, self.seed)
        elif self.problem.full is None:
            raise ValueError("nobody said how to build networks of full size: give the Problem its `full`")
        else:
            found = self.problem.full
        shared = self.work.shared if self.work.processes.world == 1 else None
        return found if shared is None else replace(found, shared=shared.place_of_untrained)

    def within(self, space: SearchSpace) -> Region:
        """The archs of `space` that meet the task's limit; the space itself if it has none."""
        return self.problem.within(space)

    def uniform_paths(
        self, space: SearchSpace, network: nn.Module
    ) -> Callable[[np.random.Generator], list[SampledPath]]:
        """Single paths drawn over `space`, within the limit where it holds in training, tied or per cell as the recipe
        says; see `Region.paths`."""
        limited = self.problem.limit is not None and self.problem.limit.in_training
        return (self.within(space) if limited else space).paths(self.cells(network))

    def cells(self, network: Any) -> int:
        """Cells that draw an arch of their own, as path samplers take it; 0 where the recipe ties them."""
        return network.choice_cells if self.recipe.sampling == "per_cell" else 0

    def alphas(
        self,
        space: SearchSpace,
        phase: str,
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        kind: type[Alphas] | None = None,
    ) -> tuple[Alphas, AnyLoader]:
        """Fresh logits over `space` with images of their own, and those for the weights, see `Loaders.bilevel`.

        Args:
            phase: Names the random numbers of their start.
            lr, betas, weight_decay: Of their Adam.
            kind: Of `training.relaxations`; None for the softmax.
        """
        from senas_bench.training.bilevel import Alphas

        first, second = self.loaders.bilevel()
        generator = self.generator(phase)
        settings = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "device": self.work.device}
        return (kind or Alphas)(space, second, generator, **settings, cost=self.problem.cost), first

    def on(self, skeleton: Any) -> Task:
        """The same task on networks with another skeleton, see `Problem.on`."""
        return replace(self, problem=self.problem.on(skeleton))

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
        watch: Watch | None = None,
    ) -> Trained:
        """Train in place for one phase; resumes, and counts as search work.

        Args:
            before: Epochs trained in the stages before; see `training.recipe.learning_rate`.
            architecture: Learns beside the weights, and is changed in place too.
            loader: Images in place of the whole training split, such as one of its halves.
            watch: What to score meanwhile. The scores are in `training.observed`; the report must have a `curve`.
        """
        from senas_bench.training.loop import train

        check_sampler(sample)
        self.work.processes.agree("the space they train", repr((phase, space.candidates, space.groups)).encode())
        fresh = optimizer is None and architecture is None and loader is None
        keep_snapshots = keep_snapshots or (
            fresh and self.work.shared is not None and snapshots_fit(network, self.recipe.snapshots)
        )
        with self._checkpoint(network, sample, phase, epochs, keep_snapshots, fresh) as checkpoint:
            training = train(
                network,
                self.work.processes.share(loader or self.loaders.train),
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
                on_begin=lambda done: self.work.progress.stage(phase, epochs, done),
                on_epoch=lambda epoch, loss: self.work.progress.step(epoch, epoch=epoch, loss=loss),
                observe=lambda epoch: self._look(network, space, watch, phase, epoch),
                observer=self._observer(watch),
                processes=self.work.processes,
                cost=self.problem.cost,
            )
        self.work.budget.add("search", training.seconds, training.counts)
        for seen in training.observed.values():
            self.work.budget.add("report", seen.seconds, seen.counts)
        shared = self._shares(sample, fresh)
        return Trained(phase, space, network, training, self.build, self.fresh, shared=shared)

    @contextmanager
    def _checkpoint(
        self, network: nn.Module, sample: Any, phase: str, epochs: int, snapshots: bool, fresh: bool
    ) -> Iterator[Path]:
        """Where a training is saved: in the run's own work folder, or where runs share it, held meanwhile."""
        if self.work.shared is None or not self._shares(sample, fresh):
            yield self.work.folder / f"{phase}.safetensors"
            return
        paths = paths_identity(sample)
        place = self.work.shared.place(
            network, self.recipe, paths, phase=phase, epochs=epochs, snapshots=snapshots, seed=self.seed
        )
        with self.work.shared.hold(place):
            yield place

    def _shares(self, sample: Any, fresh: bool) -> bool:
        """Whether runs share a training with such paths; `fresh`: from fresh momentum, with all images, and alone."""
        one = self.work.shared is not None and self.work.processes.world == 1
        return one and fresh and paths_identity(sample) is not None

    def _observer(self, watch: Watch | None) -> str:
        """Tells what a training's watch looks at; see `training.loop.train`."""
        if watch is None or not watch.epochs:
            return ""
        evaluation = self._watched_images()
        images = [array_identity(part.cpu().numpy()) for batch in evaluation.batches for part in batch]
        about = [
            sorted(watch.epochs),
            array_identity(watch.archs),
            repr(estimator_of(watch.estimator)),
            evaluation.bn_mode,
            images,
        ]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    def _watched_images(self) -> Evaluation:
        if self.report.curve is None:
            raise ValueError("a phase is watched, and the report has no curve; ask for one with curve_points")
        return self.report.curve.evaluation

    def _look(
        self, network: nn.Module, space: SearchSpace, watch: Watch | None, phase: str, epoch: int
    ) -> tuple[np.ndarray, Mapping[str, int]] | None:
        """Scores of the watched archs at an epoch of the watch, and the work; None at any other."""
        if watch is None or epoch not in watch.epochs:
            return None
        from senas_bench.tasks.look import look

        images = self._watched_images()
        return look(self, network, space, watch, images, self.work.folder / f"{phase}-watch-{epoch}.arrays")

    def evolve(
        self,
        trained: Trained,
        evolution: Evolution,
        estimator: EstimatorName,
        stage: int,
        epoch: int,
        start: Sequence[Arch] = (),
    ) -> tuple[Arch, ScoreTable]:
        """The best arch that evolution finds in the trained space within the limit, and all that it scored, the set
        `candidates`.

        Args:
            start: Archs that it begins with, as far as they meet the limit.
        """
        rounds = itertools.count()
        pick, archs, scores = evolution(
            self.within(trained.space),
            lambda batch: self.estimate(trained, batch, estimator, f"evolution-{next(rounds)}", purpose="search"),
            self.rng(f"{trained.phase}-evolution"),
            start,
        )
        return pick, ScoreTable(archs, scores, "candidates", stage, epoch)

    def pick(
        self, trained: Trained, archs: np.ndarray, estimator: EstimatorName = "weight-average"
    ) -> tuple[Arch, ScoreTable]:
        """The best of a few archs, as RSPS, SETN and ENAS choose; and their ranking, the set `candidates`.

        Args:
            archs: `(n, edges)`, n = `self.candidates` or the method's own number. In the latter case each is
                scored on one validation batch, as the methods' code does, though the same one for all and of
                `score_batch` images.
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
        alike: bool = False,
    ) -> np.ndarray:
        """`(n,)` estimated performance of archs; kept, so that a resumed run need not repeat it, while it is made too.

        Args:
            estimator: A key of `ranking.ESTIMATORS`, or a strategy.
            label: Unique among the estimates of this phase.
            purpose: `search` or `report`.
            batches: Score on the first few validation batches only.
            alike: Other methods may ask for the same: they share it where they share the training.
        """
        name, many = f"{trained.phase} {label}", len(archs)
        evaluation = replace(self.evaluation, batches=self.evaluation.batches[:batches])
        strategy = estimator_of(estimator)
        references = self._references(trained, strategy, batches)
        if alike:
            how: Any = {"purpose": purpose, "batches": batches}
            each = enumerate(references.items())
            references = {
                part: self._asked_whole(trained, archs, one, f"{label}-{k}", **how) for k, (part, one) in each
            }
        trained = replace(trained, references=references)
        watcher = Watcher(
            began=lambda share: self.work.progress.stage(name, many, int(share * many)),
            tick=lambda share: self.work.progress.step(int(share * many)),
            purpose=purpose,
        )
        with self._place(trained, archs, evaluation, strategy, label, alike) as path:
            kept = kept_scores(
                path,
                lambda watcher: strategy(trained, archs, evaluation, self.problem.cost, watcher),
                watcher,
                self.work.processes.first,
            )
        if kept.found:
            self.work.progress.stage(name, many, many)
        else:
            self.work.progress.step(many)
        self.work.budget.add(purpose, kept.seconds, {name: n for name, n in kept.work.items() if name in COUNTERS})
        return self.work.processes.from_first(kept.scores)

    @contextmanager
    def _place(
        self, trained: Trained, archs: np.ndarray, evaluation: Evaluation, how: Estimator, label: str, alike: bool
    ) -> Iterator[Path]:
        """Where an estimate is kept: in the run's own work folder, or where runs share it, held meanwhile."""
        if not (alike and trained.shared and self.work.shared and how.needs_supernet and not how.compared):
            yield self.work.folder / f"{trained.phase}-{label}.arrays"
            return
        states, who = [trained.snapshots.mean, *trained.snapshots.states], type(how)
        words = f"{who.__module__}.{who.__qualname__} {how!r}"
        place = self.work.shared.place_of_estimate(trained.network, states, archs, evaluation, words)
        with self.work.shared.hold(place):
            yield place

    def _references(self, trained: Trained, estimator: Estimator, batches: int | None) -> dict[str, Reference]:
        """What the parts of an estimator give to the reference sample; each is asked once in a phase of a run. They
        are search work, whoever asks first."""
        if not estimator.compared:
            return {}
        archs, made = self._reference_archs(trained.space, estimator.reference), self.work.references
        found = {}
        for part in estimator.compared:
            own = estimator_of(part)
            inner = self._references(trained, own, batches)  # first: labels count what is made
            key = f"{trained.phase} {part} {estimator.reference} {batches}"
            if key not in made:
                label = f"reference-{len(made)}"
                made[key] = self.estimate(trained, archs, part, label, purpose="search", batches=batches, alike=True)
            found[str(part)] = Reference(own, archs, made[key], references=inner)
        return found

    def _asked_whole(
        self, trained: Trained, archs: np.ndarray, reference: Reference, label: str, **asked: Any
    ) -> Reference:
        """With what a part of an estimator gives to all of `archs`, where they are many more than the sample: other
        methods may ask it for the same. `asked` as in `estimate`."""
        sample, how = {bytes(row) for row in reference.archs}, reference.estimator
        if not how.needs_supernet or sum(bytes(row) not in sample for row in archs) <= len(sample):
            return reference
        scores = self.estimate(trained, archs, how, label, alike=True, **asked)
        return replace(reference, others={bytes(row): score for row, score in zip(archs, scores, strict=True)})

    def _reference_archs(self, space: SearchSpace, many: int) -> np.ndarray:
        return reference_archs(self.report, space, self.within(space), many, self.rng("reference"))
