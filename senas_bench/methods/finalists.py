"""The second step of a search: the best archs of a ranking are trained alone for a while, and one of them is picked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from senas_bench.spaces import SPACES, Arch, SearchSpace
from senas_bench.tasks.outputs import ScoreTable
from senas_bench.tasks.task import Task
from senas_bench.training.samplers import Path


@dataclass(frozen=True)
class OnePath:
    """The path sampler of a network that has but one."""

    arch: Arch

    def __call__(self, rng: np.random.Generator) -> list[Path]:
        return [self.arch]

    def identity(self) -> list[object]:
        """JSON values, by which methods that train the same arch alone share the training."""
        return ["one", list(self.arch)]


@dataclass(frozen=True)
class Finalists:
    """Train the best archs of a ranking from scratch, each for a few epochs, and take the one that validates best.

    A ranking of the whole space tells good from bad; among the best it tells little. Real training is dear, so it is
    spent on them alone. It is ours, of the kind that MnasNet and PNAS end with. The networks have the size of the run,
    affine batch norm, and are scored with their running statistics on all held-out images. The work is search work.

    Args:
        count: Archs, the best that are no two the same function.
        epochs: Of each.
        lr: At the start of a cosine to 0; all else is as the method's recipe has it.

    Raises:
        ValueError: A number that is too small.
    """

    count: int = 25
    epochs: int = 4
    lr: float = 0.1

    def __post_init__(self) -> None:
        if self.count < 1 or self.epochs < 1 or self.lr <= 0:
            raise ValueError(f"finalists need a count, epochs and a rate above 0, not {self}")

    def __call__(self, task: Task, ranked: ScoreTable) -> tuple[Arch, ScoreTable]:
        """The pick, and the finalists with their validation accuracy, percent: the set `candidates`.

        Args:
            ranked: Archs and their scores.
        """
        archs = best_functions(task.space, ranked, self.count)
        recipe = replace(
            task.recipe,
            stage_epochs=(self.epochs,),
            lr=self.lr,
            lr_min=0.0,
            lr_horizon=0,
            snapshots=1,
            snapshot_epochs=1,
            sampling="tied",
        )
        evaluation = replace(task.evaluation, batches=task.loaders.valid, bn_mode="running")
        alone = replace(task, recipe=recipe, evaluation=evaluation)
        scores = np.array([self._trained(alone, arch) for arch in archs])
        table = ScoreTable(np.array(archs, np.int8), scores, "candidates", ranked.stage, ranked.epoch)
        return archs[int(np.argmax(scores))], table

    def _trained(self, task: Task, arch: Arch) -> float:
        """Validation accuracy of an arch trained alone, percent."""
        space = task.space.only(arch)
        trained = task.train(
            task.build(space, affine=True),
            space,
            OnePath(arch),
            phase=f"alone-{'-'.join(map(str, arch))}",
            epochs=self.epochs,
            keep_snapshots=False,
        )
        row = np.array([arch], np.int8)
        return float(task.estimate(trained, row, "weight-average", "score", purpose="search")[0])


def best_functions(space: SearchSpace, ranked: ScoreTable, count: int) -> list[Arch]:
    """The best archs of a ranking, at most `count`, that are no two the same function and connect input and output."""
    functions = SPACES[space.name].function
    found: dict[Arch, Arch] = {}
    for row in np.argsort(-ranked.scores, kind="stable"):
        arch = tuple(ranked.archs[row].tolist())
        function = functions(arch)
        if function is not None:
            found.setdefault(function, arch)
        if len(found) == count:
            break
    return list(found.values())
