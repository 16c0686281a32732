"""How figures are laid out and written: readable at column width, equal figures in equal bytes."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import senas_bench
from senas_bench.files import atomic_write, cache_home
from senas_bench.plotting import COLUMN, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def grid(rows: int, columns: int, *, width: float = COLUMN, height: float = 2.4) -> tuple[Figure, list[Axes]]:
    """An empty figure, which needs no display, and its axes row by row.

    Args:
        width, height: Inches of each panel.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def panel_width(columns: int) -> float:
    """Inches of each of some panels side by side: one is as wide as a column of a paper."""
    return COLUMN if columns == 1 else COLUMN * 0.85


def to_bytes(figure: Figure, suffix: str) -> bytes:
    """The file of a figure, `png` or `svg`; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with house_style():
        figure = pickle.loads(pickle.dumps(figure))  # drawing lays out anew, and moves things a little each time
        metadata = {"Software": None} if suffix == "png" else {"Date": None, "Creator": None}
        figure.savefig(buffer, format=suffix, metadata=metadata)
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `figures/<name>.{png,svg}` under a results folder."""
    paths = _files(folder, name)
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        atomic_write(path, to_bytes(figure, path.suffix[1:]))
    return paths


def save_once(draw: Callable[[], Figure], source: str, folder: Path, name: str) -> list[Path]:
    """What `save` does with `draw()`, unless the files are those that it made of the same `source` before: drawing
    takes seconds, and they stay as they are.

    The hashes of what was drawn are kept in `figures` under `cache_home()`, by source, code and versions; where nothing
    can be kept there, it draws each time.

    Args:
        source: Text of all that `draw` shows, such as the table's json.
    """
    digest, paths = _hash(_code() + source.encode()), _files(folder, name)
    with contextlib.suppress(OSError, ValueError):  # no such file, a damaged one, or no home for it
        if json.loads(_memory(digest).read_bytes()) == [_hash(path.read_bytes()) for path in paths]:
            return paths
    save(draw(), folder, name)
    with contextlib.suppress(OSError):
        memory = _memory(digest)
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps([_hash(path.read_bytes()) for path in paths]))
    return paths


def _memory(digest: str) -> Path:
    return cache_home() / "figures" / f"{digest}.json"


def _files(folder: Path, name: str) -> list[Path]:
    return [Path(folder) / "figures" / f"{name}.{suffix}" for suffix in ("png", "svg")]


def _code() -> bytes:
    """What decides a picture beside its source: both packages' files and the versions of what draws."""
    roots = Path(__file__).parents[1], Path(senas_bench.__file__).parent
    files = (path for root in roots for path in sorted(root.rglob("*.py")))
    versions = [importlib.metadata.version(name).encode() for name in ("matplotlib", "numpy")]
    return b"\0".join([*versions, *(path.read_bytes() for path in files)])


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
