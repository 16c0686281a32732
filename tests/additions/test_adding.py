"""Every block of Python in docs/adding.md runs as it stands, in order, as a new user would have it."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

import senas_bench as sb

TEXT = (Path(__file__).parents[2] / "docs/adding.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {found[1]: block for block in FENCE.findall(TEXT) if (found := re.match(r"# ([\w/]+\.py)\n", block))}
SCRIPTS = {found[1]: block for block in FENCE.findall(TEXT) if (found := re.match(r"# (\w+\.py), a script\n", block))}
LINES = [block for block in FENCE.findall(TEXT) if block not in [*FILES.values(), *SCRIPTS.values()]]


def named(strategy: Any) -> set[type]:
    """The class of something that is registered, and of what it holds."""
    held = [type(strategy)]
    if is_dataclass(strategy):
        held += [type(value) for value in vars(strategy).values()]
    return set(held)


def test_there_is_a_page_for_each_kind_and_a_row_that_counts_its_files():
    kinds = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert kinds.pop() == "To keep it in the package"
    rows = re.findall(r"^\| (an? [^|]+) \| ([^|]*\d[^|]*) \|", TEXT, re.MULTILINE)
    assert [row for row, _ in rows] == [kind[0].lower() + kind[1:] for kind in kinds] and len(kinds) == 7


def test_all_that_is_written_there_is_used(added):
    """Whatever the files define is registered, or is part of what is."""
    registries = (sb.METHODS, sb.ESTIMATORS, sb.CRITERIA, sb.SPACES, sb.ARTEFACTS)
    known = {kind for registry in registries for entry in registry.values() for kind in named(entry)}
    for name in FILES:
        module = importlib.import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        own = [
            value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        entries = [value for value in vars(module).values() if value in (*sb.SPACES.values(), *sb.ARTEFACTS.values())]
        helpers = {"Skeleton", "ChainNetwork", "GreedyPaths"}
        assert entries or {kind.__name__ for kind in own if kind not in known} <= helpers, name
    assert {"count-convs", "short", "greedy"} <= sb.METHODS.keys() and "chain" in sb.SPACES and "picks" in sb.ARTEFACTS


def in_a_fresh_process(folder: Path, script: str) -> str:
    found = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": found}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_each_file_can_be_the_first_that_is_imported(additions, name):
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert in_a_fresh_process(additions, f"import {module}; print({module}.__name__)").strip() == module


USE = """
import json
import senas_bench as sb

small = {"rank_archs": 8, "stage_epochs": (1, 1), "curve_points": 0, "executor": "serial"}
methods = ["count-convs", "short", "spos-quick", "best-arch-shrink"]
table = sb.reproduce("table3", methods=methods, seeds=0, **small)
scores = sb.rank("spos-two", **small)
del small["curve_points"]
found = sb.search("chain", "greedy", **small)
print(json.dumps([table.frame["method"].tolist(), len(scores), found[0]["pick"]]))
"""


@pytest.mark.slow
def test_a_script_that_adds_everything(additions, tmp_path, shared):
    """All of it in a fresh process, then the face alone."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(FILES[name])
    rows, ranked, pick = json.loads(in_a_fresh_process(tmp_path, "\n".join([*LINES, USE])).splitlines()[-1])
    assert set(rows) >= {"count-convs", "Short (ours)", "spos-quick", "best-arch-shrink"}
    assert ranked == 8 and pick.count("-") == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_table_3_with_an_own_method(name, additions, tmp_path):
    found = in_a_fresh_process(additions, f"import os; os.chdir({str(tmp_path)!r})\n{SCRIPTS[name]}")
    rows = [line.split() for line in found.splitlines()]
    assert [row[:2] for row in rows if row[:1] == ["count-convs"]][:1] == [["count-convs", "3"]]
    assert (tmp_path / "runs/tables/table3.md").exists() and (tmp_path / "runs/figures/table3.png").exists()
