"""Search methods: `(task) -> MethodOutput`, one page per paper."""

from senas_bench.methods.baselines import LargestCost, RandomSearch
from senas_bench.methods.darts import Darts
from senas_bench.methods.enas import Enas
from senas_bench.methods.fairnas import FairNas
from senas_bench.methods.gdas import Gdas
from senas_bench.methods.retrain import Fixed
from senas_bench.methods.rsps import Rsps
from senas_bench.methods.se_nas import SeNas
from senas_bench.methods.setn import Setn
from senas_bench.methods.spos import Spos
from senas_bench.methods.stand_alone import StandAlone
from senas_bench.methods.truth import RegularizedEvolution, TruthRandomSearch
from senas_bench.shrinking.angle import Angle
from senas_bench.shrinking.magnitude import Magnitude
from senas_bench.shrinking.random import RandomScores
from senas_bench.shrinking.si import SelectionImportance

METHODS = {
    # nothing is trained
    "random": RandomSearch(),
    "params": LargestCost("params"),
    "flops": LargestCost("flops_m"),
    "untrained": Spos(recipe="tuned", estimator="snapshot-loglik", trained=False),
    # every arch is trained from scratch, in a benchmark table
    "random-search": TruthRandomSearch(),
    "regularized-evolution": RegularizedEvolution(),
    # one supernet over the whole space
    "rsps": Rsps(),
    "darts-v1": Darts(),
    "darts-v2": Darts(second_order=True),
    "gdas": Gdas(),
    "setn": Setn(),
    "enas": Enas(),
    "fairnas": FairNas(),
    "spos": Spos(),
    "spos-evolution": Spos(search="evolution"),
    "spos+": Spos(recipe="tuned", estimator="snapshot-loglik-size"),
    # no weights are shared
    "stand-alone": StandAlone(),
    # the space shrinks
    "random-shrink": SeNas(criterion=RandomScores(), threshold=0),
    "si-shrink": SeNas(criterion=SelectionImportance(), threshold=0),
    "magnitude-shrink": SeNas(criterion=Magnitude(), threshold=0),
    "angle-shrink": SeNas(criterion=Angle(), threshold=0),
    "pcnas": SeNas(criterion=SelectionImportance(), threshold=0, removal="edge-by-edge"),
    "se-nas-shrink": SeNas(threshold=0),
    # it shrinks and expands
    "se-nas": SeNas(),
    "fairnas+se-nas": SeNas(removal="per-edge", sampler="fair"),
    "se-nas+": SeNas(
        recipe="tuned",
        estimator="snapshot-loglik-size",
        criterion=SelectionImportance(estimator="snapshot-loglik-size"),
    ),
}
"""Methods keep their papers' settings. Those that end in a plus are ours, tuned with CIFAR-10 truth in view; they know
the size of an arch, so `params` is their control beside `untrained`, which has random weights and no more."""
GIVEN = {"fixed": Fixed()}
"""No methods, but they run like one: the arch is given."""
CURVES = frozenset({"spos", "spos+", "se-nas", "se-nas+"})
"""Methods that rank a sample of archs while they train, for Fig. 7, where the preset has `curve_points`."""
