"""What can be chosen: architectures and the spaces they are drawn from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from senas_bench.spaces.paths import UniformPath

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from senas_bench.spaces.cost import CostTable

Arch = tuple[int, ...]
"""One operator index per edge."""
MOST_NUMBERED = 2**62
"""Archs of a space that can be told apart by a number of numpy's."""


Part = tuple[tuple[int, ...], np.ndarray]
"""Edges, and all ways `(ways, edges)` to choose their operators, whatever the other edges have."""


class ArchRule(Protocol):
    """What choices must obey to be an arch, where not all of them are one. A frozen value; takes the space, whole or
    shrunk, with each call. `spaces.darts.TwoInputs` is one."""

    @property
    def none(self) -> int:
        """The operator by which an edge is left out."""
        ...

    def valid(self, archs: np.ndarray) -> np.ndarray: ...

    def count(self, space: SearchSpace) -> int: ...

    def archs(self, space: SearchSpace) -> np.ndarray: ...

    def sample(self, space: SearchSpace, rng: np.random.Generator) -> Arch: ...

    def sample_distinct(self, space: SearchSpace, rng: np.random.Generator, n: int) -> np.ndarray: ...

    def balanced_sample(self, space: SearchSpace, per_operator: int, rng: np.random.Generator) -> np.ndarray: ...

    def repair(self, space: SearchSpace, arch: Arch, rng: np.random.Generator) -> Arch: ...

    def droppable(self, space: SearchSpace) -> list[tuple[int, int]]: ...

    def parts(self, space: SearchSpace) -> list[Part]: ...


