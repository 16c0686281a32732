import numpy as np
import pytest
import torch

from senas_bench.training.resting import RestingAlphas, rest_of


class Recorder:
    """Stands for logits: notes what is asked of it."""

    def __init__(self):
        self.applied, self.epochs, self.batches = [], 0, 0

    def begin_epoch(self, generator):
        self.epochs += 1

    def next_batch(self):
        self.batches += 1
        return torch.zeros(4, 1), torch.zeros(4)

    def apply(self, gradient):
        self.applied.append(gradient)


def play(rest: float, every: int, epochs: int, steps: int) -> tuple[list[tuple[int, int]], Recorder, list]:
    recorder, turns, after, shares = Recorder(), [], [], []
    learning = RestingAlphas(
        recorder, lambda *_: (torch.zeros(1), 3), shares.append, rest=rest, every=every, after=lambda: after.append(1)
    )
    for epoch in range(epochs):
        learning.begin_epoch(epoch / epochs, torch.Generator())
        for step in range(steps):
            counts = learning.step(None, None, None, np.random.default_rng(0))
            assert counts in ({}, {"images_trained": 4, "forward_paths": 3, "backward_paths": 3})
            turns += [(epoch, step)] if counts else []
    assert len(turns) == len(recorder.applied) == recorder.batches == len(after) and recorder.epochs == epochs
    return turns, recorder, shares


def test_rest_comes_before_the_first_step():
    turns, _, shares = play(0.5, 1, 4, 3)
    assert turns == [(epoch, step) for epoch in (2, 3) for step in range(3)]
    assert shares == [0, 0.25, 0.5, 0.75]  # whoever lowers a temperature is told in any case


def test_every_third_step_of_an_epoch():
    assert play(0.0, 3, 2, 7)[0] == [(0, 2), (0, 5), (1, 2), (1, 5)]


@pytest.mark.parametrize(("share", "epochs", "rest"), [(1 / 9, 90, 10), (0.25, 160, 40), (0.25, 3, 0), (0.5, 4, 2)])
def test_whole_epochs(share, epochs, rest):
    assert round(rest_of(share, epochs) * epochs, 9) == rest
    assert len(play(rest_of(share, epochs), 1, epochs, 1)[0]) == epochs - rest
    assert rest_of(share, 0) == 0
