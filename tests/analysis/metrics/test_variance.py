import numpy as np
import pytest
from scipy import stats

from senas_bench.analysis.metrics.variance import one_way


def test_one_way_is_scipys_and_its_parts_are_those_of_the_expected_mean_squares():
    """F and p by scipy, in groups of any size; the parts solve E[MS] = within^2 + size * between^2, here of groups of
    one size, whose mean square is that of their means times it."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        sizes = rng.integers(1, 6, rng.integers(2, 6))
        groups = [rng.normal(rng.normal(0, 2), 1, size) for size in [*sizes, 2]]
        found, reference = one_way(groups), stats.f_oneway(*groups)
        assert found is not None
        assert (found.f, found.p) == (pytest.approx(reference.statistic), pytest.approx(reference.pvalue))
        assert (found.groups, found.values) == (len(groups), sum(map(len, groups)))
        table = rng.normal(rng.normal(0, 2, (4, 1)), 1, (4, 3))
        found = one_way(table)
        inside, means = table.var(axis=1, ddof=1).mean(), table.mean(axis=1).var(ddof=1)
        assert found is not None and found.within == pytest.approx(inside**0.5)
        assert found.between == pytest.approx(max(0.0, means - inside / 3) ** 0.5)


def test_one_way_finds_the_parts_that_values_were_drawn_with():
    """Of groups of different sizes too: 2,000 groups of 1 to 5 values, whose means vary by 3 and values by 1."""
    rng = np.random.default_rng(4)
    found = one_way([rng.normal(rng.normal(0, 3), 1, rng.integers(1, 6)) for _ in range(2000)])
    assert found is not None
    assert (found.between, found.within) == (pytest.approx(3, rel=0.05), pytest.approx(1, rel=0.05))


@pytest.mark.parametrize("between", [0.5, 1.0, 2.0])
def test_the_interval_of_a_ratio_holds_it_in_90_of_100_draws(between):
    """Archs as in tables 4 to 6: four, three trainings each; 2,000 draws miss 10% by less than 2% (three sigma)."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(2000):
        found = one_way(rng.normal(rng.normal(0, between, (4, 1)), 1, (4, 3)))
        assert found is not None
        low, high = found.ratio_interval
        held += low <= between <= high
    assert abs(held / 2000 - 0.9) < 0.02


def test_one_way_needs_a_spread_to_compare_with():
    assert one_way([[1.0, 1.0], [2.0, 2.0]]) is None
    for groups in ([[1.0, 2.0]], [[1.0], [2.0]]):
        with pytest.raises(ValueError, match="give at least two groups, and one of two values"):
            one_way(groups)


def test_one_way_of_unequal_groups_by_hand():
    """Means 1, 4, 8 about 5: 2 * 16 + 1 + 3 * 9 = 60, so 30 between groups, and 10/3 within. The size of groups that
    counts is (6 - 14/6) / 2 = 11/6, not their mean of 2."""
    found = one_way([[0, 2], [4], [6, 8, 10]])
    assert found is not None
    assert (found.between, found.within) == (pytest.approx((160 / 11) ** 0.5), pytest.approx((10 / 3) ** 0.5))
