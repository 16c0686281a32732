"""Runs given by the order in which they rank archs."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from senas_bench.groundtruth import Query


@pytest.fixture
def study(toy):
    """`study(method, seed, *tables)` adds a run whose tables are `(set, epoch, order)` or, with a tier for each arch
    of the order, `(set, epoch, order, tiers)`; `scores` replaces 0, 1, 2, ... in all of them.
    `study.both()` adds `both_methods`."""

    def add(method, seed, *tables, shrinks=(), scores=None, **spec):
        frames = []
        for name, epoch, order, *tiers in tables:
            archs = [toy.archs[index] for index in order]
            stage = 1 + sum(epoch > shrink for shrink in shrinks)
            values = np.arange(len(order)) if scores is None else scores
            frames.append(toy.score_rows(name, archs, values, epoch, stage, *tiers))
        add.runs.add(method, seed, toy.archs[0], pd.concat(frames) if frames else None, **spec)
        history = [{"stage": 1, "epoch": 1, "loss": 2.0}]
        history += [{"stage": stage, "epoch": epoch, "candidates": [[0]] * 6} for stage, epoch in enumerate(shrinks, 1)]
        add.runs.records[-1] = replace(add.runs.records[-1], history=tuple(history))

    add.runs, add.full, add.both = toy.Runs(), full, partial(both_methods, add)
    return add


@pytest.fixture
def two_datasets(toy, query):
    """cifar10 as everywhere here, and cifar100 the other way around."""
    rising = np.arange(50.0, 90.0)
    columns = {Query("cifar100", "test", 200, "mean"): rising[::-1].copy(), query: rising}
    return toy.FakeTruth({Query("cifar10", "val", 200, "mean"): rising, **columns})


def full(order):
    """An order of all 40 archs that begins so."""
    return [*order, *(index for index in range(40) if index not in order)]


def both_methods(study, seeds=(0,), end="full"):
    """SPOS and SE-NAS over epochs 20, 40 and 60. All 5 archs of the sample are alive at first, then 3, 4 and 10."""
    for seed in seeds:
        study(
            "spos", seed,
            ("curve", 20, [1, 0, 2, 3, 4]), ("curve", 40, [1, 0, 3, 2, 4]), ("curve", 60, [0, 1, 2, 4, 3]),
            (end, 60, full([0, 1, 2, 4, 3])),
        )  # fmt: skip
        study(
            "se-nas", seed,
            ("curve", 20, [4, 0, 1, 2, 3]), ("curve-current", 20, [4, 0, 1, 2, 3]),
            # by score alone the order is 4 3 1 0 2, tau -0.6; archs 3 and 4 are alive: it is 1 0 2 4 3
            ("curve", 40, [4, 3, 1, 0, 2], [0, 0, 1, 1, 1]), ("curve-current", 40, [4, 3, 10]),
            ("current", 40, [3, 4, 10]),
            ("curve", 60, [4, 3, 2, 1, 0], [0, 0, 2, 2, 2]), ("curve-current", 60, [10, 4, 3]),
            ("current", 60, [10, 4, 3]),
            (end, 60, [*range(40)], [0 if index in (3, 4, 10) else 1 for index in range(40)]),
            shrinks=(20, 40),
        )  # fmt: skip
