"""What a method is to search: the space, what archs cost, the networks over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from senas_bench.spaces import Arch, SearchSpace
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.regions import Region, within

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.ranking.fresh import Fresh
    from senas_bench.spaces.cost import CostTable


@dataclass(frozen=True)
class Problem:
    """A search problem. No ground truth is in reach.

    Args:
        space: The whole space.
        network: Builds a network: `(space, affine) -> network` on the device; where the recipe weighs an auxiliary
            head, it is asked for one with `auxiliary=True`.
        cost: `(n, edges)` archs to `(n,)` named costs of each trained alone at this size: `flops_m`, `params`.
        skeleton: What surrounds the choices in the networks of this task.
        limit: What archs may cost, in scoring and search, and where it says so in training; None for no limit.
        arch: The arch that the spec gives to the method `fixed`.
        trainer: Trains an arch from scratch: `(arch) -> (12-epoch validation accuracy in percent, training seconds)`.
            None for every weight-sharing method; see `experiments.settings.trainer_of` for those that declare
            `needs_truth`.
        full: Stand-alone networks of full size, see `ranking.fresh`; None where nobody said how to build them.
        rebuild: A skeleton to `network` and `cost` over it; None where nobody said how.
    """

    space: SearchSpace
    network: Callable[..., nn.Module]
    cost: CostTable
    skeleton: Any = None
    limit: Limit | None = None
    arch: Arch | None = None
    trainer: Callable[[Arch], tuple[float, float]] | None = None
    full: Fresh | None = None
    rebuild: Callable[[Any], tuple[Callable[..., nn.Module], CostTable]] | None = None

    def on(self, skeleton: Any) -> Problem:
        """The same problem on networks with another skeleton, such as deeper ones; the limit stays what it is.

        Raises:
            ValueError: Nobody said how to build them.
        """
        if self.rebuild is None:
            raise ValueError("nobody said how to build networks with another skeleton: give the Problem its `rebuild`")
        network, cost = self.rebuild(skeleton)
        return replace(self, network=network, cost=cost, skeleton=skeleton)

    def within(self, space: SearchSpace) -> Region:
        """The archs of `space` that meet the limit; the space itself if there is none."""
        return within(space, self.limit)
