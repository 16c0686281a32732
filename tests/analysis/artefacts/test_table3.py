import csv
import datetime as dt
import json
import math
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from scipy import stats

from senas_bench.analysis.artefacts import ARTEFACTS, render_sound, table3
from senas_bench.analysis.artefacts.table3 import draw_table3, render_table3, verdict
from senas_bench.analysis.evaluation import evaluate_ranking, read_scores
from senas_bench.analysis.join import final_scores
from senas_bench.analysis.output.formats import to_text, write
from senas_bench.errors import DataError
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.store import RunStore
from senas_bench.groundtruth import GroundTruth, Query, load_ground_truth
from senas_bench.groundtruth.archs import official_index


@pytest.fixture
def table(runs, truth):
    return render_table3(runs.records, runs.scores, truth, no_timing=False)


def rows_of(table):
    return {row["method"]: row for row in table.meta["rows"]}


def tau(scores, accuracy) -> float:
    return stats.kendalltau(scores, accuracy).statistic


def final_full(runs, record) -> pd.Series:
    frame = runs.scores(record)
    return frame[(frame["epoch"] == 60) & (frame["set"] == "full")].set_index("arch_str")


def test_rows_and_costs(table):
    rows = rows_of(table)
    assert list(rows) == ["random", "spos", "se-nas", "optimal"]
    assert [row["n"] for row in rows.values()] == [3, 3, 2, 0]
    assert rows["random"]["search_seconds_mean"] == 11
    assert rows["se-nas"]["images_trained_mean"] == 1000.5
    assert rows["se-nas"]["images_scored_mean"] == 300.5
    assert rows["spos"]["path_evaluations_mean"] == 2_500_000
    assert table.frame["paths"].tolist() == ["2.5M", "2.5M", "2.5M", "–"]


def test_truth_of_the_picks(table):
    rows = rows_of(table)
    assert rows["random"]["cifar10_test_mean"] == 51
    assert rows["random"]["cifar10_test_std"] == 1
    assert rows["random"]["regret_mean"] == 38
    assert rows["se-nas"]["cifar10_test_mean"] == 88
    assert rows["optimal"]["cifar10_test_mean"] == 89
    assert rows["optimal"]["regret_mean"] == 0
    assert table.frame.set_index("method")["cifar10 test"].tolist()[0] == "51.00 ± 1.00"


