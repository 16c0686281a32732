import pandas as pd
import pytest

from senas_bench.analysis.artefacts.convergence import render_fig8
from senas_bench.analysis.artefacts.fig1 import render_fig1
from senas_bench.analysis.artefacts.table1 import render_table1
from senas_bench.analysis.artefacts.table3 import render_table3
from senas_bench.analysis.output import formats
from senas_bench.analysis.paper.judges import ALIKE, FAILS, FIXED, HOLDS, NO_RUNS, UNDECIDED
from senas_bench.analysis.paper.numbers import CLAIMS
from senas_bench.analysis.paper.rules import NEAR, RIVALS
from senas_bench.analysis.paper.verdicts import OURS, verdicts

TEN = range(10)


def artefact(name, rows, preset="cpu", **meta):
    """What `verdicts` reads of a rendered artefact."""
    meta = {"preset": preset, "images": "toy", "ground_truth": "toy", "seeds": list(TEN), "rows": rows} | meta
    return formats.Table(name, pd.DataFrame(), {}, {"title": name, **meta})


def tau_row(values, archs=100, **key):
    runs = [{"seed": seed, "archs": archs, "tau": tau} for seed, tau in enumerate(values)]
    return {"archs_min": archs, "archs_max": archs, "column": "cifar10_test", "per_seed": runs} | key


def fig8(mine, theirs, method="se-nas", baseline="spos", **rest):
    rows = [tau_row(mine, method=method, set="full"), tau_row(theirs, method=baseline, set="full")]
    return artefact("fig8", rows, **rest)


def table3(n, columns=("cifar10_test",), optimum=94.0, **picks):
    """Rows of methods that pick the same at every seed, give or take `seed % 2` hundredths."""
    rows = []
    for method, accuracy in picks.items():
        values = [accuracy + 0.01 * (seed % 2) for seed in range(n)]
        runs = [
            {"seed": s, **dict.fromkeys(columns, v), "images_trained": 100, "images_scored": 0, "path_evaluations": 9}
            for s, v in enumerate(values)
        ]
        means = {f"{column}_mean": accuracy for column in columns}
        rows.append({"method": method.replace("_", "-"), "per_seed": runs, **means})
    best = {"method": "optimal", "per_seed": [], **{f"{column}_mean": optimum for column in columns}}
    return artefact("table3", [*rows, best])


def rows_of(table, claim, reading=""):
    return [row for row in table.meta["rows"] if row["id"] == claim and reading in row["reading"]]


def row_of(table, claim, reading=""):
    (row,) = rows_of(table, claim, reading)
    return row


def test_without_artefacts_every_claim_has_no_runs_and_says_what_to_run():
    table = verdicts({})
    assert table.frame["verdict"].tolist() == [NO_RUNS] * len(CLAIMS)
    assert table.frame["claim"].tolist() == [claim.text for claim in CLAIMS]
    assert table.frame["numbers"].tolist() == [f"run `senas-bench reproduce {c.needs[0]}` first" for c in CLAIMS]
    assert table.meta["counts"] == {HOLDS: 0, FAILS: 0, UNDECIDED: 0, FIXED: 0, NO_RUNS: len(CLAIMS)}
    assert (table.frame["preset"] == "–").all()


# 1/64 and 1/8 are exact, so both spread alike
LOW, HIGH = [seed / 64 for seed in TEN], [seed / 64 + 0.125 for seed in TEN]


