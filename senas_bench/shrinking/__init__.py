"""Which operators leave: criteria score them, `shrink` drops the lowest."""

from senas_bench.shrinking.angle import Angle
from senas_bench.shrinking.criterion import Criterion, CriterionOutput
from senas_bench.shrinking.magnitude import Magnitude
from senas_bench.shrinking.random import RandomScores
from senas_bench.shrinking.se_nas import SeNasCriterion
from senas_bench.shrinking.shrink import shrink, shrink_edge_by_edge, shrink_per_edge
from senas_bench.shrinking.si import SelectionImportance

CRITERIA: dict[str, Criterion] = {
    "se-nas": SeNasCriterion(),
    "si": SelectionImportance(),
    "magnitude": Magnitude(),
    "angle": Angle(),
    "random": RandomScores(),
}

__all__ = ["CRITERIA", "Criterion", "CriterionOutput", "shrink", "shrink_edge_by_edge", "shrink_per_edge"]
