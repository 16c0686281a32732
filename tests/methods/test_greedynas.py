from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from senas_bench.methods.greedynas import GreedyNas, GreedyPaths, first_images
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost, prune_arch
from senas_bench.spaces.nasbench201.network import KERNELS, NB201Network
from senas_bench.spaces.regions import within
from senas_bench.training import loop
from senas_bench.training.loop import train
from senas_bench.training.recipe import TrainingRecipe

COST = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=3, cells=1))
RECIPE = TrainingRecipe(batch_size=16, lr=0.1, lr_min=0.01, snapshots=1)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 3, (16,), generator=generator)


class Batches:
    batch_size = 16

    def __init__(self, steps):
        self.batches = [batch(seed) for seed in range(steps)]

    def __len__(self):
        return len(self.batches)

    def epoch(self, generator):
        return iter(self.batches)


def a_network() -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(NB201, channels=3, cells=1, in_channels=1, num_classes=3).train()


def greedy(steps: int = 10, region=NB201, **settings) -> GreedyPaths:
    return GreedyPaths(GreedyNas(**settings), region, [batch(7), batch(8)], steps=steps, cost=COST)


def trained(paths, epochs=1, steps=1, **how):
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    network = how.pop("network", None) or a_network()
    given = {"epochs": epochs, "rng": rng, "generator": generator, "architecture": paths, "cost": COST, **how}
    recipe = given.pop("recipe", RECIPE)
    return network, train(network, Batches(steps), recipe, paths.paths, **given)


def used(arch) -> set[tuple[int, int]]:
    return {(edge, op) for edge, op in enumerate(prune_arch(arch)) if op in KERNELS}


def test_rejected_paths_get_no_step():
    """Of ten paths the five with the lowest loss are trained, each in a step of its own; weights that others alone have
    stay as they are."""
    paths, network = greedy(), a_network()
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    drawn = paths.draw(np.random.default_rng(0))
    losses = []
    with torch.no_grad(), evaluation_mode(network, "batch"):
        for arch in drawn:
            parts = [F.cross_entropy(network(x, arch), y).item() for x, y in (batch(7), batch(8))]
            losses.append(sum(parts) / 2)
    order = np.argsort(losses)
    good, bad = ([drawn[index] for index in part] for part in (order[:5], order[5:]))
    seen, draw = [], paths.paths
    paths.paths = lambda rng: seen.extend(draw(rng)) or seen[-1:]
    _, result = trained(paths, steps=5, network=network)
    assert seen == good
    assert result.counts == {
        "images_trained": 80,
        "train_steps": 5,
        "forward_paths": 10 + 5,
        "backward_paths": 5,
        "archs_scored": 10,
        "images_scored": 320,
        "multiply_adds": sum(
            round(COST(np.array([arch]))["flops_m"][0] * 1e6) * images
            for arch, images in [*((arch, 32) for arch in drawn), *((arch, 3 * 16) for arch in good)]
        ),
    }
    kept, alone = set().union(*map(used, good)), set().union(*map(used, bad))
    assert alone - kept and kept
    moved = set()
    for name, weight in network.named_parameters():
        if ".choices." in name and not torch.equal(weight, before[name]):
            edge, _, rest = name.partition(".choices.")[2].partition(".copies.")
            moved.add((int(edge), int(rest.partition(".")[0])))
    assert moved == kept


def test_the_pool_keeps_the_best():
    """By brute force: of all paths put in, with the loss they were last seen with, those of the lowest."""
    paths, last = greedy(pool_size=7), {}
    rng = np.random.default_rng(0)
    archs = [tuple(row) for row in NB201.sample_distinct(rng, 12).tolist()]
    for _ in range(20):
        some = {archs[index]: float(rng.random()) for index in rng.choice(12, 3, replace=False)}
        held = {**{arch: last[arch] for arch in paths.pool}, **some}
        last.update(some)
        paths.remember(some)
        assert paths.pool == {arch: held[arch] for arch in sorted(held, key=held.get)[:7]}
    assert paths.best() == sorted(paths.pool, key=paths.pool.get) and len(paths.pool) == 7


def test_a_path_enters_the_pool_when_it_is_trained():
    """The second of two that passed the filter is not there before its step, and those rejected never are."""
    paths = greedy(drawn=6, kept=2)
    trained(paths)
    (first,) = paths.pool
    ((second, loss),) = paths._chosen
    assert paths.paths(None) == [second] != [first] and paths.pool[second] == loss > paths.pool[first]


