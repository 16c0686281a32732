from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from senas_bench.methods.fair_darts import FairDarts, without_none
from senas_bench.spaces.best import best_arch
from senas_bench.spaces.darts import DARTS, DARTS_SEPARATE
from senas_bench.spaces.nasbench201 import NB201, NONE
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import Alphas
from senas_bench.training.relaxations import Switches

SPACE = without_none(NB201)


def some_switches(space=SPACE, **settings) -> Switches:
    switches = Switches(space, None, torch.Generator().manual_seed(0), **settings)
    shape = switches.logits.shape
    switches.logits.data = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return switches


def jacobian_of(kind: type[Alphas]) -> torch.Tensor:
    """`(30, 30)` of all weights in all logits."""
    alphas: Any = kind(SPACE, None, torch.Generator())
    logits = some_switches().logits.detach()

    def weights(logits):
        alphas.logits = logits
        return alphas.weights().flatten()

    return torch.autograd.functional.jacobian(weights, logits).reshape(30, 30)


def test_a_weight_does_not_move_with_the_logit_of_another():
    """All that moves is on the diagonal; with DARTS's softmax it is not."""
    sigma = torch.sigmoid(some_switches().logits.detach())
    slopes = (sigma * (1 - sigma)).index_fill(1, torch.tensor([NONE]), 0.0)
    torch.testing.assert_close(jacobian_of(Switches), torch.diag(slopes.flatten()))
    softmax = jacobian_of(Alphas)
    assert (softmax - torch.diag(softmax.diag())).abs().max() > 0.01


def test_weights_are_sigmoids_and_none_has_no_weight():
    mixture = some_switches().relaxed()
    weights = mixture.weights.detach()
    assert not weights[:, NONE].any() and not any(row[NONE] for row in mixture.runs) and mixture.passes == 4
    torch.testing.assert_close(weights[:, 1:], torch.sigmoid(some_switches().logits.detach())[:, 1:])
    assert weights.sum(1).max() > 1.5  # nothing makes them add up to 1


def test_the_zero_one_loss_is_worst_at_a_half_and_drives_away_from_it():
    switches = some_switches()
    loss = switches.zero_one_loss()
    sigma = torch.sigmoid(switches.logits.detach())[:, 1:]
    assert loss.item() == pytest.approx(-((sigma - 0.5) ** 2).mean().item())
    (gradient,) = torch.autograd.grad(loss, [switches.logits])
    expected = -2 * (sigma - 0.5) * sigma * (1 - sigma) / 24
    torch.testing.assert_close(gradient[:, 1:], expected)
    # a step down makes what is above 1/2 larger, and what is below smaller
    assert (torch.sign(-gradient[:, 1:]) == torch.sign(switches.logits.detach()[:, 1:])).all()
    assert not gradient[:, NONE].any()
    switches.logits.data.zero_()
    assert switches.zero_one_loss().item() == 0 > loss.item() > -0.25


def test_a_step_goes_down_both_losses():
    torch.manual_seed(0)
    network = NB201Network(SPACE, channels=3, cells=1, in_channels=1, num_classes=3).double().train()
    switches = some_switches()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 1, 8, 8, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (16,), generator=generator)
    weights = torch.sigmoid(switches.logits) * switches.alive
    loss = F.cross_entropy(network(x, weights), y) + 10 * switches.zero_one_loss()
    (expected,) = torch.autograd.grad(loss, [switches.logits])
    gradient, passes = FairDarts().gradient(switches, network, (x, y), (x, y), None, None)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert passes == 4


def test_an_edge_is_none_where_all_its_operators_are_off():
    switches = some_switches()
    switches.logits.data = torch.full((6, 5), -1.0, dtype=torch.float64)
    switches.logits.data[1, 3], switches.logits.data[4, 2], switches.logits.data[4, 1] = 0.2, 3.0, 2.0
    arch = best_arch(NB201, switches.choice_scores())
    assert arch == (NONE, 3, NONE, NONE, 2, NONE)
    table = switches.choice_scores()
    np.testing.assert_allclose(table[4, NONE], np.log(1 - 1 / (1 + np.exp(-3.0))))
    np.testing.assert_allclose(table[1, 3], np.log(1 / (1 + np.exp(-0.2))))


@pytest.mark.parametrize("space", [DARTS, DARTS_SEPARATE])
def test_in_the_darts_space_each_node_takes_two_edges(space):
    switches = some_switches(without_none(space))
    table = switches.choice_scores()
    assert not table[:, 0].any()
    assert best_arch(space, table) in space
