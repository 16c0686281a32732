"""Files of yours that make methods, estimators, proxies, ... known: run in this process, and in its workers.

What a file does is what a script would do, such as `METHODS["mine"] = Mine()` (docs/adding.md).
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from senas_bench.experiments.spec import RunRecord, RunSpec
    from senas_bench.tasks.method import Method


class _Used(NamedTuple):
    """A file as it was when it was run: the SHA-256 of what it held, the methods that it added or replaced, and the
    names of its classes."""

    sha256: str
    methods: dict[str, Method]
    classes: tuple[str, ...] = ()

    def decides(self, spec: RunSpec) -> bool:
        """Whether the spec names a method or a class of the file: an edit of it may change the result."""
        text = spec.canonical()
        return spec.method in self.methods or any(f'"{name}"' in text for name in self.classes)


_USED: dict[Path, _Used] = {}


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


def use_as_read(files: Iterable[tuple[Path, str]]) -> None:
    """`use` of a worker: files with the SHA-256 of what the process that began the study read in them.

    Raises:
        ValueError: As `use`; or one holds something else here.
    """
    for path, sha256 in files:
        use(path)
        if _USED[path].sha256 != sha256:
            why = "holds something else than when the command read it, and its runs would be of two codes"
            raise ValueError(f"{path.name} {why}; start the command again, with the same file for all workers")


def used() -> tuple[tuple[Path, str], ...]:
    """The files that this process has run, and the SHA-256 of what they held then."""
    return tuple((path, one.sha256) for path, one in _USED.items())


def known_to_workers() -> dict[str, Method]:
    """The methods as workers know them: those of the package, and what files added or replaced, the last one counts."""
    from senas_bench.methods import SHIPPED

    known = dict(SHIPPED)
    for one in _USED.values():
        known |= one.methods
    return known


def fingerprints() -> Mapping[str, str]:
    """By name of each file the SHA-256 of what it held when it was run, for the provenance."""
    return {path.name: one.sha256 for path, one in _USED.items()}


def code_of(spec: RunSpec) -> dict[str, str]:
    """The same of those files alone that `spec` names something of."""
    return {path.name: one.sha256 for path, one in _USED.items() if one.decides(spec)}


def changed_since(records: Iterable[RunRecord]) -> dict[str, list[str]]:
    """Run ids of finished runs, by name of the file that decided them and held something else then."""
    changed: dict[str, list[str]] = {}
    for record in records:
        then = record.provenance.get("additions", {})
        for name, sha256 in code_of(record.spec).items():
            if then.get(name, sha256) != sha256:
                changed.setdefault(name, []).append(record.spec.run_id)
    return changed


def _run(path: Path) -> _Used:
    from senas_bench.methods import METHODS, all_methods

    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"{path} is no Python file; give one that adds something, such as mine.py (docs/adding.md)")
    if "." in path.stem:
        raise ValueError(
            f"{path}: Python imports no name with a dot in it; call the file {path.stem.replace('.', '_')}.py"
        )
    before, sha256 = dict(METHODS), hashlib.sha256(path.read_bytes()).hexdigest()
    sys.path.insert(0, str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except (Exception, SystemExit) as error:  # a file that ends Python would end the command as if all were done
        lines = [f", line {frame.lineno}" for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
        raise ValueError(f"{path.name}{''.join(lines[-1:])}: {type(error).__name__}: {error}") from error
    if not Path(module.__file__ or "").is_file() or not path.samefile(str(module.__file__)):
        where = module.__file__ or "of Python itself"
        raise ValueError(f"{path}: a module {path.stem} is there already ({where}); give the file another name")
    try:
        all_methods()  # says what is wrong with an entry before anything is computed
    except ValueError:
        METHODS.clear()
        METHODS.update(before)
        del sys.modules[path.stem]  # so that it is read again when it is mended
        raise
    classes = tuple(one.__name__ for one in vars(module).values() if getattr(one, "__module__", "") == path.stem)
    return _Used(sha256, {name: method for name, method in METHODS.items() if before.get(name) is not method}, classes)
