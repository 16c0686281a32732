"""`status`, `runs rm`, `runs pack`."""

import contextlib
import io
import json
import os
import shutil
import time
import zipfile
from dataclasses import replace

import pytest

from senas_bench.api.runs import method_of_run
from senas_bench.experiments.active import status_file
from senas_bench.experiments.store import RunStore
from senas_bench.locks import LockHeld, held


@pytest.fixture
def at_work(tmp_path, finish):
    """Runs of two methods, one more that is computed now, and one that was begun."""
    records = finish("spos,random")
    store = RunStore(tmp_path / "runs")
    spec = replace(records[0].spec, seed=7)
    store.work_dir(spec)
    status = {"stage": "train", "done": 3, "total": 8, "numbers": {"loss": 0.5}, "words": [], "began": time.time() - 30}
    status_file(store.root, spec.run_id).write_text(json.dumps(status))
    left = replace(records[1].spec, seed=9)
    (store.work_dir(left) / "checkpoint").write_text("x")
    with held(tmp_path / f"runs/work/{spec.run_id}.lock", 1.0):
        yield spec, left, records


def test_status_says_what_runs_are_at(cli, at_work):
    spec, left, _ = at_work
    lines = cli.done("status").out.splitlines()
    assert lines[-1] == "4 finished, 1 at work, 1 unfinished in runs"
    assert lines[-2].split() == ["at", "work", spec.run_id, *["train", "3/8", "loss", "0.5", "for", "30", "s"]]
    assert lines[-3] == f"unfinished  {left.run_id}"
    found = json.loads(cli.done("status", "--json").out)
    assert (found["active"][0]["run"], found["active"][0]["done"]) == (spec.run_id, 3)
    assert found["unfinished"] == [left.run_id]


def test_the_table_so_far_is_printed_and_nothing_is_written(cli, finish, tmp_path):
    finish("spos,random")
    before = sorted((tmp_path / "runs").rglob("*"))
    out = cli.done("status", "--table").out
    assert out.startswith("Preset embedded, images digits") and "\nTable 3: " in out
    (table,) = json.loads(cli.done("status", "--table", "--json").out)
    assert {row["method"] for row in table["rows"]} >= {"spos", "random"}
    assert sorted((tmp_path / "runs").rglob("*")) == before
    outcome = cli.call("status", "--table", "--results", "nowhere")
    assert outcome.code == 3 and "no finished runs in nowhere" in outcome.err


@pytest.mark.filterwarnings("ignore:run ")
def test_commands_that_read_leave_a_folder_into_which_somebody_copies_as_it_is(cli, finish, tmp_path):
    """A record whose scores are not there yet, half a record, and a file that is no record; each is a line."""
    spos, other = (finish(method, seeds=1)[0].spec.run_id for method in ("spos", "rsps"))
    finish("random", seeds=1)
    runs = tmp_path / "runs/runs"
    (runs / f"{spos}.parquet").unlink()
    (runs / f"{other}.json").write_bytes((runs / f"{other}.json").read_bytes()[:300])
    (runs / "notes.json").write_text("{}")
    shutil.rmtree(tmp_path / "runs/work")

    def files():
        folders = (tmp_path / "runs", runs)
        kept = (path for folder in folders for path in folder.iterdir() if path.name not in ("tables", "figures"))
        return {path: path.is_dir() or path.read_bytes() for path in kept}

    before, asked = files(), ["reproduce", "table3", "--methods", "random,spos,rsps", "--seeds", "0"]
    for command in (["status"], ["status", "--table"], [*asked, "--dry-run"], [*asked, "--finished", "--json"]):
        with pytest.warns(UserWarning, match=f"run {other} is damaged or incomplete .*; left in place"):
            cli.done(*command)
        assert files() == before, command
    assert (tmp_path / "runs/tables/table3.json").exists()


def test_the_table_so_far_of_searches_is_printed(cli, finish, tmp_path):
    """One finished search under a limit of the paper is a row of tables 4 and 6."""
    (record,) = finish("random", seeds=1)
    limit = {"cost": "flops", "level": 470}
    spec = replace(record.spec, method="spos", space="mobilenet", settings={**record.spec.settings, "limit": limit})
    RunStore(tmp_path / "runs").save(replace(record, spec=spec, scores_sha256=None), None)
    out = cli.done("status", "--table").out
    assert "\nTable 4: " in out and "\nTable 6: " in out and "\nTable 5: " not in out


def test_runs_are_removed_once_somebody_says_so(cli, at_work, tmp_path, monkeypatch):
    _, left, records = at_work
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda text: print(text) or next(answers))
    refused = cli.call("runs", "rm", "random")
    ids = [record.spec.run_id for record in records if record.spec.method == "random"]
    assert refused.code == 1 and refused.out.splitlines() == [
        *(f"finished    {run_id}" for run_id in ids), f"unfinished  {left.run_id}",
        "remove these 3 runs from runs?", "nothing is removed",
    ]  # fmt: skip
    assert cli.done("runs", "rm", "random").out.splitlines()[-1].startswith("3 runs removed")
    store = RunStore(tmp_path / "runs")
    assert {record.spec.method for record in store.records()} == {"spos"}
    assert not any("random" in path.name for path in (tmp_path / "runs").rglob("*"))


