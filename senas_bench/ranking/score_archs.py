"""One score per arch from a trained network: each distinct function is evaluated once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from senas_bench.kernels.stacked import RowStatistics
from senas_bench.ranking.batchnorm import UNCALIBRATED, evaluation_mode, recalibrate
from senas_bench.spaces import Arch

Batch = tuple[torch.Tensor, torch.Tensor]
Pass = Callable[[torch.Tensor], torch.Tensor]
"""Images `(B, C, H, W)` to logits."""
SHARED, SMALL = 32, 2**18
"""On CUDA so many archs share a pass where the images of one have at most so many pixels: 256 images of 32x32. More of
them keep a GPU busy alone, and to share a pass moves more memory (docs/gpu.md)."""


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

    @property
    def calibration_images(self) -> int:
        """Passed through the network for each arch before it is evaluated."""
        return sum(map(len, self.calibration)) if self.bn_mode == "recalibrate" else 0


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
    at_once: int | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """One-shot accuracy and log-likelihood of archs with inherited weights.

    Archs with equal `network.signature` are evaluated once. The others follow each other in
    lexicographic order, so that the network can keep what neighbours share.

    Args:
        archs: `(n, edges)`.
        tick: Progress callback: fraction done.
        begun: What an earlier try had found; the scores are then the same to the bit. It is changed in place.
        after: Given after each pass what is found, which goes on changing.
        at_once: Archs in a pass, where the network has `stack_archs`; None for 1, and on CUDA for `SHARED`
            where batches are small. What an arch scores depends on it by rounding only.

    Returns:
        `(n,)` accuracy in percent, `(n,)` mean log-likelihood of the label in nats, and the number
        of archs evaluated.
    """
    distinct, rows = distinct_functions(network, archs)
    accuracy, loglik = score_distinct(network, distinct, evaluation, tick, begun, after, at_once)
    return accuracy[rows], loglik[rows], len(distinct)


def score_distinct(
    network: nn.Module,
    distinct: Sequence[Arch],
    evaluation: Evaluation,
    tick: Callable[[float], None] = lambda share: None,
    begun: Found | None = None,
    after: Callable[[Found], None] = lambda found: None,
    at_once: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `score_archs`, of archs in lexicographic order that are no two alike; accuracy and log-likelihood alone."""
    if not evaluation.images:
        raise ValueError("no validation images to score on")
    device = next(network.parameters()).device
    recalibrated = evaluation.bn_mode == "recalibrate"
    rounds = 1 if recalibrated else len(evaluation.batches)
    zeros = torch.zeros(len(distinct), dtype=torch.float64, device=device)
    at_once = at_once or _at_once(evaluation.batches[0][0], device)
    at_once = at_once if hasattr(network, "stack_archs") else 1
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
            for start in range(max(found.done - b * len(distinct), 0), len(distinct), at_once):
                part = distinct[start : start + at_once]
                alone = at_once == 1
                logits = _one(network, part[0], evaluation, cache) if alone else _many(network, part, evaluation)
                for x, y in batches:
                    (_add if alone else _add_rows)(logits(x), y, start, found)
                found.done += len(part)
                after(found)
                if start // 100 != (start + len(part)) // 100:
                    tick((b + (start + len(part)) / len(distinct)) / rounds)
    correct, loglik = found.correct, found.loglik
    images = evaluation.images
    return (100 * correct / images).cpu().numpy(), (loglik / images).cpu().numpy()


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


def _at_once(x: torch.Tensor, device: torch.device) -> int:
    """Archs that share a pass over `x` `(B, C, H, W)`."""
    return SHARED if device.type == "cuda" and x[:, 0].numel() <= SMALL else 1


def _one(network: nn.Module, arch: Arch, evaluation: Evaluation, cache: dict[Any, Any] | None) -> Pass:
    """Logits `(B, classes)` of an arch."""
    if evaluation.bn_mode == "recalibrate":
        recalibrate(network, arch, evaluation.calibration)
    return lambda x: network(x, arch, cache)


def _many(network: Any, archs: Sequence[Arch], evaluation: Evaluation) -> Pass:
    """Logits `(n, B, classes)` of archs in one pass."""
    stack = network.stack_archs(archs)
    if evaluation.bn_mode != "recalibrate":
        return stack
    if not evaluation.calibration:
        raise ValueError(UNCALIBRATED)
    kept = RowStatistics()
    for x in evaluation.calibration:
        stack(x, kept, learn=True)
    return lambda x: stack(x, kept)


def _add(logits: torch.Tensor, y: torch.Tensor, index: int, found: Found) -> None:
    found.correct[index] += (logits.argmax(1) == y).sum()
    found.loglik[index] -= nn.functional.cross_entropy(logits.float(), y, reduction="sum")


def _add_rows(logits: torch.Tensor, y: torch.Tensor, start: int, found: Found) -> None:
    """As `_add`, of several archs that follow each other from `start` on."""
    rows = slice(start, start + len(logits))
    found.correct[rows] += (logits.argmax(2) == y).sum(1)
    losses = nn.functional.cross_entropy(logits.float().flatten(0, 1), y.repeat(len(logits)), reduction="none")
    found.loglik[rows] -= losses.unflatten(0, (len(logits), -1)).sum(1)
