from math import log, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from senas_bench.experiments.studies import preset_of
from senas_bench.kernels.engines import using
from senas_bench.proxies.alone import Alone
from senas_bench.proxies.modes import Replaced, without_caps
from senas_bench.proxies.proxy import checked
from senas_bench.proxies.synflow import Synflow, flow
from senas_bench.spaces import SPACES, ImageShape


@pytest.fixture
def images(images_of):
    return images_of(1.0, 2.0, 6.0)


def test_synflow_by_hand(score, line, images):
    """|-2| = 2 flows out of the convolution, |3| * 2 + |-1| * 2 = 8 out of both logits. The derivative of that by each
    weight times the weight is 8 in the convolution, and 6 + 2 in the linear layer."""
    assert score("synflow", line(-2.0, (3.0, -1.0)), images) == pytest.approx(log(8 + 8))


def test_synflow_needs_no_data(score, line, images):
    found = {score("synflow", line(-2.0, (3.0, -1.0)), seen) for seen in (images, 100 * images, 0 * images[:1])}
    assert len(found) == 1


def test_synflow_bn_by_hand(score, line, images):
    """The convolution gives -2, -4, -12, whose variance is 28 with one less than their number: what flows is divided by
    its root before ReLU."""
    expected = log(2 * (3 + 1) * 2 / sqrt(28 + 1e-5))
    assert score("synflow-bn", line(-2.0, (3.0, -1.0)), images) == pytest.approx(expected, rel=1e-6)


def test_synflow_bn_sees_the_scale_of_the_images_and_not_their_mean(score, line, images):
    """Ten times as large a deviation lets a tenth through."""
    first = score("synflow-bn", line(-2.0, (3.0, -1.0)), images)
    assert score("synflow-bn", line(-2.0, (3.0, -1.0)), images + 5) == pytest.approx(first, rel=1e-6)
    assert score("synflow-bn", line(-2.0, (3.0, -1.0)), 10 * images) == pytest.approx(first - log(10), rel=1e-5)


def test_the_cap_of_relu6_is_left_out(score, line, images):
    """7 flows where ReLU6 would let 6 through, and no gradient back."""

    class Capped(line):
        def forward(self, x, path):
            return self.linear(nn.functional.hardtanh_(self.convolution(x), 0.0, 6.0).mean((2, 3)))

    assert score("synflow", Capped(7.0, (1.0, 0.0)), images) == pytest.approx(log(7 + 7))


def test_biases_and_maxima(score, images):
    """With weight 2 + 2t and bias 3 in front of a maximum, and 5 + 5t behind it, R is (2 + 2t + 3) (5 + 5t): its slope
    at 0 is 2 * 5 + 5 * 5."""

    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.linear = nn.Conv2d(1, 1, 1), nn.Linear(1, 1)
            for value, tensor in zip((-2.0, -3.0, 5.0, 7.0), self.parameters(), strict=True):
                nn.init.constant_(tensor, value)

        def forward(self, x, path):
            return self.linear(nn.functional.max_pool2d(self.convolution(x), 3, 1, 1).mean((2, 3)))

    assert score("synflow", Biased(), images) == pytest.approx(log(10 + 25))


@pytest.mark.parametrize("name", SPACES)
def test_the_derivative_along_the_weights_in_every_space(name):
    """By differences, of a network whose weights are really absolute and norms really divide."""
    space = SPACES[name]
    skeleton = space.skeleton(ImageShape(16, 3, 3), preset_of(name, "embedded"))
    arch = space.whole.sample(np.random.default_rng(1))
    torch.manual_seed(0)
    network = space.network(space.whole.only(arch), skeleton, True).eval().double()
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_var.uniform_(0.5, 3)
    found = flow(Alone(network, arch), torch.zeros(1, 3, 16, 16), norms=True)

    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    first = [weight.detach().abs() for weight in weights]
    network.head.bias.data.abs_()

    def logits(times):
        for weight, value in zip(weights, first, strict=True):
            weight.data = value * times
        with using("torch"), torch.no_grad(), Replaced(without_caps()):
            return float(network(torch.ones(1, 3, 16, 16, dtype=torch.float64), arch).sum())

    step = 1e-6
    assert found == pytest.approx(log((logits(1 + step) - logits(1 - step)) / (2 * step)), rel=1e-6)


def test_a_network_through_which_nothing_flows(score, line, images):
    assert score("synflow", line(0.0, (1.0, 1.0)), images) == -torch.inf


def test_a_proxy_returns_one_number():
    assert checked(Synflow(), (torch.tensor(2.0), np.float32(0.5), 1)) == (2.0, 0.5, 1.0)
    for wrong, words in ((None, "NoneType"), (torch.zeros(2, 10), r"Tensor of shape \(2, 10\)"), ("high", "str")):
        with pytest.raises(ValueError, match=f"the proxy Synflow returned {words}; return one float"):
            checked(Synflow(), (wrong,))