def test_a_run_that_is_begun_while_the_question_stands_is_not_removed(cli, at_work, tmp_path, monkeypatch):
    """Records of the same method that nobody holds go before it."""
    _, left, _ = at_work
    monkeypatch.setattr("senas_bench.experiments.store.SHORT_PATIENCE", 0.0)
    lock = tmp_path / f"runs/work/{left.run_id}.lock"
    with contextlib.ExitStack() as held_meanwhile:
        monkeypatch.setattr("typer.confirm", lambda text: held_meanwhile.enter_context(held(lock, 1.0)) or True)
        outcome = cli.call("runs", "rm", "random")
    assert outcome.code == 1 and f"holds {lock.relative_to(tmp_path)}" in outcome.err
    assert (tmp_path / f"runs/work/{left.run_id}/checkpoint").read_text() == "x"


def test_a_run_that_is_computed_is_not_set_aside(cli, at_work, tmp_path, monkeypatch):
    _, _, records = at_work
    monkeypatch.setattr("senas_bench.experiments.store.SHORT_PATIENCE", 0.0)
    with held(tmp_path / f"runs/work/{records[0].spec.run_id}.lock", 1.0), pytest.raises(LockHeld):
        RunStore(tmp_path / "runs").set_aside(records[0].spec)
    assert RunStore(tmp_path / "runs").has(records[0].spec)


def test_where_nobody_answers_nothing_is_removed(cli, finish, monkeypatch):
    finish("spos")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    outcome = cli.call("runs", "rm", "spos")
    assert (outcome.code, outcome.out.splitlines()[-1]) == (1, "nothing is removed")
    assert cli.done("status").out.endswith("2 finished, 0 unfinished in runs\n")


def test_runs_that_are_computed_or_not_there_are_not_removed(cli, at_work):
    spec, _, _ = at_work
    outcome = cli.call("runs", "rm", "spos", "--yes")
    assert outcome.code == 2 and f"{spec.run_id} is being computed" in outcome.err
    outcome = cli.call("runs", "rm", "random", "rsps", "--yes")
    assert outcome.code == 2 and "no runs of 'rsps' in runs; there are some of: random, spos" in outcome.err
    assert len(json.loads(cli.done("status", "--json").out)["finished"]) == 4


@pytest.mark.parametrize(
    ("run_id", "method"),
    [
        ("spos-embedded-digits-s0-0123456789", "spos"),
        ("spos-evolution-cpu-imagenet16-120-s12-0123456789", "spos-evolution"),
        ("mine-elsewhere-s0-0123456789", "mine-elsewhere"),
    ],
)
def test_a_run_id_says_its_method(run_id, method):
    assert method_of_run(run_id) == method


def test_a_pack_is_a_results_folder(cli, finish, tmp_path):
    records = finish("spos,random")
    (tmp_path / "runs/tables").mkdir()
    (tmp_path / "runs/tables/table3.csv").write_text("a,b\n")
    (tmp_path / "runs/latency").mkdir()
    (tmp_path / "runs/latency/latency-mobilenet-0123456789ab.json").write_text("{}")
    (tmp_path / "runs/latency/latency-mobilenet-0123456789ab.lock").write_text("{}")
    out = cli.done("runs", "pack").out
    assert out.startswith("4 runs, 8 files; written: runs.zip")
    first = (tmp_path / "runs.zip").read_bytes()
    cli.done("runs", "pack", "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "runs.zip") as archive:
        archive.extractall(tmp_path / "there")
    there = RunStore(tmp_path / "there/runs")
    assert there.records() == RunStore(tmp_path / "runs").records()
    assert there.scores(there.load(records[0].spec)).equals(RunStore(tmp_path / "runs").scores(records[0]))
    assert (tmp_path / "there/runs/tables/table3.csv").read_text() == "a,b\n"
    assert [path.suffix for path in (tmp_path / "there/runs/latency").iterdir()] == [".json"]


def test_a_pack_names_no_folder_of_this_machine(cli, finish, tmp_path):
    (record,) = finish("spos", seeds=1)
    store = RunStore(tmp_path / "runs")
    scores = store.scores(record)
    command = ["reproduce", "--data-dir", "/home/me/images", f"--results={tmp_path / 'runs'}"]
    store.save(replace(record, provenance={"command": command}), scores)
    cli.done("runs", "pack")
    with zipfile.ZipFile(tmp_path / "runs.zip") as archive:
        assert not any(word in archive.read(name) for name in archive.namelist() for word in (b"/home/me", b"/runs"))
        archive.extractall(tmp_path / "there")
    (found,) = RunStore(tmp_path / "there/runs").records()
    assert found.provenance == {"command": ["reproduce", "--data-dir", "images", "--results=runs"]}
    assert RunStore(tmp_path / "there/runs").scores(found).equals(scores)
    (tmp_path / "runs/report.html").write_text(f"<p>{os.getcwd()}/x</p>")
    outcome = cli.call("runs", "pack")
    assert outcome.code == 2 and "report.html names a folder of this machine; make it again" in outcome.err


def test_a_pack_of_nothing_is_refused(cli, tmp_path):
    outcome = cli.call("runs", "pack", "--results", "nowhere")
    assert outcome.code == 3 and "no finished runs in nowhere" in outcome.err
    assert "must end in .zip" in cli.call("runs", "pack", "x.tar").err and not list(tmp_path.glob("*.zip"))
