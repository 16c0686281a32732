from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.methods.p_darts import PDarts, few_skips, kept, ranked, with_none
from senas_bench.networks.mixture import Mixture
from senas_bench.spaces import SPACES
from senas_bench.spaces.best import best_arch
from senas_bench.spaces.darts import DARTS, DARTS_SEPARATE, EDGES, NONE, DartsSkeleton
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201, Skeleton
from senas_bench.spaces.nasbench201 import SKIP as NB_SKIP
from senas_bench.training.bilevel import Alphas
from senas_bench.training.recipe import TrainingRecipe


def some_alphas(space, seed: int = 4) -> Alphas:
    alphas = Alphas(space, None, torch.Generator().manual_seed(0))
    alphas.logits.data = 2 * torch.randn(alphas.logits.shape, generator=torch.Generator().manual_seed(seed))
    return alphas


class Recorded:
    """A task that trains nothing: it tells what it was asked."""

    def __init__(self, space, skeleton, asked):
        self.space, self.asked, self.seed = space, asked, len(asked)
        self.problem = type("P", (), {"skeleton": skeleton, "limit": None})()

    def on(self, skeleton):
        return Recorded(self.space, skeleton, self.asked)

    def alphas(self, space, phase, **settings):
        self.asked.append({"space": space, "phase": phase, "skeleton": self.problem.skeleton})
        return some_alphas(space, len(self.asked)), "first"

    def build(self, space):
        return nn.Identity()

    def train(self, network, space, sample, *, phase, epochs, architecture, **how):
        rates = []
        for epoch in range(epochs):
            architecture._begin_epoch(epoch / epochs)
            rates.append(network.skip_dropout)
        self.asked[-1] |= {"rates": rates, "epochs": epochs}
        history = [{"epoch": epoch + 1, "loss": 1.0} for epoch in range(epochs)]
        return type("T", (), {"training": type("H", (), {"history": history})()})()


def a_search(space, skeleton, epochs: int = 75):
    asked: list = []
    task = Recorded(space, skeleton, asked)
    task.recipe = type("R", (), {"stage_epochs": (epochs,)})()
    archs = space.sample_distinct(np.random.default_rng(0), 50)
    task.report = type("Q", (), {"archs": archs, "set": "sample"})()
    return PDarts()(task), asked


def test_operators_go_8_5_3_and_depth_5_11_17():
    output, asked = a_search(DARTS_SEPARATE, DartsSkeleton(layers=14))
    assert [stage["skeleton"].layers for stage in asked] == [5, 11, 17]
    assert [{len(alive) for alive in stage["space"].candidates} for stage in asked] == [{8}, {5}, {3}]
    assert [stage["epochs"] for stage in asked] == [25, 25, 25]
    # each stage has the most probable of the one before
    for before, after, number in zip(asked, asked[1:], (1, 2), strict=False):
        table = some_alphas(before["space"], number).log_probabilities().detach().numpy()
        for edge, alive in enumerate(after["space"].candidates):
            assert set(alive) == set(np.argsort(-table[edge])[: len(alive)].tolist())
    assert output.pick in DARTS_SEPARATE
    assert [line["epoch"] for line in output.history if "loss" in line] == list(range(1, 76))
    assert [line["stage"] for line in output.history if "chosen" in line] == [1, 2, 3]


def test_small_networks_grow_less_and_fewer_operators_go():
    _, asked = a_search(NB201, Skeleton(8, 10, cells=1), epochs=8)
    assert [stage["skeleton"].cells for stage in asked] == [1, 2, 3]
    assert [{len(alive) for alive in stage["space"].candidates} for stage in asked] == [{5}, {3}, {2}]
    assert [stage["epochs"] for stage in asked] == [2, 3, 3]
    assert [stage["skeleton"].layers for stage in a_search(DARTS, DartsSkeleton(layers=5))[1]] == [5, 8, 11]
    assert [stage["skeleton"].cells for stage in a_search(NB201, Skeleton(32, 10))[1]] == [1, 3, 5]


def test_dropout_behind_skips_falls_in_each_stage():
    """By the code's formulas, with its 25 epochs: (24 - epoch) of 25 there, for it is an epoch ahead."""
    _, asked = a_search(DARTS_SEPARATE, DartsSkeleton(layers=14))
    for stage, start in zip(asked, (0.0, 0.4, 0.7), strict=True):
        line = [start * (25 - epoch) / 25 for epoch in range(10)]
        curve = [start * np.exp(-0.2 * (epoch - 10)) for epoch in range(10, 25)]
        assert stage["rates"] == pytest.approx(line + curve)


@pytest.mark.parametrize(
    ("space", "skeleton"),
    [
        ("nasbench201", Skeleton(8, 3, in_channels=1, channels=4, cells=1)),
        ("darts", DartsSkeleton(8, 3, in_channels=1, channels=4, layers=1, reductions=())),
    ],
)
def test_dropout_acts_on_skips_alone(space, skeleton):
    """A mixture of skips changes with the random numbers, one of anything else does not, and nothing does without
    it."""
    torch.manual_seed(0)
    whole = SPACES[space].whole
    network, x = SPACES[space].network(whole, skeleton, False).train(), torch.randn(4, 1, 8, 8)
    skip = whole.operators.index("skip_connect")

    def differs(operator: int, rate: float) -> bool:
        network.skip_dropout = rate
        weights = torch.zeros(len(whole.edges), len(whole.operators))
        weights[:, operator] = 1.0
        one, other = (network(x, Mixture.of(weights)) for _ in range(2))
        return not torch.equal(one, other)

    assert differs(skip, 0.5) and not differs(skip, 0.0)
    assert not any(differs(operator, 0.5) for operator in range(len(whole.operators)) if operator != skip)
    network.eval()
    assert not differs(skip, 0.5)


