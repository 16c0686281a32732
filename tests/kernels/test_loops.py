import copy
import errno
import itertools
import platform
import re
import shutil
import subprocess
import tempfile

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from senas_bench.kernels import build, convolutions, engines, norms
from senas_bench.kernels.processor import instructions
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.spaces.mobilenet import MOBILENET, small_image
from senas_bench.spaces.mobilenet.network import MobileNetwork
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def compiled(home, monkeypatch):
    """The kernels, compiled into a cache that was empty; on one thread, and at all sizes on every processor."""
    monkeypatch.setenv("SENAS_HOME", str(home))
    monkeypatch.setitem(engines.LIMITS, instructions(), engines.Limits(engines.ALWAYS, engines.ALWAYS))
    build.library.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield build.library()
    torch.set_num_threads(threads)
    build.library.cache_clear()


def channels_last(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 3.0
    return x.contiguous(memory_format=torch.channels_last)


def need(compiled) -> None:
    if compiled is None:
        pytest.skip("no C compiler here")


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3, 8, 12, 64, 100])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_batch_norm(compiled, channels, affine, eps):
    need(compiled)
    norm = torch.nn.BatchNorm2d(channels, eps, affine=affine)
    if affine:
        torch.nn.init.uniform_(norm.weight)
        torch.nn.init.uniform_(norm.bias)
    z = channels_last(5, channels, 7, 3)
    with torch.no_grad():
        value, rect = norms.combine([norms.normalise(z, norm)], [], True, True)
        expected = norm.double()(z.double()).float()
    torch.testing.assert_close(value, expected, rtol=0, atol=5e-6)
    assert torch.equal(rect, torch.relu(value))


def test_without_momentum_running_statistics_are_means_over_batches(compiled):
    need(compiled)
    norm = torch.nn.BatchNorm2d(3, momentum=None)
    twin = copy.deepcopy(norm).double()
    for seed in range(2):
        z = channels_last(4, 3, 5, 6, seed=seed)
        norms.normalise(z, norm)
        twin(z.double())
    for name, buffer in twin.named_buffers():
        torch.testing.assert_close(norm.get_buffer(name).double(), buffer.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_outlier_in_the_first_pixel_does_not_spoil_the_variance(compiled):
    need(compiled)
    z = torch.zeros(64, 8, 32, 32).contiguous(memory_format=torch.channels_last)
    z[:, :, 5, 5] = 0.01
    z[0, :, 0, 0] = 1.0
    factors = norms.normalise(z, torch.nn.BatchNorm2d(8, affine=False)).factors
    variance, mean = torch.var_mean(z.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close(factors[4].double(), variance, rtol=1e-5, atol=0)
    torch.testing.assert_close(factors[2].double(), mean, rtol=1e-5, atol=0)


@pytest.mark.slow
def test_sums_of_other_shapes_are_refused(compiled):
    need(compiled)
    for shapes in ([(2, 4, 5, 5), (2, 4, 4, 4)], [(2, 4, 5, 5)] * 4, [(1, 2049, 1, 1)]):
        with pytest.raises(ValueError, match="cannot add tensors"):
            norms.combine([], [channels_last(*shape) for shape in shapes], True, False)


@pytest.mark.parametrize("side", [pytest.param(9, marks=pytest.mark.slow), 10])
def test_sides_that_cannot_be_halved_twice_are_refused_as_by_torch(compiled, monkeypatch, side):
    monkeypatch.setattr(norms, "SMALLEST", 0)
    network = NB201Network(NB201, channels=4, cells=1).to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="must match the size"):
        network(channels_last(4, 3, side, side), (3,) * 6)


@pytest.mark.parametrize(("normalised", "plain"), [(3, 0), (0, 3), (1, 2), (2, 1), (0, 1)])
def test_sums(compiled, normalised, plain):
    need(compiled)
    norm = torch.nn.BatchNorm2d(6, affine=False)
    tensors = [channels_last(4, 6, 9, 9, seed=seed) for seed in range(normalised + plain)]
    value, rect = norms.combine(
        [norms.normalise(z, norm) for z in tensors[:normalised]], tensors[normalised:], True, False
    )
    expected = sum([norm(z) for z in tensors[:normalised]] + tensors[normalised:])
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    assert rect is None


def looped(name: str, x, sized, like) -> torch.Tensor:
    """What a loop makes of `x`, told the size of `sized`: something of the shape of `like`."""
    out = torch.empty_like(like.detach())
    build.call(name, *build.images(x)[:1], *build.images(sized)[1:], out)
    return out


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 16, 2, 2), (3, 5, 4, 9)])
def test_pool(compiled, shape):
    need(compiled)
    x = channels_last(*shape)
    expected = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(looped("pool", x, x, x), expected)


