"""No table is replaced by one that shows less, or other runs; one that cannot be made keeps no other from it."""

import contextlib
import errno
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.analysis.output import naming
from senas_bench.analysis.output.formats import Table
from senas_bench.analysis.output.naming import beside
from senas_bench.api import keeping
from senas_bench.api.keeping import write_beside

pytestmark = pytest.mark.usefixtures("plain_figures")
SUFFIXES = ("csv", "json", "md", "parquet", "tex")
FIGURES = ("png", "svg")


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for name in ("tables", "figures") for path in (folder / name).iterdir()}


def files(*names: str) -> set[str]:
    return {f"{name}.{suffix}" for name in names for suffix in SUFFIXES + FIGURES}


def reproduce(*options) -> list[str]:
    return ["reproduce", "table3", "--no-timing", "--finished", *options]


@pytest.fixture
def whole(cli, finish, tmp_path) -> dict[str, bytes]:
    """Table 3 of three methods and two seeds in `runs`."""
    finish("random,spos,se-nas", 2)
    cli.done(*reproduce("--methods", "random,spos,se-nas", "--seeds", "0-1"))
    made = contents(tmp_path / "runs")
    assert made.keys() == files("table3")
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "name", "lost"),
    [
        (["--methods", "spos,random", "--seeds", "0-1"], "table3-spos-random", "methods se-nas"),
        (["--methods", "random,spos,se-nas", "--seeds", "1"], "table3-seeds-1", "seeds 0"),
        (["--methods", "se-nas", "--seeds", "0"], "table3-se-nas-seeds-0", "methods random, spos, seeds 1"),
    ],
)
def test_a_smaller_table_stands_beside_the_whole_one(cli, whole, table, tmp_path, options, name, lost):
    outcome = cli.done(*reproduce(*options))
    after = contents(tmp_path / "runs")
    assert after.keys() == files("table3", name) and {file: after[file] for file in whole} == whole
    assert f"kept tables/table3.*, which also shows {lost}; the new table is tables/{name}.*" in outcome.err
    assert f"written: runs/tables/{name}.csv" in outcome.out and table(name)["name"] == name
    again = cli.done(*reproduce(*options))
    assert again.out == outcome.out and contents(tmp_path / "runs") == after


@pytest.mark.slow
def test_a_smaller_table_does_not_replace_a_small_one_that_shows_more(cli, whole, tmp_path):
    cli.done(*reproduce("--methods", "spos", "--seeds", "0-1"))
    before = contents(tmp_path / "runs")
    cli.done(*reproduce("--methods", "spos", "--seeds", "0"))
    after = contents(tmp_path / "runs")
    assert after.keys() - before.keys() == files("table3-spos-seeds-0") and before.items() <= after.items()


@pytest.mark.slow
def test_a_table_of_other_runs_stands_beside_too(cli, whole, finish, tmp_path, table):
    """Other sizes, with the same methods and seeds."""
    finish("random,spos,se-nas", 2, stage_epochs=(1, 1, 1))
    outcome = cli.done(*reproduce("--methods", "random,spos,se-nas", "--seeds", "0-1", "--stage-epochs", "1,1,1"))
    name = "table3-embedded-digits-stage_epochs-1-1-1"
    assert (
        f"kept tables/table3.*, which also shows other runs (embedded-digits); the new table is tables/{name}.*"
        in outcome.err
    )
    assert whole.items() <= contents(tmp_path / "runs").items() and table(name)["changed_sizes"]


@pytest.mark.slow
def test_a_truth_with_fewer_columns_replaces_nothing(cli, finish, table, shared, tmp_path):
    finish("random,spos", 2)
    both = reproduce("--methods", "random,spos", "--seeds", "0-1")
    cli.done(*both, "--ground-truth", shared / "nb201/nb201_accuracies.parquet")
    before = contents(tmp_path / "runs")
    assert "columns cifar100_test, cifar100_val, " in cli.done(*both).err
    after = contents(tmp_path / "runs")
    assert before.items() <= after.items()
    assert after.keys() == files("table3", f"table3-truth-{table('table3-truth-analog-nasbench')['ground_truth']}")


@pytest.mark.slow
@pytest.mark.parametrize("small", [["--methods", "spos"], ["--methods", "random,spos,se-nas", "--seeds", "1"]])
def test_one_that_shows_as_much_or_more_takes_the_place_and_the_same_bytes(cli, whole, tmp_path, small):
    """Whatever was there before: the files of the whole study are those of a fresh folder."""
    shutil.rmtree(tmp_path / "runs/tables")
    shutil.rmtree(tmp_path / "runs/figures")
    cli.done(*reproduce(*small, *([] if "--seeds" in small else ["--seeds", "0"])))
    assert contents(tmp_path / "runs").keys() == files("table3")
    outcome = cli.done(*reproduce("--methods", "random,spos,se-nas", "--seeds", "0-1"))
    assert contents(tmp_path / "runs") == whole and "kept tables" not in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": 3}', '{"rows": [3]}', '{"rows": []}'])
