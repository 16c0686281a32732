"""Why runs failed, in a line and in full."""

import traceback

import numpy as np
import pytest

from senas_bench.errors import RunError
from senas_bench.experiments.executors import SerialExecutor
from senas_bench.experiments.failures import Failure, RunsFailed
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.study import check_known_to_workers
from senas_bench.methods import METHODS
from senas_bench.methods.baselines import LargestCost
from senas_bench.tasks.outputs import ScoreTable

SPEC = make_spec("params", 0, "embedded")


def failure(function):
    ((spec, error),) = SerialExecutor().map(function, [SPEC])
    return Failure(spec, error)


def broken(spec):
    return spec.parameters()


def refused(spec):
    raise ValueError("give\n  another")


def test_of_a_mistake_in_the_code_the_line_says_kind_and_place():
    line = broken.__code__.co_firstlineno + 1
    said = f"AttributeError: 'RunSpec' object has no attribute 'parameters' (test_failures.py, line {line})"
    assert failure(broken).why == said
    assert "return spec.parameters()" in failure(broken).traceback


def test_the_place_is_not_inside_of_a_library():
    def inside(spec):
        return np.asarray([1.0]).take([[2]], mode=spec)

    assert failure(inside).why.endswith(f"(test_failures.py, line {inside.__code__.co_firstlineno + 1})")


def test_what_was_said_in_a_sentence_stays_it():
    assert failure(refused).why == "give another"


def test_an_error_without_words_or_traceback():
    assert Failure(SPEC, RunError()).why == "RunError" and Failure(SPEC, KeyError("x")).why == "'x'"


def test_runs_failed_names_them_and_the_first_reason_with_its_traceback():
    error = RunsFailed([failure(broken), failure(refused)])
    assert str(error).startswith(f"2 runs failed: {SPEC.run_id}, {SPEC.run_id}; ") and failure(broken).why in str(error)
    assert error.specs == [SPEC, SPEC]
    assert "return spec.parameters()" in "".join(traceback.format_exception(error))


def test_a_method_of_this_process_is_refused_to_workers(monkeypatch):
    check_known_to_workers([SPEC])
    monkeypatch.setitem(METHODS, "mine", LargestCost("params"))
    with pytest.raises(ValueError, match=r"mine is known to this process alone.*executor='serial'"):
        check_known_to_workers([SPEC, make_spec("mine", 0, "embedded"), make_spec("mine", 1, "embedded")])


@pytest.mark.parametrize("wrong", [{"scores": np.zeros(2)}, {"scores": np.zeros(3), "tiers": np.zeros((3, 1))}])
def test_a_table_has_a_score_for_each_arch(wrong):
    with pytest.raises(ValueError, match=r"(scores|tiers) of shape \(.*\) for 3 archs; give one for each"):
        ScoreTable(np.zeros((3, 6), int), set="full", stage=1, epoch=0, **wrong)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"set": "mine"}, "a ScoreTable of set 'mine'; one of: full, sample, current, candidates, curve"),
        ({"scores": np.array([1, np.nan, np.nan])}, "2 of 3 scores are nan; an arch that cannot be scored has -inf"),
    ],
)
def test_a_table_of_what_no_table_shows(fields, words):
    whole = {"archs": np.zeros((3, 6), int), "scores": np.zeros(3), "set": "full", "stage": 1, "epoch": 0}
    with pytest.raises(ValueError, match=words):
        ScoreTable(**{**whole, **fields})
