import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.networks import kernels
from senas_bench.spaces import SPACES
from senas_bench.spaces.darts import DARTS, DartsSkeleton
from senas_bench.spaces.mobilenet import MOBILENET, small_image
from senas_bench.spaces.nasbench201 import NB201, Skeleton
from senas_bench.training.optimizer import descend


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SHAPES = [(7,), (16, 8, 3, 3), (10, 64), (8, 3, 3, 3), (1,), (0, 4), (5, 8, 1, 1)]


def weights(double: bool = False) -> list[torch.nn.Parameter]:
    """Of several shapes and layouts; the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator) for shape in SHAPES]
    tensors = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
    return [torch.nn.Parameter(tensor.double() if double else tensor) for tensor in tensors]


def run(step, parameters, steps: int, seed: int, size: float = 1.0, **options) -> torch.optim.SGD:
    """Steps in each of which some weights have no gradient."""
    optimizer = torch.optim.SGD(parameters, 0.1, **{"momentum": 0.9, "weight_decay": 0.01, **options})
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for weight in parameters:
            gradient = size * torch.randn(weight.shape, generator=generator)
            keep = torch.rand((), generator=generator) < 0.7
            weight.grad = torch.empty_like(weight).copy_(gradient) if keep else None
        step(optimizer)
    return optimizer


def by_torch(clip: float):
    def step(optimizer: torch.optim.SGD) -> None:
        if clip:
            every = [weight for group in optimizer.param_groups for weight in group["params"]]
            torch.nn.utils.clip_grad_norm_(every, clip)
        optimizer.step()

    return step


def no_torch(optimizer: torch.optim.SGD) -> None:
    optimizer.step = lambda: pytest.fail("torch took the step")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    clip=st.sampled_from([0.0, 0.5, 5.0, 1e6]),
    decay=st.sampled_from([0.0, 5e-4, 0.1]),
    nesterov=st.booleans(),
    steps=st.integers(1, 5),
)
def test_it_is_the_step_of_torch(seed, clip, decay, nesterov, steps):
    """Beside torch in double precision: weights and momenta."""
    if kernels.library() is None:
        pytest.skip("no C compiler here")
    ours, theirs = weights(), weights(double=True)
    options = {"weight_decay": decay, "nesterov": nesterov}

    def step(optimizer):
        no_torch(optimizer)
        descend(optimizer, clip)

    got = run(step, ours, steps, seed, **options)
    expected = run(by_torch(clip), theirs, steps, seed, **options)
    for weight, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight.detach().double(), reference.detach(), rtol=1e-6, atol=2e-6)
        mine, its = (o.state[w].get("momentum_buffer") for o, w in ((got, weight), (expected, reference)))
        assert (mine is None) == (its is None)
        if mine is not None:
            torch.testing.assert_close(mine.double(), its, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("space", [NB201, MOBILENET, DARTS], ids=lambda space: space.name)
def test_the_loops_take_the_steps_of_our_networks(space):
    if kernels.library() is None:
        pytest.skip("no C compiler here")
    torch.manual_seed(0)
    small = {
        "nasbench201": Skeleton(8, 10, channels=8, cells=1),
        "mobilenet": small_image(8, 10, 3, factor=0.1),
        "darts": DartsSkeleton(8, 10, channels=4, layers=3),
    }
    network = SPACES[space.name].network(space, small[space.name], False).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    no_torch(optimizer)
    for seed in range(3):
        optimizer.zero_grad(set_to_none=True)
        x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        arch = space.sample(np.random.default_rng(seed))
        network(x.contiguous(memory_format=torch.channels_last), arch).sum().backward()
        descend(optimizer, 5.0)


def test_momentum_of_either_goes_on_in_the_other():
    """A checkpoint of one machine, where there is no compiler say, goes on at another."""
    ours, theirs = weights(), weights()
    optimizer = run(descend, ours, 3, seed=1)
    other = run(by_torch(0.0), theirs, 3, seed=1)
    for first, second in ((optimizer, ours), (other, theirs)):
        for weight in second:
            weight.grad = torch.ones_like(weight)
        (descend if first is other else by_torch(0.0))(first)
    for weight, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, reference, rtol=1e-5, atol=1e-5)


def test_a_weight_without_gradient_stays_and_gets_no_momentum():
    moved, still = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = torch.optim.SGD([moved, still], 0.1, momentum=0.9, weight_decay=0.1)
    moved.grad = torch.ones(3)
    descend(optimizer, 1e6)
    assert torch.equal(still.detach(), torch.ones(3)) and "momentum_buffer" not in optimizer.state[still]
    assert torch.allclose(moved.detach(), torch.full((3,), 1 - 0.1 * 1.1))


def test_clipping_is_over_all_groups_together():
    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], 1.0, momentum=0.9)
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    descend(optimizer, 1.0)
    assert first.item() == pytest.approx(-0.6) and second.item() == pytest.approx(-0.4 * 0.5 * 2)


def test_what_is_no_number_is_not_hidden():
    weight = torch.nn.Parameter(torch.zeros(4))
    weight.grad = torch.tensor([1.0, math.nan, 1.0, 1.0])
    descend(torch.optim.SGD([weight], 0.1, momentum=0.9), 5.0)
    assert weight.isnan().any()


def test_torch_notices_that_weights_changed():
    weight = torch.nn.Parameter(torch.ones(2))
    loss = (weight**2).sum()
    weight.grad = torch.ones(2)
    descend(torch.optim.SGD([weight], 0.1, momentum=0.9))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def transposed(weight: torch.nn.Parameter) -> None:
    weight.grad = torch.ones(weight.shape[::-1]).t()


def of_double(weight: torch.nn.Parameter) -> None:
    weight.data = weight.data.double()
    weight.grad = torch.ones_like(weight)


@pytest.mark.parametrize(
    ("options", "prepare"),
    [
        ({}, transposed),
        ({}, of_double),
        ({"momentum": 0.0}, None),
        ({"dampening": 0.5}, None),
        ({"maximize": True}, None),
        ({"lr": torch.tensor(0.1)}, None),
    ],
    ids=["transposed gradient", "double", "no momentum", "dampening", "maximize", "tensor rate"],
)
def test_what_the_loops_do_not_know_torch_does(options, prepare):
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    (prepare or (lambda w: setattr(w, "grad", torch.ones_like(w))))(weight)
    other = copy.deepcopy(weight)
    other.grad = weight.grad.clone()
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, **options}
    descend(torch.optim.SGD([weight], **options), 1.0)
    by_torch(1.0)(torch.optim.SGD([other], **options))
    assert torch.equal(weight, other)


@pytest.mark.parametrize("why", ["hook", "threads", "no compiler"])
def test_torch_does_it_where_it_is_asked_to(why, monkeypatch):
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
    taken = []
    if why == "hook":
        optimizer.register_step_post_hook(lambda *_: taken.append(1))
    else:
        step = optimizer.step
        monkeypatch.setattr(optimizer, "step", lambda: taken.append(1) or step())
        if why == "threads":
            torch.set_num_threads(2)
        else:
            monkeypatch.setattr(kernels, "library", lambda: None)
    descend(optimizer)
    assert taken == [1] and torch.allclose(weight.detach(), torch.full((3,), 0.9))
