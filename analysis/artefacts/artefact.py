"""What `reproduce` can make: the runs that a table or figure of the paper needs, and who renders and draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senas_bench.analysis.join import tested_columns
from senas_bench.analysis.output.formats import Table
from senas_bench.plotting import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from senas_bench.experiments.spec import RunRecord
    from senas_bench.groundtruth import Query


@dataclass(frozen=True)
class Search:
    """One row: a method in a space under one of the paper's limits.

    Args:
        label: In the table.
        method, space: Keys of `METHODS` and `SPACES`.
        cost: `flops` or `latency`.
        level: The paper's limit: millions of multiply-adds, or milliseconds on its GPU. Smaller networks get one that
            binds as much; see `studies.scaled_limit` and `studies.level_limit`.
        archs: Of the method `fixed`: so many archs of the sample within the limit, each trained at every seed. They
            are no row: they tell whether archs differ by more than trainings do.
    """

    label: str
    method: str
    space: str
    cost: str
    level: float
    archs: int = 0

    @property
    def key(self) -> tuple[str, str, str, float]:
        return self.method, self.space, self.cost, self.level


@dataclass(frozen=True)
class Artefact:
    """A table or figure of the paper, the last thing on its page.

    Args:
        name: Key in `ARTEFACTS` and file stem.
        title: One line for people.
        rows: Methods run by default, in row order; or what gives them, by their facts, see `style.fitting`.
        render: `(records, scores, truth, *, no_timing, methods) -> Table`; see `table3.render_table3`.
        draw: Makes the figure of a rendered table; None for a table that has none.
        open: It takes any method that has runs.
        essential: A method without which there is nothing to show; None where any of its methods will do.
        searches: Runs under a limit that it shows, in row order; an artefact has either these or methods that are
            ranked by the truth.
        reads: Columns of the truth that it looks archs up in, of `accuracy_queries` and the images of the runs.
        every_arch: It needs the truth of the whole space, whatever its methods rank and pick.
        shrinks: It shows what shrinks leave over.
        also: Methods that it shows too where they have finished runs, and never asks for by itself.
        alone: It can be made without any runs.
    """

    name: str
    title: str
    rows: Sequence[str] | Callable[[], Sequence[str]]
    render: Callable[..., Table]
    draw: Callable[[Table], Figure] | None = None
    open: bool = False
    essential: str | None = None
    searches: tuple[Search, ...] = ()
    reads: Callable[[Mapping[str, Query], str], list[str]] = tested_columns
    every_arch: bool = False
    shrinks: bool = False
    also: Callable[[], Sequence[str]] = tuple
    alone: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods run by default, in row order."""
        return tuple(self.rows() if callable(self.rows) else self.rows)

    def of(self, records: Sequence[RunRecord], artefacts: Iterable[Artefact] = ()) -> list[RunRecord]:
        """The records that it shows: of its own methods, and if it is open, of those that no other artefact claims.

        Args:
            artefacts: All others.
        """
        if self.searches:
            keys = {search.key for search in self.searches}
            shown = [record for record in records if key_of(record) in keys]
            rows = {search.key for search in self.searches if not search.archs}
            return shown if rows.intersection(map(key_of, shown)) else []
        records = [record for record in records if record.spec.space == "nasbench201" and not is_search(record)]
        claimed = {method for other in artefacts if not other.searches for method in other.methods} if self.open else ()
        extra = {record.spec.method for record in records}.difference(claimed) if self.open else ()
        shown = [record for record in records if record.spec.method in {*self.methods, *self.also(), *extra}]
        return shown if self.essential in (None, *(record.spec.method for record in shown)) else []

    def figure(self, table: Table) -> Figure | None:
        """The figure of a rendered table, in the style of this project."""
        with house_style():
            return self.draw(table) if self.draw else None


def is_search(record: RunRecord) -> bool:
    """Whether a run searched under a limit, trained its pick or ranked by another estimator than its method's, which
    the tables of rankings do not show."""
    return bool({"limit", "retrain", "estimator"} & record.spec.settings.keys())


def key_of(record: RunRecord) -> tuple[str, str, str, float] | None:
    """Which search a run is; None for a run under no limit of the paper."""
    limit = record.spec.settings.get("limit", {})
    if "level" not in limit:
        return None
    return record.spec.method, record.spec.space, limit["cost"], limit["level"]
