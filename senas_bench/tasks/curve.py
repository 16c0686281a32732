"""The rankings of a shrinking supernet while it trains: tau over epochs, as Fig. 7 of the SE-NAS paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.ranking.hierarchical import hierarchical_ranking
from senas_bench.spaces import SearchSpace
from senas_bench.tasks.outputs import ScoreTable, rows_of
from senas_bench.tasks.report import Curve

if TYPE_CHECKING:
    from senas_bench.training.result import Observation


@dataclass
class ShrinkingCurve:
    """Collects, stage by stage, what was seen: the set `curve-current`, and `curve`, where archs dropped earlier rank
    below by their last score.

    Args:
        curve: Asked for by the task.
        stage_epochs: Of the recipe.
        tables: What was collected.
    """

    curve: Curve
    stage_epochs: Sequence[int]
    tables: list[ScoreTable] = field(default_factory=list)
    _spaces: list[SearchSpace] = field(default_factory=list)
    _ends: list[np.ndarray] = field(default_factory=list)

    def epochs(self) -> set[int]:
        """Epochs of the next stage after which to look, counted from its start."""
        first, length = self._first(), self.stage_epochs[len(self._spaces)]
        return {epoch - first for epoch in self.curve.epochs(self.stage_epochs) if first < epoch <= first + length}

    def take(self, space: SearchSpace, alive: np.ndarray, observed: Mapping[int, Observation]) -> None:
        """A stage is over.

        Args:
            space: It trained.
            alive: `(n, edges)` archs that were watched; all of `curve.archs` in `space` are among them.
            observed: By epoch of the stage.
        """
        first = self._first()
        self._spaces.append(space)
        values = self._ends[-1] if self._ends else np.zeros(len(self.curve.archs))  # for a stage without epochs
        for epoch, seen in sorted(observed.items()):
            by_arch = dict(zip(map(bytes, alive), seen.scores, strict=True))
            values = np.array([by_arch.get(bytes(row), np.nan) for row in self.curve.archs])
            tiers, ranked = hierarchical_ranking(self.curve.archs, self._spaces, [*self._ends, values])
            self._add(alive, seen.scores, "curve-current", first + epoch)
            self._add(self.curve.archs, ranked, "curve", first + epoch, tiers)
        self._ends.append(values)

    def finish(self, current: ScoreTable, whole: ScoreTable) -> list[ScoreTable]:
        """All tables; the last point is the final ranking.

        Args:
            current: Archs alive at the end.
            whole: Ranking that holds all of `curve.archs`.
        """
        rows = rows_of(self.curve.archs, whole.archs)
        self._add(current.archs, current.scores, "curve-current", whole.epoch)
        self._add(
            self.curve.archs,
            whole.scores[rows],
            "curve",
            whole.epoch,
            None if whole.tiers is None else whole.tiers[rows],
        )
        return self.tables

    def _first(self) -> int:
        return sum(self.stage_epochs[: len(self._spaces)])

    def _add(
        self, archs: np.ndarray, scores: np.ndarray, name: str, epoch: int, tiers: np.ndarray | None = None
    ) -> None:
        self.tables.append(ScoreTable(archs, scores, name, len(self._spaces), epoch, tiers))
