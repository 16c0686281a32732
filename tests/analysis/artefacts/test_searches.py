from dataclasses import asdict, replace

import numpy as np
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, named, records_of, render_all
from senas_bench.analysis.artefacts.artefact import Search
from senas_bench.analysis.output.figures import save, to_bytes
from senas_bench.analysis.output.formats import to_text, write
from senas_bench.analysis.output.report import make_report
from senas_bench.analysis.paper import numbers as paper
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.studies import preset_of, skeleton_for
from senas_bench.spaces import SPACES
from senas_bench.spaces.mobilenet import KNOWN_NETWORKS


def a_record(search: Search, seed: int, top1: float = 80.0, preset: str = "embedded") -> RunRecord:
    """A finished run of a search; its pick is a random arch."""
    arch = SPACES[search.space].whole.sample(np.random.default_rng([seed, int(search.level)]))
    limit = {"cost": search.cost, "level": search.level}
    settings = {"limit": limit, "retrain": {}, "preset": {"width": 0.125}, "method": {}}
    skeleton = asdict(skeleton_for(search.space, preset_of(search.space, "embedded"), "digits"))
    pick = {"phase": "pick", "flops_m": 2.0 + seed, "params": 100_000 + seed, "skeleton": skeleton}
    pick |= {"limited": search.cost, "limit_low": 9e5, "limit_high": 1e6, "limited_cost": 9.5e5}
    retrained = {"phase": "retrain", "epoch": 4, "loss": 1.0, "split": "valid", "images": 400}
    work = {"images_trained": 4000, "images_scored": 200}
    return RunRecord(
        spec=RunSpec(search.method, seed, preset, search.space, "digits", "d1", settings=settings),
        pick=SPACES[search.space].to_str(arch),
        history=(pick, {**retrained, "top1": top1 + seed, "top5": 99.0}),
        counters={"search": work, "report": {}, "retrain": {"images_trained": 5000}},
        scores_sha256=None,
        timing={"search_seconds": 7.0},
        provenance={},
    )


def rows_of(name: str) -> list[Search]:
    return [search for search in ARTEFACTS[name].searches if not search.archs]


def every(name: str, seeds: int = 2) -> list[RunRecord]:
    return [a_record(search, seed) for search in rows_of(name) for seed in range(seeds)]


def trained_again(name: str, archs: list[list[float]]) -> list[RunRecord]:
    """Runs of `fixed` in each space where a table wants them: by arch, then seed, with that accuracy."""
    records = []
    for search in ARTEFACTS[name].searches:
        for i, accuracies in enumerate(archs if search.archs else []):
            arch = a_record(search, 1000 + i).pick
            for seed, top1 in enumerate(accuracies):
                record = a_record(search, seed, top1 - seed)
                settings = {**record.spec.settings, "arch": arch}
                records.append(replace(record, pick=arch, spec=replace(record.spec, settings=settings)))
    return records


def render(name: str, records: list[RunRecord], no_timing: bool = True):
    return ARTEFACTS[name].render(records, None, None, no_timing=no_timing)


@pytest.mark.parametrize("name", named("searches"))
def test_every_artefact_renders_and_draws(name):
    table = render(name, every(name))
    assert table.name == name and len(table.frame) == len(rows_of(name))
    assert to_bytes(ARTEFACTS[name].figure(table), "png").startswith(b"\x89PNG")
    assert "A proxy: preset embedded" in to_text(table) and "validation images, which scored" in to_text(table)


def test_numbers_of_a_row_by_hand():
    row = render("table6", every("table6", 3)).meta["rows"][1]
    assert (row["search"], row["method"], row["n"]) == ("SPOS + shrinking (SI)", "si-shrink", 3)
    assert (row["top1_mean"], row["top1_std"]) == (81, 1)
    assert (row["flops_m_mean"], row["params_m_mean"]) == (3, pytest.approx(0.100001))
    assert row["images_retrained_mean"] == 5000 and "search_seconds_mean" not in row
    assert render("table6", every("table6"), no_timing=False).meta["rows"][0]["search_seconds_mean"] == 7


def test_work_of_a_search_is_shown_in_multiply_adds():
    """Its mean over seeds; runs made before they were counted have none."""
    records = every("table6", 2)
    assert "multiply-adds" not in render("table6", records).frame
    counted = [
        replace(record, counters={**record.counters, "search": {**record.counters["search"], "multiply_adds": work}})
        for record, work in zip(records, (2e9, 4e9) * 4, strict=True)
    ]
    table = render("table6", counted)
    assert table.frame["multiply-adds"].tolist() == ["3G"] * 4
    assert [row["multiply_adds_mean"] for row in table.meta["rows"]] == [3e9] * 4


def test_a_table_says_whether_it_can_tell_archs_apart():
    """Its rows are the same with and without the random archs that are trained again. Both can be worked out by hand:
    means 60 and 80 with trainings a point apart; and means 60.5 and 61 with trainings up to 3 apart."""
    plain, verdict = render("table4", every("table4")), ARTEFACTS["table4"].searches[-2:]
    assert [search.space for search in verdict] == ["mobilenet", "darts-separate"]
    assert [found["found"] for found in plain.meta["noise"]] == [None, None]
    assert "Whether picks in mobilenet at 470M FLOPs differ" in plain.notes[0] and "was not measured" in plain.notes[1]
    told = render("table4", [*every("table4"), *trained_again("table4", [[59.5, 60.5], [79.5, 80.5]])])
    assert told.frame.equals(plain.frame)
    assert (
        told.notes[0].endswith("Archs differ by more than trainings of one arch do.")
        and "2 random archs of mobilenet" in told.notes[0]
    )
    blind = render("table4", [*every("table4"), *trained_again("table4", [[59, 62], [61, 61]])])
    assert "cannot tell the archs of that space apart" in blind.notes[1]


