"""Learning an architecture beside the weights: what DARTS, GDAS, SETN and ENAS have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from senas_bench.networks.mixture import Mixture
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.cost import CostTable
from senas_bench.training.price import STEP, passes_price
from senas_bench.training.samplers import Path

Batch = tuple[torch.Tensor, torch.Tensor]
Counts = Mapping[str, int]
"""Work done, by names of `tasks.work.COUNTERS`."""


class Architecture(Protocol):
    """An architecture that learns in `training.loop.train`, on images that the weights do not see.

    All its randomness comes from the arguments, and `tensors` holds all its state, so that a resumed
    training goes on as if it had not stopped. One that may end the training early has an attribute `finished`, which is
    read at the end of each epoch and is part of its state.
    """

    def begin_epoch(self, share: float, generator: torch.Generator) -> None:
        """An epoch begins; `share` of the epochs are done, `generator` orders the images."""

    def step(
        self, network: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, rng: np.random.Generator
    ) -> Counts:
        """Comes before each step of the weights: `batch` is what they will train on, `optimizer` theirs, with the
        rate of the step set. Gradients left on the weights are cleared by the loop."""
        ...

    def end_epoch(self, network: nn.Module, rng: np.random.Generator, generator: torch.Generator) -> Counts:
        """An epoch is over."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """All state, for a checkpoint."""
        ...

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `tensors`."""


Gradient = Callable[
    ["Alphas", nn.Module, Batch, Batch, torch.optim.Optimizer, np.random.Generator], tuple[torch.Tensor, int]
]
"""`(alphas, network, batch of the weights, batch of the logits, optimizer of the weights, rng)` to the gradient in the
logits, `(edges, operators)`, and the path evaluations that it took, forward and backward alike, which it also tells
`Alphas.ran`. No weight moves."""


class Alphas:
    """Architecture parameters: one logit per alive operator, with their optimizer and their images.

    Args:
        space: Operators that are not alive have probability 0 and never get a gradient. Where its rule leaves edges
            out, `none` has a weight as all operators, and no score.
        loader: Images of the architecture, as `TrainLoader`.
        generator: Draws the start, 1e-3 times standard normal [code: AutoDL-Projects].
        lr, betas, weight_decay: Of Adam.
        device: Where the logits live.
        cost: Of archs at this size; None leaves the multiply-adds of their steps uncounted.
    """

    more = 0
    """Parameters of an edge beside its logits, in columns behind these."""

    def __init__(
        self,
        space: SearchSpace,
        loader: Any,
        generator: torch.Generator,
        *,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        weight_decay: float = 1e-3,
        device: torch.device | str = "cpu",
        cost: CostTable | None = None,
    ) -> None:
        edges, self.operators = len(space.edges), len(space.operators)
        shape = (edges, self.operators + self.more)
        self.logits = nn.Parameter((1e-3 * torch.randn(shape, generator=generator)).to(device))
        self.runs = tuple(tuple(op in alive for op in range(self.operators)) for alive in space.candidates)
        self.alive = torch.tensor(self.runs).to(device)
        self._left_out = None if space.rule is None else space.rule.none
        self.loader = loader
        self.optimizer = torch.optim.Adam([self.logits], lr=lr, betas=betas, weight_decay=weight_decay)
        self._batches: Iterator[Batch] = iter(())
        self._cost = cost
        self._ran: list[tuple[Mixture, int]] = []

    def log_probabilities(self) -> torch.Tensor:
        """`(edges, operators)` log softmax over each edge's alive operators, -inf elsewhere."""
        return torch.log_softmax(self.logits[:, : self.operators].masked_fill(~self.alive, float("-inf")), dim=1)

    def probabilities(self) -> torch.Tensor:
        """`(edges, operators)` softmax over each edge's alive operators."""
        return self.log_probabilities().exp()

    def weights(self) -> torch.Tensor:
        """`(edges, operators)` what the outputs of operators are multiplied by in the mixture."""
        return self.probabilities()

    def relaxed(self) -> Mixture:
        """The mixture as it is now: all alive operators, with the gradient of the logits."""
        return Mixture(self.weights(), self.runs)

    def mixture(self, rng: np.random.Generator) -> list[Path]:
        """The path sampler of a step of the weights: `relaxed`, without gradients."""
        return [Mixture(self.weights().detach(), self.runs)]

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Put the images in a new order."""
        self._batches = self.loader.epoch(generator)

    def next_batch(self) -> Batch:
        """The next images; the loader must hold as many batches as an epoch has steps."""
        return next(self._batches)

    def apply(self, gradient: torch.Tensor) -> None:
        """One step of Adam with `gradient`, of the shape of the logits."""
        dead = nn.functional.pad(~self.alive, (0, self.more), value=False)
        self.logits.grad = gradient.masked_fill(dead, 0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def ran(self, path: Mixture, images: int) -> None:
        """Remember that a step of the logits passed so many images forward and backward through `path`."""
        self._ran.append((replace(path, weights=path.weights.detach()), images))

    def price(self) -> dict[str, int]:
        """The `multiply_adds` of all that ran since it was last asked; nothing where costs are not known."""
        ran, self._ran = self._ran, []
        if self._cost is None:
            return {}
        by_images: dict[int, list[Path]] = {}
        for path, images in ran:
            by_images.setdefault(images, []).append(path)
        return {
            "multiply_adds": sum(STEP * images * passes_price(self._cost, paths) for images, paths in by_images.items())
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Logits and the state of Adam, for a checkpoint."""
        state = self.optimizer.state.get(self.logits, {})
        return {"logits": self.logits.detach(), **{f"adam-{name}": value for name, value in state.items()}}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `tensors`."""
        with torch.no_grad():
            self.logits.copy_(tensors["logits"])
        state = {name.removeprefix("adam-"): value for name, value in tensors.items() if name.startswith("adam-")}
        if state:
            state["step"] = state["step"].cpu()
            self.optimizer.state[self.logits].update(state)

    def choice_scores(self) -> np.ndarray:
        """`(edges, operators)` float64: how strongly the relaxation chooses each operator, whose sum ranks archs.

        Log-probabilities; but 0 for `none` where the rule of the space leaves edges out by it: a cell then takes the
        edges whose other operators are the most probable [code: DARTS], whatever the probability of `none`.
        """
        table = self.log_probabilities().detach().double().cpu().numpy()
        if self._left_out is not None:
            table[:, self._left_out] = 0.0
        return table

    def arch_scores(self, archs: np.ndarray) -> np.ndarray:
        """`(n,)` sums of `choice_scores` of archs `(n, edges)`: the ranking that a relaxation implies."""
        return self.choice_scores()[np.arange(archs.shape[1]), archs].sum(1)


def first_order(
    alphas: Alphas,
    network: nn.Module,
    train: Batch,
    valid: Batch,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, int]:
    """The `Gradient` of first-order DARTS (Liu et al., ICLR 2019, xi = 0 in Eq. 6): of the loss of the mixture on the
    logits' own images, with the weights as they are."""
    return gradient_through(alphas.relaxed(), alphas, network, valid)


