"""Imports run one way: from a room to those below it, and never in a circle of files."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "cli",
    "notebook",
    "api",
    "analysis",
    "experiments",
    "methods",
    "shrinking",
    "tasks",
    "ranking",
    "proxies",
    "searching",
    "training",
    "latency",
    "groundtruth",
    "spaces",
    "networks",
    "kernels",
    "data",
    "plotting",
    "progress",
    "memory",
    "locks",
    "files",
    "names",
    "strategies",
    "errors",
)
"""From the top floor down. Files on one floor may import each other."""
FACE = "senas_bench"


def modules() -> dict[str, Path]:
    """Every file of the package by the name it is imported by."""
    found = {}
    for folder, prefix in (("senas_bench", FACE), ("analysis", f"{FACE}.analysis")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([prefix, *(part for part in parts if part != "__init__")])] = path
    return found


MODULES = modules()


def statements(tree: ast.AST, inside: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run: none that are for types alone; those inside functions where asked."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif inside or not isinstance(node, ast.FunctionDef):
            yield from statements(node, inside)


def imported(name: str, inside: bool) -> set[str]:
    """Modules of the package that a module imports."""
    names = set()
    for node in statements(ast.parse(MODULES[name].read_text()), inside):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        assert node.level == 0, f"{MODULES[name]}:{node.lineno} has a relative import"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            names.add(whole if whole in MODULES else node.module)
    return names & MODULES.keys()


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else FACE


def upward(name: str, targets: set[str]) -> list[str]:
    """Those of the targets that lie above a module. The face reaches everything, and everybody may ask its version."""
    if room(name) in (FACE, "__main__"):
        return []
    floor = ROOMS.index(room(name))
    return [target for target in targets if room(target) != FACE and ROOMS.index(room(target)) < floor]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_file_imports_from_its_room_and_those_below(name):
    assert not upward(name, imported(name, inside=True))


def test_the_rooms_are_those_that_exist():
    assert {room(name) for name in MODULES} - {FACE, "__main__"} == set(ROOMS)


IMPORTING = """if True:
    import os, sys, traceback
    import matplotlib.pyplot, numpy, pandas, pyarrow.parquet, safetensors.torch, scipy.stats, torch, typer  # not ours
    failed = []
    for name in sys.stdin.read().split():
        if not (child := os.fork()):
            try:
                __import__(name)
            except BaseException as error:
                print(name, "".join(traceback.format_exception_only(error)), flush=True)
                os._exit(1)
            os._exit(0)
        os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_every_file_can_be_the_first_that_is_imported():
    """Each in a process that has imported nothing else of the package: no order ends in a circle."""
    names = [name for name in sorted(MODULES) if not name.endswith("__main__")]
    command = [sys.executable, "-c", IMPORTING]
    done = subprocess.run(command, input="\n".join(names), capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_no_circle_of_files():
    """A package's `__init__` is left out: it stands for its files."""
    files = {name for name, path in MODULES.items() if path.name != "__init__.py"}
    graph = {name: imported(name, inside=False) & files for name in files}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_the_check_itself_sees_what_is_wrong():
    assert upward("senas_bench.data.readers", {"senas_bench.cli.app", "senas_bench.files"}) == ["senas_bench.cli.app"]
    tree = ast.parse("if TYPE_CHECKING:\n    import a\nimport b\ndef f():\n    import c\n")
    assert [ast.unparse(node) for node in statements(tree, inside=True)] == ["import b", "import c"]
    assert [ast.unparse(node) for node in statements(tree, inside=False)] == ["import b"]
