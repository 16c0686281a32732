"""Scores are given as orders of archs, the worst first. The truth is 50 + index, so that over n archs tau is 1 less
four times the inversions of the order over n (n - 1)."""

import numpy as np
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, convergence
from senas_bench.analysis.artefacts.convergence import render_fig7, render_fig8, tau_summary
from senas_bench.analysis.output.formats import write
from senas_bench.groundtruth import GroundTruth, Query

pytestmark = pytest.mark.filterwarnings("error")
TEN = list(range(10))
SWAPPED = [1, 0, *range(2, 10)]
"""One inversion of 45 pairs: tau 43 / 45."""


def render(study, truth, which=render_fig7, **options):
    return which(study.runs.records, study.runs.scores, truth, no_timing=True, **options)


def points(table, method, name, column="cifar10_test", key="tau_mean"):
    """A value by epoch."""
    rows = [row for row in table.meta["rows"] if (row["method"], row["set"], row["column"]) == (method, name, column)]
    return {row["epoch"]: row[key] for row in rows}


def only_row(table, **where):
    (row,) = [row for row in table.meta["rows"] if all(row[key] == value for key, value in where.items())]
    return row


def notes(table):
    return "\n".join(table.notes)


def test_every_set_at_its_epochs(study, truth):
    study.both()
    table = render(study, truth)
    assert points(table, "spos", "sample") == pytest.approx({20: 1 - 2 / 10, 40: 1 - 4 / 10, 60: 1 - 2 / 10})
    assert points(table, "se-nas", "sample") == pytest.approx({20: 1 - 8 / 10, 40: 1 - 4 / 10, 60: 1 - 8 / 10})
    assert points(table, "se-nas", "current") == pytest.approx({20: 1 - 8 / 10, 40: 1 / 3, 60: -1})
    assert points(table, "spos", "full") == pytest.approx({60: 1 - 2 / (40 * 39 / 2)})
    # archs 3, 4 and 10 rank above all others: 36 + 35 + 29 better archs are below them
    assert points(table, "se-nas", "full") == pytest.approx({60: 1 - 2 * (36 + 35 + 29 - 3) / (40 * 39 / 2)})
    # all 5 at epoch 20; 2 of 3, below ten, at epoch 40; all 3 at the end, in the order 4 3 10 by the full ranking
    assert points(table, "spos", "same") == pytest.approx({20: 1 - 2 / 10, 60: 1 / 3})
    assert points(table, "spos", "same", key="archs_max") == {20: 5, 60: 3}
    assert points(table, "se-nas", "current", key="archs_min") == {20: 5, 40: 3, 60: 3}
    assert points(table, "spos", "full", key="archs_max") == {60: 40}
    kinds = list(dict.fromkeys((row["method"], row["set"]) for row in table.meta["rows"]))
    assert kinds == [("spos", "full"), ("spos", "sample"), ("spos", "same")] + [
        ("se-nas", name) for name in ("full", "sample", "current")
    ]
    assert points(table, "se-nas", "current", key="functions_max") == {20: 5, 40: 3, 60: 3}  # of distinct ones
    assert not any("functions_max" in row for row in table.meta["rows"] if row["set"] in ("full", "sample"))
    assert table.meta["shrinks"] == [20, 40] and table.meta["seeds"] == [0]
    shown = table.frame[(table.frame["method"] == "se-nas") & (table.frame["set"] == "current")]
    assert shown["epoch"].tolist() == ["20", "40", "60"]
    assert shown["archs"].tolist() == shown["functions"].tolist() == ["5", "3", "3"]
    assert shown["tau"].tolist() == ["0.200", "0.333", "-1.000"]
    assert shown["95% interval"].tolist() == ["–"] * 3


def test_the_end_of_fig7_is_fig8(study, truth):
    study.both(seeds=(0, 1))
    fig7, fig8 = render(study, truth), render(study, truth, render_fig8)
    last = [row for row in fig7.meta["rows"] if row["epoch"] == 60 and row["set"] != "sample"]
    assert fig8.meta["rows"] == last
    assert [(row["method"], row["set"]) for row in last] == [
        *(("spos", name) for name in ("full", "same")),
        *(("se-nas", name) for name in ("full", "current")),
    ]
    assert "epoch" not in fig8.frame and fig8.frame["seeds"].tolist()[3] == "-1.000 -1.000"
    assert fig8.name == "fig8" and fig8.meta["title"] == ARTEFACTS["fig8"].title
    assert "current of SE-NAS with the whole space of SPOS" in notes(fig8)


