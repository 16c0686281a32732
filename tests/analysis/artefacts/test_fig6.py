import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.analysis.artefacts import fig6 as survival
from senas_bench.analysis.artefacts.fig6 import render_fig6
from senas_bench.analysis.metrics.operators import (
    DRAWS,
    operator_truth,
    random_reference,
    random_survivors,
    rate_interval,
    survivors,
)
from senas_bench.analysis.output.figures import save
from senas_bench.analysis.output.formats import to_text, write
from senas_bench.groundtruth import GroundTruth, Query, load_ground_truth
from senas_bench.shrinking.shrink import shrink
from senas_bench.spaces.nasbench201 import NB201, arch_to_str

STRINGS = list(map(arch_to_str, NB201))
WEIGHTS = np.array([20, 19, 18, 17, 16, 15])
"""Accuracy is 50 + (sum over edges of weight * (2 - operator)) / 8, exact in floats. So operator 0 has ranks 1 to 6 on
edges 0 to 5, operator 1 ranks 7 to 12; operator 2 is equal on all edges, ranks 13 to 18 by edge; operator 3 has ranks
19 to 24 on edges 5 to 0 and operator 4 ranks 25 to 30 on edges 5 to 0."""
FIRST = [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3]]
"""Ranks 1 to 20."""
SECOND = [[1], [0], [0, 1], [0, 1], [0, 1], [0, 1]]
"""Ranks 7; 2; 3, 9; 4, 10; 5, 11; 6, 12: the best arch needs rank 1, whose successor costs 20 / 8 points."""
WORST = [[4], [4], [3, 4], [3, 4], [3, 4], [3, 4]]
"""Ranks 30; 29; 22, 28; 21, 27; 20, 26; 19, 25: none of the top 10 and three of the top 21."""


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(survival, "DRAWS", 200)


@pytest.fixture(scope="module")
def made_up(query) -> GroundTruth:
    return GroundTruth("made-up", tuple(STRINGS), {query: 50 + (2.0 - NB201.archs()) @ WEIGHTS / 8})


@pytest.fixture(scope="module")
def operators(made_up):
    return operator_truth(made_up)


@pytest.fixture
def shrunk(toy):
    """`shrunk(method, seed, *candidates)` adds a run with one shrink for each; `shrunk.runs` holds them."""

    def add(method: str, seed: int, *candidates: list[list[int]]) -> None:
        add.runs.add(method, seed, STRINGS[0])
        history = [{"stage": 1, "epoch": 1, "loss": 2.0}]
        for stage, alive in enumerate(candidates, start=1):
            history.append({"stage": stage, "epoch": 20 * stage, "candidates": alive, "dropped": [], "scores": {}})
        add.runs.records[-1] = replace(add.runs.records[-1], history=tuple(history))

    add.runs = toy.Runs()
    return add


def render(shrunk, truth, methods=None):
    return render_fig6(shrunk.runs.records, shrunk.runs.scores, truth, no_timing=True, methods=methods)


def test_operators_are_judged_on_the_images_of_the_runs(made_up, query, toy, monkeypatch):
    accuracy = made_up.accuracy(query, STRINGS)
    both = GroundTruth(
        "both", tuple(STRINGS), {query: accuracy, Query("cifar100", "test", 200, "mean"): 100 - accuracy}
    )
    recalls = {}
    for images in ("digits", "cifar100"):
        runs = toy.Runs()
        runs.add("se-nas", 0, STRINGS[0], dataset=images)
        history = ({"stage": 1, "epoch": 20, "candidates": FIRST, "dropped": [], "scores": {}},)
        table = render_fig6([replace(runs.records[0], history=history)], runs.scores, both, no_timing=True)
        recalls[table.meta["column"]] = table.meta["rows"][0]["recall_10_mean"]
    # turned round, the top ten are operator 4 and operator 3 on edges 0 to 3; FIRST keeps 3 on edges 4 and 5 alone
    assert recalls == {"cifar10_test": 1.0, "cifar100_test": 0.0}


def row_of(table, method: str, stage: int):
    return next(row for row in table.meta["rows"] if (row["method"], row["stage"]) == (method, stage))


def notes_with(table, *words: str) -> list[str]:
    return [note for note in table.notes if all(word in note for word in words)]


