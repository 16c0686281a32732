import itertools
import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from senas_bench.analysis.metrics.statistics import (
    holm,
    iqm,
    movement,
    movement_test,
    over_seeds,
    paired_effect,
    permutation_test,
    probability_of_improvement,
    sign_flip,
    spread_test,
)


def samples(count: int, low: int, high: int):
    """Pairs of samples of small integers with many ties, as exact lists; divided by 10 they are the values tested."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield tuple(rng.integers(-6, 7, rng.integers(low, high + 1)).tolist() for _ in range(2))


def tenths(values) -> np.ndarray:
    return np.array(values) / 10


def test_over_seeds_is_the_t_interval():
    values = np.random.default_rng(0).random(10)
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    summary = over_seeds(values)
    assert summary.interval == pytest.approx((reference.low, reference.high))
    assert (summary.n, summary.mean, summary.std) == (
        10,
        pytest.approx(values.mean()),
        pytest.approx(values.std(ddof=1)),
    )


def test_few_seeds():
    assert over_seeds([3.0]).std is None
    assert over_seeds([3.0]).interval is None
    agree = np.array([0.7, 0.8, 0.9]) - np.array([0.4, 0.5, 0.6])
    assert np.ptp(agree) > 0 and over_seeds(agree).interval is None  # but for rounding they agree
    assert over_seeds([1.0, 2.0]).std == pytest.approx(0.5**0.5)
    assert over_seeds([1.0, 2.0]).interval is None
    assert over_seeds([1.0, 2.0, 3.0]).interval is not None


def test_seeds_that_agree_have_no_interval():
    """Of what no seed changes, such as the number of parameters: an interval of no width would call it certain."""
    summary = over_seeds([0.1] * 7)
    assert (summary.mean, summary.std) == (pytest.approx(0.1), pytest.approx(0))
    assert summary.interval is None


def test_sign_flip_counts_all_patterns():
    for values, _ in samples(1000, 1, 8):
        sums = [
            abs(sum(s * v for s, v in zip(signs, values, strict=True)))
            for signs in itertools.product((1, -1), repeat=len(values))
        ]
        result = sign_flip(tenths(values))
        assert result.p == sum(total >= abs(sum(values)) for total in sums) / len(sums)
        assert result.exact
        assert result.difference == pytest.approx(sum(values) / len(values) / 10, rel=0, abs=1e-12)


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (8, 0.0078125), (10, 0.001953125)])
def test_smallest_attainable_p(n, smallest):
    result = sign_flip(np.arange(1.0, n + 1))
    assert result.p == result.smallest_p == smallest


def test_sign_flip_samples_above_fifteen_pairs():
    values = np.random.default_rng(9).standard_normal(16) + 0.4
    sampled = sign_flip(values, np.random.default_rng(0))
    reference = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert not sampled.exact
    assert sampled.p == pytest.approx(reference, abs=0.015)
    assert sampled.smallest_p == 1e-4
    assert sign_flip(values[:15]).exact
    with pytest.raises(ValueError, match="give rng"):
        sign_flip(values)


def splits(pooled: list, size: int):
    """Every way to split a list in two."""
    for chosen in itertools.combinations(range(len(pooled)), size):
        yield [pooled[i] for i in chosen], [v for i, v in enumerate(pooled) if i not in chosen]


def test_permutation_test_counts_all_splits():
    def gap(first, second):
        return abs(Fraction(sum(first), len(first)) - Fraction(sum(second), len(second)))

    for a, b in samples(1000, 1, 4):
        gaps = [gap(*split) for split in splits(a + b, len(a))]
        result = permutation_test(tenths(a), tenths(b))
        assert result.exact
        assert result.n == (len(a), len(b))
        assert result.p == sum(other >= gap(a, b) for other in gaps) / len(gaps) >= result.smallest_p
        assert result.difference == pytest.approx(sum(a) / len(a) / 10 - sum(b) / len(b) / 10, rel=0, abs=1e-12)


def test_permutation_test_does_not_see_a_shift_or_rounding():
    a, b = [0.1, 0.2, 0.4], [0.3, 0.3, 0.6, 0.9]
    for unit, shift in ((1, 90), (10, 1e9)):
        assert (
            permutation_test(np.multiply(a, unit) + shift, np.multiply(b, unit) + shift).p == permutation_test(a, b).p
        )
    assert permutation_test([93.1] * 3, [93.1] * 4).p == 1


@pytest.mark.parametrize(
    ("n", "m", "smallest"), [(1, 1, 1), (3, 3, 0.1), (5, 5, 1 / 126), (2, 4, 1 / 15), (4, 2, 1 / 15)]
)
def test_smallest_p_of_a_permutation_test_is_attained(n, m, smallest):
    result = permutation_test(np.arange(100.0, 100 + n) if n <= m else np.zeros(n), np.zeros(m) if n <= m else [9, 8])
    assert result.p == result.smallest_p == pytest.approx(smallest)


@pytest.mark.slow
def test_permutation_test_samples_above_twenty_thousand_splits():
    a, b = np.random.default_rng(9).standard_normal((2, 9))  # 48,620 splits
    a += 0.8
    sampled = permutation_test(a, b, np.random.default_rng(0))
    reference = stats.permutation_test((a, b), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf).pvalue
    assert not sampled.exact
    assert sampled.p == pytest.approx(reference, abs=0.015)
    assert sampled.smallest_p == 1e-4
    assert permutation_test(a + 9, b, np.random.default_rng(0)).p < 0.001  # the observed split is counted in
    assert permutation_test(a + 9, b, np.random.default_rng(0), n_resamples=99).p == 0.01
    assert permutation_test(a[:8], b[:8]).exact
    with pytest.raises(ValueError, match="give rng"):
        permutation_test(a, b)


def deviations(values: list[int]) -> list[Fraction]:
    median = statistics.median([Fraction(v) for v in values])
    return [abs(v - median) for v in values]


def ratio(first, second) -> float | Fraction:
    """The larger of two mean deviations over the smaller: what the absolute log ratio orders."""
    low, high = sorted((Fraction(sum(first), len(first)), Fraction(sum(second), len(second))))
    return high / low if low else math.inf if high else 1


@pytest.mark.slow
def test_spread_test_counts_all_splits():
    for a, b in samples(1000, 3, 5):
        x, y = (sorted(deviations(v))[len(v) % 2 :] for v in (a, b))
        ratios = [ratio(*split) for split in splits(x + y, len(x))]
        result = spread_test(tenths(a), tenths(b))
        assert result.p == sum(other >= ratio(x, y) for other in ratios) / len(ratios) >= result.smallest_p
        means = sum(x) / len(x) / 10, sum(y) / len(y) / 10
        assert result.spreads == pytest.approx([float(mean) for mean in means], rel=0, abs=1e-12)
        if min(means):
            assert result.log_ratio == pytest.approx(math.log(means[0] / means[1]), rel=0, abs=1e-12)
        else:
            assert result.log_ratio is None


@pytest.mark.slow
def test_paired_spread_test_counts_all_swaps():
    for a, b in samples(1000, 3, 6):
        n = min(len(a), len(b))
        pairs = list(zip(deviations(a[:n]), deviations(b[:n]), strict=True))
        swapped = [
            zip(*(pair[::s] for pair, s in zip(pairs, turns, strict=True)), strict=True)
            for turns in itertools.product((1, -1), repeat=n)
        ]
        ratios = [ratio(*sides) for sides in swapped]
        result = spread_test(tenths(a[:n]), tenths(b[:n]), paired=True)
        assert result.p == sum(other >= ratio(*zip(*pairs, strict=True)) for other in ratios) / 2**n
        assert result.smallest_p == 2.0 ** (1 - n)


@pytest.mark.parametrize("paired", [False, True])
def test_spread_test_finds_spread_and_not_location(paired):
    rng = np.random.default_rng(3)
    wide, narrow = 90 + 5 * rng.standard_normal(10), 70 + rng.standard_normal(10)
    result = spread_test(narrow, wide, np.random.default_rng(0), paired=paired)
    assert result.p < 0.05
    assert result.log_ratio < 0
    assert result.exact == paired
    assert spread_test(narrow, narrow + 20, np.random.default_rng(0), paired=paired).p == 1


@pytest.mark.parametrize("paired", [False, True])
def test_spread_test_rejects_equal_spreads_as_often_as_it_says(paired):
    """Its docstring: 3% to 5% of normal samples; three standard errors of 800 samples are 2.3 points."""
    rng = np.random.default_rng(4)
    tests = [spread_test(*rng.standard_normal((2, 6)), paired=paired) for _ in range(800)]
    assert 0.02 <= np.mean([test.p <= 0.05 for test in tests]) <= 0.07


@pytest.mark.parametrize("paired", [False, True])
def test_spread_of_few_or_equal_seeds(paired):
    assert spread_test([1.0, 2.0], [1.0, 5.0], paired=paired) is None
    same = spread_test([93.1] * 3, [93.2] * 3, paired=paired)
    assert (same.p, same.log_ratio, same.spreads) == (1, None, (0, 0))
    rng = np.random.default_rng(0)
    for _ in range(50):
        for pair in (([93.1] * 4, rng.random(4)), (rng.random(4), [93.1] * 4)):
            one = spread_test(*pair, paired=paired)
            assert one.log_ratio is None
            assert one.p == one.smallest_p == (1 / 8 if paired else 2 / 70)


def test_a_spread_needs_three_seeds_of_each_side():
    assert spread_test([1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]) is None


@pytest.mark.parametrize("test", [permutation_test, spread_test])
def test_samples_that_cannot_be_tested(test):
    with pytest.raises(ValueError, match="infinity"):
        test([1.0, 2, math.inf], [1.0, 2, 3])
    with pytest.raises(ValueError, match="at least one number without NaN"):
        test([1.0, 2, 3], [])
    with pytest.raises(ValueError, match="one length; got 3 and 4"):
        spread_test([1.0, 2, 3], [1.0, 2, 3, 4], paired=True)


def test_holm_is_the_textbook_procedure():
    """Step down: the smallest of m p-values is held against alpha / m, the next against alpha / (m - 1), until one
    is not rejected. An adjusted p-value is the smallest alpha at which its hypothesis is rejected."""
    rng = np.random.default_rng(6)
    for number in range(1000):
        m = int(rng.integers(1, 12))
        p = rng.integers(0, 9, m) / 40 if number % 2 else rng.random(m) ** 3
        ordered = sorted(p)
        expected = []
        for value in p:
            needed = [(m - i) * q for i, q in enumerate(ordered) if q <= value]
            expected.append(min(1, max(needed[: ordered.index(value) + 1])))
        assert holm(p) == pytest.approx(expected, rel=0, abs=1e-12)


def test_holm_on_the_example_of_a_textbook():
    """p = .01, .04, .03, .005: 4 x .005, 3 x .01, 2 x .03, and .04 raised to .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=0, abs=1e-12)
    assert holm([0.6, 0.9]).tolist() == [1, 1]


