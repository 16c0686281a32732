"""P(a), the performance of an arch estimated from K weight snapshots (Eq. 4 and its alternatives)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.ranking.partial import Partial
    from senas_bench.ranking.score_archs import Evaluation, Found
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
    partial: Partial | None = None,
    on_begin: Callable[[float], None] = lambda share: None,
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
        partial: Where to keep what is done, and to look for what an earlier try has done; the estimates are then the
            same to the bit. None for nowhere.
        on_begin: Told first which share of the work an earlier try has done.

    Returns:
        `(n,)` estimates, higher is better; and the work: `archs_scored` and `forward_paths` (evaluations of
        a distinct arch with one set of weights) and `images_scored`. The network keeps its own weights.

    Raises:
        ValueError: Unknown estimator, or it needs snapshots that were not kept, or parameters that were not given.
    """
    from senas_bench.ranking.partial import identity_of
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
    shares = [replace(evaluation, batches=share_of(evaluation.batches, k, len(states))) for k in range(len(states))]
    words = f"{estimator} {evaluation.bn_mode} {evaluation.amp} {[len(share.batches) for share in shares]}"
    kept = partial.begin(lambda: identity_of(states, archs, words)) if partial else {}
    total = np.array(kept.get("total", np.zeros(len(archs))))
    first = int(kept.get("snapshot", 0))
    on_begin(float(kept.get("share", 0.0)))
    own = {name: value.clone() for name, value in network.state_dict().items()}
    device = next(network.parameters()).device
    begun = _begun(kept, device) if kept else None
    try:
        for k in range(first, len(states)):
            network.load_state_dict(states[k])
            progress = lambda share, k=k: tick((k + share) / len(states))  # noqa: E731
            keep = _keeper(partial, k, len(states), total)
            accuracy, loglik, distinct = score_archs(network, archs, shares[k], progress, begun, keep)
            begun = None
            total += loglik if estimator in LOGLIK else accuracy
    finally:
        network.load_state_dict(own)
    passes, images = distinct * len(states), distinct * sum(share.images for share in shares)
    return total / len(states) + prior, {"archs_scored": passes, "forward_paths": passes, "images_scored": images}


def _keeper(partial: Partial | None, k: int, count: int, total: np.ndarray) -> Callable[[Found], None]:
    """Keeps where the estimates stand in snapshot `k`, where there is a place to."""
    if partial is None:
        return lambda found: None
    return lambda found: partial.keep(lambda: _position(k, count, total, found))


def _begun(kept: Mapping[str, np.ndarray], device: torch.device) -> Found:
    """What `_position` wrote of the snapshot that was under way."""
    import torch

    from senas_bench.ranking.score_archs import Found

    correct, loglik = (torch.from_numpy(kept[name]).to(device) for name in ("correct", "loglik"))
    return Found(correct, loglik, int(kept["evaluations"]), int(kept["done"]))


def _position(k: int, count: int, total: np.ndarray, found: Found) -> dict[str, np.ndarray]:
    """Where the estimates stand in snapshot `k` of `count`; `total` is of those before it."""
    where = {"snapshot": k, "evaluations": found.total, "done": found.done}
    where["share"] = (k + found.done / found.total) / count
    sums = {"correct": found.correct.cpu().numpy(), "loglik": found.loglik.cpu().numpy(), "total": total}
    return {**sums, **{name: np.array(value) for name, value in where.items()}}


def share_of(batches: Sequence[T], k: int, count: int) -> list[T]:
    """The batches that snapshot `k` of `count` scores: every `count`-th, or one where there are fewer."""
    if not batches:
        raise ValueError("no validation batches to score on; score_images must be at least score_batch")
    return list(batches[k::count]) if len(batches) >= count else [batches[k % len(batches)]]
