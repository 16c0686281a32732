"""Search spaces, a folder each. Nothing here imports torch before a network is built."""

from senas_bench.spaces.darts import SEPARATE_SPACE, SHARED_SPACE
from senas_bench.spaces.mobilenet import GROUP2_SPACE, MOBILENET_SPACE
from senas_bench.spaces.nasbench201 import NB201_SPACE
from senas_bench.spaces.space import Arch, ImageShape, SearchSpace, Space, Study, balanced_sample

SPACES: dict[str, Space] = {
    "nasbench201": NB201_SPACE,
    "mobilenet": MOBILENET_SPACE,
    "mobilenet-g2": GROUP2_SPACE,
    "darts": SHARED_SPACE,
    "darts-separate": SEPARATE_SPACE,
}

__all__ = ["SPACES", "Arch", "ImageShape", "SearchSpace", "Space", "Study", "balanced_sample"]
