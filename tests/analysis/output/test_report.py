import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from senas_bench.analysis.output import figures
from senas_bench.analysis.output.formats import Table
from senas_bench.analysis.output.made import provenance_summary
from senas_bench.analysis.output.report import report_html
from senas_bench.analysis.paper.judges import WORDS
from senas_bench.experiments.spec import RunRecord, RunSpec

HOSTILE = "<script>alert('x')</script>\"&"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Tags, ids, references and text of a page; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.references, self.text = [], Counter(), [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        for key, value in attrs:
            assert not key.startswith("on"), (key, value)
            if key == "id":
                self.ids.append(value)
            if key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                self.references.append(value)
            self.references += [f"#{name}" for name in re.findall(r"url\(#([^)]*)\)", value or "")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def artefact(name, notes=("a note & more",), method="spos", **rest):
    meta = {"title": f"The {name}", "preset": "cpu", "images": "toy", "seeds": [0, 3], "rows": []}
    meta |= {"ground_truth": "truth", "ground_truth_sha256": "ab" * 32}
    frame = pd.DataFrame({"method": [method, "se-nas"], "tau": ["0.100", "0.200 ± 0.010"]})
    return Table(name, frame, {"Notes": notes}, meta, **rest)


@pytest.fixture
def verdict_table():
    """Two claims: of the first a reading holds and one does not; of the second all rows are of ours."""
    rows = []
    for i, word in enumerate(WORDS):
        claim = min(i // 2, 1)
        row = {"id": f"c{claim}", "claim": f"claim {claim}", "reading": f"reading {i}", "where": "Fig. 8"}
        row |= {"verdict": word, "numbers": f"p < {i}", "preset": "cpu", "ours": i > 1, "subject": "se-nas+"}
        rows.append(row | {"per_seed": [{"seed": seed, "first": 1.0, "second": 2.0} for seed in range(3)]})
    return Table(
        "verdicts", pd.DataFrame(), {"Notes": ["how they are decided"]}, {"title": "Does the claim hold?", "rows": rows}
    )


def record(seed, method="spos", **facts):
    spec = RunSpec(method, seed, "cpu", "nasbench201", "toy", "d1")
    return RunRecord(spec, "pick", (), {}, None, {}, facts)


COMMAND = ["reproduce", "fig8", "--seeds", "0-1"]
MADE = {"command": COMMAND, "commit": "c0ffee", "python": "3.11", "cpu": "EPYC", "cores": 2}


@pytest.fixture
def page(verdict_table, svg):
    paper_rows = {"paper": pd.DataFrame({"m": [1]}), "paper_frame": pd.DataFrame({"method": ["Ours (paper)"]})}
    tables = {name: artefact(name) for name in ("zz", "fig8")}
    tables["table3"] = artefact("table3", method=HOSTILE, **paper_rows)
    drawn = dict.fromkeys(("fig8", "table3", "absent"), svg())
    groups = provenance_summary([record(0, **MADE), record(1, HOSTILE, **MADE)])
    return lambda **options: report_html(tables, verdict_table, drawn, groups, **options)


def test_the_page_parses_stands_alone_and_every_reference_resolves(page):
    text = page()
    parsed = Page(text)
    assert not parsed.tags.keys() & {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
    assert parsed.references and all(value[1:] in parsed.ids for value in parsed.references)
    assert all(value[0] == "#" for value in parsed.references)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.tags["svg"] == 2 and "metadata" not in parsed.tags
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "http" not in text.replace("http-equiv", "")


def test_everything_is_on_the_page_in_order(page):
    text = Page(page()).text.partition("How it was made")[2]  # the contents name all of it
    shown = ["a proxy of the paper's:", "Does the claim", "The fig8", "Its figure", "The zz", "How it"]
    places = [text.index(title) for title in shown]
    assert places == sorted(places)
    for i, word in enumerate(WORDS):
        assert f"{word}reading {i}p < {i}" in text
    for part in ("claim 0 Fig. 8", "claim 1 Fig. 8", "how they are decided", "0.200 ± 0.010", "truth (abababababab)"):
        assert part in text
    assert text.count("a note & more") == 3
    assert text.index("The paper's own numbers") < text.index("Ours (paper)")


def test_verdicts_are_folded_by_claim_and_counted(page):
    text = page()
    assert "Of 2 readings of 1 claims of the paper 1 hold, 1 fail." in text
    assert "0 hold, 0 fail, 1 cannot be told from 3 seeds, 1 are fixed by the preset, 1 lack runs." in text
    folded = re.findall(r'<details class="claim" id="(claim-[^"]*)"><summary>(.*?)</summary>', text, re.DOTALL)
    assert [name for name, _ in folded] == ["claim-c0", "claim-c1"]
    counts = [re.findall(r'class="badge ([a-z]*)">([^<]*)<', summary) for _, summary in folded]
    assert counts[0] == [("holds", "holds 1"), ("fails", "does not hold 1")]
    assert counts[1] == [("open", "undecided 1"), ("none", "fixed by the preset 1"), ("none", "no runs 1")]
    assert "ours:" not in folded[0][1] and "ours:" in folded[1][1]


def test_claims_without_runs_stand_in_one_fold(verdict_table):
    bare = [
        row | {"id": f"c{i}", "claim": f"claim {i}"} for i, row in enumerate(verdict_table.meta["rows"][-1:] * 2, 8)
    ]
    table = replace(verdict_table, meta={**verdict_table.meta, "rows": [*verdict_table.meta["rows"], *bare]})
    text = report_html({"fig8": artefact("fig8")}, table, {}, [])
    assert re.findall(r'<details class="claim" id="(claim-[^"]*)">', text) == ["claim-c0", "claim-c1"]
    fold = text.partition("<summary>2 claims lack runs</summary>")[2].partition("</details>")[0]
    assert re.findall(r'<li id="(.*?)">(claim \d) ', fold) == [("claim-c8", "claim 8"), ("claim-c9", "claim 9")]


def test_the_figure_of_table_3_stands_with_the_answer_and_is_drawn_once(page):
    text = page()
    answer, rest = text.split('<section id="verdicts">')
    assert answer.count("<svg") == 1 and 'id="figure-table3"' in answer and '<a href="#table3">its numb' in answer
    assert rest.count("<svg") == 1 and 'id="figure-fig8"' in rest and '<a href="#figure-table3">figure</a>' in rest
    links = re.findall(r'<li><a href="#([^"]*)"', text[: text.index("<section")])
    assert links == ["answer", "verdicts", "fig8", "table3", "zz", "made"]


def test_a_hostile_name_is_text(page):
    text = page()
    assert "<script" not in text and Page(text).text.count(HOSTILE) == 3  # a row, the methods, the runs of a command


def test_a_preset_of_the_paper_is_no_proxy(verdict_table):
    table = artefact("fig8")
    table = Table("fig8", table.frame, {}, {**table.meta, "preset": "paper"})
    assert "a proxy" not in Page(report_html({"fig8": table}, verdict_table, {}, [])).text


def test_equal_input_gives_equal_text(page, verdict_table):
    assert page() == page()
    one, other = artefact("fig7"), artefact("fig8")
    both = [report_html(tables, verdict_table, {}, []) for tables in ({"a": one, "b": other}, {"b": other, "a": one})]
    assert both[0] == both[1]


def test_without_timing_nothing_depends_on_machine_or_time(verdict_table):
    table, pages = {"fig8": artefact("fig8")}, []
    for machine in (MADE | {"started": "2026-01-01"}, {"command": ["x"], "commit": "beef", "cores": 9}):
        groups = provenance_summary([record(seed, **machine) for seed in range(3)])
        pages.append([report_html(table, verdict_table, {}, groups, no_timing=flag) for flag in (True, False)])
    assert pages[0][0] == pages[1][0] and pages[0][1] != pages[1][1]
    text = Page(pages[0][0]).text
    assert "3 runs: methods spos; seeds 0, 1, 2." in text and "left out" in text and "c0ffee" not in text
    assert "c0ffee" in pages[0][1] and "senas-bench reproduce fig8 --seeds 0-1" in pages[0][1]


def test_nothing_to_report(verdict_table):
    with pytest.raises(ValueError, match="run `senas-bench reproduce all` first"):
        report_html({}, verdict_table, {}, [])


def test_a_figure_of_matplotlib(tmp_path, verdict_table):
    with figures.house_style():
        figure, (ax, _) = figures.grid(1, 2)
        ax.plot([0, 1], [0, 1], marker="o", label="a")
        ax.legend()
    _, svg = figures.save(figure, tmp_path, "fig8")
    both = {name: artefact(name) for name in ("fig7", "fig8")}
    text = report_html(both, verdict_table, dict.fromkeys(both, svg.read_text()), [])
    parsed = Page(text)
    assert parsed.tags["svg"] == 2 and len(parsed.ids) == len(set(parsed.ids)) > 20
    assert all(value[1:] in parsed.ids for value in parsed.references)


def test_provenance_is_grouped():
    later = MADE | {"commit": "beef", "dirty": True}
    records = [record(seed, started=f"2026-01-0{9 - seed}", **MADE) for seed in range(3)]
    records += [record(7, "params", started="2026-02-01", **later), record(8, "flops")]
    first, second, third = provenance_summary(records)
    assert first == {
        "started": "2026-01-07 to 2026-01-09",
        "command": "senas-bench reproduce fig8 --seeds 0-1",
        "commit": "c0ffee",
        "versions": "python 3.11",
        "hardware": "EPYC, 2 cores",
        "runs": 3,
        "methods": ["spos"],
        "seeds": [0, 1, 2],
    }
    assert (second["commit"], second["started"], second["runs"]) == ("beef with local changes", "2026-02-01", 1)
    assert {third[name] for name in ("command", "commit", "versions", "hardware", "started")} == {"unknown"}
    assert provenance_summary(records[::-1]) == [first, second, third]
