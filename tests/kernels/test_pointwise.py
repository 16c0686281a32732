import subprocess
import sys

import pytest
import torch

from senas_bench.kernels import pointwise
from senas_bench.kernels.convolutions import Conv2d
from senas_bench.kernels.pointwise import PointConv2d

GRADIENT = """
import sys
import torch
from senas_bench.kernels.convolutions import Conv2d
from senas_bench.kernels.pointwise import PointConv2d
kind, channels, side, batch, threads = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
torch.manual_seed(0)
layer = PointConv2d(channels, 4, 2) if kind == "point" else Conv2d(channels, 4, 1, 2)
x = torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
out = layer(x)
back = torch.randn(out.shape)
dx, dw = torch.autograd.grad(out, (x, layer.weight), back)
read, back = x.detach()[:, :, ::2, ::2].double(), back.double()
weight = layer.weight.detach()[:, :, 0, 0].double()
assert torch.allclose(out.double(), torch.einsum("bchw,oc->bohw", read, weight), atol=1e-5)
assert torch.allclose(dw[:, :, 0, 0].double(), torch.einsum("bchw,bohw->oc", read, back), rtol=1e-4, atol=1e-3), dw
spread = torch.zeros(x.shape, dtype=torch.float64)
spread[:, :, ::2, ::2] = torch.einsum("bohw,oc->bchw", back, weight)
assert torch.allclose(dx.double(), spread, atol=1e-5)
"""
NETWORK = """
import sys
import torch
from senas_bench.spaces.darts.network import DartsNetwork
from senas_bench.spaces.darts import DARTS_SEPARATE, GENOTYPES, DartsSkeleton, arch_from_genotype
channels = int(sys.argv[1])
torch.set_num_threads(1)
skeleton = DartsSkeleton(224, 3, channels=channels, layers=3, reductions=(1,), stem="imagenet")
network = DartsNetwork(DARTS_SEPARATE, skeleton).to(memory_format=torch.channels_last)
x = torch.randn(2, 3, 224, 224).to(memory_format=torch.channels_last)
for _ in range(2):
    network(x, arch_from_genotype(GENOTYPES["DARTS_V2"])).sum().backward()
assert all(weight.grad.isfinite().all() for weight in network.parameters() if weight.grad is not None)
"""


def run(program: str, *arguments: object) -> None:
    """In a process of its own, which the fault would end, stop or damage."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "channels", "side", "batch", "threads"),
    [("point", 4, 32, 32, 1), ("point", 4, 8, 64, 2), ("point", 8, 56, 2, 1), ("conv", 4, 32, 32, 1)],
)
def test_the_gradients_are_those_of_the_definition(kind, channels, side, batch, threads):
    run(GRADIENT, kind, channels, side, batch, threads)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [4, 8])
def test_a_narrow_darts_network_of_large_images_trains(channels):
    run(NETWORK, channels)


@pytest.mark.parametrize(
    ("lanes", "channels", "side", "threads", "copied"),
    [
        (8, 7, 8, 1, True),
        (8, 8, 224, 2, False),
        (16, 8, 16, 1, False),  # what preset `cpu` has
        (16, 8, 44, 1, False),
        (16, 8, 46, 1, True),
        (16, 15, 8, 2, True),
        (16, 16, 224, 2, False),
    ],
)
@pytest.mark.parametrize("kind", [PointConv2d, lambda *size: Conv2d(*size[:2], 1, size[2])])
def test_only_where_it_must_be_it_is_another_sum(monkeypatch, kind, lanes, channels, side, threads, copied):
    monkeypatch.setattr(pointwise, "lanes", lambda: lanes)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    strides, conv2d = [], torch.nn.functional.conv2d

    def seen(x, weight, bias=None, stride=1, *rest):
        strides.append(stride)
        return conv2d(x, weight, bias, stride, *rest)

    monkeypatch.setattr(torch.nn.functional, "conv2d", seen)
    x = torch.randn(1, channels, side, side).to(memory_format=torch.channels_last)
    for layer in (kind(channels, 4, 2), kind(channels, 4, 1)):
        layer(x)
    with torch.no_grad():
        kind(channels, 4, 2)(x)
    assert strides == [1 if copied else (2, 2), (1, 1), (2, 2)]
