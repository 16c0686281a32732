"""Ranking a whole space after shrinking (docs/method.md 2.3): who stayed longer ranks higher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from senas_bench.spaces import SearchSpace


def hierarchical_ranking(
    archs: np.ndarray, spaces: Sequence[SearchSpace], scores: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Tiers and scores of archs that left a shrinking space at different stages.

    Args:
        archs: `(n, edges)`.
        spaces: The space trained in each stage, each inside the one before.
        scores: Per stage `(n,)` one-shot scores taken at its end; read only for archs in its space.

    Returns:
        `(n,)` int8 tier: 0 for archs alive in the last stage, 1 for those dropped by the last
        shrink, and so on; and `(n,)` score of the last stage that had the arch. Tier 0 ranks above
        tier 1; scores compare within a tier only.
    """
    last_stage = np.zeros(len(archs), int)
    values = np.array(scores[0], float)
    for stage, (space, stage_scores) in enumerate(zip(spaces, scores, strict=True)):
        alive = space.contains_rows(archs)
        last_stage[alive] = stage
        values[alive] = stage_scores[alive]
    return (len(spaces) - 1 - last_stage).astype(np.int8), values