def test_a_higher_tau_at_ten_seeds_holds_after_holm():
    table = verdicts({"fig8": fig8(HIGH, LOW)})
    row = row_of(table, "tau-higher", "both on the whole space")
    # all 10 differences have one sign: 2 of 2^10 patterns; with the row on spread (p = 1) it is a family of 2
    assert (row["p"], row["p_holm"], row["smallest_p"]) == (2 / 1024, 4 / 1024, 2 / 1024)
    assert (row["verdict"], row["n"], row["difference"]) == (HOLDS, 10, 0.125)
    assert row["improvement"] == pytest.approx(0.98)  # of 100 pairs of seeds 2 are equal and 1 is lower
    steadier = row_of(table, "tau-steadier", "both on the whole space")
    assert (steadier["p"], steadier["p_holm"], steadier["verdict"]) == (1, 1, UNDECIDED)
    assert table.meta["families"] == {"cifar10 test": 2}
    assert (
        "n = 10 seeds; p = 0.00195, smallest attainable 0.00195; Holm-adjusted over 2 tests p = 0.00391"
        in (row["numbers"])
    )
    assert "se-nas is higher. 100 archs." in row["numbers"] and row["preset"] == "cpu"


def test_a_lower_tau_does_not_hold():
    row = row_of(verdicts({"fig8": fig8(LOW, HIGH)}), "tau-higher", "both on the whole space")
    assert row["verdict"] == FAILS and row["p_holm"] == 4 / 1024
    assert "spos is higher" in row["numbers"]


def test_seven_seeds_decide_nothing_however_clear():
    table = verdicts({"fig8": fig8(HIGH[:7], LOW[:7])})
    row = row_of(table, "tau-higher", "both on the whole space")
    assert row["verdict"] == UNDECIDED and row["p"] == 2 / 128 and row["p_holm"] is None
    assert "not tested below 8 seeds; se-nas is higher" in row["numbers"] and "*" not in row["numbers"]
    assert table.meta["families"] == {}


def test_unclear_differences_are_undecided():
    mixed = [low + 0.25 * (-1) ** seed for seed, low in enumerate(LOW)]
    row = row_of(verdicts({"fig8": fig8(mixed, LOW)}), "tau-higher", "both on the whole space")
    assert row["verdict"] == UNDECIDED and row["p"] == 1 and "both are equal" in row["numbers"]


def test_seeds_without_a_tau_or_a_partner_are_left_out():
    row = row_of(verdicts({"fig8": fig8([None, *HIGH[1:]], LOW[:9])}), "tau-higher", "both on the whole space")
    assert row["n"] == 8 and row["p"] == 2 / 256


def test_a_steadier_tau_holds():
    narrow, wide = ([0.5 + side * width for side in (-1, 1) for _ in range(5)] for width in (1 / 64, 1 / 4))
    table = verdicts({"fig8": fig8(narrow, wide)})
    row = row_of(table, "tau-steadier", "both on the whole space")
    assert (row["first"], row["second"], row["ratio"]) == (1 / 64, 1 / 4, 1 / 16)
    assert (row["p"], row["p_holm"], row["verdict"]) == (2 / 1024, 4 / 1024, HOLDS)
    assert "se-nas is steadier" in row["numbers"]
    assert row_of(verdicts({"fig8": fig8(wide, narrow)}), "tau-steadier", "both on the whole")["verdict"] == FAILS
    few = row_of(verdicts({"fig8": fig8(narrow[:2], wide[:2])}), "tau-steadier", "both on the whole")
    assert few["verdict"] == UNDECIDED and few["numbers"] == "a spread needs 3 seeds; n = 2 seeds."


def test_each_reading_takes_its_own_sets():
    rows = [
        tau_row(HIGH, method="se-nas", set="current", archs=8),
        tau_row(LOW, method="se-nas", set="full", archs=900),
        tau_row([0.75] * 10, method="spos", set="full", archs=900),
        tau_row([-0.5] * 10, method="spos", set="same", archs=8),
        tau_row([-1.0] * 10, method="spos", set="sample", archs=50),
    ]
    found = rows_of(verdicts({"fig8": artefact("fig8", rows)}), "tau-higher")
    assert [row["second"] for row in found] == [0.75, -0.5, 0.75]
    assert [row["first"] - sum(HIGH) / 10 for row in found] == pytest.approx([0, 0, -0.125])
    assert "8 archs against 900." in found[0]["numbers"] and "as the paper reads it" in found[0]["reading"]
    assert [row["verdict"] for row in found] == [FAILS, HOLDS, FAILS]