def test_fig8_takes_the_sample_where_nothing_ranked_the_whole_space(study, truth):
    study("spos", 0, ("sample", 60, SWAPPED))
    study("se-nas", 0, ("sample", 60, TEN), ("current", 60, [4, 3]), shrinks=(20,))
    table = render(study, truth, render_fig8)
    found = {(row["method"], row["set"]): (row["epoch"], row["tau_mean"]) for row in table.meta["rows"]}
    assert found == {
        ("spos", "sample"): (60, pytest.approx(43 / 45)),
        ("spos", "same"): (60, pytest.approx(1)),
        ("se-nas", "sample"): (60, pytest.approx(1)),
        ("se-nas", "current"): (60, pytest.approx(-1)),
    }


def test_the_last_point_is_the_final_ranking_of_the_last_stage(study, truth):
    """Not the ranking of the curve, nor that of an earlier stage that trained no longer."""
    study("spos", 0, ("curve", 40, TEN[::-1]), ("curve", 60, TEN[::-1]), ("sample", 60, SWAPPED))
    assert points(render(study, truth), "spos", "sample") == pytest.approx({40: -1, 60: 43 / 45})
    study.runs.records.clear()
    study("spos", 1, ("full", 30, TEN), ("full", 60, SWAPPED))
    study("se-nas", 1, ("curve-current", 30, TEN), ("curve", 60, TEN))
    table = render(study, truth)
    assert points(table, "spos", "full") == pytest.approx({60: 43 / 45})
    assert [row["epoch"] for row in render(study, truth, render_fig8).meta["rows"]] == [60, 60]


@pytest.mark.parametrize(("shared", "expected"), [(9, {}), (10, {20: 43 / 45})])
def test_before_the_end_the_baseline_needs_ten_shared_archs(study, truth, shared, expected):
    alive = [*range(shared), 30, 31]
    ranked = [1, 0, *range(2, shared), 20, 21]
    study("spos", 0, ("curve", 20, ranked), ("sample", 40, ranked))
    study("se-nas", 0, ("curve-current", 20, alive), ("current", 40, alive), shrinks=(10,))
    table = render(study, truth)
    assert points(table, "spos", "same") == pytest.approx(expected)
    assert points(table, "spos", "same", key="archs_max") == dict.fromkeys(expected, 10)
    assert "No spos run ranks all archs alive at the end of se-nas with seeds 0, so" in notes(table)


def test_at_the_end_the_baseline_needs_all_archs_alive(study, truth):
    for seed, other in enumerate((TEN, SWAPPED, SWAPPED[:9])):
        study("spos", seed, ("sample", 40, [*other, 35, 36]))
        study("se-nas", seed, ("current", 40, TEN), shrinks=(10,))
    table = render(study, truth)
    row = only_row(table, method="spos", set="same")
    assert [(run["seed"], run["archs"], run["tau"]) for run in row["per_seed"]] == [
        (0, 10, pytest.approx(1)),
        (1, 10, pytest.approx(43 / 45)),
    ]
    assert "No spos run ranks all archs alive at the end of se-nas with seeds 2, so they have no tau" in notes(table)
    assert "No spos run" not in notes(render(study, truth, methods=["spos"]))


def test_at_the_end_the_baseline_is_asked_for_its_widest_ranking(study, truth):
    study("spos", 0, ("sample", 40, TEN[::-1]), ("full", 40, study.full(SWAPPED)))
    study("se-nas", 0, ("current", 40, TEN), shrinks=(10,))
    assert points(render(study, truth), "spos", "same") == pytest.approx({40: 43 / 45})


def test_the_baseline_is_that_of_the_same_seed_and_recipe(study, truth):
    study("spos", 0, ("full", 60, study.full(TEN)))
    study("spos", 1, ("full", 60, study.full(SWAPPED)))
    study("spos+", 1, ("full", 60, study.full(TEN[::-1])))
    study("se-nas", 1, ("current", 60, TEN), ("full", 60, study.full(TEN)))
    study("se-nas+", 1, ("current", 60, [0, 1]), ("full", 60, study.full(TEN)))
    table = render(study, truth, render_fig8)
    same = {row["method"]: row for row in table.meta["rows"] if row["set"] == "same"}
    assert {method: row["tau_mean"] for method, row in same.items()} == {
        "spos": pytest.approx(43 / 45),
        "spos+": pytest.approx(-1),
    }
    assert [run["seed"] for run in same["spos"]["per_seed"]] == [1]
    assert "Tuned with CIFAR-10 truth in view: spos+, se-nas+." in table.notes
    whole = [row["method"] for row in table.meta["rows"] if row["set"] == "full"]
    assert whole == ["spos", "se-nas", "spos+", "se-nas+"]
    alone = render(study, truth, render_fig8, methods=["se-nas"])
    assert {row["method"] for row in alone.meta["rows"]} == {"se-nas"}
    assert "Tuned" not in notes(alone)


