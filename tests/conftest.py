"""Fixtures shared by all tests."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from senas_bench.cli.app import COLLECT


def pytest_configure() -> None:
    """As a command does: what all modules made at import is not gone through again and again."""
    gc.set_threshold(*COLLECT)


os.environ.setdefault("OMP_NUM_THREADS", "1")
"""As `make test` has it, before torch reads it: with two threads sums are rounded otherwise."""


settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.load_profile("suite")
"""The cases that hypothesis draws are the same each time."""


@pytest.fixture(autouse=True)
def torch_as_before() -> Iterator[None]:
    """A test begins with the same draws of torch whatever ran before, and leaves its number of threads as it was.

    torch is not imported for this: a test that imports it itself begins with draws of its own.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    if torch:
        torch.manual_seed(0)
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(before)


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether tests of faults run at full size, as `make faults` has them."""
    return os.environ.get("SENAS_FAULTS") == "full"


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


@pytest.fixture(scope="session")
def through_interruptions():
    """Call something with a progress that fails at the first event which no earlier call has seen, again and
    again until a call comes through: its result, and the number of events. With `every` it fails at each such number
    of new events only."""
    from senas_bench.progress import SilentProgress

    class Interrupted(Exception):
        pass

    class Interrupting(SilentProgress):
        def __init__(self, seen: set, every: int) -> None:
            self.seen, self.every = seen, every
            self.now = None

        def stage(self, name, total, done=0):
            self.now = name
            self._event("begins")

        def step(self, done, **numbers):
            self._event(done)

        def message(self, text):
            self._event(text)

        def _event(self, what):
            if (self.now, what) not in self.seen:
                self.seen.add((self.now, what))
                if len(self.seen) % self.every == 0:
                    raise Interrupted

    def through(call, most: int, every: int = 1):
        seen: set = set()
        while True:
            try:
                return call(Interrupting(seen, every)), len(seen)
            except Interrupted:
                assert len(seen) < most

    return through
