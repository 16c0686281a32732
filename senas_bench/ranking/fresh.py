"""Stand-alone networks with fresh weights, for estimators that train nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.spaces import Arch, ImageShape, Space

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.ranking.score_archs import Batch

SIZES = ("preset", "full")
"""Of the networks: that of the run, or that of preset `paper` on the images as they are, which are enlarged to 32x32
where they are smaller and not those of a network in the literature."""


@dataclass(frozen=True)
class Fresh:
    """Networks of single archs, of one size.

    Args:
        space: Whose archs they are.
        network: `(space, affine) -> network`, on the device.
        cost: `(n, edges)` archs to `(n,)` named costs of these networks, `flops_m` among them.
        shape: Of the images that they take.
        seed: Of their weights, and of whatever else is drawn.
        batches: Gives labelled validation batches of that shape; None where they are those of the run.
        shared: The file where runs leave scores for each other, by words that say all else that decides them; None
            where they do not.
    """

    space: Space
    network: Callable[..., nn.Module]
    cost: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    shape: ImageShape
    seed: int
    batches: Callable[[], Sequence[Batch]] | None = None
    shared: Callable[[str], Path | None] = lambda words: None
    _wholes: dict[int, nn.Module] = field(init=False, default_factory=dict, compare=False, repr=False)

    def build(self, arch: Arch, draw: int = 0) -> nn.Module:
        """The network of an arch, with batch norm that has weights; the same at each call with the same draw.

        Its weights are those of its path in one network over the whole space, so archs begin with the same weights
        wherever they have the same operator, and two that differ by an operator differ by nothing else, unless a proxy
        draws others.
        """
        from senas_bench.networks.single import single

        if draw not in self._wholes:
            self._wholes[draw] = self._whole(draw)
        return single(self._wholes[draw], arch)

    def _whole(self, draw: int) -> nn.Module:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._number(draw, 0))
            return self.network(self.space.whole, True)

    def generator(self, draw: int = 0, purpose: int = 1) -> torch.Generator:
        """Random numbers for one purpose of one draw, the same for every arch."""
        import torch

        return torch.Generator().manual_seed(self._number(draw, purpose))

    def _number(self, draw: int, purpose: int) -> int:
        return int(np.random.default_rng([self.seed, draw, purpose]).integers(2**62))
