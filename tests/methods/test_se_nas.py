from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.spec import settings_of
from senas_bench.experiments.tasks import make_task
from senas_bench.methods import se_nas
from senas_bench.methods.se_nas import SeNas
from senas_bench.methods.spos import Spos
from senas_bench.networks.expansion import count_parameters
from senas_bench.progress import SilentProgress
from senas_bench.ranking.score_archs import score_archs
from senas_bench.searching.evolution import Evolution
from senas_bench.shrinking import CRITERIA, CriterionOutput
from senas_bench.shrinking.se_nas import SeNasCriterion, operator_scores
from senas_bench.shrinking.si import SelectionImportance
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201, prune, shared_function
from senas_bench.spaces.nasbench201.network import Cell, NB201Network
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task
from senas_bench.training import loop
from senas_bench.training.recipe import TrainingRecipe

EMBEDDED = PRESETS["embedded"]
STEPS = 10  # of 128 images
ARCHS = 60


@dataclass(frozen=True)
class Planted:
    """A criterion whose order is known: by operator, then by edge."""

    def __call__(self, trained, task) -> CriterionOutput:
        return CriterionOutput({(edge, op): float(10 * op + edge) for edge, op in trained.space.alive()})


def a_task(folder, seed: int = 0, **changes):
    """Three stages of 1, 2 and 1 epochs, on 60 archs and 50 images."""
    recipe = TrainingRecipe(**{"stage_epochs": (1, 2, 1), "batch_size": 128, "snapshots": 2, **changes})
    sizes = replace(
        EMBEDDED,
        channels=4,
        score_images=50,
        score_batch=50,
        rank_archs=ARCHS,
        recipes={"reference": recipe},
        curve_points=0,
    )
    return make_task(make_spec("se-nas", seed, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))


@pytest.fixture(scope="module", autouse=True)
def small_rankings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(se_nas, "RANK_LIMIT", 100)
        yield


@dataclass
class Seen:
    """What a run did: per training step the path and the copies on the last edge of each cell, per stage the number
    of weights and the momentum of the stem when it began, and when it ended, and how many snapshots it kept."""

    paths: list = field(default_factory=list)
    copies: list = field(default_factory=list)
    parameters: list = field(default_factory=list)
    momentum: list = field(default_factory=list)
    kept: list = field(default_factory=list)


def watch(method: SeNas, task: Task) -> tuple[MethodOutput, Seen]:
    seen, forward, train = Seen(), NB201Network.forward, Task.train

    def stem_momentum(network, optimizer):
        momentum = optimizer and optimizer.state.get(network.stem[0].weight, {}).get("momentum_buffer")
        return None if momentum is None else momentum.clone()

    def watched_forward(self, x, path, cache=None):
        if torch.is_grad_enabled():
            seen.paths.append(path)
            seen.copies.append([len(block.choices[5].copies) for block in self.body if isinstance(block, Cell)])
        return forward(self, x, path, cache)

    def watched_train(self, network, space, sample, **arguments):
        seen.parameters.append(count_parameters(network))
        before = stem_momentum(network, arguments.get("optimizer"))
        trained = train(self, network, space, sample, **arguments)
        seen.momentum.append((before, stem_momentum(network, trained.training.optimizer)))
        seen.kept.append(len(trained.snapshots.states))
        return trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NB201Network, "forward", watched_forward)
        patch.setattr(Task, "train", watched_train)
        return method(task), seen


@pytest.fixture(scope="module")
def watched(small_rankings, tmp_path_factory):
    """Task, output and deeds of one run with a known criterion."""
    task = a_task(tmp_path_factory.mktemp("planted"))
    return task, *watch(SeNas(criterion=Planted(), estimator="snapshot-loglik"), task)


@pytest.fixture
def planted(watched):
    return watched[:2]


@pytest.fixture
def seen(watched):
    return watched[2]


def spaces_of(output) -> list[SearchSpace]:
    """The space of each stage, from the history."""
    spaces = [NB201]
    for event in output.history:
        if "dropped" in event:
            candidates = tuple(tuple(alive) for alive in event["candidates"])
            groups = tuple(tuple(group) for group in event["groups"])
            spaces.append(SearchSpace(NB201.name, NB201.operators, NB201.edges, candidates, groups))
    return spaces


