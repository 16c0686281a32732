"""What comes out of a training and of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.ranking.estimator import Reference
from senas_bench.spaces import Arch, SearchSpace

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.ranking.fresh import Fresh
    from senas_bench.training.result import Training
    from senas_bench.training.snapshots import Snapshots


@dataclass(frozen=True)
class Trained:
    """A trained supernet, as criteria and estimators see it.

    Args:
        phase: Name of the training phase, unique in the run.
        space: The space it was trained on.
        network: In its final state.
        training: Optimizer, snapshots and history.
        build: Makes a network over a space with fresh weights, the same at each call.
        fresh_networks: Stand-alone networks with fresh weights, by size, see `ranking.fresh`.
        references: By estimator, the archs of the space that an aggregate compares others with, and their scores.
        shared: Whether other runs may have the same training.
    """

    phase: str
    space: SearchSpace
    network: nn.Module
    training: Training
    build: Callable[[SearchSpace], nn.Module] | None = None
    fresh_networks: Callable[[str], Fresh] | None = None
    references: Mapping[str, Reference] = field(default_factory=dict)
    shared: bool = False

    @property
    def snapshots(self) -> Snapshots:
        """Of its weights: their mean, and each of them where the training kept them."""
        return self.training.snapshots

    def untrained(self, space: SearchSpace) -> nn.Module:
        """A network over `space` with fresh weights, such as the stand-alone one of `space.only(arch)`."""
        if self.build is None:
            raise ValueError(f"nobody said how to build another network of {self.phase}: give Trained a build")
        return self.build(space)

    def fresh(self, size: str) -> Fresh:
        """Stand-alone networks with fresh weights, for what is scored untrained; `size` is one of `fresh.SIZES`."""
        if self.fresh_networks is None:
            raise ValueError(f"nobody said how to build networks beside {self.phase}: give Trained fresh_networks")
        return self.fresh_networks(size)


SETS = ("full", "sample", "current", "candidates", "curve", "curve-current")
"""What a `ScoreTable` may hold."""


@dataclass(frozen=True)
class ScoreTable:
    """Scores of archs at one moment of a run.

    Args:
        archs: `(n, edges)`.
        scores: `(n,)`, higher is better.
        set: `full` (every arch of the space), `sample` (a fixed random sample of it), `current`
            (archs alive in the stage just trained), `candidates` (the few that a pick was made from), or, while a
            supernet trains, `curve` (a fixed sample of the whole space) and `curve-current` (archs alive then).
        stage: From 1.
        epoch: Epochs trained so far.
        tiers: `(n,)` of a hierarchical ranking, 0 on top; None means all 0.
    """

    archs: np.ndarray
    scores: np.ndarray
    set: str
    stage: int
    epoch: int
    tiers: np.ndarray | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: Not one score, or one tier, for each arch; scores that are no numbers; an unknown set.
        """
        if self.set not in SETS:
            raise ValueError(f"a ScoreTable of set {self.set!r:.40}; one of: {', '.join(SETS)}")
        for name, values in (("scores", self.scores), ("tiers", self.tiers)):
            if values is not None and np.shape(values) != (len(self.archs),):
                raise ValueError(f"{name} of shape {np.shape(values)} for {len(self.archs)} archs; give one for each")
        if missing := np.count_nonzero(np.isnan(self.scores)):
            raise ValueError(f"{missing} of {len(self.archs)} scores are nan; an arch that cannot be scored has -inf")


@dataclass(frozen=True)
class MethodOutput:
    """What a method returns.

    Args:
        pick: The arch that it chose.
        tables: Every ranking that was made; the last of set `full`, `sample` or `current` is what tables judge.
        history: What happened on the way, in order: JSON values by name.
    """

    pick: Arch
    tables: tuple[ScoreTable, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()


def rows_of(archs: np.ndarray, among: np.ndarray) -> np.ndarray:
    """`(n,)` rows of `among` that hold `archs` `(n, edges)`, each of which must be there."""
    place = {bytes(row): index for index, row in enumerate(among)}
    return np.array([place[bytes(row)] for row in archs])


@dataclass(frozen=True)
class Seen:
    """A network as it is in the middle of its training, for an estimator."""

    network: nn.Module
    snapshots: Snapshots
    build: Callable[[SearchSpace], nn.Module]
    fresh_networks: Callable[[str], Fresh]
    references: dict[str, Reference] = field(default_factory=dict)

    def untrained(self, space: SearchSpace) -> nn.Module:
        return self.build(space)

    def fresh(self, size: str) -> Fresh:
        return self.fresh_networks(size)
