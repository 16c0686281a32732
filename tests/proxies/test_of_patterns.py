"""Proxies of which ReLUs are on. Images are single pixels."""

from math import log

import pytest
import torch

from senas_bench.proxies.naswot import Naswot
from senas_bench.proxies.te_nas import LinearRegions


def test_naswot_by_hand(score, steps, images_of):
    """Patterns 000, 100 and 110: the images have 3, 2 or 1 ReLUs alike, and the determinant is 8."""
    assert score("naswot", steps(0.0, 1.0, 2.0), images_of(-1.0, 0.5, 1.5)) == pytest.approx(log(8))


def test_naswot_counts_a_relu_for_each_convolution_that_reads_it(score, steps, images_of):
    """Twice the matrix of three images."""
    found = score("naswot", steps(0.0, 1.0, 2.0, readers=2), images_of(-1.0, 0.5, 1.5))
    assert found == pytest.approx(log(8 * 2**3))


def test_naswot_of_permuted_images(score, steps, images_of):
    one, other = (score("naswot", steps(0.0, 1.0, 2.0), images_of(*x)) for x in ((-1.0, 0.5, 1.5), (1.5, -1.0, 0.5)))
    assert one == pytest.approx(other)


def test_naswot_of_images_that_are_treated_alike(score, steps, images_of):
    assert score("naswot", steps(0.0), images_of(1.0, 2.0)) == -torch.inf


def test_naswot_scores_the_string_or_the_function():
    assert (Naswot().of, Naswot(dead=False).of) == ("string", "function")


def test_swap_by_hand(score, steps, images_of):
    """Thresholds of 0 and 0.2 tell these images apart in the same way."""
    assert score("swap", steps(0.0, 1.0, 2.0, 0.2), images_of(-1.0, 0.5, 1.5)) == 3


def test_swap_of_more_images_than_bits_of_a_word(score, steps):
    """Each threshold between two of 70 images is a pattern of its own, and those outside are the last two."""
    images = torch.arange(70.0).reshape(-1, 1, 1, 1)
    assert score("swap", steps(*(n + 0.5 for n in range(-3, 75))), images) == 71


def test_regions_on_a_straight_way_by_hand(score, steps, images_of):
    """From -1 to 3 over the thresholds 0, 1 and 2, and not over 5: four regions. The second way stays in one."""
    proxy = LinearRegions(points=5)
    assert score(proxy, steps(0.2, 1.2, 2.2, 5.0), images_of(-1.0, 3.0, 9.0, 9.0, 9.0)) == 4
    images = images_of(-1.0, 10.0, 3.0, 20.0, *[0.0] * 6)
    assert score(proxy, steps(0.2, 1.2, 2.2, 5.0), images) == (4 + 1) / 2
