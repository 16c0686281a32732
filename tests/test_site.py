"""The site of the documents: built strictly, and whole without a network."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """As `make docs` builds it, warnings as errors."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; the extra dev has it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_pages_ask_nothing_of_the_network(site):
    """Scripts, styles, pictures and frames of a page come with it."""
    tags = r"<(?:script|link|img|iframe|source|object|embed)\b"
    tag = re.compile(tags + r"[^>]*?\b(?:src|href|data)=[\"']?((?:https?:)?//[^\"'\s>]+)")
    asked = {(page.name, url) for page in site.rglob("*.html") for url in tag.findall(page.read_text(encoding="utf-8"))}
    asked |= {
        (style.name, url)
        for style in site.rglob("*.css")
        for url in re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", style.read_text(encoding="utf-8"))
    }
    assert not asked


def test_links_and_pictures_of_the_site_are_there(site):
    """Also those out of docs/, which the hook writes anew."""
    missing = []
    for page in site.rglob("*.html"):
        if page.name in ("404.html", "report.html"):
            continue
        for target in re.findall(r"\b(?:src|href)=[\"']([^\"'#?]+)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).resolve().exists():
                missing.append((page.relative_to(site).as_posix(), target))
    assert not missing


def test_the_api_has_both_folders_and_the_face(site):
    text = (site / "api/index.html").read_text(encoding="utf-8")
    for name in ("api.studies.reproduce", "analysis.artefacts.make", "api.rankings.rank", "groundtruth.Query"):
        assert f'id="senas_bench.{name}"' in text or f'id="senas_bench.{name}' in text, name
    import senas_bench as sb

    functions = [name for name in sb.__all__ if not name.isupper()]
    assert not [name for name in functions if not re.search(rf'id="senas_bench\.[\w.]*\.{name}"', text)]
