import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, make, named, records_of
from senas_bench.experiments.store import RunStore
from senas_bench.groundtruth import GroundTruth, Query
from senas_bench.names import lookup


def test_names_and_defaults():
    for name, artefact in ARTEFACTS.items():
        assert artefact.name == name and (artefact.methods or (artefact.alone and artefact.also()))
    assert ARTEFACTS["table3"].methods[0] == "random"
    assert ARTEFACTS["table3"].methods[-1] == "se-nas+synflow-bn"


def test_rendering_goes_through_the_artefact(runs, truth):
    artefact = ARTEFACTS["table3"]
    table = artefact.render(runs.records, runs.scores, truth, no_timing=True, methods=artefact.methods)
    assert table.name == artefact.name
    assert table.meta["title"] == artefact.title


def test_unknown_artefact():
    with pytest.raises(ValueError, match="did you mean 'table3'"):
        lookup("artefact", "tabel3", ARTEFACTS)


@pytest.mark.slow
def test_analysis_never_loads_torch_and_no_drawing_before_something_is_drawn():
    code = "import sys, senas_bench.analysis.artefacts, senas_bench.analysis.metrics.statistics; "
    code += "sys.exit(bool({'torch', 'seaborn', 'matplotlib.pyplot', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_make_renders_from_a_folder(toy, runs, query, tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    for record in runs.records:
        store.save(record, runs.scores(record) if record.scores_sha256 else None)
    truth, seeds = tmp_path / "truth.parquet", tmp_path / "seeds.parquet"
    GroundTruth("toy", tuple(toy.archs), {query: np.arange(50.0, 90.0)}).save(truth)
    one, two = (Query("cifar10", "val", 200, seed) for seed in (1, 2))
    GroundTruth("seeds", tuple(toy.archs), {one: np.arange(40.0), two: np.arange(40.0)}).save(seeds)
    assert [row["method"] for row in make("table3", tmp_path, truth).meta["rows"]][:3] == ["random", "spos", "se-nas"]
    few = make("table3", tmp_path, truth, methods=["spos"], no_timing=True)
    assert [row["method"] for row in few.meta["rows"]] == ["spos", "optimal"] and "No runs" not in str(few.notes)
    rows = make("table1", tmp_path, truth, seeds).meta["rows"]
    assert [row["tau_mean"] for row in rows if row["ranking"] == "stand-alone, benchmark"] == [1.0]
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    home = make("table3", f"~/{tmp_path.name}", truth, methods=["spos"], no_timing=True)
    assert home.meta["rows"] == few.meta["rows"]
    with pytest.raises(ValueError, match=r"no finished runs for fig1 in .*; run `senas-bench reproduce fig1` first"):
        make("fig1", tmp_path, truth)


def test_what_an_artefact_shows(runs):
    shown = {name: {r.spec.method for r in records_of(name, runs.records)} for name in ARTEFACTS}
    assert {name for name in named("searches") if shown.pop(name)} == set()
    assert shown == {
        "table1": {"spos"}, "fig1": set(), "fig6": {"se-nas"}, "fig7": {"spos", "se-nas"}, "fig8": {"spos", "se-nas"},
        "table3": {"random", "spos", "se-nas"}, "eq7": {"spos", "se-nas"},
        "ladder": {"random", "spos", "se-nas"},
    }  # fmt: skip
    others = [replace(r, spec=replace(r.spec, method="pcnas")) for r in runs.records[:1]]
    others += [replace(r, spec=replace(r.spec, method="stand-alone")) for r in runs.records[:1]]
    assert {r.spec.method for r in records_of("table3", others)} == {"pcnas"}
    assert {r.spec.method for r in records_of("fig1", [*others, *runs.records])} == {"stand-alone", "spos"}


def test_a_notebook_shows_a_table_with_its_notes(runs, truth):
    table = ARTEFACTS["table3"].render(runs.records, runs.scores, truth, no_timing=True)
    page = replace(table, said={"Verdicts": ["a < b"]})._repr_html_()
    assert "<li>a &lt; b</li>" in page and "51.00 ± 1.00" in page and "GDAS (paper)" in page
