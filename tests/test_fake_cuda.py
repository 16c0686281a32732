"""What runs on a GPU, without one: torch's fake tensors know devices and shapes, and refuse an operation on two devices
and a look at a value, for which a GPU would be waited for.

A way back would take the process down there: what has gradients runs on the `meta` device, which has no values either.
`tests/test_cuda.py` runs where there is a GPU.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from senas_bench.data.loader import TrainLoader, fixed_batches
from senas_bench.experiments.studies import preset_of
from senas_bench.methods.darts import second_order
from senas_bench.networks.expansion import expand, plan_groups
from senas_bench.networks.mixture import Mixture
from senas_bench.ranking.score_archs import Evaluation, Found, distinct_functions, score_archs
from senas_bench.ranking.snapshots import score_states
from senas_bench.shrinking import shrink
from senas_bench.spaces import SPACES, ImageShape
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.training.bilevel import Alphas, LearningAlphas, first_order
from senas_bench.training.fair import FairPaths
from senas_bench.training.loop import carry_momentum, descend, make_optimizer, train
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.snapshots import Snapshots

SIZE = {"nasbench201": 8, "mobilenet": 32, "darts": 32}
SPACES_BY_COST = ["nasbench201", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet", "darts"))]
IMAGES, CELLS = 4, 3


class Through(Exception):
    """All that must not wait is done."""


@pytest.fixture
def fake() -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # there is no driver
        yield


def a_network(name: str, device: str = "cuda") -> torch.nn.Module:
    space = SPACES[name]
    skeleton = space.skeleton(ImageShape(SIZE[name], 10, 3), preset_of(name, "embedded"))
    with torch.device(device):  # a network of fake tensors cannot be moved
        return space.network(space.whole, skeleton, False)


def images(side: int, device: str = "cuda") -> torch.Tensor:
    return torch.empty(IMAGES, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)


def labels(device: str = "cuda") -> torch.Tensor:
    return torch.empty(IMAGES, dtype=torch.int64, device=device)


@pytest.mark.parametrize("name", SPACES_BY_COST)
def test_an_arch_and_a_mixture(fake, name):
    network, space, x = a_network(name), SPACES[name].whole, images(SIZE[name])
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cuda"}
    shape = len(space.edges), len(space.operators)
    runs = tuple(tuple(op in alive[:2] for op in range(shape[1])) for alive in space.candidates)
    for path in (space.sample(np.random.default_rng(0)), Mixture(torch.empty(shape, device="cuda"), runs)):
        out = network(x, path)
        assert out.device.type == "cuda" and out.shape == (IMAGES, 10)


def test_a_path_of_each_cell(fake):
    network, rng = a_network("nasbench201"), np.random.default_rng(1)
    assert network(images(8), [NB201.sample(rng) for _ in range(network.choice_cells)]).device.type == "cuda"


def test_a_path_on_two_devices_is_noticed(fake):
    network = a_network("nasbench201")
    network.head = torch.nn.Linear(network.head.in_features, 10, device="cpu")
    with pytest.raises(RuntimeError, match="device"):
        network(images(8), NB201.sample(np.random.default_rng(3)))


def test_a_look_at_a_value_is_noticed(fake):
    """Which operators of a tensor of weights run is not known without one."""
    with pytest.raises(DataDependentOutputException):
        a_network("nasbench201")(images(8), torch.empty(6, 5, device="cuda"))


def test_images_live_on_the_device(fake):
    pixels, classes = np.zeros((20, 8, 8, 3), np.uint8), np.zeros(20, np.int64)
    look = {"mean": [0.5] * 3, "std": [0.25] * 3, "device": "cuda"}
    loader = TrainLoader(pixels, classes, 8, pad=2, flip=True, cutout=2, **look)
    batches = [
        *loader.epoch(torch.Generator().manual_seed(0)),
        *fixed_batches(pixels, classes, np.arange(8), 4, **look),
    ]
    assert len(batches) == 4
    assert {part.device.type for batch in batches for part in batch} == {"cuda"}


def until_all_is_found(found: Found) -> None:
    if found.done == found.total:
        raise Through


@pytest.mark.parametrize("mode", ["batch", "recalibrate", pytest.param("running", marks=pytest.mark.slow)])
@pytest.mark.parametrize("at_once", [1, None])
def test_scoring_waits_for_nothing(fake, mode, at_once):
    """Until the sums are read, when all archs have been seen; one by one, and as many in a pass as a GPU takes."""
    network, x = a_network("nasbench201"), images(8)
    archs = NB201.sample_distinct(np.random.default_rng(0), 3)
    evaluation = Evaluation([(x, labels())], mode, [x] * 2, half=True)
    with pytest.raises(Through):
        score_archs(network, archs, evaluation, after=until_all_is_found, at_once=at_once)


@pytest.mark.parametrize(("count", "expected"), [(256, [4, 6]), (257, [1, 2, 3, 4, 5, 6])])
def test_on_a_gpu_archs_share_a_pass_where_images_are_few(fake, monkeypatch, count, expected):
    """Up to 256 images of 32x32; four archs here."""
    monkeypatch.setattr(f"{score_archs.__module__}.SHARED", 4)
    passes = []
    network, x = a_network("nasbench201"), torch.empty(count, 3, 32, 32, device="cuda")
    archs = distinct_functions(network, NB201.sample_distinct(np.random.default_rng(0), 20))[0][:6]
    evaluation = Evaluation([(x, torch.empty(count, dtype=torch.int64, device="cuda"))], "batch")

    def after(found: Found) -> None:
        passes.append(found.done)
        until_all_is_found(found)

    with pytest.raises(Through):
        score_archs(network, np.array(archs), evaluation, after=after)
    assert passes == expected


@pytest.mark.slow
def test_snapshots_are_taken_and_scored_there(fake):
    """What is read first is the result."""
    network, x = a_network("nasbench201"), images(8)
    snapshots = Snapshots()
    for _ in range(2):
        snapshots.add(network)
    assert {value.device.type for value in snapshots.mean.values()} == {"cuda"}
    archs = NB201.sample_distinct(np.random.default_rng(0), 2)
    with pytest.raises(RuntimeError, match=r"\.numpy\(\) is not supported"):
        score_states(network, snapshots.states, archs, Evaluation([(x, labels())] * 2, "batch"), loglik=True)


class MetaImages:
    """A loader of two batches, which says when the steps on them are done."""

    batch_size = IMAGES

    def __init__(self, side: int) -> None:
        self.batch = images(side, "meta"), labels("meta")

    def __len__(self) -> int:
        return 2

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from [self.batch] * 2
        raise Through


@pytest.fixture
def meta(monkeypatch):
    """There is no autocast on `meta`."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def steps(network: torch.nn.Module, sample: Callable, side: int = 8, architecture: object = None) -> None:
    recipe = TrainingRecipe((1,), batch_size=IMAGES, clip=5.0)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    more = {"epochs": 1, "rng": rng, "generator": generator, "architecture": architecture}
    train(network, MetaImages(side), recipe, sample, **more)


