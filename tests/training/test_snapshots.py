import pytest
import torch
from torch import nn

from senas_bench.training.snapshots import Snapshots


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def taken(count: int, keep: bool) -> tuple[Snapshots, list[dict]]:
    """Snapshots of random weights, and what they were of."""
    torch.manual_seed(0)
    net, snapshots, states = network(), Snapshots(keep), []
    for k in range(count):
        with torch.no_grad():
            for weight in net.parameters():
                weight.normal_()
        net(torch.randn(8, 3))  # moves the running statistics and counts a batch
        snapshots.add(net)
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        assert snapshots.count == k + 1
    return snapshots, states


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_running_mean_is_the_mean(count, keep):
    snapshots, states = taken(count, keep)
    assert snapshots.mean.keys() == states[0].keys()
    for name, mean in snapshots.mean.items():
        values = torch.stack([state[name] for state in states])
        if values.is_floating_point():
            torch.testing.assert_close(mean, values.double().mean(0).float(), rtol=1e-5, atol=1e-6)
        else:
            assert mean == values[-1]


def test_snapshots_are_kept_where_asked_and_stay_what_they_were():
    snapshots, states = taken(3, keep=True)
    assert len(snapshots.states) == 3
    for kept, state in zip(snapshots.states, states, strict=True):
        assert all(torch.equal(kept[name], value) for name, value in state.items())
    assert taken(3, keep=False)[0].states == []


def test_mean_of_one_snapshot_shares_no_memory_with_it():
    net, snapshots = network(), Snapshots()
    snapshots.add(net)
    first = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        net[0].weight.add_(1)
    snapshots.add(net)
    assert all(torch.equal(snapshots.states[0][name], value) for name, value in first.items())
    torch.testing.assert_close(snapshots.mean["0.weight"], first["0.weight"] + 0.5)


def test_a_file_with_snapshots_gives_their_mean_to_one_that_keeps_none():
    kept, _ = taken(3, True)
    again = Snapshots(False)
    again.load(kept.tensors(), kept.count)
    assert again.states == [] and again.count == 3
    assert all(torch.equal(again.mean[name], value) for name, value in kept.mean.items())


@pytest.mark.parametrize("keep", [True, False])
def test_flat_form_round_trips(keep):
    snapshots, _ = taken(3, keep)
    again = Snapshots(keep)
    again.load({name: value.clone() for name, value in snapshots.tensors().items()}, snapshots.count)
    for one in (snapshots, again):
        torch.manual_seed(5)
        one.add(network())
    assert again.count == 4
    assert all(torch.equal(again.mean[name], value) for name, value in snapshots.mean.items())
    assert len(again.states) == len(snapshots.states) == (4 if keep else 0)
    for one, other in zip(again.states, snapshots.states, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], value) for name, value in other.items())
