import pytest
import torch
import torch.nn.functional as F

from senas_bench.ranking.batchnorm import BN_MODES, batch_norms, evaluation_mode, recalibrate
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network

ARCH = (3, 2, 3, 4, 3, 2)


def a_network() -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(NB201, channels=4, cells=1, in_channels=2, num_classes=3)


def images(n: int = 8, seed: int = 1) -> torch.Tensor:
    return 2 + 3 * torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def scramble_statistics(network) -> None:
    for norm in batch_norms(network):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.num_batches_tracked.fill_(17)


def statistics(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items() if "running" in name or "num_" in name}


def same(one, other) -> bool:
    return all(torch.equal(one[name], value) for name, value in other.items())


def first_norm_input(network, x) -> torch.Tensor:
    return F.conv2d(x, network.stem[0].weight, padding=1)


def test_all_norms_are_found():
    assert len(batch_norms(a_network())) == 1 + 3 * 6 * 2 + 2 * 2 + 1  # stem, cells, reductions, last


def test_batch_mode_neither_reads_nor_writes_running_statistics():
    network = a_network()
    with torch.no_grad(), evaluation_mode(network, "batch"):
        plain = network(images(), ARCH)
        scramble_statistics(network)
        before = statistics(network)
        assert torch.equal(network(images(), ARCH), plain)
        assert same(statistics(network), before)


def test_batch_mode_normalizes_over_the_batch():
    network, seen = a_network(), []
    network.stem.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad(), evaluation_mode(network, "batch"):
        network(images(), ARCH)
        value = first_norm_input(network, images())
    mean, var = value.mean((0, 2, 3), keepdim=True), value.var((0, 2, 3), unbiased=False, keepdim=True)
    torch.testing.assert_close(seen[0], (value - mean) / (var + 1e-5).sqrt())


def test_running_mode_uses_what_training_left():
    network, seen = a_network(), []
    network.stem.register_forward_hook(lambda module, args, output: seen.append(output))
    scramble_statistics(network)
    before = statistics(network)
    with torch.no_grad(), evaluation_mode(network, "running"):
        network(images(), ARCH)
        value = first_norm_input(network, images())
    norm = network.stem[1]
    expected = (value - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(seen[0], expected)
    assert same(statistics(network), before)


def test_recalibration_is_the_cumulative_average_over_batches():
    network = a_network()
    scramble_statistics(network)
    batches = [images(8, seed) for seed in (1, 2, 3)]
    with torch.no_grad(), evaluation_mode(network, "recalibrate"):
        recalibrate(network, ARCH, batches)
        values = [first_norm_input(network, x).transpose(0, 1).flatten(1).double() for x in batches]
    mean = sum(value.mean(1) for value in values) / 3
    variance = sum(((v - v.mean(1, keepdim=True)) ** 2).sum(1) / (v.shape[1] - 1) for v in values) / 3
    torch.testing.assert_close(network.stem[1].running_mean.double(), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network.stem[1].running_var.double(), variance, rtol=1e-5, atol=1e-5)


def test_recalibration_forgets_the_path_before():
    ends = []
    for paths in ([ARCH], [(1, 3, 3, 2, 2, 3), ARCH], [ARCH, ARCH]):
        network = a_network()
        with torch.no_grad(), evaluation_mode(network, "recalibrate"):
            for path in paths:
                recalibrate(network, path, [images(8, 1), images(8, 2)])
            ends.append(network(images(5, 3), ARCH))
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


def test_a_recalibrated_network_treats_images_one_by_one():
    network = a_network()
    with torch.no_grad(), evaluation_mode(network, "recalibrate"):
        recalibrate(network, ARCH, [images()])
        together = network(images(6, 5), ARCH)
        alone = torch.cat([network(x[None], ARCH) for x in images(6, 5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def modes(network):
    return [(module.training, vars(module).get("track_running_stats")) for module in network.modules()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mode", BN_MODES)
def test_leaving_restores_the_network(mode, fails, training):
    network = a_network().train(training)
    before, momenta = modes(network), [norm.momentum for norm in batch_norms(network)]
    try:
        with torch.no_grad(), evaluation_mode(network, mode):
            assert not network.training
            if mode == "recalibrate":
                recalibrate(network, ARCH, [images()])
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert modes(network) == before
    assert [norm.momentum for norm in batch_norms(network)] == momenta


def test_a_failing_recalibration_restores_the_network():
    """A forgotten `momentum=None` would turn the running statistics of later training into another average."""
    network = a_network().train()
    before, momenta = modes(network), [norm.momentum for norm in batch_norms(network)]
    with pytest.raises(RuntimeError), torch.no_grad(), evaluation_mode(network, "recalibrate"):
        recalibrate(network, ARCH, [torch.zeros(4, 7, 8, 8)])
    assert modes(network) == before
    assert [norm.momentum for norm in batch_norms(network)] == momenta


@pytest.mark.parametrize("mode", BN_MODES)
def test_training_goes_on_as_if_nothing_had_been_evaluated(mode):
    ends = []
    for evaluate in (False, True):
        network = a_network().train()
        if evaluate:
            with torch.no_grad(), evaluation_mode(network, mode):
                network(images(), ARCH)
        with torch.no_grad():
            network(images(8, 4), ARCH)
        ends.append(statistics(network))
    assert same(*ends)


def test_unknown_mode():
    with (
        pytest.raises(ValueError, match="unknown BN mode 'train'; one of: batch, recalibrate, running"),
        evaluation_mode(a_network(), "train"),
    ):
        pass
