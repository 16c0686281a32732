"""What a task does for several processes; a stand-in plays the others."""

import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from senas_bench.errors import RunError
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.progress import SilentProgress
from senas_bench.ranking import partial
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.tasks.outputs import Trained
from senas_bench.tasks.report import Watch
from senas_bench.tasks.work import Budget
from senas_bench.training import loop
from senas_bench.training.distributed import Processes
from senas_bench.training.loop import make_optimizer
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.result import Training
from senas_bench.training.snapshots import Snapshots

TINY = replace(
    PRESETS["embedded"],
    channels=4,
    held_out=1700,
    score_images=50,
    score_batch=50,
    calibration_images=50,
    rank_archs=4,
    recipes={"reference": TrainingRecipe((1,), 32, snapshots=1)},
    curve_points=0,
)


@dataclass(frozen=True)
class Second(Processes):
    """The second of two, as if the first had found other scores."""

    rank: int = 1
    world: int = 2

    def from_first(self, values: np.ndarray) -> np.ndarray:
        return values[::-1] + 1

    def agree(self, what: str, value: bytes = b"") -> None:
        raise RunError(f"they differ in {what}: {value.decode()}")


def second(task):
    return replace(task, work=replace(task.work, processes=Second()))


@pytest.fixture
def task(tmp_path):
    return make_task(make_spec("spos", 0, "embedded", sizes=TINY), Place(tmp_path, progress=SilentProgress()))


def test_all_take_the_scores_of_the_first_which_alone_keeps_them(task, tmp_path):
    network = task.build(NB201)
    trained = Trained("train", NB201, network, Training(make_optimizer(network, task.recipe), Snapshots()))
    trained.snapshots.add(network)
    arguments = trained, task.report.archs, "snapshot-loglik", "ranking"
    theirs = second(task).estimate(*arguments, purpose="search")
    assert not list(tmp_path.iterdir())
    ours = task.estimate(*arguments, purpose="search")
    assert [path.name for path in tmp_path.iterdir()] == ["train-ranking.arrays"]
    assert np.array_equal(theirs, ours[::-1] + 1) and len(set(ours)) > 1
    assert np.array_equal(second(task).estimate(*arguments, purpose="search"), theirs)


def test_the_size_that_an_estimate_knows_is_that_of_the_network_trained_here(task):
    """Of 4 channels and 1 cell a stage here, not the benchmark's 16 and 5."""
    network = task.build(NB201)
    trained = Trained("train", NB201, network, Training(make_optimizer(network, task.recipe), Snapshots()))
    trained.snapshots.add(network)
    plain, sized = (
        task.estimate(trained, task.report.archs, name, name, purpose="search")
        for name in ("snapshot-loglik", "snapshot-loglik-size")
    )
    alone = [task.problem.network(NB201.only(arch), True) for arch in task.report.archs.tolist()]
    expected = [0.2 * np.log(sum(weight.numel() for weight in net.parameters())) for net in alone]
    np.testing.assert_allclose(sized - plain, expected, rtol=1e-6)


def test_they_must_train_the_same_space(task):
    smaller = NB201.without(0, 1)
    with pytest.raises(RunError, match=r"the space they train: \('train', \(\(0, 2, 3, 4\)"):
        second(task).train(task.build(smaller), smaller, lambda rng: [], phase="train", epochs=1)


def test_a_recipe_that_weighs_an_auxiliary_head_asks_for_one(task):
    asked = []

    def network(space, affine, **head):
        asked.append(head)
        return torch.nn.Identity()

    for weight in (0.0, 0.4):
        replace(
            task, problem=replace(task.problem, network=network), recipe=replace(task.recipe, auxiliary_weight=weight)
        ).build(NB201)
    assert asked == [{}, {"auxiliary": True}]


class Stages(SilentProgress):
    """What is said of each stage: how much an earlier try had done, and where it came to."""

    def __init__(self):
        self.said = []

    def stage(self, name, total, done=0):
        self.said.append([name, total, done])

    def step(self, done, **numbers):
        self.said[-1].append(done)