def test_operators_are_ranked_by_the_mean_over_all_archs_that_contain_them(operators):
    expected = [(edge, op) for op in (0, 1, 2) for edge in range(6)]
    expected += [(edge, op) for op in (3, 4) for edge in reversed(range(6))]
    assert list(operators.pairs) == expected
    assert operators.scores.tolist() == [50 + WEIGHTS[edge] * (2 - op) / 8 for edge, op in expected]
    assert operators.accuracy[0] == 50 + 2 * WEIGHTS.sum() / 8
    assert operators.archs[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert operators.named()[0] == {"operator": "0->1 none", "score": 55.0}


def test_the_best_and_worst_operator_of_the_benchmark(shared):
    real = operator_truth(load_ground_truth(shared / "nb201" / "nb201_accuracies.parquet"))
    named = real.named()
    assert (named[0]["operator"], round(named[0]["score"], 2)) == ("0->3 nor_conv_3x3", 91.78)
    assert (named[-1]["operator"], round(named[-1]["score"], 2)) == ("0->3 none", 79.24)
    # the top 10 lie on five edges, so one of the last ten operators must be of the sixth
    assert random_reference(real, 10)["recall_10_possible"] == 0.9
    assert random_reference(real, 20)["recall_10_possible"] == 1
    assert real.accuracy[0] == pytest.approx(94.37, abs=0.005)


def test_a_truth_that_lacks_archs(shrunk, truth, query):
    shrunk("se-nas", 0, FIRST)
    with pytest.raises(ValueError, match=r"holds 40 archs; .* all 15,625 archs"):
        render(shrunk, truth)
    gap = np.full(NB201.size, 50.0)
    gap[7] = np.nan
    with pytest.raises(ValueError, match=r"lacks cifar10_test_acc_200ep of some archs; .* all 15,625"):
        render(shrunk, GroundTruth("gap", tuple(STRINGS), {query: gap}))


def test_survivors_by_hand(operators):
    first, second, worst = (survivors(candidates, operators) for candidates in (FIRST, SECOND, WORST))
    assert first["alive"] == list(range(1, 21))
    assert (first["recall_10"], first["recall_21"], first["survivor_rank"]) == (1, 20 / 21, 10.5)
    assert (first["space_best"], first["space_regret"], first["holds_best"]) == (76.25, 0, True)
    assert second["alive"] == [2, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    assert (second["recall_10"], second["recall_21"], second["survivor_rank"]) == (0.8, 10 / 21, 6.9)
    assert (second["space_best"], second["space_regret"], second["holds_best"]) == (73.75, 2.5, False)
    assert (worst["recall_10"], worst["recall_21"], worst["survivor_rank"]) == (0, 3 / 21, 24.7)
    assert worst["space_best"] == 50 - (2 * 20 + 2 * 19 + 18 + 17 + 16 + 15) / 8


def test_best_arch_left_against_looking_at_all(benchmark_table):
    truth = load_ground_truth(benchmark_table)
    made, rng = operator_truth(truth), np.random.default_rng(0)
    accuracy = truth.accuracy(Query("cifar10", "test", 200, "mean"), STRINGS)
    for keep in (1, 2, 4):
        chosen = [sorted(rng.choice(5, size=keep, replace=False).tolist()) for _ in NB201.edges]
        inside = replace(NB201, candidates=tuple(map(tuple, chosen))).contains_rows(NB201.archs())
        assert inside.sum() == keep**6
        assert survivors(chosen, made)["space_best"] == accuracy[inside].max()


def test_rows_over_seeds(shrunk, made_up):
    for seed, last in enumerate((SECOND, SECOND, WORST)):
        shrunk("se-nas", seed, FIRST, last)
    table = render(shrunk, made_up)
    first, last = row_of(table, "se-nas", 1), row_of(table, "se-nas", 2)
    assert [(row["method"], row["stage"], row["epoch"]) for row in table.meta["rows"]] == [
        ("se-nas", 1, 20),
        ("se-nas", 2, 40),
    ]
    assert (first["n"], first["alive_min"], first["alive_max"], first["holds_best_n"]) == (3, 20, 20, 3)
    assert first["survival"] == [1] * 20 + [0] * 10
    assert last["survival"][:7] == pytest.approx([0] + [2 / 3] * 6)
    assert last["survival"][7] == 0
    assert last["survival"][8:12] == pytest.approx([2 / 3] * 4)
    assert last["survival"][18] == pytest.approx(1 / 3)
    assert sum(last["survival"]) == pytest.approx(10)
    assert last["recall_10_mean"] == pytest.approx((0.8 + 0.8 + 0) / 3)
    assert last["recall_10_std"] == pytest.approx(np.std([0.8, 0.8, 0], ddof=1))
    assert (last["recall_10_low"], last["recall_10_high"]) == (0, 1)  # Student's interval is wider than recall can be
    assert last["space_regret_mean"] == pytest.approx((2.5 + 2.5 + 44.25) / 3)
    assert [run["seed"] for run in last["per_seed"]] == [0, 1, 2]
    assert last["per_seed"][2]["alive"] == [19, 20, 21, 22, 25, 26, 27, 28, 29, 30]
    assert table.frame["recall top 10"].tolist()[:2] == ["1.000 ± 0.000", "0.533 ± 0.462"]
    assert table.frame["holds the best"].tolist()[:2] == ["3 of 3", "0 of 3"]


def test_no_interval_of_a_mean_where_seeds_agree_or_are_few(shrunk, made_up):
    for seed in range(3):
        shrunk("se-nas", seed, FIRST)
    shrunk("se-nas+", 0, FIRST)
    table = render(shrunk, made_up)
    for row in table.meta["rows"]:
        assert row["recall_10_low"] is None and row["recall_10_high"] is None
    assert row_of(table, "se-nas", 1)["recall_10_std"] == 0
    assert row_of(table, "se-nas+", 1)["recall_10_std"] is None


def test_survival_rates_have_wilsons_interval(shrunk, made_up):
    n, z = 3, 1.959963984540054
    for count in range(n + 1):
        middle, half = count + z**2 / 2, z * np.sqrt(count * (n - count) / n + z**2 / 4)
        expected = (middle - half) / (n + z**2), (middle + half) / (n + z**2)
        assert rate_interval(count, n) == pytest.approx(expected, abs=1e-12)
    for seed in range(3):
        shrunk("se-nas", seed, FIRST)
    row = row_of(render(shrunk, made_up), "se-nas", 1)
    assert (row["survival_low"][0], row["survival_high"][0]) == rate_interval(3, 3)
    assert (row["survival_low"][29], row["survival_high"][29]) == rate_interval(0, 3)


def test_random_dropping_is_shrink_with_random_scores(operators):
    """The same order as scores, in one shrink of 20 and in two of 10."""
    edges = np.array([edge for edge, _ in operators.pairs])
    orders = np.random.default_rng(3).permuted(np.tile(np.arange(30), (50, 1)), axis=1)
    left = random_survivors(edges, 10, np.random.default_rng(3), 50)
    assert (left.sum(axis=1) == 10).all()
    for order, alive in zip(orders, left, strict=True):
        scores = {operators.pairs[operator]: float(score) for score, operator in enumerate(order)}
        kept = {pair for pair, stays in zip(operators.pairs, alive, strict=True) if stays}
        assert set(shrink(NB201, scores, 20).alive()) == kept
        assert set(shrink(shrink(NB201, scores, 10), scores, 10).alive()) == kept


def test_each_operator_survives_random_dropping_equally_often(operators):
    edges = np.array([edge for edge, _ in operators.pairs])
    for alive in (10, 20):
        rates = random_survivors(edges, alive, np.random.default_rng(0), 10_000).mean(axis=0)
        assert rates == pytest.approx(np.full(30, alive / 30), abs=0.02)  # four standard errors


def test_random_reference(operators):
    value = random_reference(operators, 10)
    assert (value["alive"], value["recall_10"], value["recall_21"]) == (10, 10 / 30, 10 / 30)
    assert value["survivor_rank"] == 15.5
    assert (value["recall_10_possible"], value["recall_21_possible"]) == (1, 10 / 21)
    assert random_reference(operators, 20)["recall_21_possible"] == 20 / 21
    assert random_reference(operators, 30)["holds_best"] == 1
    assert random_reference(operators, 30)["space_regret"] == 0
    assert 0 <= value["recall_10_low"] < 1 / 3 < value["recall_10_high"] <= 1
    assert value["space_best"] + value["space_regret"] == pytest.approx(76.25)
    assert value == random_reference(operators, 10)


def test_bounds_of_a_random_reference_hold_95_percent_of_the_draws(operators):
    """The best arch is made of ranks 1 to 6."""
    value = random_reference(operators, 10)
    edges = np.array([edge for edge, _ in operators.pairs])
    left = random_survivors(edges, 10, np.random.default_rng(0), DRAWS)
    ranks = [(np.flatnonzero(alive) + 1).mean() for alive in left]
    bounds = [value["survivor_rank_low"], value["survivor_rank_high"]]
    assert bounds == pytest.approx(np.quantile(ranks, [0.025, 0.975]).tolist())
    assert value["holds_best"] == left[:, :6].all(axis=1).mean()


def test_verdicts_against_random_runs_of_the_same_seeds(shrunk, made_up):
    for seed in range(8):
        shrunk("se-nas", seed, FIRST, SECOND)
        shrunk("random-shrink", seed, FIRST, WORST)
    table = render(shrunk, made_up)
    (first,) = notes_with(table, "SE-NAS vs RANDOM-SHRINK", "top 21 after shrink 1")
    (last,) = notes_with(table, "SE-NAS vs RANDOM-SHRINK", "top 10 after shrink 2")
    assert ": no difference shown at p <= 0.05; mean difference +0.000 (equal), n = 8 seeds" in first
    assert ": HIGHER; mean difference +0.800 (higher), n = 8 seeds, sign-flip p = 0.007812" in last
    assert not notes_with(table, "on average")


def test_no_verdict_below_eight_seeds(shrunk, made_up):
    for seed in range(7):
        shrunk("se-nas", seed, FIRST, SECOND)
        shrunk("random-shrink", seed + 1, FIRST, WORST)
    (last,) = notes_with(render(shrunk, made_up), "SE-NAS vs RANDOM-SHRINK", "top 10 after shrink 2")
    assert ": undecided (a verdict needs 8 seeds); mean difference +0.800 (higher), n = 6 seeds" in last


def test_verdict_against_the_expectation_without_equal_random_runs(shrunk, made_up):
    """No random run, or one that left other numbers of operators, has nothing to be paired with."""
    shrunk("se-nas", 0, FIRST, SECOND)
    (alone,) = notes_with(render(shrunk, made_up), "SE-NAS vs what random dropping leaves on average", "top 10")
    assert f"mean difference {0.8 - 10 / 30:+.3f} (higher), n = 1 seeds" in alone
    shrunk("random-shrink", 0, FIRST, FIRST)
    table = render(shrunk, made_up)
    assert notes_with(table, "SE-NAS vs RANDOM-SHRINK", "top 21 after shrink 1")
    assert notes_with(table, "SE-NAS vs what random dropping leaves on average", "top 10 after shrink 2")


def test_methods_that_drop_per_edge_and_more_than_twice(shrunk, made_up):
    stages = [[list(range(left))] * 6 for left in (4, 3, 2)]
    shrunk("fairnas+se-nas", 0, *stages)
    shrunk("se-nas", 0, FIRST, SECOND)
    table = render(shrunk, made_up, ["se-nas", "fairnas+se-nas"])
    rows = [row for row in table.meta["rows"] if row["method"] == "fairnas+se-nas"]
    assert [(row["stage"], row["alive_min"]) for row in rows] == [(1, 24), (2, 18), (3, 12)]
    assert [row["recall_21_mean"] for row in rows] == pytest.approx([1, 18 / 21, 12 / 21])
    reference = [(value["stage"], value["alive"]) for value in table.meta["random_reference"]]
    assert reference == [(1, 20), (1, 24), (2, 10), (2, 18), (3, 12)]
    assert notes_with(table, "FAIRNAS+SE-NAS vs what", "top 10 after shrink 3")


def test_every_other_method_that_shrank_is_shown_too(shrunk, made_up):
    for method in ("se-nas-within-edge", "se-nas", "spos"):
        shrunk(method, 0, *([FIRST, SECOND] if method != "spos" else []))
    table = render(shrunk, made_up)
    assert list(dict.fromkeys(row["method"] for row in table.meta["rows"])) == ["se-nas", "se-nas-within-edge"]
    assert "se-nas-within-edge" in ARTEFACTS["fig6"].also() and "spos" not in ARTEFACTS["fig6"].also()
    assert not notes_with(table, "No runs of", "se-nas-within-edge")


def test_only_what_was_asked_and_what_is_missing(shrunk, made_up):
    shrunk("se-nas", 0, FIRST, SECOND)
    shrunk("se-nas", 1, FIRST, SECOND)
    shrunk("se-nas+", 0, FIRST, SECOND)
    shrunk("spos", 0)
    table = render(shrunk, made_up)
    assert list(dict.fromkeys(row["method"] for row in table.meta["rows"])) == ["se-nas", "se-nas+"]
    assert not notes_with(table, "spos")
    assert "No runs of: se-nas+synflow-bn, si-shrink, magnitude-shrink, angle-shrink, random-shrink." in table.notes
    assert "se-nas+ has no shrink 1 with seeds 1." in table.notes
    assert "Tuned with CIFAR-10 truth in view: se-nas+." in table.notes
    assert notes_with(table, "mean cifar10 test accuracy", "rank 1 is 0->1 none (55.00)")
    assert notes_with(table, "Random dropping, 10 operators left after shrink 2", "top 21: expected 0.333")
    assert table.said["Setting"][0].startswith("Preset embedded")
    asked = render(shrunk, made_up, ["spos", "se-nas"])
    assert "Runs that never shrank, left out: spos." in asked.notes
    with pytest.raises(ValueError, match="no run of spos shrank its space; give runs of: se-nas, "):
        render(shrunk, made_up, ["spos"])
    with pytest.raises(ValueError, match=r"no runs of angle-shrink; there are runs of: se-nas, se-nas[+], spos"):
        render(shrunk, made_up, ["angle-shrink"])


def test_files_hold_numbers_and_do_not_depend_on_the_order_of_runs(shrunk, made_up, tmp_path):
    for seed in range(2):
        shrunk("se-nas", seed, FIRST, SECOND)
    table = render(shrunk, made_up)
    paths = {path.suffix: path for path in write(table, tmp_path / "a")}
    shrunk.runs.records.reverse()
    for path in write(render(shrunk, made_up), tmp_path / "b"):
        assert path.read_bytes() == paths[path.suffix].read_bytes()
    value = json.loads(paths[".json"].read_text())
    assert len(value["operators"]) == len(value["rows"][0]["survival"]) == 30
    assert value["rows"][1]["per_seed"][0]["alive"] == [2, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    rows = list(csv.DictReader(paths[".csv"].open()))
    assert [row["recall_10_mean"] for row in rows] == ["1.000000", "0.800000"]
    assert not {"survival", "survival_low", "per_seed"} & set(rows[0])
    assert "random, expected" in to_text(table)


@pytest.mark.slow
def test_figure_shows_the_rates(shrunk, made_up, tmp_path):
    for seed, last in enumerate((SECOND, WORST)):
        for method in ("se-nas", "angle-shrink", "random-shrink"):
            shrunk(method, seed, FIRST, last)
    artefact = ARTEFACTS["fig6"]
    table = artefact.render(shrunk.runs.records, shrunk.runs.scores, made_up, no_timing=True)
    assert (table.name, table.meta["title"]) == (artefact.name, artefact.title)
    ours = ("se-nas", "se-nas+", "se-nas+synflow-bn")
    assert artefact.methods == (*ours, *(f"{name}-shrink" for name in ("si", "magnitude", "angle", "random")))
    figure = artefact.figure(table)
    panels = [axis for axis in figure.axes if axis.get_title(loc="left")]
    assert [axis.get_title(loc="left").split(":")[0] for axis in panels] == ["se-nas", "angle-shrink", "random-shrink"]
    assert all("(n = 2)" in axis.get_title(loc="left") for axis in panels)
    shown = [row["survival"] for row in table.meta["rows"] if row["method"] == "angle-shrink"]
    assert panels[1].collections[0].get_array().reshape(2, 30).tolist() == shown
    assert panels[1].get_ylim() == (2, 0)  # the first shrink on top
    assert [label.get_text() for label in panels[-1].get_xticklabels()][:2] == ["0→1 none", "0→2 none"]
    assert {"1.00", "0.40", "top 10", "top 21"} <= {text.get_text() for text in panels[0].texts}
    save(figure, tmp_path / "a", "fig6")
    for path in save(artefact.figure(table), tmp_path / "b", "fig6"):
        assert path.read_bytes() == (tmp_path / "a" / "figures" / path.name).read_bytes()


def test_figure_of_one_method_and_seed(shrunk, made_up):
    shrunk("se-nas", 0, FIRST)
    figure = ARTEFACTS["fig6"].figure(render(shrunk, made_up))
    panel, bar = figure.axes
    assert panel.collections[0].get_array().ravel().tolist() == [1] * 20 + [0] * 10
    assert "alive" in bar.get_xlabel() and "seeds" not in bar.get_xlabel()
