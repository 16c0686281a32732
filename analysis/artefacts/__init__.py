"""What `reproduce` can make: for each artefact, the runs it needs, and the functions that render and draw it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from senas_bench.analysis.artefacts import convergence, fig1, searches, table1
from senas_bench.analysis.artefacts.fig6 import FIG6_METHODS, draw_fig6, render_fig6
from senas_bench.analysis.artefacts.table3 import TABLE3_METHODS, draw_table3, render_table3
from senas_bench.analysis.join import every_column, only_primary, tested_columns
from senas_bench.analysis.output.formats import Table
from senas_bench.names import lookup
from senas_bench.plotting import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from senas_bench.analysis.join import Scores
    from senas_bench.experiments.spec import RunRecord
    from senas_bench.groundtruth import GroundTruth, Query


@dataclass(frozen=True)
class Artefact:
    """A table or figure of the paper.

    Args:
        name: Key in `ARTEFACTS` and file stem.
        title: One line for people.
        methods: Methods run by default, in row order.
        render: `(records, scores, truth, *, no_timing, methods) -> Table`; see `tables.render_table3`.
        draw: Makes the figure of a rendered table; None for a table that has none.
        open: It takes any method that has runs.
        essential: A method without which there is nothing to show; None where any of its methods will do.
        searches: Runs under a limit that it shows, in row order; an artefact has either these or methods that are
            ranked by the truth.
        reads: Columns of the truth that it looks archs up in, of `accuracy_queries` and the images of the runs.
        every_arch: It needs the truth of the whole space, whatever its methods rank and pick.
        shrinks: It shows what shrinks leave over.
    """

    name: str
    title: str
    methods: tuple[str, ...]
    render: Callable[..., Table]
    draw: Callable[[Table], Figure] | None = None
    open: bool = False
    essential: str | None = None
    searches: tuple[searches.Search, ...] = ()
    reads: Callable[[Mapping[str, Query], str], list[str]] = tested_columns
    every_arch: bool = False
    shrinks: bool = False

    def of(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """The records that it shows: of its own methods, and if it is open, of those that no other artefact claims."""
        if self.searches:
            keys = {search.key for search in self.searches}
            return [record for record in records if searches.key_of(record) in keys]
        records = [record for record in records if record.spec.space == "nasbench201" and not is_search(record)]
        others = {method for other in ARTEFACTS.values() if not other.searches for method in other.methods}
        extra = {record.spec.method for record in records} - others if self.open else set()
        shown = [record for record in records if record.spec.method in {*self.methods, *extra}]
        return shown if self.essential in (None, *(record.spec.method for record in shown)) else []

    def figure(self, table: Table) -> Figure | None:
        """The figure of a rendered table, in the style of this project."""
        with house_style():
            return self.draw(table) if self.draw else None


def is_search(record: RunRecord) -> bool:
    """Whether a run searched under a limit or trained its pick, which the tables of rankings do not show."""
    return bool({"limit", "retrain"} & record.spec.settings.keys())


def _searching(
    name: str, rows: tuple[searches.Search, ...], draw: Callable[[Table], Figure] = searches.draw_table
) -> Artefact:
    methods = tuple(dict.fromkeys(search.method for search in rows))
    return Artefact(name, searches.TITLES[name], methods, searches.renderer(name, rows), draw, searches=rows)


ARTEFACTS = {
    "table1": Artefact(
        "table1",
        "Table 1: shared weights against stand-alone training",
        table1.METHODS,
        table1.render_table1,
        table1.draw_table1,
    ),
    "fig1": Artefact(
        "fig1",
        "Figure 1: ranks of single archs over repeats",
        ("stand-alone", "spos"),
        fig1.render_fig1,
        fig1.draw_fig1,
        essential=table1.ALONE,
        reads=only_primary,
    ),
    "fig6": Artefact(
        "fig6",
        "Figure 6: which operators survive",
        FIG6_METHODS,
        render_fig6,
        draw_fig6,
        reads=only_primary,
        every_arch=True,
        shrinks=True,
    ),
    "fig7": Artefact(
        "fig7",
        "Figure 7: ranking correlation over epochs",
        convergence.METHODS,
        convergence.render_fig7,
        convergence.draw_fig7,
    ),
    "fig8": Artefact(
        "fig8",
        "Figure 8: ranking correlation at the end, over seeds",
        convergence.METHODS,
        convergence.render_fig8,
        convergence.draw_fig8,
    ),
    "table3": Artefact(
        "table3",
        "Table 3: searching on NAS-Bench-201",
        TABLE3_METHODS,
        render_table3,
        draw_table3,
        open=True,
        reads=every_column,
    ),
    "table4": _searching("table4", searches.TABLE4),
    "table5": _searching("table5", searches.TABLE5),
    "table6": _searching("table6", searches.TABLE6),
    "fig9": _searching("fig9", searches.FIG9, searches.draw_archs),
    "fig10": _searching("fig10", searches.FIG10, searches.draw_archs),
    "fig11": _searching("fig11", searches.FIG11, partial(searches.draw_cell, "normal")),
    "fig12": _searching("fig12", searches.FIG12, partial(searches.draw_cell, "reduce")),
}
GROUPS = {
    "nasbench201": [name for name, artefact in ARTEFACTS.items() if not artefact.searches],
    "searches": [name for name, artefact in ARTEFACTS.items() if artefact.searches],
    "all": list(ARTEFACTS),
}
"""Names for several artefacts: those that rank NAS-Bench-201, those that search under a limit."""


def render_sound(
    artefact: Artefact,
    records: Sequence[RunRecord],
    scores: Scores,
    truth: GroundTruth,
    *,
    no_timing: bool = False,
    methods: Sequence[str] | None = None,
) -> tuple[Table, dict[str, str]]:
    """An artefact without the methods whose runs cannot be shown; why not, by method.

    Args, raises: As `tables.render_table3`; an artefact of searches, or one with an `essential` method, is all or none.
    """

    def render(shown: Sequence[RunRecord], rows: Sequence[str] | None) -> Table:
        return artefact.render(shown, scores, truth, no_timing=no_timing, methods=rows)

    try:
        return render(records, methods), {}
    except ValueError:
        if artefact.searches or artefact.essential:
            raise
        faults: dict[str, str] = {}
        for method in dict.fromkeys(record.spec.method for record in records):
            try:
                render([record for record in records if record.spec.method == method], [method])
            except ValueError as error:
                faults[method] = str(error)
        sound = [record for record in records if record.spec.method not in faults]
        if not faults or not sound:
            raise
    return render(sound, None if methods is None else [name for name in methods if name not in faults]), faults


def render_all(
    records: Sequence[RunRecord], scores: Scores, truth: GroundTruth, *, no_timing: bool = False
) -> dict[str, Table]:
    """Every artefact that finished runs allow, by name, in the order of the paper.

    Args, raises: As `tables.render_table3`.
    """
    own = {name: artefact.of(records) for name, artefact in ARTEFACTS.items()}
    return {
        name: ARTEFACTS[name].render(shown, scores, truth, no_timing=no_timing) for name, shown in own.items() if shown
    }


def make(
    name: str,
    results: Path,
    ground_truth: Path | None = None,
    seed_truth: Path | None = None,
    *,
    methods: Sequence[str] | None = None,
    no_timing: bool = False,
) -> Table:
    """Render an artefact from the finished runs of a results folder, without running anything.

    Args:
        name: Key of `ARTEFACTS`.
        results: Folder, as `--results`.
        ground_truth, seed_truth: Tables, as the options of those names; None for the embedded one, and for none.
        methods: Rows in order; default the artefact's own.

    Raises:
        ValueError: Unknown name, no runs that it shows, or runs that may not share a table.
        DataError: The ground truth is missing or corrupt.
    """
    from senas_bench.experiments.store import RunStore
    from senas_bench.groundtruth import load_ground_truth

    artefact, store = lookup("artefact", name, ARTEFACTS), RunStore(Path(results))
    records = store.records()
    if methods and not artefact.searches:
        records = [record for record in records if record.spec.method in methods and not is_search(record)]
    else:
        records = artefact.of(records)
    if not records:
        raise ValueError(f"no finished runs for {name} in {results}; run `senas-bench reproduce {name}` first")
    truth = load_ground_truth(ground_truth)
    truth = truth.joined(load_ground_truth(seed_truth)) if seed_truth else truth
    return artefact.render(records, store.scores, truth, no_timing=no_timing, methods=methods)
