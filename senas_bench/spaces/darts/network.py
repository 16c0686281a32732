"""The DARTS network over a search space: a supernet, or stand-alone when one candidate is left.

Source: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019; [code] is its public code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial as bound
from numbers import Integral
from typing import Any

import torch
from torch import nn

from senas_bench.kernels.convolutions import DepthwiseConv2d
from senas_bench.kernels.norms import batch_norm
from senas_bench.kernels.pointwise import PointConv2d
from senas_bench.networks.choice import Candidates, ChoiceEdge, partial_key
from senas_bench.networks.mixture import Mixture, as_mixture
from senas_bench.networks.operations import ConvBN
from senas_bench.networks.partial import pass_by
from senas_bench.spaces.darts import (
    AVG_POOL,
    DILATED,
    EDGES,
    MAX_POOL,
    NODES,
    NONE,
    SEPARABLE,
    SKIP,
    SUPERNET,
    CellShape,
    DartsSkeleton,
)
from senas_bench.spaces.darts.auxiliary import AuxiliaryHead, auxiliary_layer
from senas_bench.spaces.darts.stem import stem_of
from senas_bench.spaces.space import Arch, SearchSpace

_INTO = [[(e, source) for e, (source, target) in enumerate(EDGES) if target == node] for node in NODES]

Operator = tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor | None]
"""What runs on an edge, a module or a function, and what its output is multiplied by."""


class ReLUConvBN(nn.Sequential):
    """ReLU, 1x1 convolution and batch norm; `(B, c_in, H, W)` to `(B, c_out, H, W)`."""

    def __init__(self, c_in: int, c_out: int, affine: bool) -> None:
        super().__init__(nn.ReLU(), ConvBN(c_in, c_out, 1, affine=affine))


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions with stride 2, one shifted by a pixel, side by side, and batch norm [code].

    `(B, c_in, H, W)` to `(B, c_out, H/2, W/2)`, rounded up: where a side is odd, the shifted image gets a row of zeros.
    """

    def __init__(self, c_in: int, c_out: int, affine: bool) -> None:
        super().__init__()
        self.even = PointConv2d(c_in, c_out // 2, stride=2)
        self.odd = PointConv2d(c_in, c_out - c_out // 2, stride=2)
        self.norm = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(x)
        height, width = x.shape[2:]
        shifted = nn.functional.pad(x[:, :, 1:, 1:], (0, width % 2, 0, height % 2))
        return batch_norm(torch.cat([self.even(x), self.odd(shifted)], 1), self.norm)


class DepthwiseConvBN(nn.Sequential):
    """ReLU, depthwise convolution, 1x1 convolution and batch norm; a separable convolution is two of these.

    `(B, C, H, W)` to `(B, C, H/stride, W/stride)`, rounded up.
    """

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int, affine: bool) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.ReLU(),
            DepthwiseConv2d(channels, kernel, stride, padding, dilation),
            ConvBN(channels, channels, 1, affine=affine),
        )


def _with_weights(op: int, channels: int, stride: int, affine: bool) -> nn.Module | None:
    """The module of an operator, or None for one without weights."""
    if op in SEPARABLE:
        return nn.Sequential(
            DepthwiseConvBN(channels, SEPARABLE[op], stride, 1, affine),
            DepthwiseConvBN(channels, SEPARABLE[op], 1, 1, affine),
        )
    if op in DILATED:
        return DepthwiseConvBN(channels, DILATED[op], stride, 2, affine)
    return FactorizedReduce(channels, channels, affine) if op == SKIP and stride > 1 else None


def _without_weights(op: int, channels: int, stride: int, normalize: bool) -> nn.Module | None:
    """The module of an operator without weights; None for `none` and for those with weights.

    Args:
        normalize: Whether a batch norm without weights follows a pool.
    """
    if op == SKIP and stride == 1:
        return nn.Identity()
    if op == MAX_POOL:
        pool = nn.MaxPool2d(3, stride, padding=1)
    elif op == AVG_POOL:
        pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    else:
        return None
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False)) if normalize else pool


