"""Which operators leave: criteria score them, `shrink` drops the lowest."""

from .angle import Angle
from .criterion import CriterionOutput
from .magnitude import Magnitude
from .random import RandomScores
from .se_nas import SeNasCriterion
from .shrink import shrink, shrink_edge_by_edge, shrink_per_edge
from .si import SelectionImportance

CRITERIA = {
    "se-nas": SeNasCriterion,
    "si": SelectionImportance,
    "magnitude": Magnitude,
    "angle": Angle,
    "random": RandomScores,
}

__all__ = ["CRITERIA", "CriterionOutput", "shrink", "shrink_edge_by_edge", "shrink_per_edge"]
