import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from senas_bench.data.loader import TrainLoader
from senas_bench.errors import RunError
from senas_bench.networks.expansion import expand
from senas_bench.spaces import SPACES, SearchSpace
from senas_bench.spaces.darts import DARTS, DartsSkeleton
from senas_bench.spaces.darts.network import DartsNetwork
from senas_bench.spaces.mobilenet import small_image
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.spaces.paths import UniformPath
from senas_bench.training import loop
from senas_bench.training.bilevel import Alphas
from senas_bench.training.checkpoint import read_checkpoint
from senas_bench.training.loop import carry_momentum, descend, make_optimizer, train
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.result import Training

RECIPE = TrainingRecipe(batch_size=16, lr=0.1, lr_min=0.01, lr_horizon=10, snapshots=5, snapshot_epochs=2)
STEPS = 4
ARCH, OTHER = (3, 2, 3, 4, 3, 2), (3, 3, 1, 2, 3, 2)
MERGED = SearchSpace(
    NB201.name, NB201.operators, NB201.edges, ((1, 3), (2, 3), (3,), (0, 3), (2, 4), (2, 3)), ((0, 1, 2), (3,), (4, 5))
)


class Interrupted(Exception):
    pass


class Batches:
    """The same few batches in every epoch."""

    batch_size = 16

    def __init__(self, steps: int) -> None:
        generator = torch.Generator().manual_seed(9)
        self.batches = [
            (torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 3, (16,), generator=generator))
            for _ in range(steps)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, generator):
        return iter(self.batches)


