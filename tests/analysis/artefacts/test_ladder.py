"""The ladder on runs and a benchmark that can be worked out by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from senas_bench.analysis.artefacts import ARTEFACTS, records_of
from senas_bench.analysis.artefacts.ladder import measured, quintiles, render_ladder
from senas_bench.analysis.artefacts.ladder_references import features, references
from senas_bench.analysis.style import Style, style
from senas_bench.experiments.store import RunStore
from senas_bench.groundtruth import GroundTruth, Query
from senas_bench.methods import METHODS
from senas_bench.spaces.nasbench201 import CONV3, arch_from_str, arch_to_str
from senas_bench.spaces.nasbench201.functions import half_of

TEST, SHORT, LONG = (
    Query("cifar10", split, epochs, "mean") for split, epochs in (("test", 200), ("val", 12), ("val", 200))
)


@pytest.fixture(scope="module")
def study(toy):
    """Two runs of spos, which counted its work: the truth reversed, and the truth. One of params, and a search from
    scratch; 40 archs of rising truth."""
    runs = toy.Runs()
    for seed, order in enumerate((range(40), range(39, -1, -1))):
        runs.add("spos", seed, toy.archs[10 * seed + 20], toy.score_rows("full", toy.archs, -np.array(order)))
        counters = {"train_steps": 1, "forward_paths": 1, "nominal_multiply_adds": 10**13}
        counters["multiply_adds"] = 10**12 * (seed + 1)
        runs.records[-1] = replace(runs.records[-1], counters={"search": counters})
    runs.add("params", 0, toy.archs[39], toy.score_rows("full", toy.archs, np.arange(40.0)))
    runs.records[-1] = replace(runs.records[-1], counters={"search": {"forward_paths": 0}})
    runs.add("random-search", 0, toy.archs[38], settings={"truth": {"dataset": "cifar10"}})
    runs.records[-1] = replace(runs.records[-1], history=({"arch": toy.archs[0], "accuracy_12ep": 50.0},))
    return runs


@pytest.fixture(scope="module")
def bench(toy):
    """40 archs: 12 epochs give the truth's order, and of two seeds of 200 epochs one has the first 30 archs alone."""
    rising, some = np.arange(50.0, 90.0), np.where(np.arange(40) < 30, np.arange(40.0), np.nan)
    seeds = {Query("cifar10", "val", 200, 777): rising, Query("cifar10", "val", 200, 888): some[::1]}
    return GroundTruth("toy", tuple(toy.archs), {TEST: rising, SHORT: rising / 2, LONG: rising, **seeds})


@pytest.fixture(scope="module")
def table(study, bench):
    return render_ladder(study.records, study.scores, bench, no_timing=True)


def rows_of(table):
    return {row["method"]: row for row in table.meta["rows"]}


def test_what_is_measured_of_a_ranking(toy):
    """The truth itself; then the truth but for the best two, exchanged."""
    truth = np.arange(50.0, 90.0)
    found = measured(toy.archs, truth, truth)
    assert found["tau"] == pytest.approx(1) and found["tau_quintiles"] == pytest.approx(1)
    assert (found["precision_at_10"], found["best_of_20"], found["archs"]) == (1, 89, 40)
    assert found["tau_top10"] is None  # a tenth of 40 archs is too few
    swapped = [*range(38), 39, 38]
    assert measured(toy.archs, np.array(swapped), truth)["tau"] == pytest.approx(1 - 2 / (40 * 39 / 2))
    assert measured(toy.archs, -truth, truth)["best_of_20"] == 69


def test_each_half_of_the_functions_has_a_tau_of_its_own(toy):
    truth = np.arange(50.0, 90.0)
    of = np.array([half_of(arch_from_str(arch)) for arch in toy.archs])
    assert set(of) == {0, 1}
    assert measured(toy.archs, np.where(of == 1, -truth, truth), truth)["halves"] == [
        pytest.approx(1),
        pytest.approx(-1),
    ]


