"""A ground truth and finished runs small enough to check by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.groundtruth import Query
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

ARCHS = [arch_to_str(arch) for arch in official_archs()[:40]]


class FakeTruth:
    """What tables need of a ground truth."""

    def __init__(self, columns: dict[Query, np.ndarray], archs: list[str] = ARCHS, name: str = "toy") -> None:
        self.name, self.sha256, self.arch_strs = name, "ab" * 32, tuple(archs)
        self._columns = {q: dict(zip(archs, values.tolist(), strict=True)) for q, values in columns.items()}

    def queries(self) -> list[Query]:
        return list(self._columns)

    def accuracy(self, query: Query, arch_strs: list[str] | None = None) -> np.ndarray:
        return np.array([self._columns[query][arch] for arch in (self.arch_strs if arch_strs is None else arch_strs)])

    def best(self, query: Query) -> tuple[str, float]:
        return max(self._columns[query].items(), key=lambda item: item[1])


class Runs:
    """Records and their score tables; pass `scores` where a store's is expected."""

    def __init__(self) -> None:
        self.records: list[RunRecord] = []
        self._tables: dict[str, pd.DataFrame] = {}

    def add(self, method: str, seed: int, pick: str, table: pd.DataFrame | None = None, **spec: object) -> None:
        fields = {"preset": "embedded", "space": "nasbench201", "dataset": "digits", "data_id": "d1"} | spec
        work = {"images_trained": 1000 + seed, "images_scored": 300 + seed, "forward_paths": 2_500_000}
        record = RunRecord(
            spec=RunSpec(method=method, seed=seed, **fields),
            pick=pick,
            history=(),
            counters={"search": work, "report": dict.fromkeys(work, 7)},
            scores_sha256=None if table is None else "00",
            timing={"search_seconds": 10.0 + seed, "report_seconds": 1.0},
            provenance={},
        )
        self.records.append(record)
        if table is not None:
            self._tables[record.spec.run_id] = table

    def scores(self, record: RunRecord) -> pd.DataFrame:
        return self._tables[record.spec.run_id]


def score_rows(
    name: str, archs: list[str], scores: np.ndarray, epoch: int = 60, stage: int = 1, tiers=0
) -> pd.DataFrame:
    """Rows of a score table."""
    columns = {"set": name, "stage": stage, "epoch": epoch, "arch_str": archs, "tier": tiers, "score": scores}
    return pd.DataFrame(columns).astype({"stage": "int8", "epoch": "int16", "tier": "int8", "score": "float32"})


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """The builders above, for tests that need other runs or truths."""
    return SimpleNamespace(archs=ARCHS, FakeTruth=FakeTruth, Runs=Runs, score_rows=score_rows)


@pytest.fixture(scope="session")
def query() -> Query:
    return Query("cifar10", "test", 200, "mean")


@pytest.fixture
def truth(query: Query) -> FakeTruth:
    """40 archs with cifar10 test accuracies 50.0, 51.0, ..., 89.0, and a 12-epoch column that no table may use."""
    values = np.arange(50.0, 90.0)
    return FakeTruth({Query("cifar10", "test", 12, "mean"): values - 40, query: values})


@pytest.fixture
def runs() -> Runs:
    """Three seeds of random and spos; two of se-nas, whose archs alive are the 5 truly best plus one."""
    rng, made = np.random.default_rng(0), Runs()
    for seed in range(3):
        made.add("random", seed, ARCHS[seed])
        early = score_rows("full", ARCHS, rng.random(40), epoch=20)
        scores = np.arange(40) + 4 * rng.standard_normal(40)
        made.add("spos", seed, ARCHS[int(scores.argmax())], pd.concat([early, score_rows("full", ARCHS, scores)]))
        if seed < 2:
            alive, tiers = [ARCHS[0], *ARCHS[35:]], np.repeat([0, 2, 1, 0], [1, 19, 15, 5])
            current = score_rows("current", alive, rng.random(6), stage=3)
            table = pd.concat([early, current, score_rows("full", ARCHS, rng.random(40), stage=3, tiers=tiers)])
            made.add("se-nas", seed, ARCHS[38], table)
    return made
