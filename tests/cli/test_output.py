"""What commands print: strict JSON, one text of it, in whatever encoding the output has."""

import io
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from senas_bench.cli.encoding import spell_out
from senas_bench.cli.options import print_json, show

FINISHED = ["--methods", "params,flops", "--seeds", "0-1", "--jobs", "1", "--no-timing", "--rank-archs", "60"]


def strict(text: str):
    """The one JSON text that `text` is."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_a_number_that_is_not_finite_is_null(value, capsys):
    show({"a": value, "b": [{"c": (value, 1.5)}]}, as_json=True)
    assert strict(capsys.readouterr().out) == {"a": None, "b": [{"c": [None, 1.5]}]}


def test_json_is_ascii(capsys):
    print_json({"a": "± –"})
    out = capsys.readouterr().out
    assert out.isascii() and strict(out) == {"a": "± –"}


def test_a_warning_of_ours_is_one_line(senas):
    senas("methods", "--json")
    assert warnings.formatwarning("run x is damaged", UserWarning, "store.py", 1) == "warning: run x is damaged\n"
    assert "other.py:1: DeprecationWarning: old" in warnings.formatwarning("old", DeprecationWarning, "other.py", 1)


def test_one_arch_correlates_with_nothing(senas, monkeypatch):
    from types import SimpleNamespace

    from senas_bench.latency import measure as latency
    from senas_bench.latency.tables import Validation

    table = SimpleNamespace(setting=SimpleNamespace(device="x", clock="cpu"), base=1.0)
    checked = Validation(np.array([2.0]), np.array([3.0]), np.array([0.1]))
    monkeypatch.setattr(latency, "saved_table", lambda *_, **__: (table, "here"))
    monkeypatch.setattr(latency, "validate", lambda *_: checked)
    code, out, err = senas("latency", "--validate", "1", "--device", "cpu", "--json")
    found = strict(out)
    assert (code, err, found["spearman"], found["measured_over_predicted"]) == (0, "", None, 1.5)


@pytest.mark.slow
def test_one_artefact_is_its_table_and_several_are_a_list(senas, finished):
    tables = {name: strict((finished / f"tables/{name}.json").read_text("utf-8")) for name in ("table1", "table3")}
    asked = [*FINISHED, "--results", finished, "--json"]
    code, out, _ = senas("reproduce", "table3", *asked)
    assert code == 0 and strict(out) == tables["table3"]
    code, out, _ = senas("reproduce", "table3", "table1", *asked)
    assert code == 0 and strict(out) == [tables["table3"], tables["table1"]]


@pytest.mark.slow
def test_an_artefact_that_is_not_made_is_no_json_of_its_own(senas, finished):
    """Figure 1 shows networks trained alone, which are not among these runs."""
    asked = [*FINISHED, "--results", finished, "--json"]
    code, out, err = senas("reproduce", "fig1", *asked)
    assert (code, out) == (2, "") and "fig1 cannot be made: it has no runs of stand-alone" in err
    code, out, _ = senas("reproduce", "fig1", "table3", *asked)
    assert code == 0 and [table["name"] for table in strict(out)] == ["table3"]


@pytest.fixture
def stream(monkeypatch):
    """Call with an encoding: a standard output of it that raises where it cannot encode, as Python's is by default."""

    def of(encoding, errors="strict"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, errors, write_through=True))
        return raw

    return of


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", "1 +- 2 - 3x3 -> gr\\xfcn \\udcfc"),
        ("latin-1", "1 ± 2 - 3×3 -> grün \\udcfc"),
        ("cp1252", "1 ± 2 – 3×3 -> grün \\udcfc"),
        ("cp437", "1 ± 2 - 3x3 -> grün \\udcfc"),
        ("shift_jis", "1 ± 2 - 3×3 → gr\\xfcn \\udcfc"),
        ("utf-16", "1 ± 2 – 3×3 → grün \\udcfc"),
        ("utf-8", "1 ± 2 – 3×3 → grün \\udcfc"),
    ],
)
def test_what_an_encoding_lacks_is_spelled(stream, encoding, printed):
    """The last character is a byte of a file name that is no UTF-8: no encoding takes it."""
    raw = stream(encoding)
    spell_out()
    print("1 ± 2 – 3×3 → grün \udcfc", end="")
    assert raw.getvalue().decode(encoding) == printed


def test_who_asks_for_question_marks_gets_them(stream):
    raw = stream("ascii", "replace")
    spell_out()
    print("±", end="")
    assert raw.getvalue() == b"?"


@pytest.mark.slow
def test_no_encoding_ends_a_command(senas, finished, stream):
    raw = stream("ascii")
    code, _, err = senas("reproduce", "table1", "table3", *FINISHED, "--results", finished)
    text = raw.getvalue().decode("ascii")
    assert (code, text.count("written: ")) == (0, 2) and "; +- is the standard deviation" in text, err
    raw = stream("ascii")
    code, _, err = senas("compare", finished, finished)
    assert code == 0 and "; +- is the standard deviation" in raw.getvalue().decode("ascii"), err


@pytest.mark.slow
def test_json_is_the_same_in_every_encoding(senas, finished, stream):
    raw = stream("ascii")
    assert senas("reproduce", "table3", *FINISHED, "--results", finished, "--json")[0] == 0
    assert strict(raw.getvalue().decode("ascii")) == strict((finished / "tables/table3.json").read_text("utf-8"))


@pytest.mark.parametrize("end", ["2>/dev/full", "2>&-", "2>/dev/full >&-"])
def test_standard_error_that_cannot_be_written_ends_nothing(end, tmp_path):
    """A full disk, or a stream closed before the command began: the study is made, as it is where all is read."""
    asked = "reproduce table3 --methods params --seeds 0 --rank-archs 20 --executor serial --results runs"
    command = f"{sys.executable} -m senas_bench {asked} {end}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0
    assert len(list((tmp_path / "runs/runs").glob("*.json"))) == 1 and (tmp_path / "runs/tables/table3.md").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_read_enough_ends_nothing(unbuffered, tmp_path):
    """Tables come last: `| head -1` must not keep them from being written."""
    asked = "reproduce table3 ladder --methods params --seeds 0 --rank-archs 20 --executor serial --results runs"
    command = f"{{ {sys.executable} -m senas_bench {asked}; echo $? > code; }} | true"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
    assert (tmp_path / "code").read_text() == "0\n" and "Broken pipe" not in done.stderr
    assert {path.stem for path in (tmp_path / "runs/tables").glob("*.md")} >= {"table3", "ladder"}
