"""Latency of archs from a look-up table: measured per operator, added up over the edges. No torch here.

A table is measured by `senas_bench.latency.measure`; the idea is that of ProxylessNAS (Cai, Zhu and Han, ICLR 2019).
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senas_bench.errors import DataError
from senas_bench.files import atomic_write
from senas_bench.spaces import SPACES, space_named
from senas_bench.spaces.space import SearchSpace

FORMAT = 1

AnySkeleton = Any
"""A skeleton of the space at hand."""


def check_skeleton(space: str, skeleton: AnySkeleton) -> None:
    """Raise ValueError where the space is unknown or has skeletons of another type."""
    wanted = space_named(space).skeleton_type
    if not isinstance(skeleton, wanted):
        raise ValueError(f"space {space} needs a {wanted.__name__}, not a {type(skeleton).__name__}")


def space_over(space: str, skeleton: AnySkeleton) -> SearchSpace:
    """The whole space, with the edges that this skeleton has.

    Raises:
        ValueError: Unknown space, or its skeletons are of another type.
    """
    check_skeleton(space, skeleton)
    own = SPACES[space]
    return own.over(skeleton) if own.over else own.whole


@dataclass(frozen=True)
class Setting:
    """On what, and how, latency was measured.

    Args:
        device: Name of the processor or GPU.
        torch: Version.
        threads: Of a CPU; a GPU's latency hardly depends on them.
        batch: Images at a time; the paper's latencies are a GPU's.
        clock: `wall`, `cpu` (time that the calling thread computed, whatever else ran) or `cuda` (events on the GPU).
        repeats: Measurements of each kind of operator, at least.
        quantile: Of an operator's measurements, taken as its latency: 0.5 is the median; on a busy machine a lower one
            is nearer to what the operator takes when nothing disturbs it.
    """

    device: str
    torch: str
    threads: int
    batch: int
    clock: str
    repeats: int
    quantile: float

    def __post_init__(self) -> None:
        texts = (self.device, self.torch, self.clock)
        numbers = (self.threads, self.batch, self.repeats)
        if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
            raise ValueError(f"a setting of names and whole numbers is needed, not {self}")
        if min(numbers) < 1:
            raise ValueError(f"threads, batch and repeats must be at least 1: {self}")
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"quantile {self.quantile} must lie between 0 (the minimum) and 1")

    @property
    def machine(self) -> dict[str, Any]:
        """What must be equal for latencies to be comparable; repeats and quantile are how well they are known."""
        return {name: getattr(self, name) for name in ("device", "torch", "threads", "batch", "clock")}


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Latency of any arch as a sum: `base + sum over edges of per_edge[edge, operator]`, in milliseconds per batch.

    `Limit(table.per_edge, table.base, low, high, "latency")` is a limit on it.

    Args:
        space: A key of `SPACES`; the table serves its shrunk spaces too.
        skeleton: Of the networks.
        setting: How it was measured.
        per_edge: `(edges, operators)`. 0 for an operator that computes nothing, NaN for one that its edge cannot have.
            Where cells repeat, an entry is the sum over all of them.
        base: Of all that every arch has.
        per_edge_spread, base_spread: Interquartile ranges of the measurements, added up as the entries are: as if all
            parts were slow at the same time.

    Raises:
        ValueError: Unknown space, the skeleton is not of its type, or an entry is missing, negative or infinite.
    """

    space: str
    skeleton: AnySkeleton
    setting: Setting
    per_edge: np.ndarray
    base: float
    per_edge_spread: np.ndarray
    base_spread: float

    def __post_init__(self) -> None:
        space = self.whole_space
        shape = (len(space.edges), len(space.operators))
        for values in (self.per_edge, self.per_edge_spread):
            if values.shape != shape:
                raise ValueError(f"{values.shape} latencies, space {self.space} over this skeleton has {shape}")
            for edge, op in space.alive():
                if not 0 <= values[edge, op] < math.inf:
                    name = f"{space.operators[op]} on edge {space.edges[edge]}"
                    raise ValueError(f"{name} has latency {values[edge, op]}, not a number of milliseconds")
        if not 0 <= self.base < math.inf or not 0 <= self.base_spread < math.inf:
            raise ValueError(f"base has latency {self.base} +- {self.base_spread}, not a number of milliseconds")

    @property
    def whole_space(self) -> SearchSpace:
        """The space with all operators that the table knows."""
        return space_over(self.space, self.skeleton)

    def __call__(self, archs: np.ndarray) -> np.ndarray:
        """`(n, edges)` archs to `(n,)` milliseconds; NaN where an edge has an operator that it cannot have."""
        return self.base + self.per_edge[np.arange(archs.shape[1]), archs].sum(axis=1)

    def check(self, space: str, skeleton: AnySkeleton) -> None:
        """Raise ValueError where the table is of another space or skeleton; the message says what differs."""
        if space != self.space:
            raise ValueError(f"the latency table is of space {self.space}, not {space}; measure one for this space")
        check_skeleton(space, skeleton)
        if differences := _differences(asdict(self.skeleton), asdict(skeleton)):
            raise ValueError(f"the latency table is of another skeleton: {differences}; measure one for this skeleton")

    def check_machine(self, setting: Setting) -> None:
        """Raise ValueError where device, version of torch, threads, batch or clock are others than the table's."""
        if differences := _differences(self.setting.machine, setting.machine):
            raise ValueError(f"the latency table was measured otherwise: {differences}; measure one here")

    def save(self, path: Path) -> None:
        """Write the table as JSON, by names of edges and operators; whoever reads sees the old file or the new one.

        Raises:
            OSError: The folder is missing or unwritable.
        """
        space = self.whole_space
        entries: dict[str, dict[str, list[float]]] = {edge: {} for edge in space.edges}
        for edge, op in space.alive():
            pair = [float(self.per_edge[edge, op]), float(self.per_edge_spread[edge, op])]
            entries[space.edges[edge]][space.operators[op]] = pair
        content = {
            "format": FORMAT,
            "unit": "[latency, interquartile range], milliseconds per batch",
            "space": self.space,
            "skeleton": asdict(self.skeleton),
            "setting": asdict(self.setting),
            "base": [float(self.base), float(self.base_spread)],
            "per_edge": entries,
        }
        atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """Read what `save` wrote; whether it is the table that is wanted, `check` says.

        Raises:
            DataError: The file is missing, is no latency table, or is damaged.
        """
        try:
            return cls._from_json(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            raise DataError(f"no latency table at {path}; measure one first") from None
        except IsADirectoryError:
            raise DataError(
                f"{path} is a folder; name one of the .json files that `senas-bench latency` made"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # of JSON, or of what is in it
            why = f"{error} is missing" if isinstance(error, KeyError) else error
            raise DataError(f"{path} is no undamaged latency table: {why}; delete it and measure again") from None

    @classmethod
    def _from_json(cls, content: Any) -> LatencyTable:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"format {FORMAT} is needed")
        wanted = space_named(content["space"]).skeleton_type
        skeleton = wanted(**{name: _hashable(value) for name, value in content["skeleton"].items()})
        space = space_over(content["space"], skeleton)
        entries = np.full((2, len(space.edges), len(space.operators)), np.nan)
        for edge, op in space.alive():
            entries[:, edge, op] = _pair(content["per_edge"][space.edges[edge]][space.operators[op]])
        base, base_spread = _pair(content["base"])
        setting = Setting(**content["setting"])
        return cls(content["space"], skeleton, setting, entries[0], base, entries[1], base_spread)


@dataclass(frozen=True, eq=False)
class Validation:
    """What a table predicts, beside whole networks that were measured.

    Args:
        predicted, measured: `(archs,)` milliseconds per batch.
        spread: `(archs,)` interquartile range of the repeats of what is measured.
    """

    predicted: np.ndarray
    measured: np.ndarray
    spread: np.ndarray

    @property
    def spearman(self) -> float:
        """Rank correlation of predicted and measured; NaN where one of them is constant."""
        from scipy.stats import spearmanr  # a second of imports

        found: Any = spearmanr(self.predicted, self.measured)
        return float(found.statistic)

    @property
    def ratio(self) -> float:
        """Median of measured over predicted: what a limit in milliseconds of whole networks must be divided by."""
        return float(np.median(self.measured / self.predicted))

    @property
    def error(self) -> float:
        """Median relative deviation of measured from predicted that is left when `ratio` is taken out."""
        return float(np.median(np.abs(self.measured / (self.ratio * self.predicted) - 1)))


def sample_archs(space: str, skeleton: AnySkeleton, n: int, rng: np.random.Generator) -> np.ndarray:
    """`(n, edges)` int8 distinct archs, uniformly over the whole space; two inputs per node in the DARTS space.

    There may be fewer where n comes close to the size of the space: retries are bounded.

    Raises:
        ValueError: Unknown space, or its skeletons are of another type.
    """
    whole = space_over(space, skeleton)
    found: dict[tuple[int, ...], None] = {}
    for _ in range(100 * n):
        found[whole.sample(rng)] = None
        if len(found) == n:
            break
    return np.array(list(found), np.int8)


def table_path(folder: Path, space: str, skeleton: AnySkeleton, setting: Setting) -> Path:
    """Where a table is kept: named by its space and a hash of the skeleton and of `Setting.machine`."""
    content = json.dumps([FORMAT, space, asdict(skeleton), setting.machine], sort_keys=True)
    return folder / f"latency-{space}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"


def kept_tables(folder: Path, space: str, skeleton: AnySkeleton) -> list[LatencyTable]:
    """All tables of these networks that a folder keeps, of whatever machine, by their file names.

    Raises:
        DataError: One is damaged.
    """
    tables = [LatencyTable.load(path) for path in sorted(folder.glob(f"latency-{space}-*.json"))]
    return [table for table in tables if (table.space, table.skeleton) == (space, skeleton)]


def _differences(have: dict[str, Any], want: dict[str, Any]) -> str:
    return ", ".join(f"{name} {have[name]}, not {want[name]}" for name in have if have[name] != want[name])


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _pair(value: Any) -> tuple[float, float]:
    latency, spread = value
    return float(latency), float(spread)
