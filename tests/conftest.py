"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real images and benchmark tables of the development data."""
    folder = Path(os.environ.get("SENAS_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"development data not found at {folder}; set SENAS_SHARED")
    return folder


@pytest.fixture(scope="session")
def benchmark_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up benchmark of all archs, with what training from scratch needs: for methods that declare `needs_truth`.

    An arch is the better the more 3x3 convolutions it has, and takes the longer: 5 seconds an epoch and one more each.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from senas_bench.spaces.nasbench201 import CONV3, arch_to_str, official_archs

    archs = np.array(official_archs())
    convolutions, noise = (archs == CONV3).sum(axis=1), np.random.default_rng(0).random(len(archs))
    columns = {
        "arch_str": [arch_to_str(arch) for arch in official_archs()],
        "cifar10_val_acc_12ep": 50 + 5 * convolutions + noise,
        "cifar10_test_acc_200ep": 60 + 5 * convolutions + noise[::-1],
        "cifar10-valid_train_s_per_epoch": 5.0 + convolutions,
    }
    path = tmp_path_factory.mktemp("benchmark") / "made-up.parquet"
    pq.write_table(pa.table(columns), path)
    return path
