"""What every criterion must do, on each kind of supernet that it can meet."""

import copy
import subprocess
import sys
from dataclasses import replace
from functools import cache
from math import inf
from numbers import Real

import numpy as np
import pytest
import torch

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.networks.expansion import expand
from senas_bench.progress import SilentProgress
from senas_bench.shrinking import CRITERIA, CriterionOutput
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.tasks.method import check_criterion
from senas_bench.tasks.outputs import Trained
from senas_bench.tasks.task import Task
from senas_bench.tasks.work import COUNTERS
from senas_bench.training import loop
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.samplers import path_evaluations

BATCH, EPOCHS = 128, 2
SHRUNK = replace(NB201, candidates=((0, 2, 3), (1, 3), (4,), (2, 3, 4), (0, 1, 3, 4), (2, 3)))
SPACES = {
    "unexpanded": NB201,
    "shrunk": SHRUNK,
    "expanded": SHRUNK.with_groups(((0, 1), (2,), (3, 4), (5,))),
}
SIZES = replace(
    PRESETS["embedded"],
    channels=2,
    score_images=50,
    score_batch=50,
    calibration_images=50,
    rank_archs=10,
    recipes={"reference": TrainingRecipe((EPOCHS,), BATCH, snapshots=2)},
)
PER_OPERATOR = 4


def a_task(folder, seed: int = 0, progress=None) -> Task:
    return make_task(
        make_spec("se-nas", seed, "embedded", sizes=SIZES), Place(folder, progress=progress or SilentProgress())
    )


def quick(name: str):
    """The criterion with few archs per operator; nothing else is changed."""
    criterion = CRITERIA[name]
    small = {"per_operator": PER_OPERATOR} if hasattr(criterion, "per_operator") else {}
    return replace(criterion, **small)


def trains(name: str) -> bool:
    """What a criterion says of itself, beside whether it scores archs: then it has an estimator."""
    return getattr(CRITERIA[name], "trains", False)


def scores_archs(name: str) -> bool:
    return hasattr(CRITERIA[name], "estimator")


@pytest.fixture(scope="module", autouse=True)
def checkpoints_at_every_epoch():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Trained]:
    """A supernet after each of three stages: over the whole space, shrunk, and shrunk and expanded."""
    task, stages = a_task(tmp_path_factory.mktemp("trained")), {}
    network = task.build(NB201)
    for name, space in SPACES.items():
        network = copy.deepcopy(network)
        expand(network, space)
        paths = task.uniform_paths(space, network)
        stages[name] = task.train(network, space, paths, phase=f"after-{name}", epochs=EPOCHS)
    return stages


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory):
    """The output of an uninterrupted call, made once."""

    @cache
    def make(name: str, stage: str, seed: int = 0) -> CriterionOutput:
        return quick(name)(trained[stage], a_task(tmp_path_factory.mktemp(name), seed))

    return make