def test_fifths_by_flops_keep_equal_archs_together():
    """Ten archs by their number of 3x3: 0 0 0 0 1 1 2 3 4 5. Mean ranks 2.5, 5.5, 7, ... over 10, in fifths."""
    counts = [0, 0, 0, 0, 1, 1, 2, 3, 4, 5]
    zeros = [
        (1, 0, 0, 0, 0, 0),
        (0, 1, 0, 0, 0, 0),
        (0, 0, 1, 0, 0, 0),
        (0,) * 6,
        (3, 0, 0, 0, 0, 0),
        (0, 3, 0, 0, 0, 0),
    ]
    archs = zeros + [(CONV3,) * count + (0,) * (6 - count) for count in counts[6:]]
    assert quintiles([arch_to_str(arch) for arch in archs]).tolist() == [1, 1, 1, 1, 2, 2, 3, 3, 4, 4]


def test_rows_of_methods(table):
    rows = rows_of(table)
    spos = rows["spos"]
    assert (spos["n"], spos["tau_mean"], spos["cost"]) == (2, pytest.approx(0), "counted")
    assert spos["tau_std"] == pytest.approx(2**0.5) and spos["tau_low"] is None  # two seeds have no interval
    assert (spos["multiply_adds_mean"], spos["nominal_mean"]) == (1.5e12, 1e13)
    assert spos["regret_mean"] == pytest.approx(((89 - 70) + (89 - 80)) / 2)
    assert spos["best_of_20_mean"] == pytest.approx((69 + 89) / 2)
    assert (rows["params"]["multiply_adds_mean"], rows["params"]["regret_mean"]) == (0, 0)
    bought = rows["random-search"]
    assert (bought["tau_mean"], bought["regret_mean"], bought["cost"]) == (None, 1, "looked up")
    assert bought["multiply_adds_mean"] > 12 * 25_000 * 3 * 7.78e6  # what surrounds the cells


def test_rows_of_reference(table):
    """12 epochs order as the truth does; so does the seed of 200 that all archs have. Another lacks ten of them."""
    rows = rows_of(table)
    short, long = rows["12 epochs each"], rows["200 epochs each"]
    assert (short["n"], short["tau_mean"], short["regret_mean"]) == (1, pytest.approx(1), 0)
    assert (long["n"], long["tau_mean"], long["archs_min"], long["archs_max"]) == (1, pytest.approx(1), 40, 40)
    assert long["regret_mean"] == 0
    assert long["multiply_adds_mean"] == pytest.approx(short["multiply_adds_mean"] * 200 / 12)
    learned = [rows[f"{kind}, 25 x {epochs} epochs"] for kind in ("ridge", "trees") for epochs in (12, 200)]
    assert all(row["n"] == 3 and row["cost"] == "looked up" for row in learned)
    assert learned[1]["multiply_adds_mean"] == pytest.approx(learned[0]["multiply_adds_mean"] * 200 / 12)
    assert not any("100 x" in name for name in rows)  # there are 40


def test_a_truth_without_such_trainings_has_no_rows_of_them(study, truth, toy):
    table = render_ladder(study.records, study.scores, truth, no_timing=True)
    assert {row["kind"] for row in table.meta["rows"]} == {"method"}
    assert any(note.startswith("No row of another 200-epoch seed") for note in table.notes)


def test_predictors_learn_from_the_archs_that_they_pay_for(bench, toy):
    """A linear predictor of an accuracy that is linear in the operators orders all archs rightly."""
    values = features(toy.archs)[:, :30] @ np.random.default_rng(0).random(30)
    table = GroundTruth("toy", tuple(toy.archs), {TEST: 50 + values, SHORT: 50 + values})
    found = {(one.name, one.seed): one for one in references(table, "cifar10", toy.archs, {})}
    tau = pd.Series(found["ridge, 25 x 12 epochs", 0].scores).corr(pd.Series(values), method="kendall")
    assert tau > 0.5 and len({one.multiply_adds for (name, _), one in found.items() if name.startswith("ridge")}) == 3
    helped = references(table, "cifar10", toy.archs, {"oracle": values})
    assert "ridge + proxies, 25 x 12 epochs" in {one.name for one in helped}