@pytest.mark.slow
def test_algorithm_1_with_a_known_criterion(planted):
    """Stage 1 drops operator 0 everywhere and 1 on four edges; stage 2 the other 1s, 2 everywhere and 3 twice."""
    _, second, third = spaces_of(planted[1])
    assert second.candidates == ((2, 3, 4),) * 4 + ((1, 2, 3, 4),) * 2
    assert second.groups == ((0, 1, 2), (3, 4, 5))  # 27, as 81 > 50; then 3 * 4 * 4 = 48
    assert third.candidates == ((4,),) * 2 + ((3, 4),) * 4
    assert third.groups == (tuple(range(6)),)  # 16


def test_history_and_tables_tell_what_happened(planted):
    task, output = planted
    epochs = [(line["stage"], line["epoch"]) for line in output.history if "loss" in line]
    assert epochs == [(1, 1), (2, 2), (2, 3), (3, 4)]
    events = [line for line in output.history if "dropped" in line]
    assert all("importance" not in event for event in events)  # this criterion has none
    assert [(event["stage"], event["epoch"]) for event in events] == [(1, 1), (2, 3)]
    assert [len(event["dropped"]) for event in events] == [10, 10]
    assert events[0]["dropped"][:2] == ["0->1 none", "0->1 skip_connect"]
    assert events[0]["scores"]["1->3 nor_conv_3x3"] == 34.0
    assert [event["archs"] for event in events] == [prod([3, 3, 3, 3, 4, 4]), 16]
    keys = [(table.set, table.stage, table.epoch, len(table.archs)) for table in output.tables]
    reported = second_stage_of_the_sample(task)
    assert keys == [
        ("sample", 1, 1, ARCHS),
        ("current", 2, 3, reported),
        ("current", 3, 4, 16),
        ("sample", 3, 4, ARCHS),
    ]


def second_stage_of_the_sample(task) -> int:
    return int(sum(all(op >= (1 if edge > 3 else 2) for edge, op in enumerate(row)) for row in task.report.archs))


def test_the_pick_is_the_best_of_the_last_stage(planted):
    output = planted[1]
    last = output.tables[2]
    assert sorted(map(tuple, last.archs.tolist())) == list(spaces_of(output)[-1])
    assert output.pick == tuple(last.archs[np.argmax(last.scores)].tolist())


def test_the_report_ranks_hierarchically(planted):
    task, output = planted
    spaces, (first, second, third, report) = spaces_of(output), output.tables
    scores = [
        {tuple(row): score for row, score in zip(table.archs.tolist(), table.scores, strict=True)}
        for table in (first, second, third)
    ]
    for row, tier, score in zip(report.archs.tolist(), report.tiers, report.scores, strict=True):
        stage = max(s for s, space in enumerate(spaces) if tuple(row) in space)
        assert tier == 2 - stage
        assert score == scores[stage][tuple(row)]
    assert np.array_equal(report.archs, task.report.archs)
    assert len(set(report.tiers.tolist())) >= 2


def parameters(output) -> list[list[int]]:
    return [line["parameters"] for line in output.history if "dropped" in line]


SQUARES = 4**2 + 8**2 + 16**2
"""Sum of the squared widths of the three cells: a 1x1 has as many weights, a 3x3 nine times that."""


def test_parameters_before_and_after(planted, seen):
    """The numbers of the history are those of the network that trains in each stage, and add up by hand."""
    trained = seen.parameters
    assert parameters(planted[1]) == [[trained[0], trained[1]], [trained[1], trained[2]]]
    shared = 6 * (1 + 9)
    second = 3 * 9 * (1 + 9) + 16 * (1 + 9) + 2 * 12 * (1 + 9)  # 27 / 3, 48 / 3 and 48 / 4 copies of each operator
    third = 4 * 8 * 9  # 16 / 2 copies of a 3x3 on four edges
    assert trained[1] - trained[0] == (second - shared) * SQUARES
    assert trained[2] - trained[1] == (third - second) * SQUARES


