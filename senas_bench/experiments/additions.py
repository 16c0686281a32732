"""Files of yours that make methods, estimators, proxies, ... known: run in this process, and in its workers.

What a file does is what a script would do, such as `METHODS["mine"] = Mine()` (docs/adding.md).
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from senas_bench.tasks.method import Method

_USED: dict[Path, dict[str, Method]] = {}
"""By file, the methods that it added or replaced."""


def use(*files: str | Path) -> None:
    """Run Python files, each once in a process; workers of a study run them too, before anything else.

    The folder of a file is then on the path of imports, as that of a script is. On a cluster each machine must see the
    file at the same place.

    Raises:
        ValueError: A file is not there or no Python, fails, or has the name of a module that is there already.
    """
    for file in files:
        path = Path(file).expanduser().absolute()
        if path not in _USED:
            _USED[path] = _run(path)


def used() -> tuple[Path, ...]:
    """The files that this process has run."""
    return tuple(_USED)


def known_to_workers() -> dict[str, Method]:
    """The methods as workers know them: those of the package, and what files added or replaced, the last one counts."""
    from senas_bench.methods import SHIPPED

    known = dict(SHIPPED)
    for methods in _USED.values():
        known |= methods
    return known


def fingerprints() -> Mapping[str, str]:
    """By name of each file the SHA-256 of what it holds, for the provenance."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _USED}


def _run(path: Path) -> dict[str, Method]:
    from senas_bench.methods import METHODS

    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"{path} is no Python file; give one that adds something, such as mine.py (docs/adding.md)")
    before = dict(METHODS)
    sys.path.insert(0, str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:
        lines = [f", line {frame.lineno}" for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
        raise ValueError(f"{path.name}{''.join(lines[-1:])}: {type(error).__name__}: {error}") from error
    if not Path(module.__file__ or "").is_file() or not path.samefile(str(module.__file__)):
        where = module.__file__ or "of Python itself"
        raise ValueError(f"{path}: a module {path.stem} is there already ({where}); give the file another name")
    return {name: method for name, method in METHODS.items() if before.get(name) is not method}
