"""Proxies of what the blocks of a network give."""

from math import log

import pytest
import torch
from torch import nn

from senas_bench.proxies.alone import Alone
from senas_bench.proxies.init import kaiming_normal, normal
from senas_bench.proxies.zen import Zen


class Blocks(nn.Module):
    """Each block is a function of the one before it; the stem gives the images."""

    def __init__(self, *blocks) -> None:
        super().__init__()
        self.blocks = blocks

    def features(self, x, path):
        outputs = [x.requires_grad_()]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return [*outputs, outputs[-1]]


SQUARE = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).reshape(4, 2, 1, 1)
"""Two channels of equal variance that have nothing to do with each other."""
FIRST_ALONE = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)


def test_expressivity_and_progressivity_by_hand(score):
    """Two equal components have an entropy of ln 2, one has none, whatever its size and in however many channels."""
    network = Blocks(lambda x: 3 * x * FIRST_ALONE, lambda x: x + x.flip(1))
    assert score("az-expressivity", network, SQUARE) == pytest.approx(log(2) + 0 + 0, abs=1e-6)
    assert score("az-progressivity", network, SQUARE) == pytest.approx(-log(2), abs=1e-6)


def test_trainability_by_hand(score):
    """A block that doubles makes gradients twice as large: 2 - 2 - 1/2. One that averages four pixels hands a quarter
    to each, together 1/2 as long a vector: 2 - 1/2 - 2. Both blocks: the mean."""
    images = torch.ones(5, 1, 4, 4)
    assert score("az-trainability", Blocks(lambda x: 2 * x), images) == pytest.approx(-0.5, abs=1e-5)
    halve = lambda x: nn.functional.avg_pool2d(x, 2)  # noqa: E731
    assert score("az-trainability", Blocks(halve), images) == pytest.approx(-0.5, abs=1e-5)
    both = score("az-trainability", Blocks(lambda x: 4 * x, halve), images)
    assert both == pytest.approx((-2.25 - 0.5) / 2, abs=1e-5)


def test_trainability_of_a_block_that_does_nothing(score):
    assert score("az-trainability", Blocks(lambda x: 1 * x), torch.ones(5, 1, 4, 4)) == -torch.inf


class OneNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)
        self.norm = nn.BatchNorm2d(1)

    def features(self, x, path):
        return [self.norm(self.layer(x))]


def test_zen_by_hand(score):
    """The weight and the step come from the generator. What the images become does not depend on the weight, but for
    its sign; the deviation that batch norm takes away is in its ratio to that of the images."""
    images = torch.tensor([0.0, 1.0, 5.0])
    generator = torch.Generator().manual_seed(3)
    weight = abs(float(torch.randn((1, 1, 1, 1), generator=generator)))
    moved = images + 0.1 * torch.randn((3, 1, 1, 1), generator=generator).flatten()
    first, second = ((x - x.mean()) / x.std(correction=0) for x in (images, moved))
    expected = log(float((first - second).abs().mean())) + log(weight * float(images.std()))
    assert score(Zen(alpha=0.1), OneNorm(), images.reshape(3, 1, 1, 1), seed=3) == pytest.approx(expected, rel=1e-3)


def test_weights_as_drawn():
    network = nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.Linear(64, 500))
    nn.init.constant_(network[1].weight, 5.0)
    alone = Alone(network, ())
    normal(alone, torch.Generator().manual_seed(0))
    assert all(float(weight.detach().std()) == pytest.approx(1, abs=0.03) for weight in alone.weights)
    kaiming_normal(alone, torch.Generator().manual_seed(0))
    for weight, inputs in zip(alone.weights, (16 * 9, 64), strict=True):
        assert float(weight.detach().std()) == pytest.approx((2 / inputs) ** 0.5, rel=0.03)
    assert not network[0].bias.any() and not network[2].bias.any() and (network[1].weight == 1).all()
