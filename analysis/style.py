"""How methods are shown: the one table of names, colours, markers, baselines and row order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from senas_bench.methods import METHODS, all_methods
from senas_bench.ranking import reads_supernet
from senas_bench.tasks.method import Method


@dataclass(frozen=True)
class Style:
    """How a method is shown. The defaults are those of a method without a line in `STYLES`.

    Args:
        label: What readers see; its name if empty.
        colour, marker: In every figure.
        against: Its baseline, which it is compared with seed by seed: the same training without what is its own.
        left_out_of: Artefacts that its facts fit, but which show it only when `--methods` asks for it.
    """

    label: str = ""
    colour: str = "#444444"
    marker: str = "o"
    against: str | None = None
    left_out_of: tuple[str, ...] = ()


CONTRAST = 4.5
"""The least of small letters."""
EVERYWHERE = ("table3", "fig6", "fig7", "fig8", "table1")
"""Of what is there for `--methods` alone."""
PROXY = Style(colour="#999999", marker="v", left_out_of=("table3",))
"""Of proxies that are shown when they are asked for."""
STYLES = {
    "random": Style(colour="#7f7f7f"),
    "params": Style(colour="#000000"),
    "flops": Style(colour="#000000"),
    "untrained": Style(colour="#999999"),
    "synflow": Style(colour="#b0913a", marker="v"),
    "synflow-bn": Style(colour="#7a5c00", marker="v"),
    "az-nas": Style(colour="#5e7c16", marker="v"),
    "snip": PROXY,
    "grasp": PROXY,
    "fisher": PROXY,
    "grad-norm": PROXY,
    "jacob-cov": PROXY,
    "naswot": PROXY,
    "zen": PROXY,
    "zico": PROXY,
    "gradsign": PROXY,
    "swap": PROXY,
    "te-nas": PROXY,
    "four-proxies": Style(colour="#b3467a", marker="v", left_out_of=EVERYWHERE),
    "rsps": Style(),
    "rsps-plain": Style(left_out_of=("table3",)),
    "darts-v1": Style(),
    "darts-v2": Style(),
    "gdas": Style(),
    "gdas-code": Style(left_out_of=("table3",)),
    "snas": Style(left_out_of=EVERYWHERE),
    "p-darts": Style(left_out_of=EVERYWHERE),
    "fair-darts": Style(left_out_of=EVERYWHERE),
    "pc-darts": Style(left_out_of=EVERYWHERE),
    "setn": Style(),
    "enas": Style(),
    "fairnas": Style(),
    "si-shrink": Style(colour="#009e73", left_out_of=("table3",)),
    "magnitude-shrink": Style(colour="#e69f00"),
    "angle-shrink": Style(colour="#8c6bb1"),
    "random-shrink": Style(colour="#7f7f7f", left_out_of=("table3",)),
    "spos": Style(colour="#0072b2", marker="s"),
    "spos+": Style(colour="#56b4e9", marker="^"),
    "spos-loglik": Style(left_out_of=EVERYWHERE),
    "spos+params": Style(left_out_of=EVERYWHERE),
    "untrained+synflow-bn": Style(left_out_of=EVERYWHERE),
    "spos+synflow-bn": Style(colour="#3a6b35", marker="P", against="spos-loglik"),
    "spos+synflow-bn-full": Style(colour="#3a6b35", marker="X", against="spos-loglik", left_out_of=EVERYWHERE),
    "spos+synflow-bn+top25": Style(colour="#3a6b35", marker="*", against="spos+synflow-bn", left_out_of=EVERYWHERE),
    "spos+four-proxies": Style(colour="#1f7a7a", marker="P", against="four-proxies", left_out_of=EVERYWHERE),
    "spos+four-proxies+top25": Style(colour="#1f7a7a", marker="*", against="spos+four-proxies", left_out_of=EVERYWHERE),
    "se-nas": Style(colour="#d55e00", marker="o", against="spos"),
    "se-nas-within-edge": Style(colour="#d55e00", marker="X", against="spos", left_out_of=EVERYWHERE),
    "se-nas+": Style(colour="#cc79a7", marker="D", against="spos+"),
    "se-nas+synflow-bn": Style(colour="#8a3a7a", marker="P", against="spos+synflow-bn"),
    "se-nas+four-proxies": Style(colour="#6a5acd", marker="P", against="spos+four-proxies", left_out_of=EVERYWHERE),
    "fairnas+se-nas": Style(left_out_of=("table3", "fig6")),
    "pcnas": Style(left_out_of=("table3", "fig6")),
    "random-search": Style(),
    "regularized-evolution": Style(),
    "se-nas-shrink": Style(left_out_of=("table3", "fig6")),
    "spos-evolution": Style(left_out_of=("table3",)),
    "stand-alone": Style(colour="#009e73"),
    "fbnet": Style(left_out_of=EVERYWHERE),
    "proxylessnas": Style(left_out_of=EVERYWHERE),
    "proxylessnas-r": Style(left_out_of=EVERYWHERE),
    "greedynas": Style(left_out_of=EVERYWHERE),
    "pcnas-pool": Style(left_out_of=EVERYWHERE),
}
"""In row order. The colours of what the paper compares are Okabe and Ito's, which colour-blind eyes tell apart; the
others need their marker, a triangle for proxies, or the name beside them."""


def style(method: str) -> Style:
    """The style of a method, the neutral one where it has none."""
    return STYLES.get(method, Style())


def ink(colour: str) -> str:
    """A colour `#rrggbb` as letters can have it: darker where it is too pale on white for small ones, below a contrast
    of 4.5 (WCAG 2.2, 1.4.3)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    while _contrast(parts) < CONTRAST:
        parts = [0.95 * part for part in parts]
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _contrast(parts: list[float]) -> float:
    """Of a colour on white, by relative luminance."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 1.05 / (sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)


def shown_as(method: str) -> str:
    """What readers see in place of the name."""
    return style(method).label or method


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods as `STYLES` has them, then any other by name."""
    places = {name: place for place, name in enumerate(STYLES)}
    return sorted(methods, key=lambda name: (places.get(name, len(places)), name))


