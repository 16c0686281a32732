"""Two results folders side by side: what differs between them, and whether the seeds can tell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.table3 import ALPHA
from senas_bench.analysis.metrics.statistics import (
    MIN_PAIRS,
    holm,
    over_seeds,
    paired_effect,
    permutation_test,
    probability_of_improvement,
    sign_flip,
)
from senas_bench.analysis.output.formats import Table, plus_minus, span, words
from senas_bench.analysis.paper.judges import signed
from senas_bench.analysis.style import in_order
from senas_bench.experiments.spec import RunRecord

TABLES = ("table3", "fig8")
SETTINGS = ("preset", "space", "images", "data_id", "device", "ground_truth", "ground_truth_sha256", "seeds")
PICK = "pick"
QUANTITIES = ("tau full", "tau sample", "tau top 10%", "tau current", "tau same", PICK)
ANOTHER = "not comparable: another ground truth"
OTHERS = "not comparable: other archs"


@dataclass(frozen=True)
class Values:
    """What one folder has of one method.

    Args:
        by_seed: Tau, or accuracy in percent.
        archs: Archs behind a tau, as `span`; none for a pick.
        truth: Hash of the ground truth.
        column: `<dataset>_<split>` of it.
    """

    by_seed: Mapping[int, float]
    archs: str
    truth: str
    column: str


def compare(a: Path, b: Path) -> Table:
    """Compare the rendered `tables/{table3,fig8}.json` of two results folders, method by method.

    For each method in both: tau on each set, and the test accuracy of the pick, on cifar10 or the first test column
    that both have. Paired by seed with a sign-flip test where the seeds of one folder are all in the other, else an
    unpaired permutation test; Holm-adjusted over the methods of one quantity. Fewer than 8 seeds decide nothing, and
    no difference counts as real where the ground truths differ, or the numbers of archs behind a tau, which shift the
    taus of all seeds alike.

    Args:
        a, b: Results folders; differences are B minus A.

    Returns:
        `compare`. `meta["rows"]` holds the numbers (tau, percent), `meta["settings"]` what differs between the folders.

    Raises:
        ValueError: A folder without those tables, a file that is no rendered table, or no method in both.
    """
    folders = [_read(Path(a)), _read(Path(b))]
    column = _column(folders, a, b)
    sides = [dict(_values(tables, column)) for tables in folders]
    common = _in_order(set(sides[0]) & set(sides[1]))
    if not common:
        raise ValueError(f"no method has numbers in both {a} and {b}; render the same artefacts in both")
    rows = [_row(*key, *(side[key] for side in sides)) for key in common]
    _adjust(rows)
    settings = _differences(folders, Path(a), Path(b))
    meta = {"title": "A against B, method by method", "a": str(a), "b": str(b), "settings": settings, "rows": rows}
    alone = [_in_order(set(side) - set(common)) for side in sides]
    return Table("compare", _display(rows), {"Notes": _notes(meta, column, alone)}, meta)


def _read(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The rendered tables of a folder by name."""
    paths = {name: folder / "tables" / f"{name}.json" for name in TABLES}
    tables = {name: _json(path) for name, path in paths.items() if path.is_file()}
    if not tables:
        missing = " or ".join(f"tables/{name}.json" for name in TABLES)
        raise ValueError(
            f"{folder} has no {missing}; run `senas-bench reproduce {' '.join(TABLES)} --results {folder}` first"
        )
    for name, table in tables.items():
        if not isinstance(table, dict) or not {"rows", *SETTINGS} <= set(table):
            raise ValueError(f"{paths[name]} is no table of this version; run `senas-bench reproduce {name}` again")
    return tables


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); run `senas-bench reproduce` again") from None


def _column(folders: list[dict[str, Mapping[str, Any]]], a: Path, b: Path) -> str:
    """The column that both are compared on."""
    found = [{column for table in tables.values() for column in _columns(table)} for tables in folders]
    shared = sorted(found[0] & found[1])
    if not shared:
        raise ValueError(f"{a} and {b} share no test accuracy; render both with one ground truth")
    judged = {_judged(tables["table3"]) for tables in folders if "table3" in tables}
    first = judged.pop() if len(judged) == 1 else "cifar10_test"
    return next((column for column in (first, "cifar10_test") if column in shared), shared[0])


def _judged(table3: Mapping[str, Any]) -> str:
    """The column that the taus of a table 3 refer to; files from before it was written down have none."""
    return table3.get("column", "cifar10_test")