def test_what_is_not_a_number_stays_so(compiled):
    """Or training would not see that it diverged."""
    need(compiled)
    norm = torch.nn.BatchNorm2d(2, affine=False)
    z = channels_last(2, 2, 3, 3)
    z[0, 1, 0, 0] = float("nan")
    with torch.no_grad():
        value, rect = norms.combine([norms.normalise(z, norm)], [], True, True, cap=6.0)
    for tensor in (value, rect):
        assert tensor[:, 1].isnan().all() and not tensor[:, 0].isnan().any()


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 5, 8, 24, 64, 96])
@pytest.mark.parametrize(
    ("normalised", "plain", "affine"),
    [
        *[(*counts, False) for counts in [(0, 1), (0, 2), (0, 3)]],
        *[(*counts, a) for counts in [(1, 0), (2, 0), (3, 0), (1, 1), (1, 2), (2, 1)] for a in (False, True)],
    ],
)
@pytest.mark.parametrize(("value", "rect"), [(True, True), (True, False), (False, True)])
def test_gradients_of_sums(compiled, channels, normalised, plain, affine, value, rect):
    """All gradients and running statistics, beside torch's in double precision."""
    need(compiled)
    torch.manual_seed(0)
    layers = [torch.nn.BatchNorm2d(channels, affine=affine) for _ in range(normalised)]
    for norm in layers if affine else []:
        torch.nn.init.uniform_(norm.weight)
        torch.nn.init.uniform_(norm.bias)
    copies = [copy.deepcopy(norm).double() for norm in layers]
    tensors = [channels_last(4, channels, 5, 6, seed=seed).requires_grad_() for seed in range(normalised + plain)]
    doubles = [tensor.detach().double().requires_grad_() for tensor in tensors]
    back = [channels_last(4, channels, 5, 6, seed=seed) for seed in (10, 11)]

    made = [norms.normalise(z, norm) for z, norm in zip(tensors, layers, strict=False)]
    outputs = norms.combine(made, tensors[normalised:], value, rect, cap=2.0)
    total = sum([norm(z) for z, norm in zip(doubles, copies, strict=False)] + doubles[normalised:])
    expected = [total if value else None, total.clamp(0, 2) if rect else None]
    back[1] *= ((total.abs() > 1e-4) & ((total - 2).abs() > 1e-4)).float()  # at a kink rounding decides
    for results, gradients in ((outputs, back), (expected, [gradient.double() for gradient in back])):
        sum(
            (out * gradient).sum() for out, gradient in zip(results, gradients, strict=True) if out is not None
        ).backward()

    for ours, theirs in zip(tensors, doubles, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-4)
    weights = [[weight for norm in each for weight in norm.parameters()] for each in (layers, copies)]
    for ours, theirs in zip(*weights, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-3)
    for ours, theirs in zip(layers, copies, strict=True):
        for name, buffer in theirs.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name).double(), buffer.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 16, 2, 2), (3, 5, 4, 9)])
def test_gradient_of_the_pool(compiled, shape):
    need(compiled)
    x, back = channels_last(*shape).requires_grad_(), channels_last(*shape, seed=1)
    expected = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    got = looped("pool_backward", back, x, x)
    torch.testing.assert_close(got, torch.autograd.grad(expected, x, back)[0], rtol=1e-5, atol=1e-6)


DEPTHWISE = [
    ([1, 4, 8, 13, 24][number % 5], *shape, *[(2, 2), (4, 5), (9, 8)][number % 3])
    for number, shape in enumerate([*itertools.product([3, 5, 7], [1, 2], [1, 2])] * 2)
]
"""Of 180 cases 24, among which are all kernels, strides and dilations, and any two values together."""


