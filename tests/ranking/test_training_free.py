from dataclasses import dataclass, fields, replace
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.proxies import PROXIES, Proxy
from senas_bench.ranking import ESTIMATORS, estimator_of, partial
from senas_bench.ranking.fresh import Fresh
from senas_bench.ranking.partial import Partial
from senas_bench.ranking.score_archs import Evaluation
from senas_bench.ranking.snapshots import Watcher
from senas_bench.ranking.training_free import TrainingFree, distinct_archs
from senas_bench.spaces import ImageShape
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NB201_SPACE, NONE, POOL, SKIP
from senas_bench.spaces.nasbench201.network import NB201Network

SHAPE = ImageShape(8, 3, 1)
X = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
IMAGES = Evaluation([(X[:6], Y[:6]), (X[6:], Y[6:])], "batch")
ARCHS = np.array([(CONV3, n % 5, SKIP, (n + 2) % 5, POOL, CONV1) for n in range(5)])
CUT = (NONE, NONE, CONV3, NONE, CONV3, CONV1)
"""Only edges between nodes that the input does not reach."""
SYNFLOW = TrainingFree("synflow")


def network(space, affine):
    return NB201Network(space, 2, 1, 1, 3, affine)


COST = NB201_SPACE.cost(NB201_SPACE.skeleton(SHAPE, SimpleNamespace(channels=2, cells=1)))


def weights(seed: int = 0) -> SimpleNamespace:
    return SimpleNamespace(fresh=lambda size: Fresh(NB201_SPACE, network, COST, SHAPE, seed))


def score(estimator, archs=ARCHS, evaluation=IMAGES, seed=0, watcher=None):
    return estimator(weights(seed), np.array(archs, np.int8), evaluation, COST, watcher or Watcher())


@dataclass(frozen=True)
class Sums(Proxy):
    """The sum of all weights, of the images or of random numbers: whatever it could depend on."""

    what: str = "weights"

    def __call__(self, network, images, labels, generator):
        if self.what == "weights":
            return float(sum(weight.detach().sum() for weight in network.weights))
        return float(images.sum()) if self.what == "images" else float(torch.rand(1, generator=generator))


@dataclass(frozen=True)
class Scaled(Proxy):
    """The number of weights, times a factor."""

    factor: float = 1.0
    family: str = ""

    def __call__(self, network, images, labels, generator):
        return self.factor * sum(weight.numel() for weight in network.network.parameters())


@dataclass(frozen=True)
class OfStrings(Sums):
    of = "string"


@dataclass(frozen=True)
class Asks(Proxy):
    """Two ways forward over six and two images, and back once, twice and over gradients."""

    data = "noise"
    batch = 6

    def __call__(self, network, images, labels, generator):
        network(images[:2])
        loss = nn.functional.cross_entropy(network(images), labels)
        (first, *_) = network.gradients(loss, network.weights[:1], graph=True)
        network.gradients(first.square().sum(), network.weights[:1], second=True)
        return 1.0


@pytest.mark.parametrize("what", ["weights", "images", "random"])
def test_a_score_depends_on_the_arch_and_the_seed_alone(what):
    """Not on what is scored beside it, nor in which order."""
    estimator = TrainingFree(Sums(what), images=4)
    together, _ = score(estimator)
    single = [score(estimator, [arch])[0][0] for arch in ARCHS[::2]]
    assert together[::2].tolist() == single
    assert score(estimator, ARCHS[::-1])[0].tolist() == together[::-1].tolist()
    assert score(estimator)[0].tolist() == together.tolist()
    other, _ = score(estimator, seed=1)
    assert (other != together).all() == (what != "images")


def test_all_archs_meet_the_first_images():
    scores, _ = score(TrainingFree(Sums("images"), images=8))
    np.testing.assert_allclose(scores, float(X[:8].sum()), rtol=1e-6)
    noisy, _ = score(TrainingFree(Sums("images"), images=8, noise=True))
    assert len(set(noisy)) == 1 and noisy[0] != scores[0]


