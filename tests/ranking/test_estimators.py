from dataclasses import dataclass
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from senas_bench.ranking import ESTIMATORS, estimator_of
from senas_bench.ranking.estimators import SnapshotLoglikSize
from senas_bench.ranking.score_archs import Evaluation
from senas_bench.ranking.snapshots import Watcher, share_of
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NB201, NONE, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.tasks.work import PRICES
from senas_bench.training.snapshots import Snapshots

OF_A_SUPERNET = [name for name, own in ESTIMATORS.items() if own.needs_supernet and not own.compared]
LABELS = torch.tensor([0, 0, 0, 1])
ONE_BATCH = Evaluation([(torch.zeros(4, 1), LABELS)], "batch")


def estimate(network, snapshots, archs, evaluation, estimator, parameters=None, **watcher):
    """As `Task.estimate` calls an estimator."""
    weights = SimpleNamespace(network=network, snapshots=snapshots)
    cost = lambda archs: {"params": parameters, "flops_m": (7 + archs[:, 0]) / 1e6}  # noqa: E731
    return estimator_of(estimator)(weights, archs, evaluation, cost, Watcher(**watcher))


class Fixed(nn.Module):
    """Logits of an arch are a row of its weights, whatever the image: a network whose answers can be worked out."""

    def __init__(self, rows) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, x, arch, cache=None):
        return self.rows[arch[0]].expand(len(x), -1)

    def signature(self, arch):
        return arch


def snapshots_of(*networks, keep: bool = True) -> Snapshots:
    snapshots = Snapshots(keep)
    for network in networks:
        snapshots.add(network)
    return snapshots


# Odds of label 0 to label 1: arch 0 gives 3 : 1, then 1 : 2; arch 1 gives 1 : 4, then 1 : 1.0001.
FIRST, SECOND = Fixed([[log(3), 0.0], [0.0, log(4)]]), Fixed([[0.0, log(2)], [0.0, log(1.0001)]])
ARCHS = np.array([[0], [1]], np.int8)


def test_weight_average():
    """Mean logits: arch 0 has log(3)/2 > log(2)/2 and says 0, right 3 times of 4; arch 1 says 1, right once."""
    got, work = estimate(Fixed([[9.0, 9.0]] * 2), snapshots_of(FIRST, SECOND), ARCHS, ONE_BATCH, "weight-average")
    assert got.tolist() == [75.0, 25.0]
    price = dict.fromkeys(PRICES, 4 * (7 + 8))
    assert work == {"archs_scored": 2, "forward_paths": 2, "images_scored": 2 * 4, **price}


def test_snapshot_accuracy():
    """Arch 0 says 0, then 1: 75 and 25 percent. Arch 1 says 1 twice."""
    got, work = estimate(Fixed([[9.0, 9.0]] * 2), snapshots_of(FIRST, SECOND), ARCHS, ONE_BATCH, "snapshot-accuracy")
    assert got.tolist() == [50.0, 25.0]
    price = dict.fromkeys(PRICES, 2 * 4 * (7 + 8))
    assert work == {"archs_scored": 4, "forward_paths": 4, "images_scored": 4 * 4, **price}


def test_snapshot_loglik():
    got, _ = estimate(Fixed([[9.0, 9.0]] * 2), snapshots_of(FIRST, SECOND), ARCHS, ONE_BATCH, "snapshot-loglik")
    arch_0 = ((3 * log(3 / 4) + log(1 / 4)) / 4 + (3 * log(1 / 3) + log(2 / 3)) / 4) / 2
    arch_1 = ((3 * log(1 / 5) + log(4 / 5)) / 4 + (3 * log(1 / 2.0001) + log(1.0001 / 2.0001)) / 4) / 2
    np.testing.assert_allclose(got, [arch_0, arch_1], rtol=1e-6)


