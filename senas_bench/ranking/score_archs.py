"""One score per arch from a trained network: each distinct function is evaluated once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from senas_bench.ranking.batchnorm import evaluation_mode, recalibrate
from senas_bench.spaces import Arch

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Evaluation:
    """How an arch is evaluated.

    Args:
        batches: Labelled validation batches `(x, y)`.
        bn_mode: One of `batchnorm.BN_MODES`.
        calibration: Input batches for `recalibrate`.
        half: bfloat16 autocast.
    """

    batches: Sequence[Batch]
    bn_mode: str = "recalibrate"
    calibration: Sequence[torch.Tensor] = ()
    half: bool = False

    @property
    def images(self) -> int:
        return sum(len(y) for _, y in self.batches)


@dataclass
class Found:
    """What a scoring has found so far: sums over the images, of each distinct arch in lexicographic order.

    Args:
        correct: `(n,)` float64 images classified right.
        loglik: `(n,)` float64 log-likelihoods of the labels, nats.
        total: Evaluations in all, of an arch on a batch; on all batches where statistics are recalibrated.
        done: How many of them are in the sums.
    """

    correct: torch.Tensor
    loglik: torch.Tensor
    total: int
    done: int = 0


def score_archs(
    network: nn.Module,
    archs: np.ndarray,
    evaluation: Evaluation,
    tick: Callable[[float], None] = lambda share: None,
    begun: Found | None = None,
    after: Callable[[Found], None] = lambda found: None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """One-shot accuracy and log-likelihood of archs with inherited weights.

    Archs with equal `network.signature` are evaluated once. The others follow each other in
    lexicographic order, so that the network can keep what neighbours share.

    Args:
        archs: `(n, edges)`.
        tick: Progress callback: fraction done.
        begun: What an earlier try had found; the scores are then the same to the bit. It is changed in place.
        after: Given after each evaluation what is found, which goes on changing.

    Returns:
        `(n,)` accuracy in percent, `(n,)` mean log-likelihood of the label in nats, and the number
        of archs evaluated.
    """
    if not evaluation.images:
        raise ValueError("no validation images to score on")
    distinct, rows = distinct_functions(network, archs)
    device = next(network.parameters()).device
    recalibrated = evaluation.bn_mode == "recalibrate"
    rounds = 1 if recalibrated else len(evaluation.batches)
    zeros = torch.zeros(len(distinct), dtype=torch.float64, device=device)
    found = begun or Found(zeros, zeros.clone(), rounds * len(distinct))
    with (
        torch.inference_mode(),
        evaluation_mode(network, evaluation.bn_mode),
        torch.autocast(device.type, torch.bfloat16, enabled=evaluation.half),
    ):
        for b, batches in enumerate(
            [evaluation.batches] if recalibrated else ([batch] for batch in evaluation.batches)
        ):
            cache: dict[Any, Any] | None = None if recalibrated else {}
            left = max(found.done - b * len(distinct), 0)
            for index, arch in enumerate(distinct[left:], start=left):
                if recalibrated:
                    recalibrate(network, arch, evaluation.calibration)
                for x, y in batches:
                    _add(network(x, arch, cache), y, index, found.correct, found.loglik)
                found.done += 1
                after(found)
                if index % 100 == 99:
                    tick((b + (index + 1) / len(distinct)) / rounds)
    correct, loglik = found.correct, found.loglik
    images = evaluation.images
    return (100 * correct / images).cpu().numpy()[rows], (loglik / images).cpu().numpy()[rows], len(distinct)


def distinct_functions(network: Any, archs: np.ndarray) -> tuple[list[Arch], np.ndarray]:
    """The archs to evaluate, in lexicographic order, and `(n,)` which of them stands for each of `archs`.

    Of those that compute the same the first in that order stands for all.
    """
    rows = [tuple(row) for row in archs.tolist()]
    signatures = [network.signature(row) for row in rows]
    first: dict[Any, Arch] = {}
    for signature, row in zip(signatures, rows, strict=True):
        first[signature] = min(row, first.get(signature, row))
    order = sorted(first, key=first.__getitem__)
    position = {signature: index for index, signature in enumerate(order)}
    return [first[signature] for signature in order], np.array([position[signature] for signature in signatures], int)


def _add(logits: torch.Tensor, y: torch.Tensor, index: int, correct: torch.Tensor, loglik: torch.Tensor) -> None:
    correct[index] += (logits.argmax(1) == y).sum()
    loglik[index] -= nn.functional.cross_entropy(logits.float(), y, reduction="sum")