def test_draws_are_averaged():
    one, two = (score(TrainingFree(Sums("random"), draws=draws, images=4))[0] for draws in (1, 2))
    generators = [weights().fresh("preset").generator(draw) for draw in range(2)]
    first, second = (float(torch.rand(1, generator=generator)) for generator in generators)
    np.testing.assert_allclose(one, first, rtol=1e-6)
    np.testing.assert_allclose(two, (first + second) / 2, rtol=1e-6)


def test_archs_whose_input_does_not_reach_their_output_are_last():
    scores, work = score(TrainingFree("synflow"), [CUT, (NONE,) * 6, (NONE, NONE, NONE, SKIP, NONE, NONE)])
    assert scores[:2].tolist() == [-np.inf] * 2 and np.isfinite(scores[2]) and work["archs_scored"] == 1


def test_equal_functions_are_scored_once():
    """A 3x3 convolution, by each of the ways through the cell, and with a convolution that nobody reads."""
    same = [
        (NONE, NONE, NONE, CONV3, NONE, NONE),
        (CONV3, NONE, NONE, NONE, SKIP, NONE),
        (SKIP, NONE, CONV3, NONE, NONE, SKIP),
        (CONV1, NONE, NONE, CONV3, NONE, NONE),
    ]
    scores, work = score(TrainingFree(Sums(), images=1), same)
    assert len(set(scores)) == 1 and work["archs_scored"] == 1
    assert score(TrainingFree(OfStrings(), images=1), same)[1]["archs_scored"] == 4
    pruned, rows = distinct_archs(NB201_SPACE, np.array(same), "pruned")
    assert len(pruned) == 3 and rows[3] == rows[0]


def test_work_is_what_was_asked():
    """8 images forward; backward 6, and 3 times 6 over gradients, each at twice the cost; two draws of one arch."""
    arch = (CONV3, SKIP, POOL, CONV1, NONE, SKIP)
    _, work = score(TrainingFree(Asks(), draws=2), [arch])
    flops = round(COST(np.array([arch]))["flops_m"][0] * 1e6)
    expected = {"archs_scored": 2, "forward_paths": 4, "backward_paths": 8, "images_scored": 16}
    price = 2 * flops * (8 + 2 * (6 + 18))
    assert work == {**expected, "multiply_adds": price, "nominal_multiply_adds": price}
    _, twice = score(TrainingFree(Asks(), draws=2), [arch, arch, CUT])
    assert twice == {**work, "nominal_multiply_adds": 2 * price}