@pytest.mark.parametrize("p_values", [[-0.1], [0.5, 1.1]])
def test_holm_takes_probabilities(p_values):
    with pytest.raises(ValueError, match=r"must be in 0\.\.1"):
        holm(p_values)


def test_iqm_by_definition():
    """The integral of the sorted values over the middle half, each being as wide as 1 / n."""
    for values, more in samples(1000, 1, 15):
        x = sorted(values + more)
        quarter = Fraction(len(x), 4)
        widths = [max(0, min(i + 1, len(x) - quarter) - max(i, quarter)) for i in range(len(x))]
        expected = sum(w * v for w, v in zip(widths, x, strict=True)) / sum(widths) / 10
        assert iqm(tenths(values + more)) == pytest.approx(float(expected), rel=0, abs=1e-12)


def test_iqm_and_whole_trimming():
    assert iqm([0.0, 1, 5]) == pytest.approx((0 / 4 + 1 + 5 / 4) / 1.5)
    x = np.random.default_rng(2).random(12)
    assert iqm(x) == pytest.approx(stats.trim_mean(x, 0.25), rel=0, abs=1e-12)


def test_paired_effect_is_hedges_corrected():
    """Mean 2, standard deviation 1, f = 2: the factor is gamma(1) / gamma(1 / 2) = 1 / sqrt(pi)."""
    assert paired_effect([1.0, 2, 3]) == pytest.approx(2 / math.sqrt(math.pi), rel=1e-12)
    for values, _ in samples(200, 3, 12):
        if len(set(values)) > 1:
            f = len(values) - 1
            factor = math.gamma(f / 2) / math.sqrt(f / 2) / math.gamma((f - 1) / 2)
            expected = factor * statistics.mean(values) / statistics.stdev(values)
            assert paired_effect(tenths(values)) == pytest.approx(expected, rel=0, abs=1e-12)


