"""What was decided anew: committed runs of NAS-Bench-201 are today's, those of searches are found as older ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.analysis.output.sections import sections
from senas_bench.api.studies import prepare
from senas_bench.errors import DataError
from senas_bench.experiments.protocols import FIELDS, differences, essence, of_older_protocol, outdated, said
from senas_bench.experiments.settings import limit_settings, make_spec, resized, todays_settings
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.studies import preset_of
from senas_bench.experiments.study import Setting
from senas_bench.methods import METHODS
from senas_bench.spaces import SPACES

RESULTS = Path(__file__).parents[2] / "results"
TABLE6 = RunStore(RESULTS / "cpu-table6-restarts").records()


@pytest.fixture
def images(monkeypatch):
    """The images of the committed runs, which nobody reads."""
    monkeypatch.setattr("senas_bench.experiments.settings.data_id", lambda *_, **__: TABLE6[0].spec.data_id)
    monkeypatch.setattr(Setting, "images_id", lambda self, sizes: TABLE6[0].spec.data_id)


def todays(record):
    """The spec that today's command would make of what a committed run was asked for."""
    return replace(record.spec, settings={**todays_settings(record.spec), **truth(record)})


def truth(record):
    return {"truth": record.spec.settings["truth"]} if "truth" in record.spec.settings else {}


@pytest.mark.parametrize(
    ("study", "options"),
    [
        ("embedded", {}),
        ("cpu-cifar10", {"curve_points": 0}),
        ("cpu-cifar10-short", {"stage_epochs": (5, 5, 5), "rank_archs": 500, "candidates": 500, "curve_points": 2}),
    ],
)
def test_committed_runs_of_nasbench201_have_todays_ids(study, options, monkeypatch):
    records = RunStore(RESULTS / study).records()
    monkeypatch.setattr("senas_bench.experiments.settings.data_id", lambda *_, **__: records[0].spec.data_id)
    monkeypatch.setattr("senas_bench.experiments.settings.trainer_of", lambda *_: None)
    found = set()
    for method in {record.spec.method for record in records}:
        for changed in (options, {**options, "curve_points": 0}, {**options, "curve_points": None}):
            sizes = resized(preset_of("nasbench201", records[0].spec.preset), **changed)
            for seed in range(10):
                dataset, threads = records[0].spec.dataset, records[0].spec.threads
                spec = make_spec(method, seed, records[0].spec.preset, dataset=dataset, sizes=sizes, threads=threads)
                found.add(spec.run_id)
    plain = [r for r in records if "truth" not in r.spec.settings and "alone" not in r.spec.method]
    assert len(plain) >= 21 and {record.spec.run_id for record in plain} <= found
    assert not any(outdated(record.spec) for record in records)


def test_committed_searches_are_older_and_found_as_such(images):
    """Table 6's twelve runs, none of which has today's id."""
    assert len(TABLE6) == 12 and all(todays(record).run_id != record.spec.run_id for record in TABLE6)
    for record in TABLE6:
        names = outdated(record.spec)
        assert {"recipe.lr_restarts", "limit.in_training"} <= set(names)
        assert ("method.stop_at" in names) == (record.spec.method != "spos")
    specs = [todays(record) for record in TABLE6]
    assert of_older_protocol(specs, TABLE6) == TABLE6
    assert of_older_protocol([replace(spec, seed=9) for spec in specs], TABLE6) == []
    other = [replace(spec, settings={**spec.settings, "limit": {"cost": "flops", "level": 320}}) for spec in specs]
    assert of_older_protocol(other, TABLE6) == []


@pytest.mark.parametrize("part", FIELDS)
def test_a_protocol_is_no_part_of_what_is_asked(part, images):
    """A spec without the new fields asks for the same, and one with another of its settings does not."""
    spec = make_spec("se-nas", 0, "cpu", space="mobilenet", limit=limit_settings("flops", level=470), retrain=True)
    old = {name: value for name, value in spec.settings[part].items() if name not in FIELDS[part]}
    assert old != spec.settings[part]
    before = replace(spec, settings={**spec.settings, part: old})
    assert essence(before) == essence(spec) and before.run_id != spec.run_id
    assert differences(before.settings, spec.settings) == [
        f"{part}.{n}" for n in FIELDS[part] if n in spec.settings[part]
    ]
    assert essence(replace(spec, settings={**spec.settings, part: {**old, "extra": 1}})) != essence(spec)


def test_what_a_user_may_ask_for_makes_no_run_old(images):
    limit = limit_settings("flops", level=470, in_training=True)
    assert limit == {"cost": "flops", "level": 470}  # as specs of older runs have it
    spec = make_spec("se-nas", 0, "cpu", space="mobilenet", limit=limit)
    assert outdated(spec) == []
    assert said(["limit.in_training", "method.stop_at"]) == "in_training of the limit, stop_at of the method"


