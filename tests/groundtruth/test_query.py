"""What a query may be, and which may be mixed."""

import itertools

import pytest

from senas_bench.groundtruth import Query, check_same_protocol

TEST = Query("cifar10", "test", 200, "mean")
SEED = Query("cifar10", "test", 200, 777)
VAL = Query("cifar100", "val", 12, "mean")


def test_query_names_its_column_and_back():
    grid = itertools.product(("cifar10", "cifar100", "imagenet16-120"), ("val", "test"), (12, 200), ("mean", 0, 777))
    queries = [Query(*fields) for fields in grid]
    assert [Query.from_column(str(query)) for query in queries] == queries
    assert str(TEST) == "cifar10_test_acc_200ep"
    assert str(SEED) == "cifar10_test_acc_200ep_seed777"


@pytest.mark.parametrize(
    "fields, message",
    [
        (("cifar-100", "test", 200, "mean"), "did you mean 'cifar100'"),
        (("cifar10", "valid", 200, "mean"), "one of: val, test"),
        (("cifar10", "test", 90, "mean"), "one of: 12, 200"),
        (("cifar10", "test", "200", "mean"), "one of: 12, 200"),
        (("cifar10", "test", 200.0, "mean"), "one of: 12, 200"),
        (("cifar10", "test", 200, "median"), "'mean' or one training seed"),
        (("cifar10", "test", 200, -1), "'mean' or one training seed"),
        (("cifar10", "test", 200, True), "'mean' or one training seed"),
    ],
)
def test_query_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        Query(*fields)


def test_columns_of_single_seeds_and_of_both_splits():
    assert Query.from_column("cifar100_valtest_acc_200_seed1") == Query("cifar100", "valtest", 200, 1)
    assert Query.from_column("cifar100_valtest_acc_200ep_seed1") == Query("cifar100", "valtest", 200, 1)
    assert str(Query("cifar100", "valtest", 12, "mean")) == "cifar100_valtest_acc_12ep"


def test_the_two_models_of_cifar10_have_their_names():
    on_test = Query.from_column("cifar10-valid_test_acc_200ep_seed777")
    assert (
        on_test == Query("cifar10-valid", "test", 200, 777) and str(on_test) == "cifar10-valid_test_acc_200ep_seed777"
    )
    assert on_test.model == Query("cifar10", "val", 12, "mean").model == "cifar10-valid"
    assert TEST.model == "cifar10" and VAL.model == "cifar100"
    with pytest.raises(ValueError, match="its validation accuracy is dataset cifar10, split val"):
        Query("cifar10-valid", "val", 200, "mean")
    with pytest.raises(ValueError, match=r"no split valtest: val is the cifar10-valid model.*of no model"):
        Query("cifar10", "valtest", 200, "mean")
    with pytest.raises(ValueError, match="split valtest"):
        Query.from_column("cifar10_valtest_acc_200ep")


@pytest.mark.parametrize(
    "first, second, message",
    [
        (("cifar10", "val", 200, "mean"), ("cifar10", "test", 200, "mean"), "trained on 25,000 images, and test"),
        (("cifar10-valid", "test", 200, 777), ("cifar10", "test", 200, 777), "trained on 25,000 images, and test"),
        (("cifar100", "val", 12, "mean"), ("cifar100", "val", 200, "mean"), "12 and 200 epochs are two trainings"),
        (("cifar100", "val", 200, 777), ("cifar100", "val", 200, "mean"), "one seed has the noise of one training"),
        (("cifar10", "val", 12, 777), ("cifar10", "test", 200, "mean"), "on cifar10, val.*12 and 200.*one seed"),
    ],
)
def test_protocols_are_not_mixed(first, second, message):
    first, second = Query(*first), Query(*second)
    for pair in ((first, second), (second, first), (first, first, second)):
        with pytest.raises(ValueError, match=message) as error:
            check_same_protocol(*pair)
        assert str(first) in str(error.value) and "must not be mixed" in str(error.value)


def test_what_may_be_compared():
    check_same_protocol()
    check_same_protocol(TEST, TEST)
    check_same_protocol(Query("cifar10", "val", 200, 777), Query("cifar10-valid", "test", 200, 888))
    check_same_protocol(Query("cifar100", "val", 12, "mean"), Query("imagenet16-120", "test", 12, "mean"))
