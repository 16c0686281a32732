"""Unless it says otherwise, the truth is 50 + index, and over n archs the tau of an order of them, the worst first, is
1 less four times its inversions over n (n - 1)."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.analysis.artefacts.fig1 import render_fig1
from senas_bench.analysis.artefacts.table1 import ALONE, render_table1
from senas_bench.analysis.output.figures import save
from senas_bench.analysis.output.formats import to_text, write
from senas_bench.analysis.paper import numbers as paper
from senas_bench.analysis.style import style
from senas_bench.groundtruth import GroundTruth, Query

pytestmark = pytest.mark.filterwarnings("error")
MEAN = Query("cifar10", "test", 200, "mean")
TWELVE = list(range(20, 32))
"""Archs trained alone."""
SETTINGS = {"recipe": {"stage_epochs": [3, 4]}}


@pytest.fixture
def study(toy):
    """`study(method, seed, order)` adds a run that ranks the archs of an order, the worst first."""

    def add(method, seed, order, name="full", scores=None, **spec):
        archs = [toy.archs[index] for index in order]
        scores = np.arange(len(order)) if scores is None else np.array(scores)
        spec = ({"settings": SETTINGS} if method == "stand-alone" else {}) | spec
        name = "candidates" if method == "stand-alone" else name
        add.runs.add(method, seed, archs[0], toy.score_rows(name, archs, scores), **spec)

    add.runs = toy.Runs()
    return add


@pytest.fixture
def table_of(toy):
    """A truth with the values given for the first archs, by query; none for the others."""

    def make(columns):
        filled = {query: np.append(values, np.full(40 - len(values), np.nan)) for query, values in columns.items()}
        return GroundTruth("made-up", tuple(toy.archs), {MEAN: np.arange(50.0, 90.0)} | filled)

    return make


def render(study, truth, which=render_table1, **options):
    return which(study.runs.records, study.runs.scores, truth, no_timing=True, **options)


def row_of(table, ranking, column="cifar10_test"):
    (row,) = [row for row in table.meta["rows"] if (row["ranking"], row["column"]) == (ranking, column)]
    return row


def taus(row):
    return [run["tau"] for run in row["per_seed"]]


def swapped(order, first=0):
    """One inversion more."""
    order = list(order)
    order[first : first + 2] = order[first + 1], order[first]
    return order


def everything(study, seeds=3):
    """All rankings of table 1; the supernet of seed i has i swaps in all archs, none of them in the twelve, but for
    the last seed, which turns the twelve around."""
    for seed in range(seeds):
        order = list(range(40))
        for swap in range(seed):
            order = swapped(order, 2 * swap)
        if seed == 2:
            order[20:32] = TWELVE[::-1]
        study("spos", seed, order)
        study("stand-alone", seed, swapped(TWELVE) if seed else TWELVE)
        study("untrained", seed, range(39, -1, -1))
        study("params", seed, swapped(range(40), 10))
    study("flops", 0, range(40))


def test_each_ranking(study, truth):
    everything(study)
    table = render(study, truth)
    assert [row["ranking"] for row in table.meta["rows"]] == [
        *("supernet", "supernet, same archs", "stand-alone", "params", "flops", "untrained")
    ]
    pairs, few = 40 * 39 / 2, 12 * 11 / 2
    assert taus(row_of(table, "supernet")) == pytest.approx([1, 1 - 2 / pairs, 1 - 2 * (2 + few) / pairs])
    same = row_of(table, "supernet, same archs")
    assert taus(same) == pytest.approx([1, 1, -1])
    assert taus(row_of(table, "stand-alone")) == pytest.approx([1, 1 - 2 / few, 1 - 2 / few])
    assert taus(row_of(table, "params")) == pytest.approx([1 - 2 / pairs] * 3)
    assert taus(row_of(table, "flops")) == [pytest.approx(1)]
    assert taus(row_of(table, "untrained")) == pytest.approx([-1] * 3)
    # mean 1/3 and standard deviation sqrt(4/3); half width sqrt(4/3) / sqrt(3) times 4.302653, beyond what tau can be
    assert same["tau_mean"] == pytest.approx(1 / 3) and same["tau_std"] == pytest.approx((4 / 3) ** 0.5)
    assert (same["tau_low"], same["tau_high"]) == (-1, 1)
    alone = row_of(table, "stand-alone")
    half = 4.302652729911275 * np.std([1, 32 / 33, 32 / 33], ddof=1) / 3**0.5
    assert alone["tau_low"] == pytest.approx(97 / 99 - half) and alone["tau_high"] == 1
    assert [(row["archs_min"], row["archs_max"], row["n"]) for row in table.meta["rows"]] == [
        *((40, 40, 3), (12, 12, 3), (12, 12, 3), (40, 40, 3), (40, 40, 1), (40, 40, 3))
    ]
    assert row_of(table, "flops")["tau_low"] is row_of(table, "flops")["tau_std"] is None
    assert table.meta["seeds"] == [0, 1, 2]


def test_what_a_reader_sees(study, truth):
    everything(study)
    table = render(study, truth)
    frame = table.frame.set_index("ranking by")
    assert frame.loc["supernet, same archs"].tolist() == ["cifar10 test", "3", "12", "0.333 ± 1.155", "[-1.000, 1.000]"]
    assert frame.loc["flops"].tolist() == ["cifar10 test", "1", "40", "1.000", "–"]
    notes = "\n".join(table.notes)
    assert "stand-alone: networks of this preset trained from scratch on digits for 7 epochs." in table.notes
    assert "No row of full stand-alone training: the truth has no single training seeds." in table.notes
    assert "cifar10 test: the networks trained here saw digits; the paper trains on each data set." in table.notes
    assert "n = 1-3 seeds (0, 1, 2)" in notes and "A proxy: preset embedded" in notes
    assert not any(text in notes for text in ("No runs of", "alike", "did not rank", "ranks no archs"))
    assert "The paper's own numbers" in to_text(table)
    assert table.paper_frame.to_numpy().tolist() == [
        ["supernet accuracy (paper)", "0.543", "0.532", "0.539"],
        ["standalone accuracy (paper)", "0.853", "0.842", "0.845"],
    ]
    assert table.paper.equals(paper.table1())
    assert not any("(paper)" in row["ranking"] for row in table.meta["rows"])


def test_few_archs_trained_alone_have_no_interval(study, truth):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        study("spos", seed, rng.permutation(40).tolist())
        study("stand-alone", seed, rng.permutation(9).tolist())
    table = render(study, truth)
    assert row_of(table, "supernet")["tau_low"] is not None
    for name in ("stand-alone", "supernet, same archs"):
        assert row_of(table, name)["tau_low"] is None and row_of(table, name)["archs_max"] == 9


def test_the_whole_space_goes_before_a_sample(study, toy, truth):
    study("spos", 0, range(12), name="sample")
    assert row_of(render(study, truth), "supernet")["archs_max"] == 12
    whole = toy.score_rows("full", toy.archs, np.arange(40))
    (key,) = study.runs._tables
    study.runs._tables[key] = toy.score_rows("sample", toy.archs[:12], np.arange(12)).merge(whole, how="outer")
    assert row_of(render(study, truth), "supernet")["archs_max"] == 40


def test_a_supernet_that_lacks_an_arch_trained_alone(study, truth):
    study("spos", 0, range(10), name="sample")
    study("spos", 1, range(12), name="sample")
    study("stand-alone", 0, range(2, 12))
    table = render(study, truth)
    assert [run["seed"] for run in row_of(table, "supernet, same archs")["per_seed"]] == [1]
    assert "spos did not rank all archs trained alone with seeds 0." in table.notes
    study.runs.records.pop(1)
    table = render(study, truth)
    assert [row["ranking"] for row in table.meta["rows"]] == ["supernet", "stand-alone"]
    assert "spos did not rank all archs trained alone with seeds 0." in table.notes


@pytest.mark.parametrize("which", [render_table1, render_fig1])
def test_stand_alone_runs_of_different_archs(study, truth, which):
    study("spos", 0, range(40))
    study("stand-alone", 0, TWELVE)
    study("stand-alone", 1, TWELVE[:-1])
    with pytest.raises(ValueError, match="the stand-alone runs trained different archs"):
        render(study, truth, which)


def test_rankings_without_a_tau_are_named(study, truth):
    study("spos", 0, range(40))
    study("spos", 1, range(40), scores=np.zeros(40))
    study("spos", 2, [0])  # one arch is no ranking
    study("stand-alone", 0, TWELVE, scores=np.zeros(12))
    study.runs.add("untrained", 4, "x")
    table = render(study, truth)
    assert taus(row_of(table, "supernet")) == [1, None] and row_of(table, "supernet")["tau_mean"] == 1
    assert (row_of(table, "stand-alone")["n"], row_of(table, "stand-alone")["tau_mean"]) == (0, None)
    for note in (
        "supernet scored all archs alike with seeds 1; those have no tau.",
        "supernet, same archs scored all archs alike with seeds 1; those have no tau.",
        "stand-alone scored all archs alike with seeds 0; those have no tau.",
        "spos ranks no archs with seeds 2.",
        "untrained ranks no archs with seeds 4.",
        "No runs of: params, flops.",
    ):
        assert note in table.notes
    assert table.frame["tau"].tolist()[2] == "–"


def test_no_ranking_at_all(study, truth):
    study.runs.add("untrained", 0, "x")
    with pytest.raises(ValueError, match="none of the runs ranks archs; table1 needs runs of stand-alone, spos, unt"):
        render(study, truth)
    study("se-nas", 0, range(40))
    with pytest.raises(ValueError, match="none of the runs ranks archs"):
        render(study, truth, methods=["se-nas"])
    with pytest.raises(ValueError, match=r"no runs of params; there are runs of: se-nas, untrained"):
        render(study, truth, methods=["params"])


def test_asked_methods(study, truth):
    everything(study)
    table = render(study, truth, methods=["params", "spos"])
    assert [row["ranking"] for row in table.meta["rows"]] == ["supernet", "params"]
    assert "No runs of" not in "\n".join(table.notes)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"preset": "cpu"}, "preset cpu and embedded never share a table"),
        ({"settings": {"preset": {"cells": 5}}}, "different sizes of preset embedded"),
        ({"threads": 2}, "method stand-alone has two runs of one seed"),
    ],
)
@pytest.mark.parametrize("which", [render_table1, render_fig1])
def test_runs_that_never_share_a_table(study, truth, which, spec, message):
    study("stand-alone", 0, TWELVE)
    study("stand-alone", 0, TWELVE, **spec)
    with pytest.raises(ValueError, match=message):
        render(study, truth, which)


def test_one_full_training_against_another(study, table_of):
    """Seeds 777 and 888 share three archs, in one order; 777 and 999 three, with an inversion; 888 and 999 one."""
    nan = np.nan
    truth = table_of(
        {
            Query("cifar10", "test", 200, 999): [nan, 1, 3, nan, nan, 2],
            Query("cifar10", "test", 200, 777): [10, 20, 30, 40, nan, 50],
            Query("cifar10", "test", 200, 888): [1, nan, 2, 4, 3, nan],
            Query("cifar10", "test", 12, 777): range(6),
            Query("cifar10", "test", 12, 888): range(6),
            Query("cifar100", "valtest", 200, 777): [1, 2, 3],
            Query("cifar100", "valtest", 200, 888): [3, 2, 1],
            Query("cifar100", "val", 200, 777): [1, 2, 3],
        }
    )
    for seed in range(3):
        study("spos", seed, range(40))
    table = render(study, truth)
    row = row_of(table, "stand-alone, benchmark")
    assert [(run["seed"], run["archs"]) for run in row["per_seed"]] == [("777-888", 3), ("777-999", 3), ("888-999", 1)]
    assert taus(row) == [pytest.approx(1), pytest.approx(1 / 3), None]
    assert (row["n"], row["archs_min"], row["archs_max"]) == (2, 1, 3)
    assert row["tau_mean"] == pytest.approx(2 / 3) and row["tau_std"] == pytest.approx((2 / 9) ** 0.5)
    assert row_of(table, "stand-alone, benchmark", "cifar100_valtest")["tau_mean"] == pytest.approx(-1)
    assert [row["column"] for row in table.meta["rows"] if row["ranking"] == "stand-alone, benchmark"] == [
        *("cifar10_test", "cifar100_valtest")
    ]
    notes = "\n".join(table.notes)
    assert "n counts pairs of seeds, which share seeds: no interval" in notes
    assert "No row of full stand-alone training" not in notes
    assert "\ncifar10 test: the networks trained here saw digits" in notes  # the benchmark's own column has no transfer
    assert "n = 3 seeds (0, 1, 2)" in notes


def test_benchmark_seeds_have_no_interval(study, table_of):
    values = np.arange(50.0, 90.0)
    seeds = {seed: np.array(swapped(values, seed)) for seed in (1, 2, 3)}
    truth = table_of({Query("cifar10", "val", 200, seed): column for seed, column in seeds.items()})
    study("params", 0, range(40))
    table = render(study, truth)
    row = row_of(table, "stand-alone, benchmark", "cifar10_val")
    pairs = 40 * 39 / 2
    # 1 and 2 (as 2 and 3) turn three archs around a cycle, 1 and 3 swap two pairs apart: 2 inversions each
    assert taus(row) == pytest.approx([1 - 2 * 2 / pairs] * 3)
    assert row["n"] == 3 and row["archs_min"] == 40
    assert row["tau_low"] is row["tau_high"] is None


def test_columns_and_what_was_trained_on(study, toy):
    rising = np.arange(50.0, 90.0)
    columns = {Query("cifar100", "test", 200, "mean"): rising[::-1].copy(), MEAN: rising}
    columns |= {Query("cifar10", "val", 200, "mean"): rising}
    study("spos", 0, range(40), dataset="cifar10")
    table = render(study, toy.FakeTruth(columns))
    assert [(row["column"], row["tau_mean"]) for row in table.meta["rows"]] == [
        ("cifar10_test", pytest.approx(1)),
        ("cifar100_test", pytest.approx(-1)),
    ]
    assert "cifar100 test: the networks trained here saw cifar10; the paper trains on each data set." in table.notes
    study.runs.records.clear()
    study("params", 0, range(40))
    assert "saw" not in "\n".join(render(study, toy.FakeTruth(columns)).notes)  # no image was seen


def test_a_truth_that_lacks_archs(study, toy):
    few = GroundTruth("few", tuple(toy.archs[:12]), {MEAN: np.append(np.arange(11.0), np.nan)})
    study("spos", 0, range(10), name="sample")
    assert row_of(render(study, few), "supernet")["tau_mean"] == pytest.approx(1)
    study("untrained", 0, range(11, 15), name="sample")
    with pytest.raises(ValueError, match="lacks 3 of 4 archs"):
        render(study, few)


def check_layout(figure):
    """Nothing is cut, and panels are wide enough to read."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, (width, height) = canvas.get_renderer(), figure.get_size_inches()
    tight = figure.get_tightbbox(renderer)  # inches
    assert min(tight.x0, tight.y0) > -0.01 and tight.x1 < width + 0.01 and tight.y1 < height + 0.01
    for ax in figure.axes:
        assert ax.get_window_extent(renderer).width > 100


