"""Ratios within one process: what ranking gains from its shortcuts. Run with `make bench`."""

import numpy as np
import pytest
import torch

from senas_bench.networks.operations import AveragePool3x3
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.spaces.nasbench201 import NB201, prune
from senas_bench.spaces.nasbench201.network import NB201Network

POOL_SHAPE = (125, 8, 16, 16)


@pytest.fixture(scope="module")
def network():
    return NB201Network(NB201, channels=8, cells=1).to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def images():
    x = torch.randn(125, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


def rank(network, images, archs, shared):
    with torch.inference_mode(), evaluation_mode(network, "batch"):
        cache = {} if shared else None
        return torch.stack([network(images, arch, cache) for arch in archs])


@pytest.mark.benchmark(group="40 neighbouring archs")
@pytest.mark.parametrize("shared", [False, True], ids=["one at a time", "first cell shared"])
def test_first_cell_reuse(benchmark, network, images, shared):
    archs = [tuple(row) for row in np.unique(prune(NB201.archs()), axis=0)[3000:3040].tolist()]
    logits = benchmark(rank, network, images, archs, shared)
    torch.testing.assert_close(logits, rank(network, images, archs, False), rtol=1e-4, atol=1e-5)


@pytest.mark.benchmark(group="3x3 average pool")
@pytest.mark.parametrize("ours", [False, True], ids=["avg_pool2d", "depthwise"])
def test_average_pool(benchmark, ours):
    x = torch.randn(POOL_SHAPE, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)

    def plain(x):
        return torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    torch.testing.assert_close(benchmark(AveragePool3x3(8) if ours else plain, x), plain(x))
