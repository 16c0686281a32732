import pytest
import torch
import torch.nn.functional as F

from senas_bench.kernels.door import Node, Torch
from senas_bench.networks import operations
from senas_bench.networks.operations import AveragePool3x3, ConvBN, ReductionBlock


def naive_pool(x: torch.Tensor) -> torch.Tensor:
    """The mean of the up to nine pixels that are there, one by one."""
    height, width = x.shape[2:]
    rows = [
        [x[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean((2, 3)) for j in range(width)]
        for i in range(height)
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (7, 9), (8, 8), (8, 5), (8, 1), (9, 2), (16, 11)])
def test_pool_leaves_padding_out_of_the_count(size, layout):
    x = torch.randn(2, 3, *size).contiguous(memory_format=layout)
    torch.testing.assert_close(AveragePool3x3(3)(x), naive_pool(x), rtol=1e-5, atol=1e-6)


def test_one_pool_serves_all_sizes_inference_and_training():
    pool = AveragePool3x3(2)
    for size in (8, 12, 4, 8):
        with torch.inference_mode():
            x = torch.randn(1, 2, size, size)
            torch.testing.assert_close(pool(x), naive_pool(x), rtol=1e-5, atol=1e-6)
        x = torch.randn(1, 2, size, size, requires_grad=True)
        weights = torch.randn(1, 2, size, size)
        (gradient,) = torch.autograd.grad((pool(x) * weights).sum(), x)
        (expected,) = torch.autograd.grad((naive_pool(x) * weights).sum(), x)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_pool_of_bfloat16_goes_back_too(native, layout, monkeypatch):
    """As a convolution and as torch has it: a value is rounded three times at most, to 8 bits, and a gradient four.
    What is in float32 under autocast stays so: a convolution would not keep it."""
    monkeypatch.setattr(operations, "multiplies_bfloat16", lambda: native)
    convolved = []
    monkeypatch.setattr(
        F, "conv2d", lambda *how, conv2d=F.conv2d, **more: convolved.append(how) or conv2d(*how, **more)
    )
    pool, weights = AveragePool3x3(2), torch.randn(3, 2, 9, 8).bfloat16().float()
    x = torch.randn(3, 2, 9, 8).bfloat16().float().contiguous(memory_format=layout).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out, exact = pool(x.bfloat16()), pool(x)
    assert (out.dtype, exact.dtype, len(convolved)) == (torch.bfloat16, torch.float32, native)
    expected = naive_pool(x)
    torch.testing.assert_close(exact, expected, rtol=1e-5, atol=1e-6)
    magnitude = naive_pool(x.abs())  # of what is added up, which is what roundings are a share of
    assert ((out - expected).abs() <= 3.1 * 2**-8 * magnitude).all()
    (gradient,) = torch.autograd.grad((out * weights).sum(), x, retain_graph=True)
    (expected,) = torch.autograd.grad((naive_pool(x) * weights).sum(), x, retain_graph=True)
    (magnitude,) = torch.autograd.grad((naive_pool(x) * weights.abs()).sum(), x)
    assert ((gradient - expected).abs() <= 4.1 * 2**-8 * magnitude).all()


def test_pool_has_nothing_to_learn_or_to_save():
    pool = AveragePool3x3(4)
    pool(torch.randn(1, 4, 8, 8))
    assert list(pool.parameters()) == [] and pool.state_dict() == {}


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_convolution_and_norm(kernel, stride):
    x = torch.randn(4, 2, 8, 8)
    module = ConvBN(2, 5, kernel, stride)
    convolved = F.conv2d(x, module[0].weight, stride=stride, padding=kernel // 2)
    torch.testing.assert_close(module(x), F.batch_norm(convolved, None, None, training=True), rtol=1e-4, atol=1e-5)
    assert module(x).shape == (4, 5, 8 // stride, 8 // stride)
    assert module[0].bias is None
    affine = 2 * 5
    weights = 2 * 5 * kernel**2
    assert sum(weight.numel() for weight in module.parameters()) == weights + affine
    assert sum(weight.numel() for weight in ConvBN(2, 5, kernel, affine=False).parameters()) == weights


def test_reduction_halves_the_resolution():
    block = ReductionBlock(3, 6)
    node = block(Node(Torch(), torch.randn(2, 3, 8, 8)), (True, True))
    assert node.value.shape == (2, 6, 4, 4) and torch.equal(node.rect, torch.relu(node.value))
    # two 3x3 with affine norms, and the 1x1 of the shortcut without
    assert sum(weight.numel() for weight in block.parameters()) == 9 * 3 * 6 + 9 * 6 * 6 + 3 * 6 + 2 * (2 * 6)
