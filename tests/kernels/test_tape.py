import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import prune

from senas_bench.kernels import build, convolutions, engines, tape
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import spared


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if build.library() is None:
        pytest.skip("no C compiler here")
    yield
    torch.set_num_threads(threads)


def images(seed: int = 0) -> torch.Tensor:
    x = torch.randn((32, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


def a_network(channels: int, affine: bool, channels_last: bool = True) -> NB201Network:
    torch.manual_seed(0)
    network = NB201Network(NB201, channels=channels, cells=2, affine=affine)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d) and norm.affine:
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.uniform_(norm.bias)
    return network.to(memory_format=torch.channels_last) if channels_last else network


def gradients(network, x, paths) -> dict[str, torch.Tensor]:
    network.zero_grad(set_to_none=True)
    for path in paths:
        F.cross_entropy(network(x, path), torch.arange(len(x)) % 10).backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def drawn(count: int, seed: int) -> list[tuple]:
    """Paths of one arch for each of six cells."""
    rng = np.random.default_rng(seed)
    return [tuple(NB201.sample(rng) for _ in range(6)) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("channels", [8, 4], ids=["loops", "torch's convolutions"])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_are_those_of_autograd(channels, affine, channels_last):
    """Beside torch in double precision, for each path alone and for the sum of some.

    At the kink of a ReLU rounding may decide, but not on each of three batches.
    """
    network = a_network(channels, affine, channels_last)
    twin = a_network(channels, affine).double()
    paths = [(3,) * 6, (1, 1, 1, 1, 1, 1), (4, 2, 1, 3, 0, 4), (0, 0, 0, 2, 0, 0), *drawn(6, seed=1)]
    for chosen in [*[[path] for path in paths], paths[:4]]:
        errors = []
        for x in map(images, range(3)):
            ours = gradients(network, x, chosen)
            with engines.using("torch"):
                theirs = gradients(twin, x.double(), chosen)
            assert ours.keys() == theirs.keys()
            small = max(float(gradient.norm()) for gradient in theirs.values()) / 100
            errors.append(max(float((ours[k] - theirs[k]).norm() / (theirs[k].norm() + small)) for k in theirs))
        assert min(errors) < 2e-5, chosen


def test_a_pass_is_one_node():
    logits = a_network(8, False)(images(), (3,) * 6)
    node = logits.grad_fn.next_functions[1][0]
    assert type(node).__name__ == "_RecordedBackward"
    assert {type(before).__name__ for before, _ in node.next_functions if before} == {"AccumulateGrad"}


def test_it_goes_back_once():
    loss = a_network(8, False)(images(), (3,) * 6).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward()


def test_a_way_back_that_failed_is_not_gone_on_with(monkeypatch):
    network = a_network(8, False)
    loss = network(images(), (3,) * 6).sum()
    with monkeypatch.context() as patch:

        def fails(*arguments):
            raise MemoryError

        patch.setattr(tape, "library", fails)
        with pytest.raises(MemoryError):
            loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward(retain_graph=True)
    assert all(weight.grad is None for name, weight in network.named_parameters() if "head" not in name)


@pytest.mark.parametrize("changed", ["weight", "image"])
def test_what_changes_before_the_way_back_is_noticed(changed):
    network, x = a_network(8, False), images()
    loss = network(x, (3,) * 6).sum()
    with torch.no_grad():
        (network.stem[0].weight if changed == "weight" else x).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("what", ["hook", "backward hook", "pruned", "replaced", "frozen"])
def test_layers_that_a_tape_does_not_know_are_left_to_autograd(what):
    network = a_network(8, False)
    layer = network.body[0].choices[0].copies["3"]
    if what == "frozen":  # a batch norm that keeps its statistics
        layer[1].eval()
        before = layer[1].running_mean.clone()
        assert not network.by_loops(images(), network._layers([((3,) * 6, (3,) * 6)] * 6))
        network(images(), (3,) * 6).sum().backward()
        assert torch.equal(layer[1].running_mean, before)
        return
    expected = gradients(network, images(), [(3,) * 6])
    calls = []
    if what == "hook":
        layer[0].register_forward_hook(lambda *given: calls.append(1))
    elif what == "backward hook":
        layer[0].register_full_backward_hook(lambda *given: calls.append(1))
    elif what == "pruned":
        prune.identity(layer[0], "weight")
    else:
        plain = torch.nn.Conv2d(8, 8, 3, padding=1, bias=False)
        plain.load_state_dict(layer[0].state_dict())
        layer[0] = plain
    got = gradients(network, images(), [(3,) * 6])
    assert len(calls) == ("hook" in what)
    names = {name: name.replace("weight_orig", "weight") for name in got}
    assert set(names.values()) == expected.keys()
    for name, usual in names.items():
        torch.testing.assert_close(got[name], expected[usual], rtol=1e-3, atol=1e-4)
    assert network.by_loops(images(), network._layers([((1,) * 6, (1,) * 6)] * 6))  # a path that does not use the layer


def test_a_pass_that_nobody_goes_back_over_is_freed():
    network = a_network(8, False)
    recorded = tape.Tape()
    with torch.no_grad():
        z = recorded.convolve(network.stem[0], images())
    gone = weakref.ref(z)
    gc.disable()
    try:
        del z, recorded
        assert gone() is None
    finally:
        gc.enable()


def of_weight(recorded: tape.Tape, body) -> torch.Tensor:
    """The gradient of a convolution's weight where all of what `body` makes of its output comes back as ones."""
    torch.manual_seed(0)
    layer, x = convolutions.Conv2d(8, 8, 1), images()[:, :1].expand(-1, 8, -1, -1)
    with torch.no_grad():
        made = body(recorded.convolve(layer, x.contiguous(memory_format=torch.channels_last)))
        out = recorded.average(made)
    (dw,) = recorded.backward(torch.ones_like(out))
    return dw


def test_a_tensor_that_is_read_twice_gets_the_sum_of_both():
    recorded = tape.Tape()

    def four_times(z):
        first, _ = recorded.combine([], [z], True, False)
        return recorded.combine([], [z, first, first], True, False)[0]

    dw, once = of_weight(recorded, four_times), of_weight(tape.Tape(), lambda z: z)
    torch.testing.assert_close(dw, 3 * once)


def test_a_weight_that_is_used_twice_gets_the_sum_of_both():
    torch.manual_seed(0)
    layer, x = convolutions.Conv2d(8, 8, 3), torch.randn(2, 8, 8, 8).contiguous(memory_format=torch.channels_last)
    recorded = tape.Tape()
    with torch.no_grad():
        out = recorded.average(recorded.convolve(layer, recorded.convolve(layer, x)))
    (dw,) = recorded.backward(torch.ones_like(out))
    with engines.using("torch"):
        (expected,) = torch.autograd.grad(layer(layer(x)).mean((2, 3)).sum(), layer.weight)
    torch.testing.assert_close(dw, expected, rtol=1e-4, atol=1e-4)


def test_without_momentum_running_statistics_are_means_over_batches():
    norm, twin = torch.nn.BatchNorm2d(3, momentum=None), torch.nn.BatchNorm2d(3, momentum=None).double()
    recorded = tape.Tape()
    for seed in range(2):
        with torch.no_grad():
            recorded.normalise(images(seed), norm)
            recorded.do()
        twin(images(seed).double())
    for name, buffer in twin.named_buffers():
        torch.testing.assert_close(norm.get_buffer(name).double(), buffer.double(), rtol=1e-5, atol=1e-5)


def test_frozen_weights_and_images_with_gradients():
    network = a_network(8, False)
    for weight in network.parameters():
        weight.requires_grad_(weight is network.stem[0].weight)
    assert list(gradients(network, images(), [(3,) * 6])) == ["stem.0.weight"]
    x = images().requires_grad_()
    assert not network.by_loops(x)
    network(x, (3,) * 6).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_a_cache_from_another_pass_is_not_used_with_gradients():
    network, cache = a_network(8, False), {}
    with torch.no_grad():
        network(images(), (3,) * 6, cache)
    network(images(), (3,) * 6, cache).sum().backward()
    assert network.stem[0].weight.grad is not None


def learned(network, x, shares, engine) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Logits of a mixture, and the gradients of its shares and of the weights."""
    network.zero_grad(set_to_none=True)
    shares = shares.to(x.dtype, copy=True).requires_grad_()
    with engines.using(engine):
        logits = network(x, shares)
        F.cross_entropy(logits, torch.arange(len(x)) % 10).backward()
    return logits.detach(), shares.grad, {n: w.grad for n, w in network.named_parameters() if w.grad is not None}


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("which", ["all", "some", "one", "dead end"])
def test_a_mixture_and_its_gradients(affine, which):
    """Beside torch in double precision; at the kink of a ReLU rounding may decide, but not on each of three batches."""
    shares = torch.softmax(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), -1)
    if which == "some":
        shares *= torch.rand(6, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    elif which == "one":
        shares = F.one_hot(torch.tensor([3, 2, 1, 4, 3, 1]), 5).float()
    elif which == "dead end":
        shares[1:3] = 0  # node 2 has no inputs
    network = a_network(8, affine)
    twin, errors = a_network(8, affine).double(), []
    for x in map(images, range(3)):
        ours, theirs = learned(network, x, shares, "compiled"), learned(twin, x.double(), shares, "torch")
        torch.testing.assert_close(ours[0].double(), theirs[0], rtol=1e-4, atol=1e-4)
        assert ours[2].keys() == theirs[2].keys()
        pairs = [(ours[1], theirs[1]), *((ours[2][name], theirs[2][name]) for name in theirs[2])]
        small = max(float(gradient.norm()) for _, gradient in pairs) / 100
        errors.append(max(float((mine - its).norm() / (its.norm() + small)) for mine, its in pairs))
    assert min(errors) < 2e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_a_mixture_of_other_numbers_is_read_as_what_it_is(dtype):
    """The loops read float32; what is no power of two is rounded first, so these are."""
    shares = torch.tensor([[0, 1, 2, 4, 1]] * 6, dtype=dtype)
    network, x = a_network(8, False), images()
    with torch.no_grad():
        torch.testing.assert_close(network(x, shares), network(x, shares.float()), rtol=0, atol=0)
    if dtype.is_floating_point:
        ours, usual = shares.clone().requires_grad_(), shares.float().requires_grad_()
        for own in (ours, usual):
            network(x, own).square().sum().backward()
        assert ours.grad.dtype == dtype
        torch.testing.assert_close(ours.grad.float(), usual.grad.to(dtype).float())


def test_a_mixture_is_one_node():
    shares = torch.full((6, 5), 0.2, requires_grad=True)
    node = a_network(8, False)(images(), shares).grad_fn.next_functions[1][0]
    assert type(node).__name__ == "_RecordedBackward"


def test_nobody_computes_gradients_of_weights_that_are_spared(monkeypatch):
    """And those of the shares of operators are the same to the bit."""
    network, logits, made, backward = a_network(8, False), torch.zeros(6, 5, requires_grad=True), [], tape.Tape.backward

    def seen(*given):
        made.append(backward(*given))
        return made[-1]

    monkeypatch.setattr(tape.Tape, "backward", seen)

    def gradient() -> torch.Tensor:
        return torch.autograd.grad(network(images(), logits.softmax(1)).square().sum(), [logits])[0]

    expected = gradient()
    with spared(network):
        found = gradient()
    whole, spare = ([each.dim() for each in gradients if each is not None] for gradients in made)
    assert 4 in whole and set(spare) == {0} and whole.count(0) == len(spare) == 24  # numbers: shares of operators
    assert torch.equal(found, expected)
    assert all(weight.requires_grad for weight in network.parameters())
