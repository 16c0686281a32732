"""Search methods: `(task) -> MethodOutput`, one page per paper."""

import operator
from typing import Any, NamedTuple

from senas_bench.methods.baselines import LargestCost, RandomSearch
from senas_bench.methods.darts import Darts
from senas_bench.methods.enas import Enas
from senas_bench.methods.fair_darts import FairDarts
from senas_bench.methods.fairnas import FairNas
from senas_bench.methods.fbnet import FbNet
from senas_bench.methods.finalists import Finalists
from senas_bench.methods.gdas import Gdas
from senas_bench.methods.greedynas import GreedyNas
from senas_bench.methods.p_darts import PDarts
from senas_bench.methods.pc_darts import PcDarts
from senas_bench.methods.pcnas import PcNas
from senas_bench.methods.proxylessnas import ProxylessNas
from senas_bench.methods.proxylessnas_r import ProxylessNasR
from senas_bench.methods.retrain import Fixed
from senas_bench.methods.rsps import Rsps
from senas_bench.methods.se_nas import SeNas
from senas_bench.methods.setn import Setn
from senas_bench.methods.snas import Snas
from senas_bench.methods.spos import Spos
from senas_bench.methods.stand_alone import StandAlone
from senas_bench.methods.training_free import ByProxy
from senas_bench.methods.truth import RegularizedEvolution, TruthRandomSearch
from senas_bench.names import lookup
from senas_bench.ranking import ESTIMATORS, FOUR_PROXIES
from senas_bench.ranking.aggregate import Aggregate
from senas_bench.shrinking import CRITERIA
from senas_bench.shrinking.angle import Angle
from senas_bench.shrinking.magnitude import Magnitude
from senas_bench.shrinking.random import RandomScores
from senas_bench.shrinking.se_nas import SeNasCriterion
from senas_bench.shrinking.si import SelectionImportance
from senas_bench.spaces import SPACES
from senas_bench.tasks.method import NB201_ONLY, Method, check_kinds, check_method, kinds

