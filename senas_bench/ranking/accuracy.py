"""P(a), the performance of an arch estimated from K weight snapshots (Eq. 4 and its alternatives)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from senas_bench.training.snapshots import Snapshots, State

from .score_archs import Evaluation, score_archs

T = TypeVar("T")
ESTIMATORS = ("weight-average", "snapshot-accuracy", "snapshot-loglik", "robust-loglik")
PERTURBATION = 0.5
"""Standard deviation of the noise of `robust-loglik`, as a share of the weight it is added to."""


def estimate(
    network: nn.Module,
    snapshots: Snapshots,
    archs: np.ndarray,
    evaluation: Evaluation,
    estimator: str,
    tick: Callable[[float], None] = lambda share: None,
    seed: int = 0,
) -> tuple[np.ndarray, dict[str, int]]:
    """P(a) for each arch.

    - `weight-average`: accuracy with the average of the snapshots (Eq. 4, the paper's).
    - `snapshot-accuracy`: mean accuracy over the snapshots, percent.
    - `snapshot-loglik`: mean log-likelihood of the label over the snapshots, nats.
    - `robust-loglik`: half the snapshots as they are, by log-likelihood, and half with Gaussian noise on the
      convolutions (`perturb`), by accuracy; each standardised over the archs given, then averaged. The noise asks
      how flat the loss is around an arch's weights, which was found to tell archs apart (Zhang et al., NA-DARTS,
      KDD 2021; Jeong et al., GeNAS, IJCAI 2023). The mixture of the two is ours; it ranks, and has no unit.

    The snapshots share the validation batches out among themselves, because weights differ more between
    snapshots than scores between images; METHOD 2.1 scores every snapshot on the whole validation set. With at
    least as many batches as snapshots all estimators cost the same, with fewer each snapshot still scores one
    batch. Every arch meets the same pairs of snapshot and batch.

    Args:
        archs: `(n, edges)`.
        tick: Told now and then which share of the work is done.
        seed: Of the noise. All archs meet the same noise, but for what the copies of an expanded network hold.

    Returns:
        `(n,)` estimates, higher is better; and the work: `archs_scored` and `forward_paths` (evaluations of
        a distinct arch with one set of weights) and `images_scored`. The network keeps its own weights.

    Raises:
        ValueError: Unknown estimator, or it needs snapshots that were not kept.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; one of: {', '.join(ESTIMATORS)}")
    states = [snapshots.mean] if estimator == "weight-average" else snapshots.states
    if not states:
        raise ValueError(f"{estimator} needs the snapshots themselves; train with keep_snapshots=True")
    own = {name: value.clone() for name, value in network.state_dict().items()}
    robust = estimator == "robust-loglik"
    if robust and len(states) < 2:
        raise ValueError("robust-loglik needs at least 2 snapshots: every other one gets noise")
    sums = np.zeros((2, len(archs)))
    passes = images = 0
    try:
        for k, state in enumerate(states):
            noisy = robust and k % 2 == 1
            network.load_state_dict(perturb(state, seed + k) if noisy else state)
            part = replace(evaluation, batches=share_of(evaluation.batches, k, len(states)))
            accuracy, loglik, distinct = score_archs(
                network, archs, part, lambda share, k=k: tick((k + share) / len(states))
            )
            sums[int(noisy)] += loglik if estimator == "snapshot-loglik" or (robust and not noisy) else accuracy
            passes += distinct
            images += distinct * part.images
    finally:
        network.load_state_dict(own)
    scores = sum(map(_standardise, sums)) / 2 if robust else sums[0] / len(states)
    return scores, {"archs_scored": passes, "forward_paths": passes, "images_scored": images}


def _standardise(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)


def perturb(state: State, seed: int) -> State:
    """Weights with noise on every convolution, in proportion to each weight; everything else stays as it is.

    Args:
        seed: The same seed draws the same noise on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    noisy = dict(state)
    for name, value in sorted(state.items()):  # a state read back from a file has another order
        if value.dim() == 4:
            noisy[name] = value * (1 + PERTURBATION * torch.randn(value.shape, generator=generator).to(value))
    return noisy


def share_of(batches: Sequence[T], k: int, count: int) -> list[T]:
    """The batches that snapshot `k` of `count` scores: every `count`-th, or one where there are fewer."""
    if not batches:
        raise ValueError("no validation batches to score on; score_images must be at least score_batch")
    return list(batches[k::count]) if len(batches) >= count else [batches[k % len(batches)]]
