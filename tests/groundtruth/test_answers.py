"""What a table says of itself and of one arch."""

import numpy as np
import pytest

from senas_bench.groundtruth import Query, benchmark_info, benchmark_query
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

TEST = Query("cifar10", "test", 200, "mean")
SEED = Query("cifar10", "test", 200, 777)
VAL = Query("cifar100", "val", 12, "mean")
ARCHS = tuple(arch_to_str(arch) for arch in official_archs()[:4])


def test_info_and_query_are_plain_values(small):
    info = benchmark_info(small())
    assert (info["archs"], info["full_space"], len(info["queries"])) == (4, False, 2)
    assert info["queries"][1] == {
        "column": "cifar10_test_acc_200ep_seed777",
        "dataset": "cifar10",
        "split": "test",
        "epochs": 200,
        "seeds": 777,
        "measured": 3,
        "best_arch": ARCHS[2],
        "best_index": 2,
        "best_accuracy": 92.0,
    }
    assert benchmark_info(small(columns={VAL: [np.nan] * 4}))["queries"][0]["best_index"] is None
    answer = {"arch_index": 1, "arch_str": ARCHS[1], "accuracy": {str(TEST): 93.0, str(SEED): None}}
    assert benchmark_query(small(), ARCHS[1]) == benchmark_query(small(), "1") == benchmark_query(small(), 1) == answer
    assert benchmark_query(small(), 1, seeds="mean")["accuracy"] == {str(TEST): 93.0}
    for arch, fields, message in (
        (15_625, {}, "0 to 15624"),
        ("-1", {}, "0 to 15624"),
        (9, {}, "no row for"),
        ("|conv~0|", {}, "bad arch string"),
        (1, {"dataset": "cifar100"}, "no column with dataset cifar100; it has: cifar10_test"),
        (1, {"epochs": 90}, "one of: 12, 200"),
    ):
        with pytest.raises(ValueError, match=message):
            benchmark_query(small(), arch, **fields)
