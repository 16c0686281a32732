from math import log, sqrt

import pytest
import torch
from torch import nn


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


def test_a_network_through_which_nothing_flows(score, line, images):
    assert score("synflow", line(0.0, (1.0, 1.0)), images) == -torch.inf
