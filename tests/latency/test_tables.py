import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from senas_bench.errors import DataError
from senas_bench.latency.tables import (
    LatencyTable,
    Setting,
    Validation,
    kept_tables,
    sample_archs,
    space_over,
    table_path,
)
from senas_bench.spaces.darts import DARTS, DartsSkeleton
from senas_bench.spaces.limited import LimitedSampler
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.mobilenet import IDENTITY, MobileSkeleton, mobilenet_space
from senas_bench.spaces.nasbench201 import NB201, Skeleton
from senas_bench.spaces.regions import within

SKELETON = MobileSkeleton(resolution=8, num_classes=4, widths=(6, 8), repeats=(2, 3), strides=(1, 2), stem=4, first=6)
SETTING = Setting("some processor", "2.6.0", threads=1, batch=2, clock="wall", repeats=7, quantile=0.25)


def mobile_table(skeleton: MobileSkeleton = SKELETON, space: str = "mobilenet") -> LatencyTable:
    """Layer l and operator o cost 10^l * (o + 1), identity nothing; the base is 0.5."""
    over = space_over(space, skeleton)
    per_edge = 10.0 ** np.arange(len(over.edges))[:, None] * np.arange(1, len(over.operators) + 1)
    per_edge[:, IDENTITY] = [0 if IDENTITY in alive else np.nan for alive in over.candidates]
    return LatencyTable(space, skeleton, SETTING, per_edge, 0.5, per_edge / 8, 0.25)


def darts_table() -> LatencyTable:
    per_edge = np.add.outer(np.arange(14.0), np.arange(8.0))
    per_edge[:, 0] = 0
    return LatencyTable("darts", DartsSkeleton(8, 4, channels=2, layers=2), SETTING, per_edge, 3.0, per_edge, 0.0)


def test_latency_is_base_plus_one_entry_per_edge():
    archs = np.array([(0, 0, 0, 0, 0), (5, IDENTITY, 2, IDENTITY, 3)], np.int8)
    assert mobile_table()(archs).tolist() == [11111.5, 40306.5]


def test_identity_that_a_stage_cannot_begin_with_has_no_latency():
    assert np.isnan(mobile_table()(np.array([(IDENTITY, 0, 0, 0, 0)]))).all()


@pytest.mark.parametrize("table", [mobile_table(), mobile_table(space="mobilenet-g2"), darts_table()])
def test_a_saved_table_comes_back_as_it_was(table, tmp_path):
    table.save(tmp_path / "table.json")
    loaded = LatencyTable.load(tmp_path / "table.json")
    assert (loaded.space, loaded.skeleton, loaded.setting) == (table.space, table.skeleton, table.setting)
    assert (loaded.base, loaded.base_spread) == (table.base, table.base_spread)
    np.testing.assert_array_equal(loaded.per_edge, table.per_edge)
    np.testing.assert_array_equal(loaded.per_edge_spread, table.per_edge_spread)
    loaded.check(table.space, table.skeleton)


def test_a_saved_table_can_be_read_by_names(tmp_path):
    mobile_table().save(tmp_path / "table.json")
    content = json.loads((tmp_path / "table.json").read_text())
    assert content["base"] == [0.5, 0.25]
    assert content["per_edge"]["2.1"]["k5e3"] == [300.0, 37.5]
    assert content["per_edge"]["2.2"]["identity"] == [0.0, 0.0]
    assert "identity" not in content["per_edge"]["2.1"]
    assert content["setting"]["device"] == "some processor"
    assert content["setting"]["torch"] == "2.6.0"
    assert content["skeleton"]["resolution"] == 8


def without_operator(content):
    del content["per_edge"]["1.2"]["k7e6"]


def negative(content):
    content["per_edge"]["1.2"]["k7e6"] = [-1.0, 0.0]


def endless(content):
    content["base"] = [float("inf"), 0.0]


def one_number(content):
    content["per_edge"]["1.2"]["k7e6"] = 3.0


def no_number(content):
    content["base"] = [None, 0.0]


def misspelt_space(content):
    content["space"] = "mobilnet"


