"""P-DARTS: progressive differentiable architecture search (Chen, Xie, Wu and Tian, ICCV 2019)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.methods.darts import learned
from senas_bench.spaces import SPACES, Arch, SearchSpace
from senas_bench.spaces.best import best_arch
from senas_bench.tasks.method import CELLS, LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task

if TYPE_CHECKING:
    from senas_bench.spaces.limits import Limit
    from senas_bench.training.bilevel import Alphas

    Found = tuple[tuple[SearchSpace, Alphas], ...]
    """Of each stage the space and the logits that were learned over it."""

SHORT = 3
"""Networks with fewer cells between reductions are small: they grow by one cell a stage."""
DECAY = 0.2
"""Of the dropout behind skips, an epoch of 25 [code]; a stage of another length decays as much in all."""
EPOCHS = 25
"""Of a stage in the paper."""


@dataclass(frozen=True)
class PDarts(Method):
    """DARTS of first order in stages, each on a deeper network with fewer operators, all weights and logits anew.

    Between the stages each edge keeps its most probable operators, 5 and then 3 of the 8; of another number, such as
    the 5 of NAS-Bench-201, as large a share (5, 3, 2). Stages take equal parts of the epochs of the recipe. Only the
    first is as deep as DARTS's small networks: (1, 3, 5) cells before, between and behind the reductions make networks
    of 5, 11 and 17. Where the networks of the run have fewer than 3, they grow through (1, 2, 3), or of 5, 8 and 11.

    Dropout behind skips, those that are identities, keeps them from being the easy choice; it falls during a stage. At
    last the normal cell keeps at most 2 skips: of more the least probable one may not be chosen, and the cell is
    derived anew, until that is so. Otherwise the pick is as DARTS's, among the operators of the last stage. Where none
    of their archs is within the limit of a task, it is of the stage before.

    The ranking has tiers: archs of the last stage first, behind them those with a skip that was taken away, then those
    of earlier stages. The gradient of the logits is not clipped; the code clips it at 5.

    Args:
        recipe: Recipe of the preset, for the weights of each stage, whose learning rate starts again.
        cells, small_cells: Depth of the network in each stage.
        operators: Per edge in each stage, of `of_operators`.
        dropout: Behind skips at the start of each stage.
        warm_up: Share of the epochs of a stage in which the weights alone learn: 10 of 25 [code].
        most_skips: In the normal cell.
        arch_lr, arch_betas, arch_weight_decay: Of the logits' Adam, at a constant rate [code].

    Raises:
        ValueError: Depths, operators and dropouts are not of equally many stages.
    """

    spaces = CELLS
    bilevel = True
    trains_on = LEARNED
    recipe: str = "p-darts"
    cells: tuple[int, ...] = (1, 3, 5)
    small_cells: tuple[int, ...] = (1, 2, 3)
    operators: tuple[int, ...] = (8, 5, 3)
    of_operators: int = 8
    dropout: tuple[float, ...] = (0.0, 0.4, 0.7)
    warm_up: float = 0.4
    most_skips: int = 2
    arch_lr: float = 6e-4
    arch_betas: tuple[float, float] = (0.5, 0.999)
    arch_weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        if len({len(part) for part in (self.cells, self.small_cells, self.operators, self.dropout)}) > 1:
            raise ValueError("cells, small_cells, operators and dropout must have an entry for each stage")

    def check_stages(self, space: SearchSpace, stages: tuple[int, ...]) -> None:
        """Refuse fewer epochs than its own stages, each of which must learn before it drops operators.

        Raises:
            ValueError: There are fewer.
        """
        if sum(stages) < len(self.cells):
            own = f"the {len(self.cells)} stages of its own"
            raise ValueError(f"{sum(stages)} epochs are fewer than {own}; give one to each at least")

    def __call__(self, task: Task) -> MethodOutput:
        epochs, before, history = self.stage_epochs(sum(task.recipe.stage_epochs)), 0, []
        found: Found = ()
        for stage, count in enumerate(epochs):
            space = kept(*found[-1], self.alive(task.space, stage)) if found else task.space
            alphas, lines = self.train(task, space, stage, count)
            found += ((space, alphas),)
            history += [{"stage": stage + 1, **line, "epoch": before + line["epoch"]} for line in lines]
            before += count
            free = best_arch(with_none(space), alphas.choice_scores())
            history.append({"stage": stage + 1, "epoch": before, **learned(space, alphas, free)})
        pick, table, found = self.derive(task, found)
        tiers, scores = ranked(task.report.archs, found, ~np.isfinite(table))
        ranking = ScoreTable(task.report.archs, scores, task.report.set, len(epochs), before, tiers)
        return MethodOutput(pick, (ranking,), tuple(history))

    def stage_epochs(self, epochs: int) -> list[int]:
        """Epochs of each stage: equal parts, to within one."""
        ends = [epochs * stage // len(self.cells) for stage in range(len(self.cells) + 1)]
        return [end - start for start, end in itertools.pairwise(ends)]

    def depth(self, task: Task, stage: int) -> int:
        """Cells before, between and behind the reductions in a stage; the networks of a task say how large it is."""
        return (self.small_cells if task.problem.skeleton.cells_per_stage < SHORT else self.cells)[stage]

    def alive(self, space: SearchSpace, stage: int) -> int:
        """Operators that an edge of the space has in a stage."""
        return max(1, round(len(space.operators) * self.operators[stage] / self.of_operators))

    def skip_dropout(self, stage: int, share: float) -> float:
        """Behind skips, when a `share` of the epochs of a stage is done: it falls in a line while the weights alone
        learn, and from its start exponentially behind that [code]."""
        if share < self.warm_up:
            return self.dropout[stage] * (1 - share)
        return self.dropout[stage] * math.exp(-DECAY * EPOCHS * (share - self.warm_up))

    def train(self, task: Task, space: SearchSpace, stage: int, epochs: int) -> tuple[Alphas, Sequence[dict[str, Any]]]:
        """The logits of a stage, learned; and the history of its training."""
        from senas_bench.training.bilevel import LearningAlphas

        task = task.on(task.problem.skeleton.with_cells(self.depth(task, stage)))
        alphas, first = task.alphas(
            space,
            f"alphas-{stage + 1}",
            lr=self.arch_lr,
            betas=self.arch_betas,
            weight_decay=self.arch_weight_decay,
        )
        network: Any = task.build(space)

        def begin_epoch(share: float) -> None:
            network.skip_dropout = self.skip_dropout(stage, share)

        trained = task.train(
            network,
            space,
            alphas.mixture,
            phase=f"stage-{stage + 1}",
            epochs=epochs,
            architecture=LearningAlphas(alphas, begin_epoch=begin_epoch, warm_up=self.warm_up if epochs > 1 else 0.0),
            loader=first,
            keep_snapshots=False,
        )
        return alphas, trained.training.history

    def derive(self, task: Task, found: Found) -> tuple[Arch, np.ndarray, Found]:
        """The pick, the scores `(edges, operators)` that chose it, -inf for skips that were taken away, and the stages
        up to that which it is of: the last one that has an arch within the limit."""
        (space, alphas), limit = found[-1], task.problem.limit
        try:
            return *few_skips(with_none(space), alphas.choice_scores(), self.most_skips, limit), found
        except ValueError:
            if len(found) == 1:
                raise
        return self.derive(task, found[:-1])


def kept(space: SearchSpace, alphas: Alphas, count: int) -> SearchSpace:
    """The space with the `count` most probable operators of each edge, `none` among them."""
    probable = alphas.log_probabilities().detach().cpu().numpy()
    best = [np.argsort(-row, kind="stable")[:count].tolist() for row in probable]
    alive = [tuple(sorted(set(row) & set(old))) for row, old in zip(best, space.candidates, strict=True)]
    return replace(space, candidates=tuple(alive))


def with_none(space: SearchSpace) -> SearchSpace:
    """The space in which every edge may be left out, where its rule leaves edges out."""
    if space.rule is None:
        return space
    none = space.rule.none
    return replace(space, candidates=tuple(tuple(sorted({*alive, none})) for alive in space.candidates))


def few_skips(space: SearchSpace, table: np.ndarray, most: int, limit: Limit | None) -> tuple[Arch, np.ndarray]:
    """The best arch with at most `most` skips in its normal cell, and the scores with -inf for the skips taken away.

    Raises:
        ValueError: None is within the limit.
    """
    skip, table = space.operators.index("skip_connect"), table.copy()
    normal = [edge for node in SPACES[space.name].cells[0] for edge in node]
    while True:
        arch = best_arch(space, table, limit)
        skips = [edge for edge in normal if arch[edge] == skip]
        if len(skips) <= most:
            return arch, table
        table[min(skips, key=lambda edge: table[edge, skip]), skip] = -np.inf


def ranked(archs: np.ndarray, found: Found, removed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(n,)` tiers and scores of archs, by the last stage that has all their operators.

    Args:
        removed: `(edges, operators)` bool, of what the pick could not have.
    """
    tiers, scores, edges = np.full(len(archs), -1, np.int8), np.zeros(len(archs)), np.arange(archs.shape[1])
    for tier, (_, alphas) in enumerate(reversed(found), start=1):
        sums = alphas.arch_scores(archs)
        rows = (tiers < 0) & np.isfinite(sums)
        scores[rows], tiers[rows] = sums[rows], tier
    tiers[(tiers == 1) & ~removed[edges, archs].any(axis=1)] = 0
    return tiers, scores
