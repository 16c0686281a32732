"""What `gpu_check` measures, a function per part, at the size of preset `paper` or, to try it on a CPU, at a tiny one.

    python -c "from benchmarks.gpu_parts import steps; steps('cuda')"

Each prints its figures as JSON in its last line.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.plain import CIFAR_MEAN, CIFAR_STD, like, plain_optimizer
from benchmarks.ratios import a_network, some_archs
from senas_bench.data.loader import TrainLoader
from senas_bench.experiments.presets import PRESETS
from senas_bench.ranking.score_archs import Evaluation, distinct_functions, score_archs
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.training.loop import make_optimizer, train

TRAINING_IMAGES, EPOCHS = 45_000, 60
SCORING_IMAGES, FUNCTIONS = 5_000, 7_548
SEARCH_SECONDS, RANKING_SECONDS = 300, 120
"""Targets."""


class Size(NamedTuple):
    """Of network and images; batch of a step, images of a scoring batch, steps and archs of a round, rounds."""

    channels: int
    cells: int
    side: int
    batch: int
    score_batch: int
    steps: int
    archs: int
    rounds: int


SIZES = {"cuda": Size(16, 5, 32, 256, 1000, 20, 128, 3), "cpu": Size(8, 1, 8, 8, 16, 2, 8, 1)}


def determinism(device: str) -> None:
    """The same training and scoring twice: whether weights and scores have the same bytes, and else how far apart
    they are."""
    results = [_trained_and_scored(device) for _ in range(2)]
    (weights, scores), (again, scores_again) = results
    apart = max(float((one - other).abs().max()) for one, other in zip(weights, again, strict=True))
    figures = {"weights_same_bytes": _digest(weights) == _digest(again), "weights_apart": apart}
    figures |= {"scores_same_bytes": scores.tobytes() == scores_again.tobytes()}
    print(json.dumps(figures | {"scores_apart": float(np.abs(scores - scores_again).max())}))


def _trained_and_scored(device: str) -> tuple[list[torch.Tensor], np.ndarray]:
    size = SIZES[device]
    network = a_network(size.channels, size.cells).to(device)
    _epoch(network, _loader(size, device), amp=False)
    batch = _scoring_batch(size, size.score_batch, device)
    scores = score_archs(network, np.array(some_archs(size.archs, 0)), Evaluation([batch], "batch"))[1]
    return [weight.detach().cpu() for weight in network.parameters()], scores


def _digest(tensors: list[torch.Tensor]) -> str:
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()


def steps(device: str) -> None:
    """Training steps with their images, in bfloat16 autocast and in float32, and the plain way in float32; what they
    come to over a search of 60 epochs, whose target is 300 s with its shrinks."""
    size, seconds = SIZES[device], {}
    for amp in (True, False):
        network = a_network(size.channels, size.cells).to(device)
        name = "bfloat16" if amp else "float32"
        seconds[name] = _median(partial(_epoch, network, _loader(size, device), amp), device, size.rounds) / size.steps
    seconds["plain float32"] = _median(_plain_steps(size, device), device, size.rounds) / size.steps
    whole = {name: round(value * (TRAINING_IMAGES // 256) * EPOCHS, 1) for name, value in seconds.items()}
    print(
        json.dumps(
            {"seconds_per_step": seconds, "search_of_60_epochs_s": whole, "target_s": SEARCH_SECONDS, **_about(size)}
        )
    )


def _loader(size: Size, device: str) -> TrainLoader:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size.batch * size.steps, size.side, size.side, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, len(images))
    return TrainLoader(images, labels, size.batch, pad=4, flip=True, mean=CIFAR_MEAN, std=CIFAR_STD, device=device)


def _epoch(network: Any, loader: TrainLoader, amp: bool) -> None:
    recipe = replace(PRESETS["paper"].recipes["reference"], batch_size=loader.batch_size, amp=amp)
    generator = torch.Generator().manual_seed(0)
    more: Any = {"epochs": 1, "rng": np.random.default_rng(0), "generator": generator, "keep_snapshots": False}
    train(network, loader, recipe, NB201.paths(), optimizer=make_optimizer(network, recipe), **more)


def _plain_steps(size: Size, device: str) -> Callable[[], None]:
    """As many steps on images that lie ready."""
    network = like(a_network(size.channels, size.cells), size.channels).to(device)
    optimizer = plain_optimizer(network)
    x = torch.randn(size.batch, 3, size.side, size.side, device=device)
    y = torch.randint(0, 10, (size.batch,), device=device)
    archs = itertools.cycle(some_archs(size.steps, 0))

    def run() -> None:
        for arch in itertools.islice(archs, size.steps):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(network(x, arch), y).backward()
            optimizer.step()

    return run


def ranking(device: str) -> None:
    """Seconds of an arch, one by one and several in a pass, with the preset's batches and with small ones, in bfloat16
    autocast and in float32; what they come to over a ranking of all functions of the space on 5,000 images, whose
    target is 120 s; and how far the scores lie apart."""
    size = SIZES[device]
    network = a_network(size.channels, size.cells).to(device)
    archs, figures = _neighbours(network, size.archs), []
    for images, amp in itertools.product((size.score_batch, size.score_batch // 8), (True, False)):
        evaluation = Evaluation([_scoring_batch(size, images, device)], "batch", half=amp and device == "cuda")
        alone = None
        for at_once in (1, 8, 32, 64):
            found: list[Any] = []
            try:
                seconds = _median(partial(_score, found, network, archs, evaluation, at_once), device, size.rounds)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                continue
            _, logliks, functions = found[-1]
            alone = logliks if alone is None else alone
            whole = seconds / functions * FUNCTIONS * SCORING_IMAGES / images
            way = {"images": images, "precision": "bfloat16" if amp else "float32", "archs_in_a_pass": at_once}
            apart = float(np.abs(logliks - alone).max())
            figures.append({**way, "whole_space_s": round(whole, 1), "apart_from_alone": apart})
    print(json.dumps({"ways": figures, "target_s": RANKING_SECONDS, **_about(size)}))


def _score(found: list[Any], network: Any, archs: np.ndarray, evaluation: Evaluation, at_once: int) -> None:
    found.append(score_archs(network, archs, evaluation, at_once=at_once))


def _neighbours(network: Any, count: int) -> np.ndarray:
    """`(about count, 6)` distinct functions from four places of the space, neighbours as in a ranking of all."""
    every = np.array(distinct_functions(network, NB201.archs())[0])
    starts = np.linspace(0, len(every) - count // 4, 4).astype(int)
    return np.concatenate([every[start : start + count // 4] for start in starts])


def _scoring_batch(size: Size, images: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, 3, size.side, size.side, generator=generator)
    y = torch.randint(0, 10, (images,), generator=generator)
    return x.to(device).contiguous(memory_format=torch.channels_last), y.to(device)


def _about(size: Size) -> dict[str, Any]:
    """The size, and the memory that was needed."""
    memory = {"peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 2)} if torch.cuda.is_available() else {}
    return {"size": size._asdict(), **memory}


def _median(call: Callable[[], Any], device: str, rounds: int) -> float:
    """Seconds of a call, the first of which warms up and does not count."""
    spent = []
    for _ in range(rounds + 1):
        _wait(device)
        started = time.perf_counter()
        call()
        _wait(device)
        spent.append(time.perf_counter() - started)
    return median(spent[1:])


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