@pytest.mark.parametrize("name", SPACES_BY_COST)
def test_a_step_on_a_path_waits_for_nothing(meta, name):
    network = a_network(name, "meta")
    with pytest.raises(Through):
        steps(network, SPACES[name].whole.paths(), SIZE[name])
    graded = [weight for weight in network.parameters() if weight.grad is not None]
    assert graded and all(weight.grad.shape == weight.shape and weight.grad.is_meta for weight in graded)


@pytest.mark.parametrize(
    "sample", [NB201.paths(CELLS), pytest.param(FairPaths(NB201), marks=pytest.mark.slow)], ids=["per cell", "fair"]
)
def test_a_step_on_other_paths_waits_for_nothing(meta, sample):
    network = a_network("nasbench201", "meta")
    assert network.choice_cells == CELLS
    with pytest.raises(Through):
        steps(network, sample)


@pytest.mark.parametrize("gradient", [first_order, pytest.param(second_order, marks=pytest.mark.slow)])
def test_a_step_on_a_mixture_waits_for_nothing(meta, gradient):
    """Nor that of the logits before it."""
    alphas = Alphas(NB201, MetaImages(8), torch.Generator().manual_seed(0), device="meta")
    with pytest.raises(Through):
        steps(a_network("nasbench201", "meta"), alphas.mixture, architecture=LearningAlphas(alphas, gradient))
    assert alphas.optimizer.state[alphas.logits]["exp_avg"].is_meta


def test_a_step_that_waits_is_noticed(meta):
    def drawn(rng: np.random.Generator) -> list:
        return [tuple(torch.empty(6, 5, device="meta").argmax(1).tolist())]

    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        steps(a_network("nasbench201", "meta"), drawn)


def test_an_expanded_network_stays_where_it_is():
    """With the momentum of its copies; on `meta`, as a replaced weight takes the process down on fake tensors."""
    network = a_network("nasbench201", "meta")
    optimizer = make_optimizer(network, TrainingRecipe((1,), batch_size=IMAGES))
    network(images(8, "meta"), (3,) * 6).sum().backward()
    descend(optimizer)
    rng = np.random.default_rng(0)
    space = shrink(NB201, {pair: rng.random() for pair in NB201.alive()}, 10)
    sources = expand(network, space.with_groups(plan_groups(space, 50)))
    later = make_optimizer(network, TrainingRecipe((1,), batch_size=IMAGES))
    carry_momentum(optimizer, later, sources)
    assert sources and all(tensor.is_meta for tensor in network.state_dict().values())
    assert later.state and all(state["momentum_buffer"].is_meta for state in later.state.values())
    arch = space.sample(rng)
    network(images(8, "meta"), arch).sum().backward()