def test_paired_effect_is_unbiased():
    draws = np.random.default_rng(7).standard_normal((20000, 5)) + 0.8
    effects = [paired_effect(row) for row in draws]
    assert np.mean(effects) == pytest.approx(0.8, abs=4 * np.std(effects) / 20000**0.5)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [0.0] * 5, [93.4 - 93.3, 50.2 - 50.1, 0.1]])
def test_no_paired_effect(values):
    assert paired_effect(values) is None


def test_probability_of_improvement_by_double_loop():
    for a, b in samples(1000, 1, 12):
        wins = sum(Fraction(x > y) + Fraction(x == y, 2) for x in a for y in b)
        assert probability_of_improvement(tenths(a), tenths(b)) == pytest.approx(
            float(wins / (len(a) * len(b))), rel=0, abs=1e-12
        )


@pytest.mark.parametrize("function", [over_seeds, sign_flip, holm, iqm, paired_effect])
@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0]]])
def test_bad_values(function, values):
    with pytest.raises(ValueError, match="at least one number without NaN"):
        function(values)


def test_movement_is_the_mean_over_pairs_of_repeats():
    assert movement([[1, 1, 2], [2, 1, 5], [5, 1, 3]]).tolist() == [(1 + 4 + 3) / 3, 0, (3 + 1 + 2) / 3]


