"""Path samplers that remember."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.spaces.paths import UniformPath
from senas_bench.tasks.shared import paths_identity
from senas_bench.training import loop
from senas_bench.training.checkpoint import read_checkpoint
from senas_bench.training.loop import train
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.samplers import Sampler, check_sampler

STEPS, EPOCHS = 3, 4
RECIPE = TrainingRecipe(batch_size=8, snapshots=1)


class Interrupted(Exception):
    pass


class Batches:
    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(STEPS, 8, 1, 8, 8, generator=generator)
        self.y = torch.randint(0, 3, (STEPS, 8), generator=generator)

    def __len__(self):
        return STEPS

    def epoch(self, generator):
        return ((self.x[i], self.y[i]) for i in torch.randperm(STEPS, generator=generator).tolist())


class Pool(Sampler):
    """Two paths a step, one of them from the archs whose loss was lowest."""

    def __init__(self, keep: int = 4) -> None:
        self.keep, self.pool, self.told = keep, {}, []

    def __call__(self, rng):
        archs = list(self.pool) or [NB201.sample(rng)]
        return [NB201.sample(rng), archs[rng.integers(len(archs))]]

    def begin_epoch(self, epoch, epochs):
        self.told.append((epoch, epochs))

    def after_step(self, paths, losses):
        self.told.append((tuple(paths), tuple(losses)))
        self.pool.update(zip(paths, losses, strict=True))
        self.pool = dict(sorted(self.pool.items(), key=lambda item: item[1])[: self.keep])

    def end_epoch(self, network, rng, generator):
        self.told.append("end")
        return {"archs_scored": 5}

    def tensors(self):
        losses = torch.tensor(list(self.pool.values()), dtype=torch.float64)
        return {"archs": torch.tensor(list(self.pool)), "losses": losses}

    def load(self, tensors):
        archs = map(tuple, tensors["archs"].tolist())
        self.pool = dict(zip(archs, tensors["losses"].tolist(), strict=True))


@pytest.fixture(autouse=True)
def saved_at_every_epoch(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)


def a_network():
    torch.manual_seed(0)
    return NB201Network(NB201, channels=2, cells=1, in_channels=1, num_classes=3)


def run(network, sample, recipe=RECIPE, **more):
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    return train(network, Batches(), recipe, sample, epochs=EPOCHS, rng=rng, generator=generator, **more)


def test_a_sampler_is_told_how_the_training_goes():
    pool = Pool()
    training = run(a_network(), pool)
    per_epoch = STEPS + 2
    assert [pool.told[e * per_epoch] for e in range(EPOCHS)] == [(e, EPOCHS) for e in range(EPOCHS)]
    assert [pool.told[(e + 1) * per_epoch - 1] for e in range(EPOCHS)] == ["end"] * EPOCHS
    steps = [line for line in pool.told if isinstance(line[0], tuple)]
    assert len(steps) == EPOCHS * STEPS and all(len(paths) == len(losses) == 2 for paths, losses in steps)
    for epoch, line in enumerate(training.history):  # the history has the mean of the same losses
        mine = [loss for _, losses in steps[epoch * STEPS : (epoch + 1) * STEPS] for loss in losses]
        assert line["loss"] == pytest.approx(np.mean(mine), abs=1e-5)
    assert training.counts["archs_scored"] == 5 * EPOCHS


@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_are_those_before_the_step(accumulate):
    """Of a batch in two parts the mean of theirs, each with the batch norm of its own."""
    pool, network = Pool(), a_network()
    first = copy.deepcopy(network).train()
    batches = Batches()
    order = torch.randperm(STEPS, generator=torch.Generator().manual_seed(1)).tolist()
    run(network, pool, replace(RECIPE, accumulate=accumulate))
    paths, losses = pool.told[1]
    size = 8 // accumulate
    parts = list(zip(batches.x[order[0]].split(size), batches.y[order[0]].split(size), strict=True))
    expected = [
        np.mean([torch.nn.functional.cross_entropy(first(x, path), y).item() for x, y in parts]) for path in paths
    ]
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_to_the_bit(tmp_path, accumulate):
    """Interrupted after every epoch, each time with a sampler that remembers nothing."""
    recipe = TrainingRecipe(batch_size=8, snapshots=1, accumulate=accumulate)
    whole, network = Pool(), a_network()
    expected = run(network, whole, recipe)

    for stop in range(2, EPOCHS + 1):

        def fail(epoch, loss, stop=stop):
            if epoch == stop:
                raise Interrupted

        with pytest.raises(Interrupted):
            run(a_network(), Pool(), recipe, checkpoint=tmp_path / "c", on_epoch=fail)
    resumed, again = Pool(), a_network()
    found = run(again, resumed, recipe, checkpoint=tmp_path / "c")
    assert list(resumed.pool.items()) == list(whole.pool.items())
    assert found.history == expected.history and found.counts == expected.counts
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())

    loaded = Pool()  # a finished phase is only loaded, and the memory with it
    run(a_network(), loaded, recipe, checkpoint=tmp_path / "c")
    assert list(loaded.pool.items()) == list(whole.pool.items()) and not loaded.told


def test_a_checkpoint_without_memory_holds_nothing_of_it(tmp_path):
    run(a_network(), UniformPath(NB201), checkpoint=tmp_path / "c")
    assert not [name for name in read_checkpoint(tmp_path / "c")[0] if name.startswith("sampler")]


def test_hooks_may_be_left_out(tmp_path):
    class Bare(Sampler):
        def __call__(self, rng):
            return UniformPath(NB201)(rng)

    networks = a_network(), a_network()
    run(networks[0], UniformPath(NB201))
    run(networks[1], Bare(), checkpoint=tmp_path / "c")
    assert all(torch.equal(a, b) for a, b in zip(*(n.state_dict().values() for n in networks), strict=True))
    run(a_network(), Bare(), checkpoint=tmp_path / "c")


def test_memory_that_cannot_be_loaded_is_not_lost_in_silence():
    with pytest.raises(NotImplementedError, match=r"Sampler keeps tensors; define load\(self, tensors\) too"):
        Sampler().load({"x": torch.zeros(1)})


def test_its_training_is_not_shared():
    class Both(UniformPath, Sampler):
        pass

    assert paths_identity(UniformPath(NB201)) is not None
    assert paths_identity(Both(NB201)) is None and paths_identity(Pool()) is None


class Dumb(Sampler):
    pass


class Lossy(Pool):
    load = Sampler.load


class Grasping(Pool):
    tensors = Sampler.tensors


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Pool, "path sampler Pool: it is a class; give an instance"),
        (Dumb(), r"Dumb cannot be called with a rng; define __call__\(self, rng\) -> paths"),
        (
            Lossy(),
            r"path sampler Lossy: its memory is saved by tensors\(\) and resumed by load\(tensors\); define both",
        ),
        (Grasping(), "define both"),
        (3, "path sampler int: int cannot be called with a rng"),
        (lambda: [], "cannot be called with a rng"),
    ],
)
def test_what_cannot_draw_paths_is_refused_before_the_training(tmp_path, sampler, message):
    sizes = replace(PRESETS["embedded"], channels=2, score_images=50, score_batch=50, rank_archs=10)
    task = make_task(make_spec("spos", 0, "embedded", sizes=sizes), Place(tmp_path))
    with pytest.raises(ValueError, match=message):
        task.train(task.build(NB201), NB201, sampler, phase="train", epochs=1)


def test_samplers_that_can_draw_paths():
    for sampler in (Pool(), UniformPath(NB201), lambda rng: [], UniformPath(NB201).__call__):
        check_sampler(sampler)
