"""What there is: one line each, or JSON."""

import json

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.analysis.artefacts import GROUPS as ARTEFACT_GROUPS
from senas_bench.experiments.presets import PRESETS
from senas_bench.methods import METHODS
from senas_bench.methods.about import ABOUT, GROUPS
from senas_bench.methods.gdas import Gdas


@pytest.mark.parametrize(
    ("command", "names"),
    [("methods", [*METHODS]), ("artefacts", [*ARTEFACTS, *ARTEFACT_GROUPS]), ("presets", [*PRESETS])],
)
def test_one_line_each(senas, command, names):
    code, out, err = senas(command)
    lines = [line for line in out.splitlines() if not line.endswith(":")]  # a heading
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in lines] == names and all(len(line.split()) > 2 for line in lines)
    assert [row["name"] for row in json.loads(senas(command, "--json")[1])] == names


def test_each_method_has_a_line_of_its_own_under_its_group(senas):
    assert [*ABOUT] == [*METHODS] and len(set(ABOUT.values())) == len(ABOUT)
    assert max(map(len, ABOUT.values())) <= 96  # a line of 120 beside the longest name
    lines = senas("methods")[1].splitlines()
    assert [line[:-1] for line in lines if not line.startswith(" ")] == [*GROUPS]
    assert lines[lines.index("The space shrinks:") + 1].split() == ["random-shrink", *ABOUT["random-shrink"].split()]


def test_a_method_of_ones_own_stands_last_with_its_sentence_and_settings(senas, monkeypatch):
    monkeypatch.setitem(METHODS, "mine", Gdas(gradient="code", spaces=METHODS["gdas-code"].spaces))
    *_, head, line = senas("methods")[1].splitlines()
    assert head == "Yours:" and line.split()[0] == "mine"
    assert line.endswith("one operator runs on each edge: a fresh sample for every step (gradient code)")
    row = json.loads(senas("methods", "--json")[1])[-1]
    assert (row["group"], row["settings"]) == ("Yours", "gradient code")


def test_lines_are_cut_to_a_terminal(senas, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(type(capsys._capture.out.tmpfile), "isatty", lambda self: True, raising=False)
    assert max(map(len, senas("methods")[1].splitlines())) == 60


def test_reproduce_alone_says_what_it_can_make(senas):
    code, out, err = senas("reproduce")
    assert (code, out) == (2, "")
    assert [line.split()[0] for line in err.splitlines()[1:-1]] == [*ARTEFACTS, *ARTEFACT_GROUPS]
    assert "name what to make" in err and err.splitlines()[-1].startswith("such as: senas-bench reproduce table3")