def shuffled() -> TrainLoader:
    """What a run trains with: order, crops and flips come from the generator."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (STEPS * 16 + 3, 8, 8, 1), dtype=np.uint8)
    return TrainLoader(pixels, rng.integers(0, 3, len(pixels)), 16, pad=1, flip=True, mean=[0.5], std=[0.25])


def a_network(space: SearchSpace = NB201) -> NB201Network:
    torch.manual_seed(0)
    network = NB201Network(space, channels=2, cells=1, in_channels=1, num_classes=3)
    return network.to(memory_format=torch.channels_last)


def run(network, sample=None, *, loader=None, recipe=RECIPE, epochs=3, **arguments) -> Training:
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    sample, loader = sample or UniformPath(NB201), loader or shuffled()
    return train(network, loader, recipe, sample, epochs=epochs, rng=rng, generator=generator, **arguments)


def weights_of(network) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], value) for name, value in other.items())


def test_work_is_counted_exactly():
    steps = 2 * STEPS
    assert run(a_network(), lambda rng: [ARCH, OTHER, ARCH], epochs=2).counts == {
        "images_trained": steps * 16,
        "train_steps": steps,
        "forward_paths": 3 * steps,
        "backward_paths": 3 * steps,
    }


BASE = 9 * 2 * 64 + (9 * 2 * 4 + 9 * 4 * 4 + 2 * 4) * 16 + (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8) * 4 + 8 * 3 + 3
"""Multiply-adds of everything but the cells of `a_network`, at 8x8."""


class Asks:
    """An architecture that passes images through the network at the end of each epoch, and may say what it cost."""

    def __init__(self, price):
        self.price = price

    def begin_epoch(self, share, generator):
        pass

    def step(self, network, batch, optimizer, rng):
        return {}

    def end_epoch(self, network, rng, generator):
        return {"forward_paths": 1, **self.price}

    def tensors(self):
        return {}

    def load(self, tensors):
        pass


def test_a_step_costs_three_passes_of_its_batch_through_each_path():
    """One 1x1 of width 2 at 8x8 or its equal in the later stages; and a path of nothing but the frame."""
    paths = [(2, 0, 0, 0, 0, 0), (0,) * 6]
    cost = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=2, cells=1))
    one = 2 * 2 * 64 * 3
    expected = 2 * STEPS * 16 * 3 * (2 * BASE + one)
    assert run(a_network(), lambda rng: paths, epochs=2, cost=cost).counts["multiply_adds"] == expected
    aside = Asks({"multiply_adds": 1000})
    found = run(a_network(), lambda rng: paths, epochs=2, cost=cost, architecture=aside).counts
    assert found["multiply_adds"] == expected + 2 * 1000


def test_work_without_a_price_leaves_the_cost_unknown(tmp_path, monkeypatch):
    """Of an architecture that does not say what its passes cost, and of epochs that an older version trained."""
    cost = nasbench201_cost(Skeleton(8, 3, in_channels=1, channels=2, cells=1))
    found = run(a_network(), lambda rng: [ARCH], cost=cost, architecture=Asks({}))
    assert "multiply_adds" not in found.counts

    def stop(epoch):
        raise Interrupted

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    done = []
    with pytest.raises(Interrupted):
        run(
            a_network(),
            lambda rng: [ARCH],
            checkpoint=tmp_path / "old",
            on_epoch=lambda epoch, loss: stop(epoch) if epoch == 2 else done.append(epoch),
        )
    found = run(a_network(), lambda rng: [ARCH], checkpoint=tmp_path / "old", cost=cost)
    assert done == [1] and found.counts["train_steps"] == 3 * STEPS and "multiply_adds" not in found.counts


@pytest.mark.parametrize("paths", [1, 2])
def test_loss_is_the_mean_over_the_paths_of_an_epoch(paths):
    """At rate zero the weights stand still, so the losses can be worked out beside the loop."""

    def sample(rng):
        return [NB201.sample(rng) for _ in range(paths)]

    result = run(a_network(), sample, recipe=replace(RECIPE, lr=0.0, lr_min=0.0), epochs=2)
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    network = a_network().train()
    for line in result.history:
        with torch.no_grad():
            batches = shuffled().epoch(generator)
            losses = [float(F.cross_entropy(network(x, path), y)) for x, y in batches for path in sample(rng)]
        assert len(losses) == paths * STEPS
        assert line["loss"] == pytest.approx(np.mean(losses), abs=2e-6)
    assert [line["epoch"] for line in result.history] == [1, 2]


@pytest.mark.slow
def test_steps_of_sgd_by_hand():
    """The gradients of the paths of a step add up and are clipped together; then decay, then Nesterov momentum."""
    recipe = replace(RECIPE, lr_horizon=0, clip=0.05)
    network, twin = a_network(), a_network().train()
    run(network, lambda rng: [ARCH, OTHER], loader=Batches(3), recipe=recipe, epochs=1)
    buffers: dict[str, torch.Tensor] = {}
    for step, (x, y) in enumerate(Batches(3).batches):
        rate = 0.01 + 0.09 * (1 + math.cos(math.pi * step / 3)) / 2
        twin.zero_grad(set_to_none=True)
        sum(F.cross_entropy(twin(x, arch), y) for arch in (ARCH, OTHER)).backward()
        moving = [(name, weight) for name, weight in twin.named_parameters() if weight.grad is not None]
        norm = math.sqrt(sum(float(weight.grad.double().square().sum()) for _, weight in moving))
        assert norm > recipe.clip
        for name, weight in moving:
            with torch.no_grad():
                gradient = weight.grad * recipe.clip / norm + recipe.weight_decay * weight
                buffers[name] = recipe.momentum * buffers.get(name, 0) + gradient
                weight -= rate * (gradient + recipe.momentum * buffers[name])
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_rate_follows_the_cosine_step_by_step():
    network, rates = a_network(), []
    optimizer = make_optimizer(network, RECIPE)

    def sample(rng):
        rates.append(optimizer.param_groups[0]["lr"])
        return [ARCH]

    result = run(network, sample, epochs=2, optimizer=optimizer)
    expected = [0.01 + 0.045 * (1 + math.cos(math.pi * (step / STEPS) / 10)) for step in range(2 * STEPS)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert [line["lr"] for line in result.history] == pytest.approx([expected[3], expected[7]], abs=1e-8)


@pytest.mark.slow
def test_clip_zero_does_not_clip():
    ends = []
    for clip in (0.0, 1e9, 0.01):
        network = a_network()
        run(network, recipe=replace(RECIPE, clip=clip), epochs=1)
        ends.append(weights_of(network))
    assert same(ends[0], ends[1]) and not same(ends[0], ends[2])


def test_snapshots_are_the_weights_after_their_steps():
    """5 snapshots over the last 2 of 3 epochs of 4 steps: after steps 4 + 8k/5 = 5, 7, 8, 10, 12."""
    network, after = a_network(), []

    def sample(rng):
        after.append(weights_of(network))  # called before the step
        return UniformPath(NB201)(rng)

    result = run(network, sample)
    after.append(weights_of(network))
    assert result.snapshots.count == 5
    for state, step in zip(result.snapshots.states, (5, 7, 8, 10, 12), strict=True):
        assert same(state, after[step])


def test_without_kept_snapshots_the_mean_is_the_same():
    kept, mean_only = run(a_network()).snapshots, run(a_network(), keep_snapshots=False).snapshots
    assert mean_only.states == [] and mean_only.count == kept.count
    assert same(mean_only.mean, kept.mean)


def test_no_epochs_leave_the_initial_weights():
    network = a_network()
    before = weights_of(network)
    result = run(network, epochs=0)
    assert same(weights_of(network), before)
    assert result.snapshots.count == 1 and same(result.snapshots.mean, before)
    assert same(result.snapshots.states[0], before)
    assert set(result.counts.values()) == {0} and result.history == []


def test_weights_off_the_path_do_not_move():
    """Neither by weight decay nor by the momentum they have from the first epoch."""
    network, seen = a_network(), {}
    recipe = replace(RECIPE, weight_decay=0.1)

    def on_epoch(epoch, loss):
        seen[epoch] = weights_of(network)

    steps = iter(range(100))
    run(network, lambda rng: [ARCH if next(steps) < STEPS else OTHER], recipe=recipe, epochs=2, on_epoch=on_epoch)
    for name, weight in network.named_parameters():
        _, dot, key = name.partition(".copies.")
        edge = int(name.split(".choices.")[1].split(".")[0]) if dot else None
        on_path = not dot or key.startswith(f"{OTHER[edge]}.")
        assert on_path == (weight.grad is not None), name
        assert on_path != torch.equal(seen[1][name], seen[2][name]), name


@pytest.mark.slow
def test_parts_of_a_batch_are_normalised_apart_and_averaged():
    """By hand: the mean of the gradients of the parts is one step, and the running statistics see them in turn."""
    recipe = replace(RECIPE, accumulate=4, clip=0.0, momentum=0.0, weight_decay=0.0)
    network, twin = a_network(), a_network().train()
    result = run(network, lambda rng: [ARCH, OTHER], loader=Batches(1), recipe=recipe, epochs=1)
    (x, y), losses = Batches(1).batches[0], []
    for arch in (ARCH, OTHER):
        for part in (slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16)):
            loss = F.cross_entropy(twin(x[part], arch), y[part])
            (0.25 * loss).backward()
            losses.append(float(loss))
    with torch.no_grad():
        for weight in twin.parameters():
            if weight.grad is not None:
                weight -= 0.1 * weight.grad
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert result.history[0]["loss"] == pytest.approx(np.mean(losses), abs=2e-6)
    assert result.counts == {"images_trained": 16, "train_steps": 1, "forward_paths": 2, "backward_paths": 2}


def test_a_batch_without_equal_parts_is_refused():
    with pytest.raises(ValueError, match="a batch of 16 images has no 3 equal parts"):
        run(a_network(), loader=Batches(1), recipe=replace(RECIPE, batch_size=48, accumulate=3))


def test_weight_decay_can_spare_norms_and_biases():
    """A step of plain SGD from the same weights: what decays differs by rate * decay * weight, the rest not at all."""
    recipe = replace(RECIPE, momentum=0.0, clip=0.0, weight_decay=0.3)
    before, spared, plain, decayed = (a_network() for _ in range(4))
    for network, change in (
        (plain, {"weight_decay": 0.0}), (spared, {"decay_norm_and_bias": False}), (decayed, {}),
    ):  # fmt: skip
        run(network, lambda rng: [ARCH], loader=Batches(1), recipe=replace(recipe, **change), epochs=1)
    start, seen = dict(before.named_parameters()), {True: 0, False: 0}
    layers = [name for name, module in before.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    for name, weight in spared.named_parameters():
        if weight.grad is None:
            continue
        everything, nothing = dict(decayed.named_parameters())[name], dict(plain.named_parameters())[name]
        kernel = name.endswith(".weight") and name.removesuffix(".weight") in layers
        seen[kernel] += 1
        torch.testing.assert_close(nothing - everything, 0.1 * 0.3 * start[name], rtol=1e-4, atol=1e-6)
        assert torch.equal(weight, everything if kernel else nothing), name
    assert seen[True] > 5 and seen[False] > 5  # both kinds are on the path


def test_smoothed_labels():
    """At rate zero: nine tenths of the usual loss, and a tenth of the mean of it over all classes."""
    recipe = replace(RECIPE, lr=0.0, lr_min=0.0, label_smoothing=0.1)
    result = run(a_network(), lambda rng: [ARCH], loader=Batches(2), recipe=recipe, epochs=1)
    network, losses = a_network().train(), []
    with torch.no_grad():
        for x, y in Batches(2).batches:
            surprise = -torch.log_softmax(network(x, ARCH), 1)
            losses.append(float(0.9 * surprise[range(16), y].mean() + 0.1 * surprise.mean()))
    assert result.history[0]["loss"] == pytest.approx(np.mean(losses), abs=2e-6)


CELL = (7, 5, 0, 4, 2, 0, 3, 4, 0, 0, 0, 6, 0, 1)
"""A DARTS cell with two inputs a node."""


def a_darts_network() -> DartsNetwork:
    torch.manual_seed(0)
    skeleton = DartsSkeleton(resolution=32, num_classes=3, in_channels=1, channels=2, layers=3)
    return DartsNetwork(DARTS.only(CELL), skeleton, affine=True, auxiliary=True)


class Large(Batches):
    """Images that an auxiliary head can read."""

    def __init__(self, steps):
        generator = torch.Generator().manual_seed(9)
        self.batches = [
            (torch.randn(4, 1, 32, 32, generator=generator), torch.randint(0, 3, (4,), generator=generator))
            for _ in range(steps)
        ]


def test_loss_of_the_auxiliary_head_is_added():
    recipe = replace(RECIPE, batch_size=4, lr=0.0, lr_min=0.0, auxiliary_weight=0.4, label_smoothing=0.2)
    result = run(a_darts_network(), lambda rng: [CELL], loader=Large(1), recipe=recipe, epochs=1)
    x, y = Large(1).batches[0]
    with torch.no_grad():
        main, auxiliary = a_darts_network().train().forward_with_auxiliary(x, CELL)
    smoothed = lambda logits: float(F.cross_entropy(logits, y, label_smoothing=0.2))  # noqa: E731
    assert result.history[0]["loss"] == pytest.approx(smoothed(main) + 0.4 * smoothed(auxiliary), abs=2e-6)


def test_each_process_and_epoch_has_noise_of_its_own():
    def drawn(epoch, rank):
        generator = torch.Generator().manual_seed(4)
        with loop._noise(None, 0.0, 0.0, generator, epoch, rank, torch.device("cpu")):
            return torch.rand(3).tolist()

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 1) != drawn(0, 0) != drawn(1, 0)


@pytest.mark.slow
def test_drop_path_rises_in_training_only_and_survives_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    recipe = replace(RECIPE, batch_size=4, drop_path=0.6, lr=0.02)

    def go(recipe=recipe, **arguments):
        network, seen = a_darts_network(), []

        def sample(rng):
            seen.append(network.drop_path_prob)
            return [CELL]

        torch.manual_seed(0)
        result = run(network, sample, loader=Large(2), recipe=recipe, **arguments)
        assert network.drop_path_prob == 0.0
        return weights_of(network), result, seen

    def stop(epoch, loss):
        if epoch == 3:
            torch.rand(7)  # whatever a program does with the global generator
            raise Interrupted

    expected, whole, seen = go()
    assert seen == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.4])
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(0).get_state())  # the loop leaves it as it is
    with pytest.raises(Interrupted):
        go(checkpoint=tmp_path / "c", on_epoch=stop)
    got, resumed, seen = go(checkpoint=tmp_path / "c")
    assert seen == pytest.approx([0.4, 0.4])
    assert same(got, expected) and resumed.history == whole.history
    assert not same(go(replace(recipe, drop_path=0.0))[0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop_path": 0.2}, "NB201Network has no drop_path_prob; set drop_path of the recipe to 0"),
        ({"auxiliary_weight": 0.4}, "NB201Network has no forward_with_auxiliary; set auxiliary_weight"),
    ],
)
def test_what_a_network_cannot_do_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        run(a_network(), recipe=replace(RECIPE, **change))


def test_loss_that_is_not_finite_ends_the_run(tmp_path):
    loader = Batches(3)
    loader.batches[1][0].fill_(float("nan"))
    with pytest.raises(RunError, match="training loss is nan at epoch 1") as caught:
        run(a_network(), loader=loader, checkpoint=tmp_path / "c", on_epoch=lambda *_: pytest.fail("not an epoch"))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def fresh_start(stage: int):
    """(network, optimizer) as a phase finds them: the first stage, or an expanded one with momentum carried over."""
    network = a_network()
    if stage == 1:
        return network, make_optimizer(network, RECIPE)
    first = run(network, epochs=1)
    sources = expand(network, MERGED)
    optimizer = make_optimizer(network, RECIPE)
    carry_momentum(first.optimizer, optimizer, sources)
    return network, optimizer


def outcome(network, result: Training, optimizer) -> dict:
    names = {weight: name for name, weight in network.named_parameters()}
    return {
        "weights": weights_of(network),
        "momentum": {names[w]: state["momentum_buffer"].clone() for w, state in optimizer.state.items()},
        "mean": result.snapshots.mean,
        **{f"snapshot {k}": state for k, state in enumerate(result.snapshots.states)},
    }


def phase(stage: int, **arguments):
    """One phase from the start of its stage, in full or as far as it gets."""
    network, optimizer = fresh_start(stage)
    space = NB201 if stage == 1 else MERGED
    result = run(network, UniformPath(space, 3), optimizer=optimizer, **arguments)
    assert result.optimizer is optimizer
    return outcome(network, result, optimizer), result


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("stage", [1, 2])
def test_resumed_training_is_the_uninterrupted_one(tmp_path, monkeypatch, stage, keep):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    expected, uninterrupted = phase(stage, keep_snapshots=keep)

    def stop_at(last):
        def on_epoch(epoch, loss):
            if epoch == last:
                raise Interrupted

        return on_epoch

    def check(path):
        done = []
        got, result = phase(stage, keep_snapshots=keep, checkpoint=path, on_epoch=lambda epoch, _: done.append(epoch))
        assert got.keys() == expected.keys()
        assert all(same(got[part], expected[part]) for part in expected)
        assert (result.history, result.counts) == (uninterrupted.history, uninterrupted.counts)
        return done

    path = tmp_path / "each-epoch"
    for last in (1, 2, 3):  # once more at each boundary, on top of the resumed one
        with pytest.raises(Interrupted):
            phase(stage, keep_snapshots=keep, checkpoint=path, on_epoch=stop_at(last))
        assert path.exists() == (last > 1)
    assert check(path) == [3]
    assert check(path) == []  # a finished phase is only loaded
    path = tmp_path / "one-interruption"
    with pytest.raises(Interrupted):
        phase(stage, keep_snapshots=keep, checkpoint=path, on_epoch=stop_at(2))
    assert check(path) == [2, 3]


def watching(network, asked: list[int]):
    """An observer of the second and third epoch, by a forward pass without gradient."""

    def observe(epoch):
        asked.append(epoch)
        if epoch == 1:
            return None
        with torch.inference_mode():
            logits = network.eval()(torch.ones(2, 1, 8, 8), ARCH)
        network.train()
        return logits.double().sum(0).numpy(), {"forward_paths": epoch}

    return observe


def test_observing_changes_nothing_and_is_kept_apart():
    one, other, asked = a_network(), a_network(), []
    plain, watched = run(one), run(other, observe=watching(other, asked))
    assert same(weights_of(one), weights_of(other))
    assert (plain.counts, plain.history, plain.observed) == (watched.counts, watched.history, {})
    assert asked == [1, 2, 3]
    assert {epoch: seen.counts for epoch, seen in watched.observed.items()} == {
        2: {"forward_paths": 2}, 3: {"forward_paths": 3},
    }  # fmt: skip
    with torch.inference_mode():
        last = other.eval()(torch.ones(2, 1, 8, 8), ARCH).double().sum(0).numpy()
    assert np.array_equal(watched.observed[3].scores, last)
    assert not np.array_equal(watched.observed[2].scores, last)


def test_seconds_of_a_look_are_its_own(monkeypatch):
    """A clock goes on by 1 each time it is read, and by 5 while the observer looks, by 7 while a batch is drawn."""
    now = [0.0]

    def clock():
        now[0] += 1
        return now[0]

    class Slow(Batches):
        def epoch(self, generator):
            now[0] += 7
            return super().epoch(generator)

    def observe(epoch):
        now[0] += 5
        return np.zeros(1), {}

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=clock))
    result = run(a_network(), loader=Slow(1), epochs=2, observe=observe)
    assert {epoch: seen.seconds for epoch, seen in result.observed.items()} == {1: 6.0, 2: 6.0}
    assert result.seconds == 2 * 8.0


def test_what_was_observed_survives_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole, cut, resumed, asked = a_network(), a_network(), a_network(), []
    expected = run(whole, observe=watching(whole, [])).observed

    def stop(epoch, loss):
        if epoch == 3:
            raise Interrupted

    path = tmp_path / "phase.safetensors"
    with pytest.raises(Interrupted):
        run(cut, checkpoint=path, on_epoch=stop, observe=watching(cut, []))
    for again in ([3], []):  # the last epoch alone, then nothing: the phase is finished
        asked.clear()
        seen = run(resumed, checkpoint=path, observe=watching(resumed, asked)).observed
        assert asked == again
        assert list(seen) == list(expected) == [2, 3]
        for epoch, one in seen.items():
            assert np.array_equal(one.scores, expected[epoch].scores) and one.counts == expected[epoch].counts


def test_a_finished_phase_takes_no_step(tmp_path):
    path = tmp_path / "c"
    expected, first = phase(1, checkpoint=path)

    class Closed(Batches):
        def epoch(self, generator):
            raise AssertionError("no image is needed")

    network, optimizer = fresh_start(1)
    result = run(network, UniformPath(NB201, 3), loader=Closed(STEPS), optimizer=optimizer, checkpoint=path)
    again = outcome(network, result, optimizer)
    assert all(same(again[part], expected[part]) for part in expected)
    assert result.seconds == first.seconds


def test_checkpoints_between_epochs_wait_for_their_time(tmp_path):
    path, seen = tmp_path / "c", []
    phase(1, checkpoint=path, on_epoch=lambda epoch, loss: seen.append(path.exists()))
    assert seen == [False] * 3
    assert read_checkpoint(path)[1]["done"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", "half", "garbage"])
def test_a_damaged_checkpoint_starts_the_phase_anew(tmp_path, damage):
    expected, _ = phase(1)
    path = tmp_path / "c"
    phase(1, checkpoint=path)
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "garbage": b"x" * 500}[damage])
    done = []
    again, _ = phase(1, checkpoint=path, on_epoch=lambda epoch, _: done.append(epoch))
    assert done == [1, 2, 3]
    assert all(same(again[part], expected[part]) for part in expected)
    assert read_checkpoint(path)[1]["done"] == 3


@pytest.mark.parametrize("where", ["a name", "a weight"])
def test_a_flipped_bit_starts_the_phase_anew(tmp_path, where):
    expected, _ = phase(1)
    path = tmp_path / "c"
    phase(1, checkpoint=path)
    data = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    data[data.index(b"network.stem") + 2 if where == "a name" else (header + len(data)) // 2] ^= 1
    path.write_bytes(data)
    again, _ = phase(1, checkpoint=path)
    assert all(same(again[part], expected[part]) for part in expected)


class Recorder:
    """An architecture that does nothing but write down what it is told, in one list with everything else."""

    def __init__(self, events: list, optimizer: torch.optim.Optimizer) -> None:
        self.events, self.optimizer = events, optimizer

    def begin_epoch(self, share, generator):
        self.events.append(("begin", share))

    def step(self, network, batch, optimizer, rng):
        assert optimizer is self.optimizer
        rate = optimizer.param_groups[0]["lr"]
        self.events.append(("step", float(batch[0].sum()), rate, weights_of(network)))
        for weight in network.parameters():
            weight.grad = torch.full_like(weight, 1e6)  # what a step may leave behind
        return {"images_trained": 7, "forward_paths": 5, "backward_paths": 2}

    def end_epoch(self, network, rng, generator):
        self.events.append(("end", weights_of(network)))
        return {"archs_scored": 11, "forward_paths": 100}

    def tensors(self):
        return {}

    def load(self, tensors):
        raise AssertionError("there is nothing to resume")


class Announced(Batches):
    """Tells when the images of an epoch are drawn."""

    def __init__(self, steps, events):
        super().__init__(steps)
        self.events = events

    def epoch(self, generator):
        self.events.append(("images",))
        return super().epoch(generator)


def test_order_of_calls_to_an_architecture():
    events, network = [], a_network()
    optimizer = make_optimizer(network, RECIPE)

    def sample(rng):
        events.append(("sample",))
        return [ARCH]

    loader = Announced(2, events)
    run(network, sample, loader=loader, optimizer=optimizer, architecture=Recorder(events, optimizer), epochs=2)
    epoch = ["images", "begin", "step", "sample", "step", "sample", "end"]
    assert [event[0] for event in events] == 2 * epoch
    assert [event[1] for event in events if event[0] == "begin"] == [0, 0.5]


def test_an_architecture_sees_the_batch_the_rate_and_the_weights_of_the_coming_step():
    events, network, plain = [], a_network(), a_network()
    optimizer = make_optimizer(network, RECIPE)
    architecture = Recorder(events, optimizer)
    run(network, lambda rng: [ARCH], loader=Batches(2), optimizer=optimizer, architecture=architecture, epochs=2)
    states = []

    def sample(rng):
        states.append(weights_of(plain))
        return [ARCH]

    run(plain, sample, loader=Batches(2), epochs=2)
    steps = [event for event in events if event[0] == "step"]
    assert [event[1] for event in steps] == 2 * [float(x.sum()) for x, _ in Batches(2).batches]
    rates = [0.01 + 0.045 * (1 + math.cos(math.pi * (step / 2) / 10)) for step in range(4)]
    assert [event[2] for event in steps] == pytest.approx(rates, rel=1e-12)
    assert all(same(event[3], state) for event, state in zip(steps, states, strict=True))
    ends = [event[1] for event in events if event[0] == "end"]
    assert same(ends[0], states[2])
    assert same(ends[1], weights_of(plain))  # and what it left in the gradients did no harm
    assert same(weights_of(network), weights_of(plain))


def test_work_of_an_architecture_is_added():
    network = a_network()
    optimizer = make_optimizer(network, RECIPE)
    result = run(network, lambda rng: [ARCH], optimizer=optimizer, architecture=Recorder([], optimizer), epochs=2)
    steps = 2 * STEPS
    assert result.counts == {
        "images_trained": steps * (16 + 7),
        "train_steps": steps,
        "forward_paths": steps * (1 + 5) + 2 * 100,
        "backward_paths": steps * (1 + 2),
        "archs_scored": 2 * 11,
    }


class Learner:
    """Logits that learn by what every argument says, so that a resumption that loses any of it shows.

    The weights run on the mixture or, hard, on its best arch.
    """

    def __init__(self, hard: bool) -> None:
        self.hard = hard
        self.alphas = Alphas(NB201, shuffled(), torch.Generator().manual_seed(2), lr=0.1)
        self.share = None

    def sample(self, rng):
        probabilities = self.alphas.probabilities().detach()
        return [tuple(probabilities.argmax(1).tolist()) if self.hard else probabilities]

    def begin_epoch(self, share, generator):
        self.share = share
        self.alphas.begin_epoch(generator)

    def step(self, network, batch, optimizer, rng):
        x, y = self.alphas.next_batch()
        weights = self.alphas.probabilities()
        loss = F.cross_entropy(network(x, weights), y)
        (gradient,) = torch.autograd.grad(loss, self.alphas.logits)
        noise = torch.from_numpy(rng.normal(size=(6, 5))).float()
        self.alphas.apply(gradient + 0.01 * (1 + self.share) * noise)
        return {"images_trained": len(y), "forward_paths": 5, "backward_paths": 5}

    def end_epoch(self, network, rng, generator):
        self.alphas.apply(torch.randn(6, 5, generator=generator) * float(rng.random()))
        return {"archs_scored": 1}

    def tensors(self):
        return self.alphas.tensors()

    def load(self, tensors):
        self.alphas.load(tensors)


def learn(hard: bool, **arguments):
    network, learner = a_network(), Learner(hard)
    optimizer = make_optimizer(network, RECIPE)
    result = run(network, learner.sample, optimizer=optimizer, architecture=learner, **arguments)
    tensors = {name: value.detach().clone() for name, value in learner.tensors().items()}
    return {**outcome(network, result, optimizer), "architecture": tensors}, result


@pytest.mark.slow
@pytest.mark.parametrize("hard", [True, False])
def test_resumed_training_of_an_architecture_is_the_uninterrupted_one(tmp_path, monkeypatch, hard):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    expected, uninterrupted = learn(hard)
    assert uninterrupted.counts["archs_scored"] == 3
    assert uninterrupted.counts["forward_paths"] == 3 * STEPS * (5 + (1 if hard else 5))
    done = []

    def stop(epoch, loss):
        done.append(epoch)
        raise Interrupted

    for _ in range(3):
        with pytest.raises(Interrupted):
            learn(hard, checkpoint=tmp_path / "each", on_epoch=stop)
    assert done == [1, 1, 1]  # the checkpoint of an epoch follows its announcement

    def stop_later(epoch, loss):
        if epoch > 1:
            raise Interrupted

    path = tmp_path / "c"
    with pytest.raises(Interrupted):
        learn(hard, checkpoint=path, on_epoch=stop_later)
    for announced in ([2, 3], []):
        done = []
        got, result = learn(hard, checkpoint=path, on_epoch=lambda epoch, _, done=done: done.append(epoch))
        assert done == announced
        assert got.keys() == expected.keys()
        assert all(same(got[part], expected[part]) for part in expected)
        assert (result.history, result.counts) == (uninterrupted.history, uninterrupted.counts)


def some_weights(double: bool = False) -> nn.ParameterList:
    """Of several shapes and layouts; the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(7,), (16, 8, 3, 3), (10, 64), (8, 3, 3, 3), (1,), (5, 8, 1, 1)]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
    return nn.ParameterList(tensor.double() if double else tensor for tensor in tensors)


