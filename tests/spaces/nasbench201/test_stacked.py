"""Archs that share a pass; `tests/ranking/test_score_archs.py` has their scores."""

from collections import Counter
from itertools import product

import pytest
import torch

from senas_bench.networks.operations import ConvBN
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NB201, NONE, POOL, SKIP
from senas_bench.spaces.nasbench201.network import NB201Network


@pytest.fixture(scope="module")
def network() -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(NB201, channels=8, cells=2).eval()


def images_of_convolutions(network: NB201Network, archs: list, images: int = 2) -> Counter:
    """By cell and edge, the images that its convolutions are given in one pass; each runs at most once."""
    given, calls, handles = Counter(), Counter(), []
    cells = [block for block in network.body if hasattr(block, "choices")]
    for number, cell in enumerate(cells):
        for edge, choice in enumerate(cell.choices):
            for copy in choice.copies.values():

                def hook(module, inputs, output, place=(number, edge)):
                    calls[module] += 1
                    given[place] += len(inputs[0])

                assert isinstance(copy, ConvBN)
                handles.append(copy[0].register_forward_hook(hook))
    with torch.inference_mode():
        x = torch.randn(images, 3, 8, 8).contiguous(memory_format=torch.channels_last)
        assert network.stack_archs(archs)(x).shape == (len(archs), images, 10)
    for handle in handles:
        handle.remove()
    assert set(calls.values()) <= {1}
    return given


def test_what_archs_share_in_the_first_cell_is_computed_once(network):
    """All 64 archs of 1x1 and 3x3. What leaves the input reads one value, what leaves node 1 two, what leaves node 2
    eight: two ways from the input times two from node 1 with its two values. In the second cell all inputs differ."""
    given = images_of_convolutions(network, list(product((CONV1, CONV3), repeat=6)))
    assert [given[0, edge] // 2 for edge in range(6)] == [2 * values for values in (1, 1, 2, 1, 2, 8)]
    assert [given[1, edge] // 2 for edge in range(6)] == [64] * 6


def test_an_arch_that_is_given_twice_is_run_once(network):
    archs = [(CONV3, NONE, NONE, POOL, CONV1, NONE), (SKIP, NONE, NONE, NONE, CONV1, NONE)]
    once = images_of_convolutions(network, archs)
    assert images_of_convolutions(network, [*archs, archs[0]]) == once


@pytest.mark.parametrize("affine", [False, True])
def test_logits_in_bfloat16_and_of_dead_edges(affine):
    """Beside one by one under the same autocast; affine networks compute dead edges, whose norms add a bias."""
    torch.manual_seed(1)
    network = NB201Network(NB201, channels=8, cells=1, affine=affine).train()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    archs = [
        (CONV3, SKIP, NONE, NONE, CONV1, POOL),
        (CONV3, NONE, NONE, NONE, NONE, CONV1),
        (NONE, NONE, NONE, POOL, CONV3, SKIP),
    ]
    x = torch.randn(16, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for bfloat16, atol in ((False, 1e-5), (True, 0.1)):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            alone = torch.stack([network(x, arch) for arch in archs])
            shared = network.stack_archs(archs)(x)
        assert shared.dtype == alone.dtype
        torch.testing.assert_close(shared, alone, rtol=0, atol=atol)
        assert (alone - alone.flip(0)).abs().max() > 5 * atol


def test_running_statistics_and_weights_stay(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images_of_convolutions(network, [(CONV3,) * 6])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
