"""What a network is worth in the middle of its training, for the curves of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.ranking import estimator_of
from senas_bench.ranking.estimator import Estimator, Reference, Work, together
from senas_bench.ranking.partial import Partial
from senas_bench.ranking.snapshots import Watcher
from senas_bench.tasks.outputs import Seen
from senas_bench.tasks.report import reference_archs

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.spaces import SearchSpace
    from senas_bench.tasks.report import Watch
    from senas_bench.tasks.task import Task


def look(
    task: Task, network: nn.Module, space: SearchSpace, watch: Watch, images: Evaluation, kept: Path
) -> tuple[np.ndarray, Mapping[str, int]]:
    """Scores of the watched archs by the weights of now, their one snapshot, and the work, which is that of the report.

    Args:
        kept: File for what is done so far.
    """
    from senas_bench.training.snapshots import Snapshots

    now = Snapshots()
    now.add(network)
    watcher = Watcher(partial=Partial(kept, task.work.processes.first), purpose="report")
    strategy = estimator_of(watch.estimator)
    seen, works = _compared(task, Seen(network, now, task.build, task.fresh), space, strategy, images)
    scores, work = strategy(seen, watch.archs, images, task.problem.cost, watcher)
    return scores, together([*works, work])


def _compared(
    task: Task, seen: Seen, space: SearchSpace, strategy: Estimator, images: Evaluation
) -> tuple[Seen, list[Work]]:
    """With the samples that an estimator compares with, and what scoring them took."""
    found, works = {}, []
    for part in strategy.compared:
        own, many = estimator_of(part), strategy.reference
        archs = reference_archs(task.report, space, task.within(space), many, task.rng("reference"))
        inner, more = _compared(task, seen, space, own, images)
        scores, work = own(inner, archs, images, task.problem.cost)
        found[str(part)] = Reference(own, archs, scores, references=inner.references)
        works += [*more, work]
    return replace(seen, references=found), works
