"""The documents of the project: what cites them, and where their links lead."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHOD_PAGE = "docs/method.md"
FOLDERS = ("senas_bench", "analysis", "tests", "benchmarks", "notebooks", "docs")
SUFFIXES = {".py", ".md", ".ipynb", ".toml", ".cfg", ".c"}
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CLUSTER.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
CITATION = re.compile(r"docs/method\.md[\s#]+(\d+(?:\.\d+)?)(?:\s+and\s+(\d+(?:\.\d+)?))?")
"""`docs/method.md 2.1`, or of two sections `docs/method.md 6 and 7`; also where a line of a comment ends in between."""


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of each file that people write, evidence in `results/` and this file left out."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")] + list(ROOT.iterdir())
    for path in sorted(found):
        if path.is_file() and (path.suffix in SUFFIXES or path.name == "Makefile") and path != Path(__file__):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def prose(document: str) -> str:
    """The text of a document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(document: str) -> set[str]:
    """What a link may name behind `#`: explicit anchors, and GitHub's of the headings."""
    text = prose(document)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    kept = {*string.ascii_lowercase, *string.digits, "-", "_", " "}
    named = {"".join(c for c in heading.lower() if c in kept).replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)"></a>', text))


def links(document: str) -> list[str]:
    """Targets within the project; brackets in code are no links."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(document)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def resolves(document: str, target: str) -> bool:
    """Whether a link of a document leads to something in the project, and to an anchor that is there."""
    file, _, anchor = target.partition("#")
    path = ((ROOT / document).parent / file).resolve() if file else (ROOT / document).resolve()
    if not path.exists() or not path.is_relative_to(ROOT.resolve()):
        return False
    return not anchor or anchor in anchors(path.relative_to(ROOT.resolve()).as_posix())


def sections() -> list[str]:
    return re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", prose(METHOD_PAGE), re.MULTILINE)


def test_the_method_page_has_the_sections_that_are_cited():
    assert sections() == ["1", "2", "2.1", "2.2", "2.3", "2.4", "3", "3.1", "4", "5", "6", "7", "8"]
    assert {f"method-{number.replace('.', '-')}" for number in sections()} <= anchors(METHOD_PAGE)


def test_citations_name_a_section():
    """In the code every mention of the page says which section; a section that is cited exists."""
    missing = []
    for name, text in texts():
        cited = CITATION.findall(text)
        missing += [(name, number) for pair in cited for number in pair if number and number not in sections()]
        if name.endswith(".py") and len(cited) != text.count(METHOD_PAGE):
            missing.append((name, "a citation without a section"))
    assert not missing


def test_nobody_cites_a_document_that_is_not_here():
    assert not [name for name, text in texts() if re.search(r"\bMETHOD\b", text)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    assert not [target for target in links(document) if not resolves(document, target)]


@pytest.mark.parametrize(
    "target", ["docs/method.md", "docs/method.md#method-2-1", "docs/method.md#21-operator-score", "docs"]
)
def test_a_link_that_is_right(target):
    assert resolves("README.md", target)


@pytest.mark.parametrize(
    "target", ["docs/methods.md", "docs/method.md#method-9", "#no-such-heading", "../elsewhere", "docs/README.md"]
)
def test_a_link_that_is_dead(target):
    assert not resolves("README.md", target)


def method_rows() -> list[tuple[list[str], str]]:
    """Of the table of methods and their references: the names of a row, and its text behind them."""
    table = (ROOT / METHOD_PAGE).read_text(encoding="utf-8").partition("| method | reference |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ", 1) for line in table.splitlines()[2:]]
    return [(re.findall(r"`([^`]+)`", names), rest) for names, rest in rows]


def words_of(name: str) -> str:
    """All docstrings of the pages of a method, its criterion and the ways to drop, on one line."""
    from senas_bench.methods import METHODS
    from senas_bench.strategies import nested

    method = METHODS[name]
    modules = {type(part).__module__ for part in (method, *nested(method))}
    modules |= {"senas_bench.shrinking.shrink", "senas_bench.training.fair"} if method.shrinks_by else set()
    modules |= {"senas_bench.methods.fairnas"} if "fairnas" in name else set()
    strings = []
    for module in modules:
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                strings.append(node.value.value)
    return " ".join(" ".join(strings).split())


def test_every_method_has_a_row_beside_its_reference():
    from senas_bench.methods import METHODS

    named = [name for names, _ in method_rows() for name in names]
    assert sorted(named) == sorted(METHODS)


@pytest.mark.parametrize("row", method_rows(), ids=lambda row: row[0][0])
def test_docstrings_say_what_the_table_of_methods_says(row):
    names, rest = row
    for phrase in re.findall(r"\*\*(.+?)\*\*", rest):
        assert phrase.lower() in words_of(names[0]).lower(), f"{names[0]}: no docstring says {phrase!r}"
