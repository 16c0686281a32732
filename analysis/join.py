"""Where runs meet the ground truth: what every artefact checks, asks and says first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from senas_bench.analysis.metrics import correlation
from senas_bench.analysis.output.formats import listed, span, words
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.style import in_order
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.spec import RunRecord, canonical_json
from senas_bench.experiments.studies import preset_of
from senas_bench.spaces import SPACES
from senas_bench.spaces.nasbench201 import prune

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth, Query

EPOCHS = 200
"""Artefacts read the truth after 200 epochs; 12-epoch accuracy never enters them."""
TOP_NOTE = (
    "tau top 10%: tau among the truly best tenth of the archs ranked, from which a search should pick; none where that "
    f"is fewer than {correlation.MIN_TOP}."
)
Scores = Callable[[RunRecord], pd.DataFrame]
"""Reads the score table of a record that has one, as `RunStore.scores`."""


def run_key(record: RunRecord) -> tuple[str, int]:
    """Method and seed."""
    return record.spec.method, record.spec.seed


def one_setting(records: Sequence[RunRecord], *, across_spaces: bool = False) -> dict[str, Any]:
    """What all runs of an artefact share: `preset`, `space`, `images`, `data_id`, `device`; and `changed_sizes`.

    Args:
        across_spaces: The artefact shows several spaces; sizes need only agree within each.

    Raises:
        ValueError: No records, or settings that may not share a table.
    """
    if not records:
        raise ValueError("no finished runs to put in a table; run `senas-bench reproduce` first")
    fields = {"preset": "preset", "space": "space", "images": "dataset", "data_id": "data_id", "device": "device"}
    if across_spaces:
        del fields["space"]
    for field in fields.values():
        values = sorted({getattr(record.spec, field) for record in records})
        if len(values) > 1:
            raise ValueError(f"runs with {field} {' and '.join(values)} never share a table; give the runs of one")
    sizes = {(record.spec.space, canonical_json(record.spec.settings.get("preset"))) for record in records}
    if len(sizes) > len({space for space, _ in sizes}):
        raise ValueError(f"runs with different sizes of preset {records[0].spec.preset}; give the runs of one version")
    shared = {name: getattr(records[0].spec, field) for name, field in fields.items()}
    return shared | {"changed_sizes": changed_sizes(records)}


def changed_sizes(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Sizes and hyper-parameters of runs that are not those of their preset: the values that they have, by name."""
    changed: dict[str, set[str]] = {}
    for spec in (record.spec for record in records):
        kind = spec.settings.get("method", {}).get("recipe")
        if spec.preset not in PRESETS or spec.space not in SPACES:
            continue
        preset = preset_of(spec.space, spec.preset).for_images(spec.dataset)
        if kind is not None and kind not in preset.recipes:
            continue
        for part, own in preset.to_settings(kind).items():
            found = spec.settings.get(part, {})
            for name in {*own, *found}:
                if name in found and found[name] != own.get(name):
                    value = found[name]
                    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
                    changed.setdefault(name, set()).add(text)
    return {name: sorted(values) for name, values in sorted(changed.items())}


def by_method(
    records: Sequence[RunRecord], methods: Sequence[str] | None, defaults: Sequence[str]
) -> dict[str, list[RunRecord]]:
    """Records per method in row order, by seed.

    Args:
        methods: Rows in order; default `defaults`, then any other method as `STYLES` has them.

    Raises:
        ValueError: A method has two runs of one seed or runs with different settings, or no method has runs.
    """
    found = {record.spec.method for record in records}
    groups = {}
    for method in methods or (*defaults, *in_order(found - set(defaults))):
        group = sorted((r for r in records if r.spec.method == method), key=run_key)
        if len(set(map(run_key, group))) < len(group):
            raise ValueError(f"method {method} has two runs of one seed; give one record per method and seed")
        if len({canonical_json(r.spec.settings) for r in group}) > 1:
            raise ValueError(f"method {method} has runs with different settings; give the runs of one")
        if group:
            groups[method] = group
    if not groups:
        raise ValueError(f"no runs of {', '.join(methods or ())}; there are runs of: {', '.join(sorted(found))}")
    return groups


def accuracy_queries(truth: GroundTruth) -> dict[str, Query]:
    """The truth's seed-mean 200-epoch queries by column `<dataset>_<split>`, the paper's columns first.

    Raises:
        ValueError: It has none.
    """
    queries = {f"{q.dataset}_{q.split}": q for q in truth.queries() if q.epochs == EPOCHS and q.seeds == "mean"}
    if not queries:
        raise ValueError(f"ground truth {truth.name} has no mean {EPOCHS}-epoch accuracy; import a table that has")
    return {c: queries[c] for c in (*paper.COLUMNS, *sorted(set(queries) - set(paper.COLUMNS))) if c in queries}


def primary_column(queries: Mapping[str, Query], images: str) -> str:
    """The column that regret and correlations refer to: the test accuracy on the images that the runs saw; in a truth
    without that, on cifar10; without that too, its first column."""
    return next((column for column in (f"{images}_test", "cifar10_test") if column in queries), next(iter(queries)))


def every_column(queries: Mapping[str, Query], images: str) -> list[str]:
    """All columns of `accuracy_queries`."""
    return list(queries)