def some_gradients(weights: nn.ParameterList, seed: int) -> None:
    """Of some of the weights, as on a path."""
    generator = torch.Generator().manual_seed(seed)
    for weight in weights:
        gradient = torch.randn(weight.shape, generator=generator)
        keep = torch.rand((), generator=generator) < 0.7
        weight.grad = torch.empty_like(weight).copy_(gradient) if keep else None


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("spared", [False, True])
def test_a_step_is_that_of_plain_sgd(clip, nesterov, spared):
    """Forty steps, beside torch's plain SGD with its own clipping: weights and momenta."""
    ours, theirs = some_weights(), some_weights()
    recipe = replace(
        RECIPE, lr=0.01, momentum=0.9, nesterov=nesterov, weight_decay=5e-4, decay_norm_and_bias=not spared
    )
    optimizer = make_optimizer(ours, recipe)
    assert optimizer.param_groups[0]["fused"]
    groups = list(theirs)
    if spared:  # the first and the fifth are vectors
        groups = [
            {"params": [theirs[i] for i in (1, 2, 3, 5)]},
            {"params": [theirs[0], theirs[4]], "weight_decay": 0.0},
        ]
    more = {"momentum": 0.9, "nesterov": nesterov, "weight_decay": 5e-4, "fused": False, "foreach": False}
    plain = torch.optim.SGD(groups, lr=0.01, **more)
    for seed in range(40):
        for weights in (ours, theirs):
            some_gradients(weights, seed)
        descend(optimizer, clip)
        if clip:
            nn.utils.clip_grad_norm_(theirs, clip, foreach=False)
        plain.step()
    for weight, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, reference, rtol=1e-6, atol=1e-7)
        mine, its = (o.state[w]["momentum_buffer"] for o, w in ((optimizer, weight), (plain, reference)))
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)


