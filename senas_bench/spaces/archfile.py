"""Files of archs, of any space: what a search picked, or what somebody else found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senas_bench.errors import DataError
from senas_bench.files import atomic_write
from senas_bench.spaces import SPACES, space_named
from senas_bench.spaces.space import Arch
from senas_bench.spaces.texts import is_genotype


@dataclass(frozen=True)
class NamedArch:
    """An arch and what its readers call it.

    Args:
        space: Name of its space, a key of `SPACES`.
        arch: Lies in that space.
        label: Such as the name of a network; may be empty.
    """

    space: str
    arch: Arch
    label: str = ""


_FORM = 'an object {"space": ..., "arch": "<arch string>", "label": optional} or a list of them'


def read_archs(path: Path, space: str | None = None) -> list[NamedArch]:
    """Read a file of archs: JSON, or text with one arch string per line.

    What begins with `[` or `{` is JSON: one object `{"space": ..., "arch": "<arch string>", "label": optional}` or a
    list of them; other keys are dropped. In text, blank lines and those that begin with `#` are passed over, and a
    `Genotype(...)` of DARTS may go over several lines.

    Args:
        space: Name of the space of those archs for which the file gives none. Text never does.

    Returns:
        In the file's order, at least one.

    Raises:
        FileNotFoundError: No such file.
        DataError: The file is no text, or begins like JSON and cannot be parsed.
        ValueError: A space is unknown or not given, a value is missing or bad, an arch string does not describe an
            arch of its space, or there is none; entries and lines count from 1.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; give a JSON or text file of archs")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); give a JSON or text file") from error
    rows = _json_rows(path, text) if text.lstrip()[:1] in ("[", "{") else _text_rows(text)
    archs = []
    for place, row in rows:
        try:
            archs.append(_named_arch(row, space))
        except ValueError as error:
            raise ValueError(f"{path}: {place}: {error}") from None
    if not archs:
        raise ValueError(f"{path}: no archs; write JSON, {_FORM}, or one arch string per line")
    return archs


def write_archs(path: Path, archs: Iterable[NamedArch]) -> None:
    """Write the JSON that `read_archs` reads, a list; equal archs give equal bytes.

    Raises:
        ValueError: A space is unknown, or an arch does not lie in its space; nothing is written.
    """
    rows = []
    for named in archs:
        row = {"space": named.space, "arch": _checked_str(named)}
        rows.append(json.dumps({"label": named.label, **row} if named.label else row, ensure_ascii=False))
    atomic_write(Path(path), ("[\n" + ",\n".join(f" {row}" for row in rows) + "\n]\n").encode())


def _json_rows(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError as error:  # what begins like JSON is no arch string of any space
        raise DataError(f"{path} is no JSON ({error}); write {_FORM}") from error
    except RecursionError:
        raise DataError(f"{path} is JSON nested too deep; write {_FORM}") from None
    return [(f"entry {n}", row) for n, row in enumerate(value if isinstance(value, list) else [value], start=1)]


def _text_rows(text: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    open_brackets = 0  # of a Genotype(...), which may go over several lines
    for n, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        if open_brackets > 0:
            rows[-1][1]["arch"] += f" {line}"
        else:
            rows.append((f"line {n}", {"arch": line}))
        if open_brackets > 0 or is_genotype(line):
            open_brackets += line.count("(") - line.count(")")
    return rows


def _named_arch(row: Any, default: str | None) -> NamedArch:
    if not isinstance(row, Mapping):
        raise ValueError(f"{json.dumps(row)[:60]} where an object is needed; write {_FORM}")
    space, text, label = row.get("space", default), row.get("arch"), row.get("label", "")
    if space is None:
        raise ValueError(f"no space is given; name it, in the file or beside it, one of: {', '.join(SPACES)}")
    for key, value in (("space", space), ("arch", text), ("label", label)):
        if not isinstance(value, str):
            given = "missing" if value is None else json.dumps(value)[:60]
            raise ValueError(f'"{key}" is {given} where a string is needed; write {_FORM}')
    assert isinstance(text, str)
    return NamedArch(space, space_named(space).from_str(text), label)


def _checked_str(named: NamedArch) -> str:
    space = space_named(named.space).whole
    if named.arch not in space:
        raise ValueError(
            f"{named.arch} is no arch of space {named.space}: give one operator for each of its {len(space.edges)} "
            "edges, as the space allows it there"
        )
    return SPACES[named.space].to_str(named.arch)