def drop_path(x: torch.Tensor, probability: float) -> torch.Tensor:
    """`x` `(B, C, H, W)` with some images' features set to zero and the others scaled up, so that the mean stays."""
    keep = 1 - probability
    return x * (x.new_empty(len(x), 1, 1, 1).bernoulli_(keep) / keep)


class Cell(nn.Module):
    """Four nodes, each the sum of its incoming edges, concatenated; `(B, 4 * channels, H, W)` out.

    Args:
        space: Of 14 edges, or of 28, of which a reduction cell takes the second half.
        shape: Its place in the stack.
        affine: Batch norm weights; without them a batch norm follows each pool.
        partial: Operators see one of so many channels, see `networks.partial`.
    """

    choices: Any  # ChoiceEdges, and what runs beside each: ModuleDicts
    weightless: Any

    def __init__(self, space: SearchSpace, shape: CellShape, affine: bool, partial: int = 1) -> None:
        super().__init__()
        self.partial, seen = partial, shape.channels // partial
        self.channels = seen
        first_edge = len(EDGES) if shape.reduction and len(space.edges) > len(EDGES) else 0
        self.stride = 2 if shape.reduction else 1
        self.names = space.edges
        before = FactorizedReduce if shape.halve_before else ReLUConvBN
        self.inputs = nn.ModuleList(
            [before(shape.c_before, shape.channels, affine), ReLUConvBN(shape.c_last, shape.channels, affine)]
        )
        self.choices = nn.ModuleList()
        self.weightless = nn.ModuleList()
        for edge, (source, _) in enumerate(EDGES, start=first_edge):
            stride = self.stride if source < 2 else 1

            def make(op: int, stride: int = stride) -> nn.Module | None:
                return _with_weights(op, seen, stride, affine)

            plain = {op: _without_weights(op, seen, stride, not affine) for op in space.candidates[edge]}
            self.choices.append(ChoiceEdge(edge, space, make))
            self.weightless.append(
                Candidates((edge,), {str(op): module for op, module in plain.items() if module is not None})
            )

    def weightless_operators(self) -> Iterator[tuple[int, int, nn.Module]]:
        """Edge, operator and module of what runs outside the `ChoiceEdge`s."""
        for choice, plain in zip(self.choices, self.weightless, strict=True):
            yield from ((choice.edge, int(op), module) for op, module in plain.items())

    def path(self, arch: Arch) -> list[list[Operator]]:
        """Per edge what runs there: the copies that `arch` uses; nothing where it is `none`."""
        if self.partial > 1:
            raise ValueError("operators that see a part of the channels run in mixtures alone; give operator weights")
        operators: list[list[Operator]] = []
        for choice, plain in zip(self.choices, self.weightless, strict=True):
            op = arch[choice.edge]
            key = partial_key(arch, choice.group)
            operators.append([] if op == NONE else [(self._module(choice, plain, op, key), None)])
        return operators

    def mixture(self, path: Mixture, skip_dropout: float = 0.0) -> list[list[Operator]]:
        """Per edge all operators that run; `none` adds nothing.

        Args:
            skip_dropout: Of what identities give, value by value, in training.
        """
        edges: list[list[Any]] = [
            [
                (self._module(choice, plain, op, str(op)), path.weights[choice.edge, op])
                for op, on in enumerate(path.runs[choice.edge])
                if on and op != NONE
            ]
            for choice, plain in zip(self.choices, self.weightless, strict=True)
        ]
        if skip_dropout and self.training:
            drop = bound(nn.functional.dropout, p=skip_dropout)
            edges = [[(drop if isinstance(own, nn.Identity) else own, by) for own, by in edge] for edge in edges]
        if self.partial == 1:
            return edges
        shares = [path.weights[choice.edge].sum() for choice in self.choices]
        strides = [self.stride if source < 2 else 1 for source, _ in EDGES]
        return [
            [(bound(pass_by, partial=self.partial, operators=edge, share=share, stride=stride), None)]
            for edge, share, stride in zip(edges, shares, strides, strict=True)
        ]

    def _module(self, choice: ChoiceEdge, plain: nn.ModuleDict, op: int, key: str) -> nn.Module:
        if str(op) in plain:
            return plain[str(op)]
        if key not in choice.copies:
            raise ValueError(f"edge {self.names[choice.edge]} has no operator {op} in the partial model {key}")
        return choice.copies[key]

    def forward(
        self, before: torch.Tensor, last: torch.Tensor, operators: list[list[Operator]], drop: float = 0.0
    ) -> torch.Tensor:
        """Run what `path` or `mixture` chose; a node without inputs is zeros.

        Args:
            before, last: Outputs of the cell before the last, and of the last.
            drop: Probability of `drop_path` for every operator but the identity.
        """
        states = [self.inputs[0](before), self.inputs[1](last)]
        for into in _INTO:
            total = None
            for edge, source in into:
                for module, weight in operators[edge]:
                    output = module(states[source])
                    if drop and not isinstance(module, nn.Identity):
                        output = drop_path(output, drop)
                    if weight is not None:
                        output = output * weight
                    total = output if total is None else total + output
            if total is None:
                total = torch.zeros_like(states[1][:, :, :: self.stride, :: self.stride])
            states.append(total)
        return torch.cat(states[2:], 1)


