"""Tables and figures as files of a results folder."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from senas_bench.locks import held

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from senas_bench.analysis.artefacts import Artefact
    from senas_bench.analysis.output.formats import Table


PATIENCE = 600.0
"""Seconds to wait for a process that writes a table."""


def write_beside(table: Table, results: Path, artefact: Artefact | None) -> tuple[Table, list[Path]]:
    """Write a table and the figure of its artefact, under a name of their own where the folder has more by theirs. Of
    several processes, such as jobs of an array, one at a time chooses a name.

    Returns:
        The table as it is named, and the files; none, and a line says why, in a folder that may only be read.
    """
    from senas_bench.analysis.output.formats import write
    from senas_bench.analysis.output.naming import beside

    folder = Path(results) / "tables"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / "names.lock", PATIENCE):
            table, why = beside(table, results)
            paths = write(table, results) + (save_figure(artefact, table, results) if artefact else [])
        if why:
            print(why, file=sys.stderr)
        return table, paths
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        print(f"{table.name} is not kept in {results}: {error.strerror}", file=sys.stderr)
        return table, []


def save_figure(artefact: Artefact, table: Table, results: Path) -> list[Path]:
    """Write the figure of a rendered table, if it has one; files that show it already stay as they are."""
    if artefact.draw is None:
        return []
    from senas_bench.analysis.output.figures import save_once
    from senas_bench.analysis.output.formats import to_json

    def draw() -> Figure:
        figure = artefact.figure(table)
        assert figure is not None
        return figure

    return save_once(draw, to_json(table), results, table.name)