def test_a_reading_says_how_many_functions_are_alive():
    mine, theirs = ([0.5 + seed / 100 for seed in TEN] for _ in range(2))
    alive = tau_row(mine, 9, method="se-nas", set="current", functions_min=1, functions_max=4)
    alive["per_seed"] = [{**run, "functions": 1 if run["seed"] < 3 else 4} for run in alive["per_seed"]]
    rows = [alive, tau_row(theirs, 9, method="spos", set="same"), tau_row(theirs, method="spos", set="full")]
    table = verdicts({"fig8": artefact("fig8", rows)})
    for reading in ("as the paper reads it", "both on the archs alive"):
        said = row_of(table, "tau-higher", reading)["numbers"]
        assert ", 1-4 functions; one function with 3 of 10 seeds, where nothing is ranked." in said


def test_the_spread_of_taus_over_unlike_archs_decides_nothing():
    narrow, wide = ([0.5 + side * width for side in (-1, 1) for _ in range(5)] for width in (1 / 64, 1 / 4))
    rows = [tau_row(wide, 9, method="se-nas", set="current"), tau_row(narrow, 500, method="spos", set="full")]
    row = row_of(verdicts({"fig8": artefact("fig8", rows)}), "tau-steadier", "as the paper reads it")
    assert row["verdict"] == UNDECIDED and row["p"] == 2 / 1024 and row["p_holm"] is None
    assert "over fewer archs a tau spreads more by itself" in row["numbers"] and "below 8" not in row["numbers"]
    alike = [{**rows[0], "archs_min": 500, "archs_max": 500}, rows[1]]
    row = row_of(verdicts({"fig8": artefact("fig8", alike)}), "tau-steadier", "as the paper reads it")
    assert row["verdict"] == FAILS


def test_a_truth_of_other_images_is_named():
    rows = [
        tau_row(values, method=method, set="full", column=column)
        for column in ("cifar10_test", "cifar100_test")
        for method, values in (("se-nas", HIGH), ("spos", LOW))
    ]
    table = verdicts({"fig8": artefact("fig8", rows, images="cifar10")})
    own, other = (row["numbers"] for row in rows_of(table, "tau-higher", "both on the whole space"))
    assert "saw cifar10" not in own and "saw cifar10; the paper trains on each data set" in other


def test_a_sample_stands_in_where_one_side_lacks_the_whole_space():
    rows = [tau_row(HIGH, method="se-nas", set="sample"), tau_row(LOW, method="spos", set="sample")]
    rows.append(tau_row([1.0] * 10, method="spos", set="full"))
    row = row_of(verdicts({"fig8": artefact("fig8", rows)}), "tau-higher", "both on the sample")
    assert row["second"] == sum(LOW) / 10


RIVAL_PICKS = {name.replace("-", "_"): 80.0 for name in RIVALS}


def test_holm_grows_with_what_a_report_tests():
    alone = verdicts({"table3": table3(8, se_nas=93.5, **RIVAL_PICKS)})
    # five rivals and the optimum less 1: six tests of smallest p 2/256
    assert [row["p_holm"] for row in rows_of(alone, "beats-rivals")] == [12 / 256] * 5
    assert {row["verdict"] for row in rows_of(alone, "beats-rivals")} == {HOLDS}
    assert row_of(alone, "near-optimal")["verdict"] == HOLDS
    more = verdicts({"table3": table3(8, se_nas=93.5, **RIVAL_PICKS), "fig8": fig8(HIGH[:8], LOW[:8])})
    assert more.meta["families"] == {"cifar10 test": 8}
    assert [row["p_holm"] for row in rows_of(more, "beats-rivals")] == [16 / 256] * 5
    assert {row["verdict"] for row in rows_of(more, "beats-rivals")} == {UNDECIDED}
    assert any("Where each has fewer than 9 paired seeds, none can reach" in note for note in more.notes)