def test_momentum_goes_on_through_the_stages(seen):
    """The stem, which is neither dropped nor copied, starts each stage with the momentum the last one ended with."""
    (before, first), (second, end), (third, _) = seen.momentum
    assert before is None
    assert torch.equal(second, first) and torch.equal(third, end)


def test_each_stage_trains_paths_of_its_space_with_separate_weights(planted, seen):
    paths, copies, output = seen.paths, seen.copies, planted[1]
    stages = np.repeat([0, 1, 2], [STEPS, 2 * STEPS, STEPS])
    spaces = spaces_of(output)
    assert len(paths) == len(stages)
    assert all(path in spaces[stage] for path, stage in zip(paths, stages, strict=True))
    assert copies[0] == [2] * 3  # 1x1 and 3x3 shared by all paths
    assert copies[-1] == [8] * 3  # 3x3 on the last edge: one copy for each of the 2 * 2 * 2 choices before it


@pytest.mark.slow
def test_without_a_threshold_it_only_shrinks(tmp_path):
    output = SeNas(criterion=Planted(), threshold=0)(a_task(tmp_path))
    events = [line for line in output.history if "dropped" in line]
    assert all(event["groups"] == [[edge] for edge in range(6)] for event in events)
    (before, second), (_, third) = parameters(output)
    assert second == before  # the first ten have no weights
    assert third == second - (6 * 1 + 2 * 9) * SQUARES


@pytest.mark.slow
def test_the_rate_restarts_with_each_stage(tmp_path):
    output = SeNas(criterion=Planted())(a_task(tmp_path, lr_horizon=4))
    rates = [line["lr"] for line in output.history if "loss" in line]
    assert rates[0] == rates[1] == rates[3] > rates[2]


def rate_of_steps(task, method, monkeypatch) -> list[float]:
    """The rate of every step of a run, as its optimizer has it."""
    rates, descend = [], loop.descend

    def watched(optimizer, clip):
        rates.extend(group["lr"] for group in optimizer.param_groups)
        descend(optimizer, clip)

    monkeypatch.setattr(loop, "descend", watched)
    method(task)
    return rates


@pytest.mark.slow
def test_one_line_of_the_rate_goes_over_all_stages_as_in_spos(tmp_path, monkeypatch):
    """Stages of 1, 2 and 1 epochs of `STEPS` steps: step t has 1 - t / T of the rate, in SE-NAS and SPOS alike."""
    total = 4 * STEPS
    changes = {"lr": 0.1, "lr_min": 0.0, "lr_horizon": 0, "schedule": "linear", "lr_restarts": False}
    for name, method in (("se-nas", SeNas(criterion=Planted())), ("spos", Spos())):
        (tmp_path / name).mkdir()
        with monkeypatch.context() as patch:
            rates = rate_of_steps(a_task(tmp_path / name, **changes), method, patch)
        assert rates == pytest.approx([0.1 * (1 - step / total) for step in range(total)], rel=1e-12)


@pytest.mark.parametrize(
    ("stop_at", "stages"),
    [(1296, 1), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1295, 2), (10**6, 1), (0, 3)))],
)
def test_it_stops_where_few_archs_are_left(tmp_path, stop_at, stages):
    """Stages of 1, 2 and 1 epochs. Ten operators gone leave 3, 3, 3, 3, 4, 4: 1,296 archs; twenty 2, 2, 2, 2, 1, 1."""
    changes = {"lr": 0.1, "lr_min": 0.0, "lr_horizon": 0, "schedule": "linear", "lr_restarts": False}
    task = a_task(tmp_path, **changes)
    output = SeNas(criterion=Planted(), stop_at=stop_at, threshold=0)(task)
    trained = [line["stage"] for line in output.history if "loss" in line]
    assert trained == [stage for stage, epochs in ((1, 1), (2, 2), (3, 1)) for _ in range(epochs) if stage <= stages]
    spaces = spaces_of(output)
    assert [space.size for space in spaces[1:]] == [1296, 16][: min(stages, 2)]
    assert output.pick in spaces[-1] and output.tables[-1].epoch == len(trained)
    assert len([table for table in output.tables if table.set == "current"]) == (stages if stages < 3 else 2)
    stops = [line for line in output.history if line.get("phase") == "stopped"]
    if stages == 3:
        assert stops == []
        return
    rate = 0.1 * (1 - (len(trained) * STEPS - 1) / (4 * STEPS))  # of the last step; T are all the steps of the spec
    expected = {"phase": "stopped", "stage": stages, "stages": 3, "epoch": len(trained), "epochs": 4}
    assert stops == [{**expected, "archs": spaces[-1].size, "stop_at": stop_at, "lr": round(rate, 8)}]


