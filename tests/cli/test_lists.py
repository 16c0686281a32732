"""What there is: one line each, or JSON."""

import json

import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, GROUPS
from senas_bench.experiments.presets import PRESETS
from senas_bench.methods import METHODS


@pytest.mark.parametrize(
    ("command", "names"), [("methods", [*METHODS]), ("artefacts", [*ARTEFACTS, *GROUPS]), ("presets", [*PRESETS])]
)
def test_one_line_each(senas, command, names):
    code, out, err = senas(command)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in lines] == names and all(len(line.split()) > 2 for line in lines)
    assert [row["name"] for row in json.loads(senas(command, "--json")[1])] == names


def test_methods_of_a_kind_are_told_apart_by_their_settings(senas):
    lines = dict(line.split(maxsplit=1) for line in senas("methods")[1].splitlines())
    assert len(set(lines.values())) == len(lines)
    assert lines["gdas-code"] == f"{lines['gdas']} (gradient code)"
    assert lines["spos+synflow-bn"].endswith("(recipe tuned, estimator snapshot-loglik with synflow-bn)")


def test_lines_are_cut_to_a_terminal(senas, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(type(capsys._capture.out.tmpfile), "isatty", lambda self: True, raising=False)
    assert max(map(len, senas("methods")[1].splitlines())) == 60


def test_reproduce_alone_says_what_it_can_make(senas):
    code, out, err = senas("reproduce")
    assert (code, out) == (2, "")
    assert [line.split()[0] for line in err.splitlines()[1:-1]] == [*ARTEFACTS, *GROUPS]
    assert "name what to make" in err and err.splitlines()[-1].startswith("such as: senas-bench reproduce table3")
