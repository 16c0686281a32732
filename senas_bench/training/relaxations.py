"""Other mixtures than the softmax of one edge: independent switches (Fair DARTS), and weights of edges (PC-DARTS)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import nn

from senas_bench.spaces import SPACES, SearchSpace
from senas_bench.training.bilevel import Alphas


class Switches(Alphas):
    """A sigmoid for each operator: none competes with another for its weight (Fair DARTS).

    `probabilities` are the sigmoids, which need not add up to 1. `none` is no operator here: leave it out of the space.
    Where an edge may be `none`, that scores as high as it is likely that the edge's strongest operator is off.
    """

    def log_probabilities(self) -> torch.Tensor:
        return nn.functional.logsigmoid(self.logits).masked_fill(~self.alive, float("-inf"))

    def choice_scores(self) -> np.ndarray:
        table = super().choice_scores()
        if self._left_out is None:
            off = self.logits.detach().double().masked_fill(~self.alive, float("-inf")).amax(1)
            dead = (~self.alive).cpu().numpy()
            table = np.where(dead, nn.functional.logsigmoid(-off).cpu().numpy()[:, None], table)
        return table

    def zero_one_loss(self) -> torch.Tensor:
        """Minus the mean square of what the sigmoids are away from 1/2: it falls as they go to 0 and 1."""
        return -(torch.sigmoid(self.logits[self.alive]) - 0.5).square().mean()


class NormalizedEdges(Alphas):
    """The softmax of each edge times the edge's share among those into the same node, a softmax of its own: the edge
    normalization of PC-DARTS. The logit of an edge stands behind those of its operators.

    Raises:
        ValueError: Nobody said which edges of the space lead into a node.
    """

    more = 1

    def __init__(self, space: SearchSpace, *parts: Any, **settings: Any) -> None:
        super().__init__(space, *parts, **settings)
        self.nodes = [list(edges) for edges in itertools.chain(*SPACES[space.name].cells)]
        if sorted(itertools.chain(*self.nodes)) != list(range(len(space.edges))):
            raise ValueError(f"space {space.name} has no cells: its Space must say which edges lead into each node")

    def shares(self) -> torch.Tensor:
        """`(edges,)` of each edge among those into its node: they add up to 1."""
        of_edges = self.logits[:, -1]
        shares = torch.zeros_like(of_edges)
        for edges in self.nodes:
            shares = shares.index_copy(0, torch.tensor(edges, device=shares.device), of_edges[edges].softmax(0))
        return shares

    def weights(self) -> torch.Tensor:
        return self.probabilities() * self.shares()[:, None]

    def choice_scores(self) -> np.ndarray:
        """Of products of both weights [code]; `none` as in `Alphas`."""
        table = super().choice_scores()
        shares = self.shares().detach().double().log().cpu().numpy()[:, None] + np.zeros_like(table)
        if self._left_out is not None:
            shares[:, self._left_out] = 0.0
        return table + shares