def test_holm_asks_less_of_later_tests_than_of_the_first():
    """Two tests of 8 seeds, which by themselves reach 2/256: the second is multiplied by 1, not by 2."""
    mine, theirs = ([0.5 + side * width for side in (-1, 1) for _ in range(4)] for width in (1 / 64, 1 / 4))
    table = verdicts({"fig8": fig8([tau + 0.5 for tau in mine], theirs)})
    found = {row["id"]: row for row in table.meta["rows"] if row["p"] is not None}
    assert [found[name]["p_holm"] for name in ("tau-higher", "tau-steadier")] == [4 / 256] * 2
    assert all("smallest attainable 0.00781;" in row["numbers"] for row in found.values())
    assert all(row["numbers"].count("smallest attainable") == 1 for row in found.values())


def test_a_family_is_the_rows_of_one_dataset():
    table = verdicts({"table3": table3(8, ("cifar10_test", "cifar100_test"), se_nas=93.5, **RIVAL_PICKS)})
    assert table.meta["families"] == {"cifar10 test": 6, "cifar100 test": 6}
    assert {row["verdict"] for row in rows_of(table, "beats-rivals")} == {HOLDS}


def test_a_pick_far_from_the_optimum_does_not_hold():
    table = verdicts({"table3": table3(8, ("cifar10_test", "cifar100_test"), se_nas=92.5)})
    assert [row["verdict"] for row in rows_of(table, "near-optimal")] == [FAILS, HOLDS]  # 1.5 away, 1 and 2 allowed


def test_near_is_one_point_on_cifar10_and_two_on_the_others():
    assert NEAR == {"cifar10_test": 1, "cifar100_test": 2, "imagenet16-120_test": 2}


def test_a_rival_without_runs_is_one_row():
    table = verdicts({"table3": table3(8, ("cifar10_test", "cifar100_test"), se_nas=93.5, rsps=80.0)})
    found = [row for row in rows_of(table, "beats-rivals") if row["verdict"] == NO_RUNS]
    assert [row["numbers"] for row in found] == [f"no seed has both sides: se-nas / {rival}" for rival in RIVALS[1:]]
    assert found[0]["reading"] == "cifar10 test, cifar100 test: against DARTS-V1"


@pytest.mark.parametrize(
    ("n", "lead", "word"),
    [(8, 0.25, HOLDS), (8, -2.0, FAILS), (8, 2.0, FAILS), (8, 0.5, HOLDS), (7, 0.25, UNDECIDED), (7, 2.0, UNDECIDED)],
)
def test_comparable_is_decided_by_the_interval(n, lead, word):
    row = row_of(verdicts({"table3": table3(n, se_nas=90.0 + lead, gdas=90.0)}), "matches-gdas")
    assert row["verdict"] == word and row["p"] is None and row["n"] == n
    assert f"comparable means inside ±{ALIKE}" in row["numbers"]


def test_an_interval_across_the_limit_is_undecided():
    wide = table3(8, se_nas=90.0, gdas=90.0)
    for run in wide.meta["rows"][0]["per_seed"]:
        run["cifar10_test"] = 90 + run["seed"] % 2  # mean +0.5 in 0 and 1: the interval reaches beyond
    row = row_of(verdicts({"table3": wide}), "matches-gdas")
    assert row["verdict"] == UNDECIDED and row["low"] < ALIKE < row["high"]


def test_a_mean_beyond_the_limit_is_undecided_where_the_interval_reaches_back():
    table = table3(8, se_nas=90.0, gdas=90.0)
    for run in table.meta["rows"][0]["per_seed"]:
        run["cifar10_test"] = 90.1 + run["seed"] % 2
    row = row_of(verdicts({"table3": table}), "matches-gdas")
    assert row["verdict"] == UNDECIDED and row["low"] < ALIKE < row["difference"]


