"""Search spaces, a folder each. Nothing here imports torch before a network is built."""

from senas_bench.names import lookup
from senas_bench.spaces.checks import check_space
from senas_bench.spaces.darts import SEPARATE_SPACE, SHARED_SPACE
from senas_bench.spaces.mobilenet import FAIR_SPACE, GROUP2_SPACE, MOBILENET_SPACE
from senas_bench.spaces.nasbench201 import NB201_SPACE
from senas_bench.spaces.space import Arch, ImageShape, SearchSpace, Space, Study, balanced_sample

SPACES: dict[str, Space] = {
    "nasbench201": NB201_SPACE,
    "mobilenet": MOBILENET_SPACE,
    "mobilenet-g2": GROUP2_SPACE,
    "mobilenet-fair": FAIR_SPACE,
    "darts": SHARED_SPACE,
    "darts-separate": SEPARATE_SPACE,
}
_SOUND: dict[str, Space] = {}
"""Those that were checked."""


def space_named(name: str) -> Space:
    """The space of that name, checked.

    Raises:
        ValueError: Unknown, or what `check_space` refuses.
    """
    space = lookup("space", name, SPACES)
    if _SOUND.get(name) is not space:
        check_space(name, space)
        _SOUND[name] = space
    return space


__all__ = ["SPACES", "Arch", "ImageShape", "SearchSpace", "Space", "Study", "balanced_sample", "space_named"]
