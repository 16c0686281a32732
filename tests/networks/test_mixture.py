import pytest
import torch

from senas_bench.networks.mixture import Mixture
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network


def weights_with(*pairs: tuple[int, int]) -> torch.Tensor:
    weights = torch.zeros(6, 5)
    for edge, op in pairs:
        weights[edge, op] = 0.5
    return weights


def test_what_has_a_weight_runs():
    mixture = Mixture.of(weights_with((0, 1), (0, 3), (5, 2)).requires_grad_())
    ran = {(edge, op) for edge, row in enumerate(mixture.runs) for op, on in enumerate(row) if on}
    assert ran == {(0, 1), (0, 3), (5, 2)} and mixture.passes == 2


def test_only_what_runs_is_run():
    """The network asks the mixture and not the weights."""
    torch.manual_seed(0)
    network, x = NB201Network(NB201, channels=4, cells=1), torch.randn(4, 3, 8, 8)
    weights = weights_with((2, 1), (3, 3), (4, 3), (5, 3), (0, 3), (1, 3))
    told = Mixture(weights, Mixture.of(weights_with((3, 3))).runs)
    expected = network(x, weights_with((3, 3)))
    torch.testing.assert_close(network(x, told), expected, rtol=0, atol=0)
    assert not torch.allclose(network(x, weights), expected)


def test_another_shape_is_an_error():
    network, x = NB201Network(NB201, channels=4, cells=1), torch.randn(4, 3, 8, 8)
    with pytest.raises(ValueError, match="operator weights of shape"):
        network(x, Mixture.of(torch.ones(5, 6)))
