"""How a rendered artefact is written: csv, parquet, md, tex, json, and text for a terminal."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from senas_bench.analysis.output.columns import sides
from senas_bench.analysis.output.latex import tex_file
from senas_bench.analysis.output.notes import Notes
from senas_bench.analysis.paper import numbers as paper
from senas_bench.files import atomic_write

PAPER = f"The paper's own numbers ({paper.SOURCE})"


@dataclass(frozen=True)
class Table:
    """A rendered artefact.

    Args:
        name: File stem, such as `table3`.
        frame: Rows as a reader sees them: every cell becomes a string.
        said: Sentences a reader needs to judge the rows, by heading (`output/notes.py`), in the order shown.
        meta: JSON values: title, preset, ground truth, seeds, ... and `rows`, the same rows as numbers (accuracy and
            regret in percent, counts per run), each with `per_seed` or another list behind them.
        paper: The paper's own rows as numbers, each labelled as the paper's; none where it prints no numbers.
        paper_frame: The same as a reader sees them.
        aside: Columns of `frame` that a page of a paper has no room for; the LaTeX file leaves them out.
        artefact: Key of what it is a table of, which draws it; its first name, whatever it is renamed to.
    """

    name: str
    frame: pd.DataFrame
    said: Notes
    meta: Mapping[str, Any]
    paper: pd.DataFrame = field(default_factory=pd.DataFrame)
    paper_frame: pd.DataFrame = field(default_factory=pd.DataFrame)
    aside: tuple[str, ...] = ()
    artefact: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "artefact", self.artefact or self.name)
        object.__setattr__(self, "said", {head: notes for head, notes in self.said.items() if notes})
        for name in ("frame", "paper_frame"):
            frame = getattr(self, name)
            if any(not isinstance(cell, str) for column in frame for cell in frame[column]):
                object.__setattr__(self, name, frame.map(str))

    @property
    def notes(self) -> tuple[str, ...]:
        """The sentences of `said`, one after the other."""
        return tuple(note for notes in self.said.values() for note in notes)

    def __str__(self) -> str:
        """What `print` shows."""
        return to_text(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        items = {head: "".join(f"<li>{html.escape(note)}</li>" for note in notes) for head, notes in self.said.items()}
        notes = [
            f"<details><summary>{html.escape(head)}</summary><ul>{lines}</ul></details>"
            for head, lines in items.items()
        ]
        parts = [f"<h4>{html.escape(self.meta['title'])}</h4>", _html_rows(self.frame)]
        if not self.paper_frame.empty:
            parts += [f"<p>{html.escape(PAPER)}</p>", _html_rows(self.paper_frame)]
        return "\n".join([*parts, *notes])


def _html_rows(frame: pd.DataFrame) -> str:
    """A frame of strings for a notebook, whose style aligns all cells right unless they say otherwise."""
    styles = [f' style="text-align: {side}"' for side in sides(frame)]
    lines = [
        "".join(f"<{tag}{style}>{html.escape(cell)}</{tag}>" for cell, style in zip(cells, styles, strict=True))
        for tag, cells in [("th", list(frame.columns)), *(("td", row) for row in frame.to_numpy().tolist())]
    ]
    head, *body = (f"<tr>{line}</tr>" for line in lines)
    return "\n".join(["<table>", f"<thead>{head}</thead>", "<tbody>", *body, "</tbody>", "</table>"])


def write(table: Table, folder: Path) -> list[Path]:
    """Write `tables/<name>.{csv,md,tex,json,parquet}` under a results folder; equal tables give equal bytes.

    csv, parquet and json hold numbers rounded to 6 decimals (json also per seed), md what a reader sees, tex
    what of that a paper has room for.
    """
    target = Path(folder) / "tables"
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, render in _FORMATS.items():
        paths.append(target / f"{table.name}.{suffix}")
        atomic_write(paths[-1], render(table))
    return paths


def to_text(table: Table, width: int = 120) -> str:
    """The table for a terminal: plain, aligned; columns that do not fit go into further blocks."""
    parts = [table.meta["title"], *_blocks(table.frame, width)]
    if not table.paper_frame.empty:
        parts += [f"{PAPER}:", *_blocks(table.paper_frame, width)]
    for head, notes in table.said.items():
        lines = (textwrap.fill(note, width, initial_indent="- ", subsequent_indent="  ") for note in notes)
        parts.append("\n".join([f"{head}:", *lines]))
    return "\n\n".join(parts) + "\n"


def _blocks(frame: pd.DataFrame, width: int) -> list[str]:
    widths = {name: max(len(name), *frame[name].map(len)) for name in frame}
    first, *rest = frame.columns
    blocks, used = [[first]], widths[first]
    for name in rest:
        if used + 2 + widths[name] > width and len(blocks[-1]) > 1:
            blocks.append([first])
            used = widths[first]
        blocks[-1].append(name)
        used += 2 + widths[name]
    return ["\n".join(_aligned_lines(frame, names, widths)) for names in blocks]


def _aligned_lines(frame: pd.DataFrame, names: list[str], widths: Mapping[str, int]) -> list[str]:
    rows = [names, ["-" * widths[name] for name in names], *frame[names].to_numpy().tolist()]
    sides = [str.ljust] + [str.rjust] * (len(names) - 1)
    return [
        "  ".join(side(cell, widths[name]) for side, cell, name in zip(sides, row, names, strict=True)).rstrip()
        for row in rows
    ]


def to_json(table: Table) -> str:
    """The text of `tables/<name>.json`: `meta` with the `paper` rows and `notes`."""
    rows = table.paper.astype(object).where(table.paper.notna(), None).to_dict("records")
    value = {**table.meta, "name": table.name, "paper": rows, "notes": list(table.notes)}
    return json.dumps(_rounded(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _rounded(value: Any) -> Any:
    """JSON values with floats at 6 decimals, no negative zero."""
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(float(value), 6) + 0.0 if isinstance(value, float) else value


def _columns(table: Table) -> list[str]:
    """Keys of the rows that hold one value, in order."""
    names = dict.fromkeys(name for row in table.meta["rows"] for name in row)
    return [name for name in names if not any(isinstance(row.get(name), list) for row in table.meta["rows"])]


def _to_csv(table: Table) -> str:
    out = io.StringIO()
    names = _columns(table)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in table.meta["rows"]:
        cells = [_rounded(row.get(name)) for name in names]
        writer.writerow(["" if cell is None else f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells])
    return out.getvalue()


def _to_parquet(table: Table) -> bytes:
    """The rows of the csv with their types; the same rows give the same bytes under the same pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{name: _rounded(row.get(name)) for name in _columns(table)} for row in table.meta["rows"]]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd", store_schema=False)
    return sink.getvalue().to_pybytes()