def test_a_weight_without_gradient_stays_and_gets_no_momentum():
    network = nn.ParameterList([torch.ones(3), torch.ones(3)])
    optimizer = make_optimizer(network, replace(RECIPE, lr=0.1, weight_decay=0.1))
    moved, still = network
    moved.grad = torch.ones(3)
    descend(optimizer, 1e6)
    assert torch.equal(still.detach(), torch.ones(3)) and "momentum_buffer" not in optimizer.state[still]
    assert moved.detach().max() < 1
    moved.grad, still.grad = torch.ones(3), torch.ones(3)
    descend(optimizer)  # one with momentum beside one without
    assert still.detach().max() < 1


def test_momentum_of_earlier_versions_goes_on():
    """Ours was made as zeros before the first step, as it is now."""
    ours, theirs = some_weights(), some_weights()
    for weights, fused in ((ours, True), (theirs, False)):
        first = torch.optim.SGD(weights, 0.01, momentum=0.9, foreach=False)
        some_gradients(weights, 0)
        first.step()
        then = torch.optim.SGD(weights, 0.01, momentum=0.9, fused=fused)
        carry_momentum(first, then, {})
        some_gradients(weights, 1)
        descend(then)
    for weight, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, reference, rtol=1e-6, atol=1e-7)


def test_clipping_is_over_all_groups_together():
    first, second = (nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], 1.0, momentum=0.9, fused=True)
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    descend(optimizer, 1.0)
    assert first.item() == pytest.approx(-0.6) and second.item() == pytest.approx(-0.4 * 0.5 * 2)


