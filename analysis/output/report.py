"""One HTML page that needs nothing else, no script and no network: verdicts, artefacts, how they were made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

from senas_bench.analysis.artefacts import ARTEFACTS, NO_RUNS, why
from senas_bench.analysis.output.figures import to_bytes
from senas_bench.analysis.output.formats import PAPER, Table, listed
from senas_bench.analysis.output.svg import inline_svg
from senas_bench.analysis.paper.judges import WORDS
from senas_bench.analysis.paper.verdicts import verdicts
from senas_bench.experiments.spec import RunRecord

ORDER = tuple(ARTEFACTS)
"""Artefacts as the paper has them; any other follows by name."""

_STYLE = """
:root{--page:#fff;--ink:#1b1b1b;--soft:#5a5a5a;--line:#d4d4d4;--band:#f5f5f5;--accent:#0072b2;
--v0:#d7f0dd;--t0:#0b5a23;--v1:#fbdcd0;--t1:#8a2a00;--v2:#fdf0c4;--t2:#6b4e00;--v3:#e8e8e8;--t3:#444}
@media (prefers-color-scheme:dark){:root{--page:#161616;--ink:#ececec;--soft:#a8a8a8;--line:#3c3c3c;--band:#202020;
--accent:#56b4e9;--v0:#123d20;--t0:#a6e8b8;--v1:#4a1d0a;--t1:#ffc2a8;--v2:#42350a;--t2:#f5dc8a;--v3:#333;--t3:#ccc}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.25rem;margin:2.5rem 0 .5rem;border-top:1px solid var(--line);
padding-top:1rem}h3{font-size:1rem;margin:1rem 0 .3rem}
a{color:var(--accent)}code{font-size:.85em;overflow-wrap:anywhere}nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;
padding:0;list-style:none}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}
th:first-child,td:first-child{text-align:left}thead th{background:var(--band)}
.words th,.words td{text-align:left;white-space:normal}.words{width:100%}
.claim th{background:var(--band);font-weight:600;padding-top:.6rem}.claim span{color:var(--soft);font-weight:400}
.verdict{display:inline-block;padding:.05rem .5rem;border:1px solid;border-radius:1rem;font-weight:600;
white-space:nowrap;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.v0{background:var(--v0);color:var(--t0)}.v1{background:var(--v1);color:var(--t1)}
.v2{background:var(--v2);color:var(--t2)}.v3{background:var(--v3);color:var(--t3)}
.proxy{border-left:4px solid #d55e00;padding:.4rem .8rem;background:var(--band)}
.paper{border-left:4px solid var(--line);padding-left:.8rem;margin:1rem 0}
.notes{color:var(--soft);font-size:.85rem;padding-left:1.2rem}
figure{margin:.8rem 0;padding:.6rem;background:#fff;border:1px solid var(--line);border-radius:.4rem;text-align:center}
figure svg{max-width:100%;height:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;font-size:.85rem;margin:.6rem 0 1.2rem}
dt{color:var(--soft)}dd{margin:0;min-width:0}
@media (max-width:40rem){.words thead{display:none}.words tr,.words th,.words td{display:block;border:0;padding:.1rem 0}
.words tr{border-bottom:1px solid var(--line);padding:.4rem 0}.words .claim th{padding:.4rem}
.words td::before{content:attr(data-name) ": ";color:var(--soft)}}
@media print{:root{--page:#fff;--ink:#000;--soft:#333;--line:#bbb;--band:#f2f2f2;--accent:#000;--v0:#d7f0dd;
--t0:#0b5a23;--v1:#fbdcd0;--t1:#8a2a00;--v2:#fdf0c4;--t2:#6b4e00;--v3:#e8e8e8;--t3:#444}body{max-width:none;font-size:9pt}
nav{display:none}tr,figure{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}}
"""


@dataclass(frozen=True)
class Part:
    """What a page shows of one study.

    Args:
        title: Of the study; shown where the page has several.
        tables: Rendered artefacts by name; give tables rendered with `no_timing` to a report that has it.
        verdict_table: From `verdicts.verdicts`.
        figures: SVG text by name of the artefact; those of names that are not in `tables` are left out.
        provenance: From `provenance_summary`.
        missing: Why an artefact, or its figure, is not shown, by name; those without runs share a line.
    """

    title: str
    tables: Mapping[str, Table]
    verdict_table: Table
    figures: Mapping[str, str]
    provenance: Sequence[Mapping[str, Any]]
    missing: Mapping[str, str] = field(default_factory=dict)


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
        parts: One per study, each with its own verdicts; a page of one study says nothing of parts.
        no_timing: Leave out what differs between machines and days: commands, commits, versions, hardware, dates.

    Raises:
        ValueError: No tables, or a figure that is no SVG or holds a script or something to load.
    """
    if not any(part.tables for part in parts):
        raise ValueError("no rendered artefact to report; run `senas-bench reproduce all` first")
    body = ["<h1>SE-NAS on NAS-Bench-201: what these runs show</h1>"]
    if len(parts) == 1:
        body += _part(parts[0], "", no_timing)
    else:
        links = [(f"part-{number}", part.title) for number, part in enumerate(parts, 1)]
        body += [
            "<p>The folder holds runs of several studies, which never share a table.</p>",
            _links(links, "Studies"),
        ]
        for (anchor, title), part in zip(links, parts, strict=True):
            body += [f'<h1 id="{anchor}">{escape(title)}</h1>', *_part(part, f"{anchor}-", no_timing)]
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>SE-NAS on NAS-Bench-201: report</title>\n<style>{_STYLE}</style>"
    )
    return '<!DOCTYPE html>\n<html lang="en">\n<head>\n{}\n</head>\n<body>\n{}\n</body>\n</html>\n'.format(
        head, "\n".join(body)
    )


def _part(part: Part, prefix: str, no_timing: bool) -> list[str]:
    """A study's blocks, all ids with a prefix."""
    tables = part.tables
    names = [name for name in ORDER if name in tables] + sorted(set(tables) - set(ORDER))
    missing = [_missing(part.missing)] if part.missing else []
    if not names:
        return [*missing, _provenance(part.provenance, no_timing, prefix)]
    sections = [_artefact(f"{prefix}artefact-{i}", tables[n], part.figures.get(n)) for i, n in enumerate(names, 1)]
    return [
        _about([tables[name] for name in names]),
        _contents([tables[name].meta["title"] for name in names], prefix),
        _verdict_section(part.verdict_table, prefix),
        *sections,
        *missing,
        _provenance(part.provenance, no_timing, prefix),
    ]


def _missing(missing: Mapping[str, str]) -> str:
    """A line for each artefact that is not shown; those without runs share one."""
    without = [name for name, reason in missing.items() if reason == NO_RUNS]
    lines = [f"{_title(name)}: {reason}" for name, reason in missing.items() if reason != NO_RUNS]
    lines += [f"No finished runs of: {', '.join(without)}."] if without else []
    return f"<section>\n<h2>Not shown</h2>\n{_notes(lines)}\n</section>"


def _title(name: str) -> str:
    return ARTEFACTS[name].title if name in ARTEFACTS else name


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
    return Part(title, tables, verdicts(tables), svgs, provenance_summary(records), {**(missing or {}), **undrawn})


def provenance_summary(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """How runs were made, one entry per command, commit, versions and hardware, the first started first.

    Returns:
        Dicts of `command`, `commit`, `versions`, `hardware`, `started` (first and last, UTC), `runs` (how many),
        `methods` and `seeds`; a fact that no record of the group states is `unknown`.
    """
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(_made(record.provenance), []).append(record)
    return sorted((_group(key, group) for key, group in groups.items()), key=lambda group: str(list(group.values())))


def _made(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Command, commit, versions and hardware of one run, in words."""
    command = shlex.join(["senas-bench", *facts["command"]]) if facts.get("command") else "unknown"
    commit = f"{facts.get('commit') or 'unknown'}{' with local changes' if facts.get('dirty') else ''}"
    packages = [f"{name} {facts[name]}" for name in ("senas_bench", "python", "torch", "numpy") if facts.get(name)]
    cores = f"{facts['cores']} cores" if facts.get("cores") else None
    device = f"device {facts['device']}" if facts.get("device") else None
    hardware = [str(part) for part in (facts.get("cpu"), cores, device, facts.get("platform")) if part]
    return command, commit, ", ".join(packages) or "unknown", ", ".join(hardware) or "unknown"


def _group(made: tuple[str, ...], records: Sequence[RunRecord]) -> dict[str, Any]:
    started = sorted(str(record.provenance["started"]) for record in records if record.provenance.get("started"))
    value: dict[str, Any] = {"started": " to ".join(dict.fromkeys(started[:1] + started[-1:])) or "unknown"}
    value |= dict(zip(("command", "commit", "versions", "hardware"), made, strict=True)) | {"runs": len(records)}
    methods = sorted({record.spec.method for record in records})
    return value | {"methods": methods, "seeds": sorted({record.spec.seed for record in records})}


def _about(tables: Sequence[Table]) -> str:
    """What was run, on what, against which truth, how often; and that a proxy is one."""
    rows = []
    for table in tables:
        meta = table.meta
        has_truth, seeds = "ground_truth" in meta, meta["seeds"]
        truth = f"{meta['ground_truth']} ({meta['ground_truth_sha256'][:12]})" if has_truth else "none: trained here"
        rows.append([meta["title"], meta["preset"], meta["images"], truth, str(len(seeds)), listed(seeds)])
    frame = pd.DataFrame(rows, columns=["artefact", "preset", "images", "ground truth", "n", "seeds"])
    proxies = [name for name in dict.fromkeys(table.meta["preset"] for table in tables) if name != "paper"]
    intro = (
        "Runs of senas-bench next to the claims of Hu et al., <cite>Improving One-Shot NAS with "
        "Shrinking-and-Expanding Supernet</cite>, Pattern Recognition 118, 2021. Numbers were measured here, save in "
        "blocks marked as the paper's. n counts seeds; the ground truth is followed by the start of its sha256."
    )
    parts = [f"<p>{intro}</p>"]
    if proxies:
        parts.append(
            f'<p class="proxy"><strong>A proxy.</strong> Preset {escape(", ".join(proxies))} trains smaller networks '
            "than the paper, or on other images, while the truth is of full networks. Verdicts are about this preset. "
            "Compare rows with each other, not with the paper's numbers.</p>"
        )
    return "\n".join([*parts, _rows(frame, "what was run", words=True)])


def _contents(titles: Sequence[str], prefix: str) -> str:
    artefacts = [(f"{prefix}artefact-{index}", title) for index, title in enumerate(titles, 1)]
    return _links([(f"{prefix}verdicts", "Verdicts"), *artefacts, (f"{prefix}made", "How it was made")], "Contents")


def _links(links: Sequence[tuple[str, str]], label: str) -> str:
    items = [f'<li><a href="#{anchor}">{escape(title)}</a></li>' for anchor, title in links]
    return f'<nav aria-label="{label}"><ul>{"".join(items)}</ul></nav>'


def _verdict_section(table: Table, prefix: str) -> str:
    """Counts, then claim by claim the verdict, as a word in colour, and the numbers behind it."""
    found = table.frame["verdict"].tolist()
    counts = [f"{_badge(word)} {found.count(word)}" for word in WORDS]
    lines, last = [], None
    for row in table.frame.to_dict("records"):
        if (claim := (row["claim"], row["where"])) != last:
            where = f"<span>{escape(claim[1])}</span>"
            lines.append(f'<tr class="claim"><th colspan="4" scope="colgroup">{escape(claim[0])} {where}</th></tr>')
            last = claim
        cells = [_cell("verdict", _badge(row["verdict"])), _cell("reading", escape(row["reading"]))]
        cells += [_cell("numbers", escape(row["numbers"])), _cell("at preset", escape(row["preset"]))]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("verdict", "reading", "numbers", "at preset"))
    rows = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>"
    return "\n".join(
        [
            f'<section id="{prefix}verdicts">',
            f"<h2>{escape(table.meta['title'])}</h2>",
            f"<p>{' &nbsp; '.join(counts)}</p>",
            f'<table class="words">{rows}</table>',
            _notes(table.notes),
            "</section>",
        ]
    )


def _cell(name: str, content: str) -> str:
    """A cell that knows its column, for screens too narrow to show the head."""
    return f'<td data-name="{escape(name)}">{content}</td>'


def _badge(word: str) -> str:
    index = WORDS.index(word) if word in WORDS else len(WORDS) - 1
    return f'<span class="verdict v{index}">{escape(word)}</span>'


def _artefact(anchor: str, table: Table, figure: str | None) -> str:
    title = table.meta["title"]
    parts = [f'<section id="{anchor}">', f"<h2>{escape(title)}</h2>"]
    if figure is not None:
        scope = anchor.replace("artefact", "figure")
        parts.append(f'<figure id="{scope}">{inline_svg(figure, scope, title, table.name)}</figure>')
    parts.append(_rows(table.frame, title))
    if not table.paper_frame.empty:
        parts.append(f'<div class="paper">\n<h3>{escape(PAPER)}</h3>\n{_rows(table.paper_frame, PAPER)}\n</div>')
    return "\n".join([*parts, _notes(table.notes), "</section>"])


def _rows(frame: pd.DataFrame, label: str, *, words: bool = False) -> str:
    """A frame of strings as a table that scrolls sideways where it is too wide; `words` wraps its cells instead."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in frame.columns)
    lines = []
    for first, *rest in frame.to_numpy().tolist():
        cells = "".join(_cell(name, escape(cell)) for name, cell in zip(frame.columns[1:], rest, strict=True))
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    kind = ' class="words"' if words else ""
    rows = f"<table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table>"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{rows}</div>'


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _provenance(groups: Sequence[Mapping[str, Any]], no_timing: bool, prefix: str) -> str:
    """The end of the page: how many runs of what, and unless `no_timing` how they were made."""
    runs = sum(group["runs"] for group in groups)
    methods = sorted({method for group in groups for method in group["methods"]})
    seeds = listed({seed for group in groups for seed in group["seeds"]})
    summary = f"{runs} runs: methods {', '.join(methods)}; seeds {seeds}." if runs else "No runs were given."
    parts = [f'<section id="{prefix}made">', "<h2>How it was made</h2>", f"<p>{escape(summary)}</p>"]
    if no_timing:
        parts.append(
            "<p>Commands, commits, versions, hardware and dates are left out, so that this page does not depend on "
            "machine or time (--no-timing). Each run states them in its file.</p>"
        )
    else:
        parts += [_made_list(group) for group in groups]
    return "\n".join([*parts, "</section>"])


def _made_list(group: Mapping[str, Any]) -> str:
    facts = {"command": f"<code>{escape(group['command'])}</code>", "commit": f"<code>{escape(group['commit'])}</code>"}
    facts |= {name: escape(str(group[name])) for name in ("versions", "hardware", "started", "runs")}
    facts |= {"methods": escape(", ".join(group["methods"])), "seeds": escape(listed(group["seeds"]))}
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in facts.items())}</dl>"
