"""Scores of untrained networks, a page per paper: `(network, images, labels, generator) -> float`. No torch here."""

from senas_bench.names import lookup
from senas_bench.proxies.proxy import Proxy, check_proxy
from senas_bench.proxies.synflow import Synflow, SynflowBn

PROXIES: dict[str, Proxy] = {
    "synflow": Synflow(),
    "synflow-bn": SynflowBn(),
}


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
