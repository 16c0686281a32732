"""What MkDocs shows beside `docs/`: documents and pictures of the whole repository, at their paths, and links to them.

In the repository a link leads from file to file. On the site `docs/` is the root, so each link is written anew; what
the site does not have becomes words. The API is read from a copy in which `analysis/` stands where it is installed, as
`senas_bench.analysis`.
"""

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = (
    "*.md",
    "results/README.md",
    "results/*/README.md",
    "results/*/report.html",
    "results/*/figures/*.png",
    "benchmarks/peers.md",
    "benchmarks/*.png",
    "CITATION.cff",
    "LICENSE",
)
"""Of the repository, as patterns: what the site holds beside `docs/`."""
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def on_startup(command: str, dirty: bool) -> None:
    """Copy the code to where the API is read from, before anybody looks for the folder."""
    copy, unwanted = ROOT / "build/api", shutil.ignore_patterns("__pycache__")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "senas_bench", copy / "senas_bench", ignore=unwanted)
    shutil.copytree(ROOT / "analysis", copy / "senas_bench/analysis", ignore=unwanted)


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside of `docs/`."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def in_repository(page: str) -> str:
    """The path in the repository of a file of the site."""
    return f"docs/{page}" if (ROOT / "docs" / page).exists() else page


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Write the links of a page anew, code left alone."""
    here = page.file.src_uri

    def anew(found: re.Match[str]) -> str:
        file, hash_, anchor = found["target"].partition("#")
        if not file or re.match(r"[a-z]+:", file):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository(here)), file))
        uri = path.removeprefix("docs/")
        if files.get_file_from_path(uri):
            return f"{found['text']}({posixpath.relpath(uri, posixpath.dirname(here) or '.')}{hash_}{anchor})"
        words = found["text"][1:-1]
        return (f"`{path}`" if words == path else f"{words} (`{path}`)") if (ROOT / path).exists() else found[0]

    kept = [(code.start(), code.end()) for code in CODE.finditer(markdown)]
    parts, at = [], 0
    for start, end in [*kept, (len(markdown), len(markdown))]:
        parts += [LINK.sub(anew, markdown[at:start]), markdown[start:end]]
        at = end
    return "".join(parts)