def check_saved(table, figure, folder):
    """Drawn again, the table gives the same files."""
    again = save(ARTEFACTS[table.name].figure(table), folder / "again", table.name)
    for path, other in zip(save(figure, folder, table.name), again, strict=True):
        assert path.read_bytes() == other.read_bytes() and path.stat().st_size > 1000
    check_layout(figure)


@pytest.mark.slow
def test_table1_is_drawn(study, table_of, tmp_path):
    everything(study)
    values = np.arange(50.0, 90.0)
    single = {Query("cifar10", "val", 200, seed): np.array(swapped(values, seed)) for seed in (1, 2)}
    hundred = {Query("cifar100", "test", 200, "mean"): values[::-1].copy()}
    table = render(study, table_of(single | hundred))
    figure = ARTEFACTS["table1"].figure(table)
    first, second = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["cifar10", "cifar100"]
    names = ["supernet", "supernet, same archs", "stand-alone", "stand-alone, benchmark"]
    names += ["params", "flops", "untrained"]
    labels = [label.get_text() for label in first.get_yticklabels()]
    counts = ["3 seeds, 40 archs"] + ["3 seeds, 12 archs"] * 2 + ["1 pairs, 40 archs"]
    counts += [f"{n} seeds, 40 archs" for n in (3, 1, 3)]
    assert labels == [f"{name}\n{count}" for name, count in zip(names, counts, strict=True)]
    assert first.get_xlim() == second.get_xlim() and first.get_xlim()[1] == 1
    assert first.get_ylim()[0] > first.get_ylim()[1]  # the first on top
    for ax, dataset in ((first, "cifar10"), (second, "cifar100")):
        dots = {line.get_ydata()[0]: line for line in ax.lines if line.get_marker() == "o"}
        rows = [row for row in table.meta["rows"] if row["column"].startswith(f"{dataset}_")]
        assert {names[place]: line.get_xdata()[0] for place, line in dots.items()} == {
            row["ranking"]: row["tau_mean"] for row in rows
        }
        tints = {names[place]: to_hex(line.get_color()) for place, line in dots.items()}
        assert tints["supernet"] == tints["supernet, same archs"] == style("spos").colour
        assert tints["stand-alone"] == style("stand-alone").colour and tints["untrained"] == style("untrained").colour
        printed = {(names[line.get_ydata()[0]], line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "D"}
        numbers = paper.table1().set_index("ranking")[dataset].tolist()
        assert printed == set(zip(("supernet", "stand-alone, benchmark"), numbers, strict=True))
    bars = [(y, low, high) for part in first.collections for (low, y), (high, _) in part.get_segments()]
    spread = row_of(table, "supernet, same archs")
    assert [bar[1:] for bar in bars if bar[0] == 1] == [
        pytest.approx((spread["tau_mean"] - spread["tau_std"], 1))  # cut: one standard deviation up is more than 1
    ]
    assert [text.get_text() for text in first.texts] == ["paper", "paper"]
    check_saved(table, figure, tmp_path)


@pytest.mark.parametrize("case", ["params", "benchmark", "alike"])
def test_little_of_table1_to_draw(study, table_of, tmp_path, case):
    values = np.arange(50.0, 90.0)
    single = {Query("cifar10", "val", 200, seed): values for seed in range(2)} if case == "benchmark" else {}
    study("params", 0, range(40), scores=np.zeros(40) if case == "alike" else None)
    table = render(study, table_of(single))
    figure = ARTEFACTS["table1"].figure(table)
    assert len(figure.axes[0].texts) == (case == "benchmark")  # of the paper's numbers, none is of params
    check_saved(table, figure, tmp_path)


SCORES = ([1, 2, 3, 4, 5], [2, 1, 3, 5, 5], [5, 4, 3, 2, 1])
"""Of archs 0 to 4, whose truth puts 4 first; the second ties archs 3 and 4."""


def repeats(study, shared=True, scores=SCORES):
    for seed, values in enumerate(scores):
        study("stand-alone", seed, range(len(values)), scores=values)
        if shared:
            study("spos", seed, range(40))


def test_ranks_over_repeats(study, truth, toy):
    repeats(study)
    table = render(study, truth, render_fig1)
    rows = table.meta["rows"]
    assert [row["arch_str"] for row in rows] == [toy.archs[index] for index in (4, 3, 2, 1, 0)]
    assert [row["truth_rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["accuracy"] for row in rows] == [54, 53, 52, 51, 50]
    assert [row["stand_alone_ranks"] for row in rows] == [*([1, 1.5, 5], [2, 1.5, 4], [3, 3, 3], [4, 5, 2], [5, 4, 1])]
    assert [row["supernet_ranks"] for row in rows] == [[float(rank)] * 3 for rank in range(1, 6)]
    first = rows[0]
    assert [first[f"stand_alone_{key}"] for key in ("min", "q25", "median", "q75", "max")] == [1, 1.25, 1.5, 3.25, 5]
    # of three ranks the mean over three pairs is two thirds of the range
    assert table.meta["spread"]["stand-alone"] == pytest.approx([8 / 3, 5 / 3, 0, 2, 8 / 3])
    assert table.meta["spread"]["supernet"] == [0] * 5
    assert (table.meta["column"], table.meta["seeds"]) == ("cifar10_test", [0, 1, 2])
    notes = "\n".join(table.notes)
    assert "5 random archs, ranked among themselves: 1 = best, ties at their mean rank." in table.notes
    assert "stand-alone: the rank of an arch differs by 1.80 between two repeats on average, of 3." in table.notes
    assert "supernet: the rank of an arch differs by 0.00 between two repeats on average, of 3." in table.notes
    assert "No runs of" not in notes and "n = 3 seeds (0, 1, 2)" in notes
    assert table.frame["stand-alone: range"].tolist() == ["1.0-5.0", "1.5-4.0", "3.0-3.0", "2.0-5.0", "1.0-5.0"]
    assert table.frame["stand-alone: median rank"].tolist() == ["1.5", "2.0", "3.0", "4.0", "4.0"]
    assert table.frame["accuracy"].tolist()[0] == "54.00" and table.frame["truth rank"].tolist()[0] == "1"
    assert len(table.paper) == 0


def test_one_shot_ranks_are_among_the_archs_trained_alone(study, truth):
    repeats(study, shared=False)
    for seed in range(2):
        study("spos", seed, [0, 20, 2, 1, 30, 3, 4] if seed else range(8), name="sample")
    rows = render(study, truth, render_fig1).meta["rows"]
    assert [row["supernet_ranks"] for row in rows] == [[1, 1], [2, 2], [3, 4], [4, 3], [5, 5]]


def test_archs_of_equal_truth_are_in_the_order_of_their_strings(study, toy):
    flat = toy.FakeTruth({MEAN: np.array([60.0, *[50.0] * 38, 40.0])})
    repeats(study, shared=False)
    table = render(study, flat, render_fig1)
    assert [row["arch_str"] for row in table.meta["rows"]] == [toy.archs[0], *sorted(toy.archs[1:5])]


def test_fig1_refers_to_the_primary_column(study, toy):
    rising = np.arange(50.0, 90.0)
    both = toy.FakeTruth({Query("cifar10", "val", 200, "mean"): rising[::-1].copy(), MEAN: rising})
    repeats(study)
    assert render(study, both, render_fig1).meta["rows"][0]["accuracy"] == 54


def test_fig1_without_a_supernet(study, truth):
    repeats(study, shared=False)
    table = render(study, truth, render_fig1)
    assert list(table.meta["spread"]) == ["stand-alone"]
    assert "No runs of: spos." in table.notes
    assert not any("supernet" in name for name in (*table.frame, *table.meta["rows"][0]))
    assert len(ARTEFACTS["fig1"].figure(table).axes) == 1


def test_fig1_without_archs_trained_alone(study, truth):
    study("spos", 0, range(40))
    with pytest.raises(ValueError, match="fig1 needs runs of stand-alone; there are runs of: spos"):
        render(study, truth, render_fig1)
    assert ARTEFACTS["fig1"].of(study.runs.records) == []


@pytest.mark.parametrize("order", [range(1, 9), [0]])
def test_fig1_needs_all_archs_of_the_supernet(study, truth, order):
    repeats(study)
    study("spos", 7, order, name="sample")
    with pytest.raises(ValueError, match="a run of spos did not rank all archs trained alone"):
        render(study, truth, render_fig1)


def test_one_repeat_has_no_spread(study, truth):
    repeats(study, scores=SCORES[:1])
    table = render(study, truth, render_fig1)
    assert table.meta["spread"]["stand-alone"] == [0] * 5
    assert "stand-alone: one repeat, which has no spread." in table.notes


@pytest.mark.slow
def test_fig1_is_drawn(study, truth, tmp_path):
    repeats(study)
    study("stand-alone", 5, range(5), scores=[1, 2, 3, 4, 5])
    table = render(study, truth, render_fig1)
    figure = ARTEFACTS["fig1"].figure(table)
    titles = [ax.get_title() for ax in figure.axes]
    spread = [np.mean(table.meta["spread"][name]) for name in ("stand-alone", "supernet")]
    assert titles == [
        f"{name} accuracy, {n} repeats: a rank differs by {mean:.1f} between two"
        for name, n, mean in zip(("stand-alone", "supernet"), (4, 3), spread, strict=True)
    ]
    assert [ax.get_ylabel() for ax in figure.axes] == ["rank by stand-alone", "rank by supernet"]
    for ax, key in zip(figure.axes, ("stand_alone", "supernet"), strict=True):
        medians = [line for line in ax.lines if line.get_linewidth() == 1.2 and line.get_color() == "black"]
        assert [line.get_ydata()[0] for line in medians] == [row[f"{key}_median"] for row in table.meta["rows"]]
        assert [np.mean(line.get_xdata()) for line in medians] == pytest.approx([1, 2, 3, 4, 5])
        tint = style("spos" if key == "supernet" else ALONE).colour
        assert not ax.patches and {to_hex(part.get_facecolor()[0]) for part in ax.collections} == {tint}
        assert ax.get_ylim() == (5.7, 0.3)  # rank 1 on top
    assert figure.axes[-1].get_xlabel() == "archs by cifar10 test accuracy, best left; on the grey line both agree"
    check_saved(table, figure, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("archs", [1, 2, 30])
def test_little_and_much_of_fig1_to_draw(study, truth, tmp_path, archs):
    study("stand-alone", 0, range(archs))
    study("spos", 0, range(40))
    table = render(study, truth, render_fig1)
    assert [row["truth_rank"] for row in table.meta["rows"]] == list(range(1, archs + 1))
    check_saved(table, ARTEFACTS["fig1"].figure(table), tmp_path)


def test_the_order_of_runs_does_not_matter(study, table_of, tmp_path):
    everything(study)
    single = {Query("cifar10", "test", 200, seed): np.arange(40.0) % (seed + 7) for seed in range(3)}
    truths = table_of(single), table_of(dict(reversed(single.items())))
    for artefact in (ARTEFACTS["table1"], ARTEFACTS["fig1"]):
        first = artefact.render(artefact.of(study.runs.records), study.runs.scores, truths[0], no_timing=True)
        again = artefact.render(artefact.of(study.runs.records[::-1]), study.runs.scores, truths[1], no_timing=False)
        paths = write(first, tmp_path / "a"), write(again, tmp_path / "b")
        assert [path.read_bytes() for path in paths[0]] == [path.read_bytes() for path in paths[1]]


def test_names_and_methods():
    assert ARTEFACTS["table1"].methods == ("stand-alone", "spos", "untrained", "params", "flops")