def test_any_two_values_are_together_in_a_case_of_a_depthwise_convolution():
    """Channels, kernel, stride, dilation and side."""
    cases = [(*case[:4], case[4:]) for case in DEPTHWISE]
    counts = [5, 3, 2, 2, 3]
    for one, other in itertools.combinations(range(5), 2):
        assert len({(case[one], case[other]) for case in cases}) == counts[one] * counts[other]


@pytest.mark.parametrize(("channels", "kernel", "stride", "dilation", "height", "width"), DEPTHWISE)
def test_gradients_of_a_depthwise_convolution(compiled, channels, kernel, stride, dilation, height, width):
    need(compiled)
    padding = dilation * (kernel // 2)
    layer = convolutions.DepthwiseConv2d(channels, kernel, stride, padding, dilation)
    x = channels_last(3, channels, height, width).requires_grad_()
    output = layer(x)
    back = channels_last(*output.shape, seed=1)
    plain = torch.nn.functional.conv2d(x.double(), layer.weight.double(), None, stride, padding, dilation, channels)
    torch.testing.assert_close(output.double(), plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        torch.autograd.grad(output, [x, layer.weight], back),
        torch.autograd.grad(plain, [x, layer.weight], back.double()),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_depthwise_convolution_that_changes_the_size(compiled, padding, stride):
    need(compiled)
    layer, x = convolutions.DepthwiseConv2d(8, 5, stride, padding), channels_last(3, 8, 9, 8).requires_grad_()
    output = layer(x)
    back = channels_last(*output.shape, seed=1)
    plain = torch.nn.functional.conv2d(x, layer.weight, None, stride, padding, 1, 8)
    torch.testing.assert_close(
        torch.autograd.grad(output, [x, layer.weight], back),
        torch.autograd.grad(plain, [x, layer.weight], back),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.slow
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_a_network_is_the_same_function(compiled, affine, shared):
    """Every 61st arch, beside torch."""
    need(compiled)
    torch.manual_seed(0)
    network = NB201Network(NB201, channels=4, cells=2, affine=affine).to(memory_format=torch.channels_last)
    x = channels_last(16, 3, 8, 8)
    archs = [tuple(row) for row in NB201.archs()[::61].tolist()]
    with evaluation_mode(network, "batch"), torch.no_grad():
        assert network.by_loops(x)
        cache = {} if shared else None
        got = torch.stack([network(x, arch, cache) for arch in archs])
        with engines.using("torch"):
            assert not network.by_loops(x)
            expected = torch.stack([network(x, arch) for arch in archs])
            again = {}
            torch.testing.assert_close(torch.stack([network(x, arch, again) for arch in archs]), expected)
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-5)


def trained(network, x: torch.Tensor, archs, lr: float) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of a step on each arch, and what the network holds then."""
    optimizer = torch.optim.SGD(network.parameters(), lr, momentum=0.9)
    losses = []
    for arch in archs:
        loss = torch.nn.functional.cross_entropy(network(x, arch), torch.arange(len(x)) % 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, network.state_dict()


def archs_of(space, count: int) -> list[tuple[int, ...]]:
    return [space.sample(np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize(
    ("make", "archs", "lr"),
    [
        (lambda: NB201Network(NB201, channels=8, cells=1), archs_of(NB201, 12), 0.01),
        (lambda: NB201Network(NB201, channels=8, cells=1, affine=True), archs_of(NB201, 12), 0.01),
        (lambda: MobileNetwork(MOBILENET, small_image(8, 10, 3, factor=0.1)), archs_of(MOBILENET, 1), 0.001),
    ],
    ids=["nasbench201", "nasbench201-affine", "mobilenet"],
)
def test_it_trains_as_torch_does(compiled, monkeypatch, make, archs, lr):
    """Losses, and what the steps changed of weights and running statistics, beside torch in double precision."""
    need(compiled)
    monkeypatch.setattr(norms, "SMALLEST", 0)
    torch.manual_seed(0)
    network = make().to(memory_format=torch.channels_last)
    x = channels_last(32, 3, 8, 8)
    before = {name: tensor.double() for name, tensor in network.state_dict().items()}
    twin = copy.deepcopy(network).double()
    losses, state = trained(network, x, archs, lr)
    with engines.using("torch"):
        expected, theirs = trained(twin, x.double(), archs, lr)
    assert losses == pytest.approx(expected, abs=1e-3)
    ours, theirs = (
        torch.cat([(after[name].double() - before[name]).flatten() for name in before]) for after in (state, theirs)
    )
    assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_weights_out_of_the_path_stay_as_they_are(compiled, monkeypatch):
    """Neither gradient nor decay: a dead edge's operator is not part of the path."""
    need(compiled)
    monkeypatch.setattr(norms, "SMALLEST", 0)
    network = NB201Network(NB201, channels=4, cells=1).to(memory_format=torch.channels_last)
    network(channels_last(8, 3, 8, 8), (3, 3, 0, 0, 0, 0)).sum().backward()
    inside = {name for name, weight in network.named_parameters() if ".choices." in name and weight.grad is not None}
    assert inside == set()  # node 3 has no inputs, so nothing that leads to nodes 1 and 2 counts
    network(channels_last(8, 3, 8, 8), (3, 3, 0, 2, 0, 0)).sum().backward()
    assert {
        name.split(".")[3]
        for name, weight in network.named_parameters()
        if ".choices." in name and weight.grad is not None
    } == {"3"}


def test_other_modes_and_tensors_are_left_to_torch(compiled):
    need(compiled)
    network, x = NB201Network(NB201, channels=4, cells=1), channels_last(4, 3, 8, 8)
    with torch.no_grad():
        with evaluation_mode(network, "running"):
            assert not network.by_loops(x)
        with evaluation_mode(network, "batch"):
            assert network.by_loops(x)
            assert not network.by_loops(x.contiguous())
            assert not network.by_loops(x.double())
            assert not network.by_loops(x[:0])
            assert not network.by_loops(channels_last(4, 3, 10, 8))
            torch.set_num_threads(2)
            assert not network.by_loops(x)


def test_single_norms_of_small_batches_train_by_torch(compiled):
    need(compiled)
    small, norm = channels_last(64, 3, 8, 8), torch.nn.BatchNorm2d(3)
    assert not norms.can_normalise(small, norm)
    with torch.no_grad():
        assert norms.can_normalise(small, norm)


def test_a_counter_of_flops_sees_everything(compiled):
    need(compiled)
    network, x = NB201Network(NB201, channels=8, cells=1), channels_last(4, 3, 8, 8)
    with FlopCounterMode(display=False) as counter:
        network(x, (3,) * 6).sum().backward()
    with FlopCounterMode(display=False) as expected:
        torch.nn.functional.conv2d(x, network.stem[0].weight, padding=1)
    assert counter.get_total_flops() > 20 * expected.get_total_flops()


@pytest.mark.parametrize(
    ("batch", "height", "width", "c_in", "c_out", "kernel", "stride"),
    [
        (5, 8, 8, 1, 8, 3, 1),
        (5, 9, 7, 3, 8, 3, 1),
        (64, 8, 8, 8, 16, 3, 2),
        (3, 4, 6, 16, 32, 3, 2),
        (70, 2, 2, 32, 32, 3, 1),  # more than one group of images
        (2, 32, 32, 8, 24, 3, 1),
        (300, 1, 1, 16, 8, 1, 1),
        (7, 8, 8, 16, 8, 1, 2),
        (3, 8, 8, 5, 40, 3, 2),
        (2, 6, 6, 8, 64, 5, 1),
    ],
)
@pytest.mark.parametrize("weights_last", [False, True])
def test_a_convolution_and_its_gradients(compiled, batch, height, width, c_in, c_out, kernel, stride, weights_last):
    """Beside torch's in double precision."""
    need(compiled)
    layer = convolutions.Conv2d(c_in, c_out, kernel, stride)
    if weights_last:
        layer = layer.to(memory_format=torch.channels_last)
    x = channels_last(batch, c_in, height, width).requires_grad_()
    assert layer.by_loops(x) and engines.usable(x)
    output = layer(x)
    back = channels_last(*output.shape, seed=1) - 3.0
    doubles = [x.detach().double().requires_grad_(), layer.weight.detach().double().requires_grad_()]
    plain = torch.nn.functional.conv2d(doubles[0], doubles[1], None, stride, kernel // 2)
    torch.testing.assert_close(output.double(), plain, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(layer(x), output)
    gradients = torch.autograd.grad(output, [x, layer.weight], back)
    torch.testing.assert_close(
        [gradient.double() for gradient in gradients],
        list(torch.autograd.grad(plain, doubles, back.double())),
        rtol=1e-4,
        atol=1e-3,
    )
    assert gradients[1].stride() == layer.weight.stride()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (convolutions.Conv2d(8, 12, 3), (2, 8, 8, 8)),
        (convolutions.Conv2d(8, 72, 3), (2, 8, 8, 8)),
        (convolutions.Conv2d(8, 8, 3, 2), (2, 8, 7, 8)),
        (convolutions.Conv2d(8, 8, 3), (2, 8, 33, 32)),
    ],
    ids=["odd channels", "wide", "odd side", "large image"],
)
def test_other_convolutions_are_left_to_torch(compiled, layer, shape):
    need(compiled)
    x = channels_last(*shape)
    assert not layer.by_loops(x)
    expected = torch.nn.functional.conv2d(x, layer.weight, None, layer.stride, layer.padding)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (convolutions.Conv2d(3, 8, 3), channels_last(2, 4, 8, 8)),
        (convolutions.Conv2d(3, 64, 5), channels_last(2, 512, 1, 2)),
        (convolutions.Conv2d(8, 8, 3).double(), channels_last(2, 8, 8, 8)),
        (convolutions.Conv2d(8, 8, 3).bfloat16(), channels_last(2, 8, 8, 8)),
        (NB201Network(NB201, channels=8, cells=1), channels_last(4, 1, 8, 8)),
        (NB201Network(NB201, channels=8, cells=1).double(), channels_last(4, 3, 8, 8)),
    ],
    ids=["channels", "many channels", "double", "bfloat16", "network's channels", "double network"],
)
def test_what_torch_refuses_is_refused(compiled, layer, x):
    need(compiled)
    with pytest.raises(RuntimeError):
        layer(x, (3,) * 6) if isinstance(layer, NB201Network) else layer(x)
    assert all(int(norm.num_batches_tracked) == 0 for norm in layer.modules() if hasattr(norm, "num_batches_tracked"))


