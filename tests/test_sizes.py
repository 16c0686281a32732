"""A module holds one idea and a function does one thing: how long they may be, and which may be longer, and why."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("senas_bench", "analysis", "benchmarks")
MODULE_LINES, FUNCTION_LINES = 400, 60
LONGER: dict[str, str] = {}
"""Modules, and functions as `module:name`, that may be longer, each with the reason."""


def lengths(root: Path, folders: tuple[str, ...] = FOLDERS) -> dict[str, int]:
    """Lines of the modules and functions that are over their limit, by `module` or `module:name`."""
    over = {}
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
        if (lines := len(text.splitlines())) > MODULE_LINES:
            over[name] = lines
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _lines(node) > FUNCTION_LINES:
                over[f"{name}:{node.name}"] = _lines(node)
    return over


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return function.end_lineno - function.lineno + 1


def test_no_module_and_no_function_is_too_long():
    too_long = {name: lines for name, lines in lengths(ROOT).items() if name not in LONGER}
    assert not too_long, f"cut along its ideas, or allow it in LONGER and say why: {too_long}"


def test_what_may_be_longer_is():
    assert set(LONGER) <= set(lengths(ROOT)), "take what is short again off LONGER"


def test_both_limits_are_the_last_length_allowed(tmp_path):
    def function(name, lines):
        return "\n".join([f"def {name}():", *["    pass"] * (lines - 1)])

    (tmp_path / "room").mkdir()
    (tmp_path / "room/fits.py").write_text(function("fits", 60) + "\n" * 341, encoding="utf-8")
    (tmp_path / "room/long.py").write_text(function("long", 61) + "\n" * 341, encoding="utf-8")
    assert lengths(tmp_path, ("room",)) == {"room/long.py": 401, "room/long.py:long": 61}