def test_intervals(study, truth):
    """Of taus 1, 0.6 and 0.2: mean 0.6, standard deviation 0.4, half width 0.4 / sqrt(3) times Student's 4.302653."""
    orders = (TEN, [9, *TEN[:9]], [9, 8, 0, 1, 2, 3, 4, 5, 7, 6])
    for seed, order in enumerate(orders):  # 0, 9 and 9 + 8 + 1 inversions
        study("spos", seed, ("curve", 20, order), ("full", 60, order[::-1]))
    table = render(study, truth)
    row = only_row(table, set="sample")
    assert [run["tau"] for run in row["per_seed"]] == pytest.approx([1, 0.6, 0.2])
    half = 4.302652729911275 * 0.4 / 3**0.5
    assert (row["n"], row["tau_mean"], row["tau_std"]) == (3, pytest.approx(0.6), pytest.approx(0.4))
    assert (row["tau_low"], row["tau_high"]) == (pytest.approx(0.6 - half), 1)  # cut: 0.6 + half is 1.59
    row = only_row(table, set="full")
    assert (row["tau_low"], row["tau_high"]) == (-1, pytest.approx(half - 0.6))
    cells = table.frame.set_index("set")
    assert cells.loc["sample", "tau"] == "0.600 ± 0.400" and cells.loc["sample", "95% interval"] == "[-0.394, 1.000]"


def test_no_interval_below_three_seeds_or_ten_archs():
    def bounds(sizes, taus=(0.1, 0.2, 0.3)):
        runs = [{"seed": seed, "archs": n, "tau": tau} for seed, (n, tau) in enumerate(zip(sizes, taus, strict=False))]
        row = tau_summary(runs)
        assert (row["tau_low"] is None) == (row["tau_high"] is None)
        return row["tau_low"] is not None

    assert bounds([10, 10, 10])
    assert not bounds([10, 10])
    assert not bounds([10, 10, 9])
    assert not bounds([9, 9, 9])
    assert not bounds([10, 10, 10], [0.1, None, 0.3])  # two are left
    assert bounds([10, 10, 10, 10], [0.1, None, 0.3, 0.5])


def test_summary():
    facts = ((2, 5, None), (0, 16, 0.5), (1, 9, 0.1))
    runs = [{"seed": seed, "archs": archs, "tau": tau} for seed, archs, tau in facts]
    row = tau_summary(runs)
    assert [run["seed"] for run in row["per_seed"]] == [0, 1, 2]
    assert (row["n"], row["archs_min"], row["archs_max"]) == (2, 5, 16)
    assert row["tau_mean"] == pytest.approx(0.3) and row["tau_std"] == pytest.approx(0.2 * 2**0.5)
    one = tau_summary(runs[:2])
    assert (one["n"], one["tau_mean"], one["tau_std"]) == (1, 0.5, None)
    none = tau_summary(runs[:1])
    assert (none["n"], none["tau_mean"], none["tau_std"], none["tau_low"]) == (0, None, None, None)
    assert none["tau_top10_mean"] is None
    row = tau_summary([{**run, "tau_top10": best} for run, best in zip(runs, (0.2, None, 0.6), strict=True)])
    assert (row["tau_top10_mean"], row["tau_top10_std"]) == (pytest.approx(0.4), pytest.approx(0.4 / 2**0.5))


def test_archs_scored_alike_have_no_tau_and_are_named(study, truth):
    for seed in range(3):
        study("spos", seed, ("sample", 60, SWAPPED), scores=np.zeros(10) if seed == 1 else None)
    study("spos+", 0, ("sample", 60, TEN), scores=np.zeros(10))
    table = render(study, truth)
    row = only_row(table, method="spos")
    assert (row["n"], row["tau_mean"], row["tau_low"]) == (2, pytest.approx(43 / 45), None)
    assert [run["tau"] for run in row["per_seed"]] == [pytest.approx(43 / 45), None, pytest.approx(43 / 45)]
    assert only_row(table, method="spos+")["tau_mean"] is None
    assert "spos scored some set of archs alike with seeds 1; those have no tau." in table.notes
    assert "spos+ scored some set of archs alike with seeds 0; those have no tau." in table.notes
    assert table.frame["n"].tolist() == ["2", "0"] and table.frame["tau"].tolist()[1] == "–"
    fig8 = render(study, truth, render_fig8)
    assert fig8.frame["seeds"].tolist() == ["0.956 – 0.956", "–"]
    (ax,) = ARTEFACTS["fig8"].figure(fig8).axes
    assert [len(part.get_offsets()) for part in ax.collections] == [2]