def test_the_share_of_the_pool_grows_in_a_line():
    paths, shares = greedy(steps=100, start=0.1, end=0.9), []
    for step in (0, 10, 50, 90, 99):
        paths._step = step + 1  # it counts those that began
        shares.append(paths.exploited())
    assert shares == pytest.approx([0, 0, 0.4, 0.8, 0.8])
    inside = (3, 3, 3, 3, 3, 3)
    paths.pool = {inside: 1.0}
    rng, counts = np.random.default_rng(0), []
    for paths._step in (1, 51, 100):
        counts.append(sum(arch == inside for _ in range(200) for arch in paths.draw(rng)) / 2000)
    assert counts == pytest.approx([0, 0.4, 0.8], abs=0.04)


def test_paths_lie_within_the_limit():
    limit = Limit.of(COST, "flops", 60_000)
    drawn = greedy(region=within(NB201, limit)).draw(np.random.default_rng(0))
    assert limit.holds(np.array(drawn)).all()


def test_training_ends_when_the_pool_stays_as_it_is(tmp_path, monkeypatch):
    """Two archs fill the pool in the first epoch and are all there is: the second epoch is the last of four."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    few = NB201.only((3, 2, 3, 4, 3, 2))
    few = replace(few, candidates=((2, 3), *few.candidates[1:]))
    settings = {"pool_size": 2, "drawn": 4, "kept": 4}
    network, result = trained(greedy(16, few, **settings), 4, 4, checkpoint=tmp_path / "a")
    assert len(result.history) == 2 and result.counts["train_steps"] == 8
    _, endless = trained(greedy(16, few, **settings, stop_share=-1), 3, 4)
    assert len(endless.history) == 3
    again = greedy(16, few, **settings)
    other, loaded = trained(again, 5, 4, checkpoint=tmp_path / "a")  # a finished phase is only loaded
    assert again.finished and len(again.pool) == 2 and loaded.counts == result.counts
    assert all(torch.equal(one, two) for one, two in zip(network.parameters(), other.parameters(), strict=True))


def test_a_training_that_ends_early_leaves_the_snapshots_of_its_last_epoch(tmp_path):
    """Eq. 4 averages K snapshots, of whichever epoch is the last: the second of four, after its second and its fourth
    step, also where the training was killed before."""
    few = NB201.only((3, 2, 3, 4, 3, 2))
    few = replace(few, candidates=((2, 3), *few.candidates[1:]))
    recipe = replace(RECIPE, snapshots=2)
    settings = {"pool_size": 2, "drawn": 4, "kept": 4}
    states, paths = [], greedy(16, few, **settings)
    draw, network = paths.paths, a_network()
    paths.paths = lambda rng: states.append({k: v.clone() for k, v in network.state_dict().items()}) or draw(rng)
    _, result = trained(paths, 4, 4, recipe=recipe, network=network)
    assert len(result.history) == 2 and result.snapshots.count == 2
    first, last = result.snapshots.states
    assert all(torch.equal(first[name], value) for name, value in states[6].items())  # as before the seventh step
    assert all(torch.equal(last[name], value) for name, value in network.state_dict().items())

    class Killed(Exception):
        pass

    def kill(epoch, loss):
        raise Killed

    with pytest.raises(Killed):
        trained(greedy(16, few, **settings), 4, 4, recipe=recipe, checkpoint=tmp_path / "a", on_epoch=kill)
    _, again = trained(greedy(16, few, **settings), 4, 4, recipe=recipe, checkpoint=tmp_path / "a")
    for one, two in zip(again.snapshots.states, result.snapshots.states, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_pool_that_is_not_full_ends_nothing():
    paths = greedy(pool_size=100)
    paths.pool = {(3,) * 6: 1.0}
    for _ in range(2):
        paths.end_epoch(None, None, None)
        assert not paths.finished


def test_state_goes_through_a_checkpoint():
    paths = greedy()
    trained(paths)
    other = greedy()
    other.load(paths.tensors())
    assert (other.pool, other.best(), other.finished) == (paths.pool, paths.best(), False)
    other.begin_epoch(0.5, torch.Generator())
    assert other._step == 5


def test_first_images():
    batches = [batch(1), batch(2), batch(3)]
    assert [len(y) for _, y in first_images(batches, 20)] == [16, 4]
    assert [len(y) for _, y in first_images(batches, 16)] == [16]
    assert [len(y) for _, y in first_images(batches, 1000)] == [16, 16, 16]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"search": "walk"}, "unknown search 'walk'; one of: rank, evolution"),
        ({"kept": 11}, "of 10 paths 11 cannot be kept"),
        ({"pool_size": 0}, "must be at least 1"),
        ({"start": 0.97}, "cannot grow from 0.97 to 0.96"),
    ],
)
def test_what_cannot_be_is_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        GreedyNas(**settings)