def test_tau_over_the_final_full_ranking(runs, table, toy):
    records = [record for record in runs.records if record.spec.method == "spos"]
    accuracy = np.arange(50.0, 90.0)
    expected = [tau(final_full(runs, record).loc[toy.archs, "score"], accuracy) for record in records]
    row = rows_of(table)["spos"]
    assert row["tau_full_mean"] == pytest.approx(np.mean(expected))
    assert row["tau_full_std"] == pytest.approx(np.std(expected, ddof=1))
    interval = stats.ttest_1samp(expected, 0).confidence_interval(0.95)
    assert (row["tau_full_low"], row["tau_full_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["tau_full_set"], row["tau_full_n"], row["tau_full_seeds"]) == ("full", 40, 3)


def test_full_ranking_of_a_shrunk_space_is_hierarchical(runs, table, toy):
    record = next(record for record in runs.records if record.spec.method == "se-nas")
    final = final_full(runs, record).loc[toy.archs]
    position = {
        arch: rank for rank, arch in enumerate(final.sort_values(["tier", "score"], ascending=[False, True]).index)
    }
    expected = tau([position[arch] for arch in toy.archs], np.arange(40))
    assert rows_of(table)["se-nas"]["per_seed"][0]["tau_full"] == pytest.approx(expected)
    assert rows_of(table)["se-nas"]["tau_full_low"] is None  # two seeds


def test_tau_before_anything_was_dropped_stands_beside_that_at_the_end(runs, table, toy):
    """The first `full` ranking of a run with later stages; SPOS has one stage, and its earlier ranking is no other."""
    records = [record for record in runs.records if record.spec.method == "se-nas"]
    frames = [frame[(frame["epoch"] == 20) & (frame["set"] == "full")] for frame in map(runs.scores, records)]
    expected = [tau(frame.set_index("arch_str").loc[toy.archs, "score"], np.arange(40)) for frame in frames]
    rows = rows_of(table)
    assert [run["stage_1_tau"] for run in rows["se-nas"]["per_seed"]] == pytest.approx(expected)
    assert rows["se-nas"]["stage_1_tau_mean"] == pytest.approx(np.mean(expected))
    assert rows["spos"]["stage_1_tau_mean"] is None
    assert table.frame.set_index("method")["after stage 1"].tolist()[:2] == ["–", "–"]
    assert "After stage 1: the same tau, before anything was dropped." in table.notes


def test_tau_over_the_archs_alive_and_the_baseline_on_them(runs, table, toy):
    row, alive = rows_of(table)["se-nas"], [toy.archs[0], *toy.archs[35:]]
    assert (row["tau_current_n_min"], row["tau_current_n_max"]) == (6, 6)
    assert row["tau_current_low"] is None
    baselines = {record.spec.seed: record for record in runs.records if record.spec.method == "spos"}
    for run in row["per_seed"]:
        scores = final_full(runs, baselines[run["seed"]]).loc[alive, "score"]
        assert run["tau_spos_same_set"] == pytest.approx(tau(scores, [50, 85, 86, 87, 88, 89]))
    assert table.frame["tau current"].tolist()[2].endswith("(6; 6 functions)")
    assert rows_of(table)["spos"]["tau_current_mean"] is None


def test_archs_alive_that_are_one_function_have_no_tau(runs, truth, monkeypatch):
    """Nor has the baseline on them, and the verdict pairs what is left."""
    counts = iter([1, 2])
    monkeypatch.setattr(table3, "distinct_functions", lambda archs: next(counts))
    table = render_table3(runs.records, runs.scores, truth, no_timing=True)
    row = rows_of(table)["se-nas"]
    for key in ("tau_current", "tau_spos_same_set"):
        first, second = (run[key] for run in row["per_seed"])
        assert first is None and second == row[f"{key}_mean"]
    verdict = next(note for note in table.notes if "one function with 1 of 2 seeds" in note)
    assert "n = 1 seeds" in verdict


def test_final_scores_are_the_widest_ranking_best_first(runs, toy):
    scores = {record.spec.method: final_scores(runs.scores(record)) for record in runs.records if record.scores_sha256}
    assert scores["spos"].columns.tolist() == ["arch_str", "score", "estimate"]
    assert scores["spos"]["arch_str"].iloc[0] == next(r.pick for r in runs.records[::-1] if r.spec.method == "spos")
    assert set(scores["se-nas"]["arch_str"].iloc[:6]) == {toy.archs[0], *toy.archs[35:]}  # tier 0 of the full ranking
    assert scores["se-nas"]["score"].tolist() == list(range(39, -1, -1))
    record = next(r for r in runs.records[::-1] if r.spec.method == "spos")
    table = runs.scores(record)
    last = table[(table["set"] == "full") & (table["epoch"] == table["epoch"].max())].set_index("arch_str")["score"]
    estimates = scores["spos"].set_index("arch_str")["estimate"]
    assert estimates.to_dict() == last.to_dict() and estimates.is_monotonic_decreasing
    assert len(final_scores(toy.score_rows("current", toy.archs[:5], np.arange(5)))) == 5
    with pytest.raises(ValueError, match="without a ranking"):
        final_scores(toy.score_rows("full", toy.archs[:1], np.arange(1)))


def test_interval_of_current_needs_ten_archs(toy, truth):
    rng = np.random.default_rng(0)
    for size, expected in ((9, False), (10, True)):
        made = toy.Runs()
        for seed in range(3):
            made.add("se-nas", seed, toy.archs[0], toy.score_rows("current", toy.archs[:size], rng.random(size)))
        row = rows_of(render_table3(made.records, made.scores, truth, no_timing=True))["se-nas"]
        assert (row["tau_current_low"] is not None) == expected


def test_interval_of_a_tau_stays_within_its_range(toy, truth):
    """Three seeds that disagree completely: Student's interval of their mean is wider than tau can be."""
    made = toy.Runs()
    for seed, order in enumerate((1, -1, 1)):
        made.add("se-nas", seed, toy.archs[0], toy.score_rows("current", toy.archs[:12], order * np.arange(12)))
    row = rows_of(render_table3(made.records, made.scores, truth, no_timing=True))["se-nas"]
    assert (row["tau_current_low"], row["tau_current_high"]) == (-1, 1)


def test_sample_interval_is_over_archs(toy, truth):
    rng, made = np.random.default_rng(0), toy.Runs()
    archs = toy.archs[::2]
    for seed in range(2):
        made.add(
            "spos", seed, toy.archs[0], toy.score_rows("sample", archs, np.arange(20) + 5 * rng.standard_normal(20))
        )
    table = render_table3(made.records, made.scores, truth, no_timing=True)
    row = rows_of(table)["spos"]
    assert (row["tau_full_set"], row["tau_full_n"]) == ("sample", 20)
    assert -1 < row["tau_full_low"] < row["tau_full_mean"] < row["tau_full_high"] < 1
    assert "tau sample (n=20)" in table.frame
    assert any("95% interval over archs" in note for note in table.notes)
    made.add("se-nas", 0, toy.archs[0], toy.score_rows("current", toy.archs[:4], rng.random(4)))
    notes = render_table3(made.records, made.scores, truth, no_timing=True).notes
    assert any("no baseline run of the same seed ranked all of the archs alive" in note for note in notes)
    made.add("spos", 2, toy.archs[0], toy.score_rows("sample", toy.archs[1::2], rng.random(20)))
    assert rows_of(render_table3(made.records, made.scores, truth, no_timing=True))["spos"]["tau_full_low"] is None


def test_sets_of_two_sizes_have_no_mean(runs, truth, toy):
    runs.add("spos", 9, toy.archs[0], toy.score_rows("full", toy.archs[:30], np.arange(30)))
    with pytest.raises(ValueError, match=r"sets of \[30, 40\] archs"):
        render_table3(runs.records, runs.scores, truth, no_timing=True)


def test_constant_scores_are_named_and_left_out(runs, truth, toy):
    runs.add("untrained", 0, toy.archs[0], toy.score_rows("full", toy.archs, np.zeros(40)))
    runs.add("untrained", 1, toy.archs[0], toy.score_rows("full", toy.archs, np.arange(40)))
    table = render_table3(runs.records, runs.scores, truth, no_timing=True)
    row = rows_of(table)["untrained"]
    assert (row["tau_full_mean"], row["tau_full_seeds"], row["n"]) == (pytest.approx(1), 1, 2)
    assert any("untrained scored every arch alike" in note and "seeds 0." in note for note in table.notes)


def test_an_arch_ranked_twice_is_an_error(runs, truth, toy):
    runs.add("params", 0, toy.archs[0], toy.score_rows("full", [*toy.archs, toy.archs[0]], np.arange(41)))
    with pytest.raises(ValueError, match="holds an arch twice"):
        render_table3(runs.records, runs.scores, truth, no_timing=True)


def test_a_ranking_stored_twice_over_counts_once(runs, truth, toy):
    """As runs of one stage had it: the same rows again."""
    twice = [toy.score_rows("full", toy.archs, np.arange(40))] * 2
    runs.add("params", 0, toy.archs[0], pd.concat(twice))
    row = rows_of(render_table3(runs.records, runs.scores, truth, no_timing=True))["params"]
    assert (row["tau_full_mean"], row["tau_full_n"]) == (pytest.approx(1), 40)


def test_a_method_at_fault_takes_no_other_away(runs, truth, toy):
    whole = rows_of(render_table3(runs.records, runs.scores, truth, no_timing=True))
    runs.add("params", 0, toy.archs[0], toy.score_rows("full", [*toy.archs, toy.archs[0]], np.arange(41)))
    table, faults = render_sound(ARTEFACTS["table3"], runs.records, runs.scores, truth, no_timing=True)
    assert rows_of(table) == whole
    assert list(faults) == ["params"] and "holds an arch twice" in faults["params"]
    with pytest.raises(ValueError, match="holds an arch twice"):
        render_sound(ARTEFACTS["table3"], runs.records[-1:], runs.scores, truth, no_timing=True)


def test_a_shrinking_method_of_one_stage_is_named(toy, truth):
    made = toy.Runs()
    for method, own in {"se-nas": {"drop": 10}, "spos": {}}.items():
        settings = {"method": own, "recipe": {"stage_epochs": [60]}, "preset": {}}
        made.add(method, 0, toy.archs[0], toy.score_rows("full", toy.archs, np.arange(40)), settings=settings)
    notes = render_table3(made.records, made.scores, truth, no_timing=True).notes
    assert "Trained in one stage, so nothing was dropped: se-nas." in notes


def test_notes_say_what_a_reader_must_know(table):
    notes = "\n".join(table.notes)
    for text in (
        "Preset embedded, images digits",
        "Ground truth toy (sha256 abababababab): mean accuracy, 200 epochs",
        "n = 2-3 seeds (0, 1, 2)",
        "A proxy: preset embedded trains small networks on digits, the truth is of full networks on cifar10",
        "No truth for: cifar10 val, cifar100 val, cifar100 test, imagenet16-120 val, imagenet16-120 test in toy",
        "n = 40 archs",
        "se-nas has no run with seeds 2.",
        "random has no full ranking with seeds 0, 1, 2.",
        "No runs of: params, flops, untrained, synflow, ",
        "spos for se-nas",
        "46.77",
    ):
        assert text in notes
    assert "Tuned" not in notes
    verdicts = [note for note in table.notes if note.startswith("SE-NAS vs SPOS, ")]
    assert len(verdicts) == 3
    assert all(
        "undecided" in note and "n = 2 seeds" in note and "smallest attainable p = 0.5" in note for note in verdicts
    )


def test_tuned_rows_say_so_and_meet_the_tuned_baseline(toy, truth):
    made = toy.Runs()
    for method in ("se-nas+", "spos+"):
        made.add(method, 0, toy.archs[3], toy.score_rows("full", toy.archs, np.arange(40)))
    notes = render_table3(made.records, made.scores, truth, no_timing=True).notes
    assert "Tuned with CIFAR-10 truth in view: spos+, se-nas+." in notes
    assert "Their scores contain the parameters of an arch: compare them with the row of params." in notes
    assert any(note.startswith("SE-NAS+ vs SPOS+, tau full: undecided") for note in notes)
    assert any("those alive at the end: undecided, no seed has both" in note for note in notes)


def test_paper_preset_is_no_proxy(toy, truth):
    made = toy.Runs()
    made.add("random", 0, toy.archs[0], preset="paper", dataset="cifar10")
    table = render_table3(made.records, made.scores, truth, no_timing=True)
    assert not any("proxy" in note for note in table.notes)
    assert rows_of(table)["random"]["cifar10_test_std"] is None


@pytest.mark.parametrize(
    ("images", "column"),
    [("cifar100", "cifar100_test"), ("digits", "cifar10_test"), ("imagenet16-120", "cifar10_test")],
)
def test_regret_and_tau_refer_to_the_images_of_the_runs(toy, query, images, column):
    """Truths that rank the other way round: tau is 1 with one of them and -1 with the other."""
    rising = np.arange(50.0, 90.0)
    both = toy.FakeTruth({query: rising, Query("cifar100", "test", 200, "mean"): rising[::-1].copy()})
    made = toy.Runs()
    made.add("spos", 0, toy.archs[0], toy.score_rows("full", toy.archs, np.arange(40)), dataset=images)
    table = render_table3(made.records, made.scores, both, no_timing=True)
    row = rows_of(table)["spos"]
    assert table.meta["column"] == column and any(column.replace("_", " ") in note for note in table.notes)
    assert (row["tau_full_mean"], row["regret_mean"]) == ((-1.0, 0.0) if column == "cifar100_test" else (1.0, 39.0))
    ax, other = draw_table3(table).axes
    assert column.replace("_", " ") in ax.get_xlabel() and column.replace("_", " ") in other.get_xlabel()


def test_verdict():
    assert verdict([1.0] * 7).startswith("undecided (a verdict needs 8 seeds); mean difference +1.000 (higher), n = 7")
    assert verdict([-1.0] * 8).startswith("LOWER; mean difference -1.000 (lower), n = 8 seeds, sign-flip p = 0.007812")
    assert verdict([1.0] * 20).startswith("HIGHER")
    assert verdict([1.0, -1.0] * 4).startswith("no difference shown at p <= 0.05; mean difference +0.000 (equal)")


def test_columns_in_the_papers_order_without_other_epochs_or_seeds(runs, toy, query):
    values = np.arange(50.0, 90.0)
    columns = {Query("imagenet16-120", "val", 200, "mean"): values / 2, query: values}
    columns |= {Query("cifar10", "val", 200, "mean"): values - 1, Query("cifar10", "val", 200, 777): values - 2}
    table = render_table3(runs.records, runs.scores, toy.FakeTruth(columns), no_timing=True)
    names = list(table.frame)
    assert names[5:8] == ["cifar10 val", "cifar10 test", "IN16-120 val"]
    assert rows_of(table)["optimal"]["imagenet16-120_val_mean"] == 44.5


def test_truth_without_200_epochs(runs, toy):
    truth = toy.FakeTruth({Query("cifar10", "test", 12, "mean"): np.arange(40.0)})
    with pytest.raises(ValueError, match="ground truth toy has no mean 200-epoch accuracy"):
        render_table3(runs.records, runs.scores, truth, no_timing=True)


def test_row_order(runs, truth, toy):
    runs.add("another", 0, toy.archs[0])

    def order(methods=None):
        return list(rows_of(render_table3(runs.records, runs.scores, truth, no_timing=True, methods=methods)))

    assert order() == ["random", "spos", "se-nas", "another", "optimal"]
    assert order(["se-nas", "params", "random"]) == ["se-nas", "random", "optimal"]
    with pytest.raises(ValueError, match="no runs of params; there are runs of: another, random, se-nas, spos"):
        order(["params"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"preset": "cpu"}, "preset cpu and embedded never share a table"),
        ({"dataset": "cifar10"}, "dataset cifar10 and digits"),
        ({"data_id": "d2"}, "data_id d1 and d2"),
        ({"device": "cuda"}, "device cpu and cuda"),
        ({"space": "darts"}, "space darts and nasbench201"),
        ({"settings": {"preset": {"cells": 5}}}, "different sizes of preset embedded"),
    ],
)
def test_settings_never_mix(runs, truth, toy, spec, message):
    runs.add("params", 0, toy.archs[0], **spec)
    with pytest.raises(ValueError, match=message):
        render_table3(runs.records, runs.scores, truth, no_timing=True)


