"""A path sampler with memory from outside, of docs/adding.md."""

from dataclasses import replace

import pytest

from senas_bench.experiments.place import Place
from senas_bench.training import loop


@pytest.mark.slow
def test_a_run_killed_after_any_epoch_ends_the_same(added, perform, through_interruptions, monkeypatch):
    """Each try has a sampler that remembers nothing."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    pools, load = [], added.Greedy.__call__.__globals__["GreedyPaths"].load

    def loading(self, tensors):
        load(self, tensors)
        pools.append(dict(self.pool))

    monkeypatch.setattr(added.Greedy.__call__.__globals__["GreedyPaths"], "load", loading)
    whole, scores = perform("greedy", candidates=8, folder="whole")
    place = lambda progress: lambda work: Place(work, progress=progress)  # noqa: E731
    (record, again), events = through_interruptions(
        lambda progress: perform("greedy", candidates=8, folder="killed", place=place(progress)), most=50
    )
    assert events > 3 and len(pools) >= 2 and all(len(pool) == 10 for pool in pools)
    assert replace(record, timing={}, provenance={}) == replace(whole, timing={}, provenance={})
    assert again.equals(scores)


@pytest.mark.slow
def test_it_draws_from_its_memory(added, perform, monkeypatch):
    """Without it the same run trains on other paths."""
    record, _ = perform("greedy", candidates=8)
    monkeypatch.setattr(added.Greedy.__call__.__globals__["GreedyPaths"], "after_step", lambda *_: None)
    other, _ = perform("greedy", candidates=8, folder="forgetful")
    losses = [[line["loss"] for line in run.history if "loss" in line] for run in (record, other)]
    assert losses[0] and losses[0] != losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("space", ["nasbench201", "chain"])
def test_it_works_in_any_space(added, perform, space):
    record, _ = perform("greedy", candidates=8, space=space)
    assert record.counters["search"]["train_steps"] > 0
