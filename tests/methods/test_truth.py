"""Searches that train each arch from scratch, by looking it up."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import make_spec
from senas_bench.groundtruth import Query, load_ground_truth
from senas_bench.groundtruth.trainer import load_trainer
from senas_bench.methods import METHODS
from senas_bench.methods.truth import RegularizedEvolution, TruthRandomSearch, mutate
from senas_bench.progress import SilentProgress
from senas_bench.spaces.nasbench201 import NB201, arch_from_str, arch_to_str
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.work import COUNTERS

TINY = replace(PRESETS["embedded"], channels=4, rank_archs=20)
SEARCHES = {"evolution": RegularizedEvolution(), "random": TruthRandomSearch()}


class Bare:
    """What these methods use of a task; keeps what the trainer was asked."""

    space = NB201

    def __init__(self, outcome, seed=0):
        self.asked, self.outcome, self.seed = [], outcome, seed
        self.problem = self
        self.work = SimpleNamespace(progress=SilentProgress())

    def within(self, space):
        return space

    def trainer(self, arch):
        self.asked.append(arch)
        return self.outcome(arch, len(self.asked) - 1)

    def rng(self, phase):
        return np.random.default_rng(self.seed)


def distance(one, other) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(METHODS, "regularized-evolution", RegularizedEvolution())
    monkeypatch.setitem(METHODS, "random-search", TruthRandomSearch())


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_budget_is_metered_and_never_overdrawn(search):
    def outcome(arch, call):
        return 50.0, 100.0 + 10 * arch.count(3)

    task = Bare(outcome)
    output = replace(search, budget_seconds=3000.0)(task)
    costs = [100.0 + 10 * arch.count(3) for arch in task.asked]
    *lines, total = output.history
    assert sum(costs[:-1]) <= 3000 < sum(costs)  # the last one asked for did not fit
    assert [line["spent_seconds"] for line in lines] == np.cumsum(costs[:-1]).tolist()
    assert [line["arch"] for line in lines] == [arch_to_str(arch) for arch in task.asked[:-1]]
    assert total == {"trainings": len(costs) - 1, "spent_seconds": sum(costs[:-1]), "budget_seconds": 3000.0}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_a_budget_that_is_used_up_exactly_buys_its_last_training(search):
    output = replace(search, budget_seconds=500.0)(Bare(lambda arch, call: (1.0, 100.0)))
    assert output.history[-1]["trainings"] == 5


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_pick_is_the_first_of_the_best_and_each_arch_is_listed_once(search):
    task = Bare(lambda arch, call: (float(arch[0] == 3), 20.0))  # many equals
    output = search(task)
    trained = task.asked[:-1]
    assert output.pick == next(arch for arch in trained if arch[0] == 3)
    (table,) = output.tables
    assert (table.set, table.stage, table.epoch, table.tiers) == ("candidates", 1, 0, None)
    assert [tuple(row) for row in table.archs.tolist()] == list(dict.fromkeys(trained))
    assert table.scores.tolist() == [float(arch[0] == 3) for arch in dict.fromkeys(trained)]


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_the_seed_alone_decides(search):
    def searched(seed):
        output = search(Bare(lambda arch, call: (float(sum(arch)), 100.0), seed))
        return output.pick, output.history

    assert searched(0) == searched(0)
    assert searched(0)[1] != searched(1)[1]


def test_the_oldest_leaves_not_the_worst():
    """Where accuracy falls with time, the best alive is the oldest: parent of arch k is then arch k - population."""
    task = Bare(lambda arch, call: (-float(call), 100.0))
    RegularizedEvolution(population=7, sample=200)(task)
    assert len(task.asked) == 121
    assert all(distance(child, task.asked[k]) == 1 for k, child in enumerate(task.asked[7:]))


def test_the_newest_joins():
    """Where accuracy rises with time, each child is a mutant of the one before it."""
    task = Bare(lambda arch, call: (float(call), 100.0))
    RegularizedEvolution(population=7, sample=200)(task)
    assert {distance(*pair) for pair in pairwise(task.asked[6:])} == {1}
    assert {distance(*pair) for pair in pairwise(task.asked[:7])} != {1}  # the first ones are random


def test_a_sample_of_one_is_no_selection():
    task = Bare(lambda arch, call: (-float(call), 100.0))
    RegularizedEvolution(population=7, sample=1)(task)
    assert sum(distance(child, task.asked[k]) == 1 for k, child in enumerate(task.asked[7:])) < 80


def test_evolution_beats_random_search(benchmark_table):
    trainer = load_trainer(benchmark_table, "digits")
    found = {
        name: np.mean([search(Bare(lambda arch, _: trainer(arch), seed)).pick.count(3) for seed in range(20)])
        for name, search in SEARCHES.items()
    }
    assert found["evolution"] > found["random"] + 0.5


@pytest.mark.slow
def test_random_search_draws_uniformly():
    task = Bare(lambda arch, call: (0.0, 1.0))
    TruthRandomSearch(budget_seconds=5000.0)(task)
    counts = np.array([[sum(arch[edge] == op for arch in task.asked) for op in range(5)] for edge in range(6)])
    assert abs(counts - 1000).max() < 130  # standard deviation 28


def test_mutation_changes_one_edge_uniformly():
    rng, arch = np.random.default_rng(0), (0, 1, 2, 3, 4, 0)
    children = Counter(mutate(NB201, arch, rng) for _ in range(4800))
    assert {distance(arch, child) for child in children} == {1}
    assert len(children) == 24 and min(children.values()) > 130 and max(children.values()) < 270


def test_mutation_stays_in_the_space():
    space = NB201.without(0, 3).without(4, 0)
    rng = np.random.default_rng(0)
    assert all(mutate(space, (0, 1, 2, 3, 4, 0), rng) in space for _ in range(300))
    single = NB201.only((0, 1, 2, 3, 4, 0))
    assert mutate(single, (0, 1, 2, 3, 4, 0), rng) == (0, 1, 2, 3, 4, 0)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_misuse_is_an_error_in_words(search):
    task = Bare(lambda arch, call: (1.0, 100.0))
    with pytest.raises(ValueError, match="budget_seconds 99 buys no training: the first takes 100 s"):
        replace(search, budget_seconds=99.0)(task)
    with pytest.raises(ValueError, match="positive times"):
        search(Bare(lambda arch, call: (1.0, 0.0)))
    task.problem.trainer = None
    with pytest.raises(ValueError, match="needs a task with a trainer"):
        search(task)


@pytest.mark.parametrize("field", ["population", "sample"])
def test_sizes_of_zero_are_an_error(field):
    with pytest.raises(ValueError, match="at least 1"):
        RegularizedEvolution(**{field: 0})


@pytest.mark.parametrize("method", ["regularized-evolution", "random-search"])
def test_a_run_books_no_work_and_names_its_truth(benchmark_table, tmp_path, registered, method):
    spec = make_spec(method, 3, "embedded", sizes=TINY, ground_truth=benchmark_table)
    record, scores = run(spec, Place(tmp_path, ground_truth=benchmark_table))
    assert spec.settings["truth"] == load_trainer(benchmark_table, "digits").identity
    assert record.counters == {purpose: dict.fromkeys(COUNTERS, 0) for purpose in ("search", "report")}
    trainer = load_trainer(benchmark_table, "digits")
    assert scores.arch_str[0] == record.pick and set(scores["set"]) == {"candidates"}
    for row in scores.itertuples():
        assert row.score == np.float32(trainer(arch_from_str(row.arch_str))[0])
    again, _ = run(spec, Place(tmp_path, ground_truth=benchmark_table))
    assert (again.pick, again.history) == (record.pick, record.history)


def test_runs_of_two_truths_do_not_mix(benchmark_table, tmp_path, registered):
    import pyarrow.parquet as pq

    table = pq.read_table(benchmark_table)
    values = table["cifar10_val_acc_12ep"].to_numpy() - 1
    place = table.schema.get_field_index("cifar10_val_acc_12ep")
    pq.write_table(table.set_column(place, "cifar10_val_acc_12ep", [values]), tmp_path / "made-up.parquet")
    spec, other = (
        make_spec("random-search", 0, "embedded", sizes=TINY, ground_truth=path)
        for path in (benchmark_table, tmp_path / "made-up.parquet")
    )
    assert spec.run_id != other.run_id
    with pytest.raises(ValueError, match=r"the ground truth is not the one that random-search-.* names"):
        run(spec, Place(tmp_path, ground_truth=tmp_path / "made-up.parquet"))
    stripped = replace(spec, settings={k: v for k, v in spec.settings.items() if k != "truth"})
    with pytest.raises(ValueError, match="the ground truth is not the one"):
        run(stripped, Place(tmp_path, ground_truth=benchmark_table))


def test_no_other_method_gets_a_trainer(benchmark_table, tmp_path, monkeypatch):
    """Nor does a table that is given change what it is."""
    seen = []

    class Probe(type(METHODS["random"])):
        def __call__(self, task):
            seen.append(task.problem.trainer)
            return MethodOutput((0,) * 6, (ScoreTable(task.report.archs, np.zeros(20), "sample", 1, 0),))

    monkeypatch.setitem(METHODS, "random", Probe())
    spec = make_spec("random", 0, "embedded", sizes=TINY, ground_truth=benchmark_table)
    assert spec.run_id == make_spec("random", 0, "embedded", sizes=TINY).run_id
    run(spec, Place(tmp_path, ground_truth=benchmark_table))
    assert seen == [None]


def test_random_search_picks_what_order_statistics_say(shared):
    """The best of n random archs by 12-epoch validation has the i-th of m with probability (i/m)^n - ((i-1)/m)^n."""
    path = shared / "nb201" / "nb201_accuracies.parquet"
    trainer, truth = load_trainer(path, "cifar10"), load_ground_truth(path)
    archs = truth.arch_strs
    test = truth.accuracy(Query("cifar10", "test", 200, "mean"), archs)
    ranked = test[np.argsort(truth.accuracy(Query("cifar10", "val", 12, "mean"), archs), kind="stable")]
    outputs = [TruthRandomSearch()(Bare(lambda arch, _: trainer(arch), seed)) for seed in range(40)]
    trainings = np.mean([output.history[-1]["trainings"] for output in outputs])
    below = (np.arange(len(archs) + 1) / len(archs)) ** trainings
    expected = float(np.diff(below) @ ranked)
    picks = truth.accuracy(Query("cifar10", "test", 200, "mean"), [arch_to_str(output.pick) for output in outputs])
    assert abs(picks.mean() - expected) < 3 * picks.std() / np.sqrt(40)


def test_evolution_beats_random_search_on_the_benchmark(shared):
    """At the same 12,000 s, as the benchmark's paper reports."""
    path = shared / "nb201" / "nb201_accuracies.parquet"
    trainer, truth = load_trainer(path, "cifar10"), load_ground_truth(path)
    means = []
    for search in (RegularizedEvolution(), TruthRandomSearch()):
        picks = [arch_to_str(search(Bare(lambda arch, _: trainer(arch), seed)).pick) for seed in range(40)]
        means.append(truth.accuracy(Query("cifar10", "test", 200, "mean"), picks).mean())
    assert means[0] > means[1]