def test_one_run_per_method_and_seed(runs, truth, toy):
    runs.add("random", 0, toy.archs[5], threads=2)
    with pytest.raises(ValueError, match="method random has two runs of one seed"):
        render_table3(runs.records, runs.scores, truth, no_timing=True)
    runs.records.pop()
    runs.add("random", 7, toy.archs[5], settings={"method": {"x": 1}})
    with pytest.raises(ValueError, match="method random has runs with different settings"):
        render_table3(runs.records, runs.scores, truth, no_timing=True)


def test_no_records(truth):
    with pytest.raises(ValueError, match="no finished runs"):
        render_table3([], None, truth, no_timing=True)


def test_write_is_deterministic(runs, truth, tmp_path):
    first = write(render_table3(runs.records, runs.scores, truth, no_timing=True), tmp_path / "a")
    slower = [replace(r, timing={"search_seconds": 99.0}, provenance={"host": "b"}) for r in reversed(runs.records)]
    second = write(render_table3(slower, runs.scores, truth, no_timing=True), tmp_path / "b")
    assert [path.name for path in first] == [
        *("table3.csv", "table3.md", "table3.tex", "table3.json", "table3.parquet")
    ]
    assert all(path.parent == tmp_path / "a" / "tables" for path in first)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    text = [path.read_bytes() for path in first if path.suffix != ".parquet"]
    assert not any(b"\r" in data or b"search_seconds_mean" in data for data in text)