def test_a_stopped_run_searches_what_is_left(tmp_path):
    """As it would rank it after expanding: the same weights, the same scores."""
    method = SeNas(criterion=Planted(), stop_at=1296, search="evolution", evolution=Evolution(8, 2, 4))
    output = method(a_task(tmp_path))
    (table,) = output.tables
    left = spaces_of(output)[-1]
    assert left.size == 1296 and left.contains_rows(table.archs).all() and output.pick in left
    assert next(line for line in output.history if "groups" in line)["groups"] == [[edge] for edge in range(6)]


@pytest.mark.slow
def test_a_single_stage_drops_nothing_and_ranks_once(tmp_path):
    """What SPOS does, with the same numbers but for the names of the phases."""
    task = a_task(tmp_path, stage_epochs=(1,))
    output = SeNas(criterion=Planted())(task)
    (table,) = output.tables
    assert (table.set, table.stage, table.epoch, table.tiers) == ("sample", 1, 1, None)
    assert table.archs.tolist() == task.report.archs.tolist() and np.isfinite(table.scores).all()
    assert output.pick == tuple(table.archs[table.scores.argmax()].tolist())
    assert not any("dropped" in line for line in output.history)


@pytest.mark.slow
def test_scores_are_of_the_weights_of_their_stage(tmp_path):
    """With one snapshot, the last table is that of the network that the last stage left behind."""
    networks, task = [], a_task(tmp_path, snapshots=1)
    built = task.problem.network
    network = lambda space, affine: networks.append(built(space, affine)) or networks[-1]  # noqa: E731
    task = replace(task, problem=replace(task.problem, network=network))
    output = SeNas(criterion=Planted(), estimator="snapshot-loglik")(task)
    (network,) = networks
    last = output.tables[2]
    assert last.scores.tolist() == score_archs(network, last.archs, task.evaluation)[1].tolist()


def test_search_and_report_are_booked_apart(planted):
    """Report: the rankings before the last. Search: the training and the last ranking; this criterion is free."""
    task, output = planted
    first, second, third = output.tables[:3]
    snapshots = 2
    assert task.work.budget.counts["report"]["archs_scored"] == snapshots * (distinct(first.archs) + len(second.archs))
    assert task.work.budget.counts["search"]["archs_scored"] == snapshots * len(third.archs)
    assert task.work.budget.counts["report"]["train_steps"] == 0
    assert task.work.budget.counts["search"]["train_steps"] == 4 * STEPS


def distinct(archs) -> int:
    """Functions of a supernet whose edges are not merged: the weights of an edge are those of its operator."""
    return len({shared_function(arch, arch) for arch in map(tuple, prune(archs).tolist())})


@pytest.mark.slow
def test_all_cells_of_a_path_may_differ_in_training(tmp_path):
    output, seen = watch(SeNas(criterion=Planted()), a_task(tmp_path, sampling="per_cell"))
    paths = seen.paths
    spaces = spaces_of(output)
    assert all(len(path) == 3 and all(arch in NB201 for arch in path) for path in paths)
    assert all(arch in spaces[2] for path in paths[-STEPS:] for arch in path)
    assert any(len(set(path)) > 1 for path in paths[-STEPS:])


