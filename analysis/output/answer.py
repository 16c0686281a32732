"""What a study shows, in a few sentences: their numbers are those of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from senas_bench.analysis.artefacts.ladder_costs import LOOKED_UP
from senas_bench.analysis.artefacts.table3 import ALPHA
from senas_bench.analysis.join import sizes_in_words
from senas_bench.analysis.metrics.statistics import MIN_PAIRS, SignFlip, sign_flip
from senas_bench.analysis.output.formats import Table, fixed, listed, plus_minus, scaled, words
from senas_bench.analysis.paper.judges import signed
from senas_bench.analysis.paper.verdicts import PAPERS
from senas_bench.analysis.style import baselines, is_proxy, shown_as
from senas_bench.experiments.presets import PRESETS
from senas_bench.methods import METHODS

SIZE = "params"
"""The method that ranks by the number of parameters alone: what others must beat."""
Row = Mapping[str, Any]


class Sentence(NamedTuple):
    head: str
    text: str


def answer(tables: Mapping[str, Table], preset: Mapping[str, Any]) -> list[Sentence]:
    """What ranks best, what picks best, whether SE-NAS beats SPOS, how proxies do, and at which scale all this is.

    All but the last come from the ladder; without it, or without the runs that it needs, a sentence is left out.

    Args:
        tables: Rendered artefacts by name, at least one.
        preset: Sizes of the preset as the specs of the runs have them; may be empty.
    """
    ladder = tables.get("ladder")
    meta = ladder.meta if ladder else {"rows": ()}
    rows = [row for row in meta["rows"] if row["kind"] == "method"]
    found = [_ranks_best(rows, meta), _picks_best(rows), _against_baseline(rows), _proxies(rows)] if rows else []
    return [*(sentence for sentence in found if sentence), _scale(tables, preset, rows)]


def _ranks_best(rows: Sequence[Row], meta: Mapping[str, Any]) -> Sentence | None:
    best, second = _first_two(rows, "tau", highest=True)
    if not best:
        return None
    over = f"{_seeds(best[0])}, {best[0]['archs_max']:,} archs" + (", a sample" if meta["set"] == "sample" else "")
    text = f"{_names(best)}: tau {plus_minus(best[0], 'tau', 3)} with {words(meta['column'])} ({over})"
    if second:
        text += f", then {_names([second])} with {plus_minus(second, 'tau', 3)}{_told(best[0], second, 'tau')}"
    size = _find(rows, SIZE)
    if size and size["tau_mean"] is not None and size not in [*best, second]:
        text += f". The number of parameters alone has {fixed(size['tau_mean'], 3)}"
    return Sentence("Ranks best:", f"{text}.")


def _picks_best(rows: Sequence[Row]) -> Sentence | None:
    """Regret, which all methods have; where trainings in the benchmark win, the best that looks none up as well."""
    best, second = _first_two(rows, "regret", highest=False)
    if not best:
        return None
    text = f"{_names(best)}, {_regret(best[0])} points below the best arch ({_seeds(best[0])})"
    text += f", then {_names([second])} with {_regret(second)}{_told(best[0], second, 'regret')}" if second else ""
    if best[0]["cost"] == LOOKED_UP:
        own, _ = _first_two([row for row in rows if row["cost"] != LOOKED_UP], "regret", highest=False)
        text += f". It looks trainings up; of those that do not, {_names(own)} with {_regret(own[0])}" if own else ""
    return Sentence("Picks best:", f"{text}.")


def _against_baseline(rows: Sequence[Row]) -> Sentence | None:
    """The paper's method and its baseline, in tau and in regret, each with a paired test of its own."""
    ours, theirs = _find(rows, PAPERS), _find(rows, baselines()[PAPERS])
    if ours is None or theirs is None:
        return None
    said, wins = [], {}
    for key, does, sign, digits in (("tau", "ranks", 1, 3), ("regret", "picks", -1, 2)):
        test = _paired(ours, theirs, key)
        if test is None:
            continue
        lead = test.difference * sign
        means = " against ".join(fixed(row[f"{key}_mean"], digits) for row in (ours, theirs))
        how = "as well" if lead == 0 else "better" if lead > 0 else "worse"
        numbers = f"{key} {means}, paired difference {signed(test.difference, digits)}, p = {test.p:.2g}"
        of_then = "; archs that it drops keep their scores of then" if key == "tau" else ""
        said.append(f"it {does} {how} ({numbers}{of_then})")
        if _decides(test):
            wins.setdefault(lead > 0, []).append(f"{does.removesuffix('s')}ing")
    if not said:
        return None
    names, seeds = (shown_as(ours["method"]), shown_as(theirs["method"])), _common(ours, theirs)
    verbs = [f"{'beats' if won else 'loses to'} {names[1]} in {' and '.join(how)}" for won, how in wins.items()]
    head = f"{names[0]} {' and '.join(verbs)}" if verbs else f"Whether {names[0]} beats {names[1]} cannot be told here"
    few = f"; a verdict needs {MIN_PAIRS} seeds" if len(seeds) < MIN_PAIRS else ""
    count = f"n = {len(seeds)} seed{'s' * (len(seeds) != 1)}"
    return Sentence(f"{head}:", f"{' and '.join(said)}; {count}, sign-flip tests, not adjusted{few}.")


