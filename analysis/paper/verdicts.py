"""Do the paper's claims hold in these runs? One row per claim, reading and dataset."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from senas_bench.analysis.artefacts.table3 import ALPHA
from senas_bench.analysis.metrics.statistics import (
    MIN_PAIRS,
    MIN_SEEDS,
    holm,
    over_seeds,
    paired_effect,
    probability_of_improvement,
    sign_flip,
    spread_test,
)
from senas_bench.analysis.output.formats import Table, fixed, span, words
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.style import STYLES, baselines, facts_of, in_order, tuned

HOLDS, FAILS, UNDECIDED, NO_RUNS = WORDS = ("holds", "does not hold", "undecided", "no runs")
PAPERS = "se-nas"
"""The method that the claims are about; ours are those tuned ones that have a baseline, as it has."""
OURS = "ours, tuned with CIFAR-10 truth in view"
RIVALS = ("rsps", "darts-v1", "darts-v2", "setn", "enas")
NEAR = {"cifar10_test": 1.0, "cifar100_test": 2.0, "imagenet16-120_test": 2.0}
"""Points to the best arch that count as close, by column; the paper's own rows are 0.90, 1.60 and 1.65 away."""
ALIKE = 0.5
"""Points within which two picks are comparable."""
THIRD = 0.4
"""The largest ratio of costs that is still about a third; the paper's is 0.33."""
GAP = 0.3
"""How much lower the tau of a plain supernet is."""
PLAIN = ("supernet-gap", "supernet-unsteady")
"""Claims about a plain supernet, to which no method of ours is put."""
WORK = {
    "images trained": ("images_trained",),
    "images trained and scored": ("images_trained", "images_scored"),
    "paths evaluated forward": ("path_evaluations",),
    "paths evaluated forward and backward": ("path_evaluations", "backward_paths"),
}
"""What a search costs, as sums of counts of Table 3; left out where its rows lack one."""
READINGS = {
    "as the paper reads it, archs alive at the end against all archs of the baseline": ("current", "whole"),
    "both on the archs alive at the end": ("current", "same"),
    "both on the whole space": ("whole", "whole"),
}
"""Sets of the method and of its baseline that a tau may be read on (docs/method.md 2.3)."""


@dataclass(frozen=True)
class Measured:
    """What one row compares. A claim is put so that it says: the first side is the higher, steadier or cheaper one.

    Args:
        reading: What is compared, in words.
        column: `<dataset>_<split>` of the truth; None where no truth enters.
        names: Of the two sides.
        first, second: Value by seed, or by arch; empty where there are no runs.
        judge: Key of `JUDGES`.
        remark: What a reader must know to judge the numbers.
        digits: Decimals of the values.
        repeats: Seeds behind each value where values are of archs; None where values are of seeds.
    """

    reading: str
    column: str | None
    names: tuple[str, str]
    first: Mapping[int, float]
    second: Mapping[int, float]
    judge: str = "higher"
    remark: str = ""
    digits: int = 3
    repeats: int | None = None

    @property
    def common(self) -> list[int]:
        """Seeds, or archs, that both sides have."""
        return sorted(set(self.first) & set(self.second))

    @property
    def enough(self) -> bool:
        """Whether as many seeds stand behind the numbers as a verdict needs."""
        return (len(self.common) if self.repeats is None else self.repeats) >= MIN_PAIRS

    def paired(self) -> tuple[np.ndarray, np.ndarray]:
        """`(n,)` values of each side on what both have."""
        return np.array([self.first[key] for key in self.common]), np.array([self.second[key] for key in self.common])

    def sides(self, first: float, second: float) -> str:
        """A number of each side, as a reader sees them."""
        numbers = [f"{x:,.0f}" if self.digits == 0 else fixed(x, self.digits) for x in (first, second)]
        return f"{self.names[0]} {numbers[0]}, {self.names[1]} {numbers[1]}"

    def leader(self, lead: float) -> str:
        """Who is ahead, given how far the first side is."""
        word = "steadier" if self.judge == "steadier" else "higher"
        return "both are equal" if lead == 0 else f"{self.names[0 if lead > 0 else 1]} is {word}"