def _to_md(table: Table) -> str:
    blocks = [f"# {table.meta['title']}", md_rows(table.frame)]
    if not table.paper_frame.empty:
        blocks += [f"{PAPER}:", md_rows(table.paper_frame)]
    blocks += ["\n".join([f"**{head}**\n", *(f"- {note}" for note in notes)]) for head, notes in table.said.items()]
    return "\n\n".join(blocks) + "\n"


def md_rows(frame: pd.DataFrame) -> str:
    """A frame of strings as a Markdown table, words left-aligned and numbers right-aligned."""
    marks = {"left": "---", "right": "---:"}
    rows = [list(frame.columns), [marks[side] for side in sides(frame)], *frame.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _to_tex(table: Table) -> str:
    other = None if table.paper_frame.empty else (PAPER, table.paper_frame)
    return tex_file(table.meta["title"], table.frame, table.notes, table.aside, other)


_FORMATS: Mapping[str, Callable[[Table], bytes]] = {
    "csv": lambda table: _to_csv(table).encode(),
    "md": lambda table: _to_md(table).encode(),
    "tex": lambda table: _to_tex(table).encode(),
    "json": lambda table: to_json(table).encode(),
    "parquet": _to_parquet,
}


def heading(column: str) -> str:
    """Column head of a `<dataset>_<split>` column."""
    return words(column).replace("imagenet16-120", "IN16-120")


def fixed(value: float | None, digits: int) -> str:
    """A number with fixed decimals; a dash where there is none."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def plus_minus(row: Mapping[str, Any], key: str, digits: int) -> str:
    """Mean ± std of a row; the mean alone for one seed."""
    mean, std = row[f"{key}_mean"], row[f"{key}_std"]
    return fixed(mean, digits) if mean is None or std is None else f"{fixed(mean, digits)} ± {fixed(std, digits)}"


def interval_cell(row: Mapping[str, Any], key: str) -> str:
    """`[low, high]` of a row."""
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return "–" if low is None else f"[{fixed(low, 3)}, {fixed(high, 3)}]"


def count_cell(value: float | None) -> str:
    """A count with its thousands folded to k or M."""
    if value is None:
        return "–"
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.1f}{unit}"
    return f"{value:.0f}"


def scaled(value: float | None) -> str:
    """A number of any size with three digits and k, M, G, T, P or E for thousands to quintillions; 0 as it is."""
    if not value:
        return "–" if value is None else "0"
    power = min(max(int(math.log10(value) // 3), 0), 6)
    return f"{value / 1000**power:.3g}{' kMGTPE'[power].strip()}"


def span(values: Sequence[int]) -> str:
    """`3` or `5-16`."""
    return str(min(values)) if min(values) == max(values) else f"{min(values)}-{max(values)}"


def listed(seeds: Iterable[int]) -> str:
    """Seeds in order."""
    return ", ".join(map(str, sorted(seeds)))


def words(column: str) -> str:
    """A column name in words."""
    return column.replace("_", " ")
