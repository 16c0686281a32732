"""P(a), the performance of an arch estimated from K weight snapshots (Eq. 4 and its alternatives)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

from senas_bench.training.snapshots import Snapshots

from .score_archs import Evaluation, score_archs

ESTIMATORS = ("weight-average", "snapshot-accuracy", "snapshot-loglik")


def estimate(
    network: nn.Module,
    snapshots: Snapshots,
    archs: np.ndarray,
    evaluation: Evaluation,
    estimator: str,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[np.ndarray, int]:
    """P(a) for each arch.

    - `weight-average`: accuracy with the average of the snapshots (Eq. 4, the paper's).
    - `snapshot-accuracy`: mean accuracy over the snapshots, percent.
    - `snapshot-loglik`: mean log-likelihood of the label over the snapshots, nats.

    Args:
        archs: `(n, edges)`.
        tick: Told now and then which share of the work is done.

    Returns:
        `(n,)` estimates, higher is better, and the number of forward passes of the validation set.
        The network's own weights are what they were before.

    Raises:
        ValueError: Unknown estimator.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; one of: {', '.join(ESTIMATORS)}")
    states = [snapshots.mean] if estimator == "weight-average" else snapshots.states
    own = {name: value.clone() for name, value in network.state_dict().items()}
    total = np.zeros(len(archs))
    passes = 0
    try:
        for k, state in enumerate(states):
            network.load_state_dict(state)
            accuracy, loglik, distinct = score_archs(
                network, archs, evaluation, lambda share, k=k: tick((k + share) / len(states))
            )
            total += loglik if estimator == "snapshot-loglik" else accuracy
            passes += distinct
    finally:
        network.load_state_dict(own)
    return total / len(states), passes
