"""The MobileNet-like network over a search space: a supernet, or stand-alone when one candidate is left."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import nn

from senas_bench.kernels.convolutions import DepthwiseConv2d
from senas_bench.kernels.norms import batch_norm
from senas_bench.networks.choice import ChoiceEdge, partial_key
from senas_bench.networks.mixture import Mixture, as_mixture
from senas_bench.spaces.mobilenet import BLOCKS, FIRST, IDENTITY, TABLE2, Block, MobileSkeleton
from senas_bench.spaces.space import Arch, SearchSpace


class GroupConvBN(nn.Sequential):
    """Convolution, perhaps in groups, and batch norm; padding keeps the resolution at stride 1.

    Args:
        groups: `c_in` for a depthwise convolution.
        affine: Whether the batch norm has weights.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, affine: bool = True
    ) -> None:
        if groups == c_in == c_out:
            convolution = DepthwiseConv2d(c_in, kernel, stride, kernel // 2)
        else:
            convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(c_out, affine=affine))

    def forward(self, x: torch.Tensor, activate: bool = False, shortcut: torch.Tensor | None = None) -> torch.Tensor:
        """Its output `(B, c_out, H, W)`, with a shortcut of that shape added, and held between 0 and 6 if asked for."""
        norm: Any = self[1]
        return batch_norm(self[0](x), norm, shortcut, 6.0 if activate else None)


class MBConv(nn.Module):
    """Inverted bottleneck (MobileNetV2): 1x1 expansion, depthwise convolution, linear 1x1 projection.

    `(B, c_in, H, W)` to `(B, c_out, H/stride, W/stride)`, rounded up. ReLU6 follows the batch norms of the first two
    convolutions; expansion 1 has no first one. The input is added where stride is 1 and the widths are equal. Groups
    split both 1x1 convolutions, without a shuffle: the depthwise convolution between them mixes no channels.

    Args:
        block: Kernel, expansion and groups.
        affine: Whether batch norms have weights.

    Raises:
        ValueError: The groups do not divide the channels.
    """

    def __init__(self, c_in: int, c_out: int, block: Block, stride: int = 1, affine: bool = True) -> None:
        super().__init__()
        hidden = block.expansion * c_in
        self.expand = GroupConvBN(c_in, hidden, 1, groups=block.groups, affine=affine) if block.expansion > 1 else None
        self.depthwise = GroupConvBN(hidden, hidden, block.kernel, stride, groups=hidden, affine=affine)
        self.project = GroupConvBN(hidden, c_out, 1, groups=block.groups, affine=affine)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x if self.expand is None else self.expand(x, activate=True)
        return self.project(self.depthwise(hidden, activate=True), shortcut=x if self.residual else None)


