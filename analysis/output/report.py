"""One HTML page that needs nothing else, no script and no network: the answer, verdicts, artefacts, how it was made.

What it looks like stands in `templates/`; what is said, here and in `answer.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from senas_bench.analysis.artefacts import ARTEFACTS, NO_RUNS, why
from senas_bench.analysis.output.answer import answer
from senas_bench.analysis.output.columns import sides
from senas_bench.analysis.output.figures import to_bytes
from senas_bench.analysis.output.formats import PAPER, Table, listed
from senas_bench.analysis.output.made import provenance_summary
from senas_bench.analysis.output.svg import inline_svg
from senas_bench.analysis.paper import tally
from senas_bench.analysis.paper.judges import NO_RUNS as LACKS_RUNS
from senas_bench.analysis.paper.judges import WORDS
from senas_bench.analysis.paper.verdicts import verdicts
from senas_bench.experiments.spec import RunRecord

ORDER = tuple(ARTEFACTS)
"""Artefacts as the paper has them; any other follows by name."""
LEAD = ("ladder", "table3")
"""Artefacts whose figures stand beside the answer."""
LOOKS = dict(zip(WORDS, ("holds", "fails", "open", "none", "none"), strict=True))
"""By verdict the class of its badge."""
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Part:
    """What a page shows of one study.

    Args:
        title: Of the study; shown where the page has several.
        tables: Rendered artefacts by name; give tables rendered with `no_timing` to a report that has it.
        verdict_table: From `verdicts.verdicts`.
        figures: SVG text by name of the artefact; those of names that are not in `tables` are left out.
        provenance: From `made.provenance_summary`.
        missing: Why an artefact, or its figure, is not shown, by name; those without runs share a line.
        sizes: Of the preset, as the specs of the runs have them; empty where they have none.
    """

    title: str
    tables: Mapping[str, Table]
    verdict_table: Table
    figures: Mapping[str, str]
    provenance: Sequence[Mapping[str, Any]]
    missing: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)


def report_html(
    tables: Mapping[str, Table],
    verdict_table: Table,
    figures: Mapping[str, str],
    provenance: Sequence[Mapping[str, Any]],
    *,
    no_timing: bool = False,
) -> str:
    """`page_html` of one part."""
    return page_html([Part("", tables, verdict_table, figures, provenance)], no_timing=no_timing)


def page_html(parts: Sequence[Part], *, no_timing: bool = False) -> str:
    """The page as text. Equal input gives equal text.

    Args:
        parts: One per study, each with its own answer and verdicts; a page of one study says nothing of parts.
        no_timing: Leave out what differs between machines and days: commands, commits, versions, hardware, dates.

    Raises:
        ValueError: No tables, or a figure that is no SVG or holds a script or something to load.
    """
    if not any(part.tables for part in parts):
        raise ValueError("no rendered artefact to report; run `senas-bench reproduce all` first")
    several = len(parts) > 1
    views = [_part(part, f"part-{number}" if several else "") for number, part in enumerate(parts, 1)]
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    given = {"parts": views, "several": several, "no_timing": no_timing, "looks": LOOKS, "papers": PAPER}
    return templates.get_template("page.html").render(given)


def make_report(
    tables: Mapping[str, Table], records: Sequence[RunRecord], *, no_timing: bool = False
) -> tuple[str, Table]:
    """The page of `report_html` with the figures drawn, and the verdicts.

    Args:
        tables: From `artefacts.render_all`.
        records: The runs behind them.

    Raises:
        ValueError: No tables.
    """
    part = make_part("", tables, records)
    return page_html([part], no_timing=no_timing), part.verdict_table


def make_part(
    title: str, tables: Mapping[str, Table], records: Sequence[RunRecord], missing: Mapping[str, str] | None = None
) -> Part:
    """A study with its figures drawn and its claims judged; a figure that cannot be drawn is missing.

    Args:
        title: Of the study.
        tables: From `artefacts.render_each`, as `missing`.
        records: The runs behind them.
    """
    svgs, undrawn = {}, {}
    for name, table in tables.items():
        try:
            if figure := ARTEFACTS[name].figure(table):
                svgs[name] = to_bytes(figure, "svg").decode()
        except Exception as error:  # whatever it is, the table is shown
            undrawn[name] = f"its figure cannot be drawn: {why(error)}"
    sizes = next((record.spec.settings["preset"] for record in records if "preset" in record.spec.settings), {})
    made = provenance_summary(records)
    return Part(title, tables, verdicts(tables), svgs, made, {**(missing or {}), **undrawn}, sizes)


def _part(part: Part, anchor: str) -> dict[str, Any]:
    """What the template shows of a study, all ids with a prefix."""
    tables, prefix = part.tables, f"{anchor}-" if anchor else ""
    names = [name for name in ORDER if name in tables] + sorted(set(tables) - set(ORDER))
    view: dict[str, Any] = {"anchor": anchor, "prefix": prefix, "title": part.title, "artefacts": []}
    view |= {"missing": _missing(part.missing), "made": part.provenance, "runs": _runs(part.provenance)}
    view["settings"] = _settings([tables[name] for name in names])
    if not names:
        return view
    figures = {name: _figure(part.figures[name], tables[name], prefix) for name in names if name in part.figures}
    artefacts = [_artefact(tables[name], figures.get(name), prefix) for name in names]
    titles = {"answer": "The answer", "verdicts": "Verdicts"}
    titles |= {name: tables[name].meta["title"] for name in names} | {"made": "How it was made"}
    return view | {
        "links": [
            {"anchor": f"{prefix}{name}", "short": title.partition(":")[0], "title": title}
            for name, title in titles.items()
        ],
        "answer": answer({name: tables[name] for name in names}, part.sizes),
        "lead": [figures[name] for name in LEAD if name in figures],
        "verdicts": _verdicts(part.verdict_table),
        "artefacts": artefacts,
    }


def _figure(svg: str, table: Table, prefix: str) -> dict[str, Any]:
    """A figure in the page, its ids its own; of those beside the answer, where their numbers are."""
    title, scope = table.meta["title"], f"{prefix}figure-{table.name}"
    drawn = Markup(inline_svg(svg, scope, title, table.name))  # which refuses what may run or load
    return {"svg": drawn, "scope": scope, "title": title, "table": f"{prefix}{table.name}" * (table.name in LEAD)}


def _artefact(table: Table, figure: Mapping[str, Any] | None, prefix: str) -> dict[str, Any]:
    above = bool(figure) and table.name in LEAD
    return {
        "anchor": f"{prefix}{table.name}",
        "title": table.meta["title"],
        "figure": None if above else figure,
        "above": figure["scope"] if figure and above else "",
        "columns": list(table.frame.columns),
        "sides": sides(table.frame),
        "rows": table.frame.to_numpy().tolist(),
        "paper_columns": list(table.paper_frame.columns),
        "paper_sides": sides(table.paper_frame),
        "paper_rows": table.paper_frame.to_numpy().tolist(),
        "said": table.said,
    }


def _verdicts(table: Table) -> dict[str, Any]:
    """The verdicts claim by claim; how often each came up stands in the line that is always seen. Claims of which
    nothing is known stand apart."""
    claims = []
    for rows in tally.by_claim(table.meta["rows"]):
        counts, ours = (tally.count_words([row for row in rows if row["ours"] is flag]) for flag in (False, True))
        facts = {"id": rows[0]["id"], "text": rows[0]["claim"], "where": rows[0]["where"], "rows": rows}
        claims.append({**facts, "counts": counts, "ours": ours})
    bare = [claim for claim in claims if all(row["verdict"] == LACKS_RUNS for row in claim["rows"])]
    return {
        "title": table.meta["title"],
        "summary": tally.summary(table),
        "claims": [claim for claim in claims if claim not in bare],
        "bare": bare,
        "said": table.said,
    }


def _missing(missing: Mapping[str, str]) -> list[str]:
    """A line for each artefact that is not shown; those without runs share one."""
    without = [name for name, reason in missing.items() if reason == NO_RUNS]
    lines = [f"{_title(name)}: {reason}" for name, reason in missing.items() if reason != NO_RUNS]
    return lines + ([f"No finished runs of: {', '.join(without)}."] if without else [])


def _title(name: str) -> str:
    return ARTEFACTS[name].title if name in ARTEFACTS else name


def _settings(tables: Sequence[Table]) -> list[dict[str, str]]:
    """What was run, on what, against which truth, how often; artefacts of which this is the same share an entry."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for table in tables:
        meta = table.meta
        truth = f"{meta['ground_truth']} ({meta['ground_truth_sha256'][:12]})" if "ground_truth" in meta else ""
        key = (meta["preset"], meta["images"], truth or "none: trained here", listed(meta["seeds"]))
        groups.setdefault(key, []).append(meta["title"].partition(":")[0])
    names = ("preset", "images", "ground truth", "seeds")
    return [{"shown": ", ".join(shown), **dict(zip(names, key, strict=True))} for key, shown in groups.items()]


def _runs(groups: Sequence[Mapping[str, Any]]) -> str:
    """How many runs of what."""
    methods = sorted({method for group in groups for method in group["methods"]})
    seeds = listed({seed for group in groups for seed in group["seeds"]})
    count = sum(group["runs"] for group in groups)
    return f"{count} runs: methods {', '.join(methods)}; seeds {seeds}." if count else "No runs were given."
