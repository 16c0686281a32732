r"""Tables as LaTeX that a paper takes in by `\input`; it asks for the package booktabs and nothing else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

import pandas as pd

from senas_bench.analysis.output.columns import holds_nothing, sides

WIDE = 40
"""Characters in a cell above which a column of words becomes a paragraph column."""
GAP = "3pt"
"""On each side of a column, half of what LaTeX leaves: nine columns fit a page."""
PARAGRAPH = r"p{0.22\linewidth}"
_RANGE = re.compile(r"(?<![\w.-])(\d[\d.]*)-(\d[\d.]*)(?![\w-])")
_MINUS = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)|(?<=\de)-(?=\d)")
_APART = "\0"
_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "≤": r"$\leq$"}
    | {"≥": r"$\geq$", "†": r"$\dagger$", "–": "--", "—": "---", _APART: "{}"}
)


def tex_escape(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    The hyphen of a negative number becomes a minus (`$-$0.1`), that of a range an en dash (`5--16`), all others, those
    of names, stay hyphens; `--` is kept from becoming a dash.
    """
    text = _MINUS.sub("−", _RANGE.sub(r"\1–\2", text))
    return re.sub("-(?=-)", f"-{_APART}", text).translate(_ESCAPES)


def tex_rows(frame: pd.DataFrame, aside: Sequence[str] = ()) -> str:
    """A frame of strings as a `tabular`: numbers right, words left, long ones in paragraphs.

    Args:
        frame: Its head and cells are escaped.
        aside: Columns to leave out; those in which no row has anything are left out too.
    """
    shown = frame.filter(items=_shown(frame, aside))
    head, *body = (_row(cells) for cells in [list(shown.columns), *shown.to_numpy().tolist()])
    layout = "".join(_layout(list(shown[name]), side) for name, side in zip(shown, sides(shown), strict=True))
    start = rf"{{\setlength{{\tabcolsep}}{{{GAP}}}\begin{{tabular}}{{{layout}}}"
    return "\n".join([start, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}}"])


def tex_file(
    title: str,
    frame: pd.DataFrame,
    notes: Sequence[str],
    aside: Sequence[str] = (),
    other: tuple[str, pd.DataFrame] | None = None,
) -> str:
    r"""The file that is taken in: title and notes as comments, then the rows.

    Args:
        title: Of the table.
        frame: As `tex_rows`.
        notes: One comment each.
        aside: As `tex_rows`; a comment says which columns were left out.
        other: A heading and rows to set below the table.
    """
    left_out = [name for name in frame if name not in _shown(frame, aside)]
    said = [*notes, *([f"Columns left out: {', '.join(left_out)}."] if left_out else [])]
    lines = [_comment(title, "% "), r"% Needs \usepackage{booktabs}. Notes:"]
    blocks = [*lines, *(_comment(note, "% - ") for note in said), tex_rows(frame, aside)]
    if other:
        heading, rows = other
        blocks += [rf"\par\medskip {tex_escape(heading)}\par\smallskip", tex_rows(rows)]
    return "\n".join(blocks) + "\n"


def _shown(frame: pd.DataFrame, aside: Sequence[str]) -> list[str]:
    """The first column and all that hold something and are not put aside."""
    first, *rest = frame.columns
    return [first, *(name for name in rest if name not in aside and not holds_nothing(frame, name))]


def _comment(text: str, indent: str) -> str:
    after = "%" + " " * (len(indent) - 1)
    return textwrap.fill(text, 110, initial_indent=indent, subsequent_indent=after, break_on_hyphens=False)


def _row(cells: Sequence[str]) -> str:
    r"""A line of the table; `\\` and `\midrule` would read a `[` or `*` that follows as their own."""
    line = " & ".join(map(tex_escape, cells))
    return ("{}" if line.startswith(("[", "*")) else "") + line + r" \\"


def _layout(column: Sequence[str], side: str) -> str:
    if side == "left" and max(map(len, column), default=0) > WIDE:
        return PARAGRAPH
    return side[0]
