"""P(a), the performance of an arch estimated from K weight snapshots (Eq. 4 and its alternatives)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from torch import nn

from senas_bench.training.snapshots import Snapshots, State

from .score_archs import Evaluation, score_archs

T = TypeVar("T")
ESTIMATORS = ("weight-average", "snapshot-accuracy", "snapshot-loglik", "telling-loglik")
TELLING_SHARE = 0.25
"""Share of the snapshots that `telling-loglik` keeps."""
PILOT_ARCHS = 200
"""Archs that show it which."""


def estimate(
    network: nn.Module,
    snapshots: Snapshots,
    archs: np.ndarray,
    evaluation: Evaluation,
    estimator: str,
    tick: Callable[[float], None] = lambda share: None,
) -> tuple[np.ndarray, dict[str, int]]:
    """P(a) for each arch.

    - `weight-average`: accuracy with the average of the snapshots (Eq. 4, the paper's).
    - `snapshot-accuracy`: mean accuracy over the snapshots, percent.
    - `snapshot-loglik`: mean log-likelihood of the label over the snapshots, nats.
    - `telling-loglik`: as `snapshot-loglik`, over the quarter of the snapshots that tell archs apart best: those
      whose log-likelihoods have the largest standard deviation over a few of the archs. At a high learning rate the
      weights wander, and snapshots in which all archs do alike rank them worse. Ours; it never sees the truth.

    The snapshots share the validation batches out among themselves, because weights differ more between
    snapshots than scores between images; METHOD 2.1 scores every snapshot on the whole validation set. With at
    least as many batches as snapshots all estimators cost the same, with fewer each snapshot still scores one
    batch. Every arch meets the same pairs of snapshot and batch.

    Args:
        archs: `(n, edges)`.
        tick: Told now and then which share of the work is done.

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
    work = dict.fromkeys(("archs_scored", "forward_paths", "images_scored"), 0)
    try:
        if estimator == "telling-loglik":
            pilot = archs[np.random.default_rng(0).permutation(len(archs))[:PILOT_ARCHS]]
            _, logliks = _score(network, states, pilot, evaluation, work, lambda share: None)
            best = np.argsort(-logliks.std(axis=1), kind="stable")[: math.ceil(TELLING_SHARE * len(states))]
            states = [states[k] for k in sorted(best)]
        accuracies, logliks = _score(network, states, archs, evaluation, work, tick)
    finally:
        network.load_state_dict(own)
    return (logliks if estimator.endswith("loglik") else accuracies).mean(axis=0), work


def _score(
    network: nn.Module,
    states: Sequence[State],
    archs: np.ndarray,
    evaluation: Evaluation,
    work: dict[str, int],
    tick: Callable[[float], None],
) -> tuple[np.ndarray, np.ndarray]:
    """`(states, n)` accuracy and log-likelihood of archs with each state, on its share of the batches.

    Leaves the last state in the network, and adds to `work`.
    """
    accuracies, logliks = np.zeros((2, len(states), len(archs)))
    for k, state in enumerate(states):
        network.load_state_dict(state)
        part = replace(evaluation, batches=share_of(evaluation.batches, k, len(states)))
        accuracies[k], logliks[k], distinct = score_archs(
            network, archs, part, lambda share, k=k: tick((k + share) / len(states))
        )
        work["archs_scored"] += distinct
        work["forward_paths"] += distinct
        work["images_scored"] += distinct * part.images
    return accuracies, logliks


def share_of(batches: Sequence[T], k: int, count: int) -> list[T]:
    """The batches that snapshot `k` of `count` scores: every `count`-th, or one where there are fewer."""
    if not batches:
        raise ValueError("no validation batches to score on; score_images must be at least score_batch")
    return list(batches[k::count]) if len(batches) >= count else [batches[k % len(batches)]]