def test_more_images_than_there_are():
    with pytest.raises(ValueError, match="scores on 32 images, and the run has 12 that score an arch; give"):
        score(TrainingFree("synflow-bn"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"proxy": "synflo"}, "unknown proxy 'synflo'; did you mean 'synflow'"),
        ({"proxy": "synflow", "size": "large"}, "unknown size 'large' of the scored networks; one of: preset, full"),
        ({"proxy": "synflow", "draws": 0}, "give images >= 0 and draws >= 1"),
        ({"proxy": 3}, "3 is no proxy: write a frozen dataclass"),
        ({"proxy": Sums}, "is no proxy: Sums is a class"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainingFree(**fields)


def test_a_cut_scoring_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SAVE_SECONDS", 0.0)
    whole, work = score(TrainingFree("synflow"))
    built = []

    def attempt(stop):
        class Counting(Fresh):
            def build(self, arch, draw=0):
                if len(built) == stop:
                    raise KeyboardInterrupt
                built.append(arch)
                return super().build(arch, draw)

        usual = weights().fresh("preset")
        fresh = Counting(**{field.name: getattr(usual, field.name) for field in fields(usual) if field.init})
        watcher = Watcher(partial=Partial(tmp_path / "scores"))
        return SYNFLOW(SimpleNamespace(fresh=lambda size: fresh), ARCHS, IMAGES, COST, watcher)

    with pytest.raises(KeyboardInterrupt):
        attempt(3)
    scores, counts = attempt(-1)
    assert scores.tolist() == whole.tolist() and counts == work
    assert len(built) == work["archs_scored"]


def test_two_of_a_family_look_once(tmp_path):
    """As they score alone, and the second counts nothing."""

    def ask(name, folder):
        folder.mkdir(exist_ok=True)
        watcher = Watcher(partial=Partial(folder / f"{name}.arrays"))
        return TrainingFree(name)(weights(), ARCHS, IMAGES, COST, watcher)

    names = ("az-expressivity", "az-progressivity")
    together = [ask(name, tmp_path / "shared") for name in names]
    alone = [ask(name, tmp_path / name) for name in names]
    assert [scores.tolist() for scores, _ in together] == [scores.tolist() for scores, _ in alone]
    assert alone[0][1] == alone[1][1] == together[0][1] and alone[0][1]["archs_scored"] == 5
    assert together[1][1]["archs_scored"] == together[1][1]["multiply_adds"] == 0


def test_archs_share_the_weights_of_what_they_share():
    """Two that differ on one edge, in each cell and outside of them."""
    fresh = weights().fresh("preset")
    first, second = (
        dict(fresh.build((CONV3, CONV1, op, SKIP, POOL, CONV1)).named_parameters()) for op in (CONV3, SKIP)
    )
    assert second.keys() < first.keys() and all(".choices.2." in name for name in first.keys() - second.keys())
    assert all(torch.equal(tensor, first[name]) for name, tensor in second.items())


def test_weights_and_each_purpose_have_random_numbers_of_their_own():
    """The network is built while torch has the seed of its weights."""
    seeds = []

    def seen(space, affine):
        seeds.append(torch.initial_seed())
        return network(space, affine)

    fresh = Fresh(NB201_SPACE, seen, COST, SHAPE, 0)
    fresh.build((CONV3, CONV1, SKIP, SKIP, POOL, CONV1))
    seeds += [fresh.generator(purpose=purpose).initial_seed() for purpose in (1, 2)]
    assert len(seeds) == len(set(seeds)) == 3
    assert fresh.generator(purpose=2).initial_seed() == seeds[2]


def test_a_run_scores_an_arch_once_and_counts_it_where_it_did(tmp_path):
    """One that is made again, for it was cut before it was kept, counts its own once more."""

    def ask(label, archs):
        watcher = Watcher(partial=Partial(tmp_path / f"{label}.arrays"))
        return TrainingFree("synflow")(weights(), np.array(archs), IMAGES, COST, watcher)

    def steps(work):
        return work["archs_scored"], work["multiply_adds"]

    whole, work = score(TrainingFree("synflow"))
    half = len(ARCHS) // 2
    first, of_first = ask("first", ARCHS[:half])
    assert steps(of_first) == steps(score(TrainingFree("synflow"), ARCHS[:half])[1])
    second, of_second = ask("second", ARCHS)
    assert first.tolist() == whole[:half].tolist() and second.tolist() == whole.tolist()
    assert steps(of_first)[0] + steps(of_second)[0] == steps(work)[0]
    assert steps(of_first)[1] + steps(of_second)[1] == steps(work)[1]
    assert ask("third", ARCHS)[1]["archs_scored"] == 0
    assert [ask("first", ARCHS[:half])[1], ask("second", ARCHS)[1]] == [of_first, of_second]
    other, _ = TrainingFree("synflow", draws=2)(
        weights(), np.array(ARCHS), IMAGES, COST, Watcher(partial=Partial(tmp_path / "first.arrays"))
    )
    assert (other != whole).all()


def test_runs_leave_scores_for_each_other(tmp_path, monkeypatch):
    """Each counts them in full, with the time that they took. What decides them otherwise is another file."""
    asked, made = [], TrainingFree._score
    monkeypatch.setattr(TrainingFree, "_score", lambda self, *given: asked.append(given[2]) or made(self, *given))

    def run(name: str, estimator=SYNFLOW, archs=ARCHS, shelf="shelf"):
        (tmp_path / name).mkdir(exist_ok=True)
        fresh = Fresh(NB201_SPACE, network, COST, SHAPE, 0, shared=lambda words: tmp_path / shelf / words[-64:])
        one = Partial(tmp_path / name / "ranking.arrays")
        watcher = Watcher(partial=one)
        scores, work = estimator(SimpleNamespace(fresh=lambda size: fresh), archs, IMAGES, COST, watcher)
        return scores, work, one.seconds()

    first, second = run("first", archs=ARCHS[:3]), run("second")
    assert len(asked) == len(set(asked)) == len(ARCHS)
    alone = run("alone", shelf="none")
    asked.clear()
    scores, work, seconds = run("third")
    assert asked == [] and seconds > first[2] / 2
    for other in (second, alone):
        np.testing.assert_array_equal(scores, other[0])
        assert work == other[1]
    run("third", archs=ARCHS)  # made again: found in its own memory
    assert asked == []
    run("more images", TrainingFree("synflow-bn", images=4))
    run("fewer images", TrainingFree("synflow-bn", images=2))
    assert len(asked) == 2 * len(ARCHS)


def test_a_name_that_came_to_mean_another_proxy_finds_no_scores_of_the_first(tmp_path, monkeypatch):
    """Also one of a family, whose members find those of each other."""

    def run(name: str):
        fresh = Fresh(
            NB201_SPACE, network, COST, SHAPE, 0, shared=lambda words: tmp_path / sha256(words.encode()).hexdigest()
        )
        return TrainingFree(name, images=4)(SimpleNamespace(fresh=lambda size: fresh), ARCHS, IMAGES, COST)[0]

    monkeypatch.setitem(PROXIES, "mine", Scaled(1.0))
    first = run("mine")
    monkeypatch.setitem(PROXIES, "mine", Scaled(-1.0))
    assert (run("mine") == -first).all() and first.any()
    monkeypatch.setitem(PROXIES, "mine", Scaled(1.0, "some"))
    run("mine")
    monkeypatch.setitem(PROXIES, "mine", Scaled(-1.0, "some"))
    assert (run("mine") == -first).all()


def test_what_was_scored_before_a_cut_stays_though_others_scored_more(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SAVE_SECONDS", 0.0)
    asked, made = [], TrainingFree._score

    def scored(self, *given):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(given[2])
        return made(self, *given)

    def run(name: str, archs=ARCHS):
        (tmp_path / name).mkdir(exist_ok=True)
        fresh = Fresh(NB201_SPACE, network, COST, SHAPE, 0, shared=lambda words: tmp_path / "shelf")
        watcher = Watcher(partial=Partial(tmp_path / name / "ranking.arrays"))
        return SYNFLOW(SimpleNamespace(fresh=lambda size: fresh), archs, IMAGES, COST, watcher)

    monkeypatch.setattr(TrainingFree, "_score", scored)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    before, asked[:] = list(asked), []
    run("other", ARCHS[[0]])
    asked.clear()
    run("cut")
    assert not set(asked) & set(before) and len(asked) <= len(ARCHS) - 3


@pytest.fixture
def task(tmp_path):
    sizes = replace(PRESETS["embedded"], channels=4, score_images=50, score_batch=50, calibration_images=50)
    return lambda space: make_task(make_spec("synflow", 0, "embedded", sizes=sizes, space=space), Place(tmp_path))


@pytest.mark.slow
def test_sizes_of_the_networks(task):
    """Of the run: 4 channels, a cell a stage, 8x8 images. Full: the benchmark's 16 and 5, and images enlarged."""
    small, full = (task("nasbench201").fresh(size) for size in ("preset", "full"))
    arch = (CONV3,) * 6
    assert [fresh.cost(np.array([arch]))["params"][0] for fresh in (small, full)] == [
        sum(weight.numel() for weight in fresh.build(arch).parameters()) for fresh in (small, full)
    ]
    assert full.shape == (32, 10, 1) and small.shape == (8, 10, 1) and len(full.build(arch).body) == 17
    assert full.batches()[0][0].shape == (50, 1, 32, 32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "proxies"),
    [
        ("nasbench201", PROXIES),
        ("darts", PROXIES),
        ("mobilenet", ("synflow-bn", "grasp", "gradsign", "naswot", "zen", "az-trainability")),
    ],
)
def test_in_every_space(task, space, proxies):
    made = task(space)
    archs = np.array([made.space.sample(np.random.default_rng(0))])
    for name in proxies:
        (score,), _ = TrainingFree(name, images=8)(made, archs, made.evaluation, made.problem.cost)
        assert np.isfinite(score), name


def test_proxies_are_estimators_by_their_names():
    assert all(estimator_of(name) == TrainingFree(name) for name in PROXIES)
    assert ESTIMATORS["synflow-bn-full"] == TrainingFree("synflow-bn", size="full")
    assert not any(ESTIMATORS[name].needs_supernet for name in PROXIES)
