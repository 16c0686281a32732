"""What `reproduce` can make: for each artefact, the runs it needs and the function that renders them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .formats import Table
from .tables import TABLE3_METHODS, render_table3


@dataclass(frozen=True)
class Artefact:
    """A table or figure of the paper.

    Args:
        name: Key in `ARTEFACTS` and file stem.
        title: One line for people.
        methods: Methods run by default, in row order.
        render: `(records, scores, truth, *, no_timing, methods) -> Table`; see `tables.render_table3`.
    """

    name: str
    title: str
    methods: tuple[str, ...]
    render: Callable[..., Table]


ARTEFACTS = {
    "table3": Artefact("table3", "Table 3: searching on NAS-Bench-201", TABLE3_METHODS, render_table3),
}
