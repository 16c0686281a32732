"""Searches without weight sharing: each arch is trained from scratch, as the benchmark did it, until a budget is spent.

References for the weight-sharing methods (Dong and Yang, NAS-Bench-201, ICLR 2020, section 5; AutoDL-Projects,
`exps/NAS-Bench-201-algos/R_EA.py` and `RANDOM.py`). As there, an arch that comes up twice is trained and paid twice,
and the first training that no longer fits into the budget ends the search. We deviate: the accuracy is the mean over
the benchmark's seeds, not that of a random one, the first population is held to the budget too, and the time of the
search itself and of validation costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from senas_bench.searching.evolution import MAX_TRIES
from senas_bench.spaces import Arch, SearchSpace
from senas_bench.spaces.nasbench201 import arch_to_str
from senas_bench.spaces.regions import Region
from senas_bench.tasks.method import NB201_ONLY, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task

BUDGET_SECONDS = 12_000.0
"""As in the benchmark's paper: about 110 trainings of 12 epochs on CIFAR-10."""


@dataclass(frozen=True)
class RegularizedEvolution(Method):
    """Aging evolution (Real et al., AAAI 2019, Algorithm 1): a mutant of the best of a sample replaces the oldest.

    Args:
        population: Archs alive.
        sample: Tournament size, drawn with replacement. 3 is what the reference code's documented command passes.
        budget_seconds: Training time to spend.
        recipe: Of the preset; nothing here is trained with it.

    Mutation draws the edge uniformly; the reference draws a node and then one of its edges.
    """

    needs_truth = True
    trains = False
    ranks = False
    spaces = NB201_ONLY
    population: int = 10
    sample: int = 3
    budget_seconds: float = BUDGET_SECONDS
    recipe: str = "reference"

    def __post_init__(self) -> None:
        if min(self.population, self.sample) < 1:
            raise ValueError("population and sample must be at least 1")

    def __call__(self, task: Task) -> MethodOutput:
        ledger, rng, region = _Ledger.of(task, self.budget_seconds), task.rng("evolution"), task.within(task.space)
        population: deque[tuple[Arch, float]] = deque(maxlen=self.population)  # a full one drops its oldest
        while True:
            grown = len(population) == self.population
            arch = self._child(region, population, rng) if grown else region.sample(rng)
            accuracy = ledger.train(arch)
            if accuracy is None:
                return ledger.output(task)
            population.append((arch, accuracy))

    def _child(self, region: Region, population: deque[tuple[Arch, float]], rng: np.random.Generator) -> Arch:
        """A mutant of the winner of a tournament; a random arch where none of `MAX_TRIES` is within the limit."""
        drawn = [population[i] for i in rng.integers(len(population), size=self.sample).tolist()]
        parent, _ = max(drawn, key=lambda member: member[1])
        for _ in range(MAX_TRIES):
            child = mutate(region.space, parent, rng)
            if child in region:
                return child
        return region.sample(rng)


@dataclass(frozen=True)
class TruthRandomSearch(Method):
    """Train uniform random archs from scratch and take the best.

    Args:
        budget_seconds: Training time to spend.
        recipe: Of the preset; nothing here is trained with it.
    """

    needs_truth = True
    trains = False
    ranks = False
    spaces = NB201_ONLY
    budget_seconds: float = BUDGET_SECONDS
    recipe: str = "reference"

    def __call__(self, task: Task) -> MethodOutput:
        ledger, rng, region = _Ledger.of(task, self.budget_seconds), task.rng("random-search"), task.within(task.space)
        while ledger.train(region.sample(rng)) is not None:
            pass
        return ledger.output(task)


def mutate(space: SearchSpace, arch: Arch, rng: np.random.Generator) -> Arch:
    """`arch` with another operator on one edge, both drawn uniformly; `arch` itself where the space has no other."""
    open_edges = [edge for edge, alive in enumerate(space.candidates) if len(alive) > 1]
    if not open_edges:
        return arch
    edge = open_edges[rng.integers(len(open_edges))]
    others = [op for op in space.candidates[edge] if op != arch[edge]]
    return (*arch[:edge], others[rng.integers(len(others))], *arch[edge + 1 :])


@dataclass
class _Ledger:
    """Buys trainings and keeps account of them.

    Args:
        trainer: `Task.trainer`.
        budget: Seconds to spend.
        best: Told the seconds spent and the accuracy whenever an arch beats all before it.
    """

    trainer: Callable[[Arch], tuple[float, float]]
    budget: float
    best: Callable[[float, float], None]
    spent: float = 0.0
    trained: list[tuple[Arch, float, float]] = field(default_factory=list)

    @staticmethod
    def of(task: Task, budget: float) -> _Ledger:
        if task.problem.trainer is None:
            raise ValueError("this method trains from scratch and needs a task with a trainer, made from a benchmark")
        progress = task.work.progress
        progress.stage("trainings from scratch", int(budget))
        return _Ledger(task.problem.trainer, budget, lambda spent, best: progress.step(int(spent), accuracy=best))

    def train(self, arch: Arch) -> float | None:
        """12-epoch validation accuracy, percent; None when the training is more than the budget has left.

        Raises:
            ValueError: The budget is too small for a single training, or a training costs nothing.
        """
        accuracy, seconds = self.trainer(arch)
        if not seconds > 0:
            raise ValueError(f"training {arch_to_str(arch)} takes {seconds} s; a budget needs positive times")
        if self.spent + seconds > self.budget:
            if not self.trained:
                raise ValueError(f"budget_seconds {self.budget:g} buys no training: the first takes {seconds:.0f} s")
            return None
        self.spent += seconds
        if not self.trained or accuracy > max(line[1] for line in self.trained):
            self.best(self.spent, accuracy)
        self.trained.append((arch, accuracy, seconds))
        return accuracy

    def output(self, task: Task) -> MethodOutput:
        """The best arch (the first of equals), the distinct archs as the set `candidates`, one line per training."""
        task.work.progress.step(int(self.budget))
        accuracies = {arch: accuracy for arch, accuracy, _ in self.trained}
        history: list[dict[str, Any]] = []
        spent = 0.0
        for arch, accuracy, seconds in self.trained:
            spent += seconds
            history.append({"arch": arch_to_str(arch), "accuracy_12ep": accuracy, "spent_seconds": round(spent, 3)})
        history.append(
            {"trainings": len(self.trained), "spent_seconds": round(spent, 3), "budget_seconds": self.budget}
        )
        archs = np.array(list(accuracies), np.int8)
        table = ScoreTable(archs, np.array(list(accuracies.values())), "candidates", stage=1, epoch=0)
        return MethodOutput(max(accuracies, key=accuracies.__getitem__), (table,), tuple(history))
