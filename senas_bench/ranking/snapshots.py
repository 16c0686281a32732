"""Scores of archs over several states of one network's weights, which share the validation batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from senas_bench.ranking.partial import Partial, identity_of
from senas_bench.spaces.cost import multiply_adds

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.ranking.score_archs import Evaluation, Found

T = TypeVar("T")


@dataclass(frozen=True)
class Watcher:
    """Who is told how far a scoring is, and where it keeps what it has done.

    Args:
        began: Progress callback, called once at the start: fraction that an earlier try has done.
        tick: Progress callback: fraction done.
        partial: Where to keep what is done, and to look for what an earlier try has done; the scores are then the same
            to the bit. None for nowhere.
        purpose: What the scores are for, `search` or `report`: neither has for free what the other paid for.
    """

    began: Callable[[float], None] = lambda share: None
    tick: Callable[[float], None] = lambda share: None
    partial: Partial | None = None
    purpose: str = "search"


NOBODY = Watcher()


def score_states(
    network: nn.Module,
    states: Sequence[Mapping[str, torch.Tensor]],
    archs: np.ndarray,
    evaluation: Evaluation,
    *,
    loglik: bool,
    watcher: Watcher = NOBODY,
    cost: Callable[[np.ndarray], Mapping[str, np.ndarray]] | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Mean accuracy, or log-likelihood, of each arch over states of the weights.

    The states share the validation batches out among themselves, because weights differ more between snapshots than
    scores between images; docs/method.md 2.1 scores every snapshot on the whole validation set. With at least as many
    batches as states any number of them costs the same, with fewer each still scores one batch. Every arch meets the
    same pairs of state and batch.

    Args:
        states: As `Module.state_dict` gives them; at least one.
        archs: `(n, edges)`.
        loglik: Log-likelihood of the label in nats; otherwise accuracy in percent.
        cost: Of archs at this size, as estimators get it; None leaves out what the work costs.

    Returns:
        `(n,)` scores, higher is better; and the work: `archs_scored` and `forward_paths` (evaluations of a distinct
        arch with one set of weights), `images_scored`, and with a cost `multiply_adds` of these evaluations, those that
        set batch norm's statistics among them, and `nominal_multiply_adds`, had every arch been evaluated. The network
        keeps its own weights.
    """
    from senas_bench.ranking.score_archs import distinct_functions, score_distinct

    shares = [replace(evaluation, batches=share_of(evaluation.batches, k, len(states))) for k in range(len(states))]
    words = f"{loglik} {evaluation.bn_mode} {evaluation.half} {[len(share.batches) for share in shares]}"
    kept = watcher.partial.begin(lambda: identity_of(states, archs, words)) if watcher.partial else {}
    total = np.array(kept.get("total", np.zeros(len(archs))))
    watcher.began(float(kept.get("share", 0.0)))
    own = {name: value.clone() for name, value in network.state_dict().items()}
    begun = _begun(kept, next(network.parameters()).device) if kept else None
    distinct, rows = distinct_functions(network, archs)
    try:
        for k in range(int(kept.get("snapshot", 0)), len(states)):
            network.load_state_dict(states[k])
            progress = lambda share, k=k: watcher.tick((k + share) / len(states))  # noqa: E731
            keep = _keeper(watcher.partial, k, len(states), total)
            accuracy, likelihood = score_distinct(network, distinct, shares[k], progress, begun, keep)
            begun = None
            total += (likelihood if loglik else accuracy)[rows]
    finally:
        network.load_state_dict(own)
    passes, images = len(distinct) * len(states), sum(share.images for share in shares)
    work = {"archs_scored": passes, "forward_paths": passes, "images_scored": len(distinct) * images}
    if cost is not None:
        seen = images + sum(share.calibration_images for share in shares)
        work["multiply_adds"] = seen * int(multiply_adds(cost, np.array(distinct)).sum())
        work["nominal_multiply_adds"] = seen * int(multiply_adds(cost, archs).sum())
    return total / len(states), work


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
    where: dict[str, float] = {"snapshot": k, "evaluations": found.total, "done": found.done}
    where["share"] = (k + found.done / found.total) / count
    sums = {"correct": found.correct.cpu().numpy(), "loglik": found.loglik.cpu().numpy(), "total": total}
    return {**sums, **{name: np.array(value) for name, value in where.items()}}


def share_of(batches: Sequence[T], k: int, count: int) -> list[T]:
    """The batches that snapshot `k` of `count` scores: every `count`-th, or one where there are fewer."""
    if not batches:
        raise ValueError("no validation batches to score on; score_images must be at least score_batch")
    return list(batches[k::count]) if len(batches) >= count else [batches[k % len(batches)]]
