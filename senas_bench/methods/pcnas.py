"""PCNAS: a pool of partial models that grows layer by layer (Li et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from senas_bench.methods.fbnet import LAYERED
from senas_bench.ranking import needs_snapshots
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.spaces import Arch, SearchSpace
from senas_bench.tasks.method import Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable, Trained
from senas_bench.tasks.task import Task
from senas_bench.training.samplers import Path


@dataclass(frozen=True)
class PcNas(Method):
    """Grow a pool of partial models layer by layer, and train on archs that begin with one of them.

    Choose from the shallow layers to the deep ones: extend each partial model of a pool by every operator of the
    next layer, score what comes out by the mean accuracy of random archs that begin with it, keep the best, and train
    on archs that begin with one of these. At the end the pool holds archs, and the best of them is the pick.

    Within a limit only archs that meet it complete a partial model, and one without such archs leaves the pool: the
    paper's hard constraint. Between two trainings the pool grows by as many layers as the stages of the recipe ask for;
    the paper trains after each layer. Weights and momentum go on from stage to stage. The method `pcnas` is how the
    SE-NAS paper compares it on NAS-Bench-201: operators dropped edge by edge, without a pool.

    Args:
        recipe: Recipe of the preset. Its first stage trains on uniform paths; before each other one the pool grows.
        estimator: Of an arch's performance.
        partials: Partial models in the pool.
        completions: Archs that score a partial model, at most.
    """

    spaces = LAYERED
    trains_on = "uniform paths, and later archs that begin with a partial model of its pool"
    recipe: str = "reference"
    estimator: EstimatorName = "weight-average"
    partials: int = 5
    completions: int = 20

    def __post_init__(self) -> None:
        if min(self.partials, self.completions) < 1:
            raise ValueError("partials and completions must be at least 1")

    def __call__(self, task: Task) -> MethodOutput:
        space, stages = task.space, task.recipe.stage_epochs
        network, optimizer, pool, epoch = task.build(space), None, [()], 0
        history = []
        for stage, epochs in enumerate(stages, start=1):
            cells = task.cells(network)
            paths = PoolPaths(space, tuple(pool), cells) if pool[0] else task.uniform_paths(space, network)
            trained = task.train(
                network,
                space,
                paths,
                phase=f"stage-{stage}",
                epochs=epochs,
                before=epoch,
                optimizer=optimizer,
                keep_snapshots=needs_snapshots(self.estimator),
            )
            history += [{"stage": stage, **line, "epoch": line["epoch"] + epoch} for line in trained.training.history]
            optimizer, epoch = trained.training.optimizer, epoch + epochs
            for layer in range(len(pool[0]), depth_after(stage, len(stages), len(space.edges))):
                pool = self.extended(task, trained, pool, layer)
            history.append({"phase": "pool", "stage": stage, "epoch": epoch, "pool": [list(model) for model in pool]})
        finalists = np.array(pool, np.int8)
        scores = task.estimate(trained, finalists, self.estimator, "finalists", purpose="search")
        archs = task.report.archs
        ranking = task.estimate(trained, archs, self.estimator, "ranking", purpose="report")
        tables = (
            ScoreTable(finalists, scores, "candidates", len(stages), epoch),
            ScoreTable(archs, ranking, task.report.set, len(stages), epoch),
        )
        return MethodOutput(tuple(finalists[int(np.argmax(scores))].tolist()), tables, tuple(history))

    def extended(self, task: Task, trained: Trained, pool: Sequence[Arch], layer: int) -> list[Arch]:
        """The best partial models that are one layer longer, the best first."""
        rng = task.rng(f"{trained.phase}-layer-{layer}")
        drawn: dict[Arch, list[Arch]] = {}
        for model in ((*one, op) for one in pool for op in task.space.candidates[layer]):
            archs = completions(task, model, self.completions, rng)
            if archs:
                drawn[model] = archs
        rows = np.array([arch for archs in drawn.values() for arch in archs], np.int8)
        scores = task.estimate(trained, rows, self.estimator, f"layer-{layer}", purpose="search")
        return best_partials(drawn, scores, self.partials)


def completions(task: Task, model: Arch, count: int, rng: np.random.Generator) -> list[Arch]:
    """Random archs within the task's limit that begin with a partial model, at most `count`; none where there are
    none."""
    space = task.space
    left = replace(space, candidates=tuple((op,) for op in model) + space.candidates[len(model) :])
    try:
        region = task.within(left)
    except ValueError:
        return []
    return list(dict.fromkeys(region.sample(rng) for _ in range(count)))


def best_partials(drawn: dict[Arch, list[Arch]], scores: np.ndarray, count: int) -> list[Arch]:
    """The partial models whose archs score highest on average, the best first.

    Args:
        drawn: Archs by partial model.
        scores: Of all these archs, in this order; one of -inf counts as the worst other.
    """
    finite = scores[np.isfinite(scores)]
    scores = np.maximum(scores, finite.min()) if len(finite) else np.zeros_like(scores)
    parts = np.split(scores, np.cumsum([len(archs) for archs in drawn.values()])[:-1])
    means = {model: float(part.mean()) for model, part in zip(drawn, parts, strict=True)}
    return sorted(means, key=means.__getitem__, reverse=True)[:count]


def depth_after(stage: int, stages: int, layers: int) -> int:
    """Layers that the pool has decided on after a stage: evenly up to the last training, and all at the end.

    >>> [depth_after(stage, 3, 21) for stage in (1, 2, 3)], depth_after(1, 1, 21)
    ([11, 21, 21], 21)
    """
    return layers if stage >= stages - 1 else -(-layers * stage // (stages - 1))


@dataclass(frozen=True)
class PoolPaths:
    """One path a step: a partial model of a pool, each as often as the others, and uniform operators behind it.

    Args:
        space: Of all layers.
        pool: Partial models.
        cells: 0 ties all cells to one arch; otherwise the number of cells, each with its own draw.
    """

    space: SearchSpace
    pool: tuple[Arch, ...]
    cells: int = 0

    def __call__(self, rng: np.random.Generator) -> list[Path]:
        if not self.cells:
            return [self._arch(rng)]
        return [tuple(self._arch(rng) for _ in range(self.cells))]

    def _arch(self, rng: np.random.Generator) -> Arch:
        model = self.pool[rng.integers(len(self.pool))]
        return model + self.space.sample(rng)[len(model) :]