@pytest.mark.parametrize(
    ("images", "preset", "word"),
    [(33, "paper", HOLDS), (40, "paper", HOLDS), (41, "paper", FAILS), (33, "cpu", FIXED), (41, "cpu", FIXED)],
)
def test_cost_is_decided_by_counts_of_one_seed_where_no_preset_fixes_it(images, preset, word):
    table = table3(1, se_nas=90.0, gdas=90.0)
    table.meta["preset"] = preset
    table.meta["rows"][0]["per_seed"][0]["images_trained"] = images
    decided = verdicts({"table3": table})
    row = row_of(decided, "third-of-cost", "images trained and scored")
    assert row["verdict"] == word and row["ratio"] == images / 100
    fixed = "exact counts, n = 1 seeds. Preset cpu fixes how long each method trains" in row["numbers"]
    assert fixed == (preset == "cpu")
    assert [row["ratio"] for row in rows_of(decided, "third-of-cost")] == [images / 100, images / 100, 1]


def paper_costs(n=1, **picks):
    table = table3(n, **picks)
    table.meta["preset"] = "paper"
    return table


def test_costs_need_no_pairs_and_count_the_seeds_of_the_side_with_fewer():
    table = paper_costs(2, se_nas=90.0, gdas=90.0)
    del table.meta["rows"][0]["per_seed"][1]
    found = rows_of(verdicts({"table3": table}), "third-of-cost")
    assert {(row["n"], row["ratio"], row["verdict"]) for row in found} == {(1, 1, FAILS)}


def test_a_cost_without_a_rival_has_no_runs():
    found = rows_of(verdicts({"table3": paper_costs(2, se_nas=90.0)}), "third-of-cost")
    assert {row["verdict"] for row in found} == {NO_RUNS}


def test_each_cost_is_the_sum_of_its_counts():
    table = paper_costs(se_nas=90.0, gdas=90.0)
    counts = ("images_trained", "images_scored", "path_evaluations", "backward_paths")
    for row, values in zip(table.meta["rows"], ((10, 30, 5, 2), (20, 50, 8, 12)), strict=False):
        row["per_seed"][0].update(zip(counts, values, strict=True))
    found = rows_of(verdicts({"table3": table}), "third-of-cost")
    assert [(row["first"], row["second"]) for row in found] == [(10, 20), (40, 70), (5, 8), (7, 20)]


def test_ours_are_extra_rows_with_families_of_their_own():
    both = fig8(HIGH, LOW)
    both.meta["rows"] += fig8(HIGH, LOW, "se-nas+", "spos+").meta["rows"]
    table = verdicts({"fig8": both})
    assert table.meta["families"] == {"cifar10 test": 2, f"cifar10 test ({OURS})": 2}
    ours = row_of(table, "tau-higher", OURS)
    assert ours["ours"] and ours["subject"] == "se-nas+" and ours["verdict"] == HOLDS
    assert any(note.startswith("Extra rows:") for note in table.notes)
    assert not any(row["ours"] for row in verdicts({"fig8": fig8(HIGH, LOW)}).meta["rows"])


def test_keeping_operators():
    def rows(method, first, second):
        stages = {1: ("recall_21", first), 2: ("recall_10", second)}
        return [
            {"method": method, "stage": stage, "per_seed": [{"seed": s, key: value} for s in range(8)]}
            for stage, (key, value) in stages.items()
        ]

    every = [*rows("se-nas", 0.75, 0.25), *rows("random-shrink", 0.5, 0.5), *rows("magnitude-shrink", 0.5, 0.125)]
    chance = [{"stage": stage, "recall_21": rate, "recall_10": rate} for stage, rate in ((1, 2 / 3), (2, 1 / 3))]
    table = verdicts({"fig6": artefact("fig6", every, random_reference=chance)})
    assert row_of(table, "keeps-top-21")["verdict"] == HOLDS
    assert "half 0.500" in row_of(table, "keeps-top-21")["numbers"]
    assert row_of(table, "keeps-top-21")["numbers"].endswith("Dropping at random keeps 0.667 on average.")
    assert row_of(table, "keeps-top-10")["verdict"] == FAILS
    assert [row["verdict"] for row in rows_of(table, "keeps-more")] == [FAILS, HOLDS]
    assert "interval" not in row_of(table, "keeps-top-21")["numbers"]  # seeds that agree have none


