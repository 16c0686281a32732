from dataclasses import dataclass
from math import exp, inf

import numpy as np
import pytest

from senas_bench.shrinking.angle import Angle
from senas_bench.shrinking.se_nas import (
    NORMALIZERS,
    SeNasCriterion,
    normalize,
    operator_scores,
    percentiles,
    selection_confidence,
)
from senas_bench.shrinking.si import SelectionImportance
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201

# Three candidates on edge 0, two on edge 1, one on edge 2.
SI = {(0, 0): 10.0, (0, 1): 20.0, (0, 2): 30.0, (1, 0): 40.0, (1, 3): 44.0, (2, 2): 99.0}


def test_equation_6_by_hand():
    """Edge 0: mean 20, squares 100, 0, 100. Edge 1: mean 42, squares 4, 4. Edge 2: one candidate."""
    edge_0 = (100 + 0 + 100) / 3
    edge_1 = (4 + 4) / 2
    assert selection_confidence(SI) == pytest.approx(
        {(0, 0): edge_0, (0, 1): edge_0, (0, 2): edge_0, (1, 0): edge_1, (1, 3): edge_1, (2, 2): 0.0}
    )


def test_equation_7_by_hand_normalized_by_the_mean():
    """The means are over the five operators of edges 0 and 1: edge 2 takes no part."""
    si_mean = (10 + 20 + 30 + 40 + 44) / 5  # 28.8
    sc_mean = (3 * 200 / 3 + 2 * 4) / 5  # 41.6
    edge_0, edge_1 = 200 / 3 / sc_mean, 4 / sc_mean
    assert operator_scores(SI) == pytest.approx(
        {
            (0, 0): 10 / si_mean / edge_0,
            (0, 1): 20 / si_mean / edge_0,
            (0, 2): 30 / si_mean / edge_0,
            (1, 0): 40 / si_mean / edge_1,
            (1, 3): 44 / si_mean / edge_1,
            (2, 2): inf,
        }
    )
    assert operator_scores(SI)[0, 0] == pytest.approx(0.2166666667)  # 0.347222 / 1.602564


def test_equation_7_by_hand_as_in_textbooks():
    """(x - mean) / (max - min): the quotient changes sign, which is why it is not the default."""
    si_mean, si_spread = 28.8, 44 - 10
    sc_mean, sc_spread = 41.6, 200 / 3 - 4
    edge_0, edge_1 = (200 / 3 - sc_mean) / sc_spread, (4 - sc_mean) / sc_spread
    scores = operator_scores(SI, "minmax")
    assert scores == pytest.approx(
        {
            (0, 0): (10 - si_mean) / si_spread / edge_0,
            (0, 1): (20 - si_mean) / si_spread / edge_0,
            (0, 2): (30 - si_mean) / si_spread / edge_0,
            (1, 0): (40 - si_mean) / si_spread / edge_1,
            (1, 3): (44 - si_mean) / si_spread / edge_1,
            (2, 2): inf,
        }
    )
    assert scores[1, 3] < 0 < scores[0, 2]


def test_within_edge_by_hand():
    """Deviations from the mean of the edge over its standard deviation: edge 0 of mean 20, edge 1 of mean 42."""
    edge_0, edge_1 = 10 / (200 / 3) ** 0.5, 1.0  # on edge 1 both lie 2 from the mean, whose variance is 4
    scores = operator_scores(SI, "within-edge")
    assert scores == pytest.approx(
        {(0, 0): -edge_0, (0, 1): 0.0, (0, 2): edge_0, (1, 0): -edge_1, (1, 3): edge_1, (2, 2): inf}
    )
    assert scores[0, 0] == pytest.approx(-1.2247448714)  # -sqrt(3 / 2)


def test_within_edge_does_not_see_the_scale_of_an_edge():
    """Under the two other readings these two edges differ by their variance, here they tie."""
    scaled = {(0, 0): 1.0, (0, 1): 2.0, (0, 2): 6.0, (1, 0): 50.0, (1, 1): 60.0, (1, 2): 100.0}
    scores = operator_scores(scaled, "within-edge")
    assert [scores[0, op] for op in (0, 1, 2)] == pytest.approx([scores[1, op] for op in (0, 1, 2)])
    assert operator_scores(scaled)[0, 0] != pytest.approx(operator_scores(scaled)[1, 0])


def test_an_unknown_reading_is_refused_before_anything_is_scored():
    with pytest.raises(ValueError, match="unknown normalizer 'edge'; one of: mean, minmax, within-edge"):
        operator_scores(SI, "edge")
    with pytest.raises(ValueError, match="unknown normalizer 'edge'; one of: mean, minmax, within-edge"):
        SeNasCriterion(normalizer="edge")


