"""The site of the documents: built strictly, and whole without a network."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import senas_bench as sb

ROOT = Path(__file__).parents[1]
TAG = re.compile(
    r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*?\b(?:src|href|data)=[\"']?((?:https?:)?//[^\"'\s>]+)"
)
STYLE = re.compile(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)")


def asked_of_the_network(site: Path) -> set[tuple[str, str]]:
    """Scripts, styles, pictures and frames that pages load from elsewhere, with the page."""
    found = {(page.name, url) for page in site.rglob("*.html") for url in TAG.findall(page.read_text(encoding="utf-8"))}
    return found | {(css.name, url) for css in site.rglob("*.css") for url in STYLE.findall(css.read_text("utf-8"))}


def dead_links(site: Path) -> list[tuple[str, str]]:
    """Links and pictures that lead to no file of the site, with the page."""
    missing = []
    for page in site.rglob("*.html"):
        if page.name in ("404.html", "report.html"):
            continue
        for target in re.findall(r"\b(?:src|href)=[\"']([^\"'#?]+)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).resolve().exists():
                missing.append((page.relative_to(site).as_posix(), target))
    return missing


@pytest.mark.slow
def test_the_site_is_built_strictly_and_is_whole(tmp_path):
    """As `make docs` builds it, warnings as errors; in one test, since a build copies the code to `build/api`."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; the extra dev has it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert not asked_of_the_network(tmp_path)
    assert not dead_links(tmp_path)
    text = (tmp_path / "api/index.html").read_text(encoding="utf-8")
    functions = [name for name in sb.__all__ if not name.isupper()]
    assert not [name for name in functions if not re.search(rf'id="senas_bench\.[\w.]*\.{name}"', text)]


def test_what_the_checks_find(tmp_path):
    (tmp_path / "there.html").write_text("")
    text = '<script src="https://elsewhere/a.js"></script><a href="https://elsewhere">x</a>'
    (tmp_path / "page.html").write_text(text + '<a href="there.html#x">y</a><img alt="" src="gone.png">')
    (tmp_path / "style.css").write_text("@import url(//elsewhere/b.css); a { background: url(data:,x) }")
    assert asked_of_the_network(tmp_path) == {
        ("page.html", "https://elsewhere/a.js"),
        ("style.css", "//elsewhere/b.css"),
    }
    assert dead_links(tmp_path) == [("page.html", "gone.png")]
