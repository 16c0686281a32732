"""How figures are laid out and written: readable at column width, equal figures in equal bytes."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import pickle
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import senas_bench
from senas_bench.files import atomic_write, cache_home
from senas_bench.plotting import COLUMN, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


def grid(
    rows: int,
    columns: int,
    *,
    width: float = COLUMN,
    height: float = 2.4,
    height_ratios: Sequence[float] | None = None,
    sharex: bool = False,
) -> tuple[Figure, list[Axes]]:
    """An empty figure, which needs no display, and its axes row by row.

    Args:
        width, height: Inches of each panel, of rows of unlike heights the mean.
        height_ratios: Of the rows; None where they are alike.
        sharex: All have one horizontal scale.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=height_ratios, sharex=sharex)
    return figure, list(axes.flat)


SAID = 6.5
"""Size of the letters of what stands below a figure, in points."""
FEWEST = 5
"""Values of which quartiles are drawn."""
TAU, PERCENT = (-1.0, 1.0), (0.0, 100.0)
"""What a correlation and an accuracy can be."""


def panel_width(columns: int) -> float:
    """Inches of each of some panels side by side: one is as wide as a column of a paper."""
    return COLUMN if columns == 1 else COLUMN * 0.85


def say_below(figure: Figure, words: str) -> None:
    """Write a sentence below all panels, in as many lines as it needs."""
    figure.supxlabel(textwrap.fill(words, int(17 * figure.get_size_inches()[0])), fontsize=SAID)


def bars(mean: ArrayLike, std: ArrayLike, limits: tuple[float, float]) -> np.ndarray:
    """How far bars of one standard deviation reach to each side of means, cut at what is possible.

    Args:
        mean, std: Of `n` points, or of one.
        limits: The least and the largest value there can be.

    Returns:
        `(2, n)`, as `errorbar` takes it: down, then up.
    """
    centre, reach = np.atleast_1d(np.asarray(mean, float)), np.atleast_1d(np.asarray(std, float))
    room = np.maximum([centre - limits[0], limits[1] - centre], 0.0)
    return np.minimum(reach, room)


def boxes(
    ax: Axes, places: ArrayLike, values: ArrayLike, tint: str, *, orient: str, size: float, **median: Any
) -> None:
    """Quartiles, range and the values themselves, for each place that has `FEWEST`; the median alone of fewer, and of a
    lone value the dot.

    Args:
        places, values: `(n,)` each; on the axis of categories, and on the other.
        orient: `v` or `h`, the direction of the boxes.
        size: Of the dots, in points.
        median: How the line of the median looks.
    """
    import seaborn
    from matplotlib import MatplotlibDeprecationWarning

    places, values = np.asarray(places), np.asarray(values, float)
    common: dict[str, Any] = {"orient": orient, "color": tint, "ax": ax, "native_scale": True, "linewidth": 1.0}
    counts = {place: int((places == place).sum()) for place in np.unique(places)}
    boxed = np.isin(places, [place for place, count in counts.items() if count >= FEWEST])
    with warnings.catch_warnings():
        # seaborn 0.13 says `vert`, which matplotlib drops in 3.13: setup.cfg keeps both where they agree
        warnings.simplefilter("ignore", MatplotlibDeprecationWarning)
        if boxed.any():
            seaborn.boxplot(
                **_axes(places[boxed], values[boxed], orient), **common, saturation=1, width=0.6, whis=(0, 100),
                linecolor=tint, boxprops={"alpha": 0.3}, medianprops=median,
            )  # fmt: skip
        for place in (place for place, count in counts.items() if 1 < count < FEWEST):
            middle = [np.median(values[places == place])] * 2
            ax.plot(
                *_axes(np.array([place - 0.3, place + 0.3]), np.array(middle), orient).values(),
                **{"color": tint, **median},
            )
        if len(values):
            dots: dict[str, Any] = {**common, "linewidth": 0}
            seaborn.stripplot(**_axes(places, values, orient), **dots, jitter=False, size=size, alpha=0.8, zorder=3)


def _axes(places: np.ndarray, values: np.ndarray, orient: str) -> dict[str, np.ndarray]:
    return {"x": places, "y": values} if orient == "v" else {"x": values, "y": places}


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
    versions = [importlib.metadata.version(name).encode() for name in ("matplotlib", "numpy", "seaborn")]
    return b"\0".join([*versions, *(path.read_bytes() for path in files)])


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
