"""Proxies of the gradients of the loss, on a network of three weights.

One image of 1 with label 0: the convolution a = 2, the linear layer u = 1, v = 0. The loss is ln(1 + exp(-z)) with
z = a (u - v) = 2; s is the probability of the wrong label, and the gradient is -s (u - v, a, -a) = -s (1, 2, -2).
"""

from math import exp, isfinite, log, sqrt

import pytest
import torch
from torch import nn

from senas_bench.kernels.engines import using
from senas_bench.proxies import PROXIES
from senas_bench.proxies.alone import Alone
from senas_bench.proxies.gradsign import GradSign
from senas_bench.proxies.zico import Zico

S = 1 / (1 + exp(2))


@pytest.fixture
def three(line):
    return line(2.0, (1.0, 0.0), norm=False)


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("snip", 2 * S + 2 * S),
        ("plain", -2 * S - 2 * S),
        ("grad-norm", S + S * sqrt(8)),
        ("fisher", (2 * S) ** 2 / 2 + (2 * S) ** 2 / 2),
        # H g = -9 s^2 (1 - s) (1, 2, -2) + s^2 (4, 1, -1), times (2, 1, 0), and minus that
        ("grasp", S**2 * (36 * (1 - S) - 9)),
        ("l2-norm", 2 + 1),
    ],
)
def test_by_hand(score, three, images_of, proxy, expected):
    assert score(proxy, three, images_of(1.0)) == pytest.approx(expected, rel=1e-5)


def test_fisher_counts_a_channel_once_for_each_weight_that_makes_it(score, images_of):
    """An image of two pixels, each read by a convolution of two inputs; the channels are summed over pixels first."""

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(2, 1, 1, bias=False)
            nn.init.ones_(self.convolution.weight)

        def forward(self, x, path):
            total = self.convolution(x).sum((2, 3))
            return torch.cat([total, 0 * total], 1)

    images = torch.ones(1, 2, 1, 2) / 2
    wrong = 1 / (1 + exp(2))  # what the convolution gives is 1 on both pixels, and felt -wrong there
    assert score("fisher", Wide(), images) == pytest.approx(2 * (2 * wrong) ** 2 / 2, rel=1e-5)


def test_grasp_is_a_product_with_the_hessian(small_nb201):
    """By the difference of two gradients, through pools, batch norm and ReLU."""
    network, arch = small_nb201()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.arange(6) % 3
    weights = Alone(network, arch).weights

    def gradients():
        return torch.autograd.grad(nn.functional.cross_entropy(network(images, arch), labels), weights)

    with using("torch"):
        along, ends, step = gradients(), [], 1e-6
        for sign in (1, -2, 1):  # there, as far on the other side, and home
            with torch.no_grad():
                for weight, gradient in zip(weights, along, strict=True):
                    weight += sign * step * gradient
            ends.append(gradients())
        products = [(first - second) / (2 * step) for first, second, *_ in zip(*ends, strict=True)]
        expected = -sum(
            float((weight.detach() * product).sum()) for weight, product in zip(weights, products, strict=True)
        )
        found = PROXIES["grasp"](Alone(network, arch), images, labels, generator)
    assert found == pytest.approx(expected, rel=1e-4)


def test_zico_by_hand(score, three, images_of):
    """A second image of 2, with z = 4: gradients of all three weights are in the ratio s to 2 s2, so the layers have
    r and 2 r, where r is their mean over half their difference."""
    other = 1 / (1 + exp(4))
    ratio = (S + 2 * other) / abs(S - 2 * other)
    found = score(Zico(), three, images_of(1.0, 2.0))
    assert found == pytest.approx(log(ratio) + log(2 * ratio), rel=1e-4)


def test_zico_leaves_out_what_does_not_vary(score, three, images_of):
    assert score(Zico(), three, images_of(1.0, 1.0)) == 0


def test_gradsign_by_hand(score, three, images_of):
    """Images with label 0 pull all three weights one way, those with label 1 the other."""
    images = images_of(1.0, 2.0, 3.0)
    assert score("gradsign", three, images, [0, 0, 0]) == 3 * 3
    assert score("gradsign", three, images, [0, 0, 1]) == 3 * 1


def test_gradsign_is_that_of_images_one_by_one(small_nb201):
    network, arch = small_nb201()
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(5, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(5) % 3
    with using("torch"):
        found = GradSign()(Alone(network, arch), images, labels, generator)
        signs = []
        for image, label in zip(images, labels, strict=True):
            loss = nn.functional.cross_entropy(network(image[None], arch), label[None])
            gradients = torch.autograd.grad(loss, Alone(network, arch).weights)
            signs.append(torch.cat([gradient.flatten() for gradient in gradients]).sign())
    assert found == pytest.approx(float(torch.stack(signs).sum(0).abs().sum()), rel=1e-9)


@pytest.mark.parametrize("how", [{"stride": 2, "padding": 1}, {"groups": 2}, {"dilation": 2, "padding": 2}])
def test_gradients_image_by_image_of_any_convolution(how):
    from senas_bench.proxies.gradsign import image_gradients

    torch.manual_seed(0)
    layer, images = nn.Conv2d(4, 6, 3, bias=False, **how), torch.randn(3, 4, 7, 7)
    output = layer(images)
    back = torch.randn_like(output)
    expected = [
        torch.autograd.grad(layer(x[None]), layer.weight, b[None])[0] for x, b in zip(images, back, strict=True)
    ]
    torch.testing.assert_close(image_gradients(layer, images, back), torch.stack(expected).flatten(1))


class Squares(nn.Module):
    """The gradient of its sum by an image is the image."""

    def forward(self, x, path):
        return x.square().flatten(1).sum(1, keepdim=True) / 2


def test_jacobian_covariance_by_hand(score):
    """Two images that are opposite but for their mean: correlations of 1 and -1, whose eigenvalues are 0 and 2."""
    images, k = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]).reshape(2, 1, 1, 3), 1e-5
    expected = -(log(k) + 1 / k + log(2 + k) + 1 / (2 + k))
    assert score("jacob-cov", Squares(), images) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("pool", "scored"), [(False, False), (True, True)])
def test_gradients_that_batch_norm_leaves_nothing_of_are_not_scored(score, pool, scored):
    """The mean over pixels of what a batch norm gives sums up to a constant over the batch, whatever the images."""

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)
            self.linear = nn.Linear(4, 2)

        def forward(self, x, path):
            x = self.norm(self.convolution(x))
            return self.linear((nn.functional.max_pool2d(x, 2) if pool else x).mean((2, 3)))

    torch.manual_seed(0)
    assert isfinite(score("jacob-cov", Flat(), torch.randn(8, 1, 8, 8))) is scored


def test_jacobian_covariance_of_unrelated_images_is_the_best(score):
    images = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]]).reshape(2, 1, 1, 4)
    assert score("jacob-cov", Squares(), images) == pytest.approx(-2, abs=1e-4)


def test_ntk_by_hand(score):
    """Gradients of a linear layer are the images, for each class: the kernel of (1, 0) and (1, 1) is in the ratio of
    ((1, 1), (1, 2)), whose eigenvalues are (3 + sqrt 5) / 2 and (3 - sqrt 5) / 2."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x, path):
            return self.layer(x.flatten(1))

    images = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).reshape(2, 1, 1, 2)
    assert score("ntk", Linear(), images) == pytest.approx(-((3 + sqrt(5)) / (3 - sqrt(5))), rel=1e-5)