def test_norms_of_other_types_are_left_to_torch(compiled):
    need(compiled)
    x, strided = channels_last(64, 16, 8, 8), torch.nn.BatchNorm2d(16)
    strided.running_mean = torch.zeros(16, 2)[:, 0]
    with torch.no_grad():
        assert norms.can_normalise(x, torch.nn.BatchNorm2d(16))
        for norm in (torch.nn.BatchNorm2d(16).half(), torch.nn.BatchNorm2d(8), strided):
            assert not norms.can_normalise(x, norm)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_network_can_be_traced_and_transformed(compiled):
    need(compiled)
    network, x = NB201Network(NB201, channels=8, cells=1).eval(), channels_last(4, 3, 8, 8)

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x, (3,) * 6)

    fixed = Fixed()
    with torch.no_grad():
        traced = torch.jit.trace(fixed, x)
        torch.testing.assert_close(traced(x), fixed(x), rtol=1e-4, atol=1e-4)
    weights = dict(fixed.named_parameters())
    gradients = torch.func.grad(lambda w: torch.func.functional_call(fixed, w, (x,)).sum())(weights)
    fixed(x).sum().backward()
    name = "network.stem.0.weight"
    torch.testing.assert_close(gradients[name], weights[name].grad, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_an_input_is_added_to_what_is_there(compiled):
    need(compiled)
    layer, x = convolutions.Conv2d(8, 16, 3), channels_last(3, 8, 4, 4)
    back, sum_ = channels_last(3, 16, 4, 4, seed=1), channels_last(3, 8, 4, 4, seed=2)
    for by_loops in (True, False):
        alone, _ = convolutions.convolution_backward(back, x, layer.weight, 1, by_loops, True, False)
        added = sum_.clone(memory_format=torch.preserve_format)
        result, _ = convolutions.convolution_backward(back, x, layer.weight, 1, by_loops, True, False, added)
        assert result is added
        torch.testing.assert_close(added, sum_ + alone, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 16, 2, 2), (3, 5, 4, 10)])