def test_size_adds_a_fifth_of_the_logarithm_of_the_parameters():
    arguments = Fixed([[9.0, 9.0]] * 2), snapshots_of(FIRST, SECOND), ARCHS, ONE_BATCH
    plain, work = estimate(*arguments, "snapshot-loglik")
    sized, same_work = estimate(*arguments, "snapshot-loglik-size", parameters=np.array([1000, 2000]))
    np.testing.assert_allclose(sized - plain, [0.2 * log(1000), 0.2 * log(2000)], rtol=1e-12)
    assert same_work == work
    other, _ = estimate(*arguments, SnapshotLoglikSize(0.5), parameters=np.array([1000, 2000]))
    np.testing.assert_allclose(other - plain, [0.5 * log(1000), 0.5 * log(2000)], rtol=1e-12)


def test_snapshots_share_the_batches_out():
    """Two batches: the first snapshot scores labels 0 0 0 1, the second 1 1 1 1."""
    batches = [*ONE_BATCH.batches, (torch.zeros(4, 1), torch.ones(4, dtype=int))]
    got, work = estimate(FIRST, snapshots_of(FIRST, SECOND), ARCHS, Evaluation(batches, "batch"), "snapshot-accuracy")
    assert got.tolist() == [(75 + 100) / 2, (25 + 100) / 2]
    price = dict.fromkeys(PRICES, 2 * 4 * (7 + 8))
    assert work == {"archs_scored": 4, "forward_paths": 4, "images_scored": 4 * 4, **price}
    got, work = estimate(FIRST, snapshots_of(FIRST, SECOND), ARCHS, Evaluation(batches, "batch"), "weight-average")
    assert got.tolist() == [(75 + 0) / 2, (25 + 100) / 2]
    assert work["images_scored"] == 2 * 8


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("batches", [1, 2, 4, 5])
def test_shares_of_the_batches(batches, count):
    """Each batch to one snapshot; where batches are fewer, one to each snapshot and each to as many."""
    shares = [share_of(range(batches), k, count) for k in range(count)]
    used = sorted(batch for share in shares for batch in share)
    if batches >= count:
        assert used == list(range(batches))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        assert all(len(share) == 1 for share in shares)
        times = [used.count(batch) for batch in range(batches)]
        assert max(times) - min(times) <= 1 <= min(times)


def a_network(seed: int) -> NB201Network:
    torch.manual_seed(seed)
    return NB201Network(NB201, channels=2, cells=1, in_channels=1, num_classes=3)


@pytest.mark.parametrize(("mode", "images"), [("batch", 12), ("recalibrate", 12 + 2 * 12)])
def test_a_scoring_costs_what_it_evaluates_and_nominally_every_arch(mode, images):
    """Two snapshots share two batches of 6 images; each arch that is evaluated calibrates on 12 images for either.

    The second arch is the first with a dead edge: they are one function, and the one without the edge is evaluated.
    """
    first, dead = (CONV1, NONE, NONE, NONE, CONV1, NONE), (CONV1, NONE, NONE, NONE, CONV1, CONV3)
    cost = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=2, cells=1))
    frame = cost(np.array([[NONE] * 6]))["flops_m"].item() * 1e6
    weights = SimpleNamespace(network=a_network(0), snapshots=snapshots_of(a_network(1), a_network(2)))
    _, work = ESTIMATORS["snapshot-loglik"](weights, np.array([first, dead]), real_evaluation(mode), cost)
    small, large = 3 * 2 * 2 * 64, 3 * 9 * 2 * 2 * 64
    assert work["multiply_adds"] == images * (frame + 2 * small)
    assert work["nominal_multiply_adds"] == images * (2 * frame + 4 * small + large)


def real_evaluation(mode: str) -> Evaluation:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 1, 8, 8, generator=generator), torch.randint(0, 3, (12,), generator=generator)
    return Evaluation([(x[:6], y[:6]), (x[6:], y[6:])], mode, [x])


