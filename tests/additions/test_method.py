"""Methods from outside, of docs/adding.md, are there everywhere without another edit."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, make
from senas_bench.errors import RunError
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS, Preset
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.spec import RunSpec
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.studies import preset_of
from senas_bench.methods import METHODS
from senas_bench.spaces.nasbench201 import CONV3
from senas_bench.tasks.method import Method
from senas_bench.tasks.outputs import MethodOutput
from senas_bench.tasks.task import Task

ROOT = Path(__file__).parents[2]
ARCH = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def test_a_method_is_in_every_artefact_that_its_facts_fit(added):
    rows = {name: artefact.methods for name, artefact in ARTEFACTS.items()}
    assert [name for name, methods in rows.items() if "short" in methods] == ["fig7", "fig8", "table3", "ladder"]
    assert [name for name, methods in rows.items() if "count-convs" in methods] == ["table3", "ladder", "picks"]
    assert not [name for name, methods in rows.items() if "greedy" in methods]  # it ranks nothing for the report
    assert rows["fig7"][:3] == ("spos", "se-nas", "short")  # after its baseline
    last = rows["table3"][rows["table3"].index("short") :]  # without a line of style they come last, by name
    assert last == ("short", "best-arch-shrink", "count-convs", "quick-shrink", "slope", "spos-quick", "spos-two")


@pytest.mark.slow
def test_it_is_listed_and_named_where_a_name_is_wrong(added, call):
    listed = {row["name"]: row for row in json.loads(call("methods", "--json"))}
    assert listed["count-convs"]["what"] == "Rank archs by how many 3x3 convolutions they have"
    assert listed["short"]["artefacts"] == ["fig7", "fig8", "table3", "ladder"]
    assert "short" in {r["name"]: r for r in json.loads(call("presets", "--json"))}["cpu"]["recipes"]
    with pytest.raises(ValueError, match=r"did you mean 'count-convs'\?"):
        make_spec("count-conv", 0, "embedded")


@pytest.mark.parametrize("preset", PRESETS)
def test_specs_of_added_methods_are_json_and_read_back(added, preset):
    free = make_spec("count-convs", 0, preset, dataset="digits")
    assert free.settings.keys() == {"method", "named", "preset"} and free.settings["method"] == {"operator": CONV3}
    own = make_spec("short", 0, preset, dataset="digits")
    assert own.settings["recipe"]["stage_epochs"] == [1, 1]
    assert own.settings["curve"]["points"] == PRESETS[preset].curve_points
    for spec in (free, own):
        again = RunSpec(**json.loads(json.dumps(spec.__dict__)))
        assert again.run_id == spec.run_id
        kind = METHODS[spec.method].recipe
        assert Preset.from_settings(again.settings, kind).recipes.keys() == ({kind} if kind else set())


def test_two_classes_of_one_name_and_fields_have_ids_of_their_own(added, monkeypatch, tmp_path):
    """One that was added, and one in the place of a shipped method; what ships has no more in its spec than it had."""

    @dataclass(frozen=True)
    class Other(added.CountConvs):
        def __call__(self, task: Task) -> MethodOutput:
            raise AssertionError

    first = make_spec("count-convs", 0, "embedded")
    assert first.settings["named"] == {"method": {"kind": "CountConvs"}}
    monkeypatch.setitem(METHODS, "count-convs", Other())
    assert make_spec("count-convs", 0, "embedded").run_id != first.run_id
    with pytest.raises(ValueError, match="has other settings of 'count-convs' than this version"):
        run(first, Place(tmp_path))
    shipped = {name: make_spec(name, 0, "embedded") for name in ("random", "params")}
    assert not any("named" in spec.settings for spec in shipped.values())
    monkeypatch.setitem(METHODS, "random", added.CountConvs())
    assert make_spec("random", 0, "embedded").settings["named"] == {"method": {"kind": "CountConvs"}}
    monkeypatch.setitem(METHODS, "params", replace(METHODS["params"]))  # of the shipped class: its fields say it all
    assert make_spec("params", 0, "embedded").run_id == shipped["params"].run_id
    assert "named" not in make_spec("fixed", 0, "embedded", arch=ARCH).settings


def test_the_options_reach_a_recipe_that_a_method_brings(added):
    sizes = resized(preset_of("nasbench201", "cpu"), stage_epochs=(3, 4))
    assert make_spec("short", 0, "cpu", dataset="digits", sizes=sizes).settings["recipe"]["stage_epochs"] == [3, 4]


def test_a_recipe_may_not_take_the_name_of_another(added, monkeypatch):
    monkeypatch.setitem(METHODS, "short", added.Short(recipe="reference"))
    with pytest.raises(ValueError, match="'short' brings a recipe 'reference', which preset cpu has already; rename"):
        preset_of("nasbench201", "cpu")


def test_a_recipe_that_no_preset_has_is_one_line(monkeypatch):
    monkeypatch.setitem(METHODS, "short", replace(METHODS["spos"], recipe="refernce"))
    with pytest.raises(ValueError, match=r"unknown recipe of this preset 'refernce'; did you mean 'reference'\?"):
        make_spec("short", 0, "embedded")


@pytest.mark.slow
def test_added_methods_run_and_stand_in_table_and_figures(added, tmp_path, benchmark_table):
    """Beside spos, whose runs are taken to be there."""
    store, work = RunStore(tmp_path / "runs"), tmp_path / "work"
    sizes = replace(preset_of("nasbench201", "embedded"), channels=4, rank_archs=30, score_images=200)
    for seed in range(2):
        for name in ("count-convs", "short"):
            (place := work / f"{name}-{seed}").mkdir(parents=True)
            record, scores = run(make_spec(name, seed, "embedded", sizes=sizes), Place(place))
            assert (record.counters["search"]["train_steps"] > 0) == METHODS[name].trains
            store.save(record, scores)
            if name == "short":
                store.save(replace(record, spec=replace(record.spec, method="spos")), scores)
    table = make("table3", tmp_path / "runs", benchmark_table, no_timing=True)
    assert table.frame["method"].tolist() == ["spos", "Short (ours)", "count-convs", "optimal"]
    assert any(note.startswith("SHORT vs SPOS, tau sample: undecided") for note in table.notes)
    seven = make("fig7", tmp_path / "runs", benchmark_table)
    assert {"spos", "short"} == {row["method"] for row in seven.meta["rows"]}
    figure = ARTEFACTS["fig7"].figure(seven)
    drawn = [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines]
    named = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert ("#123456", "x") in drawn and any(name.startswith("Short (ours)") for name in named), named


def test_rank_takes_it(added, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("rank", "--method", "count-convs", "--rank-archs", "30", "--out", "scores.csv")
    assert "30 archs scored by count-convs" in done


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ([], "Wrong returned list; a method returns MethodOutput"),
        (MethodOutput((3,) * 6, tables=("table",)), "Wrong returned tables that are no ScoreTable"),
    ],
)
def test_what_a_method_returns_is_checked(monkeypatch, tmp_path, output, words):
    @dataclass(frozen=True)
    class Wrong(Method):
        trains = False

        def __call__(self, task: Task) -> MethodOutput:
            return output

    monkeypatch.setitem(METHODS, "wrong", Wrong())
    with pytest.raises(RunError, match=words):
        run(make_spec("wrong", 0, "embedded"), Place(tmp_path))


PLUGIN = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("additions_conftest", {path!r})
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
conftest.write_files(pathlib.Path(__file__).parent)
conftest.add_all()
"""


def suite(tmp_path, path: str, chosen: str) -> int:
    """How many tests of a suite of the house passed, where everything of docs/adding.md is known."""
    (tmp_path / "adding.py").write_text(PLUGIN.format(path=str(Path(__file__).with_name("conftest.py"))))
    found = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", str(ROOT / path), "-k", chosen]
    command += ["-p", "adding", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, "PYTHONPATH": found}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return int(re.search(r"(\d+) passed", done.stdout)[1])


@pytest.mark.slow
def test_the_suite_of_all_methods_takes_added_ones(tmp_path):
    """Every test of all methods, for one that trains nothing, one that trains, and one whose paths have a memory."""
    chosen = "count-convs or short] or greedy or best-arch-shrink"
    assert suite(tmp_path, "tests/methods/test_conformance.py", chosen) >= 4 * 7


@pytest.mark.slow
def test_the_suite_of_all_criteria_takes_an_added_one(tmp_path):
    assert suite(tmp_path, "tests/shrinking/test_conformance.py", "best-arch") >= 10