class MobileNetwork(nn.Module):
    """Stem, a fixed block, one choice per layer, and a head (paper Table 2, docs/method.md 6).

    Args:
        space: One candidate per layer gives a stand-alone network, more a supernet.
        skeleton: Widths, strides and data; of the layers that `space` has.
        affine: Batch norm weights in the choices: off in a supernet, on in a stand-alone network. Stem, fixed block and
            head always have them.
        dropout: Probability before the classifier, in training.

    Weights start as torch's layers do. Convolutions carry no bias.

    Raises:
        ValueError: The space has other layers than the skeleton, or identity where a stage begins.
    """

    choices: Any  # ChoiceEdges

    def __init__(
        self,
        space: SearchSpace,
        skeleton: MobileSkeleton = TABLE2,
        affine: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers = skeleton.layers
        if space.edges != tuple(layer.name for layer in layers):
            raise ValueError(
                f"the space has layers {space.edges}, the skeleton {tuple(layer.name for layer in layers)}"
            )
        self.skippable = tuple(IDENTITY in alive for alive in space.candidates)
        for layer, skippable in zip(layers, self.skippable, strict=True):
            if skippable and not layer.skippable:
                raise ValueError(f"identity cannot be a candidate on layer {layer.name}, where a stage begins")
        self.names = space.edges
        self.operators = len(space.operators)
        self.stem = GroupConvBN(skeleton.in_channels, skeleton.stem, 3, skeleton.stem_stride)
        self.first = MBConv(skeleton.stem, skeleton.first, FIRST)

        def choice(edge: int) -> ChoiceEdge:
            _, c_in, c_out, stride, *_ = layers[edge]
            return ChoiceEdge(
                edge,
                space,
                lambda op: None if op == IDENTITY else MBConv(c_in, c_out, BLOCKS[op], stride, affine),
            )

        self.choices = nn.ModuleList(map(choice, range(len(layers))))
        self.last = GroupConvBN(layers[-1].c_out, skeleton.last, 1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(skeleton.last, skeleton.num_classes)

    def forward(
        self, x: torch.Tensor, path: Arch | Sequence[Arch] | Mixture | torch.Tensor, cache: dict[str, Any] | None = None
    ) -> torch.Tensor:
        """Logits `(B, classes)` of one path.

        Args:
            x: `(B, in_channels, H, W)`.
            path: One arch, alone or as a sequence of one; or the relaxed form, operator weights `(layers, operators)`,
                which needs an unexpanded network.
            cache: Pass the same dictionary for several archs on the same `x`, in lexicographic order: the stem and
                the first layers that an arch shares with the one before are not computed again.

        Raises:
            ValueError: The path has another length or shape, or takes an operator that its layer does not have.
        """
        if isinstance(path, Mixture | torch.Tensor):
            mixture = as_mixture(path, (len(self.choices), self.operators), self.expanded)
            return self._classify(self._mixture(x, mixture))
        arch: Any = path
        if not isinstance(path[0], Integral):
            if len(path) != 1:
                raise ValueError(f"{len(path)} archs for a network that takes one")
            arch = path[0]
        if len(arch) != len(self.choices):
            raise ValueError(f"an arch of {len(arch)} operators for {len(self.choices)} layers")
        return self._classify(self._body(x, arch, cache))

    def features(self, x: torch.Tensor, arch: Arch) -> list[torch.Tensor]:
        """Outputs `(B, C, H, W)` of the first block and each layer that is no identity, then what the head averages."""
        outputs = [self._begin(x)]
        for depth, choice in enumerate(self.choices):
            if arch[depth] != IDENTITY:
                outputs.append(self._run(depth, partial_key(arch, choice.group), outputs[-1]))
        return [*outputs, self.last(outputs[-1], activate=True)]

    def _body(self, x: torch.Tensor, arch: Arch, cache: dict[str, Any] | None) -> torch.Tensor:
        if cache is None:
            x, kept = self._begin(x), []
        else:
            if "begin" not in cache:
                cache["begin"] = self._begin(x), []
            x, kept = cache["begin"]
        for depth, choice in enumerate(self.choices):
            # what a merged layer computes depends on deeper choices of its group too: its copy is what must not change
            key = None if arch[depth] == IDENTITY else partial_key(arch, choice.group)
            if depth < len(kept) and kept[depth][0] == key:
                x = kept[depth][1]
                continue
            del kept[depth:]
            x = self._run(depth, key, x)
            if cache is not None:
                kept.append((key, x))
        return x

    def _mixture(self, x: torch.Tensor, path: Mixture) -> torch.Tensor:
        """Weighted sum of the operators that run, on every layer."""
        x = self._begin(x)
        for depth, active in enumerate(path.runs):
            ops = [op for op, on in enumerate(active) if on]
            if not ops:
                raise ValueError(f"layer {self.names[depth]}: all operator weights are 0")
            outputs = [self._run(depth, None if op == IDENTITY else str(op), x) * path.weights[depth, op] for op in ops]
            x = sum(outputs[1:], outputs[0])
        return x

    def _begin(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(self.stem(x, activate=True))

    def _run(self, depth: int, key: str | None, x: torch.Tensor) -> torch.Tensor:
        """One layer with the copy named `key`, None for identity."""
        copies = self.choices[depth].copies
        if key is None and self.skippable[depth]:
            return x
        if key not in copies:
            known = ", ".join([*copies, *["identity"] * self.skippable[depth]])
            raise ValueError(f"layer {self.names[depth]} has no operator {key or 'identity'}; one of: {known}")
        return copies[key](x)

    def _classify(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.last(x, activate=True).mean((2, 3))))

    @property
    def expanded(self) -> bool:
        """Whether layers are merged."""
        return any(len(choice.group) > 1 for choice in self.choices)

    @property
    def choice_cells(self) -> int:
        """Cells that can each take their own arch: a path is one arch."""
        return 1

    def signature(self, arch: Arch) -> tuple[int, ...]:
        """Equal for archs that compute the same function with the same weights: the arch itself.

        Every layer has weights of its own and none is ever dead, so two archs that differ on a layer run different
        weights there; and the copies that an expanded network takes are named by the arch.
        """
        return tuple(arch)