class Events(SilentProgress):
    """Everything that is said, each once."""

    def __init__(self) -> None:
        self.now, self.seen = None, set()

    def stage(self, name, total, done=0):
        self.now = name
        self.seen.add((name, "begins"))

    def step(self, done, **numbers):
        self.seen.add((self.now, done))

    def message(self, text):
        self.seen.add((self.now, text))


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The phases that random numbers were asked for."""
    phases, rng = [], Task.rng

    def drawing(self, phase):
        phases.append(phase)
        return rng(self, phase)

    monkeypatch.setattr(Task, "rng", drawing)
    return phases


every_criterion = pytest.mark.parametrize("name", CRITERIA)
every_stage = pytest.mark.parametrize("stage", SPACES)


@pytest.mark.slow
@every_criterion
@every_stage
def test_every_alive_operator_has_a_score(scored, name, stage):
    output = scored(name, stage)
    for values in (output.scores, *output.parts.values()):
        assert set(values) == set(SPACES[stage].alive())
        assert all(isinstance(value, Real) for value in values.values())
    assert all(np.isfinite(score) or score == inf for score in output.scores.values())
    assert all(np.isfinite(list(values.values())).all() for values in output.parts.values())
    assert len(set(output.scores.values())) > 1


@pytest.mark.slow
@every_criterion
@every_stage
def test_same_seed_same_scores(scored, trained, tmp_path, name, stage):
    torch.manual_seed(99)  # the state of the global generators is nothing to a criterion
    np.random.seed(99)
    assert quick(name)(trained[stage], a_task(tmp_path)) == scored(name, stage)


@pytest.mark.slow
@every_criterion
def test_another_seed_other_scores(scored, trained, asked, tmp_path, name):
    """On one and the same network, unless a criterion never asks for a random number."""
    again = quick(name)(trained["unexpanded"], a_task(tmp_path, 1))
    assert (again.scores != scored(name, "unexpanded").scores) == bool(asked)


@every_criterion
@pytest.mark.parametrize("bn_mode", ["batch", "recalibrate"])
def test_the_trained_network_stays_as_it_is(trained, tmp_path, name, bn_mode):
    """Bit for bit, with the buffers of batch norm, which recalibrating overwrites."""
    task, network = a_task(tmp_path), trained["expanded"].network
    before, training = copy.deepcopy(network.state_dict()), network.training
    mean = copy.deepcopy(trained["expanded"].snapshots.mean)
    task = replace(task, evaluation=replace(task.evaluation, bn_mode=bn_mode))
    quick(name)(trained["expanded"], task)
    after = network.state_dict()
    assert after.keys() == before.keys() and network.training == training
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(torch.equal(trained["expanded"].snapshots.mean[key], value) for key, value in mean.items())


def price_of(cost, path) -> int:
    """Multiply-adds of one image through a path: an arch, or all operators that a mixture runs."""
    if isinstance(path, tuple):
        return round(cost(np.array([path]))["flops_m"][0] * 1e6)
    return int(cost.mixtures(np.array([path.runs]))[0])


@every_criterion
@every_stage
def test_work_is_booked_exactly(trained, tmp_path, monkeypatch, name, stage):
    """Against a count of what networks were really asked; a mixture of n operators is n paths."""
    task, passes, prices, forward, train = a_task(tmp_path), [], [], NB201Network.forward, Task.train
    trainings: list[Trained] = []

    def counting(self, x, path, cache=None):
        grad = torch.is_grad_enabled()
        passes.append((len(x), path_evaluations(path), grad))
        prices.append(len(x) * (3 if grad else 1) * price_of(task.problem.cost, path))
        return forward(self, x, path, cache)

    def training(self, *parts, **how):
        trainings.append(train(self, *parts, **how))
        return trainings[-1]

    monkeypatch.setattr(NB201Network, "forward", counting)
    monkeypatch.setattr(Task, "train", training)
    quick(name)(trained[stage], task)
    learning = [paths for _, paths, grad in passes if grad]
    scoring = [images for images, _, grad in passes if not grad]
    assert (bool(trainings), len(learning) > 0, len(scoring) > 0) == (trains(name), trains(name), scores_archs(name))
    counts = task.work.budget.counts["search"]
    assert counts["nominal_multiply_adds"] >= counts["multiply_adds"]
    assert counts == {
        "images_trained": sum(made.training.counts["images_trained"] for made in trainings),
        "train_steps": sum(made.training.counts["train_steps"] for made in trainings),
        "forward_paths": sum(learning) + len(scoring),
        "backward_paths": sum(learning),
        "archs_scored": len(scoring),
        "images_scored": sum(scoring),
        "multiply_adds": sum(prices),
        "nominal_multiply_adds": counts["nominal_multiply_adds"],
    }
    assert task.work.budget.counts["report"] == dict.fromkeys(COUNTERS, 0)


@pytest.mark.slow
@every_criterion
def test_resumed_it_gives_the_same(scored, trained, through_interruptions, tmp_path, tmp_path_factory, name):
    """Interrupted at every event, one after the other, always in the same work folder."""
    network = trained["expanded"].network
    before = copy.deepcopy(network.state_dict())

    def attempt(progress):
        assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())
        task = a_task(tmp_path, progress=progress or SilentProgress())
        return quick(name)(trained["expanded"], task), task.work.budget.counts

    uninterrupted = a_task(tmp_path_factory.mktemp("fresh"), progress=Events())
    quick(name)(trained["expanded"], uninterrupted)
    (output, counts), events = through_interruptions(attempt, most=1 + len(uninterrupted.work.progress.seen))
    assert events == len(uninterrupted.work.progress.seen)
    assert (events > 0) == (trains(name) or scores_archs(name))
    assert output == scored(name, "expanded")
    assert counts == uninterrupted.work.budget.counts


@pytest.mark.slow
@every_criterion
def test_two_stages_do_not_share_what_they_keep(scored, trained, asked, tmp_path, name):
    """In one work folder, one after the other, each gets what it gets alone; what draws numbers gets others at each."""
    task = a_task(tmp_path)
    outputs = [quick(name)(trained[stage], task) for stage in SPACES]
    drawn = bool(asked)
    assert outputs == [scored(name, stage) for stage in SPACES]
    assert not drawn or len({str(output) for output in outputs}) == len(SPACES)


@every_criterion
def test_criterion_is_a_strategy_of_plain_fields(name):
    criterion = CRITERIA[name]
    check_criterion(criterion)
    assert replace(criterion) == criterion and hash(criterion) == hash(replace(criterion))


@every_criterion
def test_no_criterion_reaches_the_ground_truth(trained, tmp_path, monkeypatch, name):
    """Importing it while a criterion runs would fail."""
    loaded = [module for module in sys.modules if "groundtruth" in module or "analog" in module.lower()]
    for module in {*loaded, "senas_bench.groundtruth", "senas_bench.groundtruth.table"}:
        monkeypatch.setitem(sys.modules, module, None)
    quick(name)(trained["shrunk"], a_task(tmp_path))


def test_the_room_imports_neither_methods_nor_ground_truth():
    code = """if True:
        import sys
        import senas_bench.shrinking
        print([name for name in sys.modules if "senas_bench.methods" in name or "groundtruth" in name])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
