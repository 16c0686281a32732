"""What a notebook begins with, in one import: `from senas_bench.notebook import RESULTS, TRUTH, pd, sb, show`.

Tables then show whole archs, and pictures are drawn sharp, in the page.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd

import senas_bench as sb

if TYPE_CHECKING:
    from senas_bench.analysis.output.formats import Table

__all__ = ["RESULTS", "TRUTH", "pd", "plt", "sb", "show"]

RESULTS = Path(os.environ.get("SENAS_RESULTS", Path(sb.__file__).parents[1] / "results" / "embedded"))
"""Folder of the finished runs that are shown: `SENAS_RESULTS`, else those that a clone brings along."""
TRUTH = os.environ.get("SENAS_TRUTH")
"""Benchmark table (Parquet): `SENAS_TRUTH`, else None, which is the CIFAR-10 table of `analog-nasbench`."""

pd.set_option("display.max_colwidth", None)


def show(table: Table) -> None:
    """Show a table and, under it, its figure."""
    from IPython.display import display

    display(table, sb.figure(table))


def _draw_in_the_page() -> None:
    """Of IPython, where it runs a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        shell.run_line_magic("matplotlib", "inline")
        shell.run_line_magic("config", 'InlineBackend.figure_format = "retina"')


_draw_in_the_page()