def test_features_say_the_operators_and_the_size():
    archs = [arch_to_str((0,) * 6), arch_to_str((CONV3,) * 6)]
    table = features(archs)
    assert table.shape == (2, 32) and table[:, :30].sum(1).tolist() == [6, 6]
    assert table[0, :30].nonzero()[0].tolist() == list(range(0, 30, 5))
    assert (table[0, 30:] < -1).all() and (table[1, 30:] > 1).all()


def test_every_method_with_runs_stands_on_it(runs):
    artefact = ARTEFACTS["ladder"]
    assert artefact.methods == ARTEFACTS["table3"].methods
    assert {"si-shrink", "stand-alone", "random-search", "fairnas+se-nas"} <= set(artefact.also())
    extra = [replace(r, spec=replace(r.spec, method=name)) for r in runs.records[:1] for name in ("si-shrink", "pcnas")]
    shown = {record.spec.method for record in records_of("ladder", [*runs.records, *extra])}
    assert shown == {"random", "spos", "se-nas", "si-shrink", "pcnas"}


def crowded(toy):
    """Seventeen methods whose costs lie within a factor of three, some without a colour of their own. None is taken for
    a proxy."""
    runs, rng = toy.Runs(), np.random.default_rng(0)
    names = [name for name in METHODS if not METHODS[name].needs_truth][::4][:17]
    for name in names:
        runs.add(name, 0, toy.archs[int(rng.integers(40))], toy.score_rows("full", toy.archs, rng.random(40)))
        cost = {"train_steps": 1, "multiply_adds": int(1e12 * 3 ** rng.random()), "nominal_multiply_adds": 1}
        runs.records[-1] = replace(runs.records[-1], counters={"search": cost})
    return runs, names


def test_names_in_the_figure_do_not_lie_on_each_other(toy, truth):
    runs, names = crowded(toy)
    figure = ARTEFACTS["ladder"].figure(render_ladder(runs.records, runs.scores, truth, no_timing=True))
    figure.draw_without_rendering()
    coloured = {name for name in names if style(name).colour != Style().colour}
    assert len(coloured) > 4 and set(names) - coloured  # the others are small, and named where there is room
    for ax in figure.axes:
        texts = {text.get_text().removesuffix(" †"): Text.get_window_extent(text) for text in ax.texts}
        assert coloured <= texts.keys()
        for (one, a), (other, b) in itertools.combinations(texts.items(), 2):
            assert not a.padded(-1.5).overlaps(b.padded(-1.5)), (one, other)


def test_the_figure_shows_what_costs_nothing_and_what_was_bought(table):
    figure = ARTEFACTS["ladder"].figure(table)
    tau, regret = figure.axes
    assert tau.get_xticklabels()[0].get_text() == "" and regret.get_xticklabels()[0].get_text() == "0"
    shown = {text.get_text() for text in regret.texts}
    assert {"spos", "params", "random-search", "12 epochs each", "trees, 25 x 12 epochs"} <= shown
    assert "random-search" not in {text.get_text() for text in tau.texts}


@pytest.mark.slow
def test_the_command_line_shows_finished_runs_of_any_method(study, toy, bench, tmp_path, monkeypatch):
    """From a folder, by the artefact's own name."""
    from senas_bench.analysis.artefacts import make

    store = RunStore(tmp_path)
    for record in study.records:
        store.save(record, study.scores(record) if record.scores_sha256 else None)
    bench.save(tmp_path / "truth.parquet")
    rows = rows_of(make("ladder", tmp_path, tmp_path / "truth.parquet"))
    assert {"spos", "params", "random-search", "12 epochs each"} <= rows.keys()