def _columns(table: Mapping[str, Any]) -> Iterator[str]:
    for row in table["rows"]:
        if row.get("column", "").endswith("_test"):
            yield row["column"]
        yield from (key.removesuffix("_mean") for key in row if key.endswith("_test_mean"))


def _values(tables: Mapping[str, Mapping[str, Any]], column: str) -> Iterator[tuple[tuple[str, str], Values]]:
    """By quantity and method; a later one of the same key replaces an earlier one."""
    for name, table in tables.items():
        truth = table["ground_truth_sha256"]
        for row in table["rows"]:
            if name == "table3":
                yield from _table3_values(row, truth, column, with_taus=column == _judged(table))
            elif row["column"] == column and (taus := _by_seed(row, "tau")):
                archs = span([row["archs_min"], row["archs_max"]])
                yield (f"tau {row['set']}", row["method"]), Values(taus, archs, truth, column)


def _table3_values(
    row: Mapping[str, Any], truth: str, column: str, with_taus: bool
) -> Iterator[tuple[tuple[str, str], Values]]:
    if picks := _by_seed(row, column):
        yield (PICK, row["method"]), Values(picks, "", truth, column)
    if not with_taus:
        return
    if taus := _by_seed(row, "tau_full"):
        yield (f"tau {row['tau_full_set']}", row["method"]), Values(taus, str(row["tau_full_n"]), truth, column)
    if taus := _by_seed(row, "tau_top10"):
        yield ("tau top 10%", row["method"]), Values(taus, str(row["tau_full_n"]), truth, column)
    if taus := _by_seed(row, "tau_current"):
        archs = span([row["tau_current_n_min"], row["tau_current_n_max"]])
        yield ("tau current", row["method"]), Values(taus, archs, truth, column)


def _by_seed(row: Mapping[str, Any], key: str) -> dict[int, float]:
    return {run["seed"]: run[key] for run in row["per_seed"] if run.get(key) is not None}