def by_baseline(methods: Iterable[str]) -> list[str]:
    """Methods in order, but each right after its baseline where that is among them."""
    places = {name: place for place, name in enumerate(in_order(methods))}
    first = lambda name: places.get(style(name).against or name, places[name])  # noqa: E731
    return sorted(places, key=lambda name: (first(name), style(name).against is not None, places[name]))


def baselines() -> dict[str, str]:
    """By method that has one its baseline, in row order."""
    return {name: shown.against for name, shown in STYLES.items() if shown.against}


def facts_of(method: str) -> Method:
    """What is true of a method: of one that this version does not have, no more than of any."""
    return METHODS.get(method, _UNKNOWN)


_UNKNOWN = Method()


def is_proxy(method: str) -> bool:
    """Whether a method trains nothing and scores untrained networks, each alone."""
    facts = facts_of(method)
    estimator = None if facts.trains else getattr(facts, "estimator", None)
    return estimator is not None and not reads_supernet(estimator)


def tuned(methods: Iterable[str]) -> list[str]:
    """Those whose settings were chosen with CIFAR-10 truth in view, in row order."""
    return in_order(name for name in methods if facts_of(name).tuned)


def saw_truth(methods: Iterable[str]) -> list[str]:
    """A sentence for each truth that was in view when estimators of these methods were chosen."""
    by_truth: dict[str, list[str]] = {}
    for name in in_order(methods):
        for words in facts_of(name).saw:
            by_truth.setdefault(words, []).append(shown_as(name))
    return [f"Chosen with truth in view ({words}): {', '.join(names)}." for words, names in by_truth.items()]


def fitting(artefact: str, fits: Callable[[Method], bool]) -> list[str]:
    """The methods that an artefact shows by default: those whose facts fit, in row order.

    Args:
        artefact: Key of `ARTEFACTS`.
    """
    return [name for name in of_kind(fits) if artefact not in style(name).left_out_of]


def of_kind(fits: Callable[[Method], bool]) -> list[str]:
    """All methods whose facts fit, in row order, whatever artefacts leave out."""
    return in_order(name for name, method in all_methods().items() if fits(method))
