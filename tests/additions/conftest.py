"""What somebody adds from outside: the files and lines of docs/adding.md, taken from there as they stand."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.py)\n")
"""First line of a block that is a file; any other block is lines that make things known, or a script."""
SCRIPT = re.compile(r"# ([\w/]+\.py), a script\n")


def blocks() -> list[tuple[str | None, str]]:
    """The Python of docs/adding.md in order, scripts left out: name of the file that a block is, or None; its text."""
    found = FENCE.findall((ROOT / "docs/adding.md").read_text(encoding="utf-8"))
    return [((name := FILE.match(text)) and name[1], text) for text in found if not SCRIPT.match(text)]


def write_files(folder: Path) -> list[str]:
    """Write the files of docs/adding.md into a folder; the names of their modules."""
    names = []
    for name, text in blocks():
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            names.append(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    return names


def add_all() -> dict[str, Any]:
    """Run the lines of docs/adding.md; what they define. The files must be importable."""
    namespace: dict[str, Any] = {}
    for name, text in blocks():
        if not name:
            exec(compile(text, "adding.md", "exec"), namespace)
    return namespace


@pytest.fixture(scope="session")
def additions(tmp_path_factory) -> Iterator[Path]:
    """The folder of the files, as somebody has them beside a script."""
    folder = tmp_path_factory.mktemp("additions")
    names = write_files(folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def added(additions) -> Iterator[SimpleNamespace]:
    """Everything of docs/adding.md is known while a test runs; what its lines define."""
    import senas_bench as sb
    from senas_bench.analysis.style import STYLES

    registries = (sb.METHODS, sb.ESTIMATORS, sb.CRITERIA, sb.SPACES, sb.ARTEFACTS, STYLES)
    before = [dict(registry) for registry in registries]
    yield SimpleNamespace(**add_all())
    for registry, kept in zip(registries, before, strict=True):
        registry.clear()
        registry.update(kept)


@pytest.fixture
def perform(tmp_path, monkeypatch):
    """Run a method at a small size of preset embedded: its record and scores."""
    from senas_bench.experiments.place import Place
    from senas_bench.experiments.run import run
    from senas_bench.experiments.settings import make_spec, resized
    from senas_bench.experiments.studies import preset_of
    from senas_bench.methods import se_nas

    monkeypatch.setattr(se_nas, "RANK_LIMIT", 20)

    def perform(
        method: str, folder: str = "", space: str = "nasbench201", stages=(1, 1), place=None, **sizes: Any
    ) -> tuple[Any, Any]:
        small = resized(preset_of(space, "embedded"), stage_epochs=stages, rank_archs=12)
        small = replace(small, **{"channels": 2, "score_images": 100, "score_batch": 50, "curve_images": 50, **sizes})
        (work := tmp_path / (folder or method)).mkdir(exist_ok=True)
        spec = make_spec(method, 0, "embedded", space=space, sizes=small)
        return run(spec, place(work) if place else Place(work))

    return perform


@pytest.fixture
def call():
    """The command line: what it prints."""
    from senas_bench.cli.app import app

    def call(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.output + repr(done.exception)
        return done.stdout

    return call