def _in_order(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Quantities in order, then methods as `STYLES` has them."""
    keys = set(keys)
    places = in_order({method for _, method in keys})
    return sorted(keys, key=lambda key: (QUANTITIES.index(key[0]), places.index(key[1])))


def _row(quantity: str, method: str, a: Values, b: Values) -> dict[str, Any]:
    """Means, difference and test of one method, the p-value not yet adjusted."""
    seeds_a, seeds_b = set(a.by_seed), set(b.by_seed)
    common = sorted(seeds_a & seeds_b)
    paired = seeds_a <= seeds_b or seeds_b <= seeds_a
    x, y = (np.array([side.by_seed[s] for s in (common if paired else sorted(side.by_seed))]) for side in (a, b))
    rng = np.random.default_rng(0)
    test = sign_flip(y - x, rng) if paired else permutation_test(y, x, rng)
    row = {"method": method, "quantity": quantity, "archs_a": a.archs, "archs_b": b.archs, "paired": paired}
    row |= {"n_a": len(x), "n_b": len(y), "same_truth": a.truth == b.truth, "tested": False}
    for name, values in (("a", x), ("b", y)):
        summary = over_seeds(values)
        row |= {f"{name}_mean": summary.mean, f"{name}_std": summary.std}
    row |= {"difference": test.difference, "effect": paired_effect(y - x) if paired else None}
    row |= {"improvement": probability_of_improvement(y, x), "p": None, "smallest_p": None, "p_holm": None}
    alike = row["same_truth"] and a.archs == b.archs
    if alike:
        row |= {"p": test.p, "smallest_p": test.smallest_p, "tested": min(len(x), len(y)) >= MIN_PAIRS}
    unlike = OTHERS if row["same_truth"] else ANOTHER
    verdict = f"undecided (a verdict needs {MIN_PAIRS} seeds)" if alike else unlike
    every = [{"seed": s, "a": a.by_seed.get(s), "b": b.by_seed.get(s)} for s in sorted(seeds_a | seeds_b)]
    return row | {"verdict": verdict, "per_seed": every}


def _adjust(rows: list[dict[str, Any]]) -> None:
    """Decide the tested rows: Holm over the methods of each quantity."""
    for quantity in dict.fromkeys(row["quantity"] for row in rows):
        group = [row for row in rows if row["tested"] and row["quantity"] == quantity]
        for row, p in zip(group, holm([row["p"] for row in group]).tolist() if group else (), strict=True):
            side = "B HIGHER" if row["difference"] > 0 else "B LOWER"
            row |= {"p_holm": p, "verdict": side if p <= ALPHA else f"no difference shown at p <= {ALPHA}"}


def _differences(folders: list[dict[str, Mapping[str, Any]]], a: Path, b: Path) -> list[dict[str, str]]:
    """What differs, first by the tables, then by the settings of the runs: `setting`, `a`, `b` in words."""
    sides = [
        {name: "; ".join(dict.fromkeys(_word(table[name]) for table in tables.values())) for name in SETTINGS}
        for tables in folders
    ]
    found = [{"setting": n, "a": sides[0][n], "b": sides[1][n]} for n in SETTINGS if sides[0][n] != sides[1][n]]
    sizes = [_sizes(folder, tables) for folder, tables in zip((a, b), folders, strict=True)]
    groups: dict[tuple[str, str, str], list[str]] = {}
    shared = sorted(set(sizes[0]) & set(sizes[1]))
    for method in shared:
        for name in sorted(set(sizes[0][method]) | set(sizes[1][method])):
            x, y = (side[method].get(name, "not set") for side in sizes)
            if x != y:
                groups.setdefault((name, x, y), []).append(method)
    for (name, x, y), methods in sorted(groups.items()):
        who = "all methods" if methods == shared else ", ".join(methods)
        found.append({"setting": f"{name} of {who}", "a": x, "b": y})
    return found


def _sizes(folder: Path, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The settings of the runs behind the tables of a folder, by method and dotted name."""
    presets = {table["preset"] for table in tables.values()}
    sizes: dict[str, dict[str, set[str]]] = {}
    for path in sorted((folder / "runs").glob("*.json")):
        try:
            spec = RunRecord.from_json(path.read_text()).spec
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no run record ({error}); remove it and run it again") from None
        for name, value in _flat(spec.settings) if spec.preset in presets else ():
            sizes.setdefault(spec.method, {}).setdefault(name, set()).add(value)
    return {
        method: {name: " or ".join(sorted(values)) for name, values in settings.items()}
        for method, settings in sizes.items()
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _word(item)


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _display(rows: list[dict[str, Any]]) -> pd.DataFrame:
    cells = []
    for row in rows:
        digits = 2 if row["quantity"] == PICK else 3
        sides = [plus_minus(row, name, digits) for name in ("a", "b")]
        n = f"{row['n_a']} pairs" if row["paired"] else f"{row['n_a']}, {row['n_b']}"
        p = [f"{row[name]:.3g}" if row[name] is not None else "–" for name in ("p", "p_holm", "smallest_p")]
        cells.append([row["method"], row["quantity"], *sides, signed(row["difference"], digits), n, *p, row["verdict"]])
    names = ["method", "quantity", "A", "B", "B - A", "n", "p", "Holm p", "smallest p", "verdict"]
    return pd.DataFrame(cells, columns=names)


def _notes(meta: Mapping[str, Any], column: str, alone: list[list[tuple[str, str]]]) -> list[str]:
    rows = meta["rows"]
    notes = [f"A is {meta['a']}, B is {meta['b']}. Truth column: {words(column)}; the pick's accuracy is in percent."]
    notes += [f"Differs: {item['setting']}: {item['a']} in A, {item['b']} in B." for item in meta["settings"]]
    if not all(row["same_truth"] for row in rows):
        notes.append("The ground truths differ: a difference may be theirs, so none is called real and none is tested.")
    notes.append(
        "n pairs: by seed, two-sided sign-flip test; two counts: unpaired, permutation test of the means. Holm p is "
        f"adjusted over the methods of one quantity. A verdict needs {MIN_PAIRS} seeds; ± is the standard deviation "
        "over the seeds compared (ddof = 1)."
    )
    sizes = dict.fromkeys((r["quantity"], r["archs_a"], r["archs_b"]) for r in rows if r["archs_a"] != r["archs_b"])
    notes += [f"{quantity}: {x} archs in A, {y} in B; not tested." for quantity, x, y in sizes]
    for side, keys in zip("AB", alone, strict=True):
        for quantity in dict.fromkeys(quantity for quantity, _ in keys):
            notes.append(f"Only in {side}: {quantity} of {', '.join(m for name, m in keys if name == quantity)}.")
    return notes
