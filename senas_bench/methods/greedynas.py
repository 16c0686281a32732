"""GreedyNAS: a supernet trained on paths that already look good (You et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.methods.fbnet import LAYERED
from senas_bench.methods.spos import SEARCHES
from senas_bench.ranking import needs_snapshots
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces import Arch
from senas_bench.spaces.cost import multiply_adds
from senas_bench.spaces.regions import Region
from senas_bench.tasks.method import WITHIN, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task
from senas_bench.training.samplers import Path

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.spaces.cost import CostTable
    from senas_bench.training.bilevel import Batch, Counts


@dataclass(frozen=True)
class GreedyNas(Method):
    """Train the few of some paths that validate best, more and more of them from a pool of good ones.

    Draw some paths, from a pool of good ones or uniformly; evaluate all on a few validation images, and train those
    of the lowest loss, one after the other, each on a batch of its own. Then draw anew. The others get no step and no
    place in the pool.

    A path comes from the pool with a probability that grows in a straight line from 0 to `most_exploited`. The pool
    keeps the best paths that were trained, each with the loss that it was last seen with. The training ends at the
    first end of an epoch at which the pool is full and hardly anything in it is new since the epoch before. Evolution
    starts from the pool; the paper's is NSGA-II, with costs as objectives.

    Numbers and the line are those of MMRazor's reproduction [code]; there is no code of the authors, and `stop_share`
    is .08 as we understand the paper. Paths are drawn within the limit [code: MMRazor]. The images that evaluate are
    the first of the held-out ones, the same each time, with the statistics of a batch in batch norm; the pool is looked
    at when an epoch ends. What was chosen and not trained when an epoch ends is forgotten.

    Args:
        recipe: Recipe of the preset; it trains the sum of the stages without a break.
        estimator: Of an arch's performance, once the supernet is trained.
        search, evolution: As in `Spos`.
        drawn, kept: Paths before and after the filter.
        filter_images: Validation images that evaluate a path, or as many as there are.
        pool_size: Paths in the pool.
        start: Share of the training before the pool is drawn from.
        most_exploited: Share of paths drawn from the pool at the end of the line.
        end: Share of the training at which the line ends.
        stop_share: Largest share of the pool that is new when the training may end; below 0 it never does.

    Raises:
        ValueError: Unknown search, or a number out of its range.
    """

    spaces = LAYERED
    trains_on = WITHIN
    recipe: str = "greedynas"
    estimator: EstimatorName = "weight-average"
    search: str = "rank"
    evolution: Evolution = field(default_factory=Evolution)
    drawn: int = 10
    kept: int = 5
    filter_images: int = 1000
    pool_size: int = 1000
    start: float = 1 / 15
    most_exploited: float = 0.8
    end: float = 0.96
    stop_share: float = 0.08

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ValueError(f"unknown search {self.search!r}; one of: {', '.join(SEARCHES)}")
        if not 1 <= self.kept <= self.drawn:
            raise ValueError(f"of {self.drawn} paths {self.kept} cannot be kept; keep at least 1 and at most all")
        if min(self.filter_images, self.pool_size) < 1 or not 0 <= self.most_exploited <= 1:
            raise ValueError("filter_images and pool_size must be at least 1, most_exploited between 0 and 1")
        if not 0 <= self.start < self.end:
            raise ValueError(f"the pool's share cannot grow from {self.start} to {self.end}; give the start first")

    @property
    def only_ranked(self) -> bool:
        return self.search == "rank"

    def __call__(self, task: Task) -> MethodOutput:
        epochs = sum(task.recipe.stage_epochs)
        greedy = GreedyPaths(
            self,
            task.within(task.space),
            task.loaders.valid,
            steps=epochs * len(task.loaders.train),
            half=task.recipe.half(task.work.device.type),
            cost=task.problem.cost,
        )
        trained = task.train(
            task.build(task.space),
            task.space,
            greedy.paths,
            phase="train",
            epochs=epochs,
            architecture=greedy,
            keep_snapshots=needs_snapshots(self.estimator),
        )
        done = len(trained.training.history)
        archs = task.report.archs
        purpose = "search" if self.only_ranked else "report"
        scores = task.estimate(trained, archs, self.estimator, "ranking", purpose=purpose)
        pick = tuple(archs[int(np.argmax(scores))].tolist())
        tables = [ScoreTable(archs, scores, task.report.set, stage=1, epoch=done)]
        if self.search == "evolution":
            pick, seen = task.evolve(trained, self.evolution, self.estimator, 1, done, start=greedy.best())
            tables.append(seen)
        history: list[Mapping[str, Any]] = [{"stage": 1, **line} for line in trained.training.history]
        history.append({"phase": "pool", "stage": 1, "epoch": done, "epochs": epochs, "pool": len(greedy.pool)})
        return MethodOutput(pick, tuple(tables), tuple(history))


class GreedyPaths:
    """Draws the paths of the weights and filters them; an `Architecture`, for it must see the network before a step.

    Args:
        settings: The method.
        region: Where paths are drawn uniformly.
        batches: Validation images, the first of which evaluate.
        steps: Of the whole training.
        half: bfloat16 autocast.
        cost: Of archs at this size; None leaves the multiply-adds of the evaluations uncounted.
    """

    def __init__(
        self,
        settings: GreedyNas,
        region: Region,
        batches: Sequence[Batch],
        *,
        steps: int,
        half: bool = False,
        cost: CostTable | None = None,
    ) -> None:
        self.settings, self.region, self.steps = settings, region, steps
        self.half, self.cost = half, cost
        self.batches = list(first_images(batches, settings.filter_images))
        self.pool: dict[Arch, float] = {}
        self.finished = False
        self._step = 0
        self._chosen: list[tuple[Arch, float]] = []
        self._pool_before: set[Arch] = set()

    def paths(self, rng: np.random.Generator) -> list[Path]:
        """The path sampler: the next of those that passed the filter, the best one first. Now it enters the pool."""
        arch, loss = self._chosen.pop(0)
        self.remember({arch: loss})
        return [arch]

    def exploited(self) -> float:
        """Probability that a path which is drawn for the present step comes from the pool."""
        settings, progress = self.settings, max(self._step - 1, 0) / self.steps
        line = (progress - settings.start) / (settings.end - settings.start)
        return settings.most_exploited * float(np.clip(line, 0.0, 1.0))

    def begin_epoch(self, share: float, generator: torch.Generator) -> None:
        """See `Architecture`."""
        self._step = round(share * self.steps)
        self._chosen = []

    def step(
        self, network: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, rng: np.random.Generator
    ) -> Counts:
        """Draw, evaluate and filter, where all that was chosen is trained."""
        self._step += 1
        if self._chosen:
            return {}
        archs = self.draw(rng)
        losses = self._losses(network, archs)
        order = np.argsort(losses, kind="stable")[: self.settings.kept].tolist()
        self._chosen = [(archs[index], float(losses[index])) for index in order]
        images = sum(len(y) for _, y in self.batches)
        counts = {"forward_paths": len(archs), "archs_scored": len(archs), "images_scored": len(archs) * images}
        if self.cost is not None:
            counts["multiply_adds"] = int(multiply_adds(self.cost, np.array(archs)).sum()) * images
        return counts

    def draw(self, rng: np.random.Generator) -> list[Arch]:
        """The paths of a step before the filter."""
        share, pool = self.exploited(), list(self.pool)
        return [
            pool[rng.integers(len(pool))] if pool and rng.random() < share else self.region.sample(rng)
            for _ in range(self.settings.drawn)
        ]

    def remember(self, losses: Mapping[Arch, float]) -> None:
        """Put paths into the pool, with their loss of now, and keep the best."""
        self.pool = {**self.pool, **losses}
        self.pool = {arch: self.pool[arch] for arch in self.best()[: self.settings.pool_size]}

    def best(self) -> list[Arch]:
        """The pool, the lowest loss first."""
        return sorted(self.pool, key=self.pool.__getitem__)

    def end_epoch(self, network: nn.Module, rng: np.random.Generator, generator: torch.Generator) -> Counts:
        """Whether the training is over."""
        new = len(self.pool.keys() - self._pool_before) / max(len(self.pool), 1)
        self.finished = len(self.pool) == self.settings.pool_size and new <= self.settings.stop_share
        self._pool_before = set(self.pool)
        return {}

    def _losses(self, network: nn.Module, archs: Sequence[Arch]) -> np.ndarray:
        """`(n,)` mean cross-entropies over all images that evaluate, nats."""
        import torch

        from senas_bench.ranking.batchnorm import evaluation_mode

        sums = []
        with torch.no_grad(), evaluation_mode(network, "batch"):
            for arch in archs:
                with torch.autocast(self.batches[0][0].device.type, torch.bfloat16, enabled=self.half):
                    parts = [torch.nn.functional.cross_entropy(network(x, arch), y) * len(y) for x, y in self.batches]
                sums.append(torch.stack(parts).sum())
        return torch.stack(sums).double().cpu().numpy() / sum(len(y) for _, y in self.batches)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The pool; at the end of an epoch, when it is saved, it is also the pool of the epoch before the next."""
        import torch

        archs = np.array(list(self.pool), np.int8).reshape(len(self.pool), -1)
        losses = np.array(list(self.pool.values()))
        return {
            "pool": torch.from_numpy(archs),
            "losses": torch.from_numpy(losses),
            "finished": torch.tensor(self.finished),
        }

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """See `Architecture`."""
        archs = map(tuple, tensors["pool"].cpu().tolist())
        self.pool = dict(zip(archs, tensors["losses"].cpu().tolist(), strict=True))
        self._pool_before = set(self.pool)
        self.finished = bool(tensors["finished"])


def first_images(batches: Sequence[Batch], count: int) -> Sequence[Batch]:
    """The first `count` images of some batches, or all where there are fewer, in these batches."""
    found, left = [], count
    for x, y in batches:
        if not left:
            break
        found.append((x[:left], y[:left]))
        left -= len(found[-1][1])
    return found