def test_halving(compiled, shape):
    need(compiled)
    x = channels_last(*shape).requires_grad_()
    expected = torch.nn.functional.avg_pool2d(x, 2)
    back = channels_last(*expected.shape, seed=1)
    torch.testing.assert_close(looped("halve", x, expected, expected), expected)
    got = looped("halve_backward", back, back, x)
    torch.testing.assert_close(got, torch.autograd.grad(expected, x, back)[0])


@pytest.fixture
def fresh(compiled, monkeypatch, tmp_path):
    """Kernels that are not loaded yet and have an empty cache, which is returned; forgotten in the end."""
    if not usual_compiler() or platform.system() != "Linux":
        pytest.skip("no C compiler")
    monkeypatch.setattr(build, "FLAGS", ("-shared", "-fPIC"))  # quick to compile
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SENAS_COMPILE", raising=False)
    build.library.cache_clear()
    yield tmp_path / "home" / "kernels"
    build.library.cache_clear()


def usual_compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


UNAVAILABLE = [
    ("false", "the C compiler false failed (exit code 1)"),
    ("/nowhere/cc", "the C compiler /nowhere/cc cannot run (No such file or directory)"),
    ("{cc} -fno-such-option", "error: unrecognized command"),
    ("{cc} 'a", "is no command (No closing quotation)"),
    ("true", "what `true` compiled cannot be kept or loaded"),
    ("{cc} -Dstatistics=other", "undefined symbol: statistics"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "why"), UNAVAILABLE)