def _proxies(rows: Sequence[Row]) -> Sentence:
    found = [row for row in rows if is_proxy(row["method"]) and row["tau_mean"] is not None]
    if not found:
        strange = ", ".join(row["method"] for row in rows if row["cost"] != LOOKED_UP and row["method"] not in METHODS)
        but = f" What {strange} is, only the process knows that added it: make the report there." if strange else ""
        return Sentence("Proxies, which train nothing:", f"none of them has finished runs here.{but}")
    ranked, picked = (_first_two(found, key, highest=key == "tau")[0] for key in ("tau", "regret"))
    text = f"of {len(found)}, the best tau is {fixed(ranked[0]['tau_mean'], 3)} ({_names(ranked)}), "
    text += f"the least regret of the pick {fixed(picked[0]['regret_mean'], 2)} ({_names(picked)})"
    size, costs = _find(rows, SIZE), [row["multiply_adds_mean"] for row in found if row["multiply_adds_mean"]]
    if size and size["tau_mean"] is not None:
        above = sum(row["tau_mean"] > size["tau_mean"] for row in found)
        text += f"; {above} of {len(found)} rank better than the number of parameters ({fixed(size['tau_mean'], 3)})"
    text += f", for {' to '.join(dict.fromkeys(map(scaled, (min(costs), max(costs)))))} multiply-adds" if costs else ""
    supernet = _find(rows, baselines()[PAPERS])
    if supernet and supernet["multiply_adds_mean"]:
        text += f" ({shown_as(supernet['method'])} takes {scaled(supernet['multiply_adds_mean'])})"
    return Sentence("Proxies, which train nothing:", f"{text}.")


def _scale(tables: Mapping[str, Table], preset: Mapping[str, Any], rows: Sequence[Row]) -> Sentence:
    metas = [table.meta for table in tables.values()]
    name, images = metas[0]["preset"], metas[0]["images"]
    seeds = sorted({seed for meta in metas for seed in meta["seeds"]})
    text = f"preset {name}, images {images}"
    if {"channels", "cells", "resolution"} <= preset.keys():
        pixels = f" at {preset['resolution']}x{preset['resolution']} pixels" if preset["resolution"] else ""
        text += f"{pixels}, networks of {preset['channels']} channels and {_cells(preset['cells'])} per stage"
        if name != "paper":
            text += f" (the paper's: {PRESETS['paper'].channels} and {PRESETS['paper'].cells})"
    changed = next((meta["changed_sizes"] for meta in metas if meta.get("changed_sizes")), {})
    text += f"; not the preset's {sizes_in_words(changed)}" if changed else ""
    truths = dict.fromkeys(meta["ground_truth"] for meta in metas if "ground_truth" in meta)
    text += f"; truth {', '.join(truths)}" if truths else ""
    text += f"; seeds {listed(seeds)}" if seeds else ""
    costs = [row["multiply_adds_mean"] for row in rows if row["multiply_adds_mean"]]
    text += f"; a search takes up to {scaled(max(costs))} multiply-adds" if costs else ""
    if name == "paper":
        return Sentence("The scale:", f"{text}.")
    proxy = "The truth is of full networks: compare rows with each other, not with the paper's numbers."
    return Sentence("The scale, a proxy of the paper's:", f"{text}. {proxy}")


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _first_two(rows: Sequence[Row], key: str, *, highest: bool) -> tuple[list[Row], Row | None]:
    """Those with the best mean, which may be several, and the next."""
    known = [row for row in rows if row[f"{key}_mean"] is not None]
    known.sort(key=lambda row: -row[f"{key}_mean"] if highest else row[f"{key}_mean"])
    best = [row for row in known if abs(row[f"{key}_mean"] - known[0][f"{key}_mean"]) < 1e-9]
    return best, next(iter(known[len(best) :]), None)


def _find(rows: Sequence[Row], method: str) -> Row | None:
    return next((row for row in rows if row["method"] == method), None)


def _names(rows: Sequence[Row]) -> str:
    *names, last = [shown_as(row["method"]) + (" †" if row["tuned"] else "") for row in rows]
    return f"{', '.join(names)} and {last}" if names else last


def _seeds(row: Row) -> str:
    return f"n = {row['n']} seed{'s' * (row['n'] != 1)}"


def _regret(row: Row) -> str:
    return plus_minus(row, "regret", 2)


def _common(first: Row, second: Row) -> list[int]:
    seeds = [{run["seed"] for run in row["per_seed"]} for row in (first, second)]
    return sorted(seeds[0] & seeds[1])


def _paired(first: Row, second: Row, key: str) -> SignFlip | None:
    """The test of two methods on the seeds that both have; None where they share none."""
    one, other = ({run["seed"]: run[key] for run in row["per_seed"]} for row in (first, second))
    pairs = [(one[seed], other[seed]) for seed in _common(first, second)]
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    return sign_flip(differences, np.random.default_rng(0)) if differences else None


def _decides(test: SignFlip) -> bool:
    return test.n >= MIN_PAIRS and test.p <= ALPHA


def _told(first: Row, second: Row, key: str) -> str:
    """Whether the seeds tell two methods apart, in brackets."""
    test = _paired(first, second, key)
    if test is None:
        return ""
    seeds = f"{test.n} paired seed{'s' * (test.n != 1)}"
    few = ", too few for a verdict" if test.n < MIN_PAIRS else ""
    return f" ({seeds}{few or ('' if _decides(test) else ' do not tell them apart')}, p = {test.p:.2g})"
