"""Looking a name up in a dictionary, with a message that helps."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, mapping: Mapping[str, T]) -> T:
    """The entry under `name`.

    Raises:
        ValueError: No name, or no such entry; the message names the nearest one and lists all.
    """
    if not isinstance(name, str):
        raise ValueError(f"{kind} {name!r:.60} must be a name; one of: {', '.join(mapping)}")
    if name in mapping:
        return mapping[name]
    alike = [known for known in mapping if known.lower() == name.lower()]
    near = alike or difflib.get_close_matches(name, mapping, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise ValueError(f"unknown {kind} {name!r}{hint} one of: {', '.join(mapping)}")
