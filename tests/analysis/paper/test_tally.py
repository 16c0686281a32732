"""Counts of verdicts, in words."""

import pandas as pd
import pytest

from senas_bench.analysis.output.formats import Table
from senas_bench.analysis.paper.tally import by_claim, count_words, line, seeds_behind, summary, tally


def row(verdict, seeds=3, claim="a", **rest):
    values = [{"seed": seed, "first": 1.0, "second": 2.0} for seed in range(seeds)]
    return {"id": claim, "verdict": verdict, "per_seed": [*values, {"seed": 99, "first": None, "second": 1.0}], **rest}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("holds")] * 3 + [row("does not hold")] * 2 + [row("undecided")] * 41,
         "3 hold, 2 fail, 41 cannot be told from 3 seeds"),
        ([row("undecided", 10), row("undecided", 3), row("no runs", 0)],
         "0 hold, 0 fail, 2 cannot be told from 3-10 seeds, 1 lack runs"),
        ([row("undecided", 1)], "0 hold, 0 fail, 1 cannot be told from 1 seed"),
        ([{"verdict": "undecided", "per_seed": [{"arch": 0, "first": 1.0, "second": 2.0}]}],
         "0 hold, 0 fail, 1 cannot be told"),
    ],
)  # fmt: skip
def test_verdicts_are_counted_with_the_seeds_that_both_sides_have(rows, said):
    assert tally(rows) == said


def test_methods_of_ours_are_counted_apart():
    rows = [row("holds", ours=False, subject="se-nas"), row("undecided", ours=True, subject="se-nas+")]
    table = Table("verdicts", pd.DataFrame(), {}, {"rows": rows})
    assert line(table) == "1 hold, 0 fail; of ours 0 hold, 0 fail, 1 cannot be told from 3 seeds"
    assert line(Table("verdicts", pd.DataFrame(), {}, {"rows": rows[:1]})) == "1 hold, 0 fail"
    own, ours = summary(table)
    assert own == "Of 1 readings of 1 claims of the paper 1 hold, 0 fail." and "(se-nas+): 0 hold, 0 fail, 1 " in ours


def test_rows_are_grouped_by_claim_in_order():
    rows = [row("no runs", claim="b"), row("holds", claim="a"), row("undecided", claim="b")]
    assert [[one["verdict"] for one in group] for group in by_claim(rows)] == [["no runs", "undecided"], ["holds"]]
    assert count_words(rows) == [("holds", 1), ("undecided", 1), ("no runs", 1)]


def test_seeds_that_either_side_lacks_are_not_behind_a_row():
    values = [(1.0, None), (None, 1.0), (1.0, 1.0)]
    runs = [{"seed": seed, "first": first, "second": second} for seed, (first, second) in enumerate(values)]
    assert seeds_behind({"per_seed": runs}) == 1