def verdicts(tables: Mapping[str, Table]) -> Table:
    """Decide every claim of `paper.CLAIMS` by the runs behind some rendered artefacts.

    A claim over seeds holds, or does not, when a two-sided test over at least 8 paired seeds gives a Holm-adjusted
    p <= 0.05 and the claimed side, or the other, is ahead; else it is undecided. A family is all tested rows of one
    dataset: the same claim on three datasets is the same runs looked at three times. Methods of ours have families of
    their own. Equivalence goes by the 95% interval of the difference, cost by exact counts.

    Args:
        tables: By name, as this version renders them: table1, fig1, fig6, fig7, fig8, table3. Any may be absent; those
            of searches, which no truth ranks, decide nothing here.

    Returns:
        `verdicts`. `meta["rows"]` holds the numbers behind each verdict (accuracies in percent, differences in points
        or tau, `per_seed` values), `meta["counts"]` how often each verdict came up, `meta["families"]` the families
        and their number of tests.
    """
    tables = {name: table for name, table in tables.items() if "ground_truth" in table.meta}
    rows = [row for claim in paper.CLAIMS for row in _claim_rows(claim, tables)]
    families = _adjust(rows)
    found = [row["verdict"] for row in rows]
    meta = {
        "title": "Does the claim hold?",
        **{key: _joined(table.meta[key] for table in tables.values()) for key in ("preset", "images", "ground_truth")},
        "seeds": sorted({seed for table in tables.values() for seed in table.meta["seeds"]}),
        "counts": {word: found.count(word) for word in WORDS},
        "families": families,
        "rows": rows,
    }
    columns = ["claim", "reading", "where", "verdict", "numbers", "preset"]
    frame = pd.DataFrame([[row[name] for name in columns] for row in rows], columns=columns)
    return Table("verdicts", frame, tuple(_notes(meta, tables)), meta)


def _joined(values: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(values)) or "–"


