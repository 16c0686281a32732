"""The validation split that all runs share."""

import numpy as np
import pytest

from senas_bench.data.splits import train_valid_split


@pytest.mark.parametrize(("n", "valid"), [(2, 1), (10, 3), (10, 9), (50_000, 5_000)])
def test_parts_are_disjoint_and_complete(n, valid):
    train, held_out = train_valid_split(n, valid)
    assert (len(train), len(held_out)) == (n - valid, valid)
    assert train.dtype == held_out.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([train, held_out])), np.arange(n))


def test_split_is_the_same_each_time_and_ignores_global_state():
    np.random.seed(1)
    first = train_valid_split(100, 10)
    np.random.seed(2)
    second = train_valid_split(100, 10)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_another_seed_is_another_split():
    assert not np.array_equal(train_valid_split(100, 10)[1], train_valid_split(100, 10, seed=1)[1])


def test_a_smaller_validation_part_is_contained_in_a_larger_one():
    assert set(train_valid_split(100, 10)[1]) < set(train_valid_split(100, 50)[1])


@pytest.mark.parametrize("valid", [-1, 0, 10, 11])
def test_sizes_out_of_range_are_refused(valid):
    with pytest.raises(ValueError, match="between 1 and 9"):
        train_valid_split(10, valid)
