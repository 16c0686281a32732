"""Operators that run beside each other, each with a weight: the relaxed form of a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights of operators, and which of them run, known without a look at the device where the weights are.

    Args:
        weights: `(edges, operators)`, with gradients where they learn.
        runs: Per edge and operator whether it runs; the weights of the others are 0.
    """

    weights: torch.Tensor
    runs: tuple[tuple[bool, ...], ...]

    @classmethod
    def of(cls, weights: torch.Tensor) -> Mixture:
        """All that have a weight other than 0 run. Waits for the device to tell."""
        return cls(weights, tuple(map(tuple, (weights.detach() != 0).tolist())))

    @property
    def passes(self) -> int:
        """Path evaluations that a pass counts as: the most operators that run on one edge."""
        return max(map(sum, self.runs))


def as_mixture(path: Mixture | torch.Tensor, shape: tuple[int, int], expanded: bool) -> Mixture:
    """A mixture that a network of `shape` (edges, operators) can run.

    Raises:
        ValueError: Another shape, or an expanded network.
    """
    weights = path.weights if isinstance(path, Mixture) else path
    if tuple(weights.shape) != shape:
        raise ValueError(f"operator weights of shape {tuple(weights.shape)}; {shape} are needed")
    if expanded:
        raise ValueError("an expanded network has no mixture: an operator is no longer one set of weights")
    return path if isinstance(path, Mixture) else Mixture.of(path)