def test_the_first_stage_ends_at_the_second_shrink():
    rows = [
        tau_row(mine, method=method, set="sample", epoch=epoch)
        for epoch, sides in ((20, (LOW, HIGH)), (40, (HIGH, LOW)), (60, (LOW, HIGH)))
        for method, mine in zip(("se-nas", "spos"), sides, strict=True)
    ]
    table = verdicts({"fig7": artefact("fig7", rows, shrinks=[20, 40])})
    row = row_of(table, "tau-first-stage", "both on the sample")
    assert row["verdict"] == HOLDS and "epoch 40" in row["reading"]
    unshrunk = verdicts({"fig7": artefact("fig7", rows, shrinks=[])})
    assert row_of(unshrunk, "tau-first-stage")["verdict"] == NO_RUNS


def test_the_gap_of_a_plain_supernet():
    rows = [
        tau_row([0.875] * 8, ranking="stand-alone"),
        tau_row([0.5] * 8, ranking="supernet, same archs"),
        tau_row([0.625] * 8, ranking="supernet"),
        tau_row([0.9, 0.875, 0.85], ranking="stand-alone, benchmark", column="cifar10_valtest", tau_mean=0.875),
    ]
    here, benchmark = rows_of(verdicts({"table1": artefact("table1", rows)}), "supernet-gap")
    assert here["verdict"] == HOLDS and here["difference"] == pytest.approx(0.075)
    assert benchmark["verdict"] == FAILS and benchmark["difference"] == pytest.approx(-0.05)
    assert benchmark["n"] == 8 and "taken as given" in benchmark["numbers"]


def test_the_test_accuracies_of_the_benchmark_come_before_its_validation():
    rows = [tau_row([0.625] * 8, ranking="supernet")]
    for split, tau in (("val", 0.5), ("valtest", 0.6), ("test", 0.7)):
        rows.append(tau_row([tau], ranking="stand-alone, benchmark", column=f"cifar10_{split}", tau_mean=tau))
    row = row_of(verdicts({"table1": artefact("table1", rows)}), "supernet-gap", "in the benchmark")
    assert row["first"] == pytest.approx(0.4)


def test_roundings_are_no_difference():
    """.7 less .3 is below .4 by an ulp: on all seeds, that is equal and no sign of anything."""
    rows = [tau_row([0.7] * 8, ranking="stand-alone"), tau_row([0.4] * 8, ranking="supernet, same archs")]
    here, _ = rows_of(verdicts({"table1": artefact("table1", rows)}), "supernet-gap")
    assert here["difference"] < 0 and here["verdict"] == UNDECIDED and "p = 1" in here["numbers"]


def test_a_benchmark_whose_seeds_share_no_archs_has_no_tau():
    """The next split that has one counts; none is no run."""
    supernet = tau_row([0.625] * 8, ranking="supernet")
    without = tau_row([], ranking="stand-alone, benchmark", column="cifar10_test") | {"tau_mean": None}
    other = tau_row([0.875], ranking="stand-alone, benchmark", column="cifar10_val", tau_mean=0.875)
    for rows, word in ([supernet, without], NO_RUNS), ([supernet, without, other], FAILS):
        benchmark = row_of(verdicts({"table1": artefact("table1", rows)}), "supernet-gap", "in the benchmark")
        assert benchmark["verdict"] == word


@pytest.mark.parametrize(("repeats", "word"), [(8, HOLDS), (7, UNDECIDED)])
def test_ranks_over_repeats(repeats, word):
    """Archs of the supernet move by 4 between one half of its repeats and the other, those alone by nothing."""
    row = {"supernet_ranks": [1.0, 5.0] * 5, "stand_alone_ranks": [1.0] * repeats}
    spread = {"supernet": [20 / 9] * 9, "stand-alone": [0.0] * 9}
    table = verdicts({"fig1": artefact("fig1", [row] * 9, column="cifar10_test", spread=spread)})
    found = row_of(table, "supernet-unsteady")
    assert found["verdict"] == word and found["n"] == repeats
    assert (found["first"], found["second"]) == (pytest.approx(4 * 25 / 45), 0)
    assert f"n = 10 and {repeats} repeats of 9 archs" in found["numbers"]
    assert "supernet is less steady" in found["numbers"]


