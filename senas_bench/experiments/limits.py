"""Limits of searches as they are asked for, and the latency tables that they need."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.study import Setting

AT_LEAST = 0.9
"""Share of a limit that a network must use, if nothing else is said."""


def limit_asked(
    given: Mapping[str, float | None], at_least: float | None, space: str, sizes: Preset, setting: Setting
) -> Any:
    """The limit that is asked for, as it stands in a spec; None where none is. Refuses one that no network meets.

    Args:
        given: `flops`, `params` (millions) and `latency` (ms), of which one is not None.
        at_least: Share of it that a network must use; None for .9.
        setting: With a device that is settled.
    """
    from senas_bench.experiments.settings import limit_settings

    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) > 1:
        raise ValueError("one limit at a time; give one of --max-flops, --max-params, --max-latency")
    if "latency" not in asked and setting.latency_table is not None:
        raise ValueError("--latency-table is for a limit of latency; add --max-latency, or leave it out")
    if not asked:
        if option := "--at-least" if at_least is not None else "--train-within-limit" * setting.train_within_limit:
            raise ValueError(f"{option} is of a limit; add --max-flops, --max-params or --max-latency, or leave it out")
        return None
    at_least = AT_LEAST if at_least is None else at_least
    if not 0 <= at_least < 1:
        raise ValueError(f"--at-least {at_least} must be at least 0 and below 1")
    ((name, value),) = asked.items()
    if not 0 < value * 1e6 < math.inf:
        raise ValueError(f"--max-{name} {value} must be positive, and below 1e302")
    table = latency_table_for(space, sizes, setting) if name == "latency" else None
    unit = 1.0 if table is not None else 1e6
    high = value * unit
    low = at_least * value * unit
    limit = limit_settings(name, high=high, low=low, table=table, in_training=setting.train_within_limit)
    _check_limit(f"--max-{name} {value:g}", space, limit, sizes, setting.images(sizes))
    return limit


def _check_limit(option: str, space: str, limit: Mapping[str, Any], sizes: Preset, dataset: str) -> None:
    """Refuse a limit that no network meets. Where the images alone say how large the networks are, the run does it."""
    from senas_bench.data import DATASETS, ImageNet
    from senas_bench.experiments.settings import limit_of
    from senas_bench.experiments.studies import skeleton_for
    from senas_bench.names import lookup
    from senas_bench.spaces import space_named
    from senas_bench.spaces.regions import within

    images = lookup("dataset", dataset, DATASETS)
    if isinstance(images, ImageNet) or not (sizes.resolution or getattr(images, "resolution", 0)):
        return
    try:
        within(space_named(space).whole, limit_of(space, limit, skeleton_for(space, sizes, dataset)))
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def latency_table_for(space: str, sizes: Preset, setting: Setting, measure: bool = True) -> Any:
    """The latency table of a space at these sizes: the file given, or the one that the results folder keeps; measured
    where it keeps none, or None."""
    from senas_bench.experiments.studies import skeleton_for
    from senas_bench.latency.tables import LatencyTable

    skeleton = skeleton_for(space, sizes, setting.images(sizes))
    if setting.latency_table is not None:
        table = LatencyTable.load(setting.latency_table)
        table.check(space, skeleton)
        return table
    from senas_bench.latency.measure import is_saved, saved_table

    kept_in = setting.results / "latency"
    if not measure and not is_saved(kept_in, space, skeleton, setting.device, threads=setting.threads):
        return None
    return saved_table(kept_in, space, skeleton, setting.device, _measuring, threads=setting.threads)[0]


def used_latency_table(space: str, sizes: Preset, setting: Setting) -> Any:
    """As `latency_table_for`, of any machine: the one by which most runs of the results folder are limited; None where
    it keeps none."""
    from senas_bench.experiments.settings import limit_settings
    from senas_bench.experiments.store import RunStore
    from senas_bench.experiments.studies import skeleton_for
    from senas_bench.latency.tables import kept_tables

    if setting.latency_table is not None:
        return latency_table_for(space, sizes, setting)
    found = kept_tables(setting.results / "latency", space, skeleton_for(space, sizes, setting.images(sizes)))
    records = RunStore(setting.results).records() if len(found) > 1 else []
    used = [record.spec.settings.get("limit", {}).get("per_edge") for record in records]
    return max(
        found, key=lambda table: used.count(limit_settings("latency", high=1.0, table=table)["per_edge"]), default=None
    )


def _measuring(kept: Path) -> None:
    print(f"measuring the latency of each operator, once; kept in {kept}", file=sys.stderr)
