"""The registry of artefacts: what `reproduce` can make, in the order of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from senas_bench.analysis.artefacts.artefact import Artefact, is_search
from senas_bench.analysis.artefacts.convergence import FIG7, FIG8
from senas_bench.analysis.artefacts.eq7 import EQ7
from senas_bench.analysis.artefacts.fig1 import FIG1
from senas_bench.analysis.artefacts.fig6 import FIG6
from senas_bench.analysis.artefacts.ladder import LADDER
from senas_bench.analysis.artefacts.searches import FIG9, FIG10, FIG11, FIG12, TABLE4, TABLE5, TABLE6
from senas_bench.analysis.artefacts.table1 import TABLE1
from senas_bench.analysis.artefacts.table3 import TABLE3
from senas_bench.analysis.output.formats import Table
from senas_bench.errors import DataError
from senas_bench.names import lookup

if TYPE_CHECKING:
    from senas_bench.analysis.join import Scores
    from senas_bench.experiments.spec import RunRecord
    from senas_bench.groundtruth import GroundTruth

__all__ = [
    "ARTEFACTS",
    "GROUPS",
    "NO_RUNS",
    "Artefact",
    "is_search",
    "make",
    "named",
    "records_of",
    "render_all",
    "render_each",
    "render_sound",
]

ARTEFACTS: dict[str, Artefact] = {
    "table1": TABLE1,
    "fig1": FIG1,
    "fig6": FIG6,
    "fig7": FIG7,
    "fig8": FIG8,
    "eq7": EQ7,
    "table3": TABLE3,
    "ladder": LADDER,
    "table4": TABLE4,
    "table5": TABLE5,
    "table6": TABLE6,
    "fig9": FIG9,
    "fig10": FIG10,
    "fig11": FIG11,
    "fig12": FIG12,
}
GROUPS = {
    "nasbench201": lambda artefact: not artefact.searches,
    "searches": lambda artefact: bool(artefact.searches),
    "all": lambda artefact: True,
}
"""Names for several artefacts: those that rank NAS-Bench-201, those that search under a limit."""
NO_RUNS = "no finished runs of it"
"""Why an artefact is not there."""


def named(name: str) -> list[str]:
    """The artefacts of a group, or the one of that name.

    Raises:
        ValueError: Unknown name.
    """
    if isinstance(name, str) and name in GROUPS:
        return [own for own, artefact in ARTEFACTS.items() if GROUPS[name](artefact)]
    lookup("artefact", name, ARTEFACTS)
    return [name]


def records_of(name: str, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records that an artefact shows beside all others."""
    return ARTEFACTS[name].of(records, ARTEFACTS.values())


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


def render_each(
    records: Sequence[RunRecord], scores: Scores, truth: GroundTruth, *, no_timing: bool = False
) -> tuple[dict[str, Table], dict[str, str]]:
    """As `render_all`, but what cannot be rendered keeps nothing else from it.

    Returns:
        The tables by name, and why there are no others: by name too, one line each; where a table lacks a method, by
        `name without method`.
    """
    tables, missing = {}, {}
    for name, artefact in ARTEFACTS.items():
        shown = records_of(name, records)
        if not shown:
            missing[name] = NO_RUNS
            continue
        try:
            tables[name], faults = render_sound(artefact, shown, scores, truth, no_timing=no_timing)
        except Exception as error:  # whatever it is, the others are shown
            missing[name] = why(error)
        else:
            missing |= {f"{name} without {method}": reason for method, reason in faults.items()}
    return tables, missing


def why(error: Exception) -> str:
    """An error as one line; as the command line says it, what should not happen is called a bug."""
    text = " ".join(str(error).split()) or type(error).__name__
    known = isinstance(error, (ValueError, OSError, DataError))
    return text if known else f"{type(error).__name__}: {text} (this is a bug)"


def render_all(
    records: Sequence[RunRecord], scores: Scores, truth: GroundTruth, *, no_timing: bool = False
) -> dict[str, Table]:
    """Every artefact that finished runs allow, by name, in the order of the paper.

    Args, raises: As `table3.render_table3`.
    """
    own = {name: records_of(name, records) for name in ARTEFACTS}
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

    artefact, store = lookup("artefact", name, ARTEFACTS), RunStore(Path(results).expanduser())
    records = store.records()
    if methods and not artefact.searches:
        records = [record for record in records if record.spec.method in methods and not is_search(record)]
    else:
        records = records_of(name, records)
    if not records and not artefact.alone:
        raise ValueError(f"no finished runs for {name} in {results}; run `senas-bench reproduce {name}` first")
    truth = load_ground_truth(ground_truth)
    truth = truth.joined(load_ground_truth(seed_truth)) if seed_truth else truth
    return artefact.render(records, store.scores, truth, no_timing=no_timing, methods=methods)