def test_where_they_cannot_be_had_torch_does_it_and_one_warning_says_why(fresh, monkeypatch, command, why):
    monkeypatch.setenv("CC", command.format(cc=usual_compiler()))
    network, x = NB201Network(NB201, channels=4, cells=1), channels_last(4, 3, 8, 8)
    with torch.no_grad(), evaluation_mode(network, "batch"), pytest.warns(UserWarning) as warned:
        assert not network.by_loops(x)
        assert network(x, (3,) * 6).shape == (4, 10)
    (message,) = [str(warning.message) for warning in warned]
    assert why in message and "torch computes instead" in message and "\n" not in message
    with pytest.raises(build.Unavailable, match=re.escape(why)):
        build.load()


def test_without_any_compiler_the_cause_is_that(fresh, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(build.Unavailable, match="no C compiler is found"):
        build.load()


@pytest.mark.parametrize("command", ["{cc} -DNOTHING", "{env} -- {cc}", " {cc} ", "{cc} -D'A B=1'"])
def test_a_compiler_may_have_options_and_a_launcher(fresh, monkeypatch, command):
    monkeypatch.setenv("CC", command.format(cc=usual_compiler(), env=shutil.which("env")))
    assert build.library() is not None
    assert len(list(fresh.glob("*.so"))) == 1


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"x" * len(data)]
)
def test_a_damaged_library_in_the_cache_is_compiled_again(fresh, damage):
    build.load()
    (path,) = fresh.glob("*.so")
    whole = path.read_bytes()
    path.unlink()  # so that the file which this process has loaded stays whole
    path.write_bytes(damage(whole))
    build.load()
    assert path.read_bytes() == whole


def as_a_file(home, patch):
    home.parent.write_text("not a folder")


def nowhere(home, patch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    patch.setattr(build, "cache_home", no_home)


@pytest.mark.parametrize("trouble", [as_a_file, nowhere])
def test_where_the_cache_cannot_be_used_they_are_compiled_elsewhere(fresh, monkeypatch, tmp_path, trouble):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trouble(fresh, monkeypatch)
    assert build.library() is not None
    assert not list(tmp_path.glob("senas-bench-*"))


def test_where_no_disk_has_room_the_cause_is_that(fresh, monkeypatch):
    def no_room(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build, "atomic_write", no_room)
    with pytest.raises(build.Unavailable, match="No space left on device"):
        build.load()


def test_it_is_compiled_once(compiled, monkeypatch):
    need(compiled)
    build.library.cache_clear()

    def again(*args, **kwargs):
        raise AssertionError("compiled again")

    monkeypatch.setattr(subprocess, "run", again)
    assert build.library() is not None


def test_it_can_be_forbidden(monkeypatch):
    monkeypatch.setenv("SENAS_COMPILE", "0")
    build.library.cache_clear()
    assert build.library() is None
