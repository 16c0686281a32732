"""Ways to judge what a row compares, as higher or steadier: each gives its numbers and its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from senas_bench.analysis.metrics.statistics import (
    MIN_PAIRS,
    MIN_SEEDS,
    movement_test,
    over_seeds,
    paired_effect,
    probability_of_improvement,
    sign_flip,
    spread_test,
)
from senas_bench.analysis.output.formats import fixed, span

HOLDS, FAILS, UNDECIDED, FIXED, NO_RUNS = WORDS = (
    "holds", "does not hold", "undecided", "fixed by the preset", "no runs",
)  # fmt: skip
ALIKE = 0.5
"""Points within which two picks are comparable."""
LEADS = {"steadier": "steadier", "moves": "less steady"}
"""What the side that is ahead is, where it is not higher."""
THIRD = 0.4
"""The largest ratio of costs that is still about a third; the paper's is 0.33."""


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
        ranks: `(repeats, archs)` ranks of each side, where values are of archs; None where values are of seeds.
        undecidable: Why no number of seeds decides it; empty where seeds can.
    """

    reading: str
    column: str | None
    names: tuple[str, str]
    first: Mapping[int, float]
    second: Mapping[int, float]
    judge: str = "higher"
    remark: str = ""
    digits: int = 3
    ranks: tuple[np.ndarray, np.ndarray] | None = None
    undecidable: str = ""

    @property
    def common(self) -> list[int]:
        """Seeds, or archs, that both sides have."""
        return sorted(set(self.first) & set(self.second))

    @property
    def enough(self) -> bool:
        """Whether as many seeds stand behind the numbers as a verdict needs."""
        return (min(map(len, self.ranks)) if self.ranks else len(self.common)) >= MIN_PAIRS

    def paired(self) -> tuple[np.ndarray, np.ndarray]:
        """`(n,)` values of each side on what both have."""
        return np.array([self.first[key] for key in self.common]), np.array([self.second[key] for key in self.common])

    def sides(self, first: float, second: float) -> str:
        """A number of each side, as a reader sees them."""
        numbers = [f"{x:,.0f}" if self.digits == 0 else fixed(x, self.digits) for x in (first, second)]
        return f"{self.names[0]} {numbers[0]}, {self.names[1]} {numbers[1]}"

    def leader(self, lead: float) -> str:
        """Who is ahead, given how far the first side is."""
        word = LEADS.get(self.judge, "higher")
        return "both are equal" if lead == 0 else f"{self.names[0 if lead > 0 else 1]} is {word}"


def _higher(measured: Measured) -> dict[str, Any]:
    """Is the first side higher? A sign-flip test of the paired differences."""
    if not measured.common:
        return {}
    first, second = measured.paired()
    apart = ~np.isclose(first, second, rtol=1e-9, atol=0)  # rounding alone is no difference
    test = sign_flip((first - second) * apart, np.random.default_rng(0))
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


def _moves(measured: Measured) -> dict[str, Any]:
    """Do the archs of the first side move further between repeats? Whole repeats are split anew between the sides."""
    if measured.ranks is None or not all(map(len, measured.ranks)):
        return {}
    if min(map(len, measured.ranks)) < 2:
        few = f"how far archs move needs two repeats of each side; n = {_sample(measured)}."
        return {"n": 1, "verdict": UNDECIDED, "numbers": few, "per_seed": _values(measured)}
    test = movement_test(*measured.ranks, np.random.default_rng(0))
    first, second = test.moves
    facts = {"n": min(test.n), "first": first, "second": second, "difference": first - second}
    text = f"{measured.sides(first, second)}; difference {signed(first - second, measured.digits)}"
    return facts | _tested(measured, f"{text}; n = {_sample(measured)}", test.p, test.smallest_p, first - second)


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
    """Does the first side cost at most `THIRD` of the second? By the means of exact counts, paired or not; where the
    preset fixes both, nothing is decided."""
    if not measured.first or not sum(measured.second.values()):
        return {}
    counts = [list(side.values()) for side in (measured.first, measured.second)]
    first, second = (float(np.mean(side)) for side in counts)
    seeds = span([len(side) for side in counts])
    text = f"{measured.sides(first, second)} per search; ratio {first / second:.3f}; exact counts, n = {seeds} seeds"
    facts = {"n": min(map(len, counts)), "first": first, "second": second, "ratio": first / second}
    word = FIXED if measured.undecidable else HOLDS if first <= THIRD * second else FAILS
    facts |= {"verdict": word, "numbers": _remarked(measured, text)}
    return facts | {"per_seed": _values(measured)}


JUDGES = {"higher": _higher, "steadier": _steadier, "moves": _moves, "alike": _alike, "cheaper": _cheaper}


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
    tested = measured.enough and not measured.undecidable
    facts = {"verdict": UNDECIDED, "tested": tested, "p": p, "smallest_p": smallest_p}
    facts |= {"numbers": f"{text}; p = {p:.3g}, smallest attainable {smallest_p:.3g}", "after": after}
    return facts | {"ahead": int(np.sign(lead)), "per_seed": _values(measured)}


def _sample(measured: Measured) -> str:
    if measured.ranks is None:
        return f"{len(measured.common)} seeds"
    return f"{' and '.join(str(len(side)) for side in measured.ranks)} repeats of {len(measured.common)} archs"


def _remarked(measured: Measured, text: str) -> str:
    return " ".join(part for part in (f"{text}.", measured.undecidable, measured.remark) if part)


def _values(measured: Measured) -> list[dict[str, Any]]:
    """What each seed, or arch, gave; None where a side lacks it."""
    key = "seed" if measured.ranks is None else "arch"
    every = sorted({*measured.first, *measured.second})
    return [{key: i, "first": measured.first.get(i), "second": measured.second.get(i)} for i in every]
