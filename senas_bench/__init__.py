"""senas-bench: weight-sharing supernets, shrunk and expanded (SE-NAS), measured on NAS benchmarks.

    import senas_bench as sb

    table = sb.reproduce("table3", methods=["spos", "params"], seeds=range(3))
    scores = sb.rank("spos", rank_archs=100)
    sb.evaluate_ranking(scores)["tau_b"]

Every name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from senas_bench.analysis.artefacts import ARTEFACTS, make
    from senas_bench.api.figures import figure
    from senas_bench.api.rankings import evaluate_ranking, rank
    from senas_bench.api.reports import report
    from senas_bench.api.searches import retrain, search
    from senas_bench.api.studies import reproduce
    from senas_bench.experiments.additions import use
    from senas_bench.groundtruth import Query, load_ground_truth
    from senas_bench.methods import METHODS
    from senas_bench.proxies import PROXIES
    from senas_bench.ranking import ESTIMATORS
    from senas_bench.shrinking import CRITERIA
    from senas_bench.spaces import SPACES

__version__ = "0.1.0"
__all__ = [
    "ARTEFACTS",
    "CRITERIA",
    "ESTIMATORS",
    "METHODS",
    "PROXIES",
    "SPACES",
    "Query",
    "evaluate_ranking",
    "figure",
    "load_ground_truth",
    "make",
    "rank",
    "report",
    "reproduce",
    "retrain",
    "search",
    "use",
]
_HOMES = {
    "ARTEFACTS": "analysis.artefacts",
    "CRITERIA": "shrinking",
    "ESTIMATORS": "ranking",
    "METHODS": "methods",
    "PROXIES": "proxies",
    "SPACES": "spaces",
    "Query": "groundtruth",
    "evaluate_ranking": "api.rankings",
    "figure": "api.figures",
    "load_ground_truth": "groundtruth",
    "make": "analysis.artefacts",
    "rank": "api.rankings",
    "report": "api.reports",
    "reproduce": "api.studies",
    "retrain": "api.searches",
    "search": "api.searches",
    "use": "experiments.additions",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
