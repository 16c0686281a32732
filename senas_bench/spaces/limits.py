"""Limits on what an arch may cost. No torch here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from senas_bench.names import lookup
from senas_bench.spaces.cost import CostTable

COLUMNS = {"flops": 0, "params": 1}
"""The columns of a `CostTable`: multiply-adds (not millions of them) and parameters."""

FEW = 10_000
"""So many archs are listed to know which of them meet the limit, where costs are rounded."""
SHARE_DRAWS = (1 << 12, 1 << 17)
"""Draws that tell which share of more archs meets it; the second number where the first finds none."""

MAX_ROUNDS = 17
"""Rounds of draws before giving up. Round i draws at least `2**i` archs: more than 100,000 in all."""


UNITS = {"flops": (1e6, " million"), "params": (1e6, " million"), "latency": (1.0, " ms")}
"""How messages give a cost, which is how the options of a search take it: divided by a number, with a unit behind."""


@dataclass(frozen=True, eq=False)
class Limit:
    """A window for a cost that is a sum over edges: `low <= base + sum of per_edge[edge, arch[edge]] <= high`.

    Args:
        per_edge: `(edges, operators)`, such as a column of a `CostTable` or a latency look-up table; an operator that
            is not alive on an edge may have NaN there. Columns behind the space's operators are not read.
        base: What every arch costs besides.
        low, high: Inclusive, in the unit of the costs; -inf and inf leave a side open.
        name: Of the cost, for messages.
        in_training: Whether supernets train on archs within it alone (SPOS's code), or on uniform paths over all archs,
            so that it filters what is scored and searched (paper 4.3; AngleNAS's code). It is no part of `identity`.

    Raises:
        ValueError: `low` is above `high`, one of them is NaN, or `per_edge` is not a matrix.
    """

    per_edge: np.ndarray
    base: float
    low: float
    high: float
    name: str = "cost"
    in_training: bool = True

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"no {self.name} lies between {self.low:,} and {self.high:,}; give the lower number first")
        if np.ndim(self.per_edge) != 2:
            raise ValueError(f"per_edge must be (edges, operators), its shape is {np.shape(self.per_edge)}")

    @classmethod
    def of(cls, table: CostTable, column: str, high: float, low: float | None = None) -> Limit:
        """A limit on a column of a cost table.

        Args:
            column: `flops` (multiply-adds: 330e6 for 330M) or `params`.
            low: `0.9 * high` by default: under a limit, networks far below it are of little interest.

        Raises:
            ValueError: Unknown column, or an empty window.
        """
        index = lookup("column", column, COLUMNS)
        return cls(table.per_edge[..., index], table.base[index], 0.9 * high if low is None else low, high, column)

    def span(self, low: float, high: float) -> str:
        """Two costs for a message, such as `423 to 470 million`; see `UNITS`."""
        scale, unit = UNITS.get(self.name, (1.0, ""))
        return f"{_short(low / scale)} to {_short(high / scale)}{unit}"

    def identity(self) -> list[object]:
        """JSON values that two limits share only if they are the same window for the same costs."""
        costs = hashlib.sha256(np.ascontiguousarray(self.per_edge, float).tobytes()).hexdigest()
        return [costs, float(self.base), float(self.low), float(self.high)]

    def cost(self, archs: np.ndarray) -> np.ndarray:
        """`(n, edges)` archs to `(n,)` costs, in the unit of the table."""
        return self.base + self.per_edge[np.arange(archs.shape[1]), archs].sum(axis=1)

    def holds(self, archs: np.ndarray) -> np.ndarray:
        """`(n,)` bool: which rows of `archs` `(n, edges)` lie in the window, its ends included."""
        cost = self.cost(archs)
        return (self.low <= cost) & (cost <= self.high)


def _short(value: float) -> str:
    """A number with commas and up to six decimals, as few as it needs."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text if text not in ("0", "-0") else f"{value:g}"
