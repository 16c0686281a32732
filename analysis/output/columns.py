"""Which side the columns of a table stand on: numbers right, words left."""

from __future__ import annotations

import re

import pandas as pd

_NUMBER = re.compile(r"[\[(<>=+−-]*\d")
_NOTHING = ("", "–")


def holds_nothing(frame: pd.DataFrame, column: str) -> bool:
    """Whether no row has anything in this column."""
    return all(cell in _NOTHING for cell in frame[column])


def sides(frame: pd.DataFrame) -> list[str]:
    """`left` or `right` for each column of a frame of strings.

    Right is for columns of which at least half of the cells begin with a number, `[0.1, 0.2]` and `+3` among them;
    empty cells and dashes do not count. A column without any cell that counts is left when it is the first.
    """
    return [_side([cell for cell in frame[name] if cell not in _NOTHING], not at) for at, name in enumerate(frame)]


def _side(cells: list[str], first: bool) -> str:
    if not cells:
        return "left" if first else "right"
    return "right" if 2 * sum(bool(_NUMBER.match(cell)) for cell in cells) >= len(cells) else "left"