def test_ties_count_as_ties(study, truth):
    """Of 3 archs scored 0, 1, 1: two pairs in order, one tied, tau-b 2 / sqrt(2 * 3)."""
    study("spos", 0, ("sample", 60, [0, 1, 2]), scores=np.array([0, 1, 1]))
    assert only_row(render(study, truth))["tau_mean"] == pytest.approx(2 / 6**0.5)


def test_runs_without_curves_have_one_point(study, truth):
    both = {"spos": SWAPPED, "se-nas": TEN}
    for method, order in both.items():
        study(method, 0, ("full", 20, TEN[::-1]), ("full", 60, study.full(order)))
    table = render(study, truth)
    assert [(row["method"], row["set"], row["epoch"]) for row in table.meta["rows"]] == [
        ("spos", "full", 60),
        ("se-nas", "full", 60),
    ]
    assert table.meta["shrinks"] == []


def test_points_that_one_seed_lacks(study, truth):
    study("spos", 0, ("curve", 20, TEN), ("sample", 60, TEN))
    study("spos", 1, ("curve", 20, SWAPPED), ("curve", 30, SWAPPED), ("sample", 60, TEN))
    table = render(study, truth)
    assert list(points(table, "spos", "sample", key="n").items()) == [(20, 2), (30, 1), (60, 2)]
    assert points(table, "spos", "sample") == pytest.approx({20: 44 / 45, 30: 43 / 45, 60: 1})


def test_a_set_of_one_arch_has_no_ranking(study, truth):
    study("spos", 0, ("curve", 20, [3]), ("sample", 60, TEN))
    study("se-nas", 0, ("curve-current", 20, [1, 0]), ("current", 60, [1]), ("sample", 60, TEN), shrinks=(20,))
    table = render(study, truth)
    assert points(table, "se-nas", "current") == {20: pytest.approx(-1)}
    assert points(table, "spos", "sample") == {60: pytest.approx(1)}
    assert "alive at the end" not in notes(table)


def test_runs_that_rank_nothing_are_named(study, truth):
    study("spos", 0, ("sample", 60, TEN))
    study("spos", 1)
    study("random", 2)
    table = render(study, truth, methods=["spos", "random"])
    assert "spos ranks no archs with seeds 1." in table.notes
    assert "random ranks no archs with seeds 2." in table.notes
    assert "No runs of" not in notes(table)
    for which, name in ((render_fig7, "fig7"), (render_fig8, "fig8")):
        with pytest.raises(ValueError, match=rf"none of the runs ranks archs; {name} needs runs of spos, se-nas, spos"):
            render(study, truth, which, methods=["random"])


def test_missing_and_other_methods(study, truth):
    study("se-nas", 0, ("sample", 60, TEN), shrinks=(20, 40))
    study("si-shrink", 0, ("sample", 60, SWAPPED), shrinks=(15, 50))
    table = render(study, truth)
    assert {row["method"] for row in table.meta["rows"]} == {"se-nas"}
    assert "No runs of: spos, spos+, se-nas+." in table.notes
    assert table.meta["shrinks"] == [20, 40]
    asked = render(study, truth, methods=["si-shrink", "se-nas", "spos"])
    assert [row["method"] for row in asked.meta["rows"]] == ["se-nas", "si-shrink"]
    assert asked.meta["shrinks"] == [15, 20, 40, 50]
    assert "No runs of: spos." in asked.notes
    with pytest.raises(ValueError, match=r"no runs of spos\+; there are runs of: se-nas, si-shrink"):
        render(study, truth, methods=["spos+"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"preset": "cpu"}, "preset cpu and embedded never share a table"),
        ({"device": "cuda"}, "device cpu and cuda"),
        ({"settings": {"preset": {"cells": 5}}}, "different sizes of preset embedded"),
        ({"threads": 2}, "method spos has two runs of one seed"),
    ],
)
@pytest.mark.parametrize("which", [render_fig7, render_fig8])
def test_runs_that_never_share_a_table(study, truth, which, spec, message):
    study("spos", 0, ("sample", 60, TEN))
    study("spos", 0, ("sample", 60, TEN), **spec)
    with pytest.raises(ValueError, match=message):
        render(study, truth, which)


def test_no_records(truth):
    with pytest.raises(ValueError, match="no finished runs"):
        render_fig7([], None, truth, no_timing=True)


