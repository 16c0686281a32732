"""How good operators are by the truth, and what chance keeps of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from senas_bench.analysis.join import (
    accuracy_queries,
    primary_column,
)
from senas_bench.spaces.nasbench201 import NB201, arch_to_str

if TYPE_CHECKING:
    from senas_bench.groundtruth import GroundTruth

TOPS = (10, 21)
"""The top operators whose recall the paper speaks of (section 4.2)."""
DRAWS = 10_000


@dataclass(frozen=True)
class OperatorTruth:
    """What the truth says of the operators, and of the archs made of them.

    Args:
        pairs: `(edge, operator)`, best first: `pairs[0]` has rank 1.
        scores: `(operators,)` mean accuracy of all archs that contain the operator, percent, in that order.
        archs: `(archs, edges)` all archs, best first, as positions in `pairs`.
        accuracy: `(archs,)` percent, in that order.
    """

    pairs: tuple[tuple[int, int], ...]
    scores: np.ndarray
    archs: np.ndarray
    accuracy: np.ndarray

    @functools.cached_property
    def _members(self) -> np.ndarray:
        """`(archs,)` the operators of each arch as the bits of an integer."""
        return (1 << self.archs.astype(np.int64)).sum(axis=1)

    def best_left(self, alive: np.ndarray) -> np.ndarray:
        """Best accuracy of an arch made of alive operators only.

        Args:
            alive: `(spaces, operators)` bool, in the order of `pairs`.

        Returns:
            `(spaces,)` percent.
        """
        spaces = alive @ (1 << np.arange(len(self.pairs)))
        return self.accuracy[[np.argmax(self._members & space == self._members) for space in spaces]]

    def named(self) -> list[dict[str, Any]]:
        """`operator`, such as `0->3 nor_conv_3x3`, and `score`, in rank order."""
        names = [f"{NB201.edges[edge]} {NB201.operators[op]}" for edge, op in self.pairs]
        return [{"operator": name, "score": score} for name, score in zip(names, self.scores.tolist(), strict=True)]


def operator_truth(truth: GroundTruth, column: str | None = None) -> OperatorTruth:
    """Rank the operators of the space by the mean accuracy of all archs that contain them (paper section 4.2).

    Of equal operators the one on the earlier edge comes first.

    Args:
        column: Of `accuracy_queries`; by default the one for runs on cifar10.

    Raises:
        ValueError: The truth has no mean 200-epoch accuracy, or not that of every arch.
    """
    archs, pairs, accuracy = NB201.archs(), NB201.alive(), _whole_space(truth, column)
    means = np.array([accuracy[archs[:, edge] == op].mean() for edge, op in pairs])
    ranked, best_first = np.argsort(-means, kind="stable"), np.argsort(-accuracy, kind="stable")
    position = np.argsort(ranked).reshape(len(NB201.edges), -1)
    return OperatorTruth(
        pairs=tuple(pairs[index] for index in ranked),
        scores=means[ranked],
        archs=position[np.arange(len(NB201.edges)), archs[best_first]],
        accuracy=accuracy[best_first],
    )


def _whole_space(truth: GroundTruth, column: str | None) -> np.ndarray:
    """`(archs,)` accuracy of the space in lexicographic order, percent."""
    queries = accuracy_queries(truth)
    query, count = queries[column or primary_column(queries, "cifar10")], len(truth.arch_strs)
    need = f"an operator's score is a mean over all {NB201.size:,} archs of the space; give a table of all"
    if count != NB201.size:
        raise ValueError(f"ground truth {truth.name} holds {count:,} archs; {need}")
    try:
        return np.asarray(truth.accuracy(query, list(map(arch_to_str, NB201))))
    except ValueError:
        raise ValueError(f"ground truth {truth.name} lacks {query} of some archs; {need}") from None


def random_survivors(edges: np.ndarray, alive: int, rng: np.random.Generator, draws: int) -> np.ndarray:
    """`(draws, operators)` bool: what is left when random scores decide which operators go, by the rule of `shrink`.

    The lowest go first and no edge loses its last operator. New scores at each shrink make no difference: the next
    operator to go is always uniform among those that may.

    Args:
        edges: `(operators,)` the edge of each operator.
        alive: Operators left, at least one per edge.
    """
    order = rng.permuted(np.tile(np.arange(len(edges)), (draws, 1)), axis=1)
    left, on_edge = np.ones(order.shape, bool), np.tile(np.bincount(edges), (draws, 1))
    rows = np.arange(draws)
    for operator in order.T:
        edge = edges[operator]
        goes = (on_edge[rows, edge] > 1) & (left.sum(axis=1) > alive)
        left[rows[goes], operator[goes]] = False
        on_edge[rows[goes], edge[goes]] -= 1
    return left


def random_reference(operators: OperatorTruth, alive: int) -> dict[str, Any]:
    """What a run that drops at random leaves when `alive` operators are left.

    As all edges have equally many operators, each survives equally often: the expected recall is exactly
    alive / operators and the expected rank the mean rank. The best arch left is a mean over `DRAWS` draws, of which
    95% lie between `<key>_low` and `<key>_high`. `<recall>_possible` is the most that any criterion reaches that
    keeps an operator on each edge.
    """
    edges = np.array([edge for edge, _ in operators.pairs])
    left = random_survivors(edges, alive, np.random.default_rng(0), DRAWS)
    ranks = np.arange(1, len(edges) + 1)
    drawn = {f"recall_{top}": left[:, :top].mean(axis=1) for top in TOPS}
    drawn["survivor_rank"] = left @ ranks / left.sum(axis=1)
    drawn["space_best"] = operators.best_left(left)
    drawn["space_regret"] = operators.accuracy[0] - drawn["space_best"]
    value = {"alive": alive, "draws": DRAWS, "holds_best": float((drawn["space_regret"] == 0).mean())}
    for key, values in drawn.items():
        value[key] = float(values.mean())
        value[f"{key}_low"], value[f"{key}_high"] = np.quantile(values, [0.025, 0.975]).tolist()
    for top in TOPS:
        others = len(set(edges)) - len(set(edges[:top]))
        value[f"recall_{top}"] = alive / len(edges)
        value[f"recall_{top}_possible"] = min(top, alive - others) / top
    return value | {"survivor_rank": float(ranks.mean())}


def survivors(candidates: Sequence[Sequence[int]], operators: OperatorTruth) -> dict[str, Any]:
    """The truth about the operators that a run has left.

    Args:
        candidates: Per edge the operators alive.

    Returns:
        `alive`, their ranks from 1; `recall_<top>`, the fraction of the top operators among them; `survivor_rank`, the
        mean of the ranks; `space_best`, the best accuracy of an arch made of them, percent; `space_regret`, what it
        lacks to the best of all, in points; `holds_best`, whether that is nothing.
    """
    pairs = {(edge, op) for edge, alive in enumerate(candidates) for op in alive}
    alive = np.array([pair in pairs for pair in operators.pairs])
    ranks, best = np.flatnonzero(alive) + 1, float(operators.best_left(alive[None])[0])
    regret = float(operators.accuracy[0]) - best
    return {
        "alive": ranks.tolist(),
        **{f"recall_{top}": float(alive[:top].mean()) for top in TOPS},
        "survivor_rank": float(ranks.mean()),
        "space_best": best,
        "space_regret": regret,
        "holds_best": regret == 0,
    }


@functools.cache
def rate_interval(count: int, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of the rate `count / n` (JASA 1927), which few seeds leave wide."""
    interval = scipy.stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
