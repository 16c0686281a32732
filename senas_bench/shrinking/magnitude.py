"""The magnitude criterion: probabilities of architecture parameters (DARTS, Liu et al., ICLR 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.shrinking.criterion import CriterionOutput

if TYPE_CHECKING:
    from senas_bench.tasks.outputs import Trained
    from senas_bench.tasks.task import Task


@dataclass(frozen=True)
class Magnitude:
    """Score operators by the softmax of architecture parameters, trained as in first-order DARTS.

    They are trained on a second supernet, fresh and unexpanded, over the operators still alive: a single-path
    supernet has no such parameters, and an expanded one no mixture. It trains with the recipe of the run, for
    as many epochs as the stage had; weights and architecture alternate on the two halves of the training images.
    docs/method.md 2.1 has it so; the paper does not say how the magnitude rows of its comparison were made.

    Args:
        lr, betas, weight_decay: Of Adam, for the architecture parameters [code: DARTS].
    """

    trains = True
    bilevel = True
    lr: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3

    def __call__(self, trained: Trained, task: Task) -> CriterionOutput:
        from senas_bench.training.bilevel import LearningAlphas

        phase = f"{trained.phase}-magnitude"
        space = trained.space.with_groups(())
        alphas, for_weights = task.alphas(
            space, f"{phase}-alphas", lr=self.lr, betas=self.betas, weight_decay=self.weight_decay
        )
        task.train(
            task.build(space),
            space,
            alphas.mixture,
            phase=phase,
            epochs=len(trained.training.history),
            architecture=LearningAlphas(alphas),
            loader=for_weights,
            keep_snapshots=False,
        )
        table = alphas.probabilities().tolist()
        return CriterionOutput({(edge, op): table[edge][op] for edge, op in space.droppable()})
