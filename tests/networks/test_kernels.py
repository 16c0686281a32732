import subprocess

import pytest
import torch

from senas_bench.networks import NB201Network, fused, kernels
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.spaces import NB201


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def compiled(home, monkeypatch):
    """The kernels, compiled into a cache that was empty; on one thread."""
    monkeypatch.setenv("SENAS_HOME", str(home))
    kernels.library.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield kernels.library()
    torch.set_num_threads(threads)
    kernels.library.cache_clear()


def channels_last(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 3.0
    return x.contiguous(memory_format=torch.channels_last)


def need(compiled) -> None:
    if compiled is None:
        pytest.skip("no C compiler here")


@pytest.mark.parametrize("channels", [1, 3, 8, 12, 64, 100])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm(compiled, channels, affine):
    need(compiled)
    norm = torch.nn.BatchNorm2d(channels, affine=affine)
    if affine:
        torch.nn.init.uniform_(norm.weight)
        torch.nn.init.uniform_(norm.bias)
    z = channels_last(5, channels, 7, 3)
    with torch.no_grad():
        value, rect = kernels.combine([kernels.normalise(z, norm)], [], True, True)
        expected = norm.double()(z.double()).float()
    torch.testing.assert_close(value, expected, rtol=0, atol=5e-6)
    assert torch.equal(rect, torch.relu(value))


@pytest.mark.parametrize(("normalised", "plain"), [(3, 0), (0, 3), (1, 2), (2, 1), (0, 1)])
def test_sums(compiled, normalised, plain):
    need(compiled)
    norm = torch.nn.BatchNorm2d(6, affine=False)
    tensors = [channels_last(4, 6, 9, 9, seed=seed) for seed in range(normalised + plain)]
    value, rect = kernels.combine(
        [kernels.normalise(z, norm) for z in tensors[:normalised]], tensors[normalised:], True, False
    )
    expected = sum([norm(z) for z in tensors[:normalised]] + tensors[normalised:])
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    assert rect is None


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 16, 2, 2), (3, 5, 4, 9)])
def test_pool(compiled, shape):
    need(compiled)
    x = channels_last(*shape)
    expected = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(kernels.pool(x), expected)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_a_network_is_the_same_function(compiled, affine, shared):
    """Every 61st arch, beside a pass with gradients, which the kernels do not take."""
    need(compiled)
    torch.manual_seed(0)
    network = NB201Network(NB201, channels=4, cells=2, affine=affine).to(memory_format=torch.channels_last)
    x = channels_last(16, 3, 8, 8)
    archs = [tuple(row) for row in NB201.archs()[::61].tolist()]
    with evaluation_mode(network, "batch"):
        expected = torch.stack([network(x, arch).detach() for arch in archs])
        with torch.no_grad():
            assert fused.possible(network, x)
            cache = {} if shared else None
            got = torch.stack([network(x, arch, cache) for arch in archs])
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-5)


def test_other_modes_and_tensors_are_left_to_torch(compiled):
    need(compiled)
    network, x = NB201Network(NB201, channels=4, cells=1), channels_last(4, 3, 8, 8)
    with torch.no_grad():
        with evaluation_mode(network, "running"):
            assert not fused.possible(network, x)
        with evaluation_mode(network, "batch"):
            assert fused.possible(network, x)
            assert not fused.possible(network, x.contiguous())
            assert not fused.possible(network, x.double())
            torch.set_num_threads(2)
            assert not fused.possible(network, x)


@pytest.mark.parametrize("compiler", ["false", "/nowhere/cc"])
def test_without_a_working_compiler_torch_does_it(monkeypatch, tmp_path, compiler):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / compiler.replace("/", "_")))
    kernels.library.cache_clear()
    network, x = NB201Network(NB201, channels=4, cells=1), channels_last(4, 3, 8, 8)
    with torch.no_grad(), evaluation_mode(network, "batch"):
        assert not fused.possible(network, x)
        assert network(x, (3,) * 6).shape == (4, 10)


def test_it_is_compiled_once(compiled, monkeypatch):
    need(compiled)
    kernels.library.cache_clear()

    def again(*args, **kwargs):
        raise AssertionError("compiled again")

    monkeypatch.setattr(subprocess, "run", again)
    assert kernels.library() is not None


def test_it_can_be_forbidden(monkeypatch):
    monkeypatch.setenv("SENAS_COMPILE", "0")
    kernels.library.cache_clear()
    assert kernels.library() is None
