import math

import numpy as np
import pytest
import torch

from senas_bench.kernels import engines
from senas_bench.networks.mixture import Mixture
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import Alphas, gradient_through
from senas_bench.training.checkpoint import read_checkpoint, write_checkpoint

SPACE = SearchSpace("toy", ("a", "b", "c", "d"), ("e0", "e1", "e2"), ((0, 2), (1,), (0, 1, 2, 3)))
ALIVE = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)


class Images:
    """Two batches an epoch; their order is the generator's."""

    def epoch(self, generator):
        first = int(torch.randint(2, (1,), generator=generator))
        return iter([(first, "x"), (1 - first, "y")])


def some_alphas(space: SearchSpace = SPACE, seed: int = 0, **settings) -> Alphas:
    return Alphas(space, Images(), torch.Generator().manual_seed(seed), **settings)


def with_logits(values) -> Alphas:
    alphas = some_alphas()
    with torch.no_grad():
        alphas.logits.copy_(torch.tensor(values))
    return alphas


def test_start_is_nearly_uniform_and_drawn_from_the_generator():
    logits = some_alphas(NB201).logits.detach()
    assert logits.shape == (6, 5)
    assert 2e-4 < logits.std() < 3e-3 and logits.abs().max() < 6e-3
    assert torch.equal(logits, some_alphas(NB201).logits)
    assert not torch.equal(logits, some_alphas(NB201, seed=1).logits)


def test_probabilities_are_the_softmax_over_the_alive_operators():
    alphas = with_logits([[0.0, 50.0, math.log(3), 50.0], [-9.0, -7.0, 50.0, 50.0], [0.0, 0.0, math.log(2), 0.0]])
    expected = torch.tensor([[0.25, 0, 0.75, 0], [0, 1, 0, 0], [0.2, 0.2, 0.4, 0.2]])
    torch.testing.assert_close(alphas.probabilities().detach(), expected)
    torch.testing.assert_close(alphas.log_probabilities().detach(), expected.log())


def test_dead_operators_have_no_probability_and_no_gradient():
    alphas = some_alphas()
    probabilities = alphas.probabilities()
    assert torch.equal(probabilities.detach() != 0, ALIVE)
    factors = torch.arange(1.0, 13).view(3, 4).square()
    (gradient,) = torch.autograd.grad((probabilities * factors).sum(), alphas.logits)
    assert gradient.isfinite().all()
    assert (gradient[~ALIVE] == 0).all()
    assert torch.equal(gradient != 0, ALIVE & (ALIVE.sum(1, keepdim=True) > 1))


def test_a_gradient_given_for_dead_operators_is_dropped():
    alphas = some_alphas(weight_decay=0.0)
    before = alphas.logits.detach().clone()
    alphas.apply(torch.ones(3, 4))
    assert torch.equal(alphas.logits.detach() != before, ALIVE)
    assert alphas.logits.grad is None


def test_steps_of_adam_by_hand():
    """Decay joins the gradient, as torch's Adam and not AdamW has it."""
    lr, (first, second), decay = 0.1, (0.5, 0.9), 0.01
    alphas = some_alphas(lr=lr, betas=(first, second), weight_decay=decay)
    logits = alphas.logits.detach().double()
    mean = square = torch.zeros(3, 4, dtype=torch.float64)
    for step in (1, 2, 3):
        gradient = torch.randn(3, 4, generator=torch.Generator().manual_seed(step))
        alphas.apply(gradient)
        total = gradient.double().masked_fill(~ALIVE, 0) + decay * logits
        mean = first * mean + (1 - first) * total
        square = second * square + (1 - second) * total**2
        logits = logits - lr * (mean / (1 - first**step)) / ((square / (1 - second**step)).sqrt() + 1e-8)
    torch.testing.assert_close(alphas.logits.detach()[ALIVE].double(), logits[ALIVE], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_resumed_from_a_checkpoint_it_goes_on_bit_identically(tmp_path, steps):
    gradients = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(3))
    whole, resumed = some_alphas(), some_alphas(seed=7)
    for gradient in gradients[:steps]:
        whole.apply(gradient)
    write_checkpoint(tmp_path / "c", whole.tensors(), {})
    resumed.load(read_checkpoint(tmp_path / "c")[0])
    for gradient in gradients[steps:]:
        whole.apply(gradient)
        resumed.apply(gradient)
    mine, other = whole.tensors(), resumed.tensors()
    assert set(mine) == {"logits", "adam-step", "adam-exp_avg", "adam-exp_avg_sq"} == set(other)
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_each_epoch_gives_its_images_once_and_in_the_generators_order():
    alphas, generator = some_alphas(), torch.Generator().manual_seed(5)
    orders = []
    for _ in range(12):
        alphas.begin_epoch(generator)
        orders.append((alphas.next_batch(), alphas.next_batch()))
        with pytest.raises(StopIteration):
            alphas.next_batch()
    assert set(orders) == {((0, "x"), (1, "y")), ((1, "x"), (0, "y"))}
    alphas.begin_epoch(generator)
    alphas.next_batch()
    alphas.begin_epoch(generator)
    assert alphas.next_batch()[1] == "x"  # a new epoch starts over, wherever the old one was


def test_before_the_first_epoch_there_are_no_images():
    with pytest.raises(StopIteration):
        some_alphas().next_batch()


def test_score_of_an_arch_is_its_log_probability():
    alphas = some_alphas()
    archs = SPACE.archs()
    table = alphas.probabilities().detach().numpy()
    expected = [math.log(math.prod(float(table[edge, op]) for edge, op in enumerate(arch))) for arch in archs.tolist()]
    np.testing.assert_allclose(alphas.arch_scores(archs), expected, rtol=1e-5)
    assert np.exp(alphas.arch_scores(archs)).sum() == pytest.approx(1, rel=1e-6)
    best = tuple(alphas.probabilities().argmax(1).tolist())
    assert tuple(archs[np.argmax(alphas.arch_scores(archs))].tolist()) == best
    assert alphas.arch_scores(np.array([[1, 1, 0]])).item() == -math.inf  # an operator that is not alive


@pytest.mark.parametrize("engine", ["torch", None])
def test_a_path_of_none_has_no_gradient_in_any_logit(engine):
    """Nothing reaches the output, and the weights are spared: no tensor of the loss has a gradient."""
    alphas, network = some_alphas(NB201), NB201Network(NB201, channels=8, cells=1)
    x = torch.randn(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    rows = torch.nn.functional.one_hot(torch.zeros(6, dtype=torch.long), 5)
    with engines.using(engine):
        path = Mixture.of(rows * alphas.probabilities())
        gradient, passes = gradient_through(path, alphas, network, (x, torch.zeros(4, dtype=torch.long)))
    assert passes == 1 and gradient.shape == (6, 5) and not gradient.any()
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