def unknown_field(content):
    content["skeleton"]["depth"] = 3


def other_layers(content):
    content["skeleton"]["repeats"] = [2, 4]


def no_setting(content):
    del content["setting"]


def no_threads(content):
    content["setting"]["threads"] = 0


def textual_batch(content):
    content["setting"]["batch"] = "2"


def other_format(content):
    content["format"] = 99


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_operator, "'k7e6' is missing"),
        (negative, "k7e6 on edge 1.2 has latency -1.0"),
        (endless, "base has latency inf"),
        (one_number, "float"),
        (no_number, "float"),
        (misspelt_space, "did you mean 'mobilenet'"),
        (unknown_field, "depth"),
        (other_layers, "'2.4' is missing"),
        (no_setting, "'setting' is missing"),
        (no_threads, "threads, batch and repeats must be at least 1"),
        (textual_batch, "whole numbers"),
        (other_format, "format 1 is needed"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(damage, says, tmp_path):
    path = tmp_path / "table.json"
    mobile_table().save(path)
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        LatencyTable.load(path)
    message = str(caught.value)
    assert says in message and str(path) in message and "delete it and measure again" in message
    assert "\n" not in message


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'{"format": 1}', b"\xff\xfe\x00", b"latency"])
def test_a_file_that_is_no_table_is_refused(data, tmp_path):
    path = tmp_path / "table.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match="no undamaged latency table"):
        LatencyTable.load(path)


def test_a_folder_is_refused_with_advice(tmp_path):
    with pytest.raises(DataError, match=r"is a folder; name one of the \.json files that `senas-bench latency` made"):
        LatencyTable.load(tmp_path)


def test_a_table_cut_short_is_refused(tmp_path):
    path = tmp_path / "table.json"
    mobile_table().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="no undamaged latency table"):
        LatencyTable.load(path)


def test_a_missing_table_is_missing_data(tmp_path):
    with pytest.raises(DataError, match=r"no latency table at .*nowhere.json; measure one first"):
        LatencyTable.load(tmp_path / "nowhere.json")


def test_another_skeleton_is_refused_and_what_differs_is_said():
    with pytest.raises(ValueError, match=r"another skeleton: resolution 8, not 16, stem 4, not 6; measure one"):
        mobile_table().check("mobilenet", replace(SKELETON, resolution=16, stem=6))
    with pytest.raises(ValueError, match="of space mobilenet, not mobilenet-g2"):
        mobile_table().check("mobilenet-g2", SKELETON)


def test_another_machine_is_refused_but_more_repeats_are_not():
    table = mobile_table()
    table.check_machine(replace(SETTING, repeats=99, quantile=0.5))
    with pytest.raises(ValueError, match=r"threads 1, not 2, clock wall, not cpu; measure one here"):
        table.check_machine(replace(SETTING, threads=2, clock="cpu"))


def test_skeletons_of_another_space_and_unknown_spaces_are_refused():
    with pytest.raises(ValueError, match="space darts needs a DartsSkeleton, not a Skeleton"):
        space_over("darts", Skeleton(8, 10))
    with pytest.raises(ValueError, match="did you mean 'darts'"):
        space_over("dart", Skeleton(8, 10))


def test_entries_must_fit_the_skeleton():
    table = mobile_table()
    with pytest.raises(ValueError, match=r"\(5, 7\) latencies, space mobilenet over this skeleton has \(3, 7\)"):
        replace(table, skeleton=replace(SKELETON, repeats=(1, 2)))


def test_archs_drawn_under_a_limit_of_latency_hold_it():
    table = mobile_table()
    space = mobilenet_space(SKELETON)
    limit = Limit(table.per_edge, table.base, 20_000, 30_000, "latency")
    archs = LimitedSampler(space, limit).draw(np.random.default_rng(0), 200)
    assert ((table(archs) >= 20_000) & (table(archs) <= 30_000)).all()
    # by hand: the last layer takes k3e6 (20,000), or k3e3 with at least 9,999.5 from four layers that give at most
    # 6,666; k5e3 (30,000) is too dear
    assert set(archs[:, 4]) == {1}
    assert LimitedSampler(space, limit).size == 6 * 7 * 6 * 7


