"""Where scores stand: beside the methods of `results/`, on the same archs and against the same truth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.join import final_rankings
from senas_bench.analysis.metrics.correlation import kendall_tau
from senas_bench.experiments.store import RunStore
from senas_bench.groundtruth.query import Query

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth

LADDER = Path(__file__).with_name("standing.csv")
"""Written by `benchmarks/standing.py` from the runs of `FOLDERS`, never by hand."""
FOLDERS = ("embedded", "cpu-cifar10-short", "cpu-cifar10", "cpu-hybrids")
"""Of `results/`: two studies of one sample, and two of the whole space."""
QUERY = Query("cifar10", "test", 200, "mean")
"""The truth of the ladder, in the table that comes with the package."""


def archs_id(arch_strs: Sequence[str]) -> str:
    """A hash of a set of archs, in any order."""
    return hashlib.sha256("\n".join(sorted(arch_strs)).encode()).hexdigest()[:16]


def folder_rows(folder: Path, truth: GroundTruth) -> pd.DataFrame:
    """The methods of a results folder by how their last, widest rankings do, best first.

    Args:
        folder: With `runs/`; all rankings must be of the same archs.
        truth: That has `QUERY`.

    Returns:
        `folder`, `preset`, `images`, `truth` and `archs` (hashes), `n` archs, `method`, `seeds`, and of tau-b over
        seeds `tau_mean` and `tau_std` (ddof = 1; NaN of one seed). Methods that rank nothing are left out.
    """
    store, runs = RunStore(folder), []
    for record in store.records():
        sets = final_rankings(store.scores(record)) if record.scores_sha256 else {}
        ranking = sets.get("full", sets.get("sample"))
        if ranking is None:
            continue
        archs = list(ranking.index)
        spec = record.spec
        row = {"folder": folder.name, "preset": spec.preset, "images": spec.dataset, "truth": truth.sha256[:16]}
        row |= {"archs": archs_id(archs), "n": len(archs), "method": spec.method}
        runs.append(row | {"tau": kendall_tau(ranking.to_numpy(), np.asarray(truth.accuracy(QUERY, archs)))})
    frame = pd.DataFrame(runs)
    found: Any = frame.groupby([name for name in frame if name != "tau"], sort=False)["tau"]
    table = found.agg(seeds="count", tau_mean="mean", tau_std="std").reset_index()
    return table.sort_values(["tau_mean", "method"], ascending=[False, True], ignore_index=True)


def standing(arch_strs: Sequence[str], truth: GroundTruth, query: Query) -> dict[str, Any]:
    """The rows of the ladder that some scores may stand beside, as JSON values.

    Returns:
        `rows`, best tau first, with the columns of `folder_rows` (`tau_std` None of one seed); empty where no row has
        the same archs and the same truth, and then `reason` says why, else it is None.
    """
    ladder = pd.read_csv(LADDER)
    if query != QUERY or truth.sha256[:16] not in set(ladder["truth"]):
        reason = (
            "the ladder's truth is cifar10 test accuracy after 200 epochs, of the table that comes with the package"
        )
        return {"rows": [], "reason": reason}
    same: Any = ladder[ladder["archs"] == archs_id(arch_strs)]
    if same.empty:
        sizes = sorted(set(ladder["n"]))
        reason = (
            f"its rankings are of the whole space ({sizes[-1]:,} archs) or of the sample of {sizes[0]} that "
            f"`senas-bench rank --rank-archs {sizes[0]}` scores, these are {len(arch_strs):,} others; tau of other "
            "archs is not comparable. To compare with a method on the archs that you share, give a file of it too: "
            "one that `senas-bench rank` wrote, or a Parquet file of `results/*/runs`"
        )
        return {"rows": [], "reason": reason}
    rows = same.sort_values("tau_mean", ascending=False).astype(object).where(same.notna(), None).to_dict("records")
    return {"rows": rows, "reason": None}