def test_low_importance_and_high_confidence_leave_first():
    """Edge 0 with its larger variance goes first, its operators in the order of their importance."""
    scores = operator_scores(SI)
    assert sorted(scores, key=scores.get) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 3), (2, 2)]


def test_an_edge_without_choice_does_not_change_the_others():
    without = {pair: value for pair, value in SI.items() if pair[0] != 2}
    for normalizer in NORMALIZERS:
        scores = operator_scores(SI, normalizer)
        del scores[2, 2]
        assert scores == operator_scores(without, normalizer)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("value", [50.0, 0.1])
def test_no_difference_on_an_edge_is_infinite(normalizer, value):
    """SC = 0. The edge is contested, so its zeros do count in the mean of SC. (In floats, 3 * 0.1 is not 0.3.)"""
    flat = {(0, 0): value, (0, 1): value, (0, 2): value, (1, 0): 40.0, (1, 3): 44.0}
    scores = operator_scores(flat, normalizer)
    assert [scores[0, op] for op in (0, 1, 2)] == [inf] * 3
    if normalizer == "mean":
        assert scores[1, 0] == pytest.approx(40 / ((3 * value + 84) / 5) / (4 / (2 * 4 / 5)))
    elif normalizer == "within-edge":
        assert scores[1, 0] == pytest.approx(-1)
    else:
        mean, spread = (3 * value + 84) / 5, max(value, 44) - min(value, 40)
        assert scores[1, 0] == pytest.approx((40 - mean) / spread / ((4 - 8 / 5) / 4))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_no_difference_anywhere(normalizer):
    assert set(operator_scores({(0, 0): 5.0, (0, 1): 5.0, (1, 2): 7.0}, normalizer).values()) == {inf}
    assert set(operator_scores({(0, 0): 5.0, (1, 2): 7.0}, normalizer).values()) == {inf}


def test_normalizers():
    values = np.array([1.0, 2.0, 6.0])
    assert normalize(values, "mean").tolist() == [1 / 3, 2 / 3, 2.0]
    assert normalize(values, "minmax").tolist() == pytest.approx([-0.4, -0.2, 0.6])
    with pytest.raises(ValueError, match="unknown normalizer 'max'; one of: mean, minmax"):
        normalize(values, "max")


@dataclass
class Trained:
    space: SearchSpace
    phase: str = "stage-1"


@dataclass
class Task:
    """Stands for a task whose estimates are a known function of the arch."""

    seed: int = 0
    log: bool = False

    def rng(self, phase):
        return np.random.default_rng([self.seed, len(phase)])

    def within(self, space):
        return space

    def estimate(self, trained, archs, estimator, label, *, purpose, alike=False):
        values = 50.0 + archs.astype(float) @ [1, 2, 4, 8, 16, 32][: archs.shape[1]]
        return np.log(values) if self.log else values


SMALL = SearchSpace("toy", tuple("abcde"), ("e0", "e1", "e2"), ((0, 3), (1, 2, 4), (2,)))


def test_criterion_scores_the_importance_of_its_sample():
    importance = SelectionImportance()(Trained(SMALL), Task()).scores
    assert SeNasCriterion()(Trained(SMALL), Task()).scores == operator_scores(importance)
    assert SeNasCriterion(normalizer="minmax")(Trained(SMALL), Task()).scores == operator_scores(importance, "minmax")


def test_criterion_tells_importance_and_confidence():
    """P(a) = 50 + op of e0 + 2 op of e1 + 4 op of e2, over the whole space: 2 * 3 archs."""
    output = SeNasCriterion()(Trained(SMALL), Task())
    mean = 50 + 1.5 + 2 * 7 / 3 + 8
    assert output.parts["importance"] == pytest.approx(
        {
            (0, 0): mean - 1.5,
            (0, 3): mean + 1.5,
            (1, 1): mean - 2 * 4 / 3,
            (1, 2): mean - 2 * 1 / 3,
            (1, 4): mean + 2 * 5 / 3,
            (2, 2): mean,
        }
    )
    one, other = 1.5**2, 4 * (16 + 1 + 25) / 27
    assert output.parts["confidence"] == pytest.approx(
        {(0, 0): one, (0, 3): one, (1, 1): other, (1, 2): other, (1, 4): other, (2, 2): 0.0}
    )
    assert list(output.parts) == ["importance", "confidence"]


def test_log_likelihoods_enter_as_likelihoods():
    """exp of the mean log-likelihood of the archs that contain an operator."""
    task = Task(log=True)
    means = SelectionImportance("snapshot-loglik")(Trained(SMALL), task).scores
    likelihoods = {pair: exp(value) for pair, value in means.items()}
    output = SeNasCriterion("snapshot-loglik")(Trained(SMALL), task)
    assert output.scores == pytest.approx(operator_scores(likelihoods))
    assert output.parts["importance"] == pytest.approx(likelihoods)