def test_with_the_real_store_and_truth(runs, toy, query, tmp_path):
    store = RunStore(tmp_path)
    saved = [store.save(r, runs.scores(r) if r.scores_sha256 else None) for r in runs.records]
    truth = GroundTruth("toy", tuple(toy.archs), {query: np.arange(50.0, 90.0)})
    real = render_table3(store.records(), store.scores, truth, no_timing=False)
    fake = render_table3(saved, runs.scores, toy.FakeTruth({query: np.arange(50.0, 90.0)}), no_timing=False)
    assert real.meta["rows"] == fake.meta["rows"]


def test_parquet_holds_the_rows_of_the_csv(table, tmp_path):
    paths = {path.suffix: path for path in write(table, tmp_path)}
    pd.testing.assert_frame_equal(
        pd.read_parquet(paths[".parquet"]).astype(object).fillna(np.nan),
        pd.read_csv(paths[".csv"], keep_default_na=False, na_values="").astype(object).fillna(np.nan),
        check_dtype=False,
    )


def test_json(table, tmp_path):
    path = write(table, tmp_path)[3]
    value = json.loads(path.read_text())
    assert {"preset", "images", "ground_truth", "seeds", "rows", "paper", "notes"} <= set(value)
    assert (value["preset"], value["ground_truth"], value["seeds"]) == ("embedded", "toy", [0, 1, 2])
    assert {
        "method",
        "n",
        "cifar10_test_mean",
        "cifar10_test_std",
        "regret_mean",
        "tau_full_mean",
        "tau_full_n",
    } <= set(value["rows"][0])
    assert [run["seed"] for run in value["rows"][1]["per_seed"]] == [0, 1, 2]
    assert all(row["method"].endswith("(paper)") for row in value["paper"])
    assert value["paper"][6]["search_seconds"] is None
    assert list(value) == sorted(value)
    json.dumps(dict(table.meta), allow_nan=False)
    assert not re.search(r"\d\.\d{7,}|NaN|-0\.0\b", path.read_text())


