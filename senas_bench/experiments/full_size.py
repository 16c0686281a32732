"""Networks of full size, for what is scored without training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from senas_bench.experiments.spec import RunSpec
from senas_bench.experiments.studies import preset_of
from senas_bench.spaces import ImageShape, SearchSpace, space_named

if TYPE_CHECKING:
    import torch

    from senas_bench.data.loading import Loading
    from senas_bench.ranking.fresh import Fresh

SMALLEST_FULL = 32
"""Height and width in pixels to which images are enlarged, at least, for networks of full size."""


def full_size(spec: RunSpec, own: ImageShape, loading: Loading, read: Callable[[], Any]) -> Fresh:
    """Stand-alone networks of full size, see `ranking.fresh.SIZES`, and validation images for them, read when they are
    asked for.

    Args:
        own: Shape of the images as they are.
        loading: How the run wants its images.
        read: Reads them.
    """
    import torch

    from senas_bench.ranking.fresh import Fresh

    space = space_named(spec.space)
    literature = space.skeletons.get(spec.dataset)
    resolution = getattr(literature, "resolution", max(own.resolution, SMALLEST_FULL))
    shape = own._replace(resolution=resolution)
    skeleton = space.skeleton(shape, preset_of(spec.space, "paper"))

    def network(over: SearchSpace, affine: bool) -> torch.nn.Module:
        made: Any = space.network(over, skeleton, affine)
        return made.to(loading.device, memory_format=torch.channels_last)

    @functools.cache
    def batches() -> Any:
        return read().loaders(replace(loading, resolution=resolution)).valid

    return Fresh(space, network, space.cost(skeleton), shape, spec.seed, batches)