def test_todays_specs_are_not_outdated(images):
    for space in SPACES:
        for name, method in METHODS.items():
            if (method.spaces is None or space in method.spaces) and not method.needs_truth:
                limit = None if space == "nasbench201" else limit_settings("flops", level=470)
                assert outdated(make_spec(name, 0, "cpu", space=space, limit=limit, retrain=limit is not None)) == []


def test_finished_shows_older_runs_and_says_so(images, tmp_path, capsys, monkeypatch):
    (tmp_path / "runs").symlink_to(RESULTS / "cpu-table6-restarts/runs")
    monkeypatch.setitem(ARTEFACTS, "table6", replace(ARTEFACTS["table6"], draw=None))
    setting = Setting("cpu", results=tmp_path, device="cpu")
    (made,) = prepare(["table6"], range(3), None, setting, finished=True).render(no_timing=True)
    said_once = capsys.readouterr().err.splitlines()
    assert len(said_once) == 1 and said_once[0].startswith("table6: shows 12 runs of an older protocol (")
    assert [row["n"] for row in made.table.meta["rows"]] == [3] * 4
    notes = " ".join(made.table.notes)
    assert "An older protocol, which differs from today's in: " in notes and "lr_restarts of the supernet's" in notes
    assert "train on paths within the limit" in notes and "starts again in each stage" in notes
    with pytest.raises(DataError, match="none of the 8 runs is finished"):
        list(prepare(["table6"], [7], None, setting, finished=True).render(no_timing=True))


def test_with_the_official_split_an_architecture_learns_from_its_validation_images(images):
    """DARTS, GDAS, SETN, ENAS, FBNet, ProxylessNAS and the magnitude criterion have new ids; nobody else has."""
    for name, method in METHODS.items():
        if method.needs_truth or method.recipe is None:
            continue
        plain, official = (
            make_spec(name, 0, "cpu", sizes=resized(preset_of("nasbench201", "cpu"), official_split=split))
            for split in (False, True)
        )
        learned = official.settings["recipe"].get("architecture_images", "half")
        learning = (
            "darts",
            "gdas",
            "setn",
            "enas",
            "magnitude",
            "p-darts",
            "fair-darts",
            "pc-darts",
            "fbnet",
            "proxylessnas",
        )
        bilevel = name.startswith(learning)
        assert learned == ("valid" if bilevel else "half") and "architecture_images" not in plain.settings["recipe"]
        assert outdated(official) == []
        older = {key: value for key, value in official.settings["recipe"].items() if key != "architecture_images"}
        before = replace(official, settings={**official.settings, "recipe": older})
        assert outdated(before) == (["recipe.architecture_images"] if bilevel else [])
        assert (before.run_id == official.run_id) != bilevel


def test_a_field_within_a_strategy_is_one_too(images):
    """AngleNAS's reset, in its criterion."""
    spec = make_spec("angle-shrink", 0, "cpu", space="mobilenet")
    criterion = {name: value for name, value in spec.settings["method"]["criterion"].items() if name != "reset_after"}
    before = replace(spec, settings={**spec.settings, "method": {**spec.settings["method"], "criterion": criterion}})
    assert outdated(before) == ["method.criterion.reset_after"] and essence(before) == essence(spec)
    assert said(outdated(before)) == "criterion.reset_after of the method"


def test_runs_of_nasbench201_are_beside_todays_searches_alone(images):
    """Beside searches of both protocols, as a folder may hold them: in one section, so in no table of the other."""
    benchmark = [record for record in RunStore(RESULTS / "cpu-cifar10").records() if record.spec.seed == 0]
    searches = [*TABLE6, *(replace(record, spec=todays(record)) for record in TABLE6)]
    made = {section.label: section.records for section in sections([*benchmark, *searches])}
    assert list(made) == ["cpu-cifar10", "cpu-cifar10-older-protocol"] and len(benchmark) > 3
    ids = {label: {record.spec.run_id for record in records} for label, records in made.items()}
    assert {record.spec.run_id for record in benchmark} <= ids["cpu-cifar10"]
    assert {record.spec.space for record in made["cpu-cifar10-older-protocol"]} == {"mobilenet"}


def test_a_report_has_older_runs_in_a_section_of_their_own(images):
    todays_runs = [replace(record, spec=todays(record)) for record in TABLE6]
    made = sections([*TABLE6, *todays_runs])
    assert [(section.label, len(section.records)) for section in made] == [
        ("cpu-cifar10", 12),
        ("cpu-cifar10-older-protocol", 12),
    ]
    assert made[1].title == "Preset cpu, images cifar10, device cpu, older protocol"
    assert {record.spec.run_id for record in made[1].records} == {record.spec.run_id for record in TABLE6}
    (alone,) = sections(TABLE6)
    assert alone.label == "cpu-cifar10-older-protocol" and len(alone.records) == 12
