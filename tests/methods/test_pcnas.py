import itertools
from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.pcnas import PcNas, PoolPaths, best_partials, completions, depth_after
from senas_bench.progress import SilentProgress
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.tasks.task import Task
from senas_bench.training.recipe import TrainingRecipe


def a_task(folder, stages=(1, 1, 1), high: float | None = None) -> Task:
    sizes = replace(
        PRESETS["embedded"],
        channels=2,
        score_images=50,
        score_batch=50,
        rank_archs=10,
        recipes={"reference": TrainingRecipe(stages, 512, snapshots=1)},
    )
    task = make_task(make_spec("spos", 0, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))
    limit = None if high is None else Limit.of(task.problem.cost, "flops", high, 0.0)
    return replace(task, problem=replace(task.problem, limit=limit))


def planted(monkeypatch):
    """Estimates that are a sum over edges, in place of those by weights."""
    table = np.random.default_rng(3).normal(size=(6, 5))
    asked = []

    def estimate(self, trained, archs, estimator, label, **how):
        asked.append((trained.phase, label, archs))
        return table[np.arange(6), archs].sum(1)

    monkeypatch.setattr(Task, "estimate", estimate)
    return table, asked


def test_the_pool_holds_the_best_partial_models(tmp_path, monkeypatch):
    """Every one of them by brute force: with all its archs as completions, where scores are sums over edges, a partial
    model is worth the sum of its own operators."""
    table, asked = planted(monkeypatch)
    space = replace(NB201, candidates=((0, 1, 3), (1, 2), (0, 3), (1, 4), (2,), (3,)))
    task = a_task(tmp_path)
    task = replace(task, problem=replace(task.problem, space=space))
    output = PcNas(partials=3, completions=200)(task)
    pools = [line["pool"] for line in output.history if line.get("phase") == "pool"]
    assert [len(pool[0]) for pool in pools] == [3, 6, 6]
    pool = [()]
    for layer in range(6):
        longer = [(*one, op) for one in pool for op in space.candidates[layer]]
        pool = sorted(longer, key=lambda model: -sum(table[edge, op] for edge, op in enumerate(model)))[:3]
        if layer == 2:
            assert [tuple(model) for model in pools[0]] == pool
    assert [tuple(model) for model in pools[2]] == pool
    best = max(itertools.product(*space.candidates), key=lambda arch: table[range(6), arch].sum())
    assert output.pick == best == pool[0]
    assert [label for _, label, _ in asked] == [*(f"layer-{n}" for n in range(6)), "finalists", "ranking"]
    assert [phase for phase, *_ in asked] == ["stage-1"] * 3 + ["stage-2"] * 3 + ["stage-3"] * 2


def test_later_stages_train_on_archs_that_begin_with_the_pool(tmp_path, monkeypatch):
    planted(monkeypatch)
    seen, train = [], Task.train

    def watched(self, network, space, sample, **how):
        seen.append((sample, how["before"], how["optimizer"] is None))
        return train(self, network, space, sample, **how)

    monkeypatch.setattr(Task, "train", watched)
    output = PcNas(partials=2, completions=2)(a_task(tmp_path))
    pools = [line["pool"] for line in output.history if line.get("phase") == "pool"]
    assert [sample.pool for sample, *_ in seen[1:]] == [tuple(map(tuple, pool)) for pool in pools[:2]]
    assert [(before, fresh) for _, before, fresh in seen] == [(0, True), (1, False), (2, False)]


@pytest.mark.parametrize("cells", [0, 3])
def test_paths_begin_with_a_partial_model_and_go_on_uniformly(cells):
    paths = PoolPaths(NB201, ((3, 1), (2, 2)), cells)
    drawn = [paths(np.random.default_rng(seed))[0] for seed in range(600)]
    archs = [arch for path in drawn for arch in path] if cells else drawn
    assert {arch[:2] for arch in archs} == {(3, 1), (2, 2)} and all(arch in NB201 for arch in archs)
    assert 0.4 < np.mean([arch[:2] == (3, 1) for arch in archs]) < 0.6
    for edge in range(2, 6):
        assert min(np.bincount([arch[edge] for arch in archs], minlength=5)) > 0.14 * len(archs)


def test_completions_meet_the_limit(tmp_path):
    """All of a partial model's, and none where it cannot be met: by the costs of all archs."""
    task = a_task(tmp_path, high=0.03e6)
    for model in [(3, 3, 3, 3), (1, 0, 1), (3, 0)]:
        rest = [model + tail for tail in itertools.product(range(5), repeat=6 - len(model))]
        costs = task.problem.cost(np.array(rest))["flops_m"] * 1e6
        meeting = {arch for arch, cost in zip(rest, costs, strict=True) if cost <= 0.03e6}
        found = completions(task, model, 400, np.random.default_rng(0))
        assert set(found) <= meeting and len(found) == len(set(found)) and bool(found) == bool(meeting)
    assert not completions(task, (3, 3, 3, 3), 5, np.random.default_rng(0))


def test_an_arch_without_a_way_through_counts_as_the_worst_other():
    drawn = {(1,): [(1, 0), (1, 1)], (2,): [(2, 0), (2, 1)], (3,): [(3, 0)]}
    scores = np.array([-np.inf, 9.0, 4.0, 4.0, 3.0])
    assert best_partials(drawn, scores, 2) == [(1,), (2,)]
    assert best_partials(drawn, scores, 5) == [(1,), (2,), (3,)]


def test_layers_are_spread_over_the_stages():
    for stages in (1, 2, 3, 11):
        depths = [depth_after(stage, stages, 21) for stage in range(1, stages + 1)]
        steps = np.diff([0, *depths])
        assert depths[-1] == 21 and (steps >= 0).all() and depths[max(stages - 2, 0)] == 21
        if stages > 2:
            assert set(steps[: stages - 1].tolist()) <= {steps[0], steps[0] - 1}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="must be at least 1"):
        PcNas(partials=0)