class DartsNetwork(nn.Module):
    """Stem, a stack of normal and reduction cells, and a linear head (docs/method.md 7).

    Each cell of the stack has its own weights. In a space of separate cells an arch holds both: a normal cell runs its
    first 14 edges, a reduction cell the others. A group of merged edges may reach across the two; its partial models
    then name choices of both cells, and a cell takes its copy by the whole arch it is given.

    Args:
        space: One candidate per edge gives a stand-alone network, more a supernet. `none` on an edge is no operator.
        skeleton: Widths, depth, stem and data.
        affine: Batch norm weights in the cells: off in a supernet, where a batch norm follows each pool, and on in a
            stand-alone network, where none does.
        auxiliary: Add an `AuxiliaryHead` behind the last reduction cell; its loss weighs 0.4 in the paper.

    The attribute `drop_path_prob`, 0 to below 1, is for whoever trains from scratch to raise; it acts in training only,
    on every operator but the identity. `skip_dropout`, likewise, acts on identities in mixtures. Weights start as
    torch's layers do. Where the skeleton says `partial`, the network runs mixtures alone.

    Raises:
        ValueError: The space has not the edges of one or two cells, or the skeleton has no place for an auxiliary head.
    """

    body: Any  # Cells

    def __init__(
        self,
        space: SearchSpace,
        skeleton: DartsSkeleton = SUPERNET,
        affine: bool = False,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        if len(space.edges) not in (len(EDGES), 2 * len(EDGES)):
            raise ValueError(f"a space of {len(space.edges)} edges; {len(EDGES)} make one cell, twice as many make two")
        self.edges, self.operators = len(space.edges), len(space.operators)
        self.drop_path_prob, self.skip_dropout = 0.0, 0.0
        self.stem = stem_of(skeleton)
        shapes = skeleton.cells
        self.partial = skeleton.partial
        self.body = nn.ModuleList(Cell(space, shape, affine, skeleton.partial) for shape in shapes)
        self.head = nn.Linear(4 * shapes[-1].channels, skeleton.num_classes)
        self.auxiliary, self.auxiliary_layer = None, None
        if auxiliary:
            self.auxiliary_layer = auxiliary_layer(skeleton)
            width = 4 * shapes[self.auxiliary_layer].channels
            self.auxiliary = AuxiliaryHead(width, skeleton.num_classes, skeleton.stem)

    def forward(
        self, x: torch.Tensor, path: Arch | Sequence[Arch] | Mixture | torch.Tensor, cache: dict[str, Any] | None = None
    ) -> torch.Tensor:
        """Logits `(B, classes)` of one path.

        Args:
            x: `(B, in_channels, H, W)`.
            path: One arch for all cells, or one per cell; or the relaxed form, operator weights `(edges, operators)`
                for all cells, which needs an unexpanded network. Any number of inputs of a node may run.
            cache: Pass the same dictionary for several archs on the same `x`: the stem is computed once.

        Raises:
            ValueError: The path has another length or shape, or takes an operator that its edge does not have.
        """
        return self._classify(self._run(x, path, cache)[0])

    def forward_with_auxiliary(
        self, x: torch.Tensor, path: Arch | Sequence[Arch] | Mixture | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `(B, classes)` of the network and of its auxiliary head; arguments as in `forward`.

        Raises:
            ValueError: The network has no auxiliary head, or the path is not one.
        """
        if self.auxiliary is None:
            raise ValueError("the network has no auxiliary head; build it with auxiliary=True")
        last, middle = self._run(x, path, None)
        return self._classify(last), self.auxiliary(middle)

    def _run(
        self, x: torch.Tensor, path: Arch | Sequence[Arch] | Mixture | torch.Tensor, cache: dict[str, Any] | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Outputs of the last cell, and of the one that the auxiliary head reads."""
        chosen = self._choose(path)
        if cache is None:
            before, last = self.stem(x)
        else:
            if "stem" not in cache:
                cache["stem"] = self.stem(x)
            before, last = cache["stem"]
        drop = self.drop_path_prob if self.training else 0.0
        middle = None
        for layer, (cell, operators) in enumerate(zip(self.body, chosen, strict=True)):
            before, last = last, cell(before, last, operators, drop)
            if layer == self.auxiliary_layer:
                middle = last
        return last, middle

    def features(self, x: torch.Tensor, arch: Arch) -> list[torch.Tensor]:
        """Outputs `(B, C, H, W)` of the stem and of each cell behind it, then what the head averages."""
        before, last = self.stem(x)
        outputs = [last]
        for cell, operators in zip(self.body, self._choose(arch), strict=True):
            before, last = last, cell(before, last, operators)
            outputs.append(last)
        return [*outputs, last]

    def _choose(self, path: Arch | Sequence[Arch] | Mixture | torch.Tensor) -> list[list[list[Operator]]]:
        """What runs on each edge of each cell."""
        if isinstance(path, Mixture | torch.Tensor):
            mixture = as_mixture(path, (self.edges, self.operators), self.expanded)
            return [cell.mixture(mixture, self.skip_dropout) for cell in self.body]
        archs: Any = [path] * self.choice_cells if isinstance(path[0], Integral) else path
        if len(archs) != self.choice_cells:
            raise ValueError(f"{len(archs)} archs for {self.choice_cells} cells; give one for all or one per cell")
        if any(len(arch) != self.edges for arch in archs):
            raise ValueError(f"an arch of {min(map(len, archs))} operators for {self.edges} edges")
        return [cell.path(arch) for cell, arch in zip(self.body, archs, strict=True)]

    def _classify(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mean((2, 3)))

    @property
    def expanded(self) -> bool:
        """Whether edges are merged."""
        return any(len(choice.group) > 1 for cell in self.body for choice in cell.choices)

    @property
    def choice_cells(self) -> int:
        """Cells that can each take their own arch."""
        return len(self.body)

    def signature(self, arch: Arch) -> Arch:
        """Equal for archs that compute the same function with the same weights: the arch itself.

        With two inputs for each node and all nodes in the output no edge is ever dead, and the copies that an expanded
        network takes are named by the arch.
        """
        return tuple(arch)
