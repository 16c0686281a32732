"""Training a found arch from scratch, as the last part of a search (paper section 4.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from senas_bench.spaces import Arch
from senas_bench.tasks.method import Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task
from senas_bench.tasks.work import Budget
from senas_bench.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.data.loader import Batch
    from senas_bench.data.loading import Retraining


def retrain(task: Task, arch: Arch, recipe: TrainingRecipe, images: Retraining) -> tuple[dict[str, Any], Budget]:
    """Train `arch` alone, with affine batch norm everywhere, and test it with its running statistics.

    Args:
        recipe: Trains the sum of its stages.

    Returns:
        A line of history, accuracies in percent; and the work, booked as search of a budget of its own.
    """
    alone = replace(
        task,
        recipe=recipe,
        work=replace(task.work, budget=Budget()),
        report=replace(task.report, curve=None),
    )
    space = task.space.only(arch)
    network = alone.build(space, affine=True)
    epochs = sum(recipe.stage_epochs)
    trained = alone.train(
        network, space, lambda rng: [arch], phase="retrain", epochs=epochs, loader=images.train, keep_snapshots=False
    )
    top1, top5, count = accuracy(network, arch, images.test, recipe.precision == "bfloat16")
    line = {"phase": "retrain", "epoch": epochs, "loss": trained.training.history[-1]["loss"], "split": images.split}
    return {**line, "images": count, "top1": top1, "top5": top5}, alone.work.budget


def accuracy(network: nn.Module, arch: Arch, batches: Iterable[Batch], half: bool = False) -> tuple[float, float, int]:
    """Top-1 and top-5 accuracy in percent with running statistics, and the number of images.

    Args:
        half: bfloat16 autocast. Runs whose recipe says `amp`, and no precision, are tested in float32.
    """
    import torch

    from senas_bench.ranking.batchnorm import evaluation_mode

    device = next(network.parameters()).device
    right, images = torch.zeros(2, dtype=torch.long, device=device), 0
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=half)
    with torch.inference_mode(), evaluation_mode(network, "running"), autocast:
        for x, y in batches:
            logits = network(x, arch)
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices == y[:, None]
            right += torch.stack([best[:, 0].sum(), best.sum()])
            images += len(y)
    top1, top5 = (100 * right / images).tolist()
    return top1, top5, images


@dataclass(frozen=True)
class Fixed(Method):
    """No search: the arch that the spec gives. What is asked of it comes after, such as training it from scratch."""

    trains = False
    ranks = False
    recipe: str = "reference"

    def __call__(self, task: Task) -> MethodOutput:
        if task.problem.arch is None:
            raise ValueError("method 'fixed' needs an arch in its spec")
        return MethodOutput(task.problem.arch)