def test_what_is_no_table_is_replaced(cli, whole, tmp_path, text):
    (tmp_path / "runs/tables/table3.json").write_text(text)
    cli.done(*reproduce("--methods", "random,spos,se-nas", "--seeds", "0-1"))
    assert contents(tmp_path / "runs") == whole


@pytest.mark.slow
def test_an_artefact_that_cannot_be_made_keeps_no_other_from_it(cli, finish, monkeypatch, tmp_path):
    from senas_bench.analysis.artefacts import ARTEFACTS

    def fail(*_, **__):
        raise ValueError("runs that may\nnot share a table")

    finish("spos", 2)
    monkeypatch.setitem(ARTEFACTS, "table1", type(ARTEFACTS["table1"])("table1", "Table 1", ("spos",), fail))
    outcome = cli.call(*reproduce("--methods", "spos", "--seeds", "0-1"), "table1", "fig8")
    assert outcome.code == 1 and "table1 is not made: runs that may not share a table\n" in outcome.err
    assert contents(tmp_path / "runs").keys() == files("table3", "fig8")
    alone = cli.call("reproduce", "table1", "--methods", "spos", "--seeds", "0-1", "--finished")
    assert alone.code == 2 and alone.err.endswith("error: runs that may not share a table\n")


def test_what_needs_no_runs_is_made_without(cli, table):
    outcome = cli.done("reproduce", "eq7", "--no-timing")
    assert "0 of 0 runs are finished" in outcome.err and "written: runs/tables/eq7.csv" in outcome.out
    assert [(row["source"], row["n"]) for row in table("eq7")["rows"]] == [("truth", 0)] * 4
    assert cli.done("reproduce", "eq7", "--no-timing", "--finished").out == outcome.out


def test_finished_runs_of_any_method_stand_on_the_ladder(cli, finish, table):
    """`si-shrink` is none that it asks for."""
    finish("spos,si-shrink", 2)
    asked = ["reproduce", "ladder", "--no-timing", "--finished", "--seeds", "0-1"]
    cli.done(*asked)
    assert {row["method"] for row in table("ladder")["rows"]} == {"spos", "si-shrink"}
    outcome = cli.done(*asked, "--methods", "spos")
    assert "the new table is tables/ladder-spos.*" in outcome.err
    assert {row["method"] for row in table("ladder-spos")["rows"]} == {"spos"}


def test_of_two_that_write_at_once_none_takes_the_name_of_the_other(tmp_path, monkeypatch, capsys):
    """As two jobs of an array end together: the one that comes later sees what the first wrote."""
    both = threading.Barrier(2)

    def slowly(table, folder):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # both would be here, if they could
        found = beside(table, folder)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(naming, "beside", slowly)
    rows = [{"method": "spos", "per_seed": [{"seed": 0}]}]
    made = [
        Table("table3", pd.DataFrame({"method": ["spos"]}), {}, {"title": "T", "rows": rows, "seeds": [seed]})
        for seed in (0, 1)
    ]
    with ThreadPoolExecutor(2) as pool:
        named = [table.name for table, _ in pool.map(lambda table: write_beside(table, tmp_path, None), made)]
    assert sorted(named) in (["table3", "table3-seeds-0"], ["table3", "table3-seeds-1"])
    assert {path.name for path in (tmp_path / "tables").glob("*.json")} == {f"{name}.json" for name in named}
    assert not list((tmp_path / "tables").glob("*.lock"))


def test_a_figure_is_drawn_before_another_may_take_the_name(tmp_path, monkeypatch):
    table = Table("table3", pd.DataFrame({"method": ["spos"]}), {}, {"title": "T", "rows": [], "seeds": [0]})
    held = []
    monkeypatch.setattr(keeping, "save_figure", lambda *_: held.extend((tmp_path / "tables").glob("*.lock")) or [])
    write_beside(table, tmp_path, ARTEFACTS["table3"])
    assert [path.name for path in held] == ["names.lock"]


def test_a_folder_that_may_only_be_read_is_shown(cli, finish, tmp_path, monkeypatch):
    """The table is printed, and a line says that no copy is kept."""
    finish("spos,params")
    expected = cli.done(*reproduce("--methods", "spos,params")).out.partition("\nwritten: ")[0]

    def refuse(table, folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / "tables"))

    monkeypatch.setattr("senas_bench.analysis.output.formats.write", refuse)
    outcome = cli.done(*reproduce("--methods", "spos,params"))
    assert outcome.out.rstrip() == expected.rstrip() and "table3 is not kept in runs: Permission denied" in outcome.err
