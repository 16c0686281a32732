"""Search methods: `(task) -> MethodOutput`, one page per paper."""

from senas_bench.shrinking.si import SelectionImportance

from .baselines import LargestCost, RandomSearch
from .se_nas import SeNas
from .spos import Spos

METHODS = {
    "random": RandomSearch(),
    "params": LargestCost("params"),
    "flops": LargestCost("flops_m"),
    "untrained": Spos(recipe="tuned", estimator="snapshot-loglik", trained=False),
    "spos": Spos(),
    "spos+": Spos(recipe="tuned", estimator="snapshot-loglik"),
    "se-nas": SeNas(),
    "se-nas+": SeNas(
        recipe="tuned", estimator="snapshot-loglik", criterion=SelectionImportance(estimator="snapshot-loglik")
    ),
}
"""The paper's methods keep the paper's estimator; those with a plus are ours, tuned with CIFAR-10 truth in view."""