@pytest.mark.parametrize("mode", ["batch", "recalibrate", "running"])
@pytest.mark.parametrize("estimator", OF_A_SUPERNET)
def test_the_networks_own_weights_are_untouched(estimator, mode):
    network, snapshots = a_network(0), snapshots_of(a_network(1), a_network(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept = [{name: value.clone() for name, value in state.items()} for state in [snapshots.mean, *snapshots.states]]
    weights = list(network.parameters())
    archs = NB201.sample_distinct(np.random.default_rng(0), 5)
    estimate(network, snapshots, archs, real_evaluation(mode), estimator, parameters=np.ones(5))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(one is other for one, other in zip(network.parameters(), weights, strict=True))
    for state, was in zip([snapshots.mean, *snapshots.states], kept, strict=True):
        assert all(torch.equal(state[name], value) for name, value in was.items())


@pytest.mark.slow
def test_weights_come_back_after_a_failure():
    network = a_network(0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    archs = NB201.sample_distinct(np.random.default_rng(0), 200)

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate(
            network, snapshots_of(a_network(1)), archs, real_evaluation("recalibrate"), "weight-average", tick=stop
        )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_one_snapshot_makes_the_accuracies_agree():
    archs = NB201.sample_distinct(np.random.default_rng(0), 20)
    scores = [
        estimate(a_network(0), snapshots_of(a_network(1)), archs, real_evaluation("batch"), estimator)[0]
        for estimator in ("weight-average", "snapshot-accuracy")
    ]
    assert scores[0].tolist() == scores[1].tolist()


def test_unknown_estimator():
    with pytest.raises(ValueError, match="unknown estimator 'loglik'; one of: weight-average, snapshot-accuracy, snap"):
        estimate(FIRST, snapshots_of(FIRST), ARCHS, ONE_BATCH, "loglik")


def test_what_cannot_be_an_estimator_is_refused_in_a_sentence():
    @dataclass(frozen=True)
    class NoBase:
        pass

    for wrong in (NoBase(), 3, None, len):
        with pytest.raises(ValueError, match="is no estimator: write a frozen dataclass that inherits"):
            estimator_of(wrong)
    assert estimator_of(SnapshotLoglikSize(0.1)).nats_per_log == 0.1


@pytest.mark.parametrize("name", OF_A_SUPERNET)
def test_what_an_estimator_declares_is_what_it_reads(name):
    """One that needs no snapshots does without; one that does not know the size asks for no parameters."""
    estimator = ESTIMATORS[name]
    weights = SimpleNamespace(network=FIRST, snapshots=snapshots_of(FIRST, SECOND, keep=estimator.needs_snapshots))
    asked = []

    class Costs(dict):
        def __getitem__(self, name):
            asked.append(name)
            return np.ones(2)

    scores, work = estimator(weights, ARCHS, ONE_BATCH, lambda archs: Costs())
    assert scores.shape == (2,) and scores.dtype == np.float64 and set(work) >= {"archs_scored", "forward_paths"}
    assert ("params" in asked) == estimator.knows_size and "flops_m" in asked
    assert (scores <= 0).all() if estimator.nats else (scores >= 0).all()


@pytest.mark.parametrize("estimator", ["snapshot-accuracy", "snapshot-loglik", "snapshot-loglik-size"])
def test_snapshots_that_were_not_kept_are_an_error(estimator):
    """Not a mean over nothing, which is NaN."""
    with pytest.raises(ValueError):
        kept = snapshots_of(FIRST, SECOND, keep=False)
        estimate(FIRST, kept, ARCHS, ONE_BATCH, estimator, parameters=np.array([1, 1]))


def test_weight_average_needs_no_kept_snapshots():
    got, _ = estimate(FIRST, snapshots_of(FIRST, SECOND, keep=False), ARCHS, ONE_BATCH, "weight-average")
    assert got.tolist() == [75.0, 25.0]
