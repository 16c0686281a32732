"""What somebody adds from outside, as CONTRIBUTING says, is there everywhere without another edit."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from senas_bench.analysis.artefacts import ARTEFACTS, make, named
from senas_bench.analysis.artefacts.artefact import Artefact
from senas_bench.analysis.output.formats import Table
from senas_bench.analysis.style import STYLES, Style
from senas_bench.cli.app import app
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
from senas_bench.tasks.task import MethodOutput, ScoreTable, Task, rows_of
from senas_bench.training.recipe import TrainingRecipe

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class CountConvs(Method):
    """Rank archs by how many 3x3 convolutions they have."""

    trains = False
    only_ranked = True
    operator: int = CONV3

    def __call__(self, task: Task) -> MethodOutput:
        archs = task.report_archs
        scores = (archs == self.operator).sum(axis=1).astype(float)
        pick = tuple(archs[int(np.argmax(scores))].tolist())
        return MethodOutput(pick, (ScoreTable(archs, scores, task.report_set, stage=1, epoch=0),))


@dataclass(frozen=True)
class Short(Method):
    """Train a supernet by a recipe of its own and rank archs by accuracy."""

    only_ranked = True
    watched = True
    shrinks_by = "nothing, in truth"
    recipes: ClassVar = {name: TrainingRecipe((1, 1), 64, snapshots=1) for name in PRESETS}
    recipe: str = "short"

    def __call__(self, task: Task) -> MethodOutput:
        network, epochs = task.build(task.space), sum(task.recipe.stage_epochs)
        paths, curve = task.uniform_paths(task.space, network), task.curve
        watch = (curve.epochs(task.recipe.stage_epochs), curve.archs, "weight-average") if curve else None
        trained = task.train(network, task.space, paths, phase="train", epochs=epochs, watch=watch)
        archs = task.report_archs
        scores = task.estimate(trained, archs, "weight-average", "ranking", purpose="search")
        tables = [ScoreTable(archs, scores, task.report_set, stage=1, epoch=epochs)]
        if curve:
            seen = {epoch: look.scores for epoch, look in trained.training.observed.items()}
            seen[epochs] = scores[rows_of(curve.archs, archs)]
            tables += [ScoreTable(curve.archs, values, "curve", stage=1, epoch=epoch) for epoch, values in seen.items()]
        return MethodOutput(tuple(archs[int(np.argmax(scores))].tolist()), tuple(tables))


def render_picks(records, scores, truth, *, no_timing, methods=None) -> Table:
    picks = [record.pick for record in records]
    return Table("picks", pd.DataFrame({"pick": picks}), (), {"title": "Picks", "rows": [{"pick": p} for p in picks]})


PICKS = Artefact("picks", "Picks", ("count-convs",), render_picks)


@pytest.fixture
def added(monkeypatch):
    """Two methods, one with a line of style, and an artefact: a line each."""
    monkeypatch.setitem(METHODS, "count-convs", CountConvs())
    monkeypatch.setitem(METHODS, "short", Short())
    monkeypatch.setitem(STYLES, "short", Style(label="Short (ours)", colour="#123456", marker="x", against="spos"))
    monkeypatch.setitem(ARTEFACTS, "picks", PICKS)


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.stdout


def test_a_method_is_in_every_artefact_that_its_facts_fit(added):
    rows = {name: artefact.methods for name, artefact in ARTEFACTS.items()}
    assert [name for name, methods in rows.items() if "short" in methods] == ["fig6", "fig7", "fig8", "table3"]
    assert [name for name, methods in rows.items() if "count-convs" in methods] == ["table3", "picks"]
    assert rows["fig7"] == ("spos", "se-nas", "short", "spos+", "se-nas+")  # each after its baseline
    assert rows["table3"][-2:] == ("short", "count-convs")  # without a line of style it comes last


def test_it_is_listed_and_named_where_a_name_is_wrong(added):
    listed = {row["name"]: row for row in json.loads(call("methods", "--json"))}
    assert listed["count-convs"]["what"] == "Rank archs by how many 3x3 convolutions they have."
    assert listed["short"]["artefacts"] == ["fig6", "fig7", "fig8", "table3"]
    assert "short" in {r["name"]: r for r in json.loads(call("presets", "--json"))}["cpu"]["recipes"]
    assert "picks" in call("artefacts") and "picks" in named("all") and "picks" in named("nasbench201")
    with pytest.raises(ValueError, match=r"did you mean 'count-convs'\?"):
        make_spec("count-conv", 0, "embedded")
    with pytest.raises(ValueError, match=r"did you mean 'picks'\?"):
        named("pick")


@pytest.mark.parametrize("preset", PRESETS)
def test_specs_of_added_methods_are_json_and_read_back(added, preset):
    free = make_spec("count-convs", 0, preset, dataset="digits")
    assert free.settings.keys() == {"method", "preset"} and free.settings["method"] == {"operator": CONV3}
    own = make_spec("short", 0, preset, dataset="digits")
    assert own.settings["recipe"]["stage_epochs"] == [1, 1]
    assert own.settings["curve"]["points"] == PRESETS[preset].curve_points
    for spec in (free, own):
        again = RunSpec(**json.loads(json.dumps(spec.__dict__)))
        assert again.run_id == spec.run_id
        kind = METHODS[spec.method].recipe
        assert Preset.from_settings(again.settings, kind).recipes.keys() == ({kind} if kind else set())


def test_the_options_reach_a_recipe_that_a_method_brings(added):
    sizes = resized(preset_of("nasbench201", "cpu"), stage_epochs=(3, 4))
    assert make_spec("short", 0, "cpu", dataset="digits", sizes=sizes).settings["recipe"]["stage_epochs"] == [3, 4]


def test_a_recipe_may_not_take_the_name_of_another(monkeypatch):
    monkeypatch.setitem(METHODS, "short", Short(recipe="reference"))
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
    assert ("#123456", "x") in drawn and figure.legends[0].get_texts()[1].get_text().startswith("Short (ours) (n = 2)")
    assert make("picks", tmp_path / "runs", benchmark_table).frame["pick"].nunique() == 1


def test_the_command_line_makes_an_added_artefact_of_a_method_that_trains_nothing(added, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    asked = ["reproduce", "picks", "--seeds", "0-1", "--rank-archs", "30", "--jobs", "1"]
    assert "total: 2 of 2 runs to compute" in call(*asked, "--dry-run")
    assert "nor_conv_3x3" in call(*asked) and (tmp_path / "runs/tables/picks.json").exists()
    assert "total: 0 of 2 runs to compute" in call(*asked, "--dry-run")
    assert "1 to compute: about 0.00" in call(*asked, "--seeds", "2", "--dry-run")  # by those that are finished
    assert "30 archs scored by count-convs" in call(
        "rank", "--method", "count-convs", "--rank-archs", "30", "--out", "scores.csv"
    )


PLUGIN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("additions", {path!r})
additions = importlib.util.module_from_spec(spec)
sys.modules["additions"] = additions
spec.loader.exec_module(additions)
additions.METHODS["count-convs"] = additions.CountConvs()
additions.METHODS["short"] = additions.Short()
"""


@pytest.mark.slow
def test_the_suite_of_all_methods_takes_added_ones(tmp_path):
    (tmp_path / "adding.py").write_text(PLUGIN.format(path=str(Path(__file__))))
    suite = ["-m", "pytest", str(ROOT / "tests/methods/test_conformance.py"), "-k", "count-convs or short]"]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, *suite, "-p", "adding", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 14  # every test of all methods, for each of the two
