"""Search spaces. Nothing here imports torch."""

from .nasbench201 import NB201
from .space import Arch, SearchSpace, balanced_sample

SPACES = {"nasbench201": NB201}

__all__ = ["SPACES", "Arch", "SearchSpace", "balanced_sample"]