def test_what_is_no_number_is_not_hidden():
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.tensor([1.0, math.nan, 1.0, 1.0])
    descend(torch.optim.SGD([weight], 0.1, momentum=0.9, fused=True), 5.0)
    assert weight.isnan().any()


def test_torch_notices_that_weights_changed():
    weight = nn.Parameter(torch.ones(2))
    loss = (weight**2).sum()
    weight.grad = torch.ones(2)
    descend(torch.optim.SGD([weight], 0.1, momentum=0.9, fused=True))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


SMALL = {
    "nasbench201": Skeleton(8, 10, channels=8, cells=1),
    "mobilenet": small_image(8, 10, 3, factor=0.1),
    "darts": DartsSkeleton(8, 10, channels=4, layers=3),
}


def in_memory(tensor: torch.Tensor) -> list[int]:
    """How far apart neighbours lie, where there are any."""
    return [step for step, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


@pytest.mark.parametrize("space", SMALL)
def test_gradients_lie_as_their_weights_do(space):
    """torch's fused step on a CPU reads both in the order of memory, and does not look."""
    torch.manual_seed(0)
    whole = SPACES[space].whole
    network = SPACES[space].network(whole, SMALL[space], False).to(memory_format=torch.channels_last)
    for seed in range(3):
        x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        arch = whole.sample(np.random.default_rng(seed))
        network.zero_grad(set_to_none=True)
        network(x.contiguous(memory_format=torch.channels_last), arch).sum().backward()
        got = [weight for weight in network.parameters() if weight.grad is not None]
        assert got and all(in_memory(weight.grad) == in_memory(weight) for weight in got)


class Dropping(nn.Module):
    """A classifier behind a dropout; it notes its probability, and how much of what comes in is dropped."""

    def __init__(self):
        super().__init__()
        self.dropout, self.head, self.seen = nn.Dropout(0.0), nn.Linear(64, 10), []

    def forward(self, x, path):
        features = torch.ones(len(x), 64)
        dropped = self.dropout(features)
        self.seen.append((self.dropout.p, float((dropped == 0).float().mean()), float(dropped.max())))
        return self.head(dropped)


def test_dropout_of_the_recipe_is_on_while_it_trains():
    torch.manual_seed(0)
    network = Dropping()
    recipe = replace(RECIPE, dropout=0.2)
    run(network, lambda rng: [ARCH], recipe=recipe)
    assert {p for p, _, _ in network.seen} == {0.2} and network.dropout.p == 0.0
    assert abs(np.mean([share for _, share, _ in network.seen]) - 0.2) < 0.03
    assert {round(largest, 4) for _, _, largest in network.seen} == {1.25}
    with pytest.raises(ValueError, match="Linear has no dropout; set dropout of the recipe to 0"):
        run(nn.Linear(2, 2), recipe=recipe)
