"""The runs that artefacts of searches show: under the limits of the paper, with the picks trained from scratch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senas_bench.experiments.limits import latency_table_for, used_latency_table
from senas_bench.experiments.study import Setting

if TYPE_CHECKING:
    from senas_bench.analysis.artefacts import Artefact
    from senas_bench.analysis.artefacts.artefact import Search
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.spec import RunSpec


def check_limits(artefacts: Mapping[str, Artefact], methods: Mapping[str, Sequence[str]], setting: Setting) -> None:
    """Refuse options of searches under limits where no artefact shows any."""
    rows = _rows(artefacts, methods)
    if setting.train_within_limit and not rows:
        raise ValueError(f"--train-within-limit is of searches, and {', '.join(artefacts)} shows none; leave it out")
    if setting.latency_table is not None and not any(row.cost == "latency" for row in rows):
        what = "searches under limits of latency"
        raise ValueError(f"--latency-table is of {what}, and {', '.join(artefacts)} shows none; leave it out")


def search_specs(
    artefacts: Mapping[str, Artefact],
    methods: Mapping[str, Sequence[str]],
    setting: Setting,
    *,
    finished: bool,
    dry: bool,
) -> list[RunSpec]:
    """The runs of artefacts that show searches under the paper's limits, each once; the picks are retrained.

    Args:
        finished: They may only be finished, under limits that the folder keeps a table of, which else a line names, and
            that methods can train within if they are to: others are left out.
        dry: They are only counted, and no latency is measured.

    Raises:
        ValueError: A method cannot train within a limit, and is to.
    """
    from senas_bench.experiments.settings import check_within, limit_settings
    from senas_bench.methods import method_named

    specs: dict[str, RunSpec] = {}
    unknown: dict[str, None] = {}
    rows = _rows(artefacts, methods)
    if setting.train_within_limit and finished:
        rows = [row for row in rows if method_named(row.method).trains_within]
    elif setting.train_within_limit:
        check_within({row.method: method_named(row.method) for row in rows})
    for row in rows:
        sizes: Preset = setting.sizes(row.space)
        table = None
        if row.cost == "latency":
            kept = used_latency_table if finished else partial(latency_table_for, measure=not dry)
            table = kept(row.space, sizes, setting)
            if table is None and finished:
                unknown[row.space] = None
                continue
        limit = limit_settings(row.cost, level=row.level, table=table, in_training=setting.train_within_limit)
        for arch in _given(row, sizes, setting, limit) if row.archs else [None]:
            spec = setting.spec(row.method, sizes, space=row.space, limit=limit, arch=arch, retrain=True)
            specs[spec.run_id] = spec
    for space in sorted(unknown.keys() & _limited_by_latency(setting.results)) if unknown else ():
        where = f"{setting.results} keeps no latency table of its networks; name one with --latency-table"
        print(f"runs under limits of latency in {space} are left out: {where}", file=sys.stderr)
    return list(specs.values())


def _rows(artefacts: Mapping[str, Artefact], methods: Mapping[str, Sequence[str]]) -> list[Search]:
    """The searches that artefacts show of these methods."""
    return [row for name, group in methods.items() for row in artefacts[name].searches if row.method in group]


def _limited_by_latency(results: Path) -> set[str]:
    """The spaces of a folder's finished runs under a limit of latency."""
    from senas_bench.experiments.store import RunStore

    specs = [record.spec for record in RunStore(results).records()]
    return {spec.space for spec in specs if spec.settings.get("limit", {}).get("cost") == "latency"}


def _given(row: Search, sizes: Preset, setting: Setting, limit: Mapping[str, Any]) -> list[str]:
    """The first archs of the sample that meets the limit, of which the searches of the row's space know all."""
    from senas_bench.experiments.settings import limit_of
    from senas_bench.experiments.studies import skeleton_for
    from senas_bench.experiments.tasks import report_archs
    from senas_bench.spaces import SPACES

    space = SPACES[row.space]
    within = limit_of(row.space, limit, skeleton_for(row.space, sizes, setting.images(sizes)))
    archs = report_archs(space.whole, max(sizes.rank_archs, row.archs), within)[: row.archs]
    return [space.to_str(tuple(arch)) for arch in archs.tolist()]
