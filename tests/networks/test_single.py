import numpy as np
import pytest
import torch

from senas_bench.networks.single import single
from senas_bench.spaces import SPACES, ImageShape

SHAPE = ImageShape(16, 10, 3)


@pytest.fixture(scope="module", params=sorted(SPACES))
def family(request):
    """A space, its supernet with batch norms that have weights, and how a network is built over any part of it."""
    from senas_bench.experiments.studies import preset_of

    space = SPACES[request.param]
    skeleton = space.skeleton(SHAPE, preset_of(request.param, "embedded"))
    torch.manual_seed(0)
    return space, space.network(space.whole, skeleton, True), lambda over: space.network(over, skeleton, True)


def archs(space, count=3):
    rng = np.random.default_rng(0)
    return [space.whole.sample(rng) for _ in range(count)]


def described(network):
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return [(name, tuple(t.shape), t.dtype, t.requires_grad) for name, t in tensors], [
        (name, type(module)) for name, module in network.named_modules()
    ]


def test_it_is_made_as_a_network_built_over_the_arch_alone(family):
    space, network, build = family
    for arch in archs(space):
        assert described(single(network, arch)) == described(build(space.whole.only(arch)))


def test_it_computes_the_path_of_its_arch(family):
    space, network, _ = family
    x = torch.randn(4, 3, 16, 16)
    for arch in archs(space):
        own = single(network, arch)
        assert torch.equal(own(x, arch), network(x, arch))


def test_nothing_done_to_it_reaches_the_network(family):
    space, network, _ = family
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in network.modules()]
    (arch,) = archs(space, 1)
    own = single(network, arch)
    for module in own.modules():
        module.register_forward_hook(lambda *seen: None)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    own.train()(torch.randn(4, 3, 16, 16), arch).sum().backward()
    with torch.no_grad():
        for parameter in own.double().parameters():
            parameter.abs_().add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert hooks == [len(module._forward_hooks) for module in network.modules()]
    assert all(parameter.grad is None for parameter in network.parameters())
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 for norm in norms)
