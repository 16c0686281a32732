"""The price of paths, worked out by hand on a network of one channel of width two."""

import numpy as np
import torch

from senas_bench.spaces.cost import multiply_adds
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NONE, POOL, SKIP, Skeleton, nasbench201_cost
from senas_bench.training.price import passes_price

COST = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=2, cells=1))
STEM = 9 * 1 * 2 * 64
REDUCTIONS = (9 * 2 * 4 + 9 * 4 * 4 + 2 * 4) * 16 + (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8) * 4
HEAD = 8 * 3 + 3
BASE = STEM + REDUCTIONS + HEAD
SMALL, LARGE = 2 * 2 * 64, 9 * 2 * 2 * 64
"""A 1x1 and a 3x3 of a cell: twice the width at half the side costs the same, so it is that of every stage."""
ARCH = (CONV3, NONE, SKIP, CONV1, POOL, CONV3)
ARCH_COST = BASE + 3 * (2 * LARGE + SMALL)


def test_an_arch_costs_what_the_space_says():
    assert multiply_adds(COST, np.array([ARCH, [NONE] * 6])).tolist() == [ARCH_COST, BASE]
    assert passes_price(COST, [ARCH, (NONE,) * 6, ARCH]) == 2 * ARCH_COST + BASE


def test_a_path_with_an_arch_for_each_cell_costs_what_runs_in_each():
    path = (ARCH, (NONE,) * 6, (CONV1,) * 6)
    assert passes_price(COST, [path]) == BASE + (2 * LARGE + SMALL) + 0 + 6 * SMALL
    assert passes_price(COST, [path, (ARCH,) * 3]) == BASE + 2 * LARGE + 7 * SMALL + ARCH_COST


def test_a_mixture_costs_all_operators_that_run():
    """Every operator of the first edge, and the 3x3 alone of the others: pools and skips cost nothing."""
    weights = torch.zeros(6, 5)
    weights[0] = 0.2
    weights[1:, CONV3] = 1.0
    assert passes_price(COST, [weights, weights]) == 2 * (BASE + 3 * (SMALL + 6 * LARGE))


def test_kinds_of_paths_may_be_mixed_and_none_cost_nothing():
    one = torch.nn.functional.one_hot(torch.tensor(ARCH), 5).float()
    assert passes_price(COST, [one, ARCH, (ARCH,) * 3]) == 3 * ARCH_COST
    assert passes_price(COST, []) == 0
