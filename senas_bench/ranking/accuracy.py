"""P(a), the performance of an arch estimated from K weight snapshots (Eq. 4 and its alternatives)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.ranking.score_archs import Evaluation
    from senas_bench.training.snapshots import Snapshots

T = TypeVar("T")
ESTIMATORS = ("weight-average", "snapshot-accuracy", "snapshot-loglik", "snapshot-loglik-size")
LOGLIK = ("snapshot-loglik", "snapshot-loglik-size")
"""Those in nats."""
SIZE_NATS = 0.2
"""What `snapshot-loglik-size` adds per unit of ln(parameters); what supports it: `results/README.md`. Another value
needs another name of estimator, because a spec holds the name alone."""


def estimate(
    network: nn.Module,
    snapshots: Snapshots,
    archs: np.ndarray,
    evaluation: Evaluation,
    estimator: str,
    tick: Callable[[float], None] = lambda share: None,
    parameters: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """P(a) for each arch.

    - `weight-average`: accuracy with the average of the snapshots (Eq. 4, the paper's).
    - `snapshot-accuracy`: mean accuracy over the snapshots, percent.
    - `snapshot-loglik`: mean log-likelihood of the label over the snapshots, nats.
    - `snapshot-loglik-size`: the same plus `SIZE_NATS` ln(parameters): a log-likelihood and a log-prior that prefers
      large archs, which a supernet of few epochs underrates. Ours; a ranking by it knows the size, so it is to be
      compared with one by parameters alone.

    The snapshots share the validation batches out among themselves, because weights differ more between
    snapshots than scores between images; docs/method.md 2.1 scores every snapshot on the whole validation set. With at
    least as many batches as snapshots all estimators cost the same, with fewer each snapshot still scores one
    batch. Every arch meets the same pairs of snapshot and batch.

    Args:
        archs: `(n, edges)`.
        tick: Told now and then which share of the work is done.
        parameters: `(n,)` of each arch trained alone at this width and depth; only `snapshot-loglik-size` reads them.

    Returns:
        `(n,)` estimates, higher is better; and the work: `archs_scored` and `forward_paths` (evaluations of
        a distinct arch with one set of weights) and `images_scored`. The network keeps its own weights.

    Raises:
        ValueError: Unknown estimator, or it needs snapshots that were not kept, or parameters that were not given.
    """
    from senas_bench.ranking.score_archs import score_archs

    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; one of: {', '.join(ESTIMATORS)}")
    prior = np.zeros(len(archs))
    if estimator == "snapshot-loglik-size":
        if parameters is None:
            raise ValueError(f"{estimator} needs the parameters of the archs")
        prior = SIZE_NATS * np.log(parameters)
    states = [snapshots.mean] if estimator == "weight-average" else snapshots.states
    if not states:
        raise ValueError(f"{estimator} needs the snapshots themselves; train with keep_snapshots=True")
    own = {name: value.clone() for name, value in network.state_dict().items()}
    total = np.zeros(len(archs))
    passes = images = 0
    try:
        for k, state in enumerate(states):
            network.load_state_dict(state)
            part = replace(evaluation, batches=share_of(evaluation.batches, k, len(states)))
            accuracy, loglik, distinct = score_archs(
                network, archs, part, lambda share, k=k: tick((k + share) / len(states))
            )
            total += loglik if estimator in LOGLIK else accuracy
            passes += distinct
            images += distinct * part.images
    finally:
        network.load_state_dict(own)
    return total / len(states) + prior, {"archs_scored": passes, "forward_paths": passes, "images_scored": images}


def share_of(batches: Sequence[T], k: int, count: int) -> list[T]:
    """The batches that snapshot `k` of `count` scores: every `count`-th, or one where there are fewer."""
    if not batches:
        raise ValueError("no validation batches to score on; score_images must be at least score_batch")
    return list(batches[k::count]) if len(batches) >= count else [batches[k % len(batches)]]