@pytest.mark.slow
def test_default_criterion_shrinks_to_ten_operators(tmp_path):
    method = SeNas()
    output = replace(method, criterion=replace(method.criterion, per_operator=4))(a_task(tmp_path))
    spaces = spaces_of(output)
    assert [len(space.alive()) for space in spaces] == [30, 20, 10]
    for before, after in pairwise(spaces):
        assert set(after.alive()) < set(before.alive())
        assert all(any(set(group) <= set(larger) for larger in after.groups) for group in before.groups)
    assert output.pick in spaces[-1]


@pytest.mark.slow
def test_a_sample_without_an_arch_of_the_space_is_replaced(tmp_path):
    """Every arch that the rankings cover is dropped by the first shrink, and the space is still large."""
    task = a_task(tmp_path)
    task = replace(task, report=replace(task.report, archs=np.zeros((2, 6), np.int8)))
    output = SeNas(criterion=Planted(), estimator="snapshot-loglik")(task)
    second = next(table for table in output.tables if table.stage == 2)
    assert len(np.unique(second.archs, axis=0)) == len(second.archs) == 100  # the limit of these tests
    assert spaces_of(output)[1].contains_rows(second.archs).all()
    assert output.tables[-1].tiers.tolist() == [2, 2]


def quick(name: str):
    criterion = CRITERIA[name]
    return replace(criterion, per_operator=4) if hasattr(criterion, "per_operator") else criterion


@pytest.mark.slow
@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_shrinks_to_ten_operators(tmp_path, name):
    """Also the second time, when the supernet is expanded. None of these defaults needs single snapshots."""
    output, seen = watch(SeNas(criterion=quick(name)), a_task(tmp_path))
    assert [len(space.alive()) for space in spaces_of(output)] == [30, 20, 10]
    assert output.pick in spaces_of(output)[-1]
    assert set(seen.kept) == {0}


def events_of(output) -> list[dict]:
    return [line for line in output.history if "dropped" in line]


@pytest.mark.slow
def test_history_tells_importance_and_confidence(tmp_path):
    """Of the criterion that has them: S can be worked out again from SI, and SC from SI."""
    events = events_of(SeNas(criterion=SeNasCriterion(per_operator=4))(a_task(tmp_path)))
    first = [(edge, op) for edge in range(6) for op in range(5)]
    named = {pair: f"{NB201.edges[pair[0]]} {NB201.operators[pair[1]]}" for pair in first}
    importance = {pair: events[0]["importance"][name] for pair, name in named.items()}
    assert {named[pair]: score for pair, score in operator_scores(importance).items()} == events[0]["scores"]
    for edge in range(6):
        variance = np.var([importance[edge, op] for op in range(5)])
        assert [events[0]["confidence"][named[edge, op]] for op in range(5)] == pytest.approx([variance] * 5)
    for event in events:
        assert event["importance"].keys() == event["confidence"].keys() == event["scores"].keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "criterion", "kept"),
    [
        ("weight-average", SeNasCriterion(per_operator=2), [0, 0, 0]),
        ("weight-average", SelectionImportance("snapshot-accuracy", 2), [2, 2, 0]),
        ("snapshot-loglik", Planted(), [2, 2, 2]),
        ("snapshot-loglik", SelectionImportance("weight-average", 2), [2, 2, 2]),
    ],
)
def test_snapshots_are_kept_only_where_somebody_asks_for_them(tmp_path, estimator, criterion, kept):
    """The estimator always, the criterion in the stages that a shrink follows."""
    _, seen = watch(SeNas(estimator=estimator, criterion=criterion), a_task(tmp_path))
    assert seen.kept == kept


