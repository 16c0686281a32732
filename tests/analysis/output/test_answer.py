"""The sentences at the top of a report, on a ladder whose numbers are known."""

import pandas as pd
import pytest

from senas_bench.analysis.metrics.statistics import over_seeds
from senas_bench.analysis.output.answer import answer
from senas_bench.analysis.output.formats import Table


def row(method, taus, regrets, cost=0.0, known="counted", tuned=False):
    made = {"method": method, "kind": "method", "n": len(regrets), "tuned": tuned, "cost": known, "archs_max": 500}
    for key, values in (("tau", taus), ("regret", regrets)):
        found = over_seeds(values) if values else None
        made |= {f"{key}_mean": found.mean if found else None, f"{key}_std": found.std if found else None}
    runs = [{"seed": i, "tau": taus[i] if taus else None, "regret": regret} for i, regret in enumerate(regrets)]
    return made | {"multiply_adds_mean": cost, "per_seed": runs}


def told(*rows, preset="embedded", sizes=None):
    meta = {"title": "The ladder", "preset": preset, "images": "digits", "seeds": [0, 1, 2], "ground_truth": "truth"}
    meta |= {"column": "cifar10_test", "set": "sample", "rows": [*rows, {"kind": "reference", "method": "12 epochs"}]}
    sentences = answer({"ladder": Table("ladder", pd.DataFrame(), {}, meta)}, sizes or {})
    return {head: text for head, text in sentences}


@pytest.fixture
def few():
    return [
        row("params", [0.5] * 3, [1.0] * 3),
        row("synflow", [0.6, 0.61, 0.62], [2.0, 2.0, 2.0], 2e9),
        row("naswot", [0.4, 0.4, 0.4], [3.0, 2.0, 1.0], 4e9),
        row("spos", [0.3, 0.4, 0.5], [0.5, 0.6, 0.7], 3e10),
        row("se-nas", [0.1, 0.2, 0.3], [4.0, 5.0, 6.0], 5e11),
    ]


def test_five_sentences_of_three_seeds(few):
    said = told(*few, sizes={"channels": 8, "cells": 1, "resolution": 8})
    assert list(said) == [
        "Ranks best:",
        "Picks best:",
        "Whether se-nas beats spos cannot be told here:",
        "Proxies, which train nothing:",
        "The scale, a proxy of the paper's:",
    ]
    ranks, picks, beats, proxies, scale = said.values()
    # the differences of synflow to params are .1, .11, .12: of eight sign patterns two reach their sum
    assert ranks == (
        "synflow: tau 0.610 ± 0.010 with cifar10 test (n = 3 seeds, 500 archs, a sample), then params with "
        "0.500 ± 0.000 (3 paired seeds, too few for a verdict, p = 0.25)."
    )
    assert picks == (
        "spos, 0.60 ± 0.10 points below the best arch (n = 3 seeds), then params with 1.00 ± 0.00 "
        "(3 paired seeds, too few for a verdict, p = 0.25)."
    )
    assert beats == (
        "it ranks worse (tau 0.200 against 0.400, paired difference -0.200, p = 0.25; archs that it drops keep their "
        "scores of then) and it picks worse (regret 5.00 against 0.60, paired difference +4.40, p = 0.25); n = 3 "
        "seeds, sign-flip tests, not adjusted; a verdict needs 8 seeds."
    )
    assert proxies == (
        "of 2, the best tau is 0.610 (synflow), the least regret of the pick 2.00 (synflow and naswot); 1 of 2 rank "
        "better than the number of parameters (0.500), for 2G to 4G multiply-adds (spos takes 30G)."
    )
    assert scale.startswith(
        "preset embedded, images digits at 8x8 pixels, networks of 8 channels and 1 cell per stage (the paper's: 16 "
        "and 5); truth truth; seeds 0, 1, 2; a search takes up to 500G multiply-adds. The truth is of full networks"
    )


def test_with_eight_seeds_there_is_a_verdict():
    ours = row("se-nas", [0.1 + 0.01 * i for i in range(8)], [1.0] * 8)
    theirs = row("spos", [0.2 + 0.01 * i for i in range(8)], [2.0] * 8)
    said = told(ours, theirs)
    (head,) = [head for head in said if "spos" in head]
    assert head == "se-nas loses to spos in ranking and beats spos in picking:"
    assert (
        "p = 0.0078; archs that it drops keep their scores of then) and it picks better" in said[head]
        and "needs" not in said[head]
    )


def test_a_method_of_another_process_may_be_a_proxy():
    said = told(row("strange", [0.5] * 2, [0.4] * 2), row("25 x 200 epochs", [0.1] * 2, [0.1] * 2, known="looked up"))
    words = "none of them has finished runs here. What strange is, only the process knows that added it"
    assert said["Proxies, which train nothing:"].startswith(words)


def test_what_is_looked_up_is_said_to_be():
    said = told(row("random-search", None, [0.1, 0.1], known="looked up"), row("flops", [0.5] * 2, [0.4] * 2))
    assert said["Picks best:"].endswith("It looks trainings up; of those that do not, flops with 0.40 ± 0.00.")
    assert said["Proxies, which train nothing:"].startswith("none ")
    assert not any("spos" in head for head in said)


def test_without_a_ladder_the_scale_alone_is_left():
    meta = {"title": "Table 6", "preset": "paper", "images": "cifar10", "seeds": [], "rows": []}
    ((head, text),) = answer({"table6": Table("table6", pd.DataFrame(), {}, meta)}, {})
    assert (head, text) == ("The scale:", "preset paper, images cifar10.")
    meta["changed_sizes"] = {"precision": ["bfloat16"], "rank_archs": ["500"]}
    ((_, text),) = answer({"table6": Table("table6", pd.DataFrame(), {}, meta)}, {})
    assert text == "preset paper, images cifar10; not the preset's precision bfloat16, rank archs 500."
