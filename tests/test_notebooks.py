"""How notebooks begin and end: one import, and words. `notebooks/` runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_of_code_is_one_import(path):
    first = next("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code")
    assert len(first.splitlines()) == 1 and first.startswith("from senas_bench.notebook import ")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_last_cell_says_what_was_shown(path):
    last = cells(path)[-1]
    assert last["cell_type"] == "markdown" and "".join(last["source"]).startswith("## What this showed\n")


def test_no_output_is_committed():
    assert not [path for path in NOTEBOOKS for cell in cells(path) if cell.get("outputs")]


@pytest.mark.slow
def test_the_import_works_outside_of_a_notebook():
    code = "from senas_bench.notebook import RESULTS, TRUTH, pd, plt, sb, show; print(RESULTS.name, TRUTH)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_plain())
    assert done.stdout.split() == ["embedded", "None"]


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("SENAS_RESULTS", "SENAS_TRUTH")}