def _claim_rows(claim: paper.Claim, tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """The rows of a claim, tests not yet adjusted; of ours only those that have runs."""
    missing = [name for name in claim.needs if name not in tables]
    if missing:
        return [_row(claim) | {"numbers": f"run `senas-bench reproduce {' '.join(missing)}` first"}]
    given, rows = [tables[name] for name in claim.needs], []
    gaps: dict[str, list[Measured]] = {}
    for subject in (PAPERS,) if claim.id in PLAIN else (PAPERS, *tuned(baselines())):
        for measured in RULES[claim.id](*given, subject):
            if facts := JUDGES[measured.judge](measured):
                rows.append(_row(claim, measured, subject) | facts | {"preset": given[0].meta["preset"]})
            elif subject == PAPERS:
                gaps.setdefault(measured.reading, []).append(measured)
    rows += [_gap(claim, group) for group in gaps.values()]
    return rows or [_row(claim) | {"numbers": f"{given[0].name} holds nothing that this claim compares"}]


def _gap(claim: paper.Claim, group: Sequence[Measured]) -> dict[str, Any]:
    """One row for what no seed has, whatever the number of datasets."""
    columns = ", ".join(words(measured.column) for measured in group if measured.column)
    row = _row(claim, replace(group[0], column=None, reading=f"{columns}: {group[0].reading}".removeprefix(": ")))
    return row | {"numbers": f"no seed has both sides: {' / '.join(group[0].names)}"}


def _row(claim: paper.Claim, measured: Measured | None = None, subject: str = "") -> dict[str, Any]:
    """A row with every key, and no numbers yet."""
    ours = facts_of(subject).tuned
    reading = measured.reading if measured else "–"
    reading = f"{words(measured.column)}: {reading}" if measured and measured.column else reading
    row = {"id": claim.id, "claim": claim.text, "reading": f"{reading} ({OURS})" if ours else reading}
    row |= {"where": claim.where, "verdict": NO_RUNS, "numbers": "", "preset": "–"}
    row |= {"subject": subject or None, "column": measured.column if measured else None, "ours": ours, "tested": False}
    numbers = ("n", "first", "second", "difference", "low", "high", "ratio", "effect", "improvement")
    return row | dict.fromkeys((*numbers, "p", "smallest_p", "family", "p_holm", "smallest_p_holm")) | {"per_seed": []}


def _higher(measured: Measured) -> dict[str, Any]:
    """Is the first side higher? A sign-flip test of the paired differences."""
    if not measured.common:
        return {}
    first, second = measured.paired()
    test = sign_flip(first - second, np.random.default_rng(0))
    facts, text = _difference(measured, first, second)
    return facts | _tested(measured, text, test.p, test.smallest_p, test.difference)


def _steadier(measured: Measured) -> dict[str, Any]:
    """Does the first side spread less over seeds? A paired test of absolute deviations from the median."""
    if not measured.common:
        return {}
    test = spread_test(*measured.paired(), np.random.default_rng(0), paired=True)
    if test is None:
        few = f"a spread needs {MIN_SEEDS} seeds; n = {_sample(measured)}."
        return {"n": len(measured.common), "verdict": UNDECIDED, "numbers": few, "per_seed": _values(measured)}
    mine, theirs = test.spreads
    facts = {"n": test.n[0], "first": mine, "second": theirs, "difference": mine - theirs}
    facts["ratio"] = mine / theirs if theirs else None
    text = f"mean absolute deviation from the median: {measured.sides(mine, theirs)}"
    text += f", ratio {mine / theirs:.2f}" if theirs else ""
    return facts | _tested(measured, f"{text}; n = {_sample(measured)}", test.p, test.smallest_p, theirs - mine)


def _alike(measured: Measured) -> dict[str, Any]:
    """Are both within `ALIKE` of each other? By the 95% interval of the mean paired difference."""
    if not measured.common:
        return {}
    facts, text = _difference(measured, *measured.paired())
    word, low, high = UNDECIDED, *(facts.get(bound, facts["difference"]) for bound in ("low", "high"))
    if measured.enough and low >= -ALIKE and high <= ALIKE:
        word = HOLDS
    elif measured.enough and (low > ALIKE or high < -ALIKE):
        word = FAILS
    numbers = f"{text}; comparable means inside ±{ALIKE}; {measured.leader(facts['difference'])}"
    return facts | {"verdict": word, "numbers": _remarked(measured, numbers), "per_seed": _values(measured)}


def _cheaper(measured: Measured) -> dict[str, Any]:
    """Does the first side cost at most `THIRD` of the second? By the means of exact counts, paired or not."""
    if not measured.first or not sum(measured.second.values()):
        return {}
    counts = [list(side.values()) for side in (measured.first, measured.second)]
    first, second = (float(np.mean(side)) for side in counts)
    seeds = span([len(side) for side in counts])
    text = f"{measured.sides(first, second)} per search; ratio {first / second:.3f}; exact counts, n = {seeds} seeds"
    facts = {"n": min(map(len, counts)), "first": first, "second": second, "ratio": first / second}
    facts |= {"verdict": HOLDS if first <= THIRD * second else FAILS, "numbers": _remarked(measured, text)}
    return facts | {"per_seed": _values(measured)}


JUDGES = {"higher": _higher, "steadier": _steadier, "alike": _alike, "cheaper": _cheaper}


def _difference(measured: Measured, first: np.ndarray, second: np.ndarray) -> tuple[dict[str, Any], str]:
    """Means, their difference with its interval, and effect sizes: as numbers and in words."""
    summary, effect = over_seeds(first - second), paired_effect(first - second)
    improvement = probability_of_improvement(first, second)
    facts = {"n": len(first), "first": float(first.mean()), "second": float(second.mean()), "effect": effect}
    facts |= {"difference": summary.mean, "improvement": improvement}
    text = f"{measured.sides(facts['first'], facts['second'])}; difference {signed(summary.mean, measured.digits)}"
    if summary.interval:
        facts["low"], facts["high"] = summary.interval
        text += f", 95% interval [{', '.join(fixed(bound, measured.digits) for bound in summary.interval)}]"
    text += "" if effect is None else f", effect d_z {effect:.2f}"
    return facts, f"{text}, P(higher) {improvement:.2f}; n = {_sample(measured)}"


def signed(value: float, digits: int) -> str:
    """A difference with its sign; no negative zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _tested(measured: Measured, text: str, p: float, smallest_p: float, lead: float) -> dict[str, Any]:
    """A p-value that awaits its adjustment; on too few seeds it is shown and not tested."""
    after = _remarked(measured, f"; {measured.leader(lead)}")
    facts = {"verdict": UNDECIDED, "tested": measured.enough, "p": p, "smallest_p": smallest_p}
    facts |= {"numbers": f"{text}; p = {p:.3g}, smallest attainable {smallest_p:.3g}", "after": after}
    return facts | {"ahead": int(np.sign(lead)), "per_seed": _values(measured)}


def _sample(measured: Measured) -> str:
    if measured.repeats is None:
        return f"{len(measured.common)} seeds"
    return f"{len(measured.common)} archs, {measured.repeats} repeats"


def _remarked(measured: Measured, text: str) -> str:
    return f"{text}. {measured.remark}" if measured.remark else f"{text}."


def _values(measured: Measured) -> list[dict[str, Any]]:
    """What each seed, or arch, gave; None where a side lacks it."""
    key = "seed" if measured.repeats is None else "arch"
    every = sorted({*measured.first, *measured.second})
    return [{key: i, "first": measured.first.get(i), "second": measured.second.get(i)} for i in every]


def _adjust(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Decide the tested rows, family by family, and finish the sentences of all; returns the size of each family."""
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["tested"]:
            families.setdefault(words(row["column"]) + (f" ({OURS})" if row["ours"] else ""), []).append(row)
    for family, group in families.items():
        for row, p in zip(group, holm([row["p"] for row in group]).tolist(), strict=True):
            row |= {"family": family, "p_holm": p, "smallest_p_holm": min(1.0, len(group) * row["smallest_p"])}
            row["numbers"] += f"; Holm-adjusted over {len(group)} tests p = {p:.3g}, smallest attainable "
            row["numbers"] += f"{row['smallest_p_holm']:.3g}"
            if p <= ALPHA and row["ahead"]:
                row["verdict"] = HOLDS if row["ahead"] > 0 else FAILS
    for row in rows:
        row.pop("ahead", None)
        untested = row["p"] is not None and not row["tested"]
        row["numbers"] += f"; not tested below {MIN_PAIRS} seeds" * untested + row.pop("after", "")
    return {family: len(group) for family, group in families.items()}


def _end_taus(table: Table, subject: str, judge: str) -> Iterator[Measured]:
    """Fig. 8: tau at the end, in each reading."""
    baseline = STYLES[subject].against
    for column in _columns(table):
        for reading, sets in READINGS.items():
            yield _taus(table, column, (subject, baseline), sets, reading, judge)


def _first_stage_taus(table: Table, subject: str) -> Iterator[Measured]:
    """Fig. 7: tau just before the second shrink."""
    readings = {reading: sets for reading, sets in READINGS.items() if "same" not in sets}  # it holds some archs only
    for epoch, column in itertools.product(table.meta["shrinks"][1:2], _columns(table)):
        for reading, sets in readings.items():
            yield _taus(
                table, column, (subject, STYLES[subject].against), sets, f"epoch {epoch}, {reading}", epoch=epoch
            )


def _taus(
    table: Table,
    column: str,
    names: tuple[str, str],
    sets: tuple[str, str],
    reading: str,
    judge: str = "higher",
    **where: Any,
) -> Measured:
    """Two rows of taus; `whole` is the full space where all sides that need it ranked it, else the fixed sample."""
    wide = [name for name, wanted in zip(names, sets, strict=True) if wanted == "whole"]
    full = all(_find(table, method=name, set="full", column=column, **where) for name in wide)
    chosen = [("full" if full else "sample") if wanted == "whole" else wanted for wanted in sets]
    rows = [_find(table, method=name, set=one, column=column, **where) for name, one in zip(names, chosen, strict=True)]
    archs = [span([row["archs_min"], row["archs_max"]]) if row else "no" for row in rows]
    remark = f"{archs[0]} archs" if archs[0] == archs[1] else f"{archs[0]} archs against {archs[1]}"
    return Measured(reading, column, names, _by_seed(rows[0]), _by_seed(rows[1]), judge, f"{remark}.")


def _keeps_most(table: Table, subject: str, stage: int, top: int) -> Iterator[Measured]:
    """Fig. 6: is more than half of the top operators alive after a shrink?"""
    key = f"recall_{top}"
    kept = _by_seed(_find(table, method=subject, stage=stage), key)
    expected = [value[key] for value in table.meta["random_reference"] if value["stage"] == stage]
    remark = f"Dropping at random keeps {_mean_span(expected)} on average." if expected else ""
    reading = f"recall of the top {top} after shrink {stage}"
    yield Measured(reading, _primary(table), (subject, "half"), kept, dict.fromkeys(kept, 0.5), remark=remark)


def _mean_span(values: Sequence[float]) -> str:
    """`0.333` or `0.300 to 0.333`."""
    return " to ".join(dict.fromkeys(fixed(value, 3) for value in (min(values), max(values))))


def _keeps_more(table: Table, subject: str) -> Iterator[Measured]:
    """Fig. 6: the top 10 after the second shrink, against two other ways to drop."""
    kept = _by_seed(_find(table, method=subject, stage=2), "recall_10")
    for rival in ("random-shrink", "magnitude-shrink"):
        theirs = _by_seed(_find(table, method=rival, stage=2), "recall_10")
        yield Measured(f"against {rival}", _primary(table), (subject, rival), kept, theirs)


def _near_optimal(table: Table, subject: str) -> Iterator[Measured]:
    """Table 3: is the pick closer to the best arch than `NEAR`?"""
    best = _find(table, method="optimal") or {}
    for column in _columns(table):
        picks = _by_seed(_find(table, method=subject), column)
        limit = dict.fromkeys(picks, best[f"{column}_mean"] - NEAR[column])
        reading, names = f"within {NEAR[column]:g} of the best arch", (subject, f"the best arch less {NEAR[column]:g}")
        yield Measured(reading, column, names, picks, limit, digits=2)


def _picks(table: Table, subject: str, rivals: Sequence[str], judge: str) -> Iterator[Measured]:
    """Table 3: the test accuracy of the pick against those of other methods."""
    for column in _columns(table):
        for rival in rivals:
            sides = [_by_seed(_find(table, method=name), column) for name in (subject, rival)]
            yield Measured(f"against {rival.upper()}", column, (subject, rival), *sides, judge, digits=2)


def _cost(table: Table, subject: str) -> Iterator[Measured]:
    """Table 3: what a search costs, next to GDAS, in units that no machine changes."""
    rows = [_find(table, method=name) for name in (subject, "gdas")]
    runs = [run for row in rows if row for run in row["per_seed"]]
    preset = table.meta["preset"]
    remark = f"Preset {preset} fixes how long each method trains: this is about the preset." * (preset != "paper")
    for name, counts in WORK.items():
        if all(run.get(count) is not None for run in runs for count in counts):
            sides = [
                {run["seed"]: sum(run[count] for count in counts) for run in row["per_seed"]} if row else {}
                for row in rows
            ]
            yield Measured(name, None, (subject, "gdas"), *sides, "cheaper", remark, digits=0)


def _supernet_gap(table: Table, _: str) -> Iterator[Measured]:
    """Table 1: stand-alone tau less `GAP` against supernet tau."""
    names = (f"stand-alone less {GAP}", "supernet")
    for column in _columns(table):
        alone, same, whole = (
            _by_seed(_find(table, ranking=ranking, column=column))
            for ranking in ("stand-alone", "supernet, same archs", "supernet")
        )
        here = {seed: tau - GAP for seed, tau in alone.items()}
        yield Measured("stand-alone trained here, both on the same archs", column, names, here, same)
        splits = [column.replace("_test", split) for split in ("_test", "_valtest", "_val")]  # what single seeds have
        given = next(filter(None, (_find(table, ranking=BENCHMARK, column=split) for split in splits)), None)
        level = dict.fromkeys(whole, given["tau_mean"] - GAP) if given else {}
        yield Measured("stand-alone as in the benchmark, both on all archs", column, names, level, whole, remark=_TAKEN)


BENCHMARK = "stand-alone, benchmark"
_TAKEN = "The tau of the benchmark's own trainings is taken as given; only the seeds of the supernet vary."


def _supernet_unsteady(table: Table, _: str) -> Iterator[Measured]:
    """Fig. 1: the interquartile range of each arch's rank over repeats."""
    ranks = [table.meta["rows"][0].get(name, ()) for name in ("supernet_ranks", "stand_alone_ranks")]
    sides = [dict(enumerate(table.meta["spread"].get(name) or ())) for name in ("supernet", "stand-alone")]
    yield Measured(
        "interquartile range of the rank",
        _primary(table),
        ("supernet", "stand-alone"),
        *sides,
        digits=1,
        repeats=min(map(len, ranks)),
        remark="Archs are the sample here, their ranks depend on each other.",
    )


RULES = {
    "supernet-gap": _supernet_gap,
    "supernet-unsteady": _supernet_unsteady,
    "keeps-top-21": lambda table, subject: _keeps_most(table, subject, 1, 21),
    "keeps-top-10": lambda table, subject: _keeps_most(table, subject, 2, 10),
    "keeps-more": _keeps_more,
    "tau-first-stage": _first_stage_taus,
    "tau-higher": lambda table, subject: _end_taus(table, subject, "higher"),
    "tau-steadier": lambda table, subject: _end_taus(table, subject, "steadier"),
    "near-optimal": _near_optimal,
    "beats-rivals": lambda table, subject: _picks(table, subject, RIVALS, "higher"),
    "matches-gdas": lambda table, subject: _picks(table, subject, ("gdas",), "alike"),
    "third-of-cost": _cost,
}
"""What a claim compares: `(*tables it needs, subject) -> rows`."""


def _find(table: Table, **where: Any) -> Mapping[str, Any] | None:
    """The row with these values."""
    return next((row for row in table.meta["rows"] if all(row.get(key) == value for key, value in where.items())), None)


def _by_seed(row: Mapping[str, Any] | None, key: str = "tau") -> dict[int, float]:
    """The values of a row by seed, without undefined ones."""
    runs = row["per_seed"] if row else ()
    return {run["seed"]: run[key] for run in runs if run.get(key) is not None}


def _columns(table: Table) -> list[str]:
    """Test columns that the truth of a table has, in the paper's order."""
    rows = table.meta["rows"]
    return [c for c in NEAR if any(row.get("column") == c or row.get(f"{c}_mean") is not None for row in rows)]


def _primary(table: Table) -> str:
    """The column of an artefact that has one."""
    return table.meta.get("column", "cifar10_test")


def _notes(meta: Mapping[str, Any], tables: Mapping[str, Table]) -> list[str]:
    notes = []
    settings: dict[tuple[str, ...], list[str]] = {}
    for name, table in sorted(tables.items()):
        setting = tuple(table.meta[key] for key in ("preset", "images", "ground_truth"))
        settings.setdefault(setting, []).append(name)
    for (preset, images, truth), names in settings.items():
        proxy = "" if preset == "paper" else "a proxy of the paper's setting: its verdicts are about this preset only; "
        notes.append(f"At preset {preset} ({proxy}images {images}, truth {truth}): {', '.join(names)}.")
    notes += [
        f"A claim over seeds is decided on at least {MIN_PAIRS} paired seeds by a two-sided test at Holm-adjusted p <= "
        f"{ALPHA}: the sign-flip test of the differences; for spread the same on absolute deviations from the median, "
        "where p is approximate. Undecided says nothing about which side is right.",
        f"Comparable is decided by the 95% interval of the difference: inside ±{ALIKE} points it holds, wholly outside "
        "it does not. Cost is decided by exact counts; seconds do not enter.",
        "d_z is the mean paired difference over its standard deviation, without small-sample bias; P(higher) the "
        "probability that a random seed of the first side exceeds one of the second.",
    ]
    for family, size in meta["families"].items():
        least = int(np.ceil(1 + np.log2(size / ALPHA)))
        notes.append(
            f"Family {family}: {size} tests. Fewer than {max(least, MIN_PAIRS)} paired seeds cannot reach an adjusted "
            f"p <= {ALPHA} in it."
        )
    if ours := {row["subject"] for row in meta["rows"] if row["ours"]}:
        names = ", ".join(in_order(ours | {STYLES[name].against for name in ours}))
        notes.append(f"Extra rows: {names} are {OURS}. The paper makes no claim about them.")
    return notes
