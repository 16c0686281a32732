"""Which operators leave: criteria score them, `shrink` drops the lowest."""

from .random import RandomScores
from .se_nas import SeNasCriterion
from .shrink import shrink, shrink_per_edge
from .si import SelectionImportance

CRITERIA = {"se-nas": SeNasCriterion, "si": SelectionImportance, "random": RandomScores}

__all__ = ["CRITERIA", "shrink", "shrink_per_edge"]
