"""ProxylessNAS: binary gates on single paths, learned by gradient (Cai, Zhu and Han, ICLR 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.methods.expected_cost import ExpectedCost, most_probable_of_region
from senas_bench.methods.fbnet import LAYERED
from senas_bench.networks.mixture import Mixture
from senas_bench.tasks.method import LEARNED, Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.training.bilevel import Alphas, Batch


@dataclass(frozen=True)
class ProxylessNas(Method):
    """One path, drawn by the probabilities, runs in a step of the weights; two on each layer in a step of the logits.

    A step of the logits draws two operators of each layer without repetition, and one of these to be active: its gate
    is 1, the other's 0. The gradient in a gate is that of the loss in the weight of its operator, and reaches the
    logits by the derivative of a softmax over the two (Eq. 4). Both are then shifted alike, so that the probabilities
    of all other operators stay as they were (section 3.2.1). The loss is that of the released code,
    `alpha * cross-entropy * (log(cost) / log(target)) ** beta`, where the cost is the expected one over the two
    operators of each layer; without a limit there is no target, and it is the cross-entropy [code: ProxylessNAS].

    The pick is the most probable arch within the limit. The paper's is the most probable one, whatever it costs. The
    released code weighs all operators of a layer by default, one after the other (`full_v2`); this is the paper's two.
    Its identity is a block of zeros beside a shortcut and learns nothing while it is active; here identity is an
    operator like the others. Weights train by the recipe of the space on one half of the images, logits on the other
    half; the released code holds out 50,000 images, warms up by a rate of its own, and steps the weights first.

    Args:
        recipe: Recipe of the preset, for the weights; it trains the sum of the stages without a break.
        rest: Share of the epochs in which the weights learn alone, rounded down to whole ones: 40 of 160 [code].
        every: Steps of the weights for each of the logits [code]; no more than an epoch has.
        alpha, beta: Of the loss [code].
        arch_lr, arch_betas, arch_weight_decay: Of the logits' Adam, at a constant rate [code].
    """

    spaces = LAYERED
    bilevel = True
    trains_on = LEARNED
    recipe: str = "proxylessnas"
    rest: float = 0.25
    every: int = 5
    alpha: float = 0.2
    beta: float = 0.3
    arch_lr: float = 1e-3
    arch_betas: tuple[float, float] = (0.0, 0.999)
    arch_weight_decay: float = 0.0

    def __call__(self, task: Task) -> MethodOutput:
        from senas_bench.training.resting import RestingAlphas, rest_of

        alphas, first = task.alphas(
            task.space, "alphas", lr=self.arch_lr, betas=self.arch_betas, weight_decay=self.arch_weight_decay
        )
        epochs = sum(task.recipe.stage_epochs)
        gates = Gates(self, alphas, ExpectedCost.of(task))
        learning = RestingAlphas(
            alphas,
            gates.gradient,
            rest=rest_of(self.rest, epochs),
            every=min(self.every, len(first)),
            after=gates.keep_the_others,
        )
        trained = task.train(
            task.build(task.space),
            task.space,
            lambda rng: [sample_arch(alphas, rng)],
            phase="train",
            epochs=epochs,
            architecture=learning,
            loader=first,
            keep_snapshots=False,
        )
        return most_probable_of_region(task, trained, alphas)


def sample_arch(alphas: Alphas, rng: np.random.Generator) -> tuple[int, ...]:
    """One operator of each edge, drawn by its probability: the largest of logits and Gumbel noise."""
    return tuple(_noisy(alphas, rng).argmax(1).tolist())


def _noisy(alphas: Alphas, rng: np.random.Generator) -> np.ndarray:
    """`(edges, operators)` log-probabilities and Gumbel noise, -inf where an operator is not alive: the largest of an
    edge are a draw without repetition."""
    table = alphas.log_probabilities().detach().double().cpu().numpy()
    return table + rng.gumbel(size=table.shape)


class Gates:
    """The gates of two operators on each edge, and their gradient.

    Args:
        settings: The method.
        alphas: The logits.
        cost: Expected, of probabilities.
    """

    def __init__(self, settings: ProxylessNas, alphas: Alphas, cost: ExpectedCost) -> None:
        self.settings, self.alphas, self.cost = settings, alphas, cost
        self._drawn: torch.Tensor | None = None
        self._before: torch.Tensor | None = None

    def draw(self, rng: np.random.Generator) -> Mixture:
        """Gates, 1 for the active operator of each edge and 0 for the other that runs: a leaf that wants a gradient."""
        import torch

        noisy = _noisy(self.alphas, rng)
        table = self.alphas.log_probabilities().detach().double().cpu().numpy()
        gates, runs = np.zeros(noisy.shape, np.float32), np.zeros(noisy.shape, bool)
        for edge, row in enumerate(noisy):
            two = [op for op in np.argsort(-row, kind="stable")[:2].tolist() if np.isfinite(row[op])]
            share = np.exp(table[edge, two] - np.logaddexp.reduce(table[edge, two]))
            gates[edge, two[0] if rng.random() < share[0] else two[-1]] = 1
            runs[edge, two] = True
        weights = torch.from_numpy(gates).to(self.alphas.logits.device).requires_grad_()
        return Mixture(weights, tuple(map(tuple, runs.tolist())))

    def gradient(
        self,
        alphas: Alphas,
        network: nn.Module,
        train: Batch,
        valid: Batch,
        optimizer: torch.optim.Optimizer,
        rng: np.random.Generator,
    ) -> tuple[torch.Tensor, int]:
        """The `Gradient` of the loss: in the gates by a pass of the two paths, in the logits by the chain rule."""
        import torch

        path, (x, y) = self.draw(rng), valid
        entropy, slopes = gate_gradient(network, path, x, y)
        self._drawn = torch.tensor(path.runs, device=alphas.logits.device)
        self._before = alphas.logits.detach().clone()
        shares = torch.softmax(alphas.logits.masked_fill(~self._drawn, float("-inf")), dim=1)
        loss = (slopes * shares).sum()  # its gradient in the logits is that of the cross-entropy, by Eq. 4
        if self.cost.target is not None:
            factor = (self.cost(shares).log() / math.log(self.cost.target)) ** self.settings.beta
            loss = self.settings.alpha * (loss * factor.detach() + entropy * factor)
        (gradient,) = torch.autograd.grad(loss, [alphas.logits])
        alphas.ran(path, len(y))
        return gradient, path.passes

    def keep_the_others(self) -> None:
        """Shift the two logits of each edge by what leaves their joint weight as it was before the step."""
        import torch

        assert self._drawn is not None and self._before is not None
        with torch.no_grad():
            logits, hidden = self.alphas.logits, ~self._drawn
            totals = [table.masked_fill(hidden, float("-inf")).logsumexp(1) for table in (logits, self._before)]
            logits.sub_((totals[0] - totals[1])[:, None] * self._drawn)


def gate_gradient(
    network: nn.Module, path: Mixture, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cross-entropy, a scalar, and its `(edges, operators)` gradient in the gates of `path`, without their own
    gradients. No weight moves and no `grad` is touched."""
    import torch

    from senas_bench.training.bilevel import spared

    with spared(network):
        entropy = torch.nn.functional.cross_entropy(network(x, path), y)
    if not entropy.requires_grad:  # no operator with an output runs between the input and the output
        return entropy, torch.zeros_like(path.weights)
    (slopes,) = torch.autograd.grad(entropy, [path.weights], materialize_grads=True)
    return entropy.detach(), slopes
