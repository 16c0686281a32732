"""Networks so small that proxies of them can be worked out by hand."""

import pytest
import torch
from torch import nn

from senas_bench.proxies import proxy_of
from senas_bench.proxies.alone import Alone


class Line(nn.Module):
    """1x1 convolution, batch norm, ReLU, mean over pixels, linear layer without bias; one channel, two classes."""

    def __init__(self, convolution: float, linear: tuple[float, float], norm: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(1) if norm else nn.Identity()
        self.linear = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.convolution.weight.fill_(convolution)
            self.linear.weight.copy_(torch.tensor(linear).reshape(2, 1))

    def forward(self, x, path):
        return self.linear(torch.relu(self.norm(self.convolution(x))).mean((2, 3)))


@pytest.fixture
def line() -> type[Line]:
    return Line


@pytest.fixture
def images_of():
    """Images of one pixel each, `(n, 1, 1, 1)`."""
    return lambda *pixels: torch.tensor(pixels).reshape(-1, 1, 1, 1)


@pytest.fixture
def score():
    """The score of a network by a proxy; labels are all 0 unless given."""

    def score(proxy, network: nn.Module, images: torch.Tensor, labels=None, seed: int = 0) -> float:
        labels = torch.zeros(len(images), dtype=torch.long) if labels is None else torch.tensor(labels)
        return proxy_of(proxy)(Alone(network, ()), images, labels, torch.Generator().manual_seed(seed))

    return score


class Steps(nn.Module):
    """ReLUs that are on where an image is above a threshold, a channel each, read by `readers` convolutions."""

    def __init__(self, *thresholds: float, readers: int = 0) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.tensor(thresholds).reshape(1, -1, 1, 1))
        self.readers = nn.ModuleList(nn.Conv2d(len(thresholds), 1, 1) for _ in range(readers))

    def forward(self, x, path):
        on = torch.relu(x - self.thresholds)
        return sum((reader(on) for reader in self.readers), on.sum(1, keepdim=True)).mean((2, 3))


@pytest.fixture
def steps() -> type[Steps]:
    return Steps


@pytest.fixture
def small_nb201():
    """A network with convolutions, pools and a skip, whose cells have two channels; one of `dtype`."""
    from senas_bench.spaces.nasbench201 import NB201
    from senas_bench.spaces.nasbench201.network import NB201Network

    arch = (3, 4, 2, 1, 4, 3)

    def make(dtype=torch.float64) -> tuple[NB201Network, tuple[int, ...]]:
        torch.manual_seed(0)
        return NB201Network(NB201.only(arch), 2, 1, 1, 3, affine=True).to(dtype), arch

    return make