@pytest.mark.slow
def test_snapshots_that_nobody_asks_for_change_nothing(tmp_path, monkeypatch):
    method, folders = SeNas(criterion=SeNasCriterion(per_operator=2)), [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    output = method(a_task(folders[0]))
    monkeypatch.setattr(SeNas, "_needs_snapshots", lambda self, last: True)
    (keeping, seen) = watch(method, a_task(folders[1]))
    assert seen.kept == [2, 2, 2]
    assert (keeping.pick, keeping.history) == (output.pick, output.history)
    for one, other in zip(keeping.tables, output.tables, strict=True):
        assert np.array_equal(one.archs, other.archs) and np.array_equal(one.scores, other.scores)


def test_one_operator_leaves_every_edge(tmp_path):
    """By the planted order the lowest of each; `drop` has no say."""
    spaces = spaces_of(SeNas(criterion=Planted(), drop=7, removal="per-edge")(a_task(tmp_path)))
    assert [space.candidates for space in spaces[1:]] == [((1, 2, 3, 4),) * 6, ((2, 3, 4),) * 6]
    assert spaces[1].groups == ((0, 1), (2, 3), (4, 5))


@dataclass(frozen=True)
class Counted(Planted):
    """The planted criterion, which keeps what it was asked and adds a part."""

    asked: list = field(default_factory=list, hash=False)

    def __call__(self, trained, task) -> CriterionOutput:
        self.asked.append((trained.phase, trained.space.candidates))
        scores = Planted.__call__(self, trained, task).scores
        return CriterionOutput(scores, {"importance": scores})


def test_edge_by_edge_each_edge_is_scored_on_what_is_left(tmp_path):
    criterion = Counted()
    output = SeNas(criterion=criterion, removal="edge-by-edge", threshold=0)(a_task(tmp_path))
    _, second, third = spaces_of(output)
    assert second.candidates == ((2, 3, 4),) * 4 + ((1, 2, 3, 4),) * 2
    assert third.candidates == ((4,),) * 4 + ((2, 3, 4),) * 2
    for stage, (before, after) in enumerate(pairwise(spaces_of(output)), start=1):
        for edge in range(6):
            phase, candidates = criterion.asked[6 * (stage - 1) + edge]
            assert phase == f"stage-{stage}-edge-{edge}"
            assert candidates == after.candidates[:edge] + before.candidates[edge:]
    assert len(criterion.asked) == 12
    for event, before in zip(events_of(output), spaces_of(output), strict=False):
        assert len(event["scores"]) == len(before.alive()) and event["importance"] == event["scores"]


def within_a_limit(folder, **changes):
    """A task under a limit of 90 to 100% of some FLOPs, and the 1,080 archs that meet it."""
    task = a_task(folder, **changes)
    for high in np.unique(Limit.of(task.problem.cost, "flops", 1.0).cost(NB201.archs()))[::-1]:
        limit = Limit.of(task.problem.cost, "flops", high)
        archs = NB201.archs()[limit.holds(NB201.archs())]
        if len(archs) == 1080:
            break
    assert len(archs) == 1080
    problem, report = replace(task.problem, limit=limit), replace(task.report, archs=archs[:ARCHS])
    return replace(task, problem=problem, report=report), archs


def test_under_a_limit_a_shrink_drops_operators_and_leaves_archs(tmp_path):
    """A 200th of those within it, which is 6: to leave a thousand would drop none of ten."""
    task, archs = within_a_limit(tmp_path)
    output = SeNas(criterion=Planted(), threshold=0)(task)
    spaces = spaces_of(output)
    assert [len(space.alive()) for space in spaces[:2]] == [30, 20]
    assert min(int(space.contains_rows(archs).sum()) for space in spaces) >= 6
    assert output.pick in set(map(tuple, archs.tolist())) and output.pick in spaces[-1]


def test_of_a_large_region_a_thousand_are_left(monkeypatch):
    """As before there was a share: a 200th of 200,000 archs, and of more."""
    monkeypatch.setattr(se_nas, "feasible", lambda *given: given)
    for size, least in ((200_001, 1000), (10**9, 1000), (199_000, 995), (1080, 6), (3, 1)):
        task = SimpleNamespace(space=None, within=lambda space, size=size: SimpleNamespace(size=size))
        task.problem = SimpleNamespace(limit="a limit")
        assert se_nas._enough_left(task)("a space") == ("a space", "a limit", least)


@pytest.mark.parametrize(("removal", "sampler"), [("per-edge", "fair"), ("edge-by-edge", "uniform")])
def test_no_way_to_drop_leaves_a_space_without_archs(tmp_path, removal, sampler):
    """Five stages: four operators of each edge would go, and leave one arch of pools alone, which is too cheap."""
    task, archs = within_a_limit(tmp_path, stage_epochs=(1,) * 5)
    messages: list[str] = []
    task = replace(task, work=replace(task.work, progress=Listening(messages)))
    output = SeNas(criterion=Planted(), removal=removal, sampler=sampler, threshold=0)(task)
    spaces = spaces_of(output)
    assert min(int(space.contains_rows(archs).sum()) for space in spaces) >= 6
    asked = 6 if removal == "per-edge" else 10
    for event, (before, after) in zip(events_of(output), pairwise(spaces), strict=True):
        gone = len(before.alive()) - len(after.alive())
        assert len(event["dropped"]) == gone
        assert event.get("asked") == (asked if gone < asked else None)
        if removal == "per-edge":
            assert gone in (0, 6) and len({len(alive) for alive in after.candidates}) == 1
    assert any("asked" in event for event in events_of(output))
    assert any(f" of {asked}: each edge keeps an operator, and a limit enough archs; " in line for line in messages)
    assert output.pick in set(map(tuple, archs.tolist())) and output.pick in spaces[-1]


class Listening(SilentProgress):
    """Keeps the messages."""

    def __init__(self, messages: list[str]) -> None:
        self.messages = messages

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.mark.slow
def test_edge_by_edge_the_supernet_is_asked_anew(tmp_path):
    """Estimates of two edges are not mixed up, and all are booked; a resumed run repeats none of them."""
    method = SeNas(criterion=SelectionImportance(per_operator=1), removal="edge-by-edge")
    task = a_task(tmp_path)
    output = method(task)
    scores = [event["scores"] for event in events_of(output)]
    assert [len(kept) for kept in scores] == [30, 20]
    files = sorted(path.name for path in tmp_path.glob("*criterion.arrays"))
    assert files == sorted(f"stage-{stage}-edge-{edge}-criterion.arrays" for stage in (1, 2) for edge in range(6))
    again = a_task(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NB201Network, "forward", lambda *_: pytest.fail("nothing is left to run"))
        assert method(again).history == output.history
    assert again.work.budget.counts == task.work.budget.counts


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["tied", "per_cell"])
def test_fair_paths_use_every_operator_once_a_step(tmp_path, sampling):
    """5, 4 and 3 paths a step in the three stages, in which each operator of each edge of each cell occurs once."""
    method = SeNas(criterion=Planted(), removal="per-edge", sampler="fair")
    output, seen = watch(method, a_task(tmp_path, sampling=sampling))
    paths = iter(seen.paths)
    for space, steps in zip(spaces_of(output), (STEPS, 2 * STEPS, STEPS), strict=True):
        for _ in range(steps):
            step = [next(paths) for _ in space.candidates[0]]
            archs = np.array(step if sampling == "per_cell" else [[path] for path in step])
            assert archs.shape[1:] == ((3 if sampling == "per_cell" else 1), 6)
            assert (np.sort(archs, axis=0) == np.array(space.candidates[0])[:, None, None]).all()
    assert next(paths, None) is None


def test_fair_paths_need_equal_counts(tmp_path):
    with pytest.raises(ValueError, match=r"equally many operators on every edge; use removal='per-edge'"):
        SeNas(sampler="fair")
    with pytest.raises(ValueError, match="strict fairness"):  # 10 over 6 edges
        SeNas(criterion=Planted(), sampler="fair", removal="edge-by-edge")(a_task(tmp_path))


def test_unknown_choices():
    with pytest.raises(ValueError, match="unknown removal 'all'; one of: global, per-edge, edge-by-edge"):
        SeNas(removal="all")
    with pytest.raises(ValueError, match="unknown sampler 'strict'; one of: uniform, fair"):
        SeNas(sampler="strict")


def test_settings_of_earlier_runs_stay_what_they_were():
    assert set(settings_of(SeNas())) == {"recipe", "estimator", "criterion", "drop", "threshold"}
    chosen = settings_of(SeNas(removal="per-edge", sampler="fair"))
    assert (chosen["removal"], chosen["sampler"]) == ("per-edge", "fair")
