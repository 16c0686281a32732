"""A scoring that is cut goes on where it was: the same scores to the bit, the same counts, no evaluation twice."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from senas_bench.ranking import estimator_of, partial
from senas_bench.ranking.partial import Partial
from senas_bench.ranking.score_archs import Evaluation
from senas_bench.ranking.snapshots import Watcher
from senas_bench.spaces import SPACES, mobilenet
from senas_bench.spaces.darts import DartsSkeleton
from senas_bench.spaces.nasbench201 import Skeleton
from senas_bench.training.snapshots import Snapshots

SKELETONS = {
    "nasbench201": Skeleton(8, 3, 1, 4, 1),
    "mobilenet": mobilenet.small_image(8, 3, 1, 0.125),
    "darts": DartsSkeleton(8, 3, 1, 2, 5),
}
ARCHS = 6


class Cut(Exception):
    pass


class Cutting(Partial):
    """Ends the scoring after some evaluations; counts them."""

    def __init__(self, path, after=None, **options):
        super().__init__(path, **options)
        self.after, self.evaluations = after, 0

    def keep(self, arrays):
        super().keep(arrays)
        self.evaluations += 1
        if self.evaluations == self.after:
            raise Cut


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """All is kept after each evaluation."""
    monkeypatch.setattr(partial, "SAVE_SECONDS", 0.0)


def problem(space="nasbench201", mode="batch", estimator="snapshot-loglik"):
    """What an estimator is given: two snapshots, three batches."""
    torch.manual_seed(0)
    network, snapshots = SPACES[space].network(SPACES[space].whole, SKELETONS[space], False), Snapshots()
    for _ in range(2):
        with torch.no_grad():
            for value in network.state_dict().values():
                if value.is_floating_point():
                    value.add_(0.1 * torch.randn_like(value)).abs_()
        snapshots.add(network)
    batches = [(torch.randn(6, 1, 8, 8), torch.randint(0, 3, (6,))) for _ in range(3)]
    archs = SPACES[space].whole.sample_distinct(np.random.default_rng(0), ARCHS)
    return network, snapshots, archs, Evaluation(batches, mode, [torch.randn(6, 1, 8, 8)]), estimator


def score(arguments, kept=None, **more):
    network, snapshots, archs, evaluation, estimator = arguments
    weights = SimpleNamespace(network=network, snapshots=snapshots)
    cost = lambda archs: dict.fromkeys(("params", "flops_m"), np.arange(1.0, 1 + len(archs)))  # noqa: E731
    return estimator_of(estimator)(weights, archs, evaluation, cost, Watcher(partial=kept, **more))


def in_parts(arguments, path, each: int):
    """Scores, counts, evaluations in all, and the shares that the tries began at; a try ends after `each` of them."""
    evaluations, begins = 0, []
    for _ in count():
        kept = Cutting(path, each)
        try:
            return *score(arguments, kept, began=begins.append), evaluations + kept.evaluations, begins
        except Cut:
            evaluations += kept.evaluations


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["weight-average", "snapshot-loglik"])
@pytest.mark.parametrize("mode", ["batch", "recalibrate", "running"])
def test_a_scoring_in_parts_is_the_whole_one(tmp_path, mode, estimator):
    arguments = problem("nasbench201", mode, estimator)
    expected, work = score(arguments)
    for each in (1, 4):
        got, counted, evaluations, begins = in_parts(arguments, tmp_path / f"{each}.arrays", each)
        assert got.tobytes() == expected.tobytes() and counted == work
        passes = work["archs_scored"] * (1 if mode == "recalibrate" else 1.5 if "snapshot" in estimator else 3)
        assert evaluations == passes
        assert begins == pytest.approx(sorted(begins)) and len(set(begins)) == len(begins) and begins[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("space", SKELETONS)
def test_what_neighbours_share_is_computed_again_to_the_bit(tmp_path, space):
    arguments = problem(space)
    expected, work = score(arguments)
    got, counted, _, begins = in_parts(arguments, tmp_path / "kept.arrays", 4)
    assert got.tobytes() == expected.tobytes() and counted == work and len(begins) == 5


@pytest.mark.parametrize("what", ["weights", "archs", "batches", "estimator", "damaged"])
def test_what_another_scoring_left_is_not_taken_up(tmp_path, what):
    path, (network, snapshots, archs, evaluation, estimator) = tmp_path / "kept.arrays", problem()
    with pytest.raises(Cut):
        score((network, snapshots, archs, evaluation, estimator), Cutting(path, 10))
    if what == "weights":
        next(iter(snapshots.states[1].values())).flatten()[0] += 1e-3
    elif what == "archs":
        archs = archs[::-1].copy()
    elif what == "batches":
        evaluation = Evaluation(evaluation.batches[:2], evaluation.bn_mode)
    elif what == "estimator":
        estimator = "snapshot-accuracy"
    else:
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(bytes(data))
    arguments, begins = (network, snapshots, archs, evaluation, estimator), []
    expected, _ = score(arguments)
    if what == "damaged":
        with pytest.warns(UserWarning, match="is damaged"):
            got, _ = score(arguments, Partial(path), began=begins.append)
    else:
        got, _ = score(arguments, Partial(path), began=begins.append)
    assert got.tobytes() == expected.tobytes() and begins == [0.0]


def test_it_is_kept_evenly_and_not_after_each_evaluation(tmp_path, monkeypatch):
    """At 3 seconds an evaluation and 20 between two writes, every seventh; no weights are read before the first."""
    monkeypatch.setattr(partial, "SAVE_SECONDS", 20.0)
    asked, written, now = [], [], [0.0]
    kept = Partial(tmp_path / "kept.arrays", clock=lambda: now[0])
    kept.begin(lambda: asked.append(now[0]) or np.zeros(32, np.uint8))
    for evaluation in range(1, 30):
        now[0] = 3.0 * evaluation
        kept.keep(lambda: written.append(now[0]) or {})
    assert written == [21.0, 42.0, 63.0, 84.0] and asked == [21.0]
    assert kept.seconds() == 87.0
    again = Partial(tmp_path / "kept.arrays", clock=lambda: now[0])
    assert again.begin(lambda: np.zeros(32, np.uint8)).keys() == {"identity", "seconds"}
    assert again.seconds() == 84.0


def test_one_that_does_not_write_keeps_nothing_and_goes_on_from_what_is_there(tmp_path):
    arguments, path = problem(), tmp_path / "kept.arrays"
    with pytest.raises(Cut):
        score(arguments, Cutting(path, 7, writes=False))
    assert not list(tmp_path.iterdir())
    with pytest.raises(Cut):
        score(arguments, Cutting(path, 7))
    before, other = path.read_bytes(), Cutting(path, writes=False)
    score(arguments, other)
    assert path.read_bytes() == before
    whole = Cutting(tmp_path / "none", writes=False)
    score(arguments, whole)
    assert other.evaluations == whole.evaluations - 7
