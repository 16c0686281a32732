"""Scores that are kept in a file."""

from functools import partial
from itertools import count

import numpy as np

from senas_bench.ranking import kept
from senas_bench.ranking.partial import Partial
from senas_bench.ranking.snapshots import NOBODY


def test_who_finds_scores_is_told_what_they_took(tmp_path, monkeypatch):
    """The clock goes on by 3 at each look, of which there is one before the scoring and one after."""
    clock = count(0, 3)
    monkeypatch.setattr(kept, "Partial", partial(Partial, clock=lambda: float(next(clock))))
    asked = []

    def make(watcher):
        asked.append(watcher.partial.path)
        return np.array([1.0, -np.inf]), {"archs_scored": 2}

    first, again = (kept.kept_scores(tmp_path / "kept.arrays", make, NOBODY) for _ in range(2))
    assert (first.found, again.found, asked) == (False, True, [tmp_path / "kept.arrays"])
    assert first.seconds == again.seconds == 3
    assert first.scores.tolist() == again.scores.tolist() == [1.0, -np.inf]
    assert first.work == again.work == {"archs_scored": 2}