def only_primary(queries: Mapping[str, Query], images: str) -> list[str]:
    """The `primary_column` alone."""
    return [primary_column(queries, images)]


def tested_columns(queries: Mapping[str, Query], images: str) -> list[str]:
    """The test accuracies; where the truth has none, the `primary_column`."""
    return [column for column in queries if column.endswith("_test")] or only_primary(queries, images)


def unmeasured(truth: GroundTruth, query: Query, archs: Sequence[str]) -> list[str]:
    """Those of some arch strings that have no accuracy."""
    known = dict(zip(truth.arch_strs, truth.columns[query].tolist(), strict=True))
    return [arch for arch in archs if math.isnan(known.get(arch, math.nan))]


def sizes_in_words(changed: Mapping[str, Sequence[str]]) -> str:
    """What `changed_sizes` says."""
    return ", ".join(f"{words(name)} {' or '.join(values)}" for name, values in changed.items())


def setting_meta(setting: Mapping[str, Any], truth: GroundTruth, seeds: Sequence[int]) -> dict[str, Any]:
    """The `meta` values that every artefact has beside its `title` and `rows`."""
    return {
        **setting,
        "ground_truth": truth.name,
        "ground_truth_sha256": truth.sha256,
        "seeds": sorted(set(seeds)),
    }


def setting_notes(meta: Mapping[str, Any], counts: Sequence[int], columns: Sequence[str]) -> list[str]:
    """What a reader must know first: preset, images, truth, n, and that a proxy is one.

    Args:
        meta: As `setting_meta`.
        counts: Seeds of each row.
        columns: Of the truth, that the artefact shows.
    """
    images = meta["images"]
    notes = [
        f"Preset {meta['preset']}, images {images}, space {meta['space']}, device {meta['device']}.",
        f"Ground truth {meta['ground_truth']} (sha256 {meta['ground_truth_sha256'][:12]}): mean accuracy, {EPOCHS} "
        "epochs, percent.",
        f"n = {span(counts)} seeds ({listed(meta['seeds'])}); ± is the standard deviation over seeds (ddof = 1).",
    ]
    if meta["changed_sizes"]:
        notes.insert(0, f"Not the sizes of preset {meta['preset']}: {sizes_in_words(meta['changed_sizes'])}.")
    if meta["preset"] != "paper":
        truths = ", ".join(dict.fromkeys(column.rpartition("_")[0] for column in columns))
        notes.append(
            f"A proxy: preset {meta['preset']} trains small networks on {images}, the truth is of full networks on "
            f"{truths}. Compare rows with each other, not with the paper's numbers."
        )
    return notes


def final_rankings(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The last ranking of each set: rank scores, higher is better, indexed by arch string."""
    return {name: _ranks(rows) for name, rows in _last_rows(table).items()}


def _last_rows(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of the last ranking of each set, of two archs or more."""
    found = {}
    for name, group in table[table["epoch"] == table["epoch"].max()].groupby("set", observed=True):
        last: Any = group[group["stage"] == group["stage"].max()]
        # runs of one stage used to store their only ranking twice, row by row the same
        last = last.drop_duplicates(["arch_str", "tier", "score"])
        if last["arch_str"].duplicated().any():
            raise ValueError(f"the last `{name}` ranking of a run holds an arch twice; remove that run and repeat it")
        if len(last) > 1:
            found[str(name)] = last
    return found


def distinct_functions(arch_strs: Iterable[str]) -> int:
    """How many functions some archs of NAS-Bench-201 are: pruned archs, see docs/method.md 5.

    Where dead edges make all differences vanish, a ranking of the archs ranks nothing.
    """
    archs = np.array([SPACES["nasbench201"].from_str(arch) for arch in arch_strs])
    return len(np.unique(prune(archs), axis=0))


def first_stage_ranking(table: pd.DataFrame, whole: str) -> pd.Series | None:
    """As `final_rankings` has it, the ranking of set `whole` before the first shrink; None of a run without one."""
    first: Any = table[(table["set"] == whole) & (table["stage"] == 1)]
    return _ranks(first) if len(first) > 1 and table["stage"].to_numpy().max() > 1 else None


def _ranks(rows: pd.DataFrame) -> pd.Series:
    ranks = correlation.tiered(rows["tier"].to_numpy(), rows["score"].to_numpy())
    return pd.Series(ranks, index=rows["arch_str"].to_numpy())


def final_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The widest final ranking of a run's score table: `full`, else `sample`, else `current`.

    Returns:
        `arch_str`, `score` and `estimate`, best first. The score is a rank, higher is better: archs that a shrink
        dropped stand below all others. The estimate is what the estimator gave, in its unit, when it last saw the arch.

    Raises:
        ValueError: The run ends without a ranking of at least 2 archs.
    """
    rankings = _last_rows(table)
    widest = next((rankings[name] for name in ("full", "sample", "current") if name in rankings), None)
    if widest is None:
        raise ValueError("the run ends without a ranking of at least 2 archs; choose a method that ranks")
    ranked = {"arch_str": widest["arch_str"], "score": _ranks(widest).to_numpy(), "estimate": widest["score"]}
    return pd.DataFrame(ranked).sort_values("score", ascending=False, kind="stable", ignore_index=True)