@dataclass(frozen=True)
class SearchSpace:
    """The operators still alive on each edge, and the edges that are merged.

    Args:
        name: Key of the space in `senas_bench.spaces.SPACES`.
        operators: Names of all operators; an `Arch` and `candidates` hold indices into it.
        edges: Names of the decision positions, shallow to deep.
        candidates: Per edge, the operator indices alive, in ascending order.
        groups: A partition of the edge indices into runs of adjacent edges (paper section 3.4). A
            merged edge owns one copy of an operator's weights per partial model of its group. By
            default every edge is its own group: nothing is merged.
        rule: Which choices are archs; None where all are.

    Raises:
        ValueError: An edge has no candidate, or `groups` is not an ordered partition of the edges.
    """

    name: str
    operators: tuple[str, ...]
    edges: tuple[str, ...]
    candidates: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...] = ()
    rule: ArchRule | None = None

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", tuple((edge,) for edge in range(len(self.edges))))
        if len(self.candidates) != len(self.edges):
            raise ValueError(f"{len(self.candidates)} candidate tuples for {len(self.edges)} edges")
        for edge, alive in zip(self.edges, self.candidates, strict=True):
            if not alive or list(alive) != sorted(set(alive)) or not set(alive) <= set(range(len(self.operators))):
                raise ValueError(
                    f"edge {edge}: candidates {alive} must be distinct, ascending indices "
                    f"below {len(self.operators)}, at least one"
                )
        if list(itertools.chain.from_iterable(self.groups)) != list(range(len(self.edges))):
            raise ValueError(f"groups {self.groups} do not partition the {len(self.edges)} edges in order")

    @property
    def space(self) -> SearchSpace:
        """Itself, as a `Region`."""
        return self

    def identity(self) -> list[object]:
        """JSON values that two spaces share only if they have the same archs and the same copies of weights."""
        return [self.name, self.candidates, self.groups, repr(self.rule)]

    @property
    def choices(self) -> int:
        """Number of ways to choose one operator per edge, archs or not."""
        return math.prod(map(len, self.candidates))

    @property
    def size(self) -> int:
        """Number of archs."""
        return self.rule.count(self) if self.rule else self.choices

    def __contains__(self, arch: object) -> bool:
        """Whether a tuple is an arch of the space."""
        return (
            isinstance(arch, tuple)
            and len(arch) == len(self.edges)
            and all(op in alive for op, alive in zip(arch, self.candidates, strict=True))
            and (self.rule is None or bool(self.rule.valid(np.array([arch]))[0]))
        )

    def __iter__(self) -> Iterator[Arch]:
        """All archs in lexicographic order."""
        if self.rule:
            return map(tuple, self.rule.archs(self).tolist())
        return itertools.product(*self.candidates)

    def archs(self) -> np.ndarray:
        """All archs, `(size, edges)` int8, in lexicographic order."""
        if self.rule:
            return self.rule.archs(self)
        grids = np.meshgrid(*[np.array(alive, np.int8) for alive in self.candidates], indexing="ij")
        return np.stack([grid.ravel() for grid in grids], axis=1)

    def contains_rows(self, archs: np.ndarray) -> np.ndarray:
        """`(n,)` bool: which rows of `archs` `(n, edges)` lie in the space."""
        inside = np.ones(len(archs), bool)
        for edge, alive in enumerate(self.candidates):
            inside &= np.isin(archs[:, edge], alive)
        return inside & self.rule.valid(archs) if self.rule else inside

    def sample(self, rng: np.random.Generator) -> Arch:
        """One arch, uniformly over the space."""
        if self.rule:
            return self.rule.sample(self, rng)
        draws = rng.random(len(self.edges))
        return tuple(alive[int(u * len(alive))] for u, alive in zip(draws, self.candidates, strict=True))

    def sample_distinct(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`(min(n, size), edges)` int8 distinct archs, uniformly without replacement."""
        if self.rule:
            return self.rule.sample_distinct(self, rng, n)
        if self.size > MOST_NUMBERED:  # two draws of one arch hardly ever meet
            found: dict[Arch, None] = {}
            while len(found) < n:
                found[self.sample(rng)] = None
            return np.array(list(found), np.int8)
        chosen = rng.choice(self.size, size=min(n, self.size), replace=False)
        digits = np.unravel_index(chosen, [len(alive) for alive in self.candidates])
        columns = [np.array(alive, np.int8)[d] for alive, d in zip(self.candidates, digits, strict=True)]
        return np.stack(columns, axis=1)

    def pool(self, per_operator: int, rng: np.random.Generator) -> np.ndarray:
        """Archs in which every operator occurs often enough; see `balanced_sample`."""
        return balanced_sample(self, per_operator, rng)

    def more_with(self, edge: int, operator: int, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """None: no operator is rare in its pool, but where that holds all archs."""
        return None

    def paths(self, cells: int = 0) -> UniformPath:
        """Single paths drawn uniformly, one per step."""
        return UniformPath(self, cells)

    def alive(self) -> list[tuple[int, int]]:
        """Every alive operator as `(edge, operator)`."""
        return [(edge, op) for edge, alive in enumerate(self.candidates) for op in alive]

    def droppable(self) -> list[tuple[int, int]]:
        """The alive operators that criteria score and a shrink may drop, as `(edge, operator)`."""
        return self.rule.droppable(self) if self.rule else self.alive()

    def parts(self) -> list[Part]:
        """Edges that are chosen together, and all ways to choose them: an arch is one way of each part."""
        if self.rule:
            return self.rule.parts(self)
        return [((edge,), np.array(alive, np.int8)[:, None]) for edge, alive in enumerate(self.candidates)]

    def repair(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """An arch of the space that is as near to some choices of alive operators as the rule allows."""
        return self.rule.repair(self, arch, rng) if self.rule else arch

    def without(self, edge: int, operator: int) -> SearchSpace:
        """The space with one operator dropped.

        Raises:
            ValueError: The operator is not alive there, or it is the last of its edge.
        """
        if operator not in self.candidates[edge]:
            raise ValueError(f"operator {operator} is not alive on edge {self.edges[edge]}")
        candidates = list(self.candidates)
        candidates[edge] = tuple(op for op in candidates[edge] if op != operator)
        return replace(self, candidates=tuple(candidates))

    def with_groups(self, groups: tuple[tuple[int, ...], ...]) -> SearchSpace:
        """The space with its edges merged into `groups`."""
        return replace(self, groups=groups)

    def group_of(self, edge: int) -> tuple[int, ...]:
        """The group that holds an edge."""
        return next(group for group in self.groups if edge in group)

    def partial_models(self, group: tuple[int, ...]) -> list[Arch]:
        """All partial models of a group: one operator per edge of the group."""
        return list(itertools.product(*[self.candidates[edge] for edge in group]))

    def only(self, arch: Arch) -> SearchSpace:
        """The space with `arch` as its single member: a stand-alone network's space."""
        return replace(self, candidates=tuple((op,) for op in arch), groups=())


def balanced_sample(space: SearchSpace, per_operator: int, rng: np.random.Generator) -> np.ndarray:
    """Archs in which every alive operator occurs at least `per_operator` times.

    Each row is uniform over the space, and the rows that hold an operator are uniform over the archs
    that contain it, as Eq. 5 asks; but one pool serves all operators of all edges, so it costs
    `per_operator * max(candidates)` evaluations in place of `per_operator * operators`. Operators of
    an edge occur equally often, to within one. A space no larger than the pool is returned whole.

    Returns:
        `(n, edges)` int8.
    """
    if space.rule:
        return space.rule.balanced_sample(space, per_operator, rng)
    pool = per_operator * max(map(len, space.candidates))
    if space.size <= pool:
        return space.archs()
    columns = []
    for alive in space.candidates:
        repeats = -(-pool // len(alive))
        column = np.concatenate([rng.permutation(np.array(alive, np.int8)) for _ in range(repeats)])[:pool]
        columns.append(rng.permutation(column))
    return np.stack(columns, axis=1)


class ImageShape(NamedTuple):
    """Of the images that a network sees: height and width in pixels, channels, and the number of classes."""

    resolution: int
    num_classes: int
    in_channels: int


class NetworkSizes(Protocol):
    """What a preset says of a network; a space reads what it has a use for.

    Args:
        channels, cells: Width of the first stage, and cells per stage, of a network made of cells.
        width: Factor on the channels of a MobileNet-like network.
    """

    @property
    def channels(self) -> int: ...

    @property
    def cells(self) -> int: ...

    @property
    def width(self) -> float: ...


STOP_AT = 1_000_000
"""Archs at which shrinking a large space ends [code: AngleNAS, its `shrinking_finish_threshold`]."""


@dataclass(frozen=True)
class Study:
    """A space at a preset: plain values, from which `experiments.studies` makes recipes and methods.

    Args:
        sizes: Fields of the `Preset` that differ.
        recipes: By name, all fields of a `TrainingRecipe` that are not its defaults. None: the preset's own.
        method: Fields of methods, and of the strategies inside them, that differ, for those that have them; a mapping
            where the field holds a strategy.
    """

    sizes: Mapping[str, Any] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] | None = None
    method: Mapping[str, Any] = field(default_factory=dict)


def _itself(arch: Arch) -> Arch:
    return arch


@dataclass(frozen=True)
class Space:
    """A search space and all that belongs to it: one of these in `SPACES` makes a space known everywhere.

    Args:
        whole: All archs.
        to_str, from_str: An arch as text and back; `from_str` raises ValueError with a message that helps.
        cost: Skeleton to the `CostTable` of stand-alone networks over it.
        skeletons: The networks of the literature, by dataset; at least one.
        skeleton: What surrounds the choices for images of a shape, at the sizes of a preset.
        network: `(space, skeleton, affine) -> network`, where the space may be shrunk and affine is for batch norm
            inside the choices. It takes `auxiliary=True` where the space knows an auxiliary head. Imports torch.
        draw: Labelled archs to a figure.
        draw_over: The same with a skeleton, where a picture shows more than the choices; None where it does not.
        over: Skeleton to the whole space with the edges that it has; None where all skeletons have the same.
        reference: The network on ImageNet to which the paper's limits apply; None where the paper has none.
        studies: By preset. A preset without one is taken as it is.
        pruned: An arch without the edges that carry nothing, which changes no network but by what idles in it; None
            where the input does not reach the output.
        function: The one arch that stands for all whose stand-alone networks compute the same; None likewise.
        cells: Of each kind of cell, the normal one first, the edges into each of its nodes; empty where nothing is
            a cell.
    """

    whole: SearchSpace
    to_str: Callable[[Arch], str]
    from_str: Callable[[str], Arch]
    cost: Callable[[Any], CostTable]
    skeletons: Mapping[str, Any]
    skeleton: Callable[[ImageShape, NetworkSizes], Any]
    network: Callable[..., nn.Module]
    draw: Callable[[Sequence[tuple[str, Arch]]], Figure]
    draw_over: Callable[[Sequence[tuple[str, Arch]], Any], Figure] | None = None
    over: Callable[[Any], SearchSpace] | None = None
    reference: Any = None
    studies: Mapping[str, Study] = field(default_factory=dict)
    pruned: Callable[[Arch], Arch | None] = _itself
    function: Callable[[Arch], Arch | None] = _itself
    cells: tuple[tuple[tuple[int, ...], ...], ...] = ()

    @property
    def skeleton_type(self) -> type:
        """Of all its skeletons."""
        return type(next(iter(self.skeletons.values())))