def test_csv(table, tmp_path):
    with open(write(table, tmp_path)[0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["random", "spos", "se-nas", "optimal"]
    assert rows[0]["cifar10_test_mean"] == "51.000000"
    assert rows[0]["tau_full_mean"] == ""
    assert rows[1]["tau_full_n"] == "40"
    assert "per_seed" not in rows[0]


def test_markdown_and_text(table, tmp_path):
    markdown = write(table, tmp_path)[1].read_text()
    assert "| random | 3 | 11.0 |" in markdown
    assert "The paper's own numbers" in markdown
    assert "| Ours (paper) | 10561.1 | 90.50 ± 0.09 |" in markdown
    text = to_text(table)
    assert str(table) == text
    assert max(map(len, text.splitlines())) <= 120
    assert all(word in text for word in ("tau full (n=40)", "Ours (paper)", "undecided", "search s"))
    assert len(re.findall("^se-nas ", text, re.M)) == 2  # the method leads each block of columns


def test_latex(table, tmp_path):
    tex = write(table, tmp_path)[2].read_text()
    rows = "\n".join(line for line in tex.splitlines() if not line.startswith("%"))
    assert r"51.00 $\pm$ 1.00" in rows
    assert r"95\% interval" in rows
    assert not re.search(r"(?<!\\)[%&_#](?![ ])", rows)
    assert rows.count(r"\begin{tabular}") == rows.count(r"\end{tabular}") == 2
    assert "scored" in table.frame and " scored " not in rows and "% - Columns left out: images, scored, " in tex


def write_scores(path, archs, scores, **columns):
    frame = pd.DataFrame({"arch_str": archs, "score": scores} | columns)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


def test_read_scores_of_a_run(tmp_path, toy):
    """Of its last ranking; what a shrink dropped stands below, whatever it scored."""
    archs = list(toy.archs[:3])
    rows = [("sample", 1, 5, arch, 0, score) for arch, score in zip(archs, (9.0, 8.0, 7.0), strict=True)]
    rows += [("current", 2, 10, archs[1], 0, 3.0), ("curve", 2, 10, archs[0], 0, 1.0)]
    rows += [
        ("sample", 2, 10, arch, tier, score) for arch, tier, score in zip(archs, (1, 0, 0), (50, 1, 2), strict=True)
    ]
    names = ["set", "stage", "epoch", "arch_str", "tier", "score"]
    pd.DataFrame(rows, columns=names).to_parquet(tmp_path / "run.parquet")
    frame = read_scores(tmp_path / "run.parquet")
    assert frame.sort_values("score")["arch_str"].tolist() == [archs[0], archs[1], archs[2]]
    pd.DataFrame(rows[3:5], columns=names).to_parquet(tmp_path / "run.parquet")
    with pytest.raises(ValueError, match=r"run.parquet: the run ends without a ranking"):
        read_scores(tmp_path / "run.parquet")


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_read_scores(tmp_path, toy, name):
    frame = read_scores(write_scores(tmp_path / name, toy.archs[:3], [1, -math.inf, 2.5], extra=0))
    assert frame.columns.tolist() == ["arch_str", "score"]
    assert frame["arch_str"].tolist() == toy.archs[:3]
    assert frame["score"].tolist() == [1, -math.inf, 2.5]


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_bad_scores(tmp_path, toy, name):
    path, (a, b, c) = tmp_path / name, toy.archs[:3]
    for archs, scores, message in (
        ([a, "|conv~0|", c], [1, 2, 3], "row 2: bad arch string '|conv~0|'"),
        ([a, None, c], [1, 2, 3], "row 2: bad arch string ''"),
        ([a, b, a], [1, 2, 3], "rows 1 and 3 both score"),
        ([a, b, c], [1, 2, math.nan], "row 3 has score 'nan'"),
        ([a, b, c], ["1", "two", "3"], "row 2 has score 'two'"),
        ([], [], "no rows"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            read_scores(write_scores(path, archs, scores))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
@pytest.mark.parametrize(
    "scores",
    [
        [2**53, 2**53 + 1, 2**53 + 3],
        [-(2**62) - 1, -(2**62), 2**62],
        [2**63, 2**63 + 1, 2**64 - 1],
    ],
)
def test_whole_scores_keep_their_order_whatever_their_size(tmp_path, toy, truth, query, scores, name):
    archs, order = toy.archs[:3], [1, 2, 0]
    mixed = [scores[place] for place in order]
    frame = read_scores(write_scores(tmp_path / name, archs, np.array(mixed, np.uint64 if scores[0] > 0 else np.int64)))
    assert frame["score"].tolist() == mixed
    for given in (frame["score"], frame["score"].to_numpy(), mixed):
        result = evaluate_ranking(archs, given, truth, query, ks=(1,))
        assert result == evaluate_ranking(archs, order, truth, query, ks=(1,))
        assert (result["pick"], result["pick_ties"]) == (archs[1], 1)
        assert result["tau_b"] == pytest.approx(tau(order, [0, 1, 2]))


def test_whole_scores_beyond_all_types_and_beside_fractions(tmp_path, toy, truth, query):
    archs = toy.archs[:3]
    for scores in ([10**400 + 1, 10**400, 0.5], [2**53 + 1, 2**53, 0.5], [Decimal(2**60 + 1), Decimal(2**60), 1]):
        lines = ["arch_str,score", *(f"{arch},{score}" for arch, score in zip(archs, scores, strict=True))]
        (tmp_path / "s.csv").write_text("\n".join(lines))
        for given in (scores, read_scores(tmp_path / "s.csv")["score"]):
            result = evaluate_ranking(archs, given, truth, query, ks=(1,))
            assert result["tau_b"] == -1 and (result["pick"], result["pick_ties"]) == (archs[0], 1)


NOT_NUMBERS = [
    pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
    pd.to_timedelta([1, 2, 3], "s"),
    np.array([True, False, True]),
    [dt.date(2020, 1, 1), dt.date(2020, 1, 2), dt.date(2020, 1, 3)],
    ["a", "b", "c"],
]


@pytest.mark.parametrize("scores", NOT_NUMBERS, ids=["datetime", "timedelta", "bool", "date", "text"])
def test_scores_that_are_no_numbers_are_refused(tmp_path, toy, truth, query, scores):
    archs = toy.archs[:3]
    with pytest.raises(ValueError, match=r"scores must be numbers, higher is better; (these are|found) "):
        evaluate_ranking(archs, scores, truth, query)
    for name in ("scores.csv", "scores.parquet"):
        with pytest.raises(ValueError, match=r"row 1 has score '.*'; give a number for every arch"):
            read_scores(write_scores(tmp_path / name, archs, scores))


@pytest.mark.parametrize("column", ["score", "arch_str"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, toy, column):
    table = pa.table([pa.array(toy.archs[:2]), pa.array([1.0, 2])], names=["arch_str", "score"])
    table = table.append_column(column, table[column])
    pyarrow.csv.write_csv(table, tmp_path / "s.csv")
    pq.write_table(table, tmp_path / "s.parquet")
    for name in ("s.csv", "s.parquet"):
        with pytest.raises(DataError, match=f"two columns have the same name, {column}"):
            read_scores(tmp_path / name)


def test_an_index_is_a_column_and_the_text_of_numbers_is_exact(tmp_path, toy):
    archs, scores = toy.archs[:3], [0.1, 1e-300, 2.2250738585072014e-308]
    pd.DataFrame({"arch_str": archs, "score": scores}).set_index("arch_str").to_parquet(tmp_path / "s.parquet")
    write_scores(tmp_path / "s.csv", archs, scores)
    for name in ("s.csv", "s.parquet"):
        frame = read_scores(tmp_path / name)
        assert frame["arch_str"].tolist() == archs and frame["score"].tolist() == scores


def test_unreadable_scores(tmp_path):
    with pytest.raises(ValueError, match="no column score; it has: 'arch_str', 'accuracy'"):
        (tmp_path / "a.csv").write_text("arch_str,accuracy\nx,1\n")
        read_scores(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match="not found"):
        read_scores(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"give a \.csv or \.parquet"):
        read_scores(tmp_path / "scores.txt")
    for name in ("empty.csv", "bad.parquet"):
        (tmp_path / name).write_bytes(b"" if name == "empty.csv" else b"PAR1 no")
        with pytest.raises(DataError, match="is not a readable"):
            read_scores(tmp_path / name)


def test_evaluate_ranking(toy, truth, query):
    rng = np.random.default_rng(0)
    archs = toy.archs[:30]
    scores = np.arange(30) + 6 * rng.standard_normal(30)
    scores[[3, 7]] = scores.max() + 1
    result = evaluate_ranking(archs, scores, truth, query, ks=(5, 100), n_resamples=50)
    assert json.loads(json.dumps(result, allow_nan=False))["n"] == 30
    assert result["tau_b"] == pytest.approx(tau(scores, np.arange(30)))
    assert result["spearman"] == pytest.approx(stats.spearmanr(scores, np.arange(30)).statistic)
    low, high = result["tau_b_ci95"]
    assert low < result["tau_b"] < high
    assert (result["pick"], result["pick_ties"], result["pick_accuracy"]) == (archs[3], 2, 55)
    assert (result["regret"], result["regret_to_optimum"]) == (79 - 55, 89 - 55)
    assert result["precision@100"] is result["best_rank@100"] is None
    assert 1 <= result["best_rank@5"] <= 30
    assert (result["dataset"], result["split"], result["epochs"], result["seeds"]) == ("cifar10", "test", 200, "mean")
    assert result == evaluate_ranking(archs, scores, truth, query, ks=(5, 100), rng=0, n_resamples=50)


def test_evaluate_few_or_constant(toy, truth, query):
    few = evaluate_ranking(toy.archs[:9], np.arange(9), truth, query)
    assert few["tau_b"] == pytest.approx(1)
    assert few["tau_b_ci95"] is few["spearman_ci95"] is None
    assert "no interval below 10 archs" in few["notes"]
    constant = evaluate_ranking(toy.archs, np.zeros(40), truth, query, n_resamples=5)
    assert constant["tau_b"] is constant["weighted_tau"] is constant["tau_b_ci95"] is None
    assert constant["pick_ties"] == 40
    assert any("constant" in note for note in constant["notes"])


def test_evaluate_bad_input(toy, truth, query):
    for archs, scores, message in (
        ([toy.archs[0]] * 2, [1, 2], "scored twice"),
        (toy.archs[:3], [1, 2], "one length"),
        (toy.archs[:2], [1, math.nan], "NaN"),
        ([], [], "at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_ranking(archs, scores, truth, query)


def test_params_over_the_real_space(shared, query):
    frame = pd.read_parquet(shared / "nb201" / "nb201_accuracies.parquet")
    truth = load_ground_truth(shared / "nb201" / "nb201_accuracies.parquet")
    result = evaluate_ranking(frame["arch_str"], frame["cifar10_params"], truth, query, n_resamples=20)
    assert result["tau_b"] == pytest.approx(0.5778, abs=5e-5)
    assert result["n"] == 15625
    assert any("whole space" in note for note in result["notes"])
    assert result["regret"] == result["regret_to_optimum"]


RESULTS = Path(__file__).parents[3] / "results"
DEAD = "|{}~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
"""An arch whose first edge goes to a node that nothing reads."""


def test_archs_alive_that_are_one_function_are_named(toy):
    """Three archs that differ on a dead edge alone are one function; a skip that is read makes two."""
    from senas_bench.analysis.artefacts.table3_notes import function_notes
    from senas_bench.analysis.join import distinct_functions

    archs = [DEAD.format(op) for op in ("none", "skip_connect", "nor_conv_3x3")]
    assert distinct_functions(archs) == 1
    assert distinct_functions([*archs, archs[0].replace("|+|nor_conv_3x3~0", "|+|skip_connect~0")]) == 2
    rows = [
        {"method": "se-nas", "n": 3, "per_seed": [{"seed": seed, "n_functions": 1 + seed % 2} for seed in range(3)]}
    ]
    expected = "se-nas: all archs alive at the end are one function with seeds 0, 2 (2 of 3): nothing to rank, no tau."
    assert function_notes(rows) == [expected]


def test_ten_of_the_committed_runs_end_with_one_function():
    """docs/method.md 2.1, counted from the score tables themselves: an edge counts if its ends are reached from both
    sides over edges that are not `none`."""
    from senas_bench.analysis.join import distinct_functions, final_rankings
    from senas_bench.experiments.store import RunStore

    def live(text):
        nodes = [[part.split("~") for part in node.strip("|").split("|")] for node in text.split("+")]
        edges = [(int(s), n, op) for n, node in enumerate(nodes, 1) for op, s in node if op != "none"]
        ahead, back = {0}, {3}
        for _ in range(3):
            ahead |= {end for start, end, _ in edges if start in ahead}
            back |= {start for start, end, _ in edges if end in back}
        return frozenset(edge for edge in edges if edge[0] in ahead and edge[1] in back)

    counts = []
    studies = ("cpu-cifar10", "cpu-cifar10-short", "cpu-cifar100-short", "embedded", "embedded-zen4", "paper-cifar10")
    for study in studies:
        store = RunStore(RESULTS / study)
        for record in store.records():
            if record.spec.method == "se-nas":
                alive = final_rankings(store.scores(record))["current"].index
                counts.append(len(set(map(live, alive))))
                assert distinct_functions(alive) == counts[-1]
    assert (counts.count(1), len(counts)) == (10, 25)


def test_on_which_images_architectures_learned_is_said():
    from senas_bench.analysis.artefacts.table3_notes import image_notes

    def record(**recipe):
        spec = RunSpec("gdas", 0, "cpu", "nasbench201", "cifar10", "d1", settings={"recipe": recipe})
        return RunRecord(spec, "", (), {}, None, {}, {})

    groups = {"spos": [record()], "gdas": [record()], "enas": [record(architecture_images="valid")]}
    official = "architecture on the validation images, as the benchmark splits them"
    assert image_notes(groups) == [
        "Learn weights on one half of the training images, architecture on the other: gdas.",
        f"Learn weights on the training images, {official}: enas.",
    ]


def test_of_two_readings_the_shown_one_is_named():
    from senas_bench.analysis.artefacts.table3_notes import reading_notes

    def records(**method):
        spec = RunSpec("gdas", 0, "cpu", "nasbench201", "cifar10", "d1", settings={"method": method})
        return [RunRecord(spec, "", (), {}, None, {}, {})]

    groups = {"rsps": records(), "gdas": records(), "gdas-code": records(gradient="code"), "spos": records()}
    said = "rsps: draws no node without inputs; gdas: the gradient of its paper's formula"
    assert reading_notes(groups) == [f"Of two readings, {said}; gdas-code: that of its released code."]
    assert reading_notes({"spos": records()}) == []


@pytest.mark.parametrize("whole", ["full", "sample"])
def test_tau_within_the_truly_best_tenth_stands_beside_tau(toy, query, whole):
    """120 archs of rising truth: one seed orders all rightly, two reverse the twelve best."""
    archs, rising = list(official_index())[:120], np.arange(120.0)
    reversed_top = np.concatenate([rising[:108], rising[:107:-1]])
    runs = toy.Runs()
    for seed, scores in enumerate((rising, reversed_top, reversed_top)):
        runs.add("spos", seed, archs[-1], toy.score_rows(whole, archs, scores))
    truth = toy.FakeTruth({query: rising / 2}, archs)
    table = render_table3(runs.records, runs.scores, truth, no_timing=True)
    row = rows_of(table)["spos"]
    assert row["tau_top10_mean"] == pytest.approx((1 - 1 - 1) / 3) and row["tau_top10_seeds"] == 3
    assert table.frame["tau top 10%"].tolist() == ["-0.333 ± 1.155", "–"]
    assert row["tau_full_mean"] > 0.98 and row["tau_top10_low"] <= -1 / 3 <= row["tau_top10_high"]
    assert any(note.startswith("tau top 10%") for note in table.notes)
    result = evaluate_ranking(archs, reversed_top, truth, query, n_resamples=5)
    assert (
        result["tau_top10"] == pytest.approx(-1)
        and evaluate_ranking(archs[:99], rising[:99], truth, query, n_resamples=5)["tau_top10"] is None
    )