WITH_BLOCKS = tuple(SPACES)
"""Spaces whose networks show the outputs of their blocks."""
HYBRID = Aggregate(("snapshot-loglik", "synflow-bn"))
"""What a supernet says of an arch, and what its untrained network says."""
HYBRID_FULL = Aggregate(("snapshot-loglik", "synflow-bn-full"))
HYBRID_FOUR = Aggregate(("snapshot-loglik", *FOUR_PROXIES))
METHODS: dict[str, Method] = {
    # nothing is trained
    "random": RandomSearch(),
    "params": LargestCost("params"),
    "flops": LargestCost("flops_m"),
    "untrained": Spos(recipe="tuned", estimator="snapshot-loglik", trained=False),
    "synflow": ByProxy("synflow"),
    "synflow-bn": ByProxy("synflow-bn"),
    "snip": ByProxy("snip"),
    "grasp": ByProxy("grasp"),
    "fisher": ByProxy("fisher"),
    "grad-norm": ByProxy("grad-norm"),
    "jacob-cov": ByProxy("jacob-cov"),
    "naswot": ByProxy("naswot"),
    "zen": ByProxy("zen", spaces=WITH_BLOCKS),
    "zico": ByProxy("zico"),
    "gradsign": ByProxy("gradsign"),
    "swap": ByProxy("swap"),
    "az-nas": ByProxy("az-nas", spaces=WITH_BLOCKS),
    "te-nas": ByProxy("te-nas"),
    "four-proxies": ByProxy("four-proxies", spaces=WITH_BLOCKS),
    # every arch is trained from scratch, in a benchmark table
    "random-search": TruthRandomSearch(),
    "regularized-evolution": RegularizedEvolution(),
    # one supernet over the whole space
    "rsps": Rsps(),
    "rsps-plain": Rsps(redraw=False),
    "darts-v1": Darts(),
    "darts-v2": Darts(second_order=True),
    "gdas": Gdas(),
    "gdas-code": Gdas(gradient="code", spaces=NB201_ONLY),
    "snas": Snas(),
    "p-darts": PDarts(),
    "fair-darts": FairDarts(),
    "pc-darts": PcDarts(),
    "setn": Setn(),
    "enas": Enas(),
    "fairnas": FairNas(),
    "fbnet": FbNet(),
    "proxylessnas": ProxylessNas(),
    "proxylessnas-r": ProxylessNasR(),
    "greedynas": GreedyNas(),
    "spos": Spos(watched=True),
    "spos-evolution": Spos(search="evolution", spaces=NB201_ONLY),
    "spos+": Spos(recipe="tuned", estimator="snapshot-loglik-size", spaces=NB201_ONLY, watched=True),
    "spos+synflow-bn": Spos(recipe="tuned", estimator=HYBRID, spaces=NB201_ONLY),
    "spos+synflow-bn-full": Spos(recipe="tuned", estimator=HYBRID_FULL, spaces=NB201_ONLY),
    "spos+synflow-bn+top25": Spos(recipe="tuned", estimator=HYBRID, finalists=Finalists(), spaces=NB201_ONLY),
    "spos+four-proxies": Spos(recipe="tuned", estimator=HYBRID_FOUR, spaces=NB201_ONLY),
    "spos+four-proxies+top25": Spos(recipe="tuned", estimator=HYBRID_FOUR, finalists=Finalists(), spaces=NB201_ONLY),
    # what a hybrid is made of, and what stands in its place: its ablations
    "spos-loglik": Spos(recipe="tuned", estimator="snapshot-loglik", spaces=NB201_ONLY),
    "spos+params": Spos(recipe="tuned", estimator=Aggregate(("snapshot-loglik", "params")), spaces=NB201_ONLY),
    "untrained+synflow-bn": Spos(recipe="tuned", estimator=HYBRID, trained=False, spaces=NB201_ONLY),
    # no weights are shared
    "stand-alone": StandAlone(),
    # the space shrinks
    "random-shrink": SeNas(criterion=RandomScores(), threshold=0, dropped_by="random scores"),
    "si-shrink": SeNas(criterion=SelectionImportance(), threshold=0, dropped_by="SI, accuracy-based"),
    "magnitude-shrink": SeNas(criterion=Magnitude(), threshold=0, dropped_by="magnitude", spaces=NB201_ONLY),
    "angle-shrink": SeNas(criterion=Angle(), threshold=0, dropped_by="angle"),
    "pcnas": SeNas(
        criterion=SelectionImportance(),
        threshold=0,
        removal="edge-by-edge",
        dropped_by="SI, edge by edge",
        spaces=NB201_ONLY,
    ),
    "pcnas-pool": PcNas(),
    "se-nas-shrink": SeNas(threshold=0, dropped_by="SI / SC"),
    # it shrinks and expands
    "se-nas": SeNas(dropped_by="SI / SC", watched=True),
    "se-nas-within-edge": SeNas(
        criterion=SeNasCriterion(normalizer="within-edge"), dropped_by="SI / SC within each edge", spaces=NB201_ONLY
    ),
    "fairnas+se-nas": SeNas(removal="per-edge", sampler="fair", dropped_by="SI / SC, one per edge", spaces=NB201_ONLY),
    "se-nas+": SeNas(
        recipe="tuned",
        estimator="snapshot-loglik-size",
        criterion=SelectionImportance(estimator="snapshot-loglik-size"),
        dropped_by="SI of log-likelihood and size",
        spaces=NB201_ONLY,
        watched=True,
    ),
    "se-nas+synflow-bn": SeNas(
        recipe="tuned",
        estimator=HYBRID,
        criterion=SeNasCriterion(HYBRID, normalizer="within-edge"),
        dropped_by="SI / SC within each edge, of log-likelihood and synflow-bn",
        spaces=NB201_ONLY,
    ),
    "se-nas+four-proxies": SeNas(
        recipe="tuned",
        estimator=HYBRID_FOUR,
        criterion=SeNasCriterion(HYBRID_FOUR, normalizer="within-edge"),
        dropped_by="SI / SC within each edge, of log-likelihood and four proxies",
        spaces=NB201_ONLY,
    ),
}
"""Methods keep their papers' settings. Those that end in a plus are ours, tuned with CIFAR-10 truth in view; they know
the size of an arch, so `params` is their control beside `untrained`, which has random weights and no more. It is scored
by log-likelihood, `spos` by the accuracy of averaged weights.

What `senas-bench methods` says of each stands in `about.py`. How a method is shown, and which artefacts leave it out
unless asked, stands in `analysis/style.py`; one without a line there is in every artefact that its facts fit."""
SHIPPED = dict(METHODS)
"""As the package ships them, which every process knows, whatever is added or replaced in this one."""
GIVEN: dict[str, Method] = {"fixed": Fixed()}
"""No methods, but they run like one: the arch is given."""


def method_named(name: str) -> Method:
    """The method of that name, checked.

    Raises:
        ValueError: Unknown, or what `check_method` refuses.
    """
    if not isinstance(name, str):
        lookup("method", name, METHODS)
    if name in GIVEN and name in METHODS:
        raise ValueError(f"method {name!r}: the name means something else; choose another")
    method = GIVEN[name] if name in GIVEN else lookup("method", name, METHODS)
    known = _known()
    if known.sound.get(name) is method:
        return method
    check_method(name, method)
    try:
        check_kinds(method, known.kinds | kinds([method]))
    except ValueError as error:
        raise ValueError(f"method {name!r}: {error}") from None
    known.sound[name] = method
    return method


class _Known(NamedTuple):
    """All that there is, the classes in it, and the methods that were found sound beside it."""

    held: tuple[Any, ...]
    kinds: set[tuple[str, str]]
    sound: dict[str, Method]


def _known() -> _Known:
    """Made anew when a registry has changed."""
    global _last
    held = (*METHODS.values(), *CRITERIA.values(), *ESTIMATORS.values())
    if len(held) != len(_last.held) or not all(map(operator.is_, held, _last.held)):
        _last = _Known(held, kinds(held), {})
    return _last


_last = _Known((), set(), {})


def all_methods() -> dict[str, Method]:
    """`METHODS`, each checked."""
    return {name: method_named(name) for name in METHODS}
