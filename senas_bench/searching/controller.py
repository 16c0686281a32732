"""The controller of ENAS: an LSTM that draws archs edge by edge, and REINFORCE, which trains it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from senas_bench.spaces import SearchSpace

MAX_ROUNDS = 20
"""Rounds of n draws in `Controller.sample_distinct` before it gives back fewer than n."""


class Controller(nn.Module):
    """A distribution over archs: the operator of each edge depends on those of the edges before it.

    Logits of an edge are `tanh_constant * tanh(linear(h) / temperature)`, which keeps the largest odds at
    `exp(2 * tanh_constant)`. Sizes and constants are those of the NB201 reference [code: AutoDL-Projects], the
    start uniform in +-0.1 is the paper's (Pham et al., ICML 2018). It lives on the CPU, where six steps of so small an
    LSTM cost less than launching them.

    Args:
        space: Operators that are not alive have probability 0.
        generator: Draws the start.
        hidden, layers: Of the LSTM.
        temperature, tanh_constant: Of the logits.
    """

    alive: torch.Tensor

    def __init__(
        self,
        space: SearchSpace,
        generator: torch.Generator,
        *,
        hidden: int = 32,
        layers: int = 2,
        temperature: float = 5.0,
        tanh_constant: float = 2.5,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.tanh_constant = tanh_constant
        self.start = nn.Parameter(torch.empty(hidden))
        self.lstm = nn.LSTM(hidden, hidden, layers)
        self.embedding = nn.Embedding(len(space.operators), hidden)
        self.head = nn.Linear(hidden, len(space.operators))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=generator)
        alive = torch.zeros(len(space.edges), len(space.operators), dtype=torch.bool)
        alive[tuple(zip(*space.alive(), strict=True))] = True
        self.register_buffer("alive", alive, persistent=False)

    def forward(self, archs: torch.Tensor) -> torch.Tensor:
        """`(n, edges, operators)` log-probabilities of each edge's operators, given the operators that `archs`
        `(n, edges)` int64 has on the edges before it (teacher forcing)."""
        start = self.start.expand(1, len(archs), -1)
        outputs, _ = self.lstm(torch.cat([start, self.embedding(archs.T[:-1])]))
        return self._log_softmax(outputs, self.alive[:, None]).transpose(0, 1)

    def _log_softmax(self, outputs: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        logits = self.tanh_constant * torch.tanh(self.head(outputs) / self.temperature)
        return torch.log_softmax(logits.masked_fill(~alive, float("-inf")), dim=-1)

    @torch.no_grad()
    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(n, edges)` int8: n independent archs."""
        draws = rng.random((n, len(self.alive)))
        archs = np.empty(draws.shape, np.int8)
        inputs, state = self.start.expand(1, n, -1), None
        for edge, alive in enumerate(self.alive):
            outputs, state = self.lstm(inputs, state)
            archs[:, edge] = _invert(self._log_softmax(outputs[0], alive).exp().double().numpy(), draws[:, edge])
            inputs = self.embedding(torch.from_numpy(archs[:, edge]).long())[None]
        return archs

    def sample_distinct(
        self, rng: np.random.Generator, n: int, holds: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> np.ndarray:
        """`(m, edges)` int8: the first n distinct archs in a row of draws; fewer where the space is smaller or almost
        all probability lies on fewer.

        Args:
            holds: `(n,)` bool of archs `(n, edges)`: which may be given. None: all.
        """
        found: dict[tuple[int, ...], None] = {}
        for _ in range(MAX_ROUNDS):
            archs = self.sample(rng, n)
            found.update(dict.fromkeys(map(tuple, (archs if holds is None else archs[holds(archs)]).tolist())))
            if len(found) >= n:
                break
        return np.array(list(found)[:n], np.int8).reshape(-1, len(self.alive))

    @torch.no_grad()
    def arch_scores(self, archs: np.ndarray) -> np.ndarray:
        """`(n,)` log-probability of archs `(n, edges)`: the ranking that the controller implies."""
        chosen = torch.from_numpy(archs).long()
        return _of(self(chosen), chosen).double().sum(1).numpy()


class Reinforce:
    """Trains a controller to draw archs of high reward (Williams 1992; Pham et al., Section 2.2).

    The reward of an arch is its accuracy minus `entropy_weight * log p(arch)`, a number without a gradient of its own:
    on average that is the entropy of the controller, and so is the gradient that REINFORCE makes of it. (The entropies
    of the choices on the way of an arch, which AutoDL-Projects takes, miss their own gradient when they are numbers;
    it lets the gradient flow, with the sign that lowers the entropy.) The baseline is the moving average of the
    rewards so far, this one included, and starts at the first. (AutoDL-Projects moves its baseline only once an epoch.)

    Args:
        controller: Trained in place.
        lr, betas, eps: Of Adam.
        entropy_weight: In units of accuracy (a fraction) per nat.
        baseline_decay: Share of the baseline that a sample leaves as it is.
        clip: Largest norm of the gradient.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.0, 0.999),
        eps: float = 1e-3,
        entropy_weight: float = 1e-4,
        baseline_decay: float = 0.99,
        clip: float = 5.0,
    ) -> None:
        self.controller = controller
        self.optimizer = torch.optim.Adam(controller.parameters(), lr=lr, betas=betas, eps=eps)
        self.entropy_weight = entropy_weight
        self.baseline_decay = baseline_decay
        self.clip = clip
        self.baseline = math.nan

    def update(self, archs: np.ndarray, accuracies: torch.Tensor) -> None:
        """One step of Adam on the mean of the samples.

        Args:
            archs: `(n, edges)`, drawn from the controller as it is.
            accuracies: `(n,)` fractions.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(archs, accuracies).backward()
        nn.utils.clip_grad_norm_(self.controller.parameters(), self.clip)
        self.optimizer.step()

    def loss(self, archs: np.ndarray, accuracies: torch.Tensor) -> torch.Tensor:
        """Scalar whose gradient is that of REINFORCE, `-mean((reward - baseline) * log p(arch))`; moves the baseline,
        sample by sample."""
        chosen = torch.from_numpy(archs).long()
        logs = _of(self.controller(chosen), chosen).sum(1)
        rewards = accuracies - self.entropy_weight * logs.detach()
        return -(torch.tensor([self._advantage(reward) for reward in rewards.tolist()]) * logs).mean()

    def _advantage(self, reward: float) -> float:
        if math.isnan(self.baseline):
            self.baseline = reward
        self.baseline += (1 - self.baseline_decay) * (reward - self.baseline)
        return reward - self.baseline

    def tensors(self) -> dict[str, torch.Tensor]:
        """Controller, Adam and baseline, for a checkpoint."""
        adam = self.optimizer.state_dict()["state"]
        return {
            "baseline": torch.tensor(self.baseline, dtype=torch.float64),
            **{f"controller.{name}": value for name, value in self.controller.state_dict().items()},
            **{f"adam.{index}.{name}": value for index, state in adam.items() for name, value in state.items()},
        }

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `tensors`."""
        self.baseline = float(tensors["baseline"])
        parts: dict[str, dict[str, torch.Tensor]] = {"controller": {}, "adam": {}}
        for key, value in tensors.items():
            head, _, name = key.partition(".")
            if name:
                parts[head][name] = value
        self.controller.load_state_dict(parts["controller"])
        adam: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in parts["adam"].items():
            index, _, name = key.partition(".")
            adam.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": adam})


def _of(conditional: torch.Tensor, archs: torch.Tensor) -> torch.Tensor:
    """`(n, edges)`: of `(n, edges, operators)` log-probabilities those of the operators that `archs` has."""
    return conditional.gather(2, archs[..., None])[..., 0]


def _invert(probabilities: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """`(n,)` operators at which the sum of `(n, operators)` float64 first exceeds `(n,)` draws from [0, 1).

    An operator of probability 0 adds nothing, so it is never the first; the division makes the last sum exactly 1.
    """
    sums = probabilities.cumsum(1)
    return (sums / sums[:, -1:] <= draws[:, None]).sum(1)