def test_one_repeat_of_a_side_moves_nothing():
    row = {"supernet_ranks": [1.0, 5.0], "stand_alone_ranks": [1.0]}
    spread = {"supernet": [4.0] * 9, "stand-alone": [0.0] * 9}
    table = verdicts({"fig1": artefact("fig1", [row] * 9, column="cifar10_test", spread=spread)})
    found = row_of(table, "supernet-unsteady")
    assert found["verdict"] == UNDECIDED and "needs two repeats of each side" in found["numbers"]


def test_settings_are_named_and_a_proxy_is_called_one():
    table = verdicts({"fig8": fig8(HIGH, LOW), "table3": table3(8, se_nas=93.5)})
    assert table.notes[0].startswith("At preset cpu (a proxy of the paper's setting:")
    assert table.notes[0].endswith("images toy, truth toy): fig8, table3.")
    assert "proxy" not in verdicts({"fig8": fig8(HIGH, LOW, preset="paper")}).notes[0]


def search_row(search, method, top1, level=470, space="mobilenet"):
    runs = [{"seed": seed, "top1": value} for seed, value in enumerate(top1)]
    row = {"search": search, "method": method, "space": space, "cost": "flops", "level": level, "split": "test"}
    return row | {"per_seed": runs}


def searches(name, *rows):
    table = artefact(name, list(rows))
    del table.meta["ground_truth"]  # nothing is looked up
    return table


def test_picks_under_a_limit_compare_with_those_under_the_same_in_the_same_kind_of_network():
    nine = [50 + seed / 64 for seed in range(9)]
    rows = [
        search_row("SE-NAS-C", "se-nas", [top1 + 1 for top1 in nine]),
        search_row("SPOS", "spos", nine),
        search_row("PCNAS", "pcnas-pool", nine, 590, "mobilenet-g2"),
        search_row("DARTS", "darts-v1", nine, 590, "darts-separate"),
        search_row("SE-NAS-E", "se-nas", nine, 590, "darts-separate"),
    ]
    table = verdicts({"table4": searches("table4", *rows)})
    found = {row["reading"]: row for row in rows_of(table, "better-within-flops")}
    assert set(found) == {
        "top-1 toy test: SE-NAS-C against SPOS, 470 M in the paper",
        "top-1 toy test: SE-NAS-E against DARTS, 590 M in the paper",
    }
    first, second = found.values()
    assert (first["verdict"], first["difference"], first["p_holm"]) == (HOLDS, 1.0, 4 / 512)
    assert second["verdict"] == UNDECIDED and "picks trained here" in table.notes[0]


def test_seeds_whose_pick_has_no_accuracy_are_left_out():
    rows = [search_row(name, name, [50.0 + seed / 64 for seed in TEN]) for name in ("se-nas", "fairnas")]
    rows[0]["per_seed"][3]["top1"] = None
    assert row_of(verdicts({"table4": searches("table4", *rows)}), "better-within-flops")["n"] == 9


def test_each_part_is_set_against_what_lacks_it():
    names = ("spos", "si-shrink", "se-nas-shrink", "se-nas")
    rows = [search_row(name, name, [50.0 + place] * 3) for place, name in enumerate(names)]
    found = rows_of(verdicts({"table6": searches("table6", *rows)}), "each-part-adds")
    assert [row["difference"] for row in found] == [1, 1, 1] and {row["verdict"] for row in found} == {UNDECIDED}
    lacking = verdicts({"table6": searches("table6", rows[0], *rows[2:])})
    assert {row["reading"]: row["verdict"] for row in rows_of(lacking, "each-part-adds")} == {
        "top-1 toy test: se-nas against se-nas-shrink, 470 M in the paper": UNDECIDED,
        "si-shrink against spos": NO_RUNS,
        "se-nas-shrink against si-shrink": NO_RUNS,
    }
    alone = rows_of(verdicts({"table6": searches("table6", rows[-1])}), "each-part-adds")
    assert {row["verdict"] for row in alone} == {NO_RUNS}