@pytest.mark.parametrize("space", [DARTS, DARTS_SEPARATE, NB201], ids=lambda space: space.name)
def test_at_most_two_skips_in_the_normal_cell(space):
    skip = space.operators.index("skip_connect")
    normal = len(EDGES) if space is not NB201 else len(space.edges)
    for seed in range(8):
        table = np.random.default_rng(seed).normal(size=(len(space.edges), len(space.operators))) - 3
        table[:, skip] += 2.5  # skips would win nearly everywhere
        if space is not NB201:
            table[:, NONE] = 0.0
        free = best_arch(space, table)
        arch, edited = few_skips(space, table, 2, None)
        assert free[:normal].count(skip) > 2 >= arch[:normal].count(skip) and arch in space
        assert arch[normal:] == free[normal:]  # a reduction cell keeps its skips
        # those that may stay are more probable than those taken away, and the rest is the best without these
        gone = [edge for edge in range(normal) if np.isinf(edited[edge, skip])]
        assert gone and arch == best_arch(space, edited)
        assert few_skips(space, table, 14, None)[0] == free


def test_the_least_probable_skip_goes_first():
    table = np.full((6, 5), -5.0)
    table[:, NB_SKIP] = [-1.0, -1.1, -1.2, -1.3, -1.4, -1.5]
    table[:, 3] = -2.0
    arch, edited = few_skips(NB201, table, 2, None)
    assert arch == (NB_SKIP, NB_SKIP, 3, 3, 3, 3)
    assert np.isinf(edited[:, NB_SKIP]).tolist() == [False, False, True, True, True, True]


def test_what_is_left_out_of_a_stage_may_still_be_left_out_of_a_cell():
    alphas = some_alphas(DARTS)
    space = kept(DARTS, alphas, 3)
    assert any(NONE not in alive for alive in space.candidates)
    assert all(NONE in alive for alive in with_none(space).candidates)
    pick = few_skips(with_none(space), some_alphas(space).choice_scores(), 2, None)[0]
    assert pick in DARTS and all(op == NONE or op in alive for op, alive in zip(pick, space.candidates, strict=True))


def test_without_an_arch_within_the_limit_the_stage_before_picks():
    """The last stage has but one operator on each edge, and none of its archs is cheap enough."""
    costs = np.tile(np.arange(5.0), (6, 1))
    last = replace(NB201, candidates=((4,),) * 6)
    found = ((NB201, some_alphas(NB201)), (last, some_alphas(last)))
    task = Recorded(NB201, None, [])
    task.problem.limit = Limit(costs, 0.0, 0.0, 6.0)
    pick, _, used = PDarts(most_skips=6).derive(task, found)
    assert used == found[:1] and sum(pick) <= 6
    task.problem.limit = Limit(costs, 0.0, 0.0, 24.0)
    assert PDarts(most_skips=6).derive(task, found)[0] == (4,) * 6
    task.problem.limit = Limit(costs, 0.0, -2.0, -1.0)
    with pytest.raises(ValueError, match="no arch was found within"):
        PDarts().derive(task, found)


def test_archs_are_ranked_by_the_last_stage_that_has_them():
    first = some_alphas(NB201)
    space = kept(NB201, first, 2)
    last = some_alphas(space, 5)
    archs = NB201.sample_distinct(np.random.default_rng(1), 4000)
    removed = np.zeros((6, 5), bool)
    taken = space.candidates[2][0]
    removed[2, taken] = True
    tiers, scores = ranked(archs, ((NB201, first), (space, last)), removed)
    alive = space.contains_rows(archs)
    assert ((tiers < 2) == alive).all() and 0 < alive.sum() < 4000
    assert ((tiers == 1) == (alive & (archs[:, 2] == taken))).all() and (tiers == 0).any()
    np.testing.assert_allclose(scores[alive], last.arch_scores(archs[alive]))
    np.testing.assert_allclose(scores[~alive], first.arch_scores(archs[~alive]))


def test_stages_have_an_entry_of_everything():
    with pytest.raises(ValueError, match="must have an entry for each stage"):
        PDarts(cells=(1, 3))


@pytest.mark.parametrize("stages", [(1, 1), (2,)])
def test_fewer_epochs_than_stages_are_refused_before_anything_is_trained(stages):
    """Its second stage would drop operators by logits that nothing has trained."""
    sizes = replace(PRESETS["embedded"], recipes={"p-darts": TrainingRecipe(stages)})
    with pytest.raises(ValueError, match="method 'p-darts': 2 epochs are fewer than the 3 stages"):
        make_spec("p-darts", 0, "embedded", sizes=sizes)