def test_scores_below_zero_enter_as_percentiles():
    """Those of some proxies. P(a) - 100 is the same order, which the quotient of its means would turn round; the
    percentiles of the six archs are their ranks over 6."""

    class Below(Task):
        def estimate(self, *given, **how):
            return super().estimate(*given, **how) - 100.0

    output = SeNasCriterion()(Trained(SMALL), Below())
    # archs in the order of P(a), op of e0 + 2 op of e1: 2 (0, 1), 4 (0, 2), 5 (3, 1), 7 (3, 2), 8 (0, 4), 11 (3, 4)
    ranks = {(0, 0): (1 + 2 + 5) / 3, (0, 3): (3 + 4 + 6) / 3, (1, 1): 2, (1, 2): 3, (1, 4): 5.5, (2, 2): 3.5}
    expected = {pair: rank / 6 for pair, rank in ranks.items()}
    assert output.parts["importance"] == pytest.approx(expected)
    assert output.scores == pytest.approx(operator_scores(expected))
    assert output.scores[0, 3] > output.scores[0, 0]
    for normalizer in ("minmax", "within-edge"):
        shifted = SeNasCriterion(normalizer=normalizer)(Trained(SMALL), Below()).parts["importance"]
        assert shifted[0, 0] < 0  # a difference needs no sign


def test_a_lowest_score_of_zero_enters_as_percentiles_too():
    """P(a) is 58 + op of e0 + 2 op of e1. Operator 1 of e1 is in archs of 60 and 63, and no other mean is that low:
    with 61.5 less it is exactly 0. The ranks of the six archs are those of the test above."""

    class Zero(Task):
        def estimate(self, *given, **how):
            return super().estimate(*given, **how) - 61.5

    importance = SelectionImportance()(Trained(SMALL), Zero()).scores
    assert min(importance.values()) == importance[1, 1] == 0
    ranks = {(0, 0): (1 + 2 + 5) / 3, (0, 3): (3 + 4 + 6) / 3, (1, 1): 2, (1, 2): 3, (1, 4): 5.5, (2, 2): 3.5}
    expected = {pair: rank / 6 for pair, rank in ranks.items()}
    assert SeNasCriterion()(Trained(SMALL), Zero()).parts["importance"] == pytest.approx(expected)


def test_an_impossible_operator_takes_no_part_and_goes_first():
    """SI of -inf stays the score; the others score as if it were not there."""
    possible = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 2.0, (1, 1): 2.5}
    scores = operator_scores({(0, 2): -np.inf, **possible})
    assert scores.pop((0, 2)) == -np.inf
    assert scores == operator_scores(possible)


class Region:
    """A space in which no arch within the limit has operator 4 of edge 1."""

    def __init__(self):
        self.space = SMALL

    def pool(self, per_operator, rng):
        archs = SMALL.archs()
        return archs[archs[:, 1] != 4]

    def more_with(self, *_):
        return None


class Limited(Task):
    def within(self, space):
        return Region()


def test_an_operator_that_no_arch_within_the_limit_has_is_worst_and_moves_no_other():
    found = SeNasCriterion("snapshot-loglik")(Trained(SMALL), Limited(log=True))
    impossible = (1, 4)
    assert found.scores[impossible] == -inf and found.parts["importance"][impossible] == -inf
    assert impossible not in found.parts["confidence"]
    rest = {pair: value for pair, value in found.parts["importance"].items() if pair != impossible}
    assert {pair: value for pair, value in found.scores.items() if pair != impossible} == operator_scores(rest)
    assert SeNasCriterion()(Trained(SMALL), Limited()).parts["importance"][0, 0] > 1  # accuracies, no percentiles


def test_percentiles_of_ties_and_of_what_is_cut_off():
    assert percentiles(np.array([-inf, 2.0, 2.0, 5.0])).tolist() == [-inf, 2.5 / 4, 2.5 / 4, 1.0]


def test_a_confidence_at_the_mean_gives_infinity_as_in_textbooks():
    """Variances 1, 49 and 25, whose mean is 25: that of edge 2 is 0 after normalization."""
    scores = operator_scores(
        {(0, 0): 19.0, (0, 1): 21.0, (1, 0): 13.0, (1, 1): 27.0, (2, 0): 15.0, (2, 1): 25.0}, "minmax"
    )
    assert scores[2, 0] == scores[2, 1] == inf


def test_of_a_large_space_each_operator_is_in_so_many_archs():
    asked = []

    class Asked(Task):
        def estimate(self, trained, archs, *given, **how):
            asked.append(archs.shape)
            return super().estimate(trained, archs, *given, **how)

    SeNasCriterion(per_operator=7)(Trained(NB201), Asked())
    assert asked == [(35, 6)]


def test_defaults_are_the_papers():
    assert {kind().per_operator for kind in (SeNasCriterion, SelectionImportance, Angle)} == {100}