def test_a_resumed_run_says_what_an_earlier_try_has_done_and_scores_only_the_rest(task, monkeypatch):
    """Two epochs of three steps and a scoring of four archs, cut in the second epoch and after the second arch."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(partial, "SAVE_SECONDS", 0.0)

    def attempt(stop=None):
        progress, scored, steps = Stages(), [], []
        mine = replace(task, work=replace(task.work, progress=progress, budget=Budget()))
        network = mine.build(NB201)
        forward = network.forward

        def counting(x, path, cache=None):
            now = "steps" if torch.is_grad_enabled() else "archs"
            done = steps if now == "steps" else scored
            if stop == (now, len(done)):
                raise KeyboardInterrupt
            done.append(path)
            return forward(x, path, cache)

        monkeypatch.setattr(network, "forward", counting)
        paths = mine.uniform_paths(NB201, network)
        try:
            trained = mine.train(network, NB201, paths, phase="train", epochs=2)
            scores = mine.estimate(trained, mine.report.archs, "weight-average", "ranking", purpose="search")
        except KeyboardInterrupt:
            scores = None
        return scores, progress.said, len(scored), mine.work.budget

    expected, _, _, whole = attempt()
    shutil.rmtree(task.work.folder)
    task.work.folder.mkdir()
    assert attempt(("steps", 4))[1] == [["train", 2, 0, 1]]
    assert attempt(("archs", 2))[1] == [["train", 2, 1, 2], ["train ranking", 4, 0]]
    scores, said, scored, budget = attempt()
    assert said == [["train", 2, 2], ["train ranking", 4, 2, 4]] and scored == 2
    assert scores.tobytes() == expected.tobytes() and budget.counts == whole.counts
    again, said, scored, budget = attempt()
    assert said == [["train", 2, 2], ["train ranking", 4, 4]] and scored == 0
    assert again.tobytes() == expected.tobytes() and budget.counts == whole.counts


def test_a_ranking_while_training_goes_on_too(tmp_path, monkeypatch):
    """Cut in the watch after the first epoch: what it had scored is not scored again."""
    monkeypatch.setattr(partial, "SAVE_SECONDS", 0.0)
    sizes = replace(TINY, curve_points=2, curve_images=50, recipes={"reference": TrainingRecipe((2,), 32, snapshots=1)})
    expected, cuts = None, []
    for folder, stop in (("whole", None), ("cut", 2), ("cut", None)):
        (tmp_path / folder).mkdir(exist_ok=True)
        task = make_task(
            make_spec("spos", 0, "embedded", sizes=sizes), Place(tmp_path / folder, progress=SilentProgress())
        )
        network, scored = task.build(NB201), []
        forward = network.forward

        def counting(x, path, cache=None, forward=forward, scored=scored, stop=stop):
            if not torch.is_grad_enabled():
                if len(scored) == stop:
                    raise KeyboardInterrupt
                scored.append(path)
            return forward(x, path, cache)

        monkeypatch.setattr(network, "forward", counting)
        watch = Watch([1], task.report.archs, "weight-average")
        arguments = {"phase": "train", "epochs": 2, "watch": watch}
        try:
            seen = task.train(network, NB201, task.uniform_paths(NB201, network), **arguments).training.observed[1]
        except KeyboardInterrupt:
            cuts.append(len(scored))
            continue
        assert expected is None or seen.scores.tobytes() == expected.scores.tobytes()
        assert expected is None or seen.counts == expected.counts
        expected = seen
        cuts.append(len(scored))
    assert cuts == [4, 2, 2]


@pytest.mark.parametrize("sampling", ["tied", "per_cell"])
def test_a_limit_filters_what_is_scored_and_not_what_is_trained(task, sampling):
    """The draws are those of the space itself, and each operator has its fifth; within the limit where it says so."""
    limit = Limit(CONVOLUTIONS, 0.0, 0.0, 1.0, in_training=False)  # at most one 3x3
    mine = replace(
        task,
        problem=replace(task.problem, limit=limit),
        recipe=replace(task.recipe, sampling=sampling),
    )
    network = mine.build(NB201)
    drawn = mine.uniform_paths(NB201, network)
    mine_rng, plain = mine.rng("paths"), mine.rng("paths")
    paths = [path for _ in range(1000) for path in drawn(mine_rng)]
    cells = 3 if sampling == "per_cell" else 1
    rows = np.array([NB201.sample(plain) for _ in range(1000 * cells)])
    assert np.array(paths).reshape(-1, 6).tolist() == rows.tolist()
    assert np.abs(np.bincount(rows.ravel(), minlength=5) / rows.size - 0.2).max() < 0.02
    assert 0.3 < 1 - limit.holds(rows).mean() < 0.4  # 1 - .8^6 - 6 * .2 * .8^5 = .345
    assert all(limit.holds(mine.within(NB201).sample_distinct(plain, 50)))
    problem = replace(mine.problem, limit=replace(limit, in_training=True))
    within = replace(mine, problem=problem).uniform_paths(NB201, network)
    assert limit.holds(np.array([within(plain)[0] for _ in range(200)]).reshape(-1, 6)).all()


CONVOLUTIONS = np.tile(np.eye(5)[3], (6, 1))
"""What an arch has of 3x3 convolutions."""