def test_movement_does_not_grow_with_the_number_of_repeats():
    """Of normal values it is 2 / sqrt(pi) of their standard deviation, by 2 repeats as by 9."""
    rng = np.random.default_rng(6)
    for repeats in (2, 3, 9):
        assert movement(rng.normal(0, 3, (repeats, 50_000))).mean() == pytest.approx(6 / math.pi**0.5, rel=0.02)


@pytest.mark.parametrize(("n", "m"), [(2, 3), (3, 2), (3, 3), (2, 5)])
def test_movement_is_compared_over_all_splits_of_whole_repeats(n, m):
    rng = np.random.default_rng(n + 10 * m)
    a, b = rng.integers(0, 9, (n, 4)), rng.integers(0, 4, (m, 4))
    found, pooled = movement_test(a, b), np.concatenate([a, b])
    gaps = []
    for chosen in itertools.combinations(range(n + m), n):
        rest = [i for i in range(n + m) if i not in chosen]
        gaps.append(abs(movement(pooled[list(chosen)]).mean() - movement(pooled[rest]).mean()))
    observed = movement(a).mean() - movement(b).mean()
    assert found.moves[0] - found.moves[1] == pytest.approx(observed)
    assert found.p == np.mean(np.array(gaps) >= abs(observed) - 1e-9)
    assert (found.n, found.exact, found.smallest_p) == ((n, m), True, (1 + (n == m)) / math.comb(n + m, n))


def test_movement_of_items_that_move_together_is_no_difference():
    """One factor moves all 30 items of a repeat: p <= .05 comes up in 5% of 600 null draws, less than 8% (three
    sigma), where a test over the items would find it in a quarter."""
    rng = np.random.default_rng(7)
    loads = rng.normal(0, 1, 30)
    draws = [rng.normal(0, 1, (9, 1)) * loads + rng.normal(0, 0.3, (9, 30)) for _ in range(600)]
    assert np.mean([movement_test(x[:5], x[5:]).p <= 0.05 for x in draws]) < 0.08


def test_movement_finds_a_side_that_moves_three_times_as_far():
    rng = np.random.default_rng(8)
    a, b = rng.normal(0, 3, (8, 30)), rng.normal(0, 1, (10, 30))
    found = movement_test(a, b, rng)
    assert not found.exact and found.p == found.smallest_p == 1 / 10_000


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [1.0, 2.0], [[1.0], [math.nan]]])
def test_movement_needs_two_repeats_of_numbers(values):
    with pytest.raises(ValueError, match="two repeats at least"):
        movement(values)
