"""SE-NAS: shrinking and expanding a supernet (Hu et al., Pattern Recognition 2021, Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.methods.finalists import Finalists
from senas_bench.methods.spos import SEARCHES
from senas_bench.ranking import needs_snapshots
from senas_bench.ranking.estimator import EstimatorName
from senas_bench.ranking.hierarchical import hierarchical_ranking
from senas_bench.searching.evolution import Evolution
from senas_bench.shrinking.criterion import Criterion, CriterionOutput, scored_by
from senas_bench.shrinking.se_nas import SeNasCriterion
from senas_bench.shrinking.shrink import shrink, shrink_edge_by_edge, shrink_per_edge
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.regions import Region, feasible
from senas_bench.tasks.curve import ShrinkingCurve
from senas_bench.tasks.method import FAIR, LEARNED, UNIFORM, Method, fact
from senas_bench.tasks.outputs import MethodOutput, ScoreTable, Trained
from senas_bench.tasks.report import Watch
from senas_bench.tasks.task import Task
from senas_bench.training.fair import FairPaths
from senas_bench.training.samplers import Path

if TYPE_CHECKING:
    from torch import nn

RANK_LIMIT = 500
"""A space of at most this many archs is ranked whole, whatever sample the preset ranks."""
LEFT_FOR_SEARCH = 1000
LEFT_SHARE = 1 / 200
"""Archs within a limit that a shrink leaves at least, about: so many, or this share of all that meet it where that is
fewer. The paper does not say how its criterion, which drops whole layers down to one operator, leaves any choice under
a limit. Without one it leaves 5 to 16 archs of NB201; the share leaves about as many in a window of its FLOPs."""
REMOVALS = ("global", "per-edge", "edge-by-edge")
SAMPLERS = ("uniform", "fair")


@dataclass(frozen=True)
class SeNas(Method):
    """Train, score operators, drop the worst, merge, expand; then rank what is left.

    Args:
        recipe: Recipe of the preset. Its `stage_epochs` set the number of stages: a shrink follows each
            but the last.
        estimator: Of an arch's performance, for the ranking.
        criterion: Scores the operators.
        drop: k, operators dropped by each shrink (10 on NB201); fewer where too few archs within a limit would be left.
        threshold: T, largest size of a merged group (50); 0 never merges: the method only shrinks.
        removal: `global` drops the lowest of all; `per-edge` the lowest of each edge, whatever `drop` says, as the
            paper's FairNAS + SE-NAS; `edge-by-edge` spreads `drop` over the edges and scores anew at each, as PCNAS.
        sampler: Of the paths of a training step: `uniform`, one path; or `fair`, FairNAS's, which together use
            each operator once and need equally many on every edge.
        max_per_edge: Most operators that a global shrink takes from one edge (1 in the paper's DARTS runs); 0 for any.
        search: As in `Spos`: `rank` ranks archs after each stage and takes the best of those alive at the end;
            `evolution` searches the last space, and ranks nothing else.
        evolution: Its parameters.
        stop_at: A space of at most this many archs is not trained again, but searched: Algorithm 1's stop condition, of
            which the paper says no more. Tested before each stage but the first, as 1e6 in [code: AngleNAS]; 0 trains
            all stages. The learning rate stays where it is then, see `TrainingRecipe.lr_restarts`.
        finalists: As in `Spos`, of the last ranking.
        dropped_by: The criterion in words; its class by default.
        spaces, watched: Facts, see `Method`.

    Raises:
        ValueError: Unknown removal, sampler or search, or `fair` with `global`, which leaves edges unequal.
    """

    recipe: str = "reference"
    estimator: EstimatorName = "weight-average"
    criterion: Criterion = field(default_factory=SeNasCriterion)
    drop: int = 10
    threshold: int = 50
    removal: str = field(default="global", metadata={"added": True})
    sampler: str = field(default="uniform", metadata={"added": True})
    max_per_edge: int = field(default=0, metadata={"added": True})
    search: str = field(default="rank", metadata={"added": True})
    evolution: Evolution = field(default=Evolution(), metadata={"added": True})
    stop_at: int = field(default=0, metadata={"added": True})
    finalists: Finalists | None = field(default=None, metadata={"added": True})
    dropped_by: str = fact("")
    spaces: tuple[str, ...] | None = fact(None)
    watched: bool = fact(False)

    def __post_init__(self) -> None:
        for name, allowed in (("removal", REMOVALS), ("sampler", SAMPLERS), ("search", SEARCHES)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"unknown {name} {value!r}; one of: {', '.join(allowed)}")
        if self.sampler == "fair" and self.removal == "global":
            raise ValueError("fair sampling needs equally many operators on every edge; use removal='per-edge'")

    @property
    def shrinks_by(self) -> str:
        return self.dropped_by or type(self.criterion).__name__

    @property
    def bilevel(self) -> bool:
        return getattr(self.criterion, "bilevel", False)

    @property
    def trains_on(self) -> str:
        paths = FAIR if self.sampler == "fair" else UNIFORM
        return f"{paths}, and a second supernet on {LEARNED}" if self.bilevel else paths

    def check_stages(self, space: SearchSpace, stages: tuple[int, ...]) -> None:
        """Refuse stages that the space cannot shrink through, before anything is trained. One stage shrinks nothing.

        Raises:
            ValueError: A `per-edge` shrink would take the last operator of an edge.
        """
        most = min(len(alive) for alive in space.candidates)
        if self.removal == "per-edge" and len(stages) > most:
            raise ValueError(
                f"{len(stages)} stages are too many: each shrink takes an operator from every edge, and {space.name} "
                f"has {most} there; give at most {most} stages"
            )

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.networks.expansion import count_parameters, expand, expanded_parameters, plan_groups
        from senas_bench.training.loop import carry_momentum, make_optimizer

        space, network, optimizer = task.space, task.build(task.space), None
        found, epoch, stages = _Found(), 0, task.recipe.stage_epochs
        curve = ShrinkingCurve(task.report.curve, stages) if task.report.curve else None
        for stage, epochs in enumerate(stages, start=1):
            watched: Any = (
                _alive(task.within(space), curve.curve.archs, task.rng(f"stage-{stage}-curve")) if curve else None
            )
            trained = task.train(
                network,
                space,
                self._paths(task, space, network),
                phase=f"stage-{stage}",
                epochs=epochs,
                before=epoch,
                optimizer=optimizer,
                keep_snapshots=self._needs_snapshots(last=stage == len(stages)),
                watch=Watch(curve.epochs(), watched, self.estimator) if curve else None,
            )
            if curve:
                curve.take(space, watched, trained.training.observed)
            lines = trained.training.history
            found.history += [{"stage": stage, **line, "epoch": line["epoch"] + epoch} for line in lines]
            epoch += epochs
            self._rank(found, trained, task, stage, epoch, last=stage == len(stages))
            if stage == len(stages):
                break
            shrunk, decided = self._shrink(trained, task)
            stops = shrunk.size <= self.stop_at
            if self.threshold and not stops:
                shrunk = shrunk.with_groups(plan_groups(shrunk, self.threshold))
            after = expanded_parameters(network, shrunk)
            event = _describe(space, shrunk, decided, stage, epoch, count_parameters(network), after)
            event |= self._short_of(space, event["dropped"])
            task.work.progress.message(_said(event))
            found.history.append(event)
            if stops:
                # expanded or not, archs keep their weights until these are trained again
                trained = replace(trained, phase=f"{trained.phase}-stopped", space=shrunk)
                found.history.append(self._stop(trained, stage, epoch, stages))
                self._rank(found, trained, task, stage, epoch, last=True)
                break
            sources = expand(network, shrunk)
            optimizer = make_optimizer(network, task.recipe)
            carry_momentum(trained.training.optimizer, optimizer, sources)
            space = shrunk
        return self._picked(found, trained, task, stage, epoch, curve)

    def _picked(
        self, found: _Found, trained: Trained, task: Task, stage: int, epoch: int, curve: ShrinkingCurve | None
    ) -> MethodOutput:
        """The best arch that is left, and all rankings."""
        if self.search == "evolution":
            pick, table = task.evolve(trained, self.evolution, self.estimator, stage, epoch)
            return MethodOutput(pick, (table,), tuple(found.history))
        tables, final = list(found.tables), found.tables[-1]
        pick = tuple(final.archs[int(np.argmax(final.scores))].tolist())
        if self.finalists:
            pick, chosen = self.finalists(task, final)
            tables.append(chosen)
        tiers, values = hierarchical_ranking(task.report.archs, found.spaces, found.rankings)
        whole = ScoreTable(task.report.archs, values, task.report.set, stage, epoch, tiers)
        if final.set != whole.set:  # in a single stage nothing is dropped: its ranking is that of the whole already
            tables.append(whole)
        tables += curve.finish(final, whole) if curve else ()
        return MethodOutput(pick, tuple(tables), tuple(found.history))

    def _stop(self, trained: Trained, stage: int, epoch: int, stages: Sequence[int]) -> dict[str, Any]:
        """The line of history of a run that stops before its last stage: where, and at which rate of its schedule."""
        line = {"phase": "stopped", "stage": stage, "stages": len(stages), "epoch": epoch, "epochs": sum(stages)}
        return {**line, "archs": trained.space.size, "stop_at": self.stop_at, "lr": trained.training.history[-1]["lr"]}

    def _paths(self, task: Task, space: SearchSpace, network: nn.Module) -> Callable[[np.random.Generator], list[Path]]:
        """The paths of a training step, tied or per cell as the recipe says."""
        if self.sampler == "uniform":
            return task.uniform_paths(space, network)
        return FairPaths(space, task.cells(network))

    def _needs_snapshots(self, last: bool) -> bool:
        """Whether anyone asks for single snapshots: Eq. 4 needs but their mean, and an expanded network cannot
        afford K copies."""
        asking = [self.estimator] if last else [self.estimator, getattr(self.criterion, "estimator", "weight-average")]
        return any(map(needs_snapshots, asking))

    def _shrink(self, trained: Trained, task: Task) -> tuple[SearchSpace, CriterionOutput]:
        """The space without the worst operators, and the scores that decided."""
        keep = _enough_left(task)
        if self.removal == "edge-by-edge":

            def score(left: SearchSpace, edge: int) -> CriterionOutput:
                # a phase of its own: other random numbers and other kept results at each edge
                here = replace(trained, phase=f"{trained.phase}-edge-{edge}", space=left)
                return scored_by(self.criterion, here, task)

            return shrink_edge_by_edge(trained.space, score, self.drop, keep)
        output = scored_by(self.criterion, trained, task)
        if self.removal == "per-edge":
            return shrink_per_edge(trained.space, output.scores, keep=keep), output
        return shrink(trained.space, output.scores, self.drop, self.max_per_edge or None, keep=keep), output

    def _short_of(self, space: SearchSpace, dropped: Sequence[str]) -> dict[str, int]:
        """How many operators were to go, where fewer did."""
        asked = len(space.edges) if self.removal == "per-edge" else self.drop
        return {"asked": asked} if len(dropped) < asked else {}

    def _rank(self, found: _Found, trained: Trained, task: Task, stage: int, epoch: int, last: bool) -> None:
        """Where it ranks, add scores over the report archs, NaN outside the space, and the table of the archs alive."""
        if self.search != "rank":
            return
        space = trained.space
        alive = _alive(task.within(space), task.report.archs, task.rng(f"{trained.phase}-ranking"))
        purpose = "search" if last else "report"
        scores = task.estimate(trained, alive, self.estimator, "ranking", purpose=purpose, alike=True)
        by_arch = dict(zip(map(bytes, alive), scores, strict=True))
        whole = stage == 1 and len(alive) == len(task.report.archs)
        found.spaces.append(space)
        found.rankings.append(np.array([by_arch.get(bytes(row), np.nan) for row in task.report.archs]))
        found.tables.append(ScoreTable(alive, scores, task.report.set if whole else "current", stage, epoch))


def _enough_left(task: Task) -> Callable[[SearchSpace], bool]:
    """Whether a shrunk space holds enough archs within the task's limit; any does where there is none."""
    limit = task.problem.limit
    if limit is None:
        return lambda space: True
    least = min(LEFT_FOR_SEARCH, math.ceil(LEFT_SHARE * task.within(task.space).size))
    return lambda space: feasible(space, limit, least)


@dataclass
class _Found:
    """What a run has found so far: by ranking its space, scores of the report archs and table; and its history."""

    spaces: list[SearchSpace] = field(default_factory=list)
    rankings: list[np.ndarray] = field(default_factory=list)
    tables: list[ScoreTable] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


def _alive(region: Region, among: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`(n, edges)` archs that stand for those alive: all of a small region, else those `among` which are in it.

    Args:
        among: Within the limit, if there is one.
    """
    if region.size <= RANK_LIMIT:
        return region.archs()
    inside = among[region.space.contains_rows(among)]
    # a small sample of a large space can miss it
    return inside if len(inside) else region.sample_distinct(rng, RANK_LIMIT)


def _said(event: Mapping[str, Any]) -> str:
    """A shrink as a message."""
    dropped, few = event["dropped"], ""
    if "asked" in event:
        few = f", {len(dropped)} of {event['asked']}: each edge keeps an operator, and a limit enough archs"
    left = f"{event['archs']} archs, {event['parameters'][1]} parameters"
    return f"dropped {', '.join(dropped) or 'nothing'}{few}; {left}"


def _describe(
    before: SearchSpace,
    after: SearchSpace,
    decided: CriterionOutput,
    stage: int,
    epoch: int,
    parameters_before: int,
    parameters_after: int,
) -> dict[str, Any]:
    """One line of history for a shrink: the scores, and by their names the parts they were made of."""
    name = lambda pair: f"{before.edges[pair[0]]} {before.operators[pair[1]]}"  # noqa: E731
    return {
        "stage": stage,
        "epoch": epoch,
        "dropped": [name(pair) for pair in before.alive() if pair not in set(after.alive())],
        **{
            part: {name(pair): None if np.isinf(value) else float(value) for pair, value in values.items()}
            for part, values in {"scores": decided.scores, **decided.parts}.items()
        },
        "candidates": [list(alive) for alive in after.candidates],
        "groups": [list(group) for group in after.groups],
        "archs": after.size,
        "parameters": [parameters_before, parameters_after],
    }
