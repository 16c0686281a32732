from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.precision import WAYS, Size, measure, table
from senas_bench.data.loader import TrainLoader

TINY = Size(channels=4, cells=1, side=8, batch=4, score_batch=8)
NAMES = [
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|",
    "|none~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|none~1|none~2|",
]


def loaders():
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8), rng.integers(0, 10, 16)
    train = TrainLoader(pixels, labels, 4, pad=1, flip=True, mean=(0.5,) * 3, std=(0.25,) * 3)
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(train=train, valid=[(x.contiguous(memory_format=torch.channels_last), torch.arange(8))])


def test_ways_differ_and_what_was_cut_goes_on(tmp_path):
    whole = measure(loaders(), NAMES, 1, tmp_path, tmp_path, TINY)
    once, scored_half, both = (whole[way] for way in WAYS)
    assert not np.array_equal(once, scored_half) and not np.array_equal(scored_half, both)
    np.testing.assert_allclose(once, scored_half, rtol=0.05)  # bfloat16 keeps 8 bits
    pd.read_csv(tmp_path / "precision.csv").drop(columns=list(WAYS)[1]).to_csv(tmp_path / "precision.csv", index=False)
    again = measure(loaders(), NAMES, 1, tmp_path, tmp_path, TINY)
    np.testing.assert_allclose(again[list(WAYS)], whole[list(WAYS)], rtol=1e-12)


def test_taus_by_hand():
    """Of three pairs all, two and one agree: 1, 1/3 and -1/3."""
    one, two, three = WAYS
    scores = pd.DataFrame({"arch_str": ["a", "b", "c"], one: [1, 2, 3], two: [1, 3, 2], three: [2, 3, 1]})
    found = table(scores, pd.Series({"a": 10.0, "b": 20.0, "c": 30.0}))
    taus = {(row.one, row.other): row.tau for row in found.itertuples()}
    assert taus["truth", one] == 1 and taus["truth", two] == pytest.approx(1 / 3)
    assert taus["truth", three] == pytest.approx(-1 / 3) and taus[two, three] == pytest.approx(1 / 3)
