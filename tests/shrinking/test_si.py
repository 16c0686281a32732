import zlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from senas_bench.shrinking.si import SelectionImportance, selection_importance
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201

SPACE = SearchSpace("toy", ("a", "b", "c"), ("e0", "e1"), ((0, 2), (0, 1, 2)))


def test_equation_5_by_hand():
    archs = np.array([(0, 0), (0, 1), (2, 1), (2, 2), (2, 2)], np.int8)
    performance = np.array([10.0, 20.0, 40.0, 60.0, 50.0])
    rows = {(edge, op): np.flatnonzero(archs[:, edge] == op) for edge, op in SPACE.alive()}
    assert selection_importance(rows, performance) == {
        (0, 0): (10 + 20) / 2,
        (0, 2): (40 + 60 + 50) / 3,
        (1, 0): 10,
        (1, 1): (20 + 40) / 2,
        (1, 2): (60 + 50) / 2,
    }


def test_an_arch_that_is_cut_off_counts_as_the_worst_other():
    rows = {(0, 0): np.array([0, 1]), (0, 2): np.array([1, 2])}
    assert selection_importance(rows, np.array([30.0, -np.inf, 10.0])) == {(0, 0): 20, (0, 2): 10}
    nothing = selection_importance(rows, np.full(3, -np.inf))
    assert nothing == {(0, 0): -np.inf, (0, 2): -np.inf}


def test_an_operator_that_no_arch_within_the_limit_has_comes_last():
    rows = {(0, 0): np.array([0, 1]), (0, 2): np.array([], int)}
    assert selection_importance(rows, np.array([10.0, 20.0])) == {(0, 0): 15, (0, 2): -np.inf}


@dataclass
class Trained:
    space: SearchSpace
    phase: str = "stage-1"


@dataclass
class Task:
    """Stands for a task whose estimates are a known function of the arch."""

    seed: int = 0
    asked: list = field(default_factory=list)

    def rng(self, phase):
        return np.random.default_rng([self.seed, zlib.crc32(phase.encode())])

    def within(self, space):
        return space

    def estimate(self, trained, archs, estimator, label, *, purpose, alike=False):
        self.asked.append((archs, estimator, label, purpose))
        return performance(archs)


def performance(archs) -> np.ndarray:
    return archs.astype(float) @ (10.0 ** np.arange(archs.shape[1]))


def test_of_a_small_space_the_whole_is_scored():
    """Each operator's mean over the archs that contain it: 3, and 2."""
    task = Task()
    scores = SelectionImportance("snapshot-accuracy", per_operator=100)(Trained(SPACE), task).scores
    ((archs, estimator, _, purpose),) = task.asked
    assert sorted(map(tuple, archs.tolist())) == list(SPACE)
    assert (estimator, purpose) == ("snapshot-accuracy", "search")
    # P(a) = op of e0 + 10 * op of e1
    assert scores == {(0, 0): 10.0, (0, 2): 12.0, (1, 0): 1.0, (1, 1): 11.0, (1, 2): 21.0}


def test_of_a_large_space_each_operator_is_in_so_many_archs():
    task = Task()
    scores = SelectionImportance(per_operator=7)(Trained(NB201), task).scores
    archs = task.asked[0][0]
    assert archs.shape == (35, 6)
    for edge, op in NB201.alive():
        containing = archs[archs[:, edge] == op]
        assert len(containing) == 7
        assert scores[edge, op] == pytest.approx(performance(containing).mean())


def test_archs_depend_on_the_runs_seed():
    asked = []
    for seed in (0, 0, 1):
        task = Task(seed)
        SelectionImportance(per_operator=7)(Trained(NB201), task)
        asked.append(task.asked[0][0].tolist())
    assert asked[0] == asked[1] != asked[2]


def test_each_stage_draws_archs_of_its_own():
    task = Task()
    for phase in ("stage-1", "stage-2"):
        SelectionImportance(per_operator=7)(Trained(NB201, phase), task)
    (first, *_), (second, *_) = task.asked
    assert first.tolist() != second.tolist()