def test_unlike_limits_are_not_tested():
    rows = [
        search_row(name, name, [50.0 + seed / 64 + (name == "se-nas") for seed in TEN])
        for name in ("se-nas", "fairnas")
    ]
    for row, limit in zip(rows, (2.17e6, 1.68e6), strict=True):
        row["limit_mean"] = limit
    row = row_of(verdicts({"table4": searches("table4", *rows)}), "better-within-flops")
    assert (
        row["verdict"] == UNDECIDED and row["difference"] == 1 and "limits here are 2.17 M and 1.68 M" in row["numbers"]
    )
    rows[1]["limit_mean"] = 2.17e6
    assert row_of(verdicts({"table4": searches("table4", *rows)}), "better-within-flops")["verdict"] == HOLDS


def test_claims_about_what_has_no_table_are_left_out_and_counted():
    only = searches("table6", search_row("SE-NAS", "se-nas", [50.0]))
    assert {row["id"] for row in verdicts({"table6": only}).meta["rows"]} == {
        "better-within-flops", "better-within-latency", "each-part-adds"
    }  # fmt: skip
    assert any(
        note.startswith("12 claims about NAS-Bench-201 are left out") for note in verdicts({"table6": only}).notes
    )
    both = verdicts({"table6": only, "fig8": fig8(HIGH, LOW)})
    assert {row["id"] for row in both.meta["rows"]} == {claim.id for claim in CLAIMS}
    bench = verdicts({"fig8": fig8(HIGH, LOW)})
    assert any(note.startswith("3 claims about searches under a limit are left out") for note in bench.notes)


def test_verdicts_can_be_written(tmp_path):
    paths = formats.write(verdicts({"fig8": fig8(HIGH, LOW)}), tmp_path)
    assert {path.suffix for path in paths} == {".csv", ".md", ".tex", ".json", ".parquet"}


def test_tables_as_they_are_rendered(runs, truth, toy):
    settings = {"recipe": {"stage_epochs": [1]}}
    for seed in range(3):  # scores as the truth, but for the first two archs, which swap with the last seed
        scores = [1.0, 0.0, *range(2, 12)] if seed == 2 else [0.0, 1.0, *range(2, 12)]
        table = toy.score_rows("candidates", toy.archs[:12], scores)
        runs.add("stand-alone", seed, toy.archs[11], table, settings=settings)
    renders = {"table3": render_table3, "fig8": render_fig8, "table1": render_table1, "fig1": render_fig1}
    methods = {"table1": ("stand-alone", "spos"), "fig1": ("stand-alone", "spos")}
    tables = {
        name: render(runs.records, runs.scores, truth, no_timing=True, methods=methods.get(name, ("spos", "se-nas")))
        for name, render in renders.items()
    }
    table = verdicts(tables)
    assert [row["n"] for row in rows_of(table, "tau-higher")] == [2, 2, 2]
    assert row_of(table, "near-optimal")["first"] == 88.0  # the pick of both seeds is arch 38
    assert row_of(table, "supernet-gap", "trained here")["first"] == pytest.approx((1 + 1 + 64 / 66) / 3 - 0.3)
    unsteady = row_of(table, "supernet-unsteady")
    assert (unsteady["n"], unsteady["second"]) == (
        3,
        pytest.approx(2 * (2 / 3) / 12),
    )  # ranks 12, 12, 11 and 11, 11, 12
    assert "3 and 3 repeats of 12 archs" in unsteady["numbers"] and unsteady["verdict"] == UNDECIDED
    assert table.meta["preset"] == "embedded"