def test_archs_with_two_inputs_per_node_hold_a_limit_of_latency():
    table = darts_table()
    limit = Limit(table.per_edge, table.base, 60, 70, "latency")
    archs = within(DARTS, limit).sample_distinct(np.random.default_rng(0), 20)
    assert len(archs) == 20
    assert ((table(archs) >= 60) & (table(archs) <= 70)).all()


def test_an_impossible_limit_is_refused_in_its_own_words():
    table = mobile_table()
    with pytest.raises(ValueError, match="no arch of mobilenet meets the latency limit"):
        LimitedSampler(mobilenet_space(SKELETON), Limit(table.per_edge, table.base, 0, 1, "latency"))


@pytest.mark.parametrize(
    ("space", "skeleton"),
    [
        ("mobilenet", SKELETON),
        ("mobilenet-g2", MobileSkeleton()),  # more archs than 64 bits can count
        ("darts", DartsSkeleton()),
        ("darts-separate", DartsSkeleton()),
        ("nasbench201", Skeleton(8, 10)),
    ],
)
def test_sampled_archs_are_distinct_and_of_the_space(space, skeleton):
    archs = sample_archs(space, skeleton, 30, np.random.default_rng(3))
    assert space_over(space, skeleton).contains_rows(archs).all()
    assert len(np.unique(archs, axis=0)) == 30
    np.testing.assert_array_equal(archs, sample_archs(space, skeleton, 30, np.random.default_rng(3)))


def test_a_tiny_space_gives_all_it_has():
    skeleton = replace(SKELETON, widths=(6,), repeats=(1,), strides=(1,))
    assert len(sample_archs("mobilenet", skeleton, 50, np.random.default_rng(0))) == 6


def test_a_file_is_named_by_what_must_be_equal(tmp_path):
    def name(space="mobilenet", skeleton=SKELETON, **changes):
        return table_path(tmp_path, space, skeleton, replace(SETTING, **changes)).name

    assert name() == name(repeats=50, quantile=0.5)
    others = [
        name("mobilenet-g2"),
        name(skeleton=replace(SKELETON, stem=6)),
        name(device="another"),
        name(torch="2.7.0"),
        name(threads=2),
        name(batch=1),
        name(clock="cpu"),
    ]
    assert len({name(), *others}) == 8
    assert name().startswith("latency-mobilenet-")


def test_a_folder_gives_the_tables_of_one_skeleton(tmp_path):
    """Those of two machines; not that of other networks, whose file lies beside them."""
    narrow = replace(SKELETON, stem=6)
    for device in ("one", "another"):
        table = replace(mobile_table(), setting=replace(SETTING, device=device))
        table.save(table_path(tmp_path, "mobilenet", SKELETON, table.setting))
    mobile_table(narrow).save(table_path(tmp_path, "mobilenet", narrow, SETTING))
    assert {table.setting.device for table in kept_tables(tmp_path, "mobilenet", SKELETON)} == {"one", "another"}
    assert [table.skeleton for table in kept_tables(tmp_path, "mobilenet", narrow)] == [narrow]
    assert kept_tables(tmp_path, "mobilenet", replace(SKELETON, stem=8)) == []


def test_validation_by_hand():
    checked = Validation(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 40, 30]), np.zeros(4))
    assert checked.spearman == pytest.approx(0.8)  # 1 - 6 * (1 + 1) / (4 * 15)
    assert checked.ratio == pytest.approx(10)  # of 10, 10, 13.3 and 7.5
    assert checked.error == pytest.approx(0.125)  # of 0, 0, 1/3 and 1/4


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        replace(SETTING, batch=0)
    with pytest.raises(ValueError, match=r"quantile 1\.5 must lie between 0"):
        replace(SETTING, quantile=1.5)


def test_tables_need_no_torch():
    code = "import sys, senas_bench.latency.tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nasbench201_has_its_own_edges_whatever_the_skeleton():
    assert space_over("nasbench201", Skeleton(8, 10, cells=1)) is NB201