def gradient_through(path: Mixture, alphas: Alphas, network: nn.Module, batch: Batch) -> tuple[torch.Tensor, int]:
    """`(edges, operators)` gradient in the logits of the cross-entropy on `batch`, and the path evaluations it took.

    It is float32 even where the recipe has bfloat16. No weight moves and no `grad` is touched; batch norm's running
    statistics see the images.

    Args:
        path: Made from the logits.
    """
    x, y = batch
    with spared(network):
        loss = nn.functional.cross_entropy(network(x, path), y)
    # zeros where no logit has a part in the loss: a path of `none` from the input to the output
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, [alphas.logits], materialize_grads=True)
    else:
        gradient = torch.zeros_like(alphas.logits)
    alphas.ran(path, len(y))
    return gradient, path.passes


@contextmanager
def spared(network: nn.Module) -> Iterator[None]:
    """What runs inside has no gradients of the weights: a way back that asks for none need not compute them."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


class LearningAlphas:
    """The `Architecture` of every method whose architecture is a table of logits.

    Args:
        alphas: The logits, changed in place by one step of Adam before each step of the weights.
        gradient: What they go down.
        begin_epoch: Told the share of the epochs done, to lower a temperature for instance.
        warm_up: Share of the epochs, the first ones, in which the weights alone learn.
    """

    def __init__(
        self,
        alphas: Alphas,
        gradient: Gradient = first_order,
        begin_epoch: Callable[[float], None] | None = None,
        warm_up: float = 0.0,
    ) -> None:
        self.alphas = alphas
        self._gradient = gradient
        self._begin_epoch = begin_epoch
        self._warm_up, self._rests = warm_up, False

    def begin_epoch(self, share: float, generator: torch.Generator) -> None:
        """See `Architecture`."""
        self.alphas.begin_epoch(generator)
        self._rests = share < self._warm_up
        if self._begin_epoch:
            self._begin_epoch(share)

    def step(
        self, network: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, rng: np.random.Generator
    ) -> Counts:
        """One step of the logits. Images of `batch` are those of the weights' step and not counted again."""
        if self._rests:
            return {}
        valid = self.alphas.next_batch()
        gradient, passes = self._gradient(self.alphas, network, batch, valid, optimizer, rng)
        self.alphas.apply(gradient)
        return {"images_trained": len(valid[1]), "forward_paths": passes, "backward_paths": passes}

    def end_epoch(self, network: nn.Module, rng: np.random.Generator, generator: torch.Generator) -> Counts:
        """What the steps of the logits cost."""
        return self.alphas.price()

    def tensors(self) -> dict[str, torch.Tensor]:
        """See `Architecture`."""
        return self.alphas.tensors()

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """See `Architecture`."""
        self.alphas.load(tensors)
