"""Scores of untrained networks, a page per paper: `(network, images, labels, generator) -> float`. No torch here."""

from senas_bench.names import lookup
from senas_bench.proxies.az_nas import Expressivity, Progressivity, Trainability
from senas_bench.proxies.fisher import Fisher
from senas_bench.proxies.gradsign import GradSign
from senas_bench.proxies.grasp import Grasp
from senas_bench.proxies.jacob_cov import JacobCov
from senas_bench.proxies.naswot import Naswot
from senas_bench.proxies.proxy import Proxy, check_proxy
from senas_bench.proxies.snip import Snip
from senas_bench.proxies.swap import Swap
from senas_bench.proxies.synflow import Synflow, SynflowBn
from senas_bench.proxies.te_nas import LinearRegions, Ntk
from senas_bench.proxies.zen import Zen
from senas_bench.proxies.zero_cost import GradNorm, L2Norm, Plain
from senas_bench.proxies.zico import Zico

PROXIES: dict[str, Proxy] = {
    "synflow": Synflow(),
    "synflow-bn": SynflowBn(),
    "snip": Snip(),
    "grasp": Grasp(),
    "fisher": Fisher(),
    "grad-norm": GradNorm(),
    "plain": Plain(),
    "l2-norm": L2Norm(),
    "jacob-cov": JacobCov(),
    "naswot": Naswot(),
    "naswot-live": Naswot(dead=False),
    "zen": Zen(),
    "zico": Zico(),
    "gradsign": GradSign(),
    "swap": Swap(),
    "az-expressivity": Expressivity(),
    "az-progressivity": Progressivity(),
    "az-trainability": Trainability(),
    "ntk": Ntk(),
    "linear-regions": LinearRegions(),
}

SHIPPED = dict(PROXIES)
"""As the package ships them, whatever is added or replaced."""


def proxy_of(proxy: str | Proxy) -> Proxy:
    """The strategy that an estimator names.

    Raises:
        ValueError: Unknown name, or no proxy.
    """
    if isinstance(proxy, str):
        proxy = lookup("proxy", proxy, PROXIES)
    check_proxy(proxy)
    return proxy


__all__ = ["PROXIES", "Proxy", "proxy_of"]
