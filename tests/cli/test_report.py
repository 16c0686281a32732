"""A page whatever the folder holds: a section per study, a line for what cannot be shown."""

import re
from dataclasses import replace
from html import unescape

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.errors import DataError

pytestmark = pytest.mark.usefixtures("plain_figures")


def page_of(tmp_path) -> str:
    return unescape((tmp_path / "runs/report.html").read_text())


def studies(page: str) -> list[str]:
    return re.findall(r'<h1 id="part-\d+">([^<]*)</h1>', page)


def tables(tmp_path) -> set[str]:
    return {path.stem for path in (tmp_path / "runs/tables").iterdir()}


@pytest.mark.slow
def test_one_study_has_one_section_and_the_plain_names(cli, finish, tmp_path):
    finish("random,spos")
    outcome = cli.done("report", "--no-timing")
    page = page_of(tmp_path)
    assert outcome.err == "" and outcome.out.startswith("claims of the paper: ")
    assert studies(page) == [] and page.count("<h1>") == 1
    assert tables(tmp_path) == {"table1", "table3", "fig7", "fig8", "ladder", "eq7", "verdicts"} & tables(tmp_path)
    assert "table3" in tables(tmp_path)
    assert "No finished runs of: fig1, fig6, table4, table5, table6, fig9, fig10, fig11, fig12." in page


@pytest.mark.slow
def test_a_section_per_preset_images_and_size(cli, finish, tmp_path, monkeypatch):
    """Four studies; what `--stage-epochs` leaves alone, for it trains networks alone or none, belongs to both."""
    images = {"digits": "d1", "cifar10": "d2", "cifar100": "d3"}
    monkeypatch.setattr("senas_bench.experiments.settings.data_id", lambda name, *_, **__: images[name])
    finish("random,spos,rsps,darts-v1,stand-alone,synflow")
    finish("spos,rsps,darts-v1", stage_epochs=(5, 5, 5))
    finish("spos,random", preset="cpu")
    finish("spos", preset="cpu", dataset="cifar100")
    outcome = cli.done("report", "--no-timing")
    page = page_of(tmp_path)
    assert studies(page) == [
        "Preset cpu, images cifar10, device cpu",
        "Preset cpu, images cifar100, device cpu",
        "Preset embedded, images digits, device cpu",
        "Preset embedded, images digits, device cpu; not the preset's stage epochs 15 or 5,5,5",
    ]
    parts = page.split('<h1 id="part-')[1:]
    runs = [re.search(r"(\d+) runs: methods ([^;]*); seeds 0, 1", part)[0] for part in parts]
    assert runs == [
        "4 runs: methods random, spos; seeds 0, 1",
        "2 runs: methods spos; seeds 0, 1",
        "12 runs: methods darts-v1, random, rsps, spos, stand-alone, synflow; seeds 0, 1",
        "10 runs: methods darts-v1, rsps, spos, stand-alone, synflow; seeds 0, 1",
    ]
    names = ["cpu-cifar10", "cpu-cifar100", "embedded-digits", "embedded-digits-stage_epochs-15-5-5-5"]
    assert {f"{name}-{label}" for name in ("table3", "verdicts") for label in names} <= tables(tmp_path)
    assert not {"table3", "verdicts"} & tables(tmp_path)
    said = [f"{name}, claims of the paper" for name in names]
    assert [line.partition(": ")[0] for line in outcome.out.splitlines()] == [*said, "4 studies; written"]
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) and {a for a in re.findall(r'href="#([^"]*)"', page)} <= set(ids)
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.*")}
    assert cli.done("report", "--no-timing").out == outcome.out
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2, 1])
def test_threads_split_only_runs_that_would_be_double(cli, finish, tmp_path, threads):
    finish("spos")
    finish("spos,random", threads=threads)
    cli.done("report", "--no-timing")
    first = "Preset embedded, images digits, device cpu, threads"
    assert studies(page_of(tmp_path)) == ([f"{first} 1", f"{first} 2"] if threads == 2 else [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "error", "line"),
    [
        ("render", ValueError("the truth has\nno 200 epochs"), "the truth has no 200 epochs"),
        ("render", KeyError("tau"), "KeyError: 'tau' (this is a bug)"),
        ("draw", DataError("scores are missing"), "scores are missing"),
    ],
)
def test_an_artefact_that_cannot_be_shown_has_a_line(cli, finish, tmp_path, monkeypatch, where, error, line):
    def fail(*_, **__):
        raise error

    finish("random,spos")
    monkeypatch.setitem(ARTEFACTS, "table1", replace(ARTEFACTS["table1"], **{where: fail}))
    outcome = cli.done("report", "--no-timing")
    said = line if where == "render" else f"its figure cannot be drawn: {line}"
    assert outcome.err == f"embedded-digits: table1 is not shown: {said}\n"
    page = page_of(tmp_path)
    assert f"<li>Table 1: shared weights against stand-alone training: {said}</li>" in page
    assert ">Table 3: searching on NAS-Bench-201</a></h2>" in page
    assert ("table1" in tables(tmp_path)) == (where == "draw")
    assert not (tmp_path / "runs/figures/table1.svg").exists() and (tmp_path / "runs/figures/table3.svg").exists()


@pytest.mark.slow
def test_where_nothing_can_be_shown_the_reasons_are_the_error(cli, finish, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such accuracy")

    finish("random")
    for name, artefact in ARTEFACTS.items():
        monkeypatch.setitem(ARTEFACTS, name, replace(artefact, render=fail))
    outcome = cli.call("report")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("error: nothing of runs can be shown; embedded-digits: ")
    assert "table3 is not shown: no such accuracy" in outcome.err and not (tmp_path / "runs/report.html").exists()
