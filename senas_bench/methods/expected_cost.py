"""What archs drawn from a distribution cost on average, for losses that weigh it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.methods.darts import most_probable
from senas_bench.searching.most_probable import most_probable_within
from senas_bench.tasks.task import Task

if TYPE_CHECKING:
    import torch

    from senas_bench.tasks.outputs import MethodOutput, Trained
    from senas_bench.training.bilevel import Alphas

UNITS = {"flops": 1e-3, "params": 1e-3, "latency": 1e3}
"""By what the numbers of a limit are multiplied, so that their logarithms are well above 0 in small networks too:
thousands of multiply-adds or parameters, and microseconds."""


@dataclass(frozen=True, eq=False)
class ExpectedCost:
    """A look-up table of costs, differentiable in the weights of the operators.

    Args:
        per_edge: `(edges, operators)` float32 on the device; 0 where an operator cannot be.
        base: What every arch costs besides, in the same unit.
        target: What an arch may cost; None without a limit.
    """

    per_edge: torch.Tensor
    base: float
    target: float | None

    @classmethod
    def of(cls, task: Task) -> ExpectedCost:
        """The cost that the task limits, by its table; without a limit multiply-adds."""
        import torch

        limit, operators = task.problem.limit, len(task.space.operators)
        if limit is None:
            table, unit, high = task.problem.cost, UNITS["flops"], None
            entries, base = table.per_edge[..., 0], float(table.base[0])
        else:
            unit = UNITS.get(limit.name, 1.0)
            entries, base, high = limit.per_edge, float(limit.base), float(limit.high) * unit
        per_edge = np.nan_to_num(np.asarray(entries, float)[:, :operators]) * unit
        return cls(torch.from_numpy(per_edge).float().to(task.work.device), base * unit, high)

    def __call__(self, weights: torch.Tensor) -> torch.Tensor:
        """The cost of `(edges, operators)` weights that add up to 1 on each edge: a scalar, with their gradient."""
        return self.base + (self.per_edge * weights).sum()


def most_probable_of_region(task: Task, trained: Trained, alphas: Alphas) -> MethodOutput:
    """As `darts.most_probable`, with the most probable arch within the task's limit as the pick."""
    output = most_probable(task, trained, alphas)
    table = alphas.log_probabilities().detach().double().cpu().numpy()
    return replace(output, pick=most_probable_within(table, task.within(task.space)))