def test_columns_and_what_was_trained_on(study, two_datasets):
    study("spos", 0, ("sample", 60, SWAPPED))
    table = render(study, two_datasets)
    assert [(row["column"], row["tau_mean"]) for row in table.meta["rows"]] == [
        ("cifar10_test", pytest.approx(43 / 45)),
        ("cifar100_test", pytest.approx(-43 / 45)),
    ]
    assert table.frame["truth"].tolist() == ["cifar10 test", "cifar100 test"]
    assert "cifar10 test, cifar100 test: the supernets saw digits; the paper trains one per data set." in table.notes
    assert "A proxy" in notes(table)
    study.runs.records.clear()
    study("spos", 0, ("sample", 60, SWAPPED), dataset="cifar10", preset="paper")
    table = render(study, two_datasets)
    assert "cifar100 test: the supernets saw cifar10; the paper trains one per data set." in table.notes
    assert "A proxy" not in notes(table)


def test_a_truth_of_one_column(study, toy, truth):
    study("spos", 0, ("sample", 60, SWAPPED), dataset="cifar10")
    assert "the supernets saw" not in notes(render(study, truth))
    val = toy.FakeTruth({Query(name, "val", 200, "mean"): np.arange(40.0) for name in ("cifar100", "cifar10")})
    assert [row["column"] for row in render(study, val).meta["rows"]] == ["cifar10_val"]
    early = toy.FakeTruth({Query("cifar10", "test", 12, "mean"): np.arange(40.0)})
    with pytest.raises(ValueError, match="no mean 200-epoch accuracy"):
        render(study, early)


def test_a_truth_that_lacks_archs(study, toy, query):
    study("spos", 0, ("sample", 60, TEN))
    few = GroundTruth("few", tuple(toy.archs[:12]), {query: np.append(np.arange(11.0), np.nan)})
    assert only_row(render(study, few))["tau_mean"] == pytest.approx(1)  # the arch without accuracy is not asked for
    study("spos", 1, ("sample", 60, [*TEN, 11]))
    with pytest.raises(ValueError, match="1 of 11 archs have no cifar10_test"):
        render(study, few)
    study.runs.records.pop()
    study("spos", 1, ("sample", 60, [*TEN, 30]))
    with pytest.raises(ValueError, match="lacks 1 of 11 archs"):
        render(study, few)


def test_notes_on_the_sets_that_are_there(study, truth):
    study.both()
    text = notes(render(study, truth))
    for start in ("full: all archs", "sample: one fixed random", "current: the archs alive", "same: the baseline"):
        assert text.count(f"\n{start}") == 1
    assert "tau-b; 95% interval over seeds, none below 3 seeds or 10 archs." in text
    assert "A point before the last scores with the weights of that moment" in text
    assert "n = 1 seeds (0)" in text and "Preset embedded, images digits" in text
    fewer = notes(render(study, truth, render_fig8, methods=["spos"]))
    assert "full: all archs" in fewer and not any(f"\n{name}: " in fewer for name in ("sample", "current", "same"))


def test_the_order_of_runs_does_not_matter(study, two_datasets, tmp_path):
    study.both(seeds=(2, 0, 1))
    for artefact in (ARTEFACTS["fig7"], ARTEFACTS["fig8"]):
        first = artefact.render(study.runs.records, study.runs.scores, two_datasets, no_timing=True)
        again = artefact.render(study.runs.records[::-1], study.runs.scores, two_datasets, no_timing=False)
        paths = write(first, tmp_path / "a"), write(again, tmp_path / "b")
        assert [path.read_bytes() for path in paths[0]] == [path.read_bytes() for path in paths[1]]
        assert len(paths[0]) == 5


def test_names_and_methods():
    assert ARTEFACTS["fig7"].methods == ARTEFACTS["fig8"].methods == ("spos", "se-nas", "spos+", "se-nas+")


def test_survivors_that_are_one_function_have_no_tau(study, truth, monkeypatch):
    """Those of seed 0, nor has the baseline on them; the mean is that of seed 1."""
    study.both(seeds=(0, 1))
    before = render(study, truth)
    counts = iter([5, 3, 1, 5, 3, 2, 5, 1, 5, 2])  # se-nas at its three epochs, then the baseline on its archs
    monkeypatch.setattr(convergence, "distinct_functions", lambda archs: next(counts))
    table = render(study, truth)
    for method, name in (("se-nas", "current"), ("spos", "same")):
        row = only_row(table, method=method, set=name, epoch=60)
        assert [run["tau"] for run in row["per_seed"]] == [None, row["tau_mean"]] and row["n"] == 1
        assert row["tau_mean"] == points(before, method, name)[60]
    said = notes(table)
    assert "se-nas: the archs alive at the end are one function with seeds 0: nothing to rank, no tau." in said
    assert "alike" not in said