def test_random_archs_alone_make_no_table():
    again = trained_again("table5", [[50.0, 51.0], [60.0, 61.0]])
    assert records_of("table5", again) == []
    assert len(records_of("table5", [*again, a_record(ARTEFACTS["table5"].searches[0], 0)])) == 5


def test_latency_of_picks_is_shown_as_predicted_and_as_measured():
    """What was measured depends on the machine, and an older run did not measure; a limit of FLOPs has neither."""
    records = every("table5")
    timed = [replace(record, timing={"search_seconds": 7.0, "pick_latency_ms": 1.5}) for record in records]
    table = render("table5", [*timed[:2], *records[2:]], no_timing=False).frame
    assert set(table["predicted (ms)"]) == {"950000.000 ± 0.000"}
    assert table["measured (ms)"].tolist() == ["1.500 ± 0.000", *["–"] * 5]
    assert "measured (ms)" not in render("table5", timed).frame
    assert "predicted (ms)" not in render("table6", every("table6")).frame


def test_the_systems_of_the_papers_tables_have_rows():
    """A searched row for each system that the paper's Tables 4 and 5 print in the MobileNet-like space, at its
    limit."""
    fourth = {(search.label, search.level) for search in ARTEFACTS["table4"].searches}
    fifth = {(search.label, search.level) for search in ARTEFACTS["table5"].searches}
    assert {("FBNet", 250), ("ProxylessNAS-R", 320), ("FairNAS", 320), ("ProxylessNAS", 470), ("PCNAS", 590)} < fourth
    assert {("ProxylessNAS-R", 17), ("ProxylessNAS", 22), ("SPOS", 17), ("SPOS", 22)} < fifth


def test_the_papers_numbers_stand_in_their_own_block():
    table = render("table6", every("table6"))
    assert table.paper["published_top1"].tolist() == [74.8, 75.3, 75.7, 76.1]
    assert table.paper["name"].tolist() == table.frame["search"].tolist() == [row["name"] for row in paper.TABLE6]
    fourth = render("table4", every("table4")).paper.set_index("name")
    assert fourth.loc["ProxylessNAS", "flops_m"] == pytest.approx(465.260, abs=5e-4)
    assert fourth.loc["ProxylessNAS", "published_flops_m"] == 465


def test_runs_are_shared_and_not_mixed_up():
    """The search under 470M is one run for tables 4 and 6; nothing else of table 4 is shown in table 6."""
    records = every("table4") + [record for record in every("table6") if record.spec.method == "si-shrink"]
    shown = render("table6", ARTEFACTS["table6"].of(records))
    assert [row["method"] for row in shown.meta["rows"]] == ["spos", "si-shrink", "se-nas"]
    assert "No runs of: SPOS + shrinking (SI + SC) (470)." in shown.notes
    assert records_of("table3", records) == [] == records_of("fig8", records)
    ranked = replace(records[0], spec=replace(records[0].spec, space="nasbench201", settings={}))
    assert records_of("table3", [*records, ranked]) == [ranked]


def test_runs_that_may_not_share_a_table_are_refused():
    one, two = every("table6")[:2]
    with pytest.raises(ValueError, match="SPOS at 470 has two runs of one seed"):
        render(
            "table6", [one, replace(one, spec=replace(one.spec, settings={**one.spec.settings, "retrain": {"a": 1}}))]
        )
    with pytest.raises(ValueError, match="runs with preset cpu and embedded never share a table"):
        render("table6", [one, a_record(ARTEFACTS["table6"].searches[1], 0, preset="cpu")])
    with pytest.raises(ValueError, match="SPOS at 470 has runs with different settings"):
        render(
            "table6", [one, replace(two, spec=replace(two.spec, settings={**two.spec.settings, "retrain": {"a": 1}}))]
        )
    with pytest.raises(ValueError, match="no finished runs for table5; run `senas-bench reproduce table5` first"):
        render("table5", [one])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table4", "fig9", "fig12"])
def test_equal_runs_in_any_order_give_equal_bytes(name, tmp_path):
    files = []
    for place, records in (("a", every(name)), ("b", every(name)[::-1])):
        table = render(name, records)
        paths = write(table, tmp_path / place) + save(ARTEFACTS[name].figure(table), tmp_path / place, name)
        files.append({path.name: path.read_bytes() for path in paths})
    assert files[0] == files[1] and len(files[0]) == 7


def test_a_report_shows_searches_beside_what_the_truth_ranks():
    """A folder of both, as `reproduce all` leaves it; searches were trained here and have no truth."""
    records = every("table6")
    page, _ = make_report(render_all(records, None, None, no_timing=True), records, no_timing=True)
    assert "Table 6: what each part of SE-NAS adds" in page and "none: trained here" in page


def test_figures_show_the_skeleton_of_the_search():
    """Over the paper's own skeleton and over a smaller one the same arch gives different pictures."""
    search = ARTEFACTS["fig9"].searches[0]
    record = a_record(search, 0)
    published = asdict(KNOWN_NETWORKS["proxyless-gpu"].skeleton)
    larger = replace(record, history=({**record.history[0], "skeleton": published}, record.history[1]))
    pictures = [to_bytes(ARTEFACTS["fig9"].figure(render("fig9", [one])), "png") for one in (record, larger)]
    assert pictures[0] != pictures[1]
