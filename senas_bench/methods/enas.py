"""ENAS: shared weights under an LSTM controller trained by REINFORCE (Pham et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.spaces.cost import multiply_adds
from senas_bench.tasks.method import LEARNED, NB201_ONLY, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task
from senas_bench.training.samplers import Path

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.searching.controller import Controller, Reinforce
    from senas_bench.spaces.cost import CostTable
    from senas_bench.training.bilevel import Batch, Counts


class LearningController:
    """A controller that draws the paths of the weights, and learns after each epoch; an `Architecture`.

    Args:
        reinforce: Holds the controller.
        loader: Images for the rewards, as `TrainLoader`.
        paths: Steps of the weights in an epoch.
        steps, aggregate: Steps of the controller after each epoch, and archs in each.
        half: bfloat16 autocast.
        cost: Of archs at this size; None leaves the multiply-adds of the rewards uncounted.
    """

    def __init__(
        self,
        reinforce: Reinforce,
        loader: Any,
        *,
        paths: int,
        steps: int,
        aggregate: int,
        half: bool = False,
        cost: CostTable | None = None,
    ) -> None:
        self.reinforce = reinforce
        self.loader = loader
        self.paths = paths
        self.steps = steps
        self.aggregate = aggregate
        self.half = half
        self.cost = cost
        self._drawn: list[Path] = []

    def path(self, rng: np.random.Generator) -> list[Path]:
        """The path sampler: one arch, tied over the cells. The controller rests during an epoch, so all the archs of
        one are drawn at once: a draw costs the LSTM as much as a step of the weights costs a small network."""
        if not self._drawn:
            archs = self.reinforce.controller.sample(rng, self.paths)
            self._drawn = [tuple(row) for row in archs.tolist()]
        return [self._drawn.pop()]

    def begin_epoch(self, share: float, generator: torch.Generator) -> None:
        self._drawn = []

    def step(
        self, network: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, rng: np.random.Generator
    ) -> Counts:
        return {}

    def end_epoch(self, network: nn.Module, rng: np.random.Generator, generator: torch.Generator) -> Counts:
        """The steps of the controller. Each arch is rewarded on one batch, the next in an order over all the images."""
        batches, each = self._turns(generator), 0
        for _ in range(self.steps):
            archs = self.reinforce.controller.sample(rng, self.aggregate)
            self.reinforce.update(archs, self._accuracies(network, archs, batches))
            each += int(multiply_adds(self.cost, archs).sum()) if self.cost else 0
        samples, size = self.steps * self.aggregate, self.loader.batch_size
        price = {"multiply_adds": each * size} if self.cost else {}
        return {"forward_paths": samples, "archs_scored": samples, "images_scored": samples * size, **price}

    def _turns(self, generator: torch.Generator) -> Iterator[Batch]:
        while True:
            yield from self.loader.epoch(generator)

    def _accuracies(self, network: nn.Module, archs: np.ndarray, batches: Iterator[Batch]) -> torch.Tensor:
        """`(n,)` fractions of a batch each, on the CPU; with the statistics of the batch in batch norm."""
        import torch

        from senas_bench.ranking.batchnorm import evaluation_mode

        correct = []
        with torch.no_grad(), evaluation_mode(network, "batch"):
            for row in archs.tolist():
                x, y = next(batches)
                with torch.autocast(x.device.type, torch.bfloat16, enabled=self.half):
                    correct.append((network(x, tuple(row)).argmax(1) == y).float().mean())
        return torch.stack(correct).cpu()

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.reinforce.tensors()

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.reinforce.load(tensors)


@dataclass(frozen=True)
class Enas(Method):
    """Learn weights on archs that a controller draws, and the controller from their accuracy; then take the best of a
    few archs that it draws.

    The weights see one half of the training images, the controller the other; with the official split the controller
    has the validation images. `recipe.controller_steps` are the steps
    of the controller after each epoch. The archs of the pick are distinct, where the reference scores draws
    with repeats [code]: a repeat would score the same.

    Args:
        recipe: Recipe of the preset.
        candidates: Archs to choose from where the task does not say.
        hidden, layers, temperature, tanh_constant: Of the controller.
        lr, betas, eps: Of its Adam. clip: Largest norm of its gradient.
        entropy_weight, baseline_decay: Of `Reinforce`.
        aggregate: Archs per step of the controller.
    """

    spaces = NB201_ONLY
    bilevel = True
    trains_on = LEARNED
    recipe: str = "enas"
    candidates: int = 100
    hidden: int = 32
    layers: int = 2
    temperature: float = 5.0
    tanh_constant: float = 2.5
    lr: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.999)
    eps: float = 1e-3
    clip: float = 5.0
    entropy_weight: float = 1e-4
    baseline_decay: float = 0.99
    aggregate: int = 20

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.searching.controller import Reinforce

        network = task.build(task.space)
        first, second = task.loaders.bilevel()
        controller = self.controller(task)
        learning = LearningController(
            Reinforce(
                controller,
                lr=self.lr,
                betas=self.betas,
                eps=self.eps,
                entropy_weight=self.entropy_weight,
                baseline_decay=self.baseline_decay,
                clip=self.clip,
            ),
            second,
            paths=len(first),
            steps=task.recipe.controller_steps,
            aggregate=self.aggregate,
            half=task.recipe.half(task.work.device.type),
            cost=task.problem.cost,
        )
        trained = task.train(
            network,
            task.space,
            learning.path,
            phase="train",
            epochs=sum(task.recipe.stage_epochs),
            architecture=learning,
            loader=first,
            keep_snapshots=False,
        )
        archs = self.drawn(controller, task)
        pick, chosen = task.pick(trained, archs)
        scores = controller.arch_scores(task.report.archs)
        ranking = ScoreTable(task.report.archs, scores, task.report.set, chosen.stage, chosen.epoch)
        history = tuple({"stage": 1, **line} for line in trained.training.history)
        return MethodOutput(pick, (chosen, ranking), history)

    def drawn(self, controller: Controller, task: Task) -> np.ndarray:
        """`(n, edges)` what the controller draws within the limit; where it draws none, the arch there that it gives
        the highest probability."""
        limit, n = task.problem.limit, task.candidates or self.candidates
        archs = controller.sample_distinct(task.rng("candidates"), n, limit.holds if limit else None)
        if not len(archs):
            archs = task.within(task.space).archs()
            archs = archs[[int(np.argmax(controller.arch_scores(archs)))]]
        return archs

    def controller(self, task: Task) -> Controller:
        """The controller at its start."""
        from senas_bench.searching.controller import Controller

        return Controller(
            task.space,
            task.generator("controller"),
            hidden=self.hidden,
            layers=self.layers,
            temperature=self.temperature,
            tanh_constant=self.tanh_constant,
        )
